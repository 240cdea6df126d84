"""What the writers of all formats share: chunking, checks before writing, atomic files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import numpy as np

from streamstop.errors import UsageError
from streamstop.events.packet import MAX_PACKET_EVENTS, Events, SensorSize, empty_events

T = TypeVar("T")

STDOUT = "-"
"""The path that means standard output."""


def iter_chunks(packets: Events | Iterable[Events]) -> Iterator[Events]:
    """The events in arrays of at most MAX_PACKET_EVENTS, none of them empty."""
    for packet in [packets] if isinstance(packets, np.ndarray) else packets:
        for first in range(0, len(packet), MAX_PACKET_EVENTS):
            yield packet[first : first + MAX_PACKET_EVENTS]


def repacketize(parts: Iterable[Events], packet_events: int) -> Iterator[Events]:
    """The same events in arrays of `packet_events`, the last one shorter; padding bytes zero."""
    packet, filled = empty_events(packet_events), 0
    for part in parts:
        taken = 0
        while taken < len(part):
            n = min(packet_events - filled, len(part) - taken)
            for name in ("t", "x", "y", "p"):
                packet[name][filled : filled + n] = part[name][taken : taken + n]
            filled, taken = filled + n, taken + n
            if filled == packet_events:
                yield packet
                filled = 0
    if filled:
        yield packet[:filled]


class _Flushed:
    """Standard output, flushed after each block, since a reader may be waiting for it."""

    def write(self, block: bytes) -> int:
        written = sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()
        return written


def atomic_file(path: str | Path, write: Callable[[BinaryIO], T]) -> T:
    """Write a file that appears under its name only when it is complete.

    It replaces an older file of that name. Where the path is "-", standard output, blocks go out at
    once; `write` must not seek there.

    Parameters
    ----------
    path : the file.
    write : writes the content to the open file it is given; its result is returned.
    """
    if str(path) == STDOUT:
        return write(cast(BinaryIO, _Flushed()))
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            written = write(file)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return written


def raise_on_outside(events: Events, sensor: SensorSize, before: int) -> None:
    """Raise UsageError where an event lies outside the sensor.

    before : number of events already written.
    """
    outside = (events["x"] >= sensor.width) | (events["y"] >= sensor.height)
    if outside.any():
        at = int(np.argmax(outside))
        raise UsageError(
            f"event {before + at} at t = {events['t'][at]} us lies at ({events['x'][at]}, "
            f"{events['y'][at]}), outside the sensor of {sensor}; nothing was written"
        )


def reference_time(event: int) -> str:
    """What the time of the event of this number is measured from, where a counter is short."""
    if event:
        return "the event before it"
    return "time 0, where such a file begins (--from-zero counts from the first event)"


def raise_on_far(events: Events, last_us: int | None, before: int, bits: int, name: str) -> None:
    """Raise UsageError where a counter of `bits` bits cannot tell a time step from a wrap.

    last_us : time of the event before; None at the start, where the counter holds the time itself.
    before : number of events already written.
    name : of the format.
    """
    t = events["t"]
    far = np.abs(np.diff(t, prepend=t[0] if last_us is None else last_us)) >= 1 << (bits - 1)
    far[0] |= last_us is None and not 0 <= t[0] < 1 << bits
    if far.any():
        at = int(far.argmax())
        raise UsageError(
            f"event {before + at} at t = {t[at]} us is too far from "
            f"{reference_time(before + at)} for {name}, whose times have {bits} bits; "
            "nothing was written"
        )
