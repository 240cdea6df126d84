"""`streamstop inspect`: options and output."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from streamstop.cli.errors import exit_on_error
from streamstop.cli.options import Json, Quiet, Sensor, Strict
from streamstop.errors import DamageError


def inspect(
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A recording, a folder, or - for stdin.")
    ],
    sensor: Sensor = None,
    png: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write an image of its events.", show_default=False),
    ] = None,
    as_json: Json = False,
    strict: Strict = False,
    quiet: Quiet = False,
) -> None:
    """Describe a recording: format, sensor, rates, hot pixels, timestamps, damage.

    Exit code 4 if it is damaged; the readable part is reported.
    """
    with exit_on_error("nothing was written"):
        from streamstop.cli.display.counter_line import CounterLine
        from streamstop.cli.display.inspect import print_inspection
        from streamstop.sources.open import sensor_size
        from streamstop.tools.inspection import inspect as read_info

        size = sensor_size(sensor) if sensor is not None else None
        with CounterLine("reading", quiet=quiet) as line:
            info = read_info(
                path,
                sensor=size,
                strict=strict,
                progress=lambda fraction, events: line.update(events, fraction),
            )
        if png is not None:
            from streamstop.report.charts.events import write_picture

            write_picture(png, info)
        if as_json:
            print(json.dumps(info.as_json(), indent=2))
        else:
            print_inspection(info)
            if png is not None:
                print(f"Image: {png}")
        sys.stdout.flush()
        if info.damage_total:
            raise typer.Exit(DamageError.exit_code)
