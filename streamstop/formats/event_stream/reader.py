"""Reads Event Stream, .es, version 2: DVS or ATIS events, each with the time since the last.

Guarantees:

- Every such event in the file's order, with rows counted from the top (the file counts from the
  bottom).
- No event outside the sensor that the header names: an impossible coordinate is damage, and reading
  goes on at the next offset from which events can be read.

Does not:

- Correct times after damage: they count from the event before, so they are early by what was lost.
- Read ATIS exposure events (dropped, cause "exposure"), other versions or other kinds of events.

Layout: `Event Stream`, three bytes of version, one of the kind, u16 width and u16 height, then
events of 5 bytes: time since the event before with the polarity in the lowest bits (DVS 7 bits and
1; ATIS 6 bits and 2, the lowest being exposure), u16 x, u16 y. A first byte whose time bits are all
ones is alone: it adds 127 us (DVS, lowest bit 1) or 63 us times the lower bits (ATIS).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from streamstop.errors import NoEventsError, SourceError
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
from streamstop.formats.base import read_start
from streamstop.formats.byte_reader import STDIN, ByteReader, open_bytes

MAGIC = b"Event Stream"
HEADER_BYTES = 20
KINDS = {0: "generic", 1: "DVS", 2: "ATIS", 3: "display", 4: "colour"}
_LOW_BITS = {1: 1, 2: 2}
_BLOCK = 1 << 19


class EventStreamRecording:
    """An .es file; see `streamstop.formats.base.Recording`.

    Raises
    ------
    SourceError
        If the file cannot be read, has another version, or holds other events than brightness
        changes.
    """

    format = "es"
    notes: Sequence[str] = ()
    sensor_inferred = False
    simulated = False

    def __init__(self, path: str) -> None:
        self.path = path
        head = read_start(path, HEADER_BYTES)
        if not head.startswith(MAGIC) or len(head) < 16:
            raise SourceError(f"the file ends inside its Event Stream header: {path}")
        version, kind = head[12:15], head[15]
        if version[0] != 2:
            stated = ".".join(map(str, version))
            raise SourceError(
                f"Event Stream of version {stated}, and only version 2 is read; convert it "
                f"to version 2 or to .csv with the software it comes from: {path}"
            )
        if kind not in _LOW_BITS:
            name = KINDS.get(kind, f"kind {kind}")
            raise NoEventsError(
                f"it holds {name} events, no brightness changes; only DVS and ATIS are read: {path}"
            )
        if len(head) < HEADER_BYTES:
            raise SourceError(f"the file ends inside its Event Stream header: {path}")
        self.low_bits = _LOW_BITS[kind]
        width, height = np.frombuffer(head, "<u2", 2, 16).tolist()
        if not width or not height:
            raise SourceError(f"its header names a sensor of {width}x{height}: {path}")
        self.sensor: SensorSize | None = SensorSize(width, height)
        self.size = SensorSize(width, height)

    def packets(self, start: Cursor | None = None) -> Iterator[Packet]:
        """Packets from `start` on; see `Recording.packets`."""
        with open_bytes(self.path) as data:
            yield from _Decoder(self, data, start).packets()


class _Decoder:
    """The state of one reading of a file, and the packet that is being filled."""

    def __init__(
        self, recording: EventStreamRecording, data: ByteReader, start: Cursor | None
    ) -> None:
        from streamstop.formats.event_stream import _loop as loop  # numba, when a file needs it

        self._loop, self._recording, self._data = loop, recording, data
        self._state = np.zeros(loop.STATE_SIZE, np.int64)
        self._state[[loop.BAD_FROM, loop.BAD_TO]] = -1
        self._offset, self._index = HEADER_BYTES, 0
        if start is not None and start.offset > HEADER_BYTES:
            self._offset, self._index = start.offset, start.event
            self._state[loop.TIME] = start.t_us
        self._out: Events = np.empty(MAX_PACKET_EVENTS, EVENT_DTYPE)

    def packets(self) -> Iterator[Packet]:
        """The packets of the rest of the file."""
        size = _BLOCK + self._loop.LOOK_AHEAD
        held = 0
        while True:
            offset = self._offset
            block = self._data.read_ready(offset, held + 1, size)
            full = len(block) == size
            ended = not full and (self._data.path != STDIN or len(block) == held)
            limit = len(block) if ended else max(len(block) - self._loop.LOOK_AHEAD, 0)
            yield from self._decode(np.frombuffer(block, np.uint8), limit)
            if ended:
                yield from self._rest()
                return
            if not full and self._state[self._loop.COUNT]:
                yield self._packet()  # from a slow pipe: return what has arrived
            held = len(block) - (self._offset - offset)
            self._data.release(self._offset)

    def _decode(self, data: Any, limit: int) -> Iterator[Packet]:
        loop, recording, first, i = self._loop, self._recording, self._offset, 0
        status = loop.FULL
        while status != loop.MORE:
            words = self._out.view(np.int64).reshape(-1, 2)
            i, status = loop.decode(
                data, i, limit, first, words, self._state, recording.low_bits, *recording.size
            )
            self._offset = first + int(i)
            if status != loop.MORE:
                yield self._packet()

    def _rest(self) -> Iterator[Packet]:
        """The last packet, with damage at the end of the file."""
        loop, state, path = self._loop, self._state, self._recording.path
        left = len(self._data.read_at(self._offset, loop.EVENT_BYTES))
        if state[loop.COUNT]:
            yield self._packet()
        if state[loop.SEARCHING]:
            state[loop.BAD_TO] = self._offset
        damage = self._damage()
        if left:
            damage.append(Damage(self._offset, left, "the file ends inside an event", path))
        damage += self._data.fault
        if damage or state[loop.EXPOSURES]:
            yield Packet(
                empty_events(), self._cursor(), dropped=self._dropped(), damage=tuple(damage)
            )

    def _packet(self) -> Packet:
        """The events in `out`, with the damage before them."""
        events = self._out[: int(self._state[self._loop.COUNT])]
        self._index += len(events)
        self._state[self._loop.COUNT] = 0
        if 2 * len(events) > len(self._out):  # arrays already returned must not change
            self._out = np.empty(MAX_PACKET_EVENTS, EVENT_DTYPE)
        else:
            events = events.copy()
        return Packet(events, self._cursor(), dropped=self._dropped(), damage=tuple(self._damage()))

    def _cursor(self) -> Cursor:
        t_us = int(self._state[self._loop.TIME])
        return Cursor(self._recording.path, self._offset, self._index, t_us)

    def _damage(self) -> list[Damage]:
        first, last = map(int, self._state[[self._loop.BAD_FROM, self._loop.BAD_TO]])
        if first < 0:
            return []
        self._state[[self._loop.BAD_FROM, self._loop.BAD_TO]] = -1
        reason = "events outside the sensor; times after them may be early"
        return [Damage(first, last - first, reason, self._recording.path)]

    def _dropped(self) -> dict[str, int]:
        exposures = int(self._state[self._loop.EXPOSURES])
        self._state[self._loop.EXPOSURES] = 0
        return {"exposure": exposures} if exposures else {}
