"""Prints a network layer by layer, and the cost of one of its steps.

Guarantees:
- Fits in 80 columns for the named networks.
- The JSON has exact numbers where the table rounds.

Does not:
- Build the network: all figures come from `streamstop.stop.cost`.
"""

from __future__ import annotations

from typing import Any

import torch
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from streamstop.cli.display.text import print_paragraph
from streamstop.config.sections import LearnerConfig
from streamstop.report.formatting import NBSP, whole
from streamstop.stop.cost import NetworkCost, network_cost
from streamstop.stop.network import NetworkSpec, letters_of

BINS = 20
"""Sequence length in bins for the comparison with backpropagation through time."""


def model_cost(spec: NetworkSpec, learner: LearnerConfig) -> NetworkCost:
    """The cost of a network that learns with these settings."""
    learn = letters_of(learner.trainable)
    return network_cost(spec, learn, getattr(torch, learner.dtype))


def model_json(name: str, spec: NetworkSpec, cost: NetworkCost) -> dict[str, Any]:
    """Every figure as a plain number: bytes, multiply-accumulates, counts."""
    return {
        "name": name,
        "input": list(spec.input_shape),
        "classes": spec.classes,
        "layers": [{**layer._asdict(), "shape": list(layer.shape)} for layer in cost.layers],
        "neurons": cost.neurons,
        "parameters": cost.parameters,
        "learning_parameters": cost.learning,
        "macs": {
            "forward": cost.forward,
            "weight_gradient": cost.weight_gradient,
            "input_gradient": cost.input_gradient,
            "learning_step": cost.learning_step,
        },
        "bytes": {
            "parameters": cost.parameter_bytes,
            "gradients_and_moments": cost.adam_bytes,
            "state": cost.state_bytes,
            "derived": cost.derived_bytes,
            "unrolled": {"bins": BINS, "bytes": cost.unrolled_bytes(BINS)},
        },
    }


def print_model(
    name: str, spec: NetworkSpec, cost: NetworkCost, console: Console | None = None
) -> None:
    """Print the layers of a network, its totals, and its memory.

    console : where to print; standard output if None.
    """
    console = console or Console()
    console.print()
    of = "x".join(map(str, spec.input_shape))
    console.print(Text(f"{name}, input {of}, {spec.classes} classes", style="bold"))
    console.print()
    console.print(Padding(_table(cost), (0, 0, 1, 0)))
    print_paragraph(
        console,
        f"One learning step: {_macs(cost.learning_step)}MAC, of which {_macs(cost.forward)}MAC "
        f"forward, {_macs(cost.weight_gradient)}MAC for weight gradients, "
        f"{_macs(cost.input_gradient)}MAC to propagate the error to lower layers.",
    )
    derived = ""
    if cost.derived_bytes:
        derived = f" {_bytes(cost.derived_bytes)} of normalised weights,"
    print_paragraph(
        console,
        f"Memory: {_bytes(cost.parameter_bytes)} of parameters,{derived} "
        f"{_bytes(cost.adam_bytes)} of gradients and Adam moments, and "
        f"{_bytes(cost.state_bytes)} of state, whatever the length of the stream. "
        f"Backpropagation through {BINS} bins needs {_bytes(cost.unrolled_bytes(BINS))} instead of "
        "that state.",
    )


def _table(cost: NetworkCost) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("layer", no_wrap=True)
    table.add_column("", overflow="fold")
    for heading in ("output", "neurons", "parameters", "state", "MAC"):
        table.add_column(heading, justify="right", no_wrap=True)
    for layer in cost.layers:
        table.add_row(
            layer.name,
            layer.what,
            "x".join(map(str, layer.shape)),
            whole(layer.neurons) if layer.neurons else "",
            whole(layer.parameters),
            _bytes(layer.state_bytes) if layer.state_bytes else "",
            _macs(layer.forward),
        )
    totals = (whole(cost.neurons), whole(cost.parameters), _bytes(cost.state_bytes))
    table.add_row("total", "", "", *totals, _macs(cost.forward), style="bold")
    return table


def _macs(count: int) -> str:
    """A count of operations with its prefix, three digits.

    >>> [_macs(n).replace(NBSP, " ") for n in (950, 342_398_464, 1_024_541_184, 999_900)]
    ['950 ', '342 M', '1.02 G', '1 M']
    """
    return _scaled(count, 1000, ("", "k", "M", "G", "T"))


def _bytes(count: int) -> str:
    """Memory in binary units, as in the paper.

    >>> _bytes(5_990_432).replace(NBSP, " "), _bytes(1828).replace(NBSP, " ")
    ('5.71 MiB', '1.79 KiB')
    """
    return _scaled(count, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))


def _scaled(count: float, step: int, units: tuple[str, ...]) -> str:
    size = 0
    while round(count) >= 1000 and size < len(units) - 1:
        count, size = count / step, size + 1
    text = f"{count:.3g}" if count < 1000 else f"{count:,.0f}"
    return f"{text}{NBSP}{units[size]}"
