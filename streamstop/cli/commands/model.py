"""`streamstop model`: options and output."""

from __future__ import annotations

import json
import re
import sys
from typing import Annotated

import typer

from streamstop.cli.errors import exit_on_error
from streamstop.cli.options import Json, Sets
from streamstop.config.sections import UNLABELLED_CLASSES
from streamstop.errors import UsageError
from streamstop.pipeline.configure import load_config


def model(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="compact, lenet5, vgg11 or resnet18.")
    ],
    input_shape: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="CxHxW",
            help="Polarities, rows and columns of a time bin. [dim]\\[default: 2x32x32][/dim]",
            show_default=False,
        ),
    ] = None,
    classes: Annotated[
        int | None,
        typer.Option(
            help=f"Number of classes. [dim]\\[default: {UNLABELLED_CLASSES}][/dim]",
            show_default=False,
        ),
    ] = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Show a network's layers and the cost of one step, without running it."""
    flags = {"source.uri": "", "network.architecture": name, "network.classes": classes}
    with exit_on_error():
        polarities = 2
        if input_shape is not None:
            sides = re.fullmatch(r"([1-9][0-9]{0,3})x([0-9]{1,9})x([0-9]{1,9})", input_shape)
            if sides is None:
                raise UsageError(f"--input must be CxHxW, such as 2x32x32, not {input_shape!r}")
            polarities = int(sides[1])
            flags |= {"binning.height": int(sides[2]), "binning.width": int(sides[3])}
        config = load_config(None, sets or (), flags)
        # These import torch, which --help must not wait for.
        from streamstop.cli.display.model import model_cost, model_json, print_model
        from streamstop.learning.network_section import network_from_config

        shape = (polarities, config.binning.height, config.binning.width)
        outputs = config.network.classes or UNLABELLED_CLASSES
        spec = network_from_config(config.network, shape, outputs)
        cost = model_cost(spec, config.learner)
        if as_json:
            print(json.dumps(model_json(name, spec, cost), indent=2))
        else:
            print_model(name, spec, cost)
        sys.stdout.flush()
