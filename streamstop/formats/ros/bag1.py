"""Reads the messages of a ROS 1 bag, version 2.0, in the order of the file.

A record is a header (u32 length; fields of u32 length and `name=value`) and data (u32 length). The
bag's header is followed by chunks of connections and messages, and after each chunk the index of
its messages, which is not needed. The connections are repeated behind the last chunk.

Guarantees:

- A bag whose index is missing or damaged, as after a crash of `rosbag record`, is read, too.
- Damage costs the chunk that holds it, or the messages where the chunk is not compressed.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from streamstop.formats.byte_reader import ByteReader
from streamstop.formats.ros.containers import (
    CUT_OFF,
    MAX_CHANNELS,
    MAX_CHUNK_BYTES,
    NO_END,
    Channel,
    Channels,
    Chunk,
    Item,
    Lost,
    Record,
    UnreadableError,
    end_of,
    is_type_name,
    is_whole,
    search,
    unpack,
    walk,
)

MAGIC = b"#ROSBAG V2.0\n"
MAX_HEADER_BYTES = 1 << 16
MAX_DEFINITION_BYTES = 1 << 20

_MESSAGE, _BAG, _INDEX, _CHUNK, _CHUNK_INFO, _CONNECTION = range(2, 8)
_U32 = struct.Struct("<I")
_CHUNK_START = re.compile(
    rb"[\x28\x29]\0\0\0(?:\x04\0\0\0op=\x05|\x09\0\0\0size=.{4}"
    rb"|[\x0f\x10]\0\0\0compression=(?:none|bz2|lz4)){3}",
    re.DOTALL,
)
_MESSAGE_START = re.compile(
    rb"\x26\0\0\0(?:\x04\0\0\0op=\x02|\x09\0\0\0conn=.{4}|\x0d\0\0\0time=.{8}){3}", re.DOTALL
)


class _Head(NamedTuple):
    """The header of a record, and where its data lie."""

    op: int
    fields: dict[bytes, bytes]
    begin: int
    end: int


def items(data: ByteReader, channels: Channels, offset: int, place: int) -> Iterator[Item]:
    """The messages from a position on; connections on the way are added to `channels`."""
    offset, told = max(offset, len(MAGIC)), False
    while (head := _head(data, offset)) is not None or data.read_at(offset, 1):
        if head is not None and head.op == _CHUNK_INFO:
            return
        if head is not None and head.op == _CONNECTION and is_whole(data, offset, head.end):
            if head.end - head.begin <= MAX_DEFINITION_BYTES:  # the index begins
                content = data.read_at(head.begin, head.end - head.begin)
                add_connection(channels, head.fields, content)
            offset, place, told = head.end, 0, True
            continue
        chunk, reason = None, "no record starts here"
        if head is not None:
            chunk, reason = _opened(data, offset, head)
        if head is None or reason:
            following = search(
                data, offset + 1, _CHUNK_START, lambda at: _is_chunk(_head(data, at))
            )
            if chunk is None or following is not None:
                end = end_of(data, offset) if following is None else following
                yield Lost(offset, end - offset, reason, (end, 0))
                offset, place, told = end, 0, following is None
                continue
        if chunk is not None:
            yield from walk(
                chunk,
                place,
                channels,
                lambda content, at: _record_at(content, at, channels),
                _next_at,
            )
            if chunk.cut:
                return
        assert head is not None
        offset, place = head.end if chunk is None else chunk.end, 0
        data.release(offset)
    if not told:
        yield Lost(offset, 0, NO_END, (offset, 0))


def indexed_channels(data: ByteReader) -> Channels | None:
    """The connections listed behind the last chunk; None where the list is missing or damaged."""
    head = _head(data, len(MAGIC))
    if not data.seekable or head is None or head.op != _BAG:
        return None
    position, count = head.fields.get(b"index_pos", b""), head.fields.get(b"conn_count", b"")
    if len(position) != 8 or len(count) != 4:
        return None
    offset = min(int.from_bytes(position, "little"), data.size or 0)
    channels: Channels = {}
    listed = 0
    while offset > len(MAGIC) and (head := _head(data, offset)) and head.op == _CONNECTION:
        if head.end - head.begin > MAX_DEFINITION_BYTES or listed == MAX_CHANNELS:
            return None
        add_connection(channels, head.fields, data.read_at(head.begin, head.end - head.begin))
        offset, listed = head.end, listed + 1
    sound = listed == len(channels) == int.from_bytes(count, "little")
    return channels if listed and sound else None


def add_connection(channels: Channels, fields: dict[bytes, bytes], description: bytes) -> None:
    """Add the connection of a record with these fields and data, if they are sound."""
    about = _fields(description)
    number = fields.get(b"conn", b"")
    if about is None or len(number) != 4 or b"type" not in about:
        return
    topic, kind = (one.decode(errors="replace") for one in (fields[b"topic"], about[b"type"]))
    if len(channels) < MAX_CHANNELS and is_type_name(kind):
        channels.setdefault(int.from_bytes(number, "little"), Channel(topic, kind, "ros1"))


def _opened(data: ByteReader, offset: int, head: _Head) -> tuple[Chunk | None, str]:
    """The chunk whose header this is, if it is one; what is wrong with the record, "" if nothing.

    A chunk that the file cuts off is both: it counts unless another chunk starts inside it.
    """
    whole = is_whole(data, offset, head.end)
    if head.op != _CHUNK:
        if not whole:
            return None, CUT_OFF
        if head.op == _INDEX:
            count = int.from_bytes(head.fields[b"count"], "little")
            sound = head.end - head.begin == 12 * count
        else:
            sound = head.op == _BAG and head.begin < MAX_HEADER_BYTES
        return None, "" if sound else "no record starts here"
    size = int.from_bytes(head.fields[b"size"], "little")
    if max(size, head.end - head.begin) > MAX_CHUNK_BYTES and whole:
        return None, f"a chunk of more than the {MAX_CHUNK_BYTES} bytes allowed"
    packed = data.read_at(head.begin, min(head.end - head.begin, MAX_CHUNK_BYTES))
    compression = head.fields[b"compression"].decode(errors="replace")
    if compression == "none" and not (whole and _follows(data, head.end)):
        inside = _CHUNK_START.search(packed)  # where bytes are missing, the next chunk is inside
        if inside is not None:
            end = head.begin + inside.start()
            return Chunk(offset, end, head.begin, memoryview(packed)[: inside.start()], False), ""
    try:
        content = unpack(compression, packed, min(size, MAX_CHUNK_BYTES))
        if whole and len(content) != size:
            raise UnreadableError("it holds less than its header states")
    except UnreadableError as error:
        return None, f"a chunk cannot be read: {error}"
    at = head.begin if compression == "none" else None
    end = head.end if whole else head.begin + len(packed)
    cut = not whole
    return Chunk(offset, end, at, memoryview(content), cut), CUT_OFF if cut else ""


def _head(data: ByteReader, offset: int) -> _Head | None:
    """The record at `offset` of the file; None where there is none."""
    start = data.read_at(offset, 1 << 8)
    if len(start) < 4:
        return None
    size = int(_U32.unpack_from(start)[0])
    if size > MAX_HEADER_BYTES:
        return None
    if len(start) < size + 8:
        start = data.read_at(offset, size + 8)
    if len(start) < size + 8:
        return None
    fields = _fields(start[4 : size + 4])
    if fields is None or len(fields.get(b"op", b"")) != 1:
        return None
    begin = offset + size + 8
    found = _Head(
        fields[b"op"][0], fields, begin, begin + int(_U32.unpack_from(start, size + 4)[0])
    )
    needed = _NEEDED.get(found.op)
    return found if needed is not None and needed <= fields.keys() else None


_NEEDED = {
    _BAG: {b"index_pos"},
    _INDEX: {b"conn", b"count"},
    _CHUNK: {b"compression", b"size"},
    _CHUNK_INFO: {b"chunk_pos", b"count"},
    _CONNECTION: {b"conn", b"topic"},
}


def _follows(data: ByteReader, offset: int) -> bool:
    """Whether a record, or the end of the file, is at `offset`."""
    return _head(data, offset) is not None or not data.read_at(offset, 1)


def _is_chunk(head: _Head | None) -> bool:
    return head is not None and head.op == _CHUNK


def _fields(header: bytes) -> dict[bytes, bytes] | None:
    """The fields of a header; None where it is not one."""
    fields: dict[bytes, bytes] = {}
    at = 0
    while at < len(header):
        if at + 4 > len(header):
            return None
        end = at + 4 + int(_U32.unpack_from(header, at)[0])
        name, sign, value = header[at + 4 : end].partition(b"=")
        if end > len(header) or not sign:
            return None
        fields[name] = value
        at = end
    return fields


def _record_at(content: memoryview, at: int, channels: Channels) -> Record | None:
    """The message or connection at a place in a chunk."""
    start = bytes(content[at : at + 46])
    if _MESSAGE_START.match(start) and len(start) == 46:  # the usual one
        conn = start.index(b"conn=") + 5
        end = at + 46 + int(_U32.unpack_from(start, 42)[0])
        number = int(_U32.unpack_from(start, conn)[0])
        return Record(number, at + 46, end) if end <= len(content) else None
    if len(start) < 4 or (size := int(_U32.unpack_from(start)[0])) > MAX_HEADER_BYTES:
        return None
    fields = _fields(bytes(content[at + 4 : at + 4 + size]))
    begin = at + size + 8
    if fields is None or begin > len(content):
        return None
    end = begin + int(_U32.unpack_from(content, begin - 4)[0])
    if end > len(content):
        return None
    if fields.get(b"op") == bytes([_CONNECTION]) and _NEEDED[_CONNECTION] <= fields.keys():
        if end - begin <= MAX_DEFINITION_BYTES:
            add_connection(channels, fields, bytes(content[begin:end]))
        return Record(-1, begin, end)
    if fields.get(b"op") == bytes([_MESSAGE]) and len(fields.get(b"conn", b"")) == 4:
        return Record(int.from_bytes(fields[b"conn"], "little"), begin, end)
    return None


def _next_at(content: memoryview, at: int) -> int | None:
    """The next message in a chunk."""
    while found := _MESSAGE_START.search(content, at):
        if _record_at(content, found.start(), {}) is not None:
            return found.start()
        at = found.start() + 1
    return None
