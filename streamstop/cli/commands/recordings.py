"""`streamstop inspect`, `convert`, `record`, `stream`, `doctor`: options, and what they print."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from streamstop.cli.errors import errors_told
from streamstop.cli.options import Json, Quiet
from streamstop.errors import DamageError, UsageError

if TYPE_CHECKING:
    from streamstop.tools.convert import Conversion
    from streamstop.tools.send import Sent

Strict = Annotated[
    bool, typer.Option("--strict", metavar="", help="Stop at the first damaged input (exit 4).")
]
Sensor = Annotated[
    str | None,
    typer.Option(
        metavar="WxH",
        help="Pixels of the sensor, where the source does not say.",
        show_default=False,
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        help="Format of the new file, where its name does not tell: aedat4, aedat3, aedat2, evt3, "
        "evt2, dat, npz, npy, csv, bin.",
        show_default=False,
    ),
]
OnBit = Annotated[
    int,
    typer.Option(
        metavar="0|1",
        help="AEDAT 2.0 only: the address bit that ON is written as. 0 as jAER reads it; 1 for "
        "loaders of CIFAR10-DVS that take ON to be 1.",
    ),
]
FromZero = Annotated[
    bool,
    typer.Option(
        "--from-zero",
        metavar="",
        help="Times count from the first event; for formats that cannot say a camera's clock.",
    ),
]
Force = Annotated[bool, typer.Option("--force", "-f", metavar="", help="Replace what is there.")]


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


def convert(
    source: Annotated[str, typer.Argument(metavar="A", help="A recording, or - for stdin.")],
    out: Annotated[
        str,
        typer.Argument(metavar="B", help="The new file, or - for stdout; .gz, .zst, .xz pack it."),
    ],
    format: Format = None,
    sensor: Sensor = None,
    on_bit: OnBit = 0,
    from_zero: FromZero = False,
    force: Force = False,
    strict: Strict = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a recording anew in another format.

    Exit code 4 where A is damaged; B then holds what could be read, or with --strict is not made.
    """
    _copy(
        *("converting", source, out, format, sensor, force, strict, 0.0, as_json, quiet),
        on_bit=on_bit,
        from_zero=from_zero,
    )


def record(
    out: Annotated[str, typer.Argument(metavar="OUT", help="The new file, or - for stdout.")],
    source: Annotated[
        str, typer.Option(help="A camera, udp://, dv://, or anything that run reads.")
    ],
    seconds: Annotated[
        float, typer.Option(metavar="S", help="End after so long; 0: at Ctrl-C.")
    ] = 0.0,
    format: Format = None,
    sensor: Sensor = None,
    force: Force = False,
    strict: Strict = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write what a camera or socket sends to a file, until Ctrl-C."""
    _copy("recording", source, out, format, sensor, force, strict, seconds, as_json, quiet)


def _copy(
    verb: str,
    source: str,
    out: str,
    format: str | None,
    sensor: str | None,
    force: bool,
    strict: bool,
    seconds: float,
    as_json: bool,
    quiet: bool,
    on_bit: int = 0,
    from_zero: bool = False,
) -> None:
    with errors_told("nothing was written"):
        from streamstop.cli.display.counter_line import CounterLine
        from streamstop.sources.open import sensor_size
        from streamstop.tools.convert import convert

        if seconds < 0:
            raise UsageError(f"--seconds must not be negative, and is {seconds}")
        size = sensor_size(sensor) if sensor is not None else None
        with CounterLine(verb, quiet=quiet) as line:
            done = convert(
                source,
                out,
                format=format or "",
                sensor=size,
                strict=strict,
                overwrite=force,
                seconds=seconds,
                on_bit=on_bit,
                from_zero=from_zero,
                progress=lambda events, _: line.update(events),
            )
        # Where events go to standard output, what is said of them does not.
        said = sys.stderr if out == "-" else sys.stdout
        print(json.dumps(_as_json(done), indent=2) if as_json else _told(done), file=said)
        sys.stdout.flush()
        if done.damage_count:
            raise typer.Exit(DamageError.exit_code)


def _as_json(done: Conversion) -> dict[str, object]:
    from dataclasses import asdict

    return {**asdict(done), "sensor": list(done.sensor), "dropped": dict(done.dropped)}


def _told(done: Conversion) -> str:
    size = f", {done.out_bytes:,} bytes" if done.out_bytes else ""
    lines = [
        f"{done.written:,} events of a sensor of {done.sensor}, {done.format} to "
        f"{done.out_format}{size}"
    ]
    if done.simulated:
        lines.append("SIMULATED DATA")
    if done.dropped:
        causes = ", ".join(f"{n:,} {cause}" for cause, n in sorted(done.dropped.items()))
        lines.append(f"not written: {causes}")
    for one in done.damage[:5]:
        lines.append(f"damaged at byte {one.offset}, {one.lost_bytes} bytes lost: {one.reason}")
    if done.damage_count > 5:
        lines.append(f"and {done.damage_count - 5} more damaged stretches")
    return "\n".join([*lines, f"written {done.out}"])


def stream(
    source: Annotated[str, typer.Argument(metavar="REC", help="A recording.")],
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="udp://HOST:PORT to send to, or dv://HOST:PORT to serve at (TCP, as DV does).",
        ),
    ],
    speed: Annotated[
        float, typer.Option(metavar="TIMES", help="Times real time; 0: as fast as it goes.")
    ] = 1.0,
    no_times: Annotated[
        bool, typer.Option("--no-times", metavar="", help="UDP without timestamps.")
    ] = False,
    wait: Annotated[
        float, typer.Option(metavar="S", help="TCP: wait so long for a client; 0: without end.")
    ] = 0.0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Send a recording as if a camera did: over UDP, or as a DV server over TCP."""
    with errors_told("what was sent was sent"):
        from streamstop.cli.display.counter_line import CounterLine
        from streamstop.tools import send as sending

        with CounterLine("sending", quiet=quiet) as line:
            sent = sending.stream(
                source,
                target,
                speed=speed,
                timestamps=not no_times,
                wait_s=wait,
                progress=lambda now: line.update(now.events),
            )
        print(json.dumps(_sent_json(sent), indent=2) if as_json else _sent_told(sent))
        sys.stdout.flush()
        if sent.ended:
            raise typer.Exit(130 if sent.ended == "interrupted" else 1)
        if sent.damage:
            raise typer.Exit(DamageError.exit_code)


def _sent_json(sent: Sent) -> dict[str, object]:
    from dataclasses import asdict

    return {**asdict(sent), "unsent": dict(sent.unsent)}


def _sent_told(sent: Sent) -> str:
    pace = f", {sent.events / sent.seconds / 1e6:.3g} million a second" if sent.seconds else ""
    lines = [
        f"{sent.events:,} events in {sent.messages:,} messages, {sent.seconds:.3g} s{pace}; "
        f"at most {sent.late_s * 1e3:.3g} ms behind"
    ]
    lines += [f"not sent: {n:,} {cause}" for cause, n in sorted(sent.unsent.items())]
    if sent.refused:
        lines.append(f"nobody listened to {sent.refused:,} datagrams")
    if sent.lost:
        lines.append(f"the receiver had no room for {sent.lost:,} datagrams")
    if sent.skipped_us:
        lines.append(f"{sent.skipped_us / 1e6:.3g} s of silence were not waited for")
    if sent.ended:
        lines.append(f"ended early: {sent.ended}")
    return "\n".join(lines)


def doctor(
    out: Annotated[str, typer.Option(metavar="DIR", help="The folder for runs.")] = "runs",
    as_json: Json = False,
) -> None:
    """Look at this machine: cameras and their drivers, permissions, libraries, GPU, network."""
    with errors_told("nothing was changed"):
        from pathlib import Path

        from streamstop.cli.display.doctor import print_examination
        from streamstop.tools.doctor import examine

        found = examine(Path(out))
        if as_json:
            print(json.dumps(found.as_json(), indent=2))
        else:
            print_examination(found)
        sys.stdout.flush()
        raise typer.Exit(found.exit_code)
