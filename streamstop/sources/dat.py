"""Prophesee's DAT, version 2: header lines that begin with %, then 8 bytes an event.

After the header stand two bytes, the event type and its size. An event is a little-endian u32 time
in us, whose wraps are undone, and a u32 of x (14 bits), y (14 bits) and polarity (4 bits, 1 is ON).
Events of brightness changes are read (types 0x00, 0x0c, 0x28); external triggers are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from streamstop.errors import SourceError
from streamstop.events import Cursor, Packet, SensorSize
from streamstop.sources.recording import read_start
from streamstop.sources.records import Columns, record_packets

MAX_HEADER_BYTES = 1 << 16
EVENT_TYPES = (0x00, 0x0C, 0x28)


class DatRecording:
    """A DAT file; see `streamstop.sources.recording.Recording`.

    Raises
    ------
    SourceError
        If the header cannot be read, or the events are of another type.
    """

    format = "dat"
    simulated = False

    def __init__(self, path: str) -> None:
        self.path = path
        start = read_start(path, MAX_HEADER_BYTES)
        header = re.match(rb"(?:%[^\n]*\n)*", start)
        end = header.end() if header else 0
        if len(start) < end + 2:
            raise SourceError(f"the file ends inside its header, no events in it: {path}")
        kind, size = start[end], start[end + 1]
        if kind not in EVENT_TYPES or size != 8:
            types = ", ".join(f"{known:#04x}" for known in EVENT_TYPES)
            raise SourceError(
                f"events of type {kind:#04x} and {size} bytes, where brightness changes are of "
                f"type {types} and 8 bytes: {path}"
            )
        self._header_bytes = end + 2
        stated = [
            re.search(rb"% *" + side + rb" +(\d{1,5})\s", start[:end], re.IGNORECASE)
            for side in (b"Width", b"Height")
        ]
        sides = [int(found[1]) for found in stated if found is not None]
        self.sensor = SensorSize(*sides) if len(sides) == 2 else None

    def packets(self, start: Cursor | None = None) -> Iterator[Packet]:
        """Packets from `start` on; see `Recording.packets`."""
        return record_packets(
            self.path,
            start,
            header_bytes=self._header_bytes,
            record_bytes=8,
            time_bits=32,
            decode=_decode,
        )


def _decode(block: bytes) -> Columns:
    time, data = np.frombuffer(block, "<u4").reshape(-1, 2).T
    return Columns(time, data & 0x3FFF, (data >> 14) & 0x3FFF, (data >> 28) & 1)
