"""`streamstop replay`: options and output."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from streamstop.cli.errors import exit_on_error
from streamstop.cli.options import Json, Quiet
from streamstop.errors import DamageError

if TYPE_CHECKING:
    from streamstop.tools.send import SendResult


def replay(
    source: Annotated[str, typer.Argument(metavar="REC", help="A recording.")],
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="udp://HOST:PORT to send to, or dv://HOST:PORT to serve at (TCP, as DV does).",
        ),
    ],
    speed: Annotated[
        float, typer.Option(metavar="TIMES", help="Multiple of real time; 0: as fast as possible.")
    ] = 1.0,
    no_timestamps: Annotated[
        bool,
        typer.Option("--no-timestamps", metavar="", help="UDP: send events without timestamps."),
    ] = False,
    client_timeout: Annotated[
        float, typer.Option(metavar="S", help="TCP: seconds to wait for a client; 0: no limit.")
    ] = 0.0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Replay a recording as a live source: over UDP, or as a DV server over TCP."""
    with exit_on_error("only part of the recording was sent"):
        from streamstop.cli.display.counter_line import CounterLine
        from streamstop.tools import send as sending

        with CounterLine("sending", quiet=quiet) as line:
            sent = sending.send_recording(
                source,
                target,
                speed=speed,
                timestamps=not no_timestamps,
                client_timeout_s=client_timeout,
                progress=lambda now: line.update(now.events),
            )
        print(json.dumps(_as_json(sent), indent=2) if as_json else _text(sent))
        sys.stdout.flush()
        if sent.ended:
            raise typer.Exit(130 if sent.ended == "interrupted" else 1)
        if sent.damage:
            raise typer.Exit(DamageError.exit_code)


def _as_json(sent: SendResult) -> dict[str, object]:
    from dataclasses import asdict

    return {**asdict(sent), "unsent": dict(sent.unsent)}


def _text(sent: SendResult) -> str:
    rate = f", {sent.rate_hz / 1e6:.3g} million events/s" if sent.seconds else ""
    lines = [
        f"{sent.events:,} events in {sent.messages:,} messages, {sent.seconds:.3g} s{rate}; "
        f"at most {sent.late_s * 1e3:.3g} ms late"
    ]
    lines += [f"Not sent: {n:,} {cause}" for cause, n in sorted(sent.unsent.items())]
    if sent.refused:
        lines.append(
            f"No receiver: {sent.refused:,} of {sent.messages:,} datagrams were not delivered."
        )
    if sent.lost:
        lines.append(f"Receiver too slow: {sent.lost:,} of {sent.messages:,} datagrams were lost.")
    if sent.skipped_us:
        lines.append(f"Skipped {sent.skipped_us / 1e6:.3g} s without events.")
    if sent.ended:
        lines.append(f"Ended early: {sent.ended}")
    return "\n".join(lines)
