"""What the readers of bags share: messages, channels, losses, decompression, search after damage.

A bag is a sequence of records. Those that hold messages lie in chunks, which may be compressed, or
(MCAP only) outside of any. A position in a bag is the offset of a chunk or record in the file, and
the place of a record in the chunk's content.

Guarantees:

- Memory is bounded: one chunk at a time, up to MAX_CHUNK_BYTES before and after decompression.
"""

from __future__ import annotations

import bz2
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import lz4.frame
import zstandard

from streamstop.formats.byte_reader import ByteReader

MAX_CHUNK_BYTES = 1 << 27
"""A larger chunk or message, before or after decompression, is treated as damage."""

MAX_CHANNELS = 1 << 12
"""Channels beyond these are ignored."""

_PIECE = 1 << 20
_OVERLAP = 1 << 8
"""At least the length of the longest start of a record that is searched for."""

CUT_OFF = "the file ends inside a record"
NO_END = "the file has no end: it was cut off, or never closed by its recorder"
UNKNOWN_CHANNEL = "a message of a channel that is not announced"


_TYPE_NAME = re.compile(r"[A-Za-z]\w*(/\w+)+", re.ASCII)


class UnreadableError(Exception):
    """A chunk cannot be decompressed, or is not what its header states."""


class Channel(NamedTuple):
    """A stream of messages in a bag: its topic, type ("package/Name") and encoding."""

    topic: str
    kind: str
    encoding: str


class Message(NamedTuple):
    """One message.

    Attributes
    ----------
    channel
        Number of its channel.
    data
        Its bytes.
    at
        Offset in the file of these bytes, or of the compressed chunk that holds them.
    offset, place
        Position of its record.
    after
        Position after its record.
    """

    channel: int
    data: memoryview
    at: int
    offset: int
    place: int
    after: tuple[int, int]


class Lost(NamedTuple):
    """Bytes that could not be read, in the file; `reason` is "" where that was already reported."""

    offset: int
    size: int
    reason: str
    after: tuple[int, int]


Channels = dict[int, Channel]
Item = Message | Lost


class Record(NamedTuple):
    """A record in the content of a chunk.

    Attributes
    ----------
    channel
        Number of the message's channel; -1 where the record is no message.
    begin, end
        The message's bytes; the next record starts at `end`.
    """

    channel: int
    begin: int
    end: int


class Chunk(NamedTuple):
    """The content of a chunk.

    Attributes
    ----------
    offset, end
        Where its record starts and ends in the file.
    content_at
        Offset in the file of the content; None where it is compressed.
    content
        Its records.
    cut
        Whether the file ends inside it.
    """

    offset: int
    end: int
    content_at: int | None
    content: memoryview
    cut: bool


def walk(
    chunk: Chunk,
    place: int,
    channels: Channels,
    record_at: Callable[[memoryview, int], Record | None],
    next_at: Callable[[memoryview, int], int | None],
) -> Iterator[Item]:
    """The messages of a chunk, from a place in its content on.

    Parameters
    ----------
    chunk
        The chunk.
    place
        Where to start.
    channels
        Those that are known; a message of any other is damage.
    record_at
        The record at a place; None where there is none, or it does not end inside the content.
    next_at
        The first place of a message at or after another one; None where there is none.
    """
    content, told = chunk.content, False
    while place < len(content):
        found = record_at(content, place)
        sound = found is not None and (
            found.end == len(content) or record_at(content, found.end) is not None
        )
        if found is None or not sound:
            following = next_at(content, place + 1)
            if found is None or (following is not None and following < found.end):
                if following is None and chunk.cut:
                    break
                end = len(content) if following is None else following
                after = (chunk.end, 0) if following is None else (chunk.offset, end)
                yield _lost(chunk, place, end, "" if told else "no message starts here", after)
                told, place = chunk.content_at is None, end
                continue
        after = (chunk.offset, found.end) if found.end < len(content) else (chunk.end, 0)
        if found.channel >= 0 and found.channel not in channels:
            yield _lost(chunk, place, found.end, "" if told else UNKNOWN_CHANNEL, after)
            told = chunk.content_at is None
        elif found.channel >= 0:
            at = chunk.offset if chunk.content_at is None else chunk.content_at + found.begin
            data = content[found.begin : found.end]
            yield Message(found.channel, data, at, chunk.offset, place, after)
        place = found.end
    if chunk.cut:
        yield _lost(chunk, place, len(content), CUT_OFF, (chunk.end, 0))


def _lost(chunk: Chunk, first: int, last: int, reason: str, after: tuple[int, int]) -> Lost:
    """A part of a chunk's content; where that is compressed, its place is the whole chunk."""
    if chunk.content_at is None:
        return Lost(chunk.offset, chunk.end - chunk.offset, reason, after)
    return Lost(chunk.content_at + first, last - first, reason, after)


def unpack(compression: str, packed: bytes, size: int) -> bytes:
    """A chunk decompressed: `size` bytes, fewer where its end is missing.

    Raises
    ------
    UnreadableError
        If it is damaged, holds more, or the compression is unknown.
    """
    if compression in ("", "none"):
        if len(packed) > size:
            raise UnreadableError("its two lengths differ")
        return packed
    if compression not in _PIECES:
        raise UnreadableError(f"unknown compression {compression[:40]!r}")
    content = bytearray()
    try:
        for piece in _PIECES[compression](packed):
            content += piece
            if len(content) > size:
                raise UnreadableError("it holds more than its header states")
    except (OSError, EOFError, RuntimeError, ValueError, zstandard.ZstdError) as error:
        raise UnreadableError(f"{compression} cannot be unpacked: {error}") from error
    return bytes(content)


def _bz2_pieces(packed: bytes) -> Iterator[bytes]:
    unpacker = bz2.BZ2Decompressor()
    while not unpacker.eof and (piece := unpacker.decompress(packed, _PIECE)):
        yield piece
        packed = b""


def _lz4_pieces(packed: bytes) -> Iterator[bytes]:
    unpacker = lz4.frame.LZ4FrameDecompressor()
    while not unpacker.eof and (piece := unpacker.decompress(packed, _PIECE)):
        yield piece
        packed = b""


def _zstd_pieces(packed: bytes) -> Iterator[bytes]:
    unpacker = zstandard.ZstdDecompressor(max_window_size=MAX_CHUNK_BYTES)
    with unpacker.stream_reader(packed) as stream:
        while piece := stream.read(_PIECE):
            yield piece


_PIECES: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "bz2": _bz2_pieces,
    "lz4": _lz4_pieces,
    "zstd": _zstd_pieces,
}


def search(
    data: ByteReader,
    offset: int,
    start: re.Pattern[bytes],
    is_record: Callable[[int], bool],
    before: int | None = None,
) -> int | None:
    """Offset of the next record at or after `offset`; None where there is none.

    Parameters
    ----------
    data
        The file. Bytes that were passed over are released.
    offset
        Where to start.
    start
        What a record starts with, in at most _OVERLAP bytes.
    is_record
        Whether a record starts at this offset, where `start` fits.
    before
        Where to stop; None: at the end of the file.
    """
    while before is None or offset < before:
        piece = data.read_at(offset, _PIECE + _OVERLAP)
        for match in start.finditer(piece):
            if before is not None and offset + match.start() >= before:
                return None
            if match.start() < _PIECE and is_record(offset + match.start()):
                return offset + match.start()
        if len(piece) < _PIECE + _OVERLAP:
            return None
        offset += _PIECE
        data.release(offset)
    return None


def is_type_name(kind: str) -> bool:
    """Whether this may be the name of a type of messages, as "dvs_msgs/EventArray"."""
    return _TYPE_NAME.fullmatch(kind) is not None


def is_whole(data: ByteReader, offset: int, end: int) -> bool:
    """Whether the file holds the record from `offset` to `end`.

    Of a compressed file, which has to be unpacked to know, only as much as a chunk may have.
    """
    return (data.seekable or end - offset <= MAX_CHUNK_BYTES + (1 << 17)) and data.reaches(end)


def end_of(data: ByteReader, offset: int) -> int:
    """Offset of the end of the file, searched from `offset` on."""
    if data.size is not None:
        return max(data.size, offset)
    while piece := data.read_at(offset, _PIECE):
        offset += len(piece)
        data.release(offset)
    return offset
