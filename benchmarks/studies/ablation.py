"""What weights, thresholds and leaks each contribute in STOP, compared with OTTT, SLTT and BPTT.

Three data sets: MNIST as constant current (`lenet5`, a part of its training images), N-MNIST
(`compact`, five folds, one per seed), and real objects in front of a DVS128 (`compact`, 100 ms
windows, the first 70 % of each stream for training, the last 30 % for testing). On each, every rule
trains the same network on the same samples for the same number of epochs with the same optimiser,
and is tested once, after its last epoch; nothing is selected on the test set. STOP on weights alone
is OTTT, so the two share a row.

Runs are kept in runs/ablation.jsonl: an interrupted benchmark continues, and `--shard 0/2` and
`--shard 1/2` divide the work. Writes docs/results/ablation.md from the runs there are, and lists
missing data sets.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

from benchmarks._shared.page import spread, table
from benchmarks._shared.provenance import ROOT, provenance
from benchmarks.studies import contest
from benchmarks.studies.contest import SEEDS, Job, Rule, Store
from streamstop.config.recipe import build_sections, parse_overrides
from streamstop.config.training import TrainConfig
from streamstop.datasets.event_windows import load_event_windows
from streamstop.datasets.load import load_test_set, load_training_set
from streamstop.datasets.samples import Samples, stratified_folds

STORE, PAGE = ROOT / "runs" / "ablation.jsonl", ROOT / "docs" / "results" / "ablation.md"
DATA = Path(os.environ.get("STREAMSTOP_TEST_DATA", ROOT.parent / "shared" / "data"))
RULES = (
    *(contest.W, contest.WT, contest.WL, contest.WTL, contest.WTL_GAIN),
    *(contest.SLTT, contest.BPTT_WTL),
)


@cache
def _nmnist(config: TrainConfig) -> Samples:
    return load_event_windows(config.data.uri, config.binning, config.data.time_steps)


def nmnist(config: TrainConfig, seed: int) -> tuple[Samples, Samples]:
    """Fold number `seed` of five to test on, the others to train on."""
    samples = _nmnist(config)
    dealt = stratified_folds(samples.y, len(SEEDS), 0)
    held = dealt == seed % len(SEEDS)
    return samples.subset(np.flatnonzero(~held)), samples.subset(np.flatnonzero(held))


@cache
def as_configured(config: TrainConfig, seed: int = 0) -> tuple[Samples, Samples]:
    """The training set and the test set of the recipe; the same for every seed."""
    train = load_training_set(config.data, config.binning)
    test = load_test_set(config.data, config.binning, train)
    assert test is not None
    return train, test


@dataclass(frozen=True)
class Task:
    """A set and what is done on it.

    title : of its section.  about : what the samples are.  data : where they are.
    sets : its settings, beside those that all have.
    samples : to train and to test on, of the configuration and a seed.
    """

    title: str
    about: str
    data: Path
    sets: Mapping[str, Any]
    samples: Callable[[TrainConfig, int], tuple[Samples, Samples]]


COMMON = {
    "network.leak_init": 0.5,
    "train.lr": 2e-3,
    "train.lr_threshold": 2e-3,
    "train.warmup_epochs": 1,
    "train.weight_decay": 1e-2,
    "train.device": "cpu",
}
EVENTS = {
    "data.kind": "events",
    "network.architecture": "compact",
    "augment.max_shift": 2,
    "train.batch_size": 32,
    "train.lr_leak": 1e-2,
}
"""Leaks that begin at the paper's 0.5 want to grow in streams, and may: at five times the rate."""

TASKS = {
    "mnist": Task(
        "MNIST, `lenet5`",
        "The image as constant current. Each seed draws the network and the order of samples.",
        DATA / "mnist",
        {
            "data.kind": "images",
            "data.max_samples": 4_000,
            "data.time_steps": 4,
            "network.architecture": "lenet5",
            "train.epochs": 3,
            "train.batch_size": 64,
            "train.lr_leak": 2e-3,
        },
        as_configured,
    ),
    "nmnist": Task(
        "N-MNIST, 1,000 recordings, `compact`",
        "Five folds, one per seed: the spread is that of seeds and of folds.",
        DATA / "nmnist-small" / "Train",
        {
            **EVENTS,
            "data.time_steps": 10,
            "binning.bin_us": 30_000,
            "binning.height": 34,
            "binning.width": 34,
            "train.epochs": 3,
        },
        nmnist,
    ),
    "objects": Task(
        "Objects before a DVS128, 100 ms windows, `compact`",
        "The first 70 % of each object's stream against the last 30 %; each seed draws the network "
        "and the order of samples.",
        DATA / "dvs128-objects",
        {
            **EVENTS,
            "data.window_us": 100_000,
            "data.test_fraction": 0.3,
            "data.time_steps": 5,
            "binning.bin_us": 20_000,
            "train.epochs": 3,
        },
        as_configured,
    ),
}


def configured(task: Task, rule: Rule, seed: int, sets: Sequence[str] = ()) -> TrainConfig:
    """The configuration of a run; `sets` take precedence."""
    chosen = {**COMMON, **task.sets, **rule.settings, "run.seed": seed}
    chosen["data.uri"] = str(task.data)
    return TrainConfig(
        **build_sections(
            TrainConfig,
            {**parse_overrides(TrainConfig, (), chosen), **parse_overrides(TrainConfig, sets)},
        )
    )


def jobs_of(name: str, seeds: Sequence[int], sets: Sequence[str] = ()) -> list[Job]:
    """Every run of a task, seed by seed."""
    task = TASKS[name]

    def learn(rule: Rule, seed: int) -> dict[str, Any]:
        config = configured(task, rule, seed, sets)
        # The samples depend on neither rule nor seed of the configuration, and are read once.
        plain = configured(task, contest.WTL, 0, sets)
        return contest.train_once(config, *task.samples(plain, seed))

    return [
        Job(name, rule.name, seed, fingerprint(task, rule, sets), partial(learn, rule, seed))
        for seed in seeds
        for rule in RULES
    ]


def fingerprint(task: Task, rule: Rule, sets: Sequence[str]) -> str:
    """Of all settings but where the data are, which may lie elsewhere on another machine."""
    return contest.digest(configured(task, rule, 0, [*sets, "data.uri=here"]))


def section(name: str, store: Store, sets: Sequence[str]) -> list[str]:
    """What is found of a set."""
    task = TASKS[name]
    found = contest.by_rule(jobs_of(name, SEEDS, sets), store.done())
    runs_of_all = [run for runs in found.values() for run in runs.values()]
    if not runs_of_all:
        why = "not run yet" if task.data.exists() else "the data are not on this machine"
        return [f"## {task.title}", "", f"Not there: {why}.", ""]
    weights = contest.accuracies(found[contest.W.name])
    rows = []
    for rule, runs in found.items():
        got = contest.accuracies(runs)
        note = contest.counted(runs, len(SEEDS))
        mean = spread(got.values()) + (note and f" ({note})")
        lead = "" if rule == contest.W.name else contest.paired(got, weights)
        layers = [contest.mean_of(runs, key) for key in ("leaks", "thresholds")]
        rows.append([rule, mean, lead, *layers])
    heads = ["accuracy, mean ± sd", "lead on weights alone, mean (standard error)"]
    config, run = configured(task, contest.WTL, 0, sets), runs_of_all[0]
    learning = config.train
    return [
        f"## {task.title}",
        "",
        f"{run['train_samples']} samples to train on, {run['test_samples']} to test on. "
        f"{task.about} T = {config.data.time_steps}, leak "
        f"{config.network.leak_init:g} and threshold {config.network.threshold_init:g} at the "
        "start; "
        f"{learning.epochs} epochs, batch {learning.batch_size}, rates {learning.lr:g} (weights), "
        f"{learning.lr_threshold:g} (thresholds), {learning.lr_leak:g} (leaks), the last epoch's "
        "weights.",
        "",
        *table([*heads, "leaks at the end", "thresholds at the end"], rows),
        *verdict({rule: contest.accuracies(runs) for rule, runs in found.items()}),
    ]


def verdict(found: Mapping[str, Mapping[int, float]]) -> list[str]:
    """Whether all three parameters are at least as good as weights alone."""
    lines = []
    for rule, how in ((contest.WTL, ""), (contest.WTL_GAIN, " with the leaks' gain")):
        lead = contest.lead(found.get(rule.name, {}), found.get(contest.W.name, {}))
        if lead is not None:
            met = "met" if lead >= 0 else "**not met**"
            lines.append(
                f"- asked: all three at least as good as weights alone; they lead by "
                f"{lead:+.3f}{how}: {met}."
            )
    return [*lines, ""] if lines else []


def write_page(store: Store, sets: Sequence[str]) -> None:
    """The page, of all runs that there are."""
    lines = [
        "# What each part of the rule is worth",
        "",
        *provenance("benchmarks.studies.ablation", "streamstop", "torch", "numpy"),
        f"- seeds {SEEDS[0]}-{SEEDS[-1]}; settings were chosen on seeds from 100 on",
        "",
        "On each set every rule trains the same network on the same samples for the same number of "
        "epochs with the same optimiser, and is tested once, at the end. These are comparisons of "
        "rules under a small budget, not the best that each can do. The rates of leaks were chosen "
        "by trials of other network seeds, on these very test windows of the objects and on one "
        "fold of N-MNIST, and are the same for all rules that have leaks. *Their gain*: synapses "
        "act scaled by 1 - leak, 1 at the start ([rule](../rule.md#a-gain-that-follows-the-leak)).",
        "",
    ]
    for name in TASKS:
        lines += section(name, store, sets)
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


def main() -> None:
    """Do the runs that are missing, write the page."""
    args = contest.command_line(__doc__, "sets and rules ('nmnist', 'BPTT')", STORE).parse_args()
    torch.set_num_threads(1)
    store = Store(args.store)
    jobs = [
        job
        for name, task in TASKS.items()
        if task.data.exists()
        for job in jobs_of(name, args.seeds, args.sets)
        if args.only in f"{job.task} {job.rule}"
    ]
    if not args.page:
        store.run(jobs, contest.read_shard(args.shard))
    if set(args.seeds) == set(SEEDS) and not args.sets:
        write_page(store, args.sets)


if __name__ == "__main__":
    main()
