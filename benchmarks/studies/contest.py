"""Learning rules compared on one task: the rules, their runs on disk, means and spreads.

A run is one line of JSON in a file that is only appended to, so that an interrupted benchmark
continues and several processes can share the work. A line is identified by everything that its
figure depends on: task, rule, seed, and a digest of all settings.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from streamstop.config.training import TrainConfig
from streamstop.datasets.samples import Samples
from streamstop.errors import DivergedError
from streamstop.training.trainer import Trainer

SEEDS = range(5)
"""Seeds of the figures on a page; settings are chosen on others."""


class Rule(NamedTuple):
    """A way to learn: its name in the tables, and the settings that make it.

    gain : whether leaks have their gain (`network.decay_input`); None: as the task has it.
    """

    name: str
    learn: str
    rule: str
    gain: bool | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """As overrides of a training's configuration."""
        made: dict[str, Any] = {"train.trainable": self.learn, "train.rule": self.rule}
        return made if self.gain is None else {**made, "network.decay_input": self.gain}


W = Rule("STOP: weights (the same as OTTT)", "w", "stop")
WT = Rule("STOP: weights, thresholds", "wt", "stop")
WL = Rule("STOP: weights, leaks", "wl", "stop")
WTL = Rule("STOP: weights, thresholds, leaks", "wtl", "stop")
WTL_GAIN = Rule("STOP: all three, leaks with their gain", "wtl", "stop", True)
WTL_PLAIN = Rule("STOP: all three, leaks without their gain", "wtl", "stop", False)
W_FOUND = Rule("STOP: weights, begun at the leaks and drive that all three found", "w", "stop")
SLTT = Rule("SLTT: weights, no traces", "w", "sltt")
SLTT_WTL = Rule("no traces: weights, thresholds, leaks", "wtl", "sltt")
BPTT = Rule("BPTT: weights", "w", "bptt")
BPTT_WTL = Rule("BPTT: weights, thresholds, leaks", "wtl", "bptt")
FROZEN = Rule("frozen: the readout alone", "none", "stop")


@dataclass(frozen=True)
class Job:
    """One run to do.

    task, rule, seed : what to say of it.
    digest : of everything else that its figure depends on.
    do : does it; the figures of it.
    """

    task: str
    rule: str
    seed: int
    digest: str
    do: Callable[[], dict[str, Any]]

    @property
    def key(self) -> tuple[str, str, int, str]:
        """What identifies the run."""
        return self.task, self.rule, self.seed, self.digest


def digest(*settings: Any) -> str:
    """A short name for settings: dataclasses, named tuples, numbers, text and lists of them."""
    text = json.dumps(settings, default=asdict, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def train_once(config: TrainConfig, train: Samples, test: Samples) -> dict[str, Any]:
    """Train for all epochs, test once, at the end; accuracy is None where it diverged."""
    began = time.process_time()
    trainer = Trainer(config, train, len(train.classes))
    found: dict[str, Any] = {"test_samples": len(test.y), "train_samples": len(train.y)}
    try:
        for number in range(config.train.epochs):
            loss, seen = trainer.epoch(number)
    except DivergedError as error:
        return {**found, "accuracy": None, "diverged": str(error)}
    with trainer.ema_network() as network:
        accuracy = trainer.evaluate(test, network).accuracy
        leaks = [round(float(one.leak), 4) for one in network.layers]
        thresholds = [round(float(one.theta.mean()), 4) for one in network.layers]
    return {
        **found,
        "accuracy": accuracy,
        "train_accuracy": seen.accuracy,
        "loss": loss,
        "leaks": leaks,
        "thresholds": thresholds,
        "cpu_seconds": round(time.process_time() - began, 1),
    }


class Store:
    """Runs that were done, a line of JSON each, in a file that several processes append to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[dict[str, Any]]:
        """Every run; a line cut short by a crash counts as none."""
        found = []
        for text in self.path.read_text(encoding="utf-8").splitlines() if self.exists() else []:
            try:
                found.append(json.loads(text))
            except ValueError:
                continue
        return found

    def exists(self) -> bool:
        """Whether any run was done."""
        return self.path.exists()

    def done(self) -> dict[tuple[str, str, int, str], dict[str, Any]]:
        """Runs by their keys."""
        return {(one["task"], one["rule"], one["seed"], one["digest"]): one for one in self.lines()}

    def add(self, job: Job, found: Mapping[str, Any]) -> None:
        """Append a run; whole, as the system appends it in one piece."""
        keys = {"task": job.task, "rule": job.rule, "seed": job.seed, "digest": job.digest}
        line = json.dumps({**keys, **found}, separators=(",", ":")) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(handle).st_size
            # A line that a crash cut short must not swallow this one.
            cut = size and os.pread(handle, 1, size - 1) != b"\n"
            os.write(handle, ("\n" * bool(cut) + line).encode())
        finally:
            os.close(handle)

    def run(self, jobs: Sequence[Job], shard: tuple[int, int] = (0, 1)) -> None:
        """Do what is not done of the jobs whose turn it is: number shard[0] of every shard[1]."""
        for number, job in enumerate(jobs):
            if number % shard[1] != shard[0] or job.key in self.done():
                continue
            found = job.do()
            self.add(job, found)
            print(f"{job.task} | {job.rule} | seed {job.seed} | {found}", flush=True)


def command_line(about: str | None, only: str, store: Path) -> argparse.ArgumentParser:
    """What the programs that hold contests are asked with; only : what `--only` may name."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--only", default="", help=f"{only} with this")
    parser.add_argument("--shard", default="0/1", help="do the first of two shares: 0/2")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=list(SEEDS), help="to choose on: 100"
    )
    parser.add_argument("--set", action="append", default=[], dest="sets", help="a setting")
    parser.add_argument("--page", action="store_true", help="write the page, run nothing")
    parser.add_argument("--store", type=Path, default=store)
    return parser


def read_shard(text: str) -> tuple[int, int]:
    """The shard "0/2" is the first of two."""
    number, _, of = text.partition("/")
    shard = int(number), int(of)
    if not 0 <= shard[0] < shard[1]:
        raise ValueError(f"a shard is such as 0/2 or 1/2, not {text!r}")
    return shard


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> str:
    """Mean of our lead, seed by seed, and its standard error."""
    found = leads(ours, theirs)
    if len(found) < 2:
        return ""
    return f"{statistics.fmean(found):+.3f} ({statistics.stdev(found) / math.sqrt(len(found)):.3f})"


def lead(ours: Mapping[int, float], theirs: Mapping[int, float]) -> float | None:
    """Mean of our lead over the seeds that both have; None where there is none."""
    found = leads(ours, theirs)
    return statistics.fmean(found) if found else None


def leads(ours: Mapping[int, float], theirs: Mapping[int, float]) -> list[float]:
    """Our lead, seed by seed."""
    return [ours[seed] - theirs[seed] for seed in ours if seed in theirs]


def by_rule(
    jobs: Iterable[Job], done: Mapping[tuple[str, str, int, str], Mapping[str, Any]]
) -> dict[str, dict[int, Mapping[str, Any]]]:
    """What was found, by rule and seed, of those jobs that are done."""
    found: dict[str, dict[int, Mapping[str, Any]]] = {}
    for job in jobs:
        runs = found.setdefault(job.rule, {})
        if job.key in done:
            runs[job.seed] = done[job.key]
    return found


def accuracies(runs: Mapping[int, Mapping[str, Any]]) -> dict[int, float]:
    """Accuracy by seed, of runs that did not diverge."""
    return {seed: one["accuracy"] for seed, one in runs.items() if one["accuracy"] is not None}


def counted(runs: Mapping[int, Mapping[str, Any]], wanted: int) -> str:
    """How many runs a mean is of, where it is not all: empty, or such as "3 of 5 runs"."""
    good = len(accuracies(runs))
    if good == wanted:
        return ""
    diverged = len(runs) - good
    return f"{good} of {wanted} runs" + (f", {diverged} diverged" if diverged else "")


def mean_of(runs: Mapping[int, Mapping[str, Any]], key: str) -> str:
    """Each layer's mean over runs of what stands under `key`, from the input upwards."""
    lists = [one[key] for one in runs.values() if one.get(key)]
    return " ".join(f"{statistics.fmean(layer):.2f}" for layer in zip(*lists, strict=True))
