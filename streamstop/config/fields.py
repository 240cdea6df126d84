"""Settings: fields of frozen dataclasses with a type, a range and a help text.

Guarantees:

- `validate` returns a value that the field may hold, or raises a UsageError with the key, the
  value, what is allowed, and where the value came from.

Does not:

- List the settings: `streamstop.config.sections` does.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import field, fields
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from streamstop.errors import UsageError

INT64_MAX = (1 << 63) - 1


def config_field(
    default: Any,
    help: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    form: tuple[str, str] | None = None,
    may_be_empty: bool = False,
) -> Any:
    """A field of a section.

    Parameters
    ----------
    default
        Its default.
    help
        One line, shown by `--print-config`.
    at_least, at_most
        Inclusive bounds, of each item where the value is a list.
    above, below
        Exclusive bounds, likewise.
    form
        A regular expression that a text must match in full, unless it is empty, and its
        description.
    may_be_empty
        Whether a list may be empty although its default is not.
    """
    limits = {"at_least": at_least, "at_most": at_most, "above": above, "below": below}
    return field(
        default=default,
        metadata={"help": help, "form": form, "may_be_empty": may_be_empty, **limits},
    )


@cache
def types(section: type) -> dict[str, Any]:
    """The type of each key of a section."""
    return get_type_hints(section)


def choices(section: type, key: str) -> tuple[str, ...]:
    """The allowed values of a key whose type is a `Literal`; empty for other types."""
    kind = types(section)[key]
    return get_args(kind) if get_origin(kind) is Literal else ()


def parse_text(section: type, key: str, text: str) -> Any:
    """Parse the text of a value from the command line; it is not checked yet.

    It is read as TOML. Where it is not TOML, or the key takes text, it is used as written, without
    a pair of quotes around it.
    """
    text = text.strip()
    if types(section)[key] is str or choices(section, key):
        quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
        return text[1:-1] if quoted else text
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, ValueError, RecursionError):
        return text
    # More than one key would be a line break smuggled into the value.
    return parsed["value"] if parsed.keys() == {"value"} else text


def validate(section: type, name: str, key: str, value: Any, origin: str) -> Any:
    """Check `value` for the field `key` of `section`, called `name`; returns it converted.

    Parameters
    ----------
    origin
        Where the value came from, for the message.

    Raises
    ------
    UsageError
        It is of the wrong type or out of range.
    """
    kind = types(section)[key]
    spec = next(spec for spec in fields(section) if spec.name == key)
    limits, default = spec.metadata, spec.default

    def refuse(allowed: str) -> UsageError:
        shown = to_toml_value(value) if isinstance(value, str | int | float | list) else str(value)
        return UsageError(f"{name}.{key} = {shown[:200]}: must be {allowed}. From {origin}")

    if listed := choices(section, key):
        if value not in listed:
            near = difflib.get_close_matches(str(value), listed, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise refuse(f"one of {', '.join(listed)}{hint}")
        return value
    if kind is bool:
        if not isinstance(value, bool):
            raise refuse("true or false")
        return value
    if kind is str:
        return _text(value, limits, refuse)
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        # A list may be empty where its default is: empty stands for the default behaviour.
        empty = not default or limits["may_be_empty"]
        if not isinstance(value, list | tuple) or not (value or empty):
            raise refuse(f"a list, each item {_each(item, limits)}")
        if get_origin(item) is Literal:
            if any(one not in get_args(item) for one in value) or len(set(value)) < len(value):
                raise refuse(f"a list, each item {_each(item, limits)}, each once")
            return tuple(one for one in get_args(item) if one in value)
        if item is str:
            return tuple(_text(one, limits, refuse) for one in value)
        return tuple(_number(one, item, limits, refuse) for one in value)
    return _number(value, kind, limits, refuse)


def _each(item: Any, limits: Mapping[str, Any]) -> str:
    if get_origin(item) is Literal:
        return f"one of {', '.join(get_args(item))}"
    return "text in quotes" if item is str else _allowed(item, limits)


def _text(value: Any, limits: Mapping[str, Any], refuse: Callable[[str], UsageError]) -> str:
    if not isinstance(value, str):
        raise refuse("text in quotes")
    # Half of a surrogate pair is how Python holds a file name that is not UTF-8; TOML cannot.
    if any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in value):
        raise refuse("UTF-8 text without control characters")
    if value and limits["form"] and not re.fullmatch(limits["form"][0], value):
        raise refuse(limits["form"][1])
    return value


def _number(
    value: Any, kind: type, limits: Mapping[str, Any], refuse: Callable[[str], UsageError]
) -> int | float:
    # bool is an int to Python and to nobody else; 5e5 is a whole number to everybody but Python.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refuse(_allowed(kind, limits))
    fits = abs(value) <= INT64_MAX if kind is int else abs(value) < float("inf")
    for word, holds in _BOUNDS.items():
        fits = fits and (limits[word] is None or holds(value, limits[word]))
    if not fits or (kind is int and value != int(value)):
        raise refuse(_allowed(kind, limits))
    try:
        return kind(value)  # type: ignore[no-any-return]
    except OverflowError:
        raise refuse(_allowed(kind, limits)) from None


def _allowed(kind: type, limits: Mapping[str, Any]) -> str:
    bounds = [f"{w.replace('_', ' ')} {limits[w]}" for w in _BOUNDS if limits[w] is not None]
    return f"{'a whole number' if kind is int else 'a number'} {' and '.join(bounds)}".strip()


_BOUNDS: dict[str, Callable[[float, float], bool]] = {
    "at_least": lambda value, bound: value >= bound,
    "at_most": lambda value, bound: value <= bound,
    "above": lambda value, bound: value > bound,
    "below": lambda value, bound: value < bound,
}


def to_toml_value(value: Any) -> str:
    r"""`value`, a bool, number, text or list of them, as TOML.

    Examples
    --------
    >>> to_toml_value([1e-05, True, 'a "b"'])
    '[1e-05, true, "a \\"b\\""]'
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(to_toml_value, value))}]"
    if isinstance(value, str):
        # A JSON string is a TOML one, but for DEL, which TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
