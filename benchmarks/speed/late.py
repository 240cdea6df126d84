"""What it costs to learn labels that come when their segment is over: time and state.

The learner as the pipeline calls it, one segment of T bins and one label, which is either here with
every bin (`off`: predict, learn) or comes at the end (`readout`, `last`, `all`: predict, await the
label, learn it late). The same network, weights and input; what is timed is the whole segment,
update and all, in CPU time of the process over T. Contenders alternate, so that a busy machine
slows all of them. Writes docs/results/late.md, one section per network; `--network` selects one.

Does not:
- Measure accuracy.
- Time sums of more than LARGEST bytes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path
from typing import NamedTuple, get_args

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch import Tensor

from benchmarks._shared.page import table, write_section
from benchmarks._shared.provenance import ROOT, provenance
from benchmarks.speed.peers import DENSITY, RATE, one_bin
from streamstop.learning.late import MAX_KEPT, Late
from streamstop.learning.learner import LearnerSpec, StopLearner
from streamstop.stop.architectures import build_network
from streamstop.stop.layer import NeuronSpec

CLASSES = (3, 11, 100)
MODES: tuple[Late, ...] = get_args(Late)
LARGEST = 2_000_000_000


class Case(NamedTuple):
    """A network, and how long it is measured.

    turns : after one to warm up.  theta : thresholds, such that every layer spikes.
    """

    network: str
    side: int
    bins: int
    turns: int
    theta: float

    @property
    def name(self) -> str:
        """As the page calls it."""
        return f"{self.network}, {self.side}x{self.side}, T = {self.bins}"


CASES = (
    Case("compact", 32, 20, 9, 1.0),
    Case("lenet5", 32, 20, 9, 0.5),
    Case("vgg11", 48, 5, 5, 0.5),
)

INTRO = (
    "Written by `benchmarks/speed/late.py`, one section per network; do not edit. What is learned, "
    "and when: [STOP explained](../rule.md#labels-after-the-fact).\n\n"
    "`learner.late` names what learns from a label that comes when its segment is over. Each "
    "figure is that of one setting as a multiple of `off` in the same run, which learns the same "
    "label at every bin: the median CPU time per bin, and the learner's state. State counts the "
    f"sums of the open segment and of {MAX_KEPT} that may wait for their label; nothing in it "
    "depends on the number of bins. Batch 1, one thread, float32, seed 0; "
    f"{DENSITY:.0%} of the input's pixels are ones; linear readout, cross-entropy at every bin, "
    "one step of Adam per segment, weights, thresholds and leaks learn."
)


def learner_of(case: Case, classes: int, late: Late) -> StopLearner:
    """A learner from the seed's weights."""
    neuron = NeuronSpec(threshold_init=case.theta)
    network = build_network(case.network, (2, case.side, case.side), classes, neuron)
    return StopLearner(network, LearnerSpec(late=late, lr=RATE, lr_readout=RATE))


def segment(learner: StopLearner, bins: list[Tensor], label: int) -> None:
    """One segment, predicted and learned."""
    late = learner.learns_late
    learner.begin_segment()
    for now in bins:
        learner.predict(now, trace=True)
        if late:
            learner.await_label()
        else:
            learner.learn(label)
    learner.end_segment()
    if late and not learner.learn_late(label):
        raise RuntimeError("the segment was given up, and nothing measured")


def measure(learners: dict[str, StopLearner], bins: list[Tensor], turns: int) -> dict[str, float]:
    """Median milliseconds of CPU time per bin."""
    taken: dict[str, list[float]] = {name: [] for name in learners}
    for turn in range(turns + 1):
        for name in list(learners)[:: -1 if turn % 2 else 1]:
            begun = time.process_time()
            segment(learners[name], bins, turn % 3)
            if turn:
                taken[name].append((time.process_time() - begun) * 1e3 / len(bins))
    return {name: statistics.median(times) for name, times in taken.items()}


def rows(case: Case, classes: int) -> tuple[list[str], list[str]]:
    """A row of times and one of state, for a number of classes."""
    learners, state = {}, {}
    for late in MODES:
        one = learner_of(case, classes, late)
        state[late] = one.state_bytes()
        if state[late] - state["off"] <= LARGEST:
            learners[late] = one
    draw = torch.Generator().manual_seed(0)
    bins = [one_bin(learners["off"].network.spec, 1, draw) for _ in range(case.bins)]
    times = measure(learners, bins, case.turns)
    name = f"{classes} classes"
    first = [name, f"{times['off']:.2f} ms"]
    first += [
        f"{times[late] / times['off']:.2f}" if late in times else "not measured"
        for late in MODES[1:]
    ]
    second = [name, f"{state['off'] / 1e6:.1f} MB"]
    second += [f"{state[late] / state['off']:.2f}" for late in MODES[1:]]
    return first, second


def section(case: Case) -> list[str]:
    """Measure one network."""
    of_time, of_state = zip(*(rows(case, classes) for classes in CLASSES), strict=True)
    heads = [f"`{late}`" for late in MODES]
    beyond = any("not measured" in row for row in of_time)
    return [
        *provenance("benchmarks.speed.late", "streamstop", "torch")[2:],
        f"- {case.turns} turns in alternating order after one to warm up; thresholds {case.theta}",
        "",
        "Time per bin, median:",
        "",
        *table(heads, of_time),
        "State:",
        "",
        *table(heads, of_state),
        *([f"Not measured: sums of more than {LARGEST / 1e9:.0f} GB."] if beyond else []),
    ]


def main() -> None:
    """Measure the networks asked for; each writes its section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=[case.network for case in CASES], action="append")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "late.md")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for case in CASES:
        if asked.network is None or case.network in asked.network:
            order = [one.name for one in CASES]
            title = "Labels after the fact: what they cost"
            write_section(asked.out, title, INTRO, order, case.name, section(case))
            print(asked.out.read_text().partition(f"## {case.name}\n")[2].partition("\n## ")[0])


if __name__ == "__main__":
    main()
