"""Reads AEDAT 3.1, caer's format and that of DVS-Gesture: header lines, then packets of events.

Polarity events are read; special events, frames and IMU samples are skipped. Where a packet's
header is not valid, reading goes on at the next valid one. Every length is checked before memory
is allocated.

A packet has a 28-byte little-endian header (type, source, event size, offset of the time, overflow
of the time, capacity, number, valid) and capacity x size bytes. A polarity event is a u32 (bit 0
valid, bit 1 ON, y in 15 bits from bit 2, x in 15 bits from bit 17) and 31 bits of time in us; the
overflow counts their wraps. Row 0 is the top, as libcaer's `polarity.h` has it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from streamstop.errors import SourceError
from streamstop.events.packet import (
    MAX_PACKET_EVENTS,
    Cursor,
    Damage,
    Packet,
    SensorSize,
    empty_events,
    make_events,
)
from streamstop.formats.base import SIMULATED_SOURCE, read_head
from streamstop.formats.byte_reader import ByteReader, NearBytes, open_bytes

MAX_HEADER_BYTES = 1 << 20
MAX_CAPACITY = 1 << 20
MAX_BLOCK_BYTES = 1 << 26
SENSORS = {
    "DVS128": SensorSize(128, 128),
    "DAVIS240": SensorSize(240, 180),
    "DAVIS346": SensorSize(346, 260),
}
"""Sensor sizes by the name in the header's `#Source` line."""

HEAD = struct.Struct("<hhiiiiii")
POLARITY = 1
_TIME_BYTES = 4
_EVENT_BYTES = 8
_MAX_TYPE = 16
_MAX_OVERFLOW = 1 << 21  # 142 years, since times may count from 1970
MAX_TOLD = 1 << 9
"""Damaged regions reported one by one per reading; further ones are reported with the packet of
events that they lie in."""

_PIECE = 1 << 20
_FIRST_PIECE = 1 << 10
_SIZES = {0: 8, 1: 8, 3: 36, 4: 48}
"""Bytes per event, where the type determines it: special, polarity, IMU with 6 and 9 axes."""
_END = b"#!END-HEADER\r\n"
# A polarity packet's type, event size and time offset: the bytes that are searched for.
_START = re.compile(rb"\x01\x00..\x08\x00\x00\x00\x04\x00\x00\x00", re.DOTALL)


class _Head(NamedTuple):
    type: int
    source: int
    size: int
    time_at: int
    overflow: int
    capacity: int
    number: int
    valid: int

    @property
    def bytes(self) -> int:
        """Size of the whole packet in bytes."""
        return HEAD.size + self.capacity * self.size

    @property
    def sane(self) -> bool:
        """Whether all fields are consistent."""
        return (
            0 <= self.type <= _MAX_TYPE
            and 0 < self.size <= MAX_BLOCK_BYTES
            and 0 <= self.time_at < self.size
            and 0 <= self.overflow <= _MAX_OVERFLOW
            and 0 <= self.valid <= self.number <= self.capacity
            and 0 < self.capacity <= MAX_CAPACITY
            and self.capacity * self.size <= MAX_BLOCK_BYTES
            and self.size == _SIZES.get(self.type, self.size)
            and (self.type != POLARITY or self.time_at == 4)
        )


class Aedat3Recording:
    """An AEDAT 3.1 file; see `streamstop.formats.base.Recording`.

    Raises
    ------
    SourceError
        If the header cannot be read, or the events are in another format than RAW.
    """

    format = "aedat3"
    notes: Sequence[str] = ()
    sensor_inferred = False

    def __init__(self, path: str) -> None:
        self.path = path
        start = read_head(path, MAX_HEADER_BYTES, lambda start: _END in start)
        end = start.find(_END)
        if end < 0:
            raise SourceError(
                f"its header does not end within {MAX_HEADER_BYTES} bytes; nothing was read: {path}"
            )
        lines = start[:end].decode(errors="replace").splitlines()
        self._header_bytes = end + len(_END)
        fields = dict(line.lstrip("#").partition(":")[::2] for line in lines if ":" in line)
        coding = fields.get("Format", "RAW").strip()
        if coding != "RAW":
            raise SourceError(
                f"its events are coded as {coding}, and only RAW is read; rewrite it with caer: "
                f"{path}"
            )
        self.simulated = f"#{SIMULATED_SOURCE}" in lines
        source = next((text for key, text in fields.items() if key.startswith("Source ")), "")
        self.sensor = next((size for name, size in SENSORS.items() if name in source), None)
        if size := re.fullmatch(r"\s*([1-9]\d{0,4})x([1-9]\d{0,4})", fields.get("Size", "")):
            self.sensor = SensorSize(int(size[1]), int(size[2]))

    def packets(self, start: Cursor | None = None) -> Iterator[Packet]:
        """Packets from `start` on; see `Recording.packets`."""
        at = start if start is not None and start.offset else Cursor(self.path, self._header_bytes)
        offset, skip = at.offset, at.skip
        gathered = _Gathered(self.path, at)
        with open_bytes(self.path) as data:
            near = _Near(data)
            while near.read_at(offset, 1):
                found = near.head(offset)
                holds = None if found is None else _holds(near, offset, found)
                if found is None or holds is None:
                    following = _next(near, offset + 1)
                    reason = (
                        "the file ends inside a packet"
                        if following is None
                        else ("no packet starts here")
                    )
                    end = _end(data, offset) if following is None else following
                    yield from gathered.damaged(offset, end - offset, reason)
                    offset, skip = end, 0
                    continue
                number, until = holds
                is_whole = near.reaches(offset + found.bytes)
                if found.type == POLARITY:
                    block = near.read_at(offset + HEAD.size, number * _EVENT_BYTES)
                    while skip * _EVENT_BYTES < len(block):
                        if gathered.room == 0:
                            yield from gathered.hand_over()
                        n = min(gathered.room, len(block) // _EVENT_BYTES - skip)
                        if n == 0:
                            break
                        part = block[skip * _EVENT_BYTES : (skip + n) * _EVENT_BYTES]
                        skip += n
                        # The damage of a truncated packet is reported first, then skipped.
                        done = skip == found.number and is_whole
                        after = until if done else offset
                        gathered.add(part, found.overflow, after, 0 if done else skip)
                if not is_whole:
                    kept = offset + (HEAD.size + skip * _EVENT_BYTES if skip else 0)
                    end = _end(data, kept)
                    reason = "the file ends inside a packet"
                    yield from gathered.damaged(kept, end - kept, reason)
                    offset = end
                    break
                if number < found.number:
                    kept = offset + HEAD.size + number * _EVENT_BYTES
                    yield from gathered.damaged(kept, until - kept, "its packet is truncated")
                offset, skip = until, 0
                data.release(offset)
            yield from gathered.hand_over()
            if data.fault:
                yield Packet(empty_events(), gathered.cursor, damage=data.fault)


class _Near:
    """The bytes around one offset, and the packet header there."""

    def __init__(self, data: ByteReader) -> None:
        self.data = data
        near = NearBytes(data)
        self.read_at, self.peek, self.reaches = near.read_at, near.peek, near.reaches
        self._head_at = -1
        self._head: _Head | None = None

    def head(self, offset: int) -> _Head | None:
        """The packet header at `offset`; the last one read is remembered."""
        if offset != self._head_at:
            self._head_at, self._head = offset, _head(self.read_at(offset, HEAD.size))
        return self._head


class _Gathered:
    """Events of consecutive packets, to be decoded at once."""

    def __init__(self, path: str, at: Cursor) -> None:
        self._path, self._index, self._t_us = path, at.event, at.t_us
        self._parts: list[bytes] = []
        self._overflows: list[int] = []
        self._events = 0
        self._offset, self._skip = at.offset, at.skip
        self._told = 0
        self._damage: Damage | None = None  # further damage, reported with the next packet

    @property
    def room(self) -> int:
        """Number of events that still fit."""
        return MAX_PACKET_EVENTS - self._events

    @property
    def cursor(self) -> Cursor:
        """The position after the events that were yielded."""
        return Cursor(self._path, self._offset, self._index, self._t_us, self._skip)

    def add(self, part: bytes, overflow: int, offset: int, skip: int) -> None:
        """Append events; offset, skip : of the cursor after them."""
        self._parts.append(part)
        self._overflows.append(overflow)
        self._events += len(part) // _EVENT_BYTES
        self._offset, self._skip = offset, skip

    def hand_over(self) -> Iterator[Packet]:
        """A packet of the gathered events, if there are any."""
        if not self._events and self._damage is None:
            return
        damage = (self._damage,) if self._damage is not None else ()
        self._damage = None
        if not self._events:
            yield Packet(empty_events(), self.cursor, damage=damage)
            return
        counts = [len(part) // _EVENT_BYTES for part in self._parts]
        words = np.frombuffer(b"".join(self._parts), "<u4").reshape(-1, 2)
        data, time = words[:, 0], words[:, 1].astype(np.int64) & 0x7FFFFFFF
        t = time + (np.repeat(self._overflows, counts).astype(np.int64) << 31)
        events = make_events(t, data >> 17 & 0x7FFF, data >> 2 & 0x7FFF, data >> 1 & 1)
        valid = data & 1 == 1
        lost = len(events) - int(np.count_nonzero(valid))
        events = events[valid] if lost else events
        self._index += len(events)
        self._t_us = int(t[-1])
        self._parts, self._overflows, self._events = [], [], 0
        dropped = {"invalid": lost} if lost else {}
        yield Packet(events, self.cursor, dropped=dropped, damage=damage)

    def damaged(self, offset: int, lost: int, reason: str) -> Iterator[Packet]:
        """The gathered events, then a packet that reports damage; the cursor moves behind it.

        Where damage is everywhere, it is gathered as events are and reported as a sum.
        """
        self._told += 1
        if self._told <= MAX_TOLD:
            yield from self.hand_over()
            self._offset, self._skip = offset + lost, 0
            damage = Damage(offset, lost, reason, self._path)
            yield Packet(empty_events(), self.cursor, damage=(damage,))
            return
        before = self._damage or Damage(offset, 0, "no packet starts at many offsets", self._path)
        self._damage = replace(before, lost_bytes=before.lost_bytes + lost)
        self._offset, self._skip = offset + lost, 0


def _head(block: bytes) -> _Head | None:
    """The packet header at the start of `block`, None where there is none."""
    if len(block) < HEAD.size:
        return None
    found = _Head(*HEAD.unpack_from(block))
    return found if found.sane else None


def _holds(near: _Near, offset: int, found: _Head) -> tuple[int, int] | None:
    """Number of events in the packet and its end, if its length is right.

    It is right where another packet follows, or none starts inside it. Where bytes are missing
    between two packets, the second may start in the last event of the first. The bytes there may
    belong to both; otherwise that event is lost.
    """
    end = offset + found.bytes
    if near.head(end) is not None:
        return found.number, end
    after = near.read_at(end, HEAD.size)
    if not after and near.reaches(end):
        return found.number, end
    following = _next(near, offset + HEAD.size, end + len(after))
    if following is None:
        return found.number, end
    # Else bytes were inserted: after this packet, or inside it, where later times are implausible.
    if following <= end - _EVENT_BYTES or found.type != POLARITY:
        return None
    times = np.frombuffer(near.peek(offset + HEAD.size, found.number * found.size), "<u4")[1::2]
    number, ordered = found.number, times[1:] >= times[:-1]
    if following < end and number == found.capacity:
        whole = ordered.all() and _serves_both(near, offset, found, following)
        number -= not whole
    return (number, min(following, end)) if ordered[: number - 1].all() else None


def _serves_both(near: _Near, offset: int, found: _Head, following: int) -> bool:
    """Whether the last event is right although the packet at `following` starts inside it.

    It is, if no more than its time reaches into that packet, and its time is not after that
    packet's first.
    """
    end = offset + found.bytes
    other = _head(near.peek(following, HEAD.size))
    if end - following > _TIME_BYTES or other is None or not other.number:
        return False
    last = near.peek(end - _TIME_BYTES, _TIME_BYTES)
    first = near.peek(following + HEAD.size + other.time_at, _TIME_BYTES)
    return (found.overflow, int.from_bytes(last, "little")) <= (
        other.overflow,
        int.from_bytes(first, "little"),
    )


def _next(near: _Near, offset: int, end: int | None = None) -> int | None:
    """Offset of the next packet of polarity events in [offset, end), None where there is none.

    Its cost depends on the bytes skipped, whatever lengths the headers among them claim.
    """
    size = _FIRST_PIECE
    while end is None or offset < end:
        piece = near.peek(offset, size + HEAD.size)
        for match in _START.finditer(piece):
            at = offset + match.start()
            if end is not None and at >= end:
                return None
            found = _head(near.peek(at, HEAD.size))
            if found is not None:
                after = near.peek(at + found.bytes, HEAD.size)
                if not after or _head(after) is not None:
                    return at
        if len(piece) < size + HEAD.size:
            return None
        offset, size = offset + size, min(2 * size, _PIECE)
        if end is None:
            near.data.release(offset)
    return None


def _end(data: ByteReader, offset: int) -> int:
    """Offset of the end of the bytes, searched from `offset` on."""
    if data.size is not None:
        return max(data.size, offset)
    while piece := data.read_at(offset, _PIECE):
        offset += len(piece)
        data.release(offset)
    return offset
