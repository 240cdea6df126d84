"""Serialises ROS messages of events, field by field, without the package's own code."""

from __future__ import annotations

import struct

from streamstop.events.packet import Events

DEFINITION = """std_msgs/Header header
uint32 height
uint32 width
Event[] events
"""


def _rows(events: Events, extra_ns: int) -> list[tuple[int, int, int, int, int]]:
    return [
        (x, y, t // 1_000_000, t % 1_000_000 * 1000 + extra_ns, p)
        for t, x, y, p in zip(*(events[name].tolist() for name in "txyp"), strict=True)
    ]


class Cdr:
    """CDR, little-endian or big-endian: each number aligned to its size."""

    def __init__(self, order: str = "<") -> None:
        self.order = order
        self.body = bytearray()

    def put(self, code: str, value: int) -> None:
        size = struct.calcsize(code)
        self.body += bytes(-len(self.body) % size) + struct.pack(self.order + code, value)

    def text(self, value: str) -> None:
        self.put("I", len(value) + 1)
        self.body += value.encode() + b"\0"

    def header(self, frame: str = "camera") -> None:
        self.put("i", 7)
        self.put("I", 8)
        self.text(frame)

    def message(self) -> bytes:
        return bytes((0, self.order == "<", 0, 0)) + bytes(self.body)


def ros1_header(frame: str = "camera") -> bytes:
    return struct.pack("<IIII", 3, 7, 8, len(frame)) + frame.encode()


def ros1_array(events: Events, width: int = 128, height: int = 128, extra_ns: int = 0) -> bytes:
    body = b"".join(struct.pack("<HHIIB", *row) for row in _rows(events, extra_ns))
    return ros1_header() + struct.pack("<III", height, width, len(events)) + body


def cdr_array(
    events: Events, width: int = 128, height: int = 128, extra_ns: int = 0, order: str = "<"
) -> bytes:
    out = Cdr(order)
    out.header()
    for number in (height, width, len(events)):
        out.put("I", number)
    for row in _rows(events, extra_ns):
        for code, value in zip("HHiIB", row, strict=True):
            out.put(code, value)
    return out.message()


def ros1_packet(
    content: bytes, encoding: str, base_ns: int = 0, width: int = 128, height: int = 128,
    big: bool = False,
) -> bytes:  # fmt: skip
    return (
        ros1_header()
        + struct.pack("<IIQQI", height, width, 5, base_ns, len(encoding))
        + encoding.encode()
        + struct.pack("<BI", big, len(content))
        + content
    )


def cdr_packet(
    content: bytes, encoding: str, base_ns: int = 0, width: int = 128, height: int = 128
) -> bytes:
    out = Cdr()
    out.header()
    out.put("I", height)
    out.put("I", width)
    out.put("Q", 5)
    out.put("Q", base_ns)
    out.text(encoding)
    out.put("B", 0)
    out.put("I", len(content))
    return out.message() + content
