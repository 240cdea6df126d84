"""Reads the messages of an MCAP file, version 0, in the order of the file.

A record is a u8 kind, a u64 length and that many bytes. Schemas, channels and messages lie in
chunks, or outside of any where the writer made none. Behind them are a summary and a footer.

Guarantees:

- A file without a summary, as after a crash of the recorder, is read, too.
- Damage costs the chunk that holds it, which a checksum tells where the writer made one; without
  one, it costs the messages where the chunk is not compressed.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from streamstop.formats.byte_reader import ByteReader
from streamstop.formats.ros.containers import (
    CUT_OFF,
    MAX_CHANNELS,
    MAX_CHUNK_BYTES,
    NO_END,
    UNKNOWN_CHANNEL,
    Channel,
    Channels,
    Chunk,
    Item,
    Lost,
    Message,
    Record,
    UnreadableError,
    end_of,
    is_type_name,
    is_whole,
    search,
    unpack,
    walk,
)

MAGIC = b"\x89MCAP0\r\n"
MAX_SUMMARY_BYTES = 1 << 26

_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = range(1, 7)
_OF_ROS = ("ros1", "cdr")
_INDEX, _DATA_END = 7, 0x0F
_OTHERS = (0x09, 0x0C)
"""Attachments and metadata."""

_HEAD = struct.Struct("<BQ")
_CHUNK_HEAD = struct.Struct("<QQQII")
_MESSAGE_HEAD = struct.Struct("<HIQQ")
_U16, _U32, _U64 = struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<Q")
_LEAST = {
    _FOOTER: 20, _SCHEMA: 14, _CHANNEL: 16, _MESSAGE: _MESSAGE_HEAD.size, _CHUNK: 40, _DATA_END: 4
}  # fmt: skip
_EXACT = (_FOOTER, _DATA_END)
_START = re.compile(rb"[\x03-\x06](?=.{3}[\0-\x08]\0{4})", re.DOTALL)


class _Head(NamedTuple):
    """The kind of a record, and where its bytes lie."""

    kind: int
    begin: int
    end: int


class Names:
    """The channels of a file, and the names of the schemas they refer to."""

    def __init__(self, channels: Channels) -> None:
        self.channels = channels
        self._schemas: dict[int, str] = {}

    def add(self, kind: int, content: bytes) -> bool:
        """Add a schema or a channel; False where the record is not sound."""
        number = int(_U16.unpack_from(content)[0])
        begin = 2 if kind == _SCHEMA else 4
        texts = []
        for _ in range(3):  # name, encoding, definition; topic, encoding, metadata
            text = _text(content, begin)
            if text is None:
                return False
            texts.append(text)
            begin += 4 + len(text)
        if begin != len(content):
            return False
        name, encoding = (one.decode(errors="replace") for one in texts[:2])
        if kind == _SCHEMA:
            if len(self._schemas) < MAX_CHANNELS:
                self._schemas.setdefault(number, name)
            return True
        schema = self._schemas.get(int(_U16.unpack_from(content, 2)[0]), "")
        known = self.channels.get(number)  # a repeated channel is the same, unless damaged
        if len(self.channels) < MAX_CHANNELS and (known is None or (schema and not known.kind)):
            self.channels[number] = Channel(name, schema, encoding)
        return True


def items(data: ByteReader, channels: Channels, offset: int, place: int) -> Iterator[Item]:
    """The messages from a position on; channels on the way are added to `channels`."""
    names = Names(channels)
    offset, told = max(offset, len(MAGIC)), False

    def is_record(at: int) -> bool:
        return _is_sound(data, at, names)

    def is_chunk(at: int) -> bool:
        return data.read_at(at, 1) == bytes([_CHUNK]) and is_record(at)

    while (head := _head(data, offset)) is not None or data.read_at(offset, 1):
        if head is not None and head.kind in _EXACT and _ends(data, head, names):
            return
        opened: Chunk | Message | None = None
        reason = "no record starts here"
        if head is not None:
            opened, reason = _opened(data, offset, head, names)
        if head is not None and not reason and _is_other(head):
            # Junk may look like one; if it did, other records would lie inside.
            found = search(data, offset + 1, _START, is_record, before=head.end)
            if found is not None:
                yield Lost(offset, found - offset, "no record starts here", (found, 0))
                offset, place = found, 0
                continue
        if reason:
            # The records in a chunk are like those outside, but its checksum covers them.
            inside = head is not None and head.kind == _CHUNK and is_record(offset)
            if head is not None and inside and opened is None and _follows(data, offset, head):
                yield Lost(offset, head.end - offset, reason, (head.end, 0))
                offset, place = head.end, 0
                continue
            following = search(data, offset + 1, _START, is_chunk if inside else is_record)
            if opened is None or (following is not None and following < opened_end(opened)):
                end = end_of(data, offset) if following is None else following
                yield Lost(offset, end - offset, reason, (end, 0))
                offset, place, told = end, 0, following is None
                continue
        if isinstance(opened, Chunk):
            yield from walk(
                opened,
                place,
                channels,
                lambda content, at: _record_at(content, at, names),
                lambda content, at: _next_at(content, at, names),
            )
            if opened.cut:
                return
        elif opened is not None and opened.channel in channels:
            yield opened
        elif opened is not None:
            yield Lost(offset, opened.after[0] - offset, UNKNOWN_CHANNEL, opened.after)
        assert head is not None
        offset, place = head.end, 0
        data.release(offset)
    if not told:
        yield Lost(offset, 0, NO_END, (offset, 0))


def opened_end(opened: Chunk | Message) -> int:
    """Where the record of a chunk or message ends in the file."""
    return opened.end if isinstance(opened, Chunk) else opened.after[0]


def indexed_channels(data: ByteReader) -> Channels | None:
    """The channels in the summary; None where there is none, or it is damaged."""
    size = data.size
    if not data.seekable or size is None or size < 2 * len(MAGIC) + 29:
        return None
    end = size - len(MAGIC) - 29
    tail = data.read_at(end, 37)
    if tail[29:] != MAGIC or _HEAD.unpack_from(tail) != (_FOOTER, 20):
        return None
    start, _, crc = struct.unpack_from("<QQI", tail, 9)
    if not len(MAGIC) < start < end or end - start > MAX_SUMMARY_BYTES:
        return None
    summary = data.read_at(start, end - start)
    if crc and zlib.crc32(tail[:25], zlib.crc32(summary)) != crc:
        return None
    channels: Channels = {}
    names, at = Names(channels), 0
    while at < len(summary):
        record = _record_at(memoryview(summary), at, names)
        if record is None:
            return None
        at = record.end
    sane = all(is_type_name(one.kind) for one in channels.values() if one.encoding in _OF_ROS)
    return channels if channels and sane else None


def _ends(data: ByteReader, head: _Head | None, names: Names) -> bool:
    """Whether only the summary follows this record; schemas and channels in it are added."""
    while head is not None and head.end - head.begin <= MAX_SUMMARY_BYTES:
        if head.kind == _FOOTER:
            return data.read_at(head.end, len(MAGIC) + 1) == MAGIC
        if head.kind in (_SCHEMA, _CHANNEL):
            content = data.read_at(head.begin, head.end - head.begin)
            if len(content) < head.end - head.begin or not names.add(head.kind, content):
                return False
        head = _head(data, head.end)
    return False


def _follows(data: ByteReader, offset: int, head: _Head) -> bool:
    """Whether this record, at `offset`, ends where another one lies, or at the end of the file."""
    if not is_whole(data, offset, head.end):
        return False
    following = _head(data, head.end)
    if following is None:
        return not data.read_at(head.end, 1)
    return is_whole(data, head.end, following.end)


def _opened(
    data: ByteReader, offset: int, head: _Head, names: Names
) -> tuple[Chunk | Message | None, str]:
    """The chunk or message of a record, if it is one; what is wrong with it, "" if nothing.

    Where both are there, the record counts unless another starts inside it.
    """
    whole = is_whole(data, offset, head.end)
    if head.kind == _CHUNK:
        try:
            chunk = _chunk(data, offset, head, whole)
        except UnreadableError as error:
            return None, f"a chunk cannot be read: {error}"
        return chunk, "" if whole else CUT_OFF
    if not whole:
        return None, CUT_OFF
    if head.kind in _EXACT:
        return None, NO_END
    wrong = "" if _follows(data, offset, head) else "no record starts here"
    if head.kind == _INDEX:
        return None, "" if _is_index(data, head) else "no record starts here"
    if head.kind not in (_MESSAGE, _SCHEMA, _CHANNEL):
        if head.kind == _HEADER and offset == len(MAGIC) and head.end - offset < MAX_SUMMARY_BYTES:
            return None, ""
        return None, wrong if _is_other(head) else "no record starts here"
    if head.end - head.begin > MAX_CHUNK_BYTES:
        return None, f"a message of more than the {MAX_CHUNK_BYTES} bytes allowed"
    content = data.read_at(head.begin, head.end - head.begin)
    if head.kind != _MESSAGE:
        return None, "" if names.add(head.kind, content) else "no channel starts here"
    at = head.begin + _MESSAGE_HEAD.size
    view = memoryview(content)[_MESSAGE_HEAD.size :]
    number = int(_U16.unpack_from(content)[0])
    return Message(number, view, at, offset, 0, (head.end, 0)), wrong


def _is_index(data: ByteReader, head: _Head) -> bool:
    """Whether the length of a message index is that of its entries."""
    start, size = data.read_at(head.begin, 6), head.end - head.begin
    return len(start) == 6 and size == 6 + int(_U32.unpack_from(start, 2)[0])


def _is_other(head: _Head) -> bool:
    """Whether a record is passed over: attachments, metadata, and those of other programs."""
    return head.kind in _OTHERS or head.kind >= 0x80


def _chunk(data: ByteReader, offset: int, head: _Head, whole: bool) -> Chunk:
    start = data.read_at(head.begin, 64)
    compression = _text(start, _CHUNK_HEAD.size - 4)
    if compression is None or len(start) < _CHUNK_HEAD.size + len(compression) + 8:
        raise UnreadableError("its header is damaged")
    _, _, size, crc, _ = _CHUNK_HEAD.unpack_from(start)
    begin = head.begin + _CHUNK_HEAD.size + len(compression) + 8
    packed_bytes = int(_U64.unpack_from(start, begin - head.begin - 8)[0])
    if begin + packed_bytes != head.end:
        raise UnreadableError("its two lengths differ")
    if max(size, packed_bytes) > MAX_CHUNK_BYTES and whole:
        raise UnreadableError(f"it has more than the {MAX_CHUNK_BYTES} bytes allowed")
    packed = data.read_at(begin, min(packed_bytes, MAX_CHUNK_BYTES))
    content = unpack(compression.decode(errors="replace"), packed, min(int(size), MAX_CHUNK_BYTES))
    if whole and len(content) != size:
        raise UnreadableError("it holds less than its header states")
    if whole and crc and zlib.crc32(content) != crc:
        raise UnreadableError("its checksum is wrong")
    end = head.end if whole else begin + len(packed)
    return Chunk(offset, end, None if compression else begin, memoryview(content), not whole)


def _head(data: ByteReader, offset: int) -> _Head | None:
    """The record at `offset` of the file; None where there is none."""
    start = data.read_at(offset, _HEAD.size)
    if len(start) < _HEAD.size:
        return None
    kind, size = _HEAD.unpack(start)
    return _Head(kind, offset + 9, offset + 9 + size) if _is_head(kind, size) else None


def _is_head(kind: int, size: int) -> bool:
    least = _LEAST.get(kind, 0)
    fits = size == least if kind in _EXACT else size >= least
    return fits and size < 1 << 56 and (0 < kind <= _DATA_END or kind >= 0x80)


def _is_sound(data: ByteReader, offset: int, names: Names) -> bool:
    """Whether a record that holds messages, or names channels, starts at `offset` of the file."""
    head = _head(data, offset)
    if head is None or not _SCHEMA <= head.kind <= _CHUNK:
        return False
    if head.kind == _CHUNK:
        start = data.read_at(head.begin, 64)
        compression = _text(start, _CHUNK_HEAD.size - 4)
        if compression is None or len(start) < _CHUNK_HEAD.size + len(compression) + 8:
            return False
        packed = int(_U64.unpack_from(start, _CHUNK_HEAD.size + len(compression))[0])
        return packed == head.end - head.begin - _CHUNK_HEAD.size - len(compression) - 8
    if not is_whole(data, offset, head.end):
        return False
    if head.kind in (_SCHEMA, _CHANNEL):
        size = head.end - head.begin
        if size > MAX_SUMMARY_BYTES or not Names({}).add(head.kind, data.read_at(head.begin, size)):
            return False
    if head.kind == _MESSAGE:
        number = int(_U16.unpack(data.read_at(head.begin, 2))[0])
        if number not in names.channels:
            return False
    return _follows(data, offset, head)


def _text(content: bytes, at: int) -> bytes | None:
    """The string at a place: u32 length and bytes; None where it does not fit."""
    if at + 4 > len(content):
        return None
    end = at + 4 + int(_U32.unpack_from(content, at)[0])
    return content[at + 4 : end] if end <= len(content) else None


def _record_at(content: memoryview, at: int, names: Names) -> Record | None:
    """The record at a place in a chunk; schemas and channels are added to the names."""
    if at + _HEAD.size > len(content):
        return None
    kind, size = _HEAD.unpack_from(content, at)
    begin, end = at + _HEAD.size, at + _HEAD.size + int(size)
    if not _is_head(kind, size) or end > len(content):
        return None
    if kind == _MESSAGE:
        number = int(_U16.unpack_from(content, begin)[0])
        return Record(number, begin + _MESSAGE_HEAD.size, end)
    if kind in (_SCHEMA, _CHANNEL) and not names.add(kind, bytes(content[begin:end])):
        return None
    return Record(-1, begin, end)


def _next_at(content: memoryview, at: int, names: Names) -> int | None:
    """The next message of a known channel in a chunk, which another record or the end follows."""
    for found in _START.finditer(content, at):
        start = found.start()
        if content[start] != _MESSAGE:
            continue
        record = _record_at(content, start, names)
        if record is not None and record.channel in names.channels:
            last = record.end == len(content)
            if last or (
                record.end + _HEAD.size <= len(content)
                and _is_head(*_HEAD.unpack_from(content, record.end))
            ):
                return start
    return None
