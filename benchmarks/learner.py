"""What one step of learning costs at batch 1: STOP beside backpropagation through time.

Same network, same input, same loss at every step, one Adam step a sequence, one thread; each
contender's time is its whole sequence, forward, backward and update, over T: CPU time of the
process, which is what the clock would show on an idle machine. Contenders take turns, so that a
busy one hurts all alike. Also measured: the parts that a STOP step is made of. Writes
docs/results/learner.md. It measures time, not learning.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from provenance import ROOT, installed, provenance
from torch import Tensor, nn
from torch.nn import functional

from streamstop.stop.layers import LayerSpec
from streamstop.stop.learner import LearnerSpec, StopLearner
from streamstop.stop.network import Network, NetworkSpec
from streamstop.stop.reference import bptt_grads

CLASSES, DENSITY, LABEL = 11, 0.06, 3
CHANNELS: tuple[tuple[int, ...], ...] = ((32, 64), (32, 64, 128))
LENGTHS = (20, 50)

CONVOLVE, CONVOLVE_BACK = "convolutions, forward", "convolutions, backward"
TRACES = "traces"
LEARNER, RULE = "STOP, the learner", "STOP, the rule alone"
UPDATE = "one update by Adam (once a segment)"

Sequence = Callable[[], None]
"""One whole sequence: forward, backward, update."""


def spec_of(channels: tuple[int, ...]) -> NetworkSpec:
    """Convolutions 3x3 on 2x32x32, each pooled by 2, under a linear readout."""
    layers = tuple(LayerSpec("conv", c, pool=2) for c in channels)
    return NetworkSpec((2, 32, 32), layers, CLASSES)


def input_of(bins: int, seed: int = 0) -> Tensor:
    """Binary bins (bins, 1, 2, 32, 32), `DENSITY` of them ones."""
    draw = torch.Generator().manual_seed(seed)
    return (torch.rand(bins, 1, 2, 32, 32, generator=draw) < DENSITY).float()


def adam(parameters: dict[str, Tensor], grads: dict[str, Tensor]) -> torch.optim.Adam:
    """Adam on a network without autograd: the gradient tensors are those it sums into."""
    for name, grad in grads.items():
        parameters[name].grad = grad
    return torch.optim.Adam([parameters[name] for name in grads], lr=1e-4)


def stop_learner(channels: tuple[int, ...], x: Tensor, learn: str, update: str) -> Sequence:
    """As the pipeline calls it: predict, learn, statistics of spikes, decision's votes."""
    spec = LearnerSpec(learn=learn, update=update, lr=1e-4, lr_readout=1e-4)
    learner = StopLearner(spec_of(channels), spec)

    def sequence() -> None:
        learner.begin_segment()
        for now in x:
            learner.predict(now, will_learn=True)
            learner.learn(LABEL)
        learner.end_segment()

    return sequence


def stop_rule(channels: tuple[int, ...], x: Tensor, learn: str) -> Sequence:
    """The rule alone: what the BPTT contenders do, and no more."""
    network = Network(spec_of(channels), 0, learn=learn)
    optimizer = adam(network.parameters(), network.grads)
    target = functional.one_hot(torch.tensor([LABEL]), CLASSES).float()

    @torch.no_grad()
    def sequence() -> None:
        network.rest()
        network.zero_grads()
        for now in x:
            network.backward(network.forward(now).softmax(1) - target)
        network.settle()
        optimizer.step()
        network.refresh()

    return sequence


def torch_bptt(channels: tuple[int, ...], x: Tensor) -> Sequence:
    """`streamstop.stop.reference` in float32: the same neurons, unrolled, by autograd."""
    network = Network(spec_of(channels), 0)
    grads = network.grads
    optimizer = adam(network.parameters(), grads)
    label = torch.tensor([LABEL])

    def sequence() -> None:
        for name, grad in bptt_grads(network, x, label).items():
            grads[name].copy_(grad)
        optimizer.step()
        network.refresh()

    return sequence


def snntorch_bptt(channels: tuple[int, ...], x: Tensor, learn: bool) -> Sequence:
    """snntorch's Leaky, reset by subtraction; `learn`: thresholds and leaks too."""
    import snntorch

    leak = float(Network(spec_of(channels), 0).layers[0].leak)
    ins = (2, *channels[:-1])
    convolutions = nn.ModuleList(
        nn.Conv2d(a, b, 3, padding=1) for a, b in zip(ins, channels, strict=True)
    )
    leaky: Any = snntorch.Leaky
    neurons = nn.ModuleList(
        leaky(beta=leak, reset_mechanism="subtract", learn_beta=learn, learn_threshold=learn)
        for _ in channels
    )
    readout = nn.Linear(channels[-1] * (32 // 2 ** len(channels)) ** 2, CLASSES)
    parts = nn.ModuleList([convolutions, neurons, readout])
    optimizer = torch.optim.Adam(parts.parameters(), lr=1e-4)
    label = torch.tensor([LABEL])

    def sequence() -> None:
        membranes = [torch.zeros(()) for _ in neurons]  # snntorch gives them their shape
        loss = torch.zeros(())
        for now in x:
            spikes = now
            for i, (conv, neuron) in enumerate(zip(convolutions, neurons, strict=True)):
                spikes, membranes[i] = neuron(conv(spikes), membranes[i])
                spikes = functional.avg_pool2d(spikes, 2)
            loss = loss + functional.cross_entropy(readout(spikes.flatten(1)), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return sequence


def contenders(channels: tuple[int, ...], bins: int) -> dict[str, Sequence]:
    """All of them, set up on one input."""
    x = input_of(bins)
    found = {
        LEARNER: stop_learner(channels, x, "wtl", "segment"),
        RULE: stop_rule(channels, x, "wtl"),
        "STOP, the rule alone, weights only": stop_rule(channels, x, "w"),
        "STOP, the learner, an update every step and a shadow": stop_learner(
            channels, x, "wtl", "step"
        ),
        "torch BPTT": torch_bptt(channels, x),
    }
    if installed("snntorch"):
        found["snntorch BPTT, weights only"] = snntorch_bptt(channels, x, learn=False)
        found["snntorch BPTT"] = snntorch_bptt(channels, x, learn=True)
    return found


class Time(NamedTuple):
    """Milliseconds a step."""

    best: float
    median: float


def measure(turns: int, sequences: dict[str, Sequence], steps: int) -> dict[str, Time]:
    """Best and median of `turns`, taken in rotation after one to warm up."""
    taken: dict[str, list[float]] = {name: [] for name in sequences}
    for turn in range(turns + 1):
        for name, sequence in sequences.items():
            begun = time.process_time()
            sequence()
            if turn:
                taken[name].append((time.process_time() - begun) * 1e3 / steps)
    return {name: Time(min(t), statistics.median(t)) for name, t in taken.items()}


@torch.no_grad()
def parts(channels: tuple[int, ...], turns: int) -> dict[str, float]:
    """What a STOP step is made of, in ms a step: best times, and differences of best times."""
    bins = 20
    x = input_of(bins)
    network = Network(spec_of(channels), 0)
    optimizer = adam(network.parameters(), network.grads)
    error = torch.full((1, CLASSES), 0.1)

    def run(traces: bool, backward: bool, updates: int) -> Sequence:
        def sequence() -> None:
            network.rest()
            for now in x:
                network.forward(now, traces)
                if backward:
                    network.backward(error)
            for _ in range(updates):
                network.settle()
                optimizer.step()
                network.refresh()

        return sequence

    def convolve(forward: bool) -> Sequence:
        def sequence() -> None:
            for _ in range(bins):
                for i, layer in enumerate(network.layers):
                    if forward:
                        functional.conv2d(layer.trace, layer.weight, layer.bias, 1, layer.pad)
                    else:
                        torch.ops.aten.convolution_backward(
                            layer.state.u,
                            layer.trace,
                            layer.weight,
                            None,
                            [1, 1],
                            [layer.pad, layer.pad],
                            [1, 1],
                            False,
                            [0, 0],
                            1,
                            [i > 0, True, False],
                        )

        return sequence

    times = measure(
        turns,
        {
            "forward": run(False, False, 0),
            "traces": run(True, False, 0),
            "backward": run(True, True, 0),
            "update": run(True, True, bins),
            "conv": convolve(True),
            "conv backward": convolve(False),
        },
        bins,
    )
    best = {name: t.best for name, t in times.items()}
    rest = best["backward"] - best["traces"] - best["conv backward"]
    return {
        CONVOLVE: best["conv"],
        "neurons, pooling, readout, forward": best["forward"] - best["conv"],
        TRACES: best["traces"] - best["forward"],
        CONVOLVE_BACK: best["conv backward"],
        "surrogate, pooling, readout, sums of gradients": rest,
        UPDATE: best["update"] - best["backward"],
    }


def table(heads: list[str], rows: dict[str, list[str]]) -> list[str]:
    """A Markdown table, its first column without a head."""
    lines = [f"| | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    return [*lines, *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()), ""]


def report(
    turns: int,
    results: dict[tuple[tuple[int, ...], int], dict[str, Time]],
    made_of: dict[tuple[int, ...], dict[str, float]],
) -> str:
    """The page."""
    heads = [f"{_name(channels)}, T = {bins}" for channels, bins in results]
    columns = list(results.values())
    ours, peers = LEARNER, [name for name in columns[0] if "BPTT" in name]
    times = {n: [f"{c[n].best:.2f} ({c[n].median:.2f})" for c in columns] for n in columns[0]}
    ratios = {p: [f"{c[ours].best / c[p].best:.2f}" for c in columns] for p in peers}
    ratios["the fastest of them"] = [
        f"{c[ours].best / min(c[p].best for p in peers):.2f}" for c in columns
    ]
    names = next(iter(made_of.values()))
    pieces = {n: [f"{p[n]:.2f}" for p in made_of.values()] for n in names}
    shares = [
        f"{(p[CONVOLVE] + p[CONVOLVE_BACK]) / (sum(p.values()) - p[UPDATE]):.0%} of a step of "
        f"{_name(channels)}"
        for channels, p in made_of.items()
    ]
    traces = " and ".join(f"{p[TRACES]:.2f}" for p in made_of.values())
    longest = [results[channels, LENGTHS[-1]] for channels in made_of]
    added = " and ".join(f"{c[ours].best - c[RULE].best:.2f}" for c in longest)
    lines = [
        "# Time of a learning step",
        "",
        *provenance("learner.py", "streamstop", "torch", "snntorch"),
        f"- one thread, float32, batch 1, seed 0; input 2x32x32, {DENSITY:.0%} ones; convolutions "
        f"of so many channels, each pooled by 2, linear readout of {CLASSES} classes; {turns} "
        "turns in rotation",
        "",
        "Milliseconds of CPU time a step, best turn (median in brackets): forward, backward, and "
        "the step's share of one Adam step a sequence of T; weights, thresholds and leaks all "
        "learn; but where a line says otherwise.",
        "",
        *table(heads, times),
        f"{ours}, over its peers (best turns):",
        "",
        *table(heads, ratios),
        "What a step of the rule is made of (ms, best turns and their differences):",
        "",
        *table([_name(channels) for channels in made_of], pieces),
        f"Convolutions, which every contender has to do, are {' and '.join(shares)}, update "
        f"excluded. Traces take {traces} ms: time is not spent on time. What the learner adds to "
        f"the rule (log probabilities, votes, spike counts of every bin) is {added} ms a step.",
        "",
    ]
    return "\n".join(lines)


def _name(channels: tuple[int, ...]) -> str:
    return "-".join(map(str, channels))


def main() -> None:
    """Measure all, print the page, write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=25)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "learner.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    results: dict[tuple[tuple[int, ...], int], dict[str, Time]] = {}
    made_of: dict[tuple[int, ...], dict[str, float]] = {}
    for channels in CHANNELS:
        for bins in LENGTHS:
            print(f"conv {_name(channels)}, T = {bins}", file=sys.stderr)
            results[channels, bins] = measure(options.turns, contenders(channels, bins), bins)
        made_of[channels] = parts(channels, options.turns)
    page = report(options.turns, results, made_of)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
