"""Reads Prophesee's DAT, version 2: header lines that start with %, then 8 bytes per event.

After the header are two bytes, the event type and its size. An event is a little-endian u32 time
in us, whose wraps are undone, and a u32 of x (14 bits), y (14 bits) and polarity (4 bits, 1 is ON).
Events of brightness changes are read (types 0x00, 0x0c, 0x28); external triggers are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from streamstop.errors import SourceError
from streamstop.events.packet import (
    EVENT_DTYPE,
    MAX_PACKET_EVENTS,
    Cursor,
    Damage,
    Events,
    Packet,
    SensorSize,
    empty_events,
)
from streamstop.formats.base import SIMULATED_SOURCE, read_head
from streamstop.formats.byte_reader import open_bytes

MAX_HEADER_BYTES = 1 << 16
EVENT_TYPES = (0x00, 0x0C, 0x28)
RECORD_BYTES = 8


class DatRecording:
    """A DAT file; see `streamstop.formats.base.Recording`.

    Raises
    ------
    SourceError
        If the header cannot be read, or the events have another type.
    """

    format = "dat"
    notes: Sequence[str] = ()

    def __init__(self, path: str) -> None:
        self.path = path
        start = read_head(path, MAX_HEADER_BYTES, _holds_header)
        end = _header_end(start)
        if len(start) < end + 2:
            raise SourceError(f"the file ends inside its header and holds no events: {path}")
        kind, size = start[end], start[end + 1]
        if kind not in EVENT_TYPES or size != 8:
            types = ", ".join(f"{known:#04x}" for known in EVENT_TYPES)
            raise SourceError(
                f"its events have type {kind:#04x} and {size} bytes; brightness changes have "
                f"type {types} and 8 bytes: {path}"
            )
        self._header_bytes = end + 2
        marked = rb"% *source +" + SIMULATED_SOURCE.encode()
        self.simulated = re.search(marked, start[:end]) is not None
        stated = [
            re.search(rb"% *" + side + rb" +(\d{1,5})\s", start[:end], re.IGNORECASE)
            for side in (b"Width", b"Height")
        ]
        sides = [int(found[1]) for found in stated if found is not None]
        self.sensor = SensorSize(*sides) if len(sides) == 2 else None

    def packets(self, start: Cursor | None = None) -> Iterator[Packet]:
        """Packets from `start` on; see `Recording.packets`."""
        from streamstop.formats.prophesee._dat_loop import (  # numba, when a file needs it
            NO_TIME,
            decode,
        )

        path, offset, index, last_us = self.path, self._header_bytes, 0, NO_TIME
        if start is not None and start.event:
            offset, index, last_us = start.offset, start.event, start.t_us
        with open_bytes(path) as data:
            size = RECORD_BYTES * MAX_PACKET_EVENTS
            while True:
                block = data.read_ready(offset, RECORD_BYTES, size)
                n = len(block) // RECORD_BYTES
                if n:
                    events: Events = np.empty(n, EVENT_DTYPE)
                    records = np.frombuffer(block, "<u8", n)
                    last_us = int(decode(records, events.view(np.int64).reshape(-1, 2), last_us))
                    offset, index = offset + n * RECORD_BYTES, index + n
                    yield Packet(events, Cursor(path, offset, index, last_us))
                data.release(offset)
                if n == 0:
                    break
            damage = data.fault
            if block:
                damage = (
                    Damage(offset, len(block), "the file ends inside an event", path),
                    *damage,
                )
            if damage:
                yield Packet(empty_events(), Cursor(path, offset, index, last_us), damage=damage)


def _header_end(start: bytes) -> int:
    lines = re.match(rb"(?:%[^\n]*\n)*", start)
    return lines.end() if lines else 0


def _holds_header(start: bytes) -> bool:
    """Whether the lines end, and the two bytes after them are there."""
    end = _header_end(start)
    return len(start) >= end + 2 and start[end : end + 1] != b"%"
