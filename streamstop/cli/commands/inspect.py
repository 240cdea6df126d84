"""`streamstop inspect`: options and output."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from streamstop.cli.errors import exit_on_error
from streamstop.cli.options import Json, Quiet, Sensor, Strict
from streamstop.errors import DamageError, UsageError


def inspect(
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A recording, a folder, or - for stdin.")
    ],
    sensor: Sensor = None,
    png: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write an image of its events.", show_default=False),
    ] = None,
    windows: Annotated[
        int,
        typer.Option(metavar="N", help="With --png: N windows of time side by side."),
    ] = 1,
    gif: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Write an animated GIF of its events.", show_default=False
        ),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="With --gif: at most N frames. [dim]\\[default: 100][/dim]",
            show_default=False,
        ),
    ] = None,
    window_ms: Annotated[
        float | None,
        typer.Option(
            metavar="MS",
            help="Length of a window, or of what a frame of the GIF shows. "
            "[dim]\\[default: 33 for a GIF][/dim]",
            show_default=False,
        ),
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

        _check_pictures(png, windows, gif, frames, window_ms)
        size = sensor_size(sensor) if sensor is not None else None
        with CounterLine("reading", quiet=quiet) as line:
            info = read_info(
                path,
                sensor=size,
                strict=strict,
                progress=lambda fraction, events: line.update(events, fraction),
            )
        length_us = None if window_ms is None else max(round(window_ms * 1000), 1)
        if png is not None and windows > 1:
            from streamstop.report.charts.event_film import write_strip

            write_strip(png, info, windows, length_us)
        elif png is not None:
            from streamstop.report.charts.events import write_picture

            write_picture(png, info)
        if gif is not None:
            from streamstop.report.charts.event_film import write_film

            write_film(gif, info, length_us, frames)
        if as_json:
            print(json.dumps(info.as_json(), indent=2))
        else:
            print_inspection(info)
            for name, file in (("Image", png), ("Animation", gif)):
                if file is not None:
                    print(f"{name}: {file}")
        sys.stdout.flush()
        if info.damage_total:
            raise typer.Exit(DamageError.exit_code)


def _check_pictures(
    png: str | None, windows: int, gif: str | None, frames: int | None, window_ms: float | None
) -> None:
    """Check that the options of pictures belong to one that is asked for."""
    if windows != 1 and png is None:
        raise UsageError("--windows needs --png FILE")
    if frames is not None and gif is None:
        raise UsageError("--frames needs --gif FILE")
    if window_ms is not None and gif is None and (png is None or windows == 1):
        raise UsageError("--window-ms needs --gif FILE, or --png FILE with --windows")
    if window_ms is not None and not 0 < window_ms < float("inf"):
        raise UsageError(f"--window-ms must be positive: {window_ms}")
    if windows < 1:
        raise UsageError(f"--windows must be positive: {windows}")
