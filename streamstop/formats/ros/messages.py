"""Decodes messages of events: `EventArray` and `EventPacket`, as ROS 1 and ROS 2 serialise them.

`EventArray` (dvs_msgs, prophesee_event_msgs) has an x, a y, a time and a polarity per event, and
fields follow each other closely in ROS 1 (13 bytes), aligned in CDR (ROS 2). `EventPacket`
(event_camera_msgs) has bytes in an encoding of its own: "evt3" (see `streamstop.formats.ros.evt3`),
"mono" (u32 ns from `time_base`, u16 x, u15 y, polarity) and "libcaer" (AEDAT 3.1's polarity events,
us from `time_base`, whose wraps inside a packet are undone).

Guarantees:

- A message is decoded if its length is exactly what its fields state, else it is refused.
- Times are whole microseconds: what a stamp has below that is cut off, never rounded up.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamstop.events.packet import Events, SensorSize, make_events

ARRAYS = ("dvs_msgs/EventArray", "prophesee_event_msgs/EventArray")
PACKETS = ("event_camera_msgs/EventPacket", "event_array_msgs/EventArray")
"""Types of messages that hold events, without the `/msg` of ROS 2."""

ENCODINGS = ("evt3", "mono", "libcaer")
"""Encodings of an EventPacket that are read."""

SERIALISATIONS = ("ros1", "cdr")

_ROS1_EVENT = np.dtype(
    {
        "names": ["x", "y", "sec", "nsec", "p"],
        "formats": ["<u2", "<u2", "<u4", "<u4", "u1"],
        "offsets": [0, 2, 4, 8, 12],
        "itemsize": 13,
    }
)
_CDR_PADDING = 7
_US = 1_000_000


class MessageError(Exception):
    """A message cannot be decoded; the message of the error says why."""


class EventMessage(NamedTuple):
    """The content of a message of events.

    Attributes
    ----------
    sensor
        The sensor that it states; None where it states none.
    encoding
        "" for an EventArray, else that of the EventPacket.
    events
        Number of events; 0 for "evt3".
    take
        The events from one index up to another.
    words
        The words of "evt3", shape (n,), else empty.
    odd
        Bytes at the end that are no whole event or word.
    """

    sensor: SensorSize | None
    encoding: str
    events: int
    take: Callable[[int, int], Events]
    words: NDArray[np.uint16]
    odd: int = 0


def is_event_type(kind: str) -> bool:
    """Whether messages of this type hold events."""
    return kind in ARRAYS or kind in PACKETS


def decode_message(kind: str, serialisation: str, data: memoryview) -> EventMessage:
    """The content of a message.

    Parameters
    ----------
    kind
        Its type, one of ARRAYS or PACKETS.
    serialisation
        "ros1" or "cdr".
    data
        Its bytes.

    Raises
    ------
    MessageError
        If its bytes are not such a message, or have an encoding that is not read.
    """
    fields = _Fields(data, serialisation)
    fields.skip_header()
    height, width = fields.u32(), fields.u32()
    sides = 0 < width < 1 << 16 and 0 < height < 1 << 16
    sensor = SensorSize(width, height) if sides else None
    if kind in ARRAYS:
        return _array(fields, sensor)
    return _packet(fields, sensor)


class _Fields:
    """The fields of a message, one after the other."""

    def __init__(self, data: memoryview, serialisation: str) -> None:
        self.data, self.at, self.order = data, 0, "<"
        self.cdr = serialisation == "cdr"
        if self.cdr:
            if len(data) < 4 or data[0] != 0 or data[1] > 1:
                raise MessageError("it does not begin as CDR does")
            self.order = "<" if data[1] else ">"
            self.data = data[4:]

    def number(self, code: str, size: int) -> int:
        """The next number, aligned to its size in CDR."""
        if self.cdr:
            self.at += -self.at % size
        if self.at + size > len(self.data):
            raise MessageError("it ends inside its fields")
        value = struct.unpack_from(self.order + code, self.data, self.at)[0]
        self.at += size
        return int(value)

    def u32(self) -> int:
        """The next u32."""
        return self.number("I", 4)

    def text(self) -> bytes:
        """The next string."""
        size = self.u32()
        if self.at + size > len(self.data):
            raise MessageError("it ends inside a string")
        self.at += size
        return bytes(self.data[self.at - size : self.at]).rstrip(b"\0")

    def skip_header(self) -> None:
        """Pass over std_msgs/Header."""
        for _ in range(2 if self.cdr else 3):
            self.u32()
        self.text()

    def check_end(self, end: int) -> None:
        """Check that the message ends where its last field does, but for CDR's padding."""
        if not 0 <= len(self.data) - end <= (_CDR_PADDING if self.cdr else 0):
            raise MessageError(f"it has {len(self.data)} bytes, but its fields {end}")


def _array(fields: _Fields, sensor: SensorSize | None) -> EventMessage:
    count = fields.u32()
    begin, data = fields.at, fields.data
    none = np.empty(0, np.uint16)
    if not fields.cdr:
        fields.check_end(begin + 13 * count)
        rows = np.frombuffer(data, _ROS1_EVENT, count, begin)

        def take_rows(first: int, last: int) -> Events:
            part = rows[first:last]
            return make_events(_us(part["sec"], part["nsec"]), part["x"], part["y"], part["p"] > 0)

        return EventMessage(sensor, "", count, take_rows, none)
    # Aligned to 4, an event has 16 bytes; x and y of all but the first fill the gap before.
    fields.check_end(begin + 16 * count - 3 if count else begin)

    def column(code: str, at: int, first: int, last: int) -> NDArray[Any]:
        kind = np.dtype(code).newbyteorder("<" if fields.order == "<" else ">")
        place = begin + at + 16 * first
        return np.ndarray((last - first,), kind, data, place, (16,))

    def take_aligned(first: int, last: int) -> Events:
        if last <= first:
            return make_events([], [], [], [])
        t = _us(column("i4", 4, first, last), column("u4", 8, first, last))
        events = make_events(t, 0, 0, column("u1", 12, first, last) > 0)
        for name, close, first_close in (("x", -2, 0), ("y", 0, 2)):
            begin_at = max(first, 1)
            if begin_at < last:
                events[name][begin_at - first :] = column("u2", close, begin_at, last)
            if first == 0:
                events[name][:1] = column("u2", first_close, 0, 1)
        return events

    return EventMessage(sensor, "", count, take_aligned, none)


def _packet(fields: _Fields, sensor: SensorSize | None) -> EventMessage:
    fields.number("Q", 8)  # its number in the sequence
    base_ns = fields.number("Q", 8)
    encoding = fields.text().decode(errors="replace")[:40]
    big = fields.number("B", 1)
    size = fields.u32()
    fields.check_end(fields.at + size)
    if encoding not in ENCODINGS:
        known = ", ".join(ENCODINGS)
        raise MessageError(f"its events are encoded as {encoding!r}; read are {known}")
    if big:
        raise MessageError("its events are big-endian, which is not read")
    content = fields.data[fields.at : fields.at + size]
    if encoding == "evt3":
        # A copy is aligned, so that the loop is compiled once.
        words = np.frombuffer(bytes(content), "<u2", size // 2)
        return EventMessage(sensor, encoding, 0, _none, words, size % 2)
    rows = np.frombuffer(content, "<u4", size // 8 * 2).reshape(-1, 2)
    take = _mono(rows, base_ns) if encoding == "mono" else _libcaer(rows, base_ns)
    return EventMessage(sensor, encoding, len(rows), take, np.empty(0, np.uint16), size % 8)


def _none(first: int, last: int) -> Events:
    return make_events([], [], [], [])


def _mono(rows: NDArray[Any], base_ns: int) -> Callable[[int, int], Events]:
    base_us, rest_ns = divmod(_signed(base_ns), 1000)

    def take(first: int, last: int) -> Events:
        ns, place = rows[first:last, 0].astype(np.int64), rows[first:last, 1]
        t = base_us + (ns + rest_ns) // 1000
        return make_events(t, place & 0xFFFF, place >> 16 & 0x7FFF, place >> 31 > 0)

    return take


def _libcaer(rows: NDArray[Any], base_ns: int) -> Callable[[int, int], Events]:
    low = rows[:, 1].astype(np.int64) & 0x7FFFFFFF
    wraps = np.zeros(len(low), np.int64)
    np.cumsum(low[1:] < low[:-1], out=wraps[1:])
    base_us = _signed(base_ns) // 1000

    def take(first: int, last: int) -> Events:
        place = rows[first:last, 0]
        t = base_us + low[first:last] + (wraps[first:last] << 31)
        return make_events(t, place >> 17 & 0x7FFF, place >> 2 & 0x7FFF, place >> 1 & 1)

    return take


def _signed(number: int) -> int:
    """A u64 as an i64, as it is of a damaged message only."""
    return number - (1 << 64) if number >> 63 else number


def _us(sec: NDArray[Any], nsec: NDArray[Any]) -> NDArray[np.int64]:
    """Times in us, shape (n,); what is below a microsecond is cut off."""
    return np.asarray(sec.astype(np.int64) * _US + nsec.astype(np.int64) // 1000)
