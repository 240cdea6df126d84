"""Finds the packets of an AEDAT4 file: whether one can start at an offset, and where the next can.

A packet can start where a stream of the header, a length within the file and the magic number of
the file's compression are found. Whether it can be read is for the reader to find out; it reports
false starts, so that a file full of them costs no more than a few times its size.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Collection

from streamstop.formats.byte_reader import ByteReader, NearBytes

PIECE = 1 << 20
_HEAD = struct.Struct("<ii")

# What follows a packet's 8 bytes of stream and size, by compression, and at what distance from the
# packet's start: the frame magic of LZ4 or zstd, or the identifier of an uncompressed flatbuffer.
_STARTS = {
    "none": ((b"EVTS", b"FRME", b"IMUS", b"TRIG"), 16),
    "lz4": ((b"\x04\x22\x4d\x18",), 8),
    "zstd": ((b"\x28\xb5\x2f\xfd",), 8),
}

_PATIENCE = 1 << 27
"""This many bytes, plus four times those skipped, may be read of false packets."""
_FAILURE = 1 << 16
"""Minimum cost of a false packet."""
_STRIDE, _SHORT = 1 << 16, 1 << 20
"""After that, the search goes on this much further, for packets no longer than this."""


class PacketSearch:
    """The packets of one reading of a file.

    Parameters
    ----------
    data
        The file's bytes.
    compression
        "none", "lz4" or "zstd".
    streams
        Ids that the header names.
    table_offset
        Where the table of packets starts according to the header, and packets end.
    max_length
        No packet is longer.

    Attributes
    ----------
    view_at
        Bytes of the file by offset and size, valid for a short time: see `NearBytes.view_at`.
    """

    def __init__(
        self,
        data: ByteReader,
        compression: str,
        streams: Collection[int],
        table_offset: int,
        max_length: int,
    ) -> None:
        self._data, self._streams = data, streams
        near = NearBytes(data)
        self.view_at, self._unpack_at, self._reaches = near.view_at, near.unpack_at, near.reaches
        self._magics, self._lead = _STARTS[compression]
        self._pattern = re.compile(b"|".join(map(re.escape, self._magics)))
        self._start = struct.Struct(f"<ii{self._lead - 8}x4s")
        self._table_offset, self._max_length = table_offset, max_length
        self._wasted, self._first = 0, -1

    def ends(self, offset: int) -> bool:
        """Whether no packet can follow: the table or the end of the file is at `offset`."""
        return offset == self._table_offset or not self._reaches(offset + 1)

    def at(self, offset: int) -> tuple[int, int] | None:
        """Stream and length of the packet that can start at `offset`; None where none can."""
        start = self._unpack_at(self._start, offset)
        if start is None or start[2] not in self._magics or offset == self._table_offset:
            return None
        return self._possible(start[0], start[1], offset, self._max_length)

    def after(self, offset: int) -> tuple[int, bool]:
        """The first offset from `offset` on where a packet can start, else where packets end.

        Returns
        -------
        offset : int
            The bytes before it are released.
        cut_off : bool
            Whether the file ends there.
        """
        lead, table = self._lead, self._table_offset
        longest, at = self._max_length, offset
        if self._wasted > _PATIENCE + 4 * (offset - self._first) and self._data.reaches(
            offset + _STRIDE
        ):
            longest, at = _SHORT, offset + _STRIDE
        while True:
            piece = self._data.read_at(at, PIECE + lead + 4)
            for match in self._pattern.finditer(piece, lead):
                first = match.start() - lead
                # Beyond the table, too: where bytes were inserted, it is not at the stated offset.
                stream, length = _HEAD.unpack_from(piece, first)
                if self._possible(stream, length, at + first, longest):
                    return at + first, False
            if len(piece) < PIECE + lead + 4:
                end = at + len(piece)
                return (table, table == end) if offset <= table <= end else (end, True)
            at += PIECE
            self._data.release(at)

    def within(self, first: int, end: int) -> int | None:
        """Where in [first, end) a packet can start, if none can at `end`, nor is that the end.

        Then one damaged packet, with a length that is wrong, reaches into another.
        """
        if self.ends(end) or self.at(end) is not None:
            return None
        piece = self._data.read_at(first, end - first + self._lead + 4)
        for match in self._pattern.finditer(piece, self._lead):
            at = match.start() - self._lead
            if first + at >= end:
                return None
            stream, length = _HEAD.unpack_from(piece, at)
            if self._possible(stream, length, first + at, self._max_length):
                return first + at
        return None

    def wasted(self, offset: int, length: int) -> None:
        """Note that the packet of this length at `offset` could not be read."""
        self._first = offset if self._first < 0 else self._first
        self._wasted += max(length, _FAILURE)

    def _possible(
        self, stream: int, length: int, offset: int, longest: int
    ) -> tuple[int, int] | None:
        if stream not in self._streams or not 0 < length <= longest:
            return None
        return (stream, length) if self._reaches(offset + 8 + length) else None
