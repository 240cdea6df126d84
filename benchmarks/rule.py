"""How far STOP's gradient points where backpropagation through time does, layer by layer.

Random float64 networks of depth 1 to 4, linear and convolutional, five seeds; STOP against the
unrolled reference on the same sequences. Writes its tables into docs/rule.md, between the two lines
that mark their place. It tells of directions in networks as they are drawn, not of learning.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from provenance import ROOT, provenance
from torch import Tensor
from torch.nn import functional

from streamstop.stop.layers import LayerSpec
from streamstop.stop.network import Network, NetworkSpec
from streamstop.stop.reference import bptt_grads

SEEDS = range(5)
DEPTHS = (1, 2, 3, 4)
CLASSES, BATCH, BINS, DENSITY = 10, 16, 30, 0.2
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"


def network_of(kind: str, depth: int, seed: int) -> Network:
    """`depth` equal layers on 2x8x8: 64 neurons each, or 16 channels."""
    layer = LayerSpec(kind, 16 if kind == "conv" else 64)
    spec = NetworkSpec((2, 8, 8), (layer,) * depth, CLASSES)
    network = Network(spec, seed, dtype=torch.float64)
    network.readout_weight.mul_(10)  # as drawn it is small, to begin near chance
    for one in network.layers:
        one.bias.fill_(0.05)
    return network


def input_of(seed: int) -> tuple[Tensor, Tensor]:
    """Binary noise (bins, batch, 2, 8, 8), and labels (batch,)."""
    draw = torch.Generator().manual_seed(seed + 100)
    x = torch.rand(BINS, BATCH, 2, 8, 8, generator=draw) < DENSITY
    return x.double(), torch.randint(CLASSES, (BATCH,), generator=draw)


def stop_grads(network: Network, x: Tensor, labels: Tensor) -> tuple[dict[str, Tensor], float]:
    """Gradients by the rule, and the last layer's firing rate."""
    network.rest(BATCH)
    target = functional.one_hot(labels, CLASSES).double()
    rate = 0.0
    for now in x:
        network.backward(network.forward(now).softmax(1) - target)
        rate += float(network.spikes()[-1].mean()) / BINS
    return network.settle(), rate


class Row(NamedTuple):
    """One layer of one network: cosines, the weights' length, whether the leak's sign is right."""

    weight: float
    length: float
    bias: float
    theta: float
    leak_sign: bool


def compare(kind: str, depth: int, seed: int) -> tuple[list[Row], float, float]:
    """A row for each layer, bottom first; the worst relative error against the cut reference; the
    last layer's firing rate."""
    network = network_of(kind, depth, seed)
    x, labels = input_of(seed)
    ours, rate = stop_grads(network, x, labels)
    exact = bptt_grads(network, x, labels)
    cut = bptt_grads(network, x, labels, same_step_only=True)
    error = max(float((ours[k] - cut[k]).abs().max() / cut[k].abs().max()) for k in ours)
    rows = []
    for name in network.names:
        pairs = {
            key: (ours[f"{name}.{key}"].flatten(), exact[f"{name}.{key}"].flatten())
            for key in ("weight", "bias", "log_theta", "leak_logit")
        }
        cosines = {k: float(functional.cosine_similarity(*p, dim=0)) for k, p in pairs.items()}
        one, other = pairs["weight"]
        length = float(one.norm() / other.norm())
        signs = cosines["leak_logit"] > 0
        rows.append(Row(cosines["weight"], length, cosines["bias"], cosines["log_theta"], signs))
    return rows, error, rate


def tables() -> list[str]:
    """Both tables, in Markdown."""
    lines, errors, rates = [], [], []
    for kind in ("linear", "conv"):
        found: dict[tuple[int, int], list[Row]] = defaultdict(list)
        for depth in DEPTHS:
            for seed in SEEDS:
                rows, error, rate = compare(kind, depth, seed)
                errors.append(error)
                rates.append(rate)
                for i, row in enumerate(rows):
                    found[depth, i].append(row)
        lines += [
            f"{kind.capitalize()} layers:",
            "",
            "| depth | layer | weights (lowest) | length | biases | thresholds | leak's sign |",
            "|---|---|---|---|---|---|---|",
        ]
        for (depth, i), rows in found.items():
            weights = [row.weight for row in rows]
            cells = [
                *(str(depth), str(i + 1)),
                f"{fmean(weights):.3f} ({min(weights):.3f})",
                f"{fmean(row.length for row in rows):.2g}",
                f"{fmean(row.bias for row in rows):.3f}",
                f"{fmean(row.theta for row in rows):.3f}",
                f"{sum(row.leak_sign for row in rows)} of {len(rows)}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    lines += [
        "Cosine between STOP's gradient and that of backpropagation through time, mean of "
        f"{len(SEEDS)} seeds; *length*: of the weights' gradient, as a share of BPTT's; *leak's "
        "sign*: seeds in which it is right. With the "
        "path through the membranes above cut out of BPTT, the two agree everywhere to "
        f"{max(errors):.0e} (largest relative difference, all parameters of all "
        f"{len(errors)} networks). T = {BINS}, batch {BATCH}, leak 0.9, theta 1, input 2x8x8 with "
        f"{DENSITY:.0%} ones, 64 neurons or 16 channels a layer, cross-entropy at every step; the "
        f"last layers fire at {min(rates):.2f} to {max(rates):.2f} spikes a bin.",
        "",
    ]
    return lines


def main() -> None:
    """Measure, print, and put the tables in their place."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "rule.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = [*tables(), *provenance("rule.py", "streamstop", "torch")]
    before, _, rest = options.out.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page = "\n".join([f"{before}{BEGIN}", "", *lines, "", f"{END}{after}"])
    options.out.write_text(page)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
