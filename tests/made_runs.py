"""Run folders with made-up decisions, for tests of what compares runs. They measure nothing."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MAKERS = ("decided", "linear", "lda", "frozen", "river", "lda_counts", "majority", "no_change")


def make_run(
    folder: Path,
    right: Sequence[bool],
    *,
    seed: int = 0,
    settings: str = "",
    rivals: Mapping[str, float] | None = None,
    recording: str = "made_up",
    bin_us: int = 50_000,
    **overrides: Any,
) -> Path:
    """A finished run's folder: the learner decided segment i right where `right[i]`.

    settings : more of config.toml.  rivals : accuracy of baselines, for the summary alone.
    """
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(
        f'[run]\nseed = {seed}\nout = "{folder.parent}"\n[binning]\nbin_us = {bin_us}\n{settings}\n'
    )
    third = right[-(len(right) // 3 or 1) :]
    own = {"segment": share(right), "segment_last_third": share(third)}
    baselines = {
        name: {"segment": value, "segment_last_third": value}
        for name, value in (rivals or {"lda_counts": 0.5, "majority": 0.25}).items()
    }
    summary = {
        "name": "test-data",
        "command": "streamstop run TEST-DATA",
        "status": "complete",
        "message": "",
        "source": "TEST-DATA",
        "data": "simulated",
        "seed": seed,
        "protocol": {"evaluation": "prequential", "order": "iid"},
        "segments": len(right),
        "classes": ["a", "b"],
        "accuracy": {**own, "kappa": 2 * share(right) - 1},
        "accuracy_by_readout": {"linear": own},
        "baselines": baselines,
        "per_class": [{"class": "a", "segments": len(right), "recall": share(right)}],
        "continual": None,
        "drift": {"alarms": [], "count": seed, "responses": 0},
        "versions": {"streamstop": "0"},
        **overrides,
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    with (folder / "segments.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["segment", "start_us", "end_us", "recording", "label", *MAKERS])
        for i, hit in enumerate(right):
            times = (i * 20 * bin_us, (i + 1) * 20 * bin_us)
            said = ["a" if hit else "b"] * len(MAKERS)
            rows.writerow([i, *times, f"{recording}_{(i * 7 + seed) % 5}", "a", *said])
    return folder


def share(right: Sequence[bool]) -> float:
    """Of those that are true."""
    return sum(right) / len(right)


def hits(count: int, of: int) -> list[bool]:
    """So many segments, of which the last `count` were decided right."""
    return [i >= of - count for i in range(of)]
