"""Bags and MATLAB files of a few thousand events, laid out by hand, for mutations.

An event of a bag rests on its chunk: what is before the chunk must come through, and what follows
the next one. Where no checksum covers the chunk, messages before a change come through, too.
"""

from __future__ import annotations

import bz2
import io
import sqlite3
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import numpy as np
import scipy.io
import zstandard
from helpers.mutations import Edit, Kept
from helpers.ros_messages import cdr_array, ros1_array
from numpy.typing import NDArray

from streamstop.events.packet import Events

PER_MESSAGE, PER_CHUNK = 50, 4

Laid = tuple[bytes, Events, int, NDArray[np.int64], NDArray[np.int64]]

PACK: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "": bytes,
    "bz2": bz2.compress,
    "lz4": lz4.frame.compress,
    "zstd": zstandard.ZstdCompressor(level=3, write_checksum=True).compress,
}


def _record(fields: dict[str, bytes], data: bytes) -> bytes:
    head = b"".join(
        struct.pack("<I", len(name) + 1 + len(value)) + name.encode() + b"=" + value
        for name, value in fields.items()
    )
    return struct.pack("<I", len(head)) + head + struct.pack("<I", len(data)) + data


def _u32(number: int) -> bytes:
    return struct.pack("<I", number)


def bag(events: Events, compression: str = "none") -> Laid:
    """A ROS 1 bag: chunks of messages of two topics, their indices, the connections."""
    names = ("/dvs/events", "/imu")
    connections = [
        _record(
            {"conn": _u32(i), "op": b"\x07", "topic": topic.encode()},
            _record({"topic": topic.encode(), "type": kind}, b"")[4:-4],
        )
        for i, (topic, kind) in enumerate(
            zip(names, (b"dvs_msgs/EventArray", b"sensor_msgs/Imu"), strict=True)
        )
    ]
    content = bytearray(b"#ROSBAG V2.0\n" + bytes(4096))
    begins, ends = [], []
    begin, first_end = len(content), 0
    per_chunk = PER_MESSAGE * PER_CHUNK
    for first in range(0, len(events), per_chunk):
        chunk = bytearray(b"" if first else b"".join(connections))
        inside = []
        for at in range(first, min(first + per_chunk, len(events)), PER_MESSAGE):
            part = events[at : at + PER_MESSAGE]
            for i, message in enumerate((ros1_array(part), b"i" * 40)):
                head = {"conn": _u32(i), "op": b"\x02", "time": struct.pack("<II", at, i)}
                chunk += _record(head, message)
                if not i:
                    inside += [len(chunk)] * len(part)
        packed = PACK[compression](bytes(chunk))
        head = {"compression": compression.encode(), "op": b"\x05", "size": _u32(len(chunk))}
        record = _record(head, packed)
        data_at = len(content) + len(record) - len(packed)
        content += record
        begins += [begin] * len(inside)
        whole = compression != "none"
        ends += [len(content) if whole else data_at + one for one in inside]
        begin = int(ends[-1])  # a message of another topic may follow
        first_end = first_end or len(content)
        index = {"conn": _u32(0), "count": _u32(PER_CHUNK), "op": b"\x04", "ver": _u32(1)}
        content += _record(index, bytes(12 * PER_CHUNK))
    position = len(content)
    content += b"".join(connections)
    bag_head = {
        "chunk_count": _u32(len(events) // per_chunk), "conn_count": _u32(2),
        "index_pos": struct.pack("<Q", position), "op": b"\x03",
    }  # fmt: skip
    head_record = _record(bag_head, b"")[:-4]
    rest = 4096 - len(head_record) - 4
    content[13 : 13 + 4096] = head_record + _u32(rest) + b" " * rest
    # Where its first chunk, with the connections, is touched, the file may be refused.
    return bytes(content), events, first_end, np.array(begins), np.array(ends)


def _text(value: str) -> bytes:
    return _u32(len(value)) + value.encode()


def _mcap_record(kind: int, content: bytes) -> bytes:
    return struct.pack("<BQ", kind, len(content)) + content


def mcap(events: Events, compression: str = "", *, chunked: bool = True, crc: bool = True) -> Laid:
    """An MCAP file of messages of two topics, with a summary of its channels."""
    schemas = ("dvs_msgs/msg/EventArray", "sensor_msgs/msg/Imu")
    named = b"".join(
        _mcap_record(3, struct.pack("<H", i) + _text(name) + _text("ros2msg") + _text(""))
        for i, name in enumerate(schemas, 1)
    ) + b"".join(
        _mcap_record(4, struct.pack("<HH", i, i) + _text(topic) + _text("cdr") + _text(""))
        for i, topic in enumerate(("/dvs/events", "/imu"), 1)
    )
    magic = b"\x89MCAP0\r\n"
    content = bytearray(magic + _mcap_record(1, _text("ros2") + _text("")))
    if not chunked:
        content += named
    header = len(content)
    begins, ends = [], []
    per_chunk = PER_MESSAGE * PER_CHUNK
    begin = header
    for first in range(0, len(events), per_chunk):
        chunk = bytearray(b"" if first or not chunked else named)
        inside = []
        for at in range(first, min(first + per_chunk, len(events)), PER_MESSAGE):
            part = events[at : at + PER_MESSAGE]
            if not chunked:
                begins += [begin] * len(part)
            for i, message in enumerate((cdr_array(part), b"i" * 40), 1):
                chunk += _mcap_record(5, struct.pack("<HIQQ", i, at, at, at) + message)
                if i == 1:
                    inside += [len(chunk)] * len(part)
                    begin = begin if chunked else len(content) + len(chunk)
        if not chunked:
            header = header if first else len(content) + inside[0]
            ends += [len(content) + one for one in inside]
            content += chunk
            continue
        packed = PACK[compression](bytes(chunk))
        check = zlib.crc32(chunk) if crc else 0
        head = struct.pack("<QQQI", 0, 1, len(chunk), check) + _text(compression)
        content += _mcap_record(6, head + struct.pack("<Q", len(packed)) + packed)
        begins += [begin] * len(inside)
        ends += [len(content)] * len(inside)
        begin = len(content)
        header = begin if not first else header
        content += _mcap_record(7, struct.pack("<HI", 1, 16 * PER_CHUNK) + bytes(16 * PER_CHUNK))
    content += _mcap_record(15, _u32(0))
    summary_at = len(content)
    content += named
    content += _mcap_record(2, struct.pack("<QQI", summary_at, 0, 0)) + magic
    return bytes(content), events, header, np.array(begins), np.array(ends)


def db3(events: Events) -> bytes:
    """The tables of a ROS 2 bag."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rec.db3")
        with sqlite3.connect(path) as file:
            file.execute(
                "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, "
                "serialization_format TEXT, offered_qos_profiles TEXT)"
            )
            file.execute(
                "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, "
                "timestamp INTEGER, data BLOB)"
            )
            row = (1, "/dvs/events", "dvs_msgs/msg/EventArray", "cdr", "")
            file.execute("INSERT INTO topics VALUES (?, ?, ?, ?, ?)", row)
            for at in range(0, len(events), PER_MESSAGE):
                file.execute(
                    "INSERT INTO messages(topic_id, timestamp, data) VALUES (1, ?, ?)",
                    (at, cdr_array(events[at : at + PER_MESSAGE])),
                )
        file.close()
        return path.read_bytes()


def mat(events: Events, *, compressed: bool) -> bytes:
    """ASL-DVS's columns of doubles."""
    file = io.BytesIO()
    columns = {"ts": events["t"], "x": events["x"], "y": events["y"], "pol": events["p"]}
    doubles = {name: one.astype("f8").reshape(-1, 1) for name, one in columns.items()}
    scipy.io.savemat(file, doubles, do_compression=compressed)
    # The header holds the time at which it was written, and mutations are to repeat.
    return b"MATLAB 5.0 MAT-file".ljust(116) + file.getvalue()[116:]


def nothing_kept(edit: Edit) -> Kept | None:
    """A change may make the file unreadable, or its numbers no events."""
    return None
