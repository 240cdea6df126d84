"""`streamstop convert` and `streamstop record`: options and output."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from streamstop.cli.errors import exit_on_error
from streamstop.cli.options import (
    Columns,
    Force,
    Format,
    FromZero,
    Json,
    OnBit,
    Quiet,
    Sensor,
    Strict,
    Unit,
)
from streamstop.errors import DamageError, UsageError
from streamstop.report.formatting import printable

if TYPE_CHECKING:
    from streamstop.tools.convert import Conversion


def convert(
    source: Annotated[str, typer.Argument(metavar="A", help="A recording, or - for stdin.")],
    out: Annotated[
        str,
        typer.Argument(
            metavar="B", help="The new file, or - for stdout; .gz, .zst, .xz compress it."
        ),
    ],
    format: Format = None,
    sensor: Sensor = None,
    on_bit: OnBit = 0,
    from_zero: FromZero = False,
    columns: Columns = None,
    unit: Unit = None,
    force: Force = False,
    strict: Strict = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Convert a recording to another format.

    Exit code 4 if A is damaged: B then holds the readable part; with --strict, B is not written.
    """
    _copy(
        *("converting", source, out, format, sensor, force, strict, 0.0, as_json, quiet),
        on_bit=on_bit,
        from_zero=from_zero,
        columns=columns or "",
        unit=unit or "",
    )


def record(
    out: Annotated[str, typer.Argument(metavar="OUT", help="The new file, or - for stdout.")],
    source: Annotated[str, typer.Option(help="A camera, udp://, dv://, or any source of run.")],
    duration: Annotated[
        float, typer.Option(metavar="S", help="Seconds to record; 0: until Ctrl-C.")
    ] = 0.0,
    format: Format = None,
    sensor: Sensor = None,
    force: Force = False,
    strict: Strict = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Record a camera or a network source to a file, until Ctrl-C."""
    _copy("recording", source, out, format, sensor, force, strict, duration, as_json, quiet)


def _copy(
    verb: str,
    source: str,
    out: str,
    format: str | None,
    sensor: str | None,
    force: bool,
    strict: bool,
    duration_s: float,
    as_json: bool,
    quiet: bool,
    on_bit: int = 0,
    from_zero: bool = False,
    columns: str = "",
    unit: str = "",
) -> None:
    with exit_on_error("nothing was written"):
        from streamstop.cli.display.counter_line import CounterLine
        from streamstop.sources.open import sensor_size
        from streamstop.tools.convert import convert

        if duration_s < 0:
            raise UsageError(f"--duration must not be negative: {duration_s}")
        size = sensor_size(sensor) if sensor is not None else None
        with CounterLine(verb, quiet=quiet) as line:
            done = convert(
                source,
                out,
                format=format or "",
                sensor=size,
                strict=strict,
                overwrite=force,
                duration_s=duration_s,
                on_bit=on_bit,
                from_zero=from_zero,
                columns=columns,
                unit=unit,
                progress=lambda events, _: line.update(events),
            )
        # If standard output carries the events, the summary goes to standard error.
        stream = sys.stderr if out == "-" else sys.stdout
        print(json.dumps(_as_json(done), indent=2) if as_json else _text(done), file=stream)
        sys.stdout.flush()
        if done.damage_count:
            raise typer.Exit(DamageError.exit_code)


def _as_json(done: Conversion) -> dict[str, object]:
    from dataclasses import asdict

    return {**asdict(done), "sensor": list(done.sensor), "dropped": dict(done.dropped)}


def _text(done: Conversion) -> str:
    size = f", {done.out_bytes:,} bytes" if done.out_bytes else ""
    lines = [
        f"{done.written:,} events, sensor {done.sensor}, {done.format} to {done.out_format}{size}"
    ]
    if done.simulated:
        lines.append("SIMULATED DATA")
    lines += [f"note: {printable(note)}" for note in done.notes]
    if done.dropped:
        causes = ", ".join(f"{n:,} {cause}" for cause, n in sorted(done.dropped.items()))
        lines.append(f"Not written: {causes}")
    for one in done.damage[:5]:
        lines.append(f"Damaged at byte {one.offset}, {one.lost_bytes} bytes lost: {one.reason}")
    if done.damage_count > 5:
        lines.append(f"and {done.damage_count - 5} more damaged places")
    return "\n".join([*lines, f"Wrote {done.out}"])
