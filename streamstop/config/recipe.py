"""The configuration of a run: TOML recipe < `--set section.key=value` < flags, checked when read.

Guarantees:

- A `Config` holds only values of the right type, in range, under known names.
- `load_config` of what `to_toml` wrote gives the same `Config` again.

Does not:

- Open the source: `streamstop.sources.open` reports a missing or unreadable file.

One frozen dataclass per section, one field per key; see `streamstop.config.sections`.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from streamstop.config.aliases import ADDED, ALIASES, SCHEMA, current_key, current_value
from streamstop.config.fields import choices, parse_text, to_toml_value, validate
from streamstop.config.uri_paths import resolve_against
from streamstop.errors import UsageError

MAX_RECIPE_BYTES = 1 << 20
"""A longer file is not a recipe."""


def parse_overrides(
    whole: type, sets: Sequence[str] = (), overrides: Mapping[str, Any] | None = None
) -> Values:
    """Parse and check `sets` ("section.key=value" each), then `overrides`.

    Parameters
    ----------
    whole
        The dataclass whose fields are the sections.

    Raises
    ------
    UsageError
        As `load_config`.
    """
    chosen: Values = {}
    names: dict[tuple[str, str], str] = {}
    for text in sets:
        dotted, equals, raw = text.partition("=")
        if not equals:
            raise UsageError(f"--set takes section.key=value, such as run.seed=1, not {text!r}")
        name, key = resolve_key(whole, dotted.strip(), f"--set {text}")
        value = current_value(name, key, parse_text(_sections(whole)[name], key, raw))
        _refuse_both(dotted.strip(), (name, key), names, f"--set {text}")
        chosen[name, key] = _checked(whole, name, key, value, f"--set {text}")
    for dotted, value in (overrides or {}).items():
        if value is not None:
            name, key = resolve_key(whole, dotted, "a flag")
            value = current_value(name, key, value)
            chosen[name, key] = _checked(whole, name, key, value, "a flag")
    return chosen


def build_sections(whole: type, chosen: Values) -> dict[str, Any]:
    """The sections of `whole` by name, from `chosen` values and defaults."""
    return {
        name: section(**{key: value for (inside, key), value in chosen.items() if inside == name})
        for name, section in _sections(whole).items()
    }


def to_toml(config: Any, *, explain: bool = False) -> str:
    """Write `config`, a dataclass of sections, as a TOML recipe that is read back exactly.

    Parameters
    ----------
    explain
        Add the help and choices of each section and key as comments.
    """
    lines = [f"schema = {SCHEMA}", ""]
    for name, section in _sections(type(config)).items():
        lines += [f"[{name}]"] + ([f"# {section.__doc__}"] if explain else [])
        for spec in fields(section):
            line = f"{spec.name} = {to_toml_value(getattr(getattr(config, name), spec.name))}"
            if explain:
                listed = " | ".join(choices(section, spec.name))
                line = f"{line:<26}  # {spec.metadata['help']}" + (f" [{listed}]" if listed else "")
            lines.append(line)
        lines.append("")
    return "\n".join(lines)


Values = dict[tuple[str, str], Any]
"""Values by section and key."""


def _sections(whole: type) -> dict[str, Any]:
    return get_type_hints(whole)


def _checked(whole: type, name: str, key: str, value: Any, origin: str) -> Any:
    return validate(_sections(whole)[name], name, key, value, origin)


def resolve_key(whole: type, dotted: str, origin: str) -> tuple[str, str]:
    """Split `dotted` into a known section and key; else a UsageError with a suggestion."""
    name, _, key = dotted.partition(".")
    sections = _sections(whole)
    every = [f"{s}.{spec.name}" for s, section in sections.items() for spec in fields(section)]
    if dotted in every:
        return name, key
    if f"{name}.{ALIASES.get(name, {}).get(key)}" in every:
        return name, current_key(name, key)
    inside = [known for known in every if known.partition(".")[0] == name]
    # A key that exists elsewhere is in the wrong section; else it is a typing error, more likely
    # in this section than in another.
    meant = [known for known in every if known.partition(".")[2] == (key or dotted)]
    old = {f"{name}.{was}": f"{name}.{now}" for was, now in ALIASES.get(name, {}).items()}
    near = difflib.get_close_matches(dotted, [*(inside or every), *old], n=1, cutoff=0.7)
    meant = meant or [old.get(one, one) for one in near]
    hint = f" (did you mean {meant[0]}?)" if meant else ""
    if inside and not key:
        what = f"{name!r} is a section, not a key"
    else:
        what = f"Unknown {'key' if inside or not key else 'section in'} {dotted!r}{hint}"
    if inside:
        allowed = f"[{name}] has {', '.join(known.partition('.')[2] for known in inside)}"
    else:
        allowed = f"The sections are {', '.join(sections)}"
    raise UsageError(f"{what}. {allowed}. From {origin}")


def read_recipe(whole: type, path: Path, paths: Sequence[tuple[str, str]]) -> Values:
    """The checked values of a recipe; run.name defaults to the name of the file.

    Parameters
    ----------
    whole
        The dataclass whose fields are the sections.
    paths
        Section and key of a path; a relative path that does not exist is resolved from the
        folder of the recipe.
    """
    origin = f"the recipe {path}"
    values: Values = {("run", "name"): _name_of(path)}
    names: dict[tuple[str, str], str] = {}
    tables = read_toml(path)
    schema = _schema_of(tables.pop("schema", 1), origin)
    for added in range(schema + 1, SCHEMA + 1):
        older = ADDED.get(added, {}).items()
        values |= {where: value for where, value in older if where[0] in _sections(whole)}
    for name, table in tables.items():
        if name not in _sections(whole):
            dotted = ".".join([name, *table][:2]) if isinstance(table, dict) else name
            resolve_key(whole, dotted, origin)
        if not isinstance(table, dict):
            raise UsageError(f"{name} must be a section, [{name}]. From {origin}")
        for key, value in table.items():
            where = resolve_key(whole, f"{name}.{key}", origin)
            _refuse_both(f"{name}.{key}", where, names, origin)
            values[where] = _checked(whole, *where, current_value(*where, value), origin)
    for which in paths:
        if text := values.get(which, ""):
            values[which] = resolve_against(text, path.parent)
    return values


def _schema_of(value: Any, origin: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= SCHEMA:
        raise UsageError(
            f"schema = {value!r}: this version reads schemas 1 to {SCHEMA}; use the version that "
            f"wrote it, or a newer one. From {origin}"
        )
    return value


def _refuse_both(
    written: str, where: tuple[str, str], names: dict[tuple[str, str], str], origin: str
) -> None:
    """Raise UsageError where a setting comes under its old name and its new one."""
    before = names.setdefault(where, written)
    if before != written:
        raise UsageError(
            f"{before} and {written} are two names of one setting; keep {'.'.join(where)}. "
            f"From {origin}"
        )


def read_toml(path: Path, what: str = "The recipe") -> dict[str, Any]:
    """The tables of a TOML file of MAX_RECIPE_BYTES at most.

    Raises
    ------
    UsageError
        The file, called `what` in the message, cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_RECIPE_BYTES + 1)
        if len(data) > MAX_RECIPE_BYTES:
            raise UsageError(f"{what} is longer than {MAX_RECIPE_BYTES} bytes: {path}")
        return tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        raise UsageError(f"{what} cannot be read ({error.strerror}): {path}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} is not UTF-8, from byte {error.start}: {path}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{what} is not TOML ({error}): {path}") from error


def _name_of(recipe: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", recipe.stem).lstrip("._-")[:64]
