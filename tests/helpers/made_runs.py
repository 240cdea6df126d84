"""Run folders with made-up decisions, for tests of what compares runs. They measure nothing."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from streamstop.config.recipe import to_toml
from streamstop.config.sections import Config
from streamstop.errors import SourceError

MAKERS = (
    "headline",
    "linear",
    "lda",
    "initial_network",
    "softmax_counts",
    "lda_counts",
    "majority",
    "no_change",
)


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
        "schema": 2,
        "name": "test-data",
        "command": "streamstop run TEST-DATA",
        "status": "complete",
        "message": "",
        "source": "TEST-DATA",
        "data": "simulated",
        "seed": seed,
        "protocol": {"evaluation": "prequential", "order": "shuffled"},
        "n_segments": len(right),
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


def fake_run(config: Config, *, command: str, progress: Any, opened: Any = None) -> SimpleNamespace:
    """Stands where `streamstop.pipeline.run` is, in a process of its own; `run.name` says what for.

    "ok" ends well; "wait" goes on until it is interrupted; what begins with "odd" does, where the
    seed is odd, what comes after: fail, crash, die, damaged.
    """
    what = config.run.name.partition("-")[2] if config.run.seed % 2 else "ok"
    what = config.run.name if config.run.name == "wait" else what
    print("a library prints this")
    progress(SimpleNamespace(segment=1, segments=10, events=5, accuracy=0.5))
    if what == "fail":
        raise SourceError("no such camera")
    if what == "crash":
        raise RuntimeError("a bug")
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    status = "damaged" if what == "damaged" else "complete"
    try:
        time.sleep(60 if what == "wait" else 0)
    except KeyboardInterrupt:
        status = "interrupted"
    folder = make_run(
        Path(config.run.output_dir) / f"made-{config.run.seed}",
        hits(5 + config.run.seed, 10),
        seed=config.run.seed,
        status=status,
        command=command,
        environment=os.environ.get("OMP_NUM_THREADS"),
    )
    (folder / "config.toml").write_text(to_toml(config))
    code = {"complete": 0, "damaged": 4, "interrupted": 130}[status]
    return SimpleNamespace(run_dir=folder, exit_code=code)


def note_report(folder: Path) -> None:
    """Stands where `write_report` is."""
    (folder / "report.html").write_text("made up")


def broken_report(folder: Path) -> None:
    """Stands where `write_report` is, and fails."""
    raise KeyError(folder.name)
