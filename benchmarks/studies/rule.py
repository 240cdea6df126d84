"""Direction of STOP's gradient compared with backpropagation through time, layer by layer.

Random float64 networks of depth 1 to 4, linear and convolutional, five seeds, short and long
sequences, fast and slow leaks; STOP against the unrolled reference on the same sequences. Writes
figures to docs/images and tables to docs/rule.md, between the two lines that mark their place. The
networks are at initialisation; it does not measure learning.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks._shared.panels import Axis, Series, panels
from benchmarks._shared.provenance import ROOT, provenance
from streamstop.stop import bptt
from streamstop.stop.layer import LayerSpec, NeuronSpec
from streamstop.stop.network import Network, NetworkSpec

SEEDS = range(5)
DEPTHS = (1, 2, 3, 4)
KINDS = ("linear", "conv")
CLASSES, BATCH, DENSITY = 10, 16, 0.2
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"


class Setting(NamedTuple):
    """A sequence's length, and the neurons."""

    bins: int
    neuron: NeuronSpec

    def __str__(self) -> str:
        return f"T {self.bins}, leak {self.neuron.leak_init:g}"


MAIN = Setting(30, NeuronSpec(leak_init=0.9))
SWEEP = [Setting(bins, NeuronSpec(leak_init=leak)) for leak in (0.5, 0.9) for bins in (10, 50)]
VARIANTS = {
    "as above": MAIN.neuron,
    "surrogate triangle": MAIN.neuron._replace(surrogate="triangle"),
    "surrogate sigmoid": MAIN.neuron._replace(surrogate="sigmoid"),
    "standardised weights": MAIN.neuron._replace(normalization="weight_standardization"),
    "hard reset": MAIN.neuron._replace(reset="hard"),
}


def network_of(kind: str, depth: int, seed: int, neuron: NeuronSpec) -> Network:
    """`depth` equal layers on 2x8x8: 64 neurons each, or 16 channels."""
    layer = LayerSpec(kind, 16 if kind == "conv" else 64)
    spec = NetworkSpec((2, 8, 8), (layer,) * depth, CLASSES, neuron)
    network = Network(spec, seed, dtype=torch.float64)
    network.readout.weight.mul_(10)  # it is initialised small, to start near chance
    for one in network.layers:
        one.bias.fill_(0.05)
    return network


def input_of(bins: int, seed: int) -> tuple[Tensor, Tensor]:
    """Binary noise (bins, batch, 2, 8, 8), and labels (batch,)."""
    draw = torch.Generator().manual_seed(seed + 100)
    x = torch.rand(bins, BATCH, 2, 8, 8, generator=draw) < DENSITY
    return x.double(), torch.randint(CLASSES, (BATCH,), generator=draw)


def stop_grads(network: Network, x: Tensor, labels: Tensor) -> tuple[dict[str, Tensor], float]:
    """Gradients by the rule, and the last layer's firing rate."""
    network.reset_state(BATCH)
    target = functional.one_hot(labels, CLASSES).double()
    rate = 0.0
    for now in x:
        network.backward(network.forward(now).softmax(1) - target)
        rate += float(network.spikes()[-1].mean()) / len(x)
    return network.finish_grads(), rate


class Row(NamedTuple):
    """One layer of one network: cosines, the weights' length, whether the leak's sign is right."""

    weight: float
    length: float
    bias: float
    theta: float
    leak_sign: bool


class Found(NamedTuple):
    """One network.

    rows : of its layers, bottom first.
    together : cosine of all spiking layers' weights as one vector.
    normalised : the same, each layer's gradient brought to length 1 first, in both.
    error : largest relative difference from the reference with the path cut.
    rate : the last layer's spikes a bin.
    """

    rows: list[Row]
    together: float
    normalised: float
    error: float
    rate: float


def compare(kind: str, depth: int, seed: int, setting: Setting) -> Found:
    """STOP beside the reference, one network and one batch of sequences."""
    network = network_of(kind, depth, seed, setting.neuron)
    x, labels = input_of(setting.bins, seed)
    ours, rate = stop_grads(network, x, labels)
    exact = bptt.grads(network, x, labels)
    cut = bptt.grads(network, x, labels, same_step_only=True)
    error = max(float((ours[k] - cut[k]).abs().max() / cut[k].abs().max()) for k in ours)
    rows, weights = [], []
    for name in network.layer_names:
        pairs = {
            key: (ours[f"{name}.{key}"].flatten(), exact[f"{name}.{key}"].flatten())
            for key in ("weight", "bias", "log_theta", "leak_logit")
        }
        cosines = {k: float(functional.cosine_similarity(*p, dim=0)) for k, p in pairs.items()}
        one, other = pairs["weight"]
        weights.append((one, other))
        length = float(one.norm() / other.norm())
        signs = cosines["leak_logit"] > 0
        rows.append(Row(cosines["weight"], length, cosines["bias"], cosines["log_theta"], signs))
    together = functional.cosine_similarity(*map(torch.cat, zip(*weights, strict=True)), dim=0)
    normalised = fmean(row.weight for row in rows)
    return Found(rows, float(together), normalised, error, rate)


def several(kind: str, depth: int, setting: Setting) -> list[Found]:
    """One network per seed."""
    return [compare(kind, depth, seed, setting) for seed in SEEDS]


def spread(values: Iterable[float]) -> str:
    """Mean, and the lowest in brackets."""
    values = list(values)
    return f"{fmean(values):.3f} ({min(values):.3f})"


Every = dict[tuple[str, int, Setting], list[Found]]
"""Networks by kind, depth and setting."""


def figure(every: Every, measure: str, y: Axis, title: str, desc: str) -> str:
    """Panels: kinds down, settings across; lines by depth, over the layers above a layer."""
    cells = {}
    for kind in KINDS:
        for setting in SWEEP:
            series = []
            for depth in reversed(DEPTHS):  # the deepest below, thick, so that none hides another
                above = range(depth)
                values = [
                    [
                        getattr(one.rows[depth - 1 - k], measure)
                        for one in every[kind, depth, setting]
                    ]
                    for k in above
                ]
                low = [min(v) for v in values] if depth == max(DEPTHS) else ()
                high = [max(v) for v in values] if depth == max(DEPTHS) else ()
                means, weight = [fmean(v) for v in values], 1.2 + 1.1 * (depth - 1)
                series.append(Series(f"depth {depth}", above, means, depth - 1, weight, low, high))
            if measure == "length":
                kept = [(1 - setting.neuron.leak_init) ** k for k in range(max(DEPTHS))]
                theory = Series("(1 − leak)^k", range(max(DEPTHS)), kept, 4, 1.4, dash="3 4")
                series.append(theory)
            cells[f"{kind} layers", str(setting)] = series
    x = Axis("k, the spiking layers between a layer and the readout", range(max(DEPTHS)))
    return panels(cells, x, y, title=title, desc=desc)


def figures(every: Every) -> dict[str, str]:
    """SVG by file name."""
    swept = [
        row
        for (_, _, setting), many in every.items()
        if setting in SWEEP
        for one in many
        for row in one.rows
    ]
    floor = math.floor(10 * min(row.weight for row in swept))
    decades = range(math.floor(math.log10(min(row.length for row in swept))), 1)
    bands = "The band spans five seeds at depth 4."
    return {
        "rule-cosine.svg": figure(
            every,
            "weight",
            Axis("", [k / 10 for k in range(floor, 11)], "{:.1f}".format),
            "Direction: cosine with BPTT, weights",
            "Cosine between STOP's weight gradient and that of backpropagation through time, by "
            f"the number of spiking layers above the layer. {bands}",
        ),
        "rule-length.svg": figure(
            every,
            "length",
            Axis("", [10.0**k for k in decades], "{:g}".format, log=True),
            "Length: share of BPTT's, weights",
            "Length of STOP's weight gradient as a share of that of backpropagation through time, "
            "logarithmic, by the number k of spiking layers above the layer; dotted: what is kept "
            f"of errors that hardly change, (1 - leak)^k. {bands}",
        ),
    }


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Markdown, and an empty line."""
    lines = [head, ["---"] * len(head), *rows]
    return [*(f"| {' | '.join(cells)} |" for cells in lines), ""]


def by_setting(every: Every) -> list[str]:
    """Depth 4: cosine and length by the layers above, and of the whole."""
    depth, rows = max(DEPTHS), []
    for kind in KINDS:
        for setting in SWEEP:
            many = every[kind, depth, setting]
            cells = [f"{kind}, {setting}"]
            for k in range(1, depth):
                layer = [one.rows[depth - 1 - k] for one in many]
                length = fmean(row.length for row in layer)
                cells.append(f"{spread(row.weight for row in layer)}, {length:.2g}")
            cells.append(f"{fmean(one.together for one in many):.3f}")
            cells.append(f"{fmean(one.normalised for one in many):.3f}")
            right = sum(row.leak_sign for one in many for row in one.rows[:-1])
            cells.append(f"{right} of {len(many) * (depth - 1)}")
            rows.append(cells)
    above = [f"{k} above" for k in range(1, depth)]
    return table(["depth 4", *above, "together", "each at length 1", "leak's sign"], rows)


def by_layer(every: Every, kind: str) -> list[str]:
    """Every depth and layer at the main setting."""
    rows = []
    for depth in DEPTHS:
        for i in range(depth):
            layer = [one.rows[i] for one in every[kind, depth, MAIN]]
            rows.append(
                [
                    *(str(depth), str(i + 1)),
                    spread(row.weight for row in layer),
                    f"{fmean(row.length for row in layer):.2g}",
                    f"{fmean(row.bias for row in layer):.3f}",
                    f"{fmean(row.theta for row in layer):.3f}",
                    f"{sum(row.leak_sign for row in layer)} of {len(layer)}",
                ]
            )
    head = ["depth", "layer", "weights (lowest)", "length", "biases", "thresholds", "leak's sign"]
    return table(head, rows)


def by_variant(every: Every) -> list[str]:
    """Other neurons, at depth 1 and 4, the main length and leak."""
    rows = []
    for kind in KINDS:
        for name, neuron in VARIANTS.items():
            setting = Setting(MAIN.bins, neuron)
            alone, deep = every[kind, 1, setting], every[kind, 4, setting]
            bottom, top = [one.rows[0] for one in deep], [one.rows[-1] for one in deep]
            cells = [f"{kind}, {name}", spread(one.rows[0].weight for one in alone)]
            cells += [spread(row.weight for row in rows_) for rows_ in (top, bottom)]
            cells.append(f"{fmean(row.length for row in bottom):.2g}")
            cells.append(f"{fmean(one.normalised for one in deep):.3f}")
            rows.append(cells)
    head = ["", "depth 1", "depth 4, top", "depth 4, bottom", "its length", "each at length 1"]
    return table(head, rows)


def page(every: Every) -> list[str]:
    """Figures and tables, in Markdown."""
    soft = [one for key, many in every.items() if key[2].neuron.reset == "soft" for one in many]
    main = [one for (_, _, setting), many in every.items() if setting == MAIN for one in many]
    return [
        "![Cosine with BPTT by the layers above](images/rule-cosine.svg)",
        "",
        "![Length as a share of BPTT's by the layers above](images/rule-length.svg)",
        "",
        "One line a depth, over the number of spiking layers between a layer and the readout: the "
        "lines lie on each other because that number decides, not the depth below. The band spans "
        "the seeds at depth 4. The same in figures, mean (lowest seed), then length:",
        "",
        *by_setting(every),
        "*together*: cosine of the weights of all layers as one vector, which the longest "
        "gradient, the top layer's, decides; *each at length 1*: every layer's gradient brought "
        "to length 1 first, as steps that are normalised layer by layer take it; *leak's sign*: "
        "layers below the top, over all seeds, where it is right.",
        "",
        f"Every parameter, {MAIN}:",
        "",
        *(
            line
            for kind in KINDS
            for line in (f"{kind.capitalize()} layers:", "", *by_layer(every, kind))
        ),
        f"Other neurons, weights, {MAIN}:",
        "",
        *by_variant(every),
        "Cosine between STOP's gradient and that of backpropagation through time, mean of "
        f"{len(SEEDS)} seeds; *length*: of the weights' gradient, as a share of BPTT's; *leak's "
        "sign*: seeds in which it is right. With the path through the membranes above cut out of "
        "BPTT, the two agree everywhere to "
        f"{max(one.error for one in soft):.0e} (largest relative difference, all parameters of all "
        f"{len(soft)} networks with a soft reset). Batch {BATCH}, theta 1, "
        f"input 2x8x8 with {DENSITY:.0%} ones, 64 neurons or 16 channels a layer, cross-entropy at "
        f"every step; at {MAIN} the last layers fire at {min(one.rate for one in main):.2f} to "
        f"{max(one.rate for one in main):.2f} spikes a bin.",
        "",
    ]


def main() -> None:
    """Measure, print, and put figures and tables in their place."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "rule.md")
    options = parser.parse_args()
    before, _, rest = options.out.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    torch.set_num_threads(1)
    asked = [(depth, setting) for depth in DEPTHS for setting in (*SWEEP, MAIN)]
    asked += [(depth, Setting(MAIN.bins, one)) for depth in (1, 4) for one in VARIANTS.values()]
    every = {
        (kind, depth, setting): several(kind, depth, setting)
        for kind in KINDS
        for depth, setting in dict.fromkeys(asked)
    }
    lines = [*page(every), *provenance("benchmarks.studies.rule", "streamstop", "torch")]
    images = options.out.parent / "images"
    images.mkdir(exist_ok=True)
    for name, svg in figures(every).items():
        (images / name).write_text(svg)
    options.out.write_text("\n".join([f"{before}{BEGIN}", "", *lines, "", f"{END}{after}"]))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
