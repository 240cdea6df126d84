"""Reads AEDAT4, the container of iniVation's DV: events beside frames, IMU samples and triggers.

It reads the first event stream of a file (`stream` selects another), with packets compressed by
LZ4, zstd or not at all.

Guarantees:

- One packet is in memory at a time, and every length is checked against the file and against a
  limit before memory is allocated.
- Damage in one packet costs that packet: reading goes on at the next packet that can be found.
- Marks that the recorder of a live run wrote among the triggers (time that passed without events)
  are returned in their place among the events.

Does not:

- Read frames, IMU samples and other triggers, so damage in them goes unnoticed.

Layout: the line `#!AER-DAT4.0`, an `IOHeader` flatbuffer that holds an XML text, then packets of
`i32 stream, i32 size` and `size` bytes, compressed, of an `EventPacket` flatbuffer. The table of
packets at the end is not needed and not read. An event has 16 bytes and is `EVENT_DTYPE` already.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO
from xml.etree import ElementTree

import lz4.frame
import numpy as np
import zstandard

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
from streamstop.formats.aedat.aedat4_resync import PIECE, PacketSearch
from streamstop.formats.base import SIMULATED_SOURCE, UNKNOWN_SOURCE, read_start
from streamstop.formats.byte_reader import ByteReader, open_bytes

MAGIC = b"#!AER-DAT4.0\r\n"
RECORDER_MODULE = "streamstop-tee"
"""Name of the marks' writer in a header; see `streamstop.sources.live.recorder`."""

COMPRESSIONS = {"none": 0, "lz4": 1, "zstd": 3}
MAX_HEADER_BYTES = 1 << 22
_LENGTH_END = len(MAGIC) + 4
MAX_BLOCK_BYTES = 1 << 27
"""A larger packet, before or after decompression, is treated as damage. This much holds 8 million
events; cameras write about ten thousand per packet."""
MAX_MARKS = 1 << 10
"""More marks than this in one packet are damage: the recorder does not write so many."""

_LIKELY_RATIO = 64
"""Events rarely compress better than this; a packet that claims to is decompressed in parts."""
_USUAL_HEAD = bytes.fromhex("10000000 45565453 0000 0600 0800 0400 06000000 04000000")
"""The bytes between the size and the number of events in packets of all writers seen so far."""
_USUAL = struct.Struct("<I24sI")
"""The packet's size, the usual bytes, the number of events; the events follow."""
_POLARITY_BYTE = 12


class UnreadableError(Exception):
    """The bytes of a block are not valid; the message says why."""


@dataclass(frozen=True)
class Header:
    """The header of an AEDAT4 file.

    Attributes
    ----------
    compression
        "none", "lz4" or "zstd".
    table_offset
        Offset of the table of packets, -1 for none.
    end
        Offset of the first packet.
    streams
        Attributes of each stream, by its id.
    """

    compression: str
    table_offset: int
    end: int
    streams: dict[int, dict[str, str]]


class Aedat4Recording:
    """An AEDAT4 file; see `streamstop.formats.base.Recording`.

    Parameters
    ----------
    path
        The file.
    stream
        Id of the event stream to read, a number; "" takes the first in the header. Events of
        other event streams are counted as dropped, cause "other_stream". "all" reads all of them,
        in the order of the file, without the marks of a live run.

    Raises
    ------
    SourceError
        If the header cannot be read or names no such event stream.
    """

    format = "aedat4"
    notes: Sequence[str] = ()
    sensor_inferred = False

    def __init__(self, path: str, stream: str = "") -> None:
        self.path = path
        try:
            self._header = read_header(io.BytesIO(_start(path)))
        except UnreadableError as error:
            raise SourceError(
                f"the AEDAT4 header is damaged: {error}; nothing could be read: {path}"
            ) from error
        streams = self._header.streams
        events = [i for i, of in streams.items() if of.get("typeIdentifier") == "EVTS"]
        first = str(next(iter(events), ""))
        wanted = first if stream in ("", "all") else stream
        if wanted not in map(str, events):
            named = ", ".join(f"{i} {of.get('typeIdentifier')}" for i, of in streams.items())
            which = f" {stream}" if stream else ""
            raise NoEventsError(
                f"no event stream{which}; the header names {named or 'none'}: {path}"
            )
        self._event_streams = frozenset(events)
        sizes = {stream_sensor(streams[i]) for i in events}
        if stream == "all" and len(sizes) > 1:
            raise SourceError(
                "its event streams have different sensors; read one of them, ?stream=ID, with ID "
                f"one of {', '.join(map(str, events))}: {path}"
            )
        self._stream = int(wanted)
        self._read = frozenset(events) if stream == "all" else {self._stream}
        # Marks belong to the first event stream, the only one that the recorder writes.
        self._marks = {
            i
            for i, of in streams.items()
            if _is_marks(of) and self._stream == events[0] and stream != "all"
        }
        info = streams[self._stream]
        self.simulated = info.get("source", "").startswith(SIMULATED_SOURCE)
        self.origin_known = not info.get("source", "").startswith(UNKNOWN_SOURCE)
        self.sensor = stream_sensor(info)

    def packets(self, start: Cursor | None = None) -> Iterator[Packet]:
        """Packets from `start` on; see `Recording.packets`."""
        with open_bytes(self.path) as data:
            yield from self._packets(data, start)

    def _packets(self, data: ByteReader, start: Cursor | None) -> Iterator[Packet]:
        header, path = self._header, self.path
        search = PacketSearch(
            data, header.compression, header.streams, header.table_offset, MAX_BLOCK_BYTES
        )
        unpack = Unpacker(header.compression)
        at = start if start is not None and start.offset else Cursor(path, header.end)
        cut_off = False
        while True:
            offset = at.offset
            found = search.at(offset)
            if found is None:
                if search.ends(offset):
                    break
                following, cut_off = search.after(offset + 1)
                reason = "the file ends inside a packet" if cut_off else "no packet starts here"
                at = Cursor(path, following, at.event, at.t_us)
                yield _damaged(offset, following, reason, at)
                continue
            stream, length = found
            following = offset + 8 + length
            if stream in self._event_streams or stream in self._marks:
                try:
                    block = unpack(search.view_at(offset + 8, length))
                    if header.compression == "none":
                        following = _undisturbed(block, search, offset, following)
                    parts = self._parts(block, stream, at, following)
                except UnreadableError as error:
                    search.wasted(offset, length)
                    if not search.ends(following) and search.at(following) is None:
                        following, _ = search.after(offset + 9)
                    at = Cursor(path, following, at.event, at.t_us)
                    yield _damaged(offset, following, str(error), at)
                else:
                    for packet in parts:
                        at = packet.cursor
                        yield packet
            if at.offset != following:
                at = Cursor(path, following, at.event, at.t_us)
            data.release(following)
        yield from self._end(data, at, cut_off)

    def _parts(self, block: bytes, stream: int, at: Cursor, following: int) -> Iterable[Packet]:
        """The content of a block from `at.skip` on, in packets; the last cursor is `following`.

        Raises
        ------
        UnreadableError
            Before the first packet, if the block cannot be read.
        """
        if stream in self._marks:
            return _mark_packets(_marks(block), at, following)
        events = unpacked_events(block)
        if stream not in self._read:
            after = Cursor(at.path, following, at.event, at.t_us)
            return (Packet(empty_events(), after, dropped={"other_stream": len(events)}),)
        if 0 < len(events) <= MAX_PACKET_EVENTS and not at.skip:
            after = Cursor(at.path, following, at.event + len(events), int(events["t"][-1]))
            return (Packet(events, after),)
        return _event_packets(events, at, following)

    def _end(self, data: ByteReader, at: Cursor, cut_off: bool) -> Iterator[Packet]:
        """What is wrong with the end of the file, if anything."""
        offset = at.offset
        if not data.seekable:  # a checksum of the whole may follow
            for place in range(offset, offset + MAX_BLOCK_BYTES, PIECE):
                data.release(place)
                if not data.reaches(place + 1):
                    break
        if data.fault:
            yield Packet(empty_events(), at, damage=data.fault)
        elif offset < self._header.table_offset and not cut_off:
            reason = "the file ends before the table of packets that its header points to"
            yield _damaged(offset, self._header.table_offset, reason, at)


def _undisturbed(block: bytes, search: PacketSearch, offset: int, following: int) -> int:
    """Offset of the packet after an uncompressed one, perhaps inside this one's last bytes.

    Where bytes are missing between two packets, the first is complete, with its times in order.

    Raises
    ------
    UnreadableError
        If another packet starts elsewhere inside it.
    """
    inside = search.within(offset + 9, following)
    if inside is None:
        return following
    if following - inside < 8 and block[8:12] == b"EVTS":
        t = unpacked_events(block)["t"]
        if (t[1:] >= t[:-1]).all():
            found = search.at(inside)
            size = int.from_bytes(search.view_at(inside + 8, 4), "little")
            return inside if found is not None and size == found[1] - 4 else following
    raise UnreadableError("another packet starts inside it")


def _damaged(offset: int, end: int, reason: str, cursor: Cursor) -> Packet:
    damage = Damage(offset, end - offset, reason, cursor.path)
    return Packet(empty_events(), cursor, damage=(damage,))


def _event_packets(events: Events, at: Cursor, following: int) -> Iterator[Packet]:
    index = at.event
    for first in range(at.skip, len(events), MAX_PACKET_EVENTS):
        part = events[first : first + MAX_PACKET_EVENTS]
        index, last = index + len(part), first + len(part)
        offset, skip = (at.offset, last) if last < len(events) else (following, 0)
        yield Packet(part, Cursor(at.path, offset, index, int(part["t"][-1]), skip))


def _mark_packets(marks: list[int], at: Cursor, following: int) -> Iterator[Packet]:
    for i, until_us in enumerate(marks[at.skip :], at.skip + 1):
        offset, skip = (at.offset, i) if i < len(marks) else (following, 0)
        cursor = Cursor(at.path, offset, at.event, at.t_us, skip)
        yield Packet(empty_events(), cursor, until_us=until_us)


def _start(path: str) -> bytes:
    """The start of a file, with its header if that is short enough."""
    start = read_start(path, _LENGTH_END)
    if len(start) < _LENGTH_END:
        return start
    (length,) = struct.unpack_from("<I", start, len(MAGIC))
    return read_start(path, _LENGTH_END + min(length, MAX_HEADER_BYTES))


def _is_marks(stream: dict[str, str]) -> bool:
    """Whether a stream of the header holds the marks of a live run's recorder."""
    return (
        stream.get("typeIdentifier") == "TRIG"
        and stream.get("originalModuleName") == RECORDER_MODULE
    )


def read_header(file: BinaryIO) -> Header:
    """The header at the start of a file.

    Raises
    ------
    UnreadableError
        If it is damaged.
    """
    head = file.read(len(MAGIC) + 4)
    if len(head) < len(MAGIC) + 4:
        raise UnreadableError("the file ends inside it")
    if not head.startswith(MAGIC):
        raise UnreadableError("the first line is not #!AER-DAT4.0")
    (length,) = struct.unpack_from("<I", head, len(MAGIC))
    if length > MAX_HEADER_BYTES:
        raise UnreadableError(f"it claims {length} bytes, more than the {MAX_HEADER_BYTES} allowed")
    buffer = file.read(length)
    if len(buffer) < length:
        raise UnreadableError(f"the file ends after {len(buffer)} of its {length} bytes")
    root = _u32(buffer, 0)
    code = _field(buffer, root, 0)
    names = {0: "none", 1: "lz4", 2: "lz4", 3: "zstd", 4: "zstd"}
    number = _u32(buffer, code) if code else 0
    if number not in names:
        raise UnreadableError(f"unknown compression {number}")
    table = _field(buffer, root, 1)
    table_offset = -1
    if table:
        _need(buffer, table, 8)
        (table_offset,) = struct.unpack_from("<q", buffer, table)
    text = _field(buffer, root, 2)
    if not text:
        raise UnreadableError("it does not describe the streams")
    text += _u32(buffer, text)
    xml_length = _u32(buffer, text)
    _need(buffer, text + 4, xml_length)
    xml = buffer[text + 4 : text + 4 + xml_length]
    end = len(MAGIC) + 4 + length
    return Header(names[number], table_offset, end, _streams(xml))


def _streams(xml: bytes) -> dict[int, dict[str, str]]:
    """Attributes of each stream in the header's XML, including those of its info node."""
    if b"<!" in xml:  # entities can expand a short text without limit; DV writes none
        raise UnreadableError("its XML holds declarations, which AEDAT4 does not use")
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise UnreadableError(f"its XML cannot be parsed ({error})") from error
    streams = {}
    for node in root.iterfind("./node[@name='outInfo']/node"):
        if node.get("name", "").isdecimal():
            attributes = (*node.iterfind("./attr"), *node.iterfind("./node[@name='info']/attr"))
            streams[int(node.get("name", ""))] = {
                attribute.get("key", ""): attribute.text or "" for attribute in attributes
            }
    return streams


def stream_sensor(info: dict[str, str]) -> SensorSize | None:
    """The sensor in a stream's attributes; None where they do not contain it."""
    sides = [info.get(side, "") for side in ("sizeX", "sizeY")]
    if not all(side.isdecimal() and 0 < int(side) <= 1 << 15 for side in sides):
        return None
    return SensorSize(int(sides[0]), int(sides[1]))


def _need(buffer: bytes, position: int, size: int) -> None:
    if position < 0 or position + size > len(buffer):
        raise UnreadableError(f"it points outside itself, to byte {position} of {len(buffer)}")


def _u32(buffer: bytes, position: int) -> int:
    _need(buffer, position, 4)
    return int.from_bytes(buffer[position : position + 4], "little")


def _field(buffer: bytes, table: int, number: int) -> int:
    """Position of a field of a flatbuffer table; 0 where the table does not hold it."""
    _need(buffer, table, 4)
    (back,) = struct.unpack_from("<i", buffer, table)
    vtable = table - back
    _need(buffer, vtable, 4)
    (size,) = struct.unpack_from("<H", buffer, vtable)
    entry = 4 + 2 * number
    if entry + 2 > size:
        return 0
    _need(buffer, vtable + entry, 2)
    (offset,) = struct.unpack_from("<H", buffer, vtable + entry)
    return table + offset if offset else 0


class Unpacker:
    """Decompresses blocks of one compression.

    A block never becomes larger than MAX_BLOCK_BYTES, and the size that it claims is allocated at
    once only where it is plausible, so a decompression bomb costs no more than that.
    """

    def __init__(self, compression: str) -> None:
        self._compression = compression
        self._zstd = zstandard.ZstdDecompressor(max_window_size=1 << 27)
        self._lz4 = lz4.frame.create_decompression_context()

    def __call__(self, block: bytes | memoryview) -> bytes:
        """The content of a block.

        Raises
        ------
        UnreadableError
            If it cannot be decompressed, or is too large.
        """
        try:
            if self._compression == "zstd":
                return self._zstd_block(block)
            return self._lz4_block(block) if self._compression == "lz4" else bytes(block)
        except (RuntimeError, zstandard.ZstdError) as error:
            raise UnreadableError(f"{self._compression} decompression failed ({error})") from error

    def _zstd_block(self, block: bytes | memoryview) -> bytes:
        stated = zstandard.frame_content_size(block)
        if 0 < stated <= MAX_BLOCK_BYTES and stated <= PIECE + _LIKELY_RATIO * len(block):
            return self._zstd.decompress(block, allow_extra_data=False)
        with self._zstd.stream_reader(block) as reader:
            return self._joined(iter(lambda: reader.read(PIECE), b""))

    def _lz4_block(self, block: bytes | memoryview) -> bytes:
        lz4.frame.reset_decompression_context(self._lz4)
        content, used, ended = lz4.frame.decompress_chunk(self._lz4, block, max_length=PIECE)
        if ended and used == len(block):
            return bytes(content)
        return self._joined(self._lz4_pieces(content, memoryview(block)[used:], ended))

    def _lz4_pieces(self, piece: bytes, rest: memoryview, ended: bool) -> Iterator[bytes]:
        """The part decompressed so far, and then the rest."""
        yield piece
        while not ended:
            piece, used, ended = lz4.frame.decompress_chunk(self._lz4, rest, max_length=PIECE)
            if not piece and not ended:
                raise UnreadableError("the compressed block is truncated")
            rest = rest[used:]
            yield piece
        if rest:
            raise UnreadableError("the packet is longer than its compressed block")

    def _joined(self, pieces: Iterator[bytes]) -> bytes:
        parts: list[bytes] = []
        total = 0
        for piece in pieces:
            parts.append(piece)
            total += len(piece)
            if total > MAX_BLOCK_BYTES:
                raise UnreadableError(
                    f"its content is larger than the {MAX_BLOCK_BYTES} bytes allowed"
                )
        return parts[0] if len(parts) == 1 else b"".join(parts)


def unpacked_events(buffer: bytes) -> Events:
    """The events of an EventPacket flatbuffer with its length prefix; read-only."""
    vector = _USUAL.size - 4
    size, head, count = _USUAL.unpack_from(buffer) if len(buffer) > vector + 4 else (0, b"", 0)
    if head != _USUAL_HEAD:
        size, count, vector = _event_vector(buffer)
    if size != len(buffer) - 4:
        raise UnreadableError(f"it has {len(buffer) - 4} bytes, but claims {size}")
    if not count:
        return empty_events()
    if vector + 4 + EVENT_DTYPE.itemsize * count > len(buffer):
        raise UnreadableError(f"it claims {count} events, more than its {len(buffer)} bytes hold")
    events: Events = np.frombuffer(buffer, EVENT_DTYPE, count, vector + 4)
    if not events.flags.aligned:
        events = events.copy()
    # The last 4 bytes of an event are polarity and padding. A bool of any byte but 0 and 1 is
    # undefined in numpy.
    if np.maximum.reduce(np.frombuffer(buffer, np.uint32, 4 * count, vector + 4)[3::4]) > 1:
        events = events.copy()
        polarity = events.view(np.uint8)[_POLARITY_BYTE :: EVENT_DTYPE.itemsize]
        np.minimum(polarity, 1, out=polarity)
    return events


def _event_vector(buffer: bytes) -> tuple[int, int, int]:
    """The size and the number of events that a packet claims, and the position of that number."""
    if buffer[8:12] != b"EVTS":
        raise UnreadableError("the packet does not hold events")
    vector = _field(buffer, 4 + _u32(buffer, 4), 0)
    if not vector:
        return _u32(buffer, 0), 0, 0
    vector += _u32(buffer, vector)
    return _u32(buffer, 0), _u32(buffer, vector), vector


def _marks(buffer: bytes) -> list[int]:
    """The times in a TriggerPacket flatbuffer with its length prefix."""
    if buffer[8:12] != b"TRIG":
        raise UnreadableError("the packet does not hold triggers")
    vector = _field(buffer, 4 + _u32(buffer, 4), 0)
    vector += _u32(buffer, vector) if vector else 0
    count = _u32(buffer, vector) if vector else 0
    if count > MAX_MARKS:
        raise UnreadableError(f"it claims {count} marks, more than the {MAX_MARKS} allowed")
    marks = []
    for line in range(vector + 4, vector + 4 + 4 * count, 4):
        time = _field(buffer, line + _u32(buffer, line), 0)
        _need(buffer, time, 8)
        marks.append(int.from_bytes(buffer[time : time + 8], "little", signed=True) if time else 0)
    return marks
