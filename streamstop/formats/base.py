"""The protocol that every file format implements: `Recording`, read in packets from any cursor.

Opening a recording finds out what it is; each call of `packets` reads its events from the file.

Guarantees:

- Memory is bounded, and a recording can be read in parts and in any order.
- Damage inside a file raises no error: what can be read is read, and the packet reports what was
  lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from streamstop.errors import SourceError
from streamstop.events.packet import Cursor, Packet, SensorSize
from streamstop.formats.byte_reader import open_bytes

SIMULATED_SOURCE = "streamstop-simulate"
"""The `source` in a file's header that marks events as made by no camera."""

UNKNOWN_SOURCE = "origin-unknown"
"""The same, of events that came over a network and may be a camera's or not."""

MAX_HELD = 64
"""At most this many damage-only packets wait for the next event, which gives the damage's duration.
"""


class Recording(Protocol):
    """A file of events.

    Attributes
    ----------
    path
        The file.
    format
        Short name of its format.
    sensor
        Size in pixels; None where neither the file nor its events tell it at once.
    sensor_inferred
        True where the file does not state `sensor`: the reader inferred it from the events.
    simulated
        True where the file states that no camera made these events.
    notes
        What the reader inferred because the file does not say it, a line each, for reports.
    """

    path: str
    format: str
    sensor: SensorSize | None
    sensor_inferred: bool
    simulated: bool
    notes: Sequence[str]

    def packets(self, start: Cursor | None = None) -> Iterator[Packet]:
        """Packets of the file, from `start` (the cursor of an earlier packet of this file) on.

        Time wraps are undone, and the events that follow do not depend on `start`. Events are in
        file order. Damage is reported again each time the part that holds it is read.
        """
        ...


def read_packets(recording: Recording, start: Cursor | None = None) -> Iterator[Packet]:
    """The packets of a recording, with the duration of damage filled in and OSError converted.

    Raises
    ------
    SourceError
        If the file is gone or no longer readable; the packets before that were yielded.
    """
    last_us = start.t_us if start is not None and start.event else None
    held: list[Packet] = []
    try:
        for packet in recording.packets(start):
            if packet.damage and not len(packet.events) and len(held) < MAX_HELD:
                held.append(packet)
                continue
            first_us = int(packet.events["t"][0]) if len(packet.events) else None
            for one in held:
                yield _timed(one, last_us, first_us)
            held.clear()
            yield _timed(packet, last_us, first_us)
            last_us = int(packet.events["t"][-1]) if first_us is not None else last_us
        yield from held
    except OSError as error:
        yield from held
        raise SourceError(f"reading stopped: {error.strerror}: {recording.path}") from error


def _timed(packet: Packet, last_us: int | None, first_us: int | None) -> Packet:
    """The packet, the duration of its damage set to the time between the events around it."""
    if not packet.damage or last_us is None or first_us is None:
        return packet
    took = max(first_us - last_us, 0)
    damage = tuple(
        one if one.lost_us is not None else replace(one, lost_us=took) for one in packet.damage
    )
    return packet._replace(damage=damage)


def read_head(path: str, most: int, is_whole: Callable[[bytes], bool]) -> bytes:
    """The start of a file, decompressed, that holds a header of unknown length.

    It reads at most a few times the header's length, and does not wait for more from a pipe.

    Parameters
    ----------
    path
        The file.
    most
        Maximum number of bytes.
    is_whole
        Whether the bytes read so far hold the whole header.

    Raises
    ------
    SourceError
        If the file is missing, not a file, or not readable.
    """
    held, size = 0, 1 << 12
    while True:
        start = _read_ready(path, held + 1, min(size, most))
        if len(start) in (held, most) or is_whole(start):
            return start
        held = len(start)
        size = 4 * size if held == size else size


def read_start(path: str, size: int) -> bytes:
    """The first `size` bytes of a file, decompressed; fewer where it is shorter.

    Raises
    ------
    SourceError
        If the file is missing, not a file, or not readable.
    """
    return _read_ready(path, size, size)


def _read_ready(path: str, least: int, most: int) -> bytes:
    try:
        with open_bytes(path) as data:
            return data.read_ready(0, least, most)
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}: {path}") from error
