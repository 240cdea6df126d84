"""Aggregation over seeds: the summary and the folder of runs that differ by their seed alone.

The folder holds `seed-0/`, `seed-1/` and so on, each an ordinary run folder, beside config.toml,
summary.json and report.html. Its summary has means where that of a run has single figures.

Guarantees: no run is left out silently. One that did not finish is listed with its status, and is
in no mean.

Does not: run anything, or draw anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamstop.config.aliases import SCHEMA
from streamstop.experiments.significance import MeanInterval
from streamstop.pipeline.summary_file import number

KIND = "several seeds"
"""Value of "kind" in the summary over seeds; that of a run has no such key."""

WHOLE = ("complete", "damaged")
"""Statuses of runs that saw their stream to its end."""

SPREAD = ("accuracy", "accuracy_by_readout", "baselines", "per_class", "per_domain")
"""What of a run's summary has a mean over seeds, beside its continual, drift and operations."""

CONTINUAL = ("average_accuracy", "backward_transfer", "forward_transfer", "forgetting")

SHARED = ("name", "source", "format", "sensor", "data", "protocol", "classes", "corruptions")
"""What a joint summary takes over from its runs; that of the first of them, where they differ."""

NAMES = ("class", "domain", "name", "task", "layer")
"""Keys that name a row, in lists of rows."""

SEED_FOLDER = re.compile(r"seed-(0|[1-9][0-9]*)")


@dataclass(frozen=True)
class SeedRun:
    """One seed's part: its folder's name, its summary and exit code; or why there is none.

    folder, summary : None where the run failed before it could sum up; `message` says why.
    """

    seed: int
    exit_code: int
    folder: str | None = None
    summary: Mapping[str, Any] | None = field(default=None, repr=False)
    message: str = ""

    @property
    def status(self) -> str:
        """How it ended, in a word."""
        if self.summary is None:
            return "interrupted" if self.exit_code == 130 else "failed"
        return str(self.summary["status"])

    @property
    def counts(self) -> bool:
        """Whether its figures are in the means."""
        return self.status in WHOLE


def seed_folders(folder: Path) -> list[Path]:
    """The run folders of a joint folder, by seed; none where it is no joint folder.

    Those that hold no summary.json are among them: unfinished ones.
    """
    if not folder.is_dir():
        return []
    found = [(m, one) for one in folder.iterdir() if (m := SEED_FOLDER.fullmatch(one.name))]
    return [one for m, one in sorted(found, key=lambda pair: int(pair[0][1])) if one.is_dir()]


def aggregate_runs(runs: Sequence[SeedRun], *, command: str, name: str = "") -> dict[str, Any]:
    """The summary of runs that differ by their seed alone; plain data.

    Every figure becomes {"mean", "sd", "n", "ci95"}: standard deviation with n - 1, interval by
    Student's t; both None for a single run. n may be smaller where a figure is missing in some.
    """
    counted = [run.summary for run in runs if run.counts and run.summary is not None]
    first = next((run.summary for run in runs if run.summary is not None), {})
    noted = [run for run in runs if run.message or not run.counts]
    return {
        "schema": SCHEMA,
        "kind": KIND,
        **{key: first.get(key) for key in SHARED},
        "name": name or first.get("name", ""),
        "command": command,
        "status": _status(runs),
        "message": "; ".join(
            f"seed {run.seed}{'' if run.counts else ' is in no mean'}: {describe_status(run)}"
            for run in noted
        ),
        "seeds": [run.seed for run in runs],
        "n": len(counted),
        "runs": [_row(run) for run in runs],
        "n_segments": mean_sd_tree([one.get("n_segments") for one in counted]),
        **{key: mean_sd_tree([one.get(key) for one in counted]) for key in SPREAD},
        "margin_over_baselines": _margins(counted),
        "continual": mean_sd_tree([_continual(one.get("continual")) for one in counted]),
        "drift": mean_sd_tree([_without_lists(one.get("drift")) for one in counted]),
        "operations": mean_sd_tree([one.get("operations") for one in counted]),
        "network": first.get("network"),
        "weights": first.get("weights"),
        "versions": first.get("versions"),
    }


def describe_status(run: SeedRun) -> str:
    """How a run ended and why, in a few words."""
    if run.summary is None or run.counts:
        return run.message or "it failed"
    message = str(run.summary.get("message") or "")
    segments = run.summary.get("n_segments", 0)
    return f"{run.status} after {segments} segments" + (f" ({message})" if message else "")


def mean_sd_tree(values: Sequence[Any]) -> Any:
    """The same tree with each figure's mean, standard deviation and interval in its place.

    values : one tree per run: figures, tables of them, or lists of rows that a text names. What is
    missing in a run counts for nothing; what is no figure in any is None.

    >>> mean_sd_tree([{"a": 1.0, "b": None}, {"a": 3.0}])["a"]["mean"]
    2.0
    >>> mean_sd_tree([[{"class": "x", "recall": 0.5}], [{"class": "x", "recall": 1.0}]])[0]["class"]
    'x'
    """
    there = [one for one in values if one is not None]
    if there and all(isinstance(one, Mapping) for one in there):
        keys = dict.fromkeys(key for one in there for key in one)
        return {key: mean_sd_tree([one.get(key) for one in there]) for key in keys}
    if there and all(isinstance(one, list) for one in there):
        return _rows(there)
    figures = [known for one in there if (known := number(one)) is not None]
    return MeanInterval.of(figures).as_dict() if figures else None


def _rows(lists: Sequence[Sequence[Any]]) -> list[dict[str, Any]] | None:
    """Rows of the same name brought together; None where rows have no name.

    A row may be named None: what is left over, such as domains beyond those that are listed.
    """
    every = [row for one in lists for row in one]
    if not all(isinstance(row, Mapping) for row in every):
        return None
    key = next((k for k in NAMES if every and all(k in row for row in every)), None)
    if key is None:
        return None if every else []
    rows: dict[Any, list[dict[str, Any]]] = {}
    for row in every:
        if not isinstance(row[key], str | None):
            return None
        rows.setdefault(row[key], []).append({k: v for k, v in row.items() if k != key})
    return [{key: name, **mean_sd_tree(found)} for name, found in rows.items()]


def _status(runs: Sequence[SeedRun]) -> str:
    found = [run.status for run in runs]
    order = (
        *("failed", "diverged", "interrupted", "unscored"),
        *("overloaded", "damaged", "complete"),
    )
    return next((status for status in order if status in found), "failed")


def _row(run: SeedRun) -> dict[str, Any]:
    summary = run.summary or {}
    accuracy = summary.get("accuracy") or {}
    return {
        "seed": run.seed,
        "folder": run.folder,
        "status": run.status,
        "exit_code": run.exit_code,
        "message": run.message or str(summary.get("message") or ""),
        "n_segments": summary.get("n_segments"),
        "segment": accuracy.get("segment"),
        "segment_last_third": accuracy.get("segment_last_third"),
    }


def _margins(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """By baseline: the learner's accuracy minus the baseline's in the same run."""
    trees = []
    for one in summaries:
        own = one.get("accuracy") or {}
        trees.append(
            {
                baseline: {key: _less(own.get(key), values.get(key)) for key in values}
                for baseline, values in (one.get("baselines") or {}).items()
            }
        )
    return mean_sd_tree(trees) or {}


def _less(ours: object, theirs: object) -> float | None:
    a, b = number(ours), number(theirs)
    return None if a is None or b is None else a - b


def _continual(section: Any) -> Any:
    """The figures by decision maker, without the matrices: the seed draws the tasks' order."""
    if not isinstance(section, Mapping):
        return None
    return {
        "makers": {
            name: {key: figures.get(key) for key in CONTINUAL}
            for name, figures in (section.get("makers") or {}).items()
        }
    }


def _without_lists(section: Any) -> Any:
    if not isinstance(section, Mapping):
        return None
    return {key: value for key, value in section.items() if not isinstance(value, list)}
