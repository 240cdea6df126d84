"""`streamstop inspect`: the command's options, and what it prints."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from streamstop.cli.errors import errors_told
from streamstop.cli.options import Json, Quiet, Sensor, Strict
from streamstop.errors import DamageError


def inspect(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A recording, a folder, or -.")],
    sensor: Sensor = None,
    png: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write a picture of its events.", show_default=False),
    ] = None,
    as_json: Json = False,
    strict: Strict = False,
    quiet: Quiet = False,
) -> None:
    """Say what a recording is: format, sensor, rates, hot pixels, times, damage.

    Exit code 4 where it is damaged; what could be read was read.
    """
    with errors_told("nothing was written"):
        from streamstop.cli.display.counter_line import CounterLine
        from streamstop.cli.display.inspect import print_inspection
        from streamstop.sources.open import sensor_size
        from streamstop.tools.inspection import inspect as look

        size = sensor_size(sensor) if sensor is not None else None
        with CounterLine("reading", quiet=quiet) as line:
            found = look(
                path,
                sensor=size,
                strict=strict,
                progress=lambda share, events: line.update(events, share),
            )
        if png is not None:
            from streamstop.report.charts.events import write_picture

            write_picture(png, found)
        if as_json:
            print(json.dumps(found.as_json(), indent=2))
        else:
            print_inspection(found)
            if png is not None:
                print(f"picture {png}")
        sys.stdout.flush()
        if found.damage_total:
            raise typer.Exit(DamageError.exit_code)
