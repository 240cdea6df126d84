"""What every file format offers: a recording whose packets can be read from any cursor on.

A recording is opened to learn what it is; its events are read afresh by each call of `packets`,
in bounded memory, so one recording can be read in pieces and in any order. It never raises for
damage inside the file: what can be read is read, and the packet says what was lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol

from streamstop.errors import SourceError
from streamstop.events.packet import Cursor, Packet, SensorSize
from streamstop.formats.byte_reader import open_bytes

SIMULATED_SOURCE = "streamstop-simulate"
"""What a file's header calls the source of events that no camera made."""

MAX_HELD = 64
"""So many packets of damage wait for the event after them, which tells how long it lasted."""


class Recording(Protocol):
    """A file of events.

    path : the file.
    format : short name of its format.
    sensor : pixels of the sensor; None where the file does not say.
    simulated : True where the file says that no camera made these events.
    """

    path: str
    format: str
    sensor: SensorSize | None
    simulated: bool

    def packets(self, start: Cursor | None = None) -> Iterator[Packet]:
        """Packets of the file from `start`, the cursor of an earlier packet of this file, on.

        Time wraps are undone, and the events that follow do not depend on `start`. Events are in
        file order. Damage is met again each time the stretch that holds it is read.
        """
        ...


def read_packets(recording: Recording, start: Cursor | None = None) -> Iterator[Packet]:
    """The packets of a recording, damage with the time it took, errors told as ours.

    Raises
    ------
    SourceError
        If the file is gone or no longer readable; the packets before that were handed over.
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
        raise SourceError(f"could not be read on: {error.strerror}: {recording.path}") from error


def _timed(packet: Packet, last_us: int | None, first_us: int | None) -> Packet:
    """The packet, its damage told from the event before to the one after."""
    if not packet.damage or last_us is None or first_us is None:
        return packet
    took = max(first_us - last_us, 0)
    damage = tuple(
        one if one.lost_us is not None else replace(one, lost_us=took) for one in packet.damage
    )
    return packet._replace(damage=damage)


def read_head(path: str, most: int, is_whole: Callable[[bytes], bool]) -> bytes:
    """The start of a file, decompressed, with a header of unknown length; at most `most` bytes.

    No more is read than it takes to hold it by a few times, and of a pipe no more is waited for.

    is_whole : whether what was read holds the header.

    Raises
    ------
    SourceError
        If the file is missing, no file, or not readable.
    """
    held, size = 0, 1 << 12
    while True:
        start = _read_ready(path, held + 1, min(size, most))
        if len(start) in (held, most) or is_whole(start):
            return start
        held = len(start)
        size = 4 * size if held == size else size


def read_start(path: str, size: int) -> bytes:
    """The first `size` bytes of a file, decompressed, or fewer where it is shorter.

    Raises
    ------
    SourceError
        If the file is missing, no file, or not readable.
    """
    return _read_ready(path, size, size)


def _read_ready(path: str, least: int, most: int) -> bytes:
    try:
        with open_bytes(path) as data:
            return data.read_ready(0, least, most)
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}: {path}") from error
