"""Reads Prophesee's DAT, versions 1 and 2: header lines that start with %, then 8 bytes per event.

After the header are two bytes, the event type and its size. An event is a little-endian u32 time
in us, whose wraps are undone, and a u32 whose layout depends on the version:

- 2: x (14 bits), y (14 bits) and polarity (4 bits, 1 is ON);
- 1, of the ATIS (304x240): x (9 bits), y (8 bits) and polarity (1 bit).

The version is the one that `?version=` or the header names; where neither does, the events tell it,
and `notes` says so. Events of brightness changes are read (types 0x00, 0x0c, 0x28); external
triggers are refused. The layouts are those of Prophesee's `load_atis_data.m`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from streamstop.errors import NoEventsError, SourceError, UsageError
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
from streamstop.formats.byte_reader import STDIN, open_bytes

MAX_HEADER_BYTES = 1 << 16
EVENT_TYPES = (0x00, 0x0C, 0x28)
RECORD_BYTES = 8
ATIS = SensorSize(304, 240)

_SAMPLE_RECORDS = 1 << 14
_LEAST_PIPE_RECORDS = 64
_LARGEST_SIDE = 2048
_FITS = 0.9
_UNFIT = 0.5


class DatRecording:
    """A DAT file; see `streamstop.formats.base.Recording`.

    Parameters
    ----------
    path
        The file.
    version
        "1" or "2", which overrules the header; "" for the header's.

    Raises
    ------
    SourceError
        If the header cannot be read, the events have another type, or they are plainly not of the
        version that the header names, or of neither where it names none.
    UsageError
        If `version` is another one.
    """

    format = "dat"
    notes: Sequence[str] = ()
    sensor_inferred = False

    def __init__(self, path: str, version: str = "") -> None:
        self.path = path
        start = read_head(path, MAX_HEADER_BYTES, _holds_header)
        end = _header_end(start)
        if len(start) < end + 2:
            raise SourceError(f"the file ends inside its header and holds no events: {path}")
        kind, size = start[end], start[end + 1]
        if kind not in EVENT_TYPES or size != 8:
            types = ", ".join(f"{known:#04x}" for known in EVENT_TYPES)
            raise NoEventsError(
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
        if version not in ("", "1", "2"):
            raise UsageError(f"?version={version}: DAT has the versions 1 and 2: {path}")
        number = re.search(rb"% *Version +(\d{1,3})\b", start[:end], re.IGNORECASE)
        said = int(number[1]) if number is not None else None
        self._version = int(version) if version else self._told_version(said)
        if self._version == 1 and self.sensor is None:
            self.sensor, self.sensor_inferred = ATIS, True

    def _told_version(self, stated: int | None) -> int:
        """The version that the header states, or else the events tell."""
        if stated is not None:
            version = 1 if stated < 2 else 2
            if self.path != STDIN and self._looks_like() == 3 - version:
                raise SourceError(
                    f"the header says version {stated}, but the events have the layout of version "
                    f"{3 - version}; give ?version=1 or ?version=2, whichever is right: {self.path}"
                )
            return version
        found = self._looks_like()
        if found is None:
            raise SourceError(
                "the header has no Version line, and the events do not tell whether they are of "
                f"version 1 or 2; give ?version=1 or ?version=2: {self.path}"
            )
        if found:
            self.notes = (
                f"no Version line in the header; read as version {found}, whose layout the events "
                "have; ?version= overrules",
            )
        return found or 2

    def _looks_like(self) -> int | None:
        """The version whose layout the first events have; None: not decided; 0: no events."""
        with open_bytes(self.path) as data:
            least = RECORD_BYTES * (_LEAST_PIPE_RECORDS if self.path == STDIN else 1)
            most = RECORD_BYTES * _SAMPLE_RECORDS
            block = data.read_ready(self._header_bytes, least, most)
        words = np.frombuffer(block, "<u4", len(block) // RECORD_BYTES * 2)[1::2]
        if not len(words):
            return 0
        first = (words >> 18 == 0) & (words & 0x1FF < ATIS.width)
        first &= words >> 9 & 0xFF < ATIS.height
        second = (words >> 28 <= 1) & (words & 0x3FFF < _LARGEST_SIDE)
        second &= words >> 14 & 0x3FFF < _LARGEST_SIDE
        shares = float(first.mean()), float(second.mean())
        for version, fits, other in ((1, *shares), (2, *shares[::-1])):
            if fits >= _FITS and other < _UNFIT:
                return version
        return None

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
                    if self._version == 1:
                        records = _as_second(records)
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


def _as_second(records: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Records of version 1 in the layout of version 2, shape (n,)."""
    columns = records.view("<u4").reshape(-1, 2).copy()
    place = columns[:, 1]
    columns[:, 1] = place & 0x1FF | (place >> 9 & 0xFF) << 14 | (place >> 17 & 1) << 28
    return columns.reshape(-1).view("<u8")


def _header_end(start: bytes) -> int:
    lines = re.match(rb"(?:%[^\n]*\n)*", start)
    return lines.end() if lines else 0


def _holds_header(start: bytes) -> bool:
    """Whether the lines end, and the two bytes after them are there."""
    end = _header_end(start)
    return len(start) >= end + 2 and start[end : end + 1] != b"%"
