"""Groups of runs that differ by their seed alone: found, read, collected, named.

Guarantees:

- A run is left out only with a note.
- The settings in which groups differ come from their configurations, not from their names.

Does not: compare scores.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from streamstop.config.aliases import current_section
from streamstop.config.recipe import read_toml
from streamstop.config.sections import Config
from streamstop.errors import UsageError
from streamstop.experiments.aggregate import SeedRun, aggregate_runs, describe_status, seed_folders
from streamstop.pipeline.summary_file import number, read_summary

MAX_GROUPS = 26
"""As many as there are letters to call them by."""

MAX_IN_LABEL = 3
"""Settings that a label has room for."""

KEPT = ("continual", "makers", "headline")
"""Where a summary has the learner's figures on what is held out."""

NOT_THE_CONFIGURATION = ("run.seed", "run.output_dir", "run.name")
"""Settings in which runs of one group may differ."""


@dataclass(frozen=True)
class Run:
    """A finished run's folder, as far as a comparison needs it.

    settings : by "section.key", those that its file does not name at their defaults.
    """

    folder: Path
    seed: int
    summary: Mapping[str, Any] = field(repr=False)
    settings: Mapping[str, Any] = field(repr=False)

    @property
    def segments(self) -> Path:
        """Path of its predictions, a row per segment."""
        return self.folder / "segments.csv"


@dataclass(frozen=True)
class Group:
    """Runs that differ by their seed alone.

    letter, label : what it is called by, and what sets it apart.
    runs : those that count, by seed.  summary : as a joint folder has it.
    """

    letter: str
    label: str
    runs: tuple[Run, ...]
    summary: Mapping[str, Any] = field(repr=False)
    settings: Mapping[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        """The runs' name."""
        return str(self.summary.get("name") or "")

    def figure(self, *keys: str) -> Mapping[str, Any] | None:
        """Mean, standard deviation and interval of a figure of the summary; None if it has none."""
        found: Any = self.summary
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found if isinstance(found, Mapping) and "mean" in found else None

    @property
    def mean(self) -> float:
        """The learner's mean accuracy over all segments; -1 where nothing was scored."""
        found = self.figure("accuracy", "segment")
        return float(found["mean"]) if found else -1.0

    @property
    def best_baseline(self) -> str | None:
        """The baseline with the best mean accuracy; on a tie, the one better at the end."""
        return best_baseline(self.summary)

    def values(self, *keys: str) -> list[float | None]:
        """A figure of each run's own summary."""
        out = []
        for run in self.runs:
            found: Any = run.summary
            for key in keys:
                found = found.get(key) if isinstance(found, Mapping) else None
            out.append(number(found))
        return out


def find_run_folders(named: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The run folders that are meant, each once, and notes on what is none.

    Raises UsageError where a name leads nowhere.
    """
    folders: dict[Path, Path] = {}
    notes = []
    for text in named:
        there = [Path(text)] if Path(text).exists() else _matching(text)
        if not there:
            raise UsageError(f"no such run; runs lie in runs/<utc>-<name>: {text}")
        for one in there:
            if not one.is_dir():
                notes.append(f"left out: a file, not a run's folder: {one}")
                continue
            inside = seed_folders(one)
            if not inside and not (one / "config.toml").is_file():
                nested = any(one.glob("*/config.toml"))
                hint = f"; it holds runs, so say {one}/*" if nested else ""
                notes.append(f"left out: not a run's folder{hint}: {one}")
                continue
            for folder in inside or [one]:
                folders.setdefault(folder.resolve(), folder)
    return list(folders.values()), notes


def read_run(folder: Path) -> Run:
    """A finished run's folder.

    Raises UsageError where it is none, is of another command, or cannot be read.
    """
    if (folder / "train.json").is_file() or (folder / "epochs.jsonl").is_file():
        raise UsageError(f"a training's folder, not a run's: {folder}")
    summary = read_summary(folder)
    seed = summary.get("seed")
    if not isinstance(seed, int) or not isinstance(summary.get("status"), str):
        raise UsageError(f"summary.json is not that of a run of this version: {folder}")
    return Run(folder, seed, summary, _settings(folder / "config.toml"))


def group_runs(runs: Sequence[Run]) -> tuple[list[Group], list[str]]:
    """Groups of runs that differ by their seed alone, in the order in which they were named.

    Of several runs with one seed the last counts. Raises UsageError where there are too many.
    """
    notes: list[str] = []
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(_key(run.settings), []).append(run)
    if len(found) > MAX_GROUPS:
        raise UsageError(
            f"these runs make {len(found)} groups, and at most {MAX_GROUPS} are compared; name "
            "fewer"
        )
    groups = []
    for letter, same in zip(map(chr, range(ord("A"), ord("Z") + 1)), found.values(), strict=False):
        by_seed: dict[int, Run] = {}
        for run in same:
            if run.seed in by_seed:
                notes.append(
                    f"{letter}: seed {run.seed} was run more than once; the last counts: "
                    f"{run.folder}"
                )
            by_seed[run.seed] = run
        entries = [_entry(by_seed[seed]) for seed in sorted(by_seed)]
        notes += [
            f"{letter}: seed {e.seed} is in no mean: {describe_status(e)}"
            for e in entries
            if not e.counts
        ]
        kept = tuple(by_seed[e.seed] for e in entries if e.counts)
        summary = aggregate_runs(entries, command="")
        groups.append(Group(letter, "", kept, summary, same[0].settings))
    groups = [replace(group, label=_label(group, groups)) for group in groups]
    return groups, [*notes, *_versions(groups)]


def config_differences(groups: Sequence[Group]) -> dict[str, tuple[Any, ...]]:
    """Settings in which groups differ, with each group's value."""
    keys = dict.fromkeys(key for group in groups for key in group.settings)
    values = {key: tuple(group.settings.get(key) for group in groups) for key in keys}
    return {key: own for key, own in values.items() if any(one != own[0] for one in own)}


def best_baseline(summary: Mapping[str, Any]) -> str | None:
    """The baseline with the best mean accuracy over seeds; on a tie, the one better at the end."""

    def mean(values: Any, key: str) -> float:
        spread = values.get(key) if isinstance(values, Mapping) else None
        return float(spread["mean"]) if spread else -1.0

    baselines = {
        k: v for k, v in (summary.get("baselines") or {}).items() if mean(v, "segment") >= 0
    }
    return max(
        baselines,
        key=lambda k: (mean(baselines[k], "segment"), mean(baselines[k], "segment_last_third")),
        default=None,
    )


def abbreviate(value: Any) -> str:
    """A setting's value in a few letters; of a path, its last part."""
    if isinstance(value, str):
        head, question, query = value.partition("?")
        text = (Path(head).name or head) + question + query
        return text or "none"
    if isinstance(value, list):
        return "[" + ", ".join(map(abbreviate, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else f"{value}"


def disambiguate(values: Sequence[Any]) -> list[str]:
    """Values of one setting in a few letters each, or in full where that would make two alike."""
    short = [abbreviate(value) for value in values]
    full = [str(value) for value in values]
    return short if len(set(short)) == len(set(full)) else full


def _label(group: Group, groups: Sequence[Group]) -> str:
    """What sets a group apart: its name, unless all have that one, and settings in which it differs
    from others of its name, where they are few.
    """
    alike = [one for one in groups if one.name == group.name]
    differ = config_differences(alike)
    place = alike.index(group)
    shown = [
        f"{key.partition('.')[2]} = {disambiguate(values)[place]}" for key, values in differ.items()
    ]
    few = shown if len(shown) <= MAX_IN_LABEL else []
    named = [group.name] if len(alike) < len(groups) or not few else []
    return ", ".join([*named, *few])


def _entry(run: Run) -> SeedRun:
    return SeedRun(run.seed, 0, run.folder.name, run.summary)


def _key(settings: Mapping[str, Any]) -> str:
    """Equal for settings that are; of all that a result depends on but the seed."""
    return repr(sorted(settings.items()))


def _settings(path: Path) -> dict[str, Any]:
    """Every setting but those that runs of a group may differ in; those left out, by default."""
    found = {
        f"{section}.{key}": list(value) if isinstance(value, tuple) else value
        for section, table in asdict(Config()).items()
        for key, value in table.items()
    }
    for section, table in read_toml(path, "config.toml").items():
        if isinstance(table, dict):
            settings = current_section(section, table).items()
            found |= {f"{section}.{k}": list(v) if isinstance(v, tuple) else v for k, v in settings}
    return {key: value for key, value in found.items() if key not in NOT_THE_CONFIGURATION}


def _versions(groups: Sequence[Group]) -> list[str]:
    """A note where runs were made by different versions of what a result depends on."""
    found: dict[str, dict[str, None]] = {}
    for run in (run for group in groups for run in group.runs):
        for name, version in (run.summary.get("versions") or {}).items():
            found.setdefault(str(name), {})[str(version)] = None
    several = [
        f"{name} {' and '.join(versions)}" for name, versions in found.items() if len(versions) > 1
    ]
    return [f"not all runs were made by the same versions: {', '.join(several)}"] if several else []


def _matching(pattern: str) -> list[Path]:
    """What a glob matches; pathlib's own takes none that begins at the root."""
    return sorted(map(Path, glob.glob(pattern)))  # noqa: PTH207
