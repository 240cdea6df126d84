"""Time of a learning step: STOP and backpropagation through time, on one thread.

Same network, initial weights, input, loss at every bin, and one Adam step per sequence. A
contender's time is that of a whole sequence of T bins: forward, backward and update, in CPU time of
the process, which on an idle machine equals wall time. Contenders alternate, so that a busy machine
slows all of them. Also measured: the convolutions alone, as a lower bound, and the parts of a STOP
step. Each case writes its section of docs/results/learner.md; `--case` selects cases.

Does not:
- Measure accuracy.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks._shared.page import table, write_section
from benchmarks._shared.provenance import ROOT, provenance
from benchmarks.speed.peers import (
    CLASSES,
    CONTENDERS,
    DENSITY,
    LEARNER,
    PEERS,
    RULE,
    SHADOW,
    TOGETHER,
    Contender,
    one_bin,
    present,
    spec_of,
)
from streamstop.stop.network import Network, NetworkSpec

FLOOR, FLOOR_BACK = "convolutions alone, forward", "convolutions alone, backward"
AT_ONCE = "convolutions alone, both, all T bins at once"


class Case(NamedTuple):
    """What is run.

    turns : after one to warm up.  bar : what STOP's time may be of the fastest peer's.
    theta : thresholds, such that every layer spikes: in a silent one gradients are so small that
        their squares are denormal numbers, which processors are slow at.
    few : only contenders that learn what all can: weights, and STOP in full.
    """

    network: str
    side: int
    batch: int
    bins: int
    turns: int
    bar: float
    theta: float = 1.0
    few: bool = False

    @property
    def name(self) -> str:
        """As the page calls it."""
        return f"{self.network}, {self.side}x{self.side}, batch {self.batch}, T = {self.bins}"

    @property
    def key(self) -> str:
        """As the command line calls it."""
        return f"{self.network}-{self.batch}-{self.bins}"


CASES = (
    Case("compact", 32, 1, 20, 20, 0.7),
    Case("compact", 32, 1, 50, 10, 0.7),
    Case("compact", 32, 32, 20, 3, 1.0),
    Case("vgg11", 48, 1, 10, 4, 1.0, 0.5),
    Case("vgg11", 48, 32, 2, 2, 1.0, 0.5, few=True),
)

INTRO = (
    "Written by `benchmarks/speed/learner.py`, one section per case; do not edit. What the figures "
    "mean: [performance](../performance.md).\n\n"
    "Milliseconds of CPU time per step: forward, backward and a step's share of one Adam step per "
    f"sequence of T. One thread, float32, seed 0; {DENSITY:.0%} of the input's pixels are ones; "
    f"{CLASSES} classes, linear readout, cross-entropy at every bin. `learn`: w weights and "
    "biases, t thresholds, l leaks. *Step by step* a contender takes one bin through all layers "
    "before the next, as a stream comes; *layer by layer* it gives each layer all T bins at once, "
    "for which it must hold the whole sequence before it answers; *ten bins at once* is STOP in "
    "that mode, which holds ten bins, however long the sequence, with the same gradients. `loss` "
    "is that of the first sequence, from the same weights: equal numbers say that the same network "
    "was computed (snntorch's reset does not decay, so that its own differs)."
)


class Time(NamedTuple):
    """Milliseconds a step."""

    best: float
    median: float


Timed = Callable[[], float]


def measure(turns: int, sequences: dict[str, Timed], steps: int) -> dict[str, Time]:
    """Best and median of `turns`, taken in turn after one to warm up."""
    taken: dict[str, list[float]] = {name: [] for name in sequences}
    for turn in range(turns + 1):
        for name in list(sequences)[:: -1 if turn % 2 else 1]:
            begun = time.process_time()
            sequences[name]()
            if turn:
                taken[name].append((time.process_time() - begun) * 1e3 / steps)
    return {name: Time(min(t), statistics.median(t)) for name, t in taken.items()}


def input_of(case: Case, spec: NetworkSpec) -> tuple[list[Tensor], Tensor]:
    """Bins and labels of one sequence."""
    draw = torch.Generator().manual_seed(0)
    bins = [one_bin(spec, case.batch, draw) for _ in range(case.bins)]
    return bins, torch.randint(CLASSES, (case.batch,), generator=draw)


def contenders(case: Case) -> list[Contender]:
    """Who takes part in a case."""
    who = [one for one in CONTENDERS if present(one)]
    if case.batch > 1:
        who = [one for one in who if not one.single]
    elif case.network == "compact":
        who.insert(1, SHADOW)
    return [one for one in who if one.learn == "w" or one in (RULE, TOGETHER)] if case.few else who


def race(case: Case, spec: NetworkSpec) -> tuple[dict[Contender, Time], dict[Contender, float]]:
    """The times of all, and each one's loss on its first sequence."""
    bins, labels = input_of(case, spec)
    who = {one.name + one.learn: one for one in contenders(case)}
    losses: dict[Contender, float] = {}

    def timed(one: Contender) -> Timed:
        sequence = one.build(spec)

        def run() -> float:
            loss = sequence(bins, labels)
            losses.setdefault(one, loss)
            return loss

        return run

    times = measure(case.turns, {key: timed(one) for key, one in who.items()}, case.bins)
    return {who[key]: t for key, t in times.items()}, losses


class _Convolution:
    """A layer's products alone, on tensors of its shapes, in one layout; `bins` of them at once."""

    def __init__(
        self, network: Network, i: int, layout: torch.memory_format, bins: int = 1
    ) -> None:
        layer = network.layers[i]
        spec = layer.spec
        self.weight = layer.weight.clone(memory_format=layout)
        self.x, self.delta = (
            t.repeat(bins, 1, 1, 1).contiguous(memory_format=layout)
            for t in (layer.trace, layer.state.v)
        )
        self.bias = layer.bias
        pad = spec.kernel // 2 if spec.pad < 0 else spec.pad
        self.stride, self.pad, self.groups = [spec.stride] * 2, [pad] * 2, spec.groups
        self.wanted = [i > 0, True, False]

    def forward(self) -> None:
        functional.conv2d(self.x, self.weight, self.bias, self.stride, self.pad, groups=self.groups)

    def backward(self) -> None:
        torch.ops.aten.convolution_backward(
            self.delta, self.x, self.weight, None, self.stride, self.pad, [1, 1], False, [0, 0],
            self.groups, self.wanted,
        )  # fmt: skip


@torch.no_grad()
def parts(case: Case, spec: NetworkSpec) -> dict[str, float]:
    """The floor, and what a step of the rule is made of, in ms a step, from best turns.

    The floor takes the faster of torch's two layouts. A part is the difference of two sequences
    that differ by it, so that it may come out a little below nought.
    """
    bins, _ = input_of(case, spec)
    network = Network(spec, 0)
    parameters = network.parameters()
    optimizer = torch.optim.Adam([parameters[name] for name in network.grads], lr=1e-4)
    error = torch.full((case.batch, CLASSES), 0.1)

    def run(traces: bool, backward: bool, updates: int) -> Timed:
        def sequence() -> float:
            network.reset_state(case.batch)
            network.zero_grads()
            for now in bins:
                network.forward(now, traces=traces)
                if backward:
                    network.backward(error)
            for _ in range(updates):
                for name, grad in network.finish_grads().items():
                    parameters[name].grad = grad
                optimizer.step()
                network.refresh()
            return 0.0

        return sequence

    def convolve(layout: torch.memory_format, way: str, at_once: int = 1) -> Timed:
        network.reset_state(case.batch)
        layers = range(len(network.layers))
        all_of_them = [_Convolution(network, i, layout, at_once) for i in layers]

        def sequence() -> float:
            for _ in range(case.bins // at_once):
                for one in all_of_them:
                    if way != "backward":
                        one.forward()
                    if way != "forward":
                        one.backward()
            return 0.0

        return sequence

    updates = 2  # of which a sequence's own share is computed below
    sequences = {
        "forward": run(False, False, 0),
        "traced": run(True, False, 0),
        "backward": run(True, True, 0),
        "updated": run(True, True, updates),
    }
    layouts = {"rows": torch.contiguous_format, "channels": torch.channels_last}
    for layout, format_ in layouts.items():
        sequences[f"{layout} forward"] = convolve(format_, "forward")
        sequences[f"{layout} backward"] = convolve(format_, "backward")
        sequences[f"{layout} at once"] = convolve(format_, "both", case.bins)
    best = {k: t.best for k, t in measure(max(case.turns, 2), sequences, case.bins).items()}
    floor = min(layouts, key=lambda one: best[f"{one} forward"] + best[f"{one} backward"])
    return {
        FLOOR: best[f"{floor} forward"],
        FLOOR_BACK: best[f"{floor} backward"],
        AT_ONCE: min(best[f"{one} at once"] for one in layouts),
        "forward, without traces": best["forward"],
        "traces": best["traced"] - best["forward"],
        "backward": best["backward"] - best["traced"],
        "update: settle, Adam, refresh, over T": (best["updated"] - best["backward"]) / updates,
    }


def verdict(case: Case, times: dict[Contender, Time]) -> list[str]:
    """STOP over the fastest peers, and whether that is what was asked."""
    who = {"the learner": LEARNER, "the rule alone": RULE, "ten bins at once": TOGETHER}
    peers = {one: t for one, t in times.items() if one.library in PEERS}
    stepping = [one for one in peers if "layer by layer" not in one.how]
    fields = {"of all": list(peers), "of those that go step by step": stepping}
    alike = [one for one in peers if one.learn == RULE.learn]
    if alike:
        fields["of those that learn w, t and l"] = alike
    rows = []
    for title, ours in who.items():
        if ours not in times:
            continue
        cells = [f"STOP, {title}"]
        for field in fields.values():
            fastest = min(field, key=lambda one: times[one].best)
            median = min(times[one].median for one in field)
            ratio = times[ours].best / times[fastest].best
            met = "met" if ratio <= case.bar else "**missed**"
            middle = times[ours].median / median
            cells.append(f"{ratio:.2f} (medians {middle:.2f}): {met}")
        rows.append(cells)
    heads = [
        f"fastest {which}: {min(field, key=lambda one: times[one].best).name}"
        for which, field in fields.items()
    ]
    asked = f"at most {case.bar:.1f} of the fastest peer's time per step"
    return [f"Asked: {asked}. Best turn over best turn:", "", *table(heads, rows)]


def section(case: Case) -> list[str]:
    """Measure one case, and write its section."""
    spec = spec_of(case.network, case.side, case.theta)
    times, losses = race(case, spec)
    made_of = parts(case, spec)
    floor = made_of[FLOOR] + made_of[FLOOR_BACK]
    rows = [
        [one.name, one.learn, f"{t.best:.2f}", f"{t.median:.2f}", f"{losses[one]:.4f}"]
        for one, t in times.items()
    ]
    rows += [
        [f"{library}", "", "not installed", "", ""]
        for library in PEERS
        if not any(one.library == library for one in times)
    ]
    whole = sum(made_of.values()) - floor - made_of[AT_ONCE]
    return [
        *provenance("benchmarks.speed.learner", "streamstop", *PEERS)[2:],
        f"- {case.turns} turns in alternating order after one to warm up; thresholds {case.theta}",
        "",
        *table(["learn", "best turn", "median", "loss"], rows),
        *verdict(case, times),
        "What a step of the rule is made of (w, t and l; ms a step, best turns and their "
        "differences), and the floor below it:",
        "",
        *table(["ms"], [[name, f"{ms:.2f}"] for name, ms in made_of.items()]),
        f"The convolutions alone take {floor:.2f} ms, {floor / whole:.0%} of the step's "
        f"{whole:.2f} ms: every contender that goes step by step has to do them. Layer by layer "
        f"they take {made_of[AT_ONCE]:.2f} ms: weights are read, and their gradient written, once "
        "a sequence.",
    ]


SILENCE, SILENT = "A stream that falls silent", 1_500


@torch.no_grad()
def silence() -> list[str]:
    """What a step costs long after the last event: traces that decay must not grow slow."""
    case = CASES[0]
    spec = spec_of(case.network, case.side)
    network = Network(spec, 0)
    network.reset_state(1)
    error = torch.full((1, CLASSES), 0.1)
    bins, _ = input_of(case, spec)
    empty = torch.zeros_like(bins[0])

    def step(now: Tensor) -> float:
        begun = time.process_time()
        network.forward(now)
        network.backward(error)
        return (time.process_time() - begun) * 1e3

    lively = min(sum(step(now) for now in bins) / len(bins) for _ in range(10))
    hundreds = [sum(step(empty) for _ in range(100)) / 100 for _ in range(SILENT // 100)]
    slowest = max(hundreds)
    return [
        *provenance("benchmarks.speed.learner", "streamstop", "torch")[2:],
        "- compact, 32x32, batch 1; the rule's forward and backward pass, no update",
        "",
        *table(
            ["ms a step"],
            [
                ["while events come", f"{lively:.2f}"],
                ["first 100 empty bins", f"{hundreds[0]:.2f}"],
                [f"last 100 of {SILENT:,} empty bins", f"{hundreds[-1]:.2f}"],
                ["slowest 100 of them", f"{slowest:.2f}"],
            ],
        ),
        "Traces decay towards nought and, below 1e-38, would become denormal numbers, which "
        "processors are many times slower at: "
        + ("they do here." if slowest > 2 * lively else "they do not."),
    ]


def main() -> None:
    """Measure the cases asked for; each writes its section."""
    parser = argparse.ArgumentParser(description=__doc__)
    keys = [*(case.key for case in CASES), "silence"]
    parser.add_argument("--case", choices=keys, action="append", help="all where none is given")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "learner.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    order = [*(case.name for case in CASES), SILENCE]
    for key, name in zip(keys, order, strict=True):
        if options.case and key not in options.case:
            continue
        print(f"== {name}", file=sys.stderr)
        torch.manual_seed(0)
        case = next((one for one in CASES if one.key == key), None)
        lines = silence() if case is None else section(case)
        print("\n".join(lines))
        write_section(options.out, "Time of a learning step", INTRO, order, name, lines)


if __name__ == "__main__":
    main()
