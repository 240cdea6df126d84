"""The bytes of a recording by offset, from a file, a compressed file or standard input.

All formats read through this module, so that each of them can be compressed (gzip, zstd, xz) and
can come through a pipe. Offsets count decompressed bytes.

Guarantees:

- Memory is bounded: only bytes that were not released are kept, i.e. a format's look-ahead.
- All bytes before damage in the compression are returned, and then the damage is reported. (From a
  pipe, which cannot be read a second time, bytes in the same input block as the damage are lost.)
"""

from __future__ import annotations

import lzma
import os
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from streamstop.errors import SourceError
from streamstop.events.packet import Damage

STDIN = "-"
"""The path that means standard input."""

COMPRESSIONS = {b"\x1f\x8b\x08": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\x00": "xz"}
"""The first bytes of a compressed file, by compression."""

SUFFIXES = (".gz", ".zst", ".xz")

_PIECE = 1 << 20
_MEMORY = 1 << 27
"""Largest decompression window allowed; the usual levels need an eighth of it."""
_BITE = 1 << 16
_NEAR_BYTES = 1 << 18
_SMALL_BITE = 1 << 8
"""Input block of the decompressors; a block with damage in it is decompressed byte by byte."""
_MAGIC_BYTES = max(map(len, COMPRESSIONS))
_FAULTS = (EOFError, OSError, zlib.error, lzma.LZMAError)


def inner_suffix(path: str) -> str:
    """The suffix without that of the compression, in lower case.

    Examples
    --------
    >>> inner_suffix("a/rec.csv.gz"), inner_suffix("rec.BIN"), inner_suffix("-")
    ('.csv', '.bin', '')
    """
    name = Path(path)
    if name.suffix.lower() in SUFFIXES:
        name = name.with_suffix("")
    return name.suffix.lower()


class ByteReader:
    """The bytes of one recording, by offset; `open_bytes` opens it.

    A plain file can be read at any offset at any time. A compressed file or a pipe is read
    forwards, and back only as far as bytes were not released.
    """

    def __init__(self, path: str, file: BinaryIO) -> None:
        self.path = path
        self._file = file
        self._pieces: Iterator[bytes] = iter(())
        self._seekable = False
        self.compression = ""
        self._kept = bytearray()
        self._start = 0  # offset of the first byte kept
        self._ended = False
        self._untouched = True
        self._fault = ""
        first = b""
        while len(first) < _MAGIC_BYTES and (piece := _read(file)):
            first += piece
        magic = next((one for one in COMPRESSIONS if first.startswith(one)), None)
        if magic is not None:
            self.compression = COMPRESSIONS[magic]
            self._packed = _Bites(first, file)
            self._pieces = _unpacked(self.compression, iter(self._packed))
        elif path == STDIN:
            self._pieces = chain([first], _rest(file))
        else:
            self._seekable = True

    @property
    def size(self) -> int | None:
        """Total number of bytes; None where only the end will tell."""
        if self._seekable:
            return os.fstat(self._file.fileno()).st_size
        return self._start + len(self._kept) if self._ended else None

    @property
    def seekable(self) -> bool:
        """Whether bytes can be read in any order."""
        return self._seekable

    @property
    def fault(self) -> tuple[Damage, ...]:
        """Damage in the compression, once reading has reached it; until then empty.

        Its offset counts decompressed bytes; how many are lost after it is unknown.
        """
        if not self._fault:
            return ()
        end = self._start + len(self._kept)
        reason = f"{self.compression or 'the pipe'} cannot be read further: {self._fault}"
        return (Damage(end, 0, reason, self.path),)

    def read_at(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on; fewer only at the end.

        The first read of a compressed file may start anywhere: bytes before it are not kept.

        Raises
        ------
        SourceError
            If the bytes were released and the input cannot be read a second time.
        OSError
            If reading the file fails.
        """
        if self._seekable:
            self._file.seek(offset)
            block = self._file.read(size)
            while len(block) < size and (more := self._file.read(size - len(block))):
                block += more
            return block
        if offset < self._start:
            raise SourceError(
                "standard input can be read only once, and this needs a second pass; save it to a "
                f"file, or give the sensor with ?sensor=WIDTHxHEIGHT: {self.path}"
            )
        passes = self._untouched and self.path != STDIN
        self._untouched = False
        while not self._ended and self._start + len(self._kept) < offset + size:
            self._take_piece()
            if passes:
                self.release(offset)
        first = offset - self._start
        return bytes(memoryview(self._kept)[first : first + size])

    def read_ready(self, offset: int, least: int, most: int) -> bytes:
        """At least `least` bytes from `offset` on, and up to `most`; fewer only at the end.

        From a pipe it returns what has already arrived, so that it waits no longer than needed.
        """
        if self.path != STDIN:
            return self.read_at(offset, most)
        self.reaches(offset + least)
        return self.read_at(offset, min(max(self._start + len(self._kept) - offset, least), most))

    def reaches(self, offset: int) -> bool:
        """Whether there are bytes up to `offset`; bytes before it are kept."""
        if self._seekable:
            return offset <= os.fstat(self._file.fileno()).st_size
        self._untouched = False
        while not self._ended and self._start + len(self._kept) < offset:
            self._take_piece()
        return offset <= self._start + len(self._kept)

    def release(self, offset: int) -> None:
        """Promise that no byte before `offset` will be asked for again."""
        gone = offset - self._start
        if not self._seekable and gone >= min(_PIECE, len(self._kept)):
            gone = min(gone, len(self._kept))
            del self._kept[:gone]
            self._start += gone

    def close(self) -> None:
        """Close the file. Standard input stays open, with the bytes that were not released."""
        if self.path != STDIN:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _take_piece(self) -> None:
        try:
            piece = next(self._pieces, b"")
        except _FAULTS as error:
            self._fault, piece = str(error) or type(error).__name__, self._salvaged()
            self._ended = True
        self._ended = self._ended or not piece
        self._kept += piece

    def _salvaged(self) -> bytes:
        """What the decompressor had produced of the input block with the damage before it failed.

        It does not return that itself, so the file is decompressed again, that block in small
        parts, and then once more, the part with the damage byte by byte.
        """
        if self.path == STDIN or not self.compression:
            return b""
        begun, salvaged = self._packed.begun, bytearray()
        for step in (_SMALL_BITE, 1):
            passed = self._start + len(self._kept)
            salvaged.clear()
            with suppress(*_FAULTS), Path(self.path).open("rb", buffering=0) as file:
                packed = _Bites(b"", file, begun, step)
                for piece in _unpacked(self.compression, iter(packed)):
                    salvaged += piece[max(passed, 0) :]
                    passed -= len(piece)
            begun = packed.begun
        return bytes(salvaged)


class NearBytes:
    """The bytes around one offset, so that small reads do not cost a system call each.

    They are read once; in a file that grows, new bytes are seen when reading reaches the end of
    the bytes held.
    """

    def __init__(self, data: ByteReader) -> None:
        self._data = data
        self._first, self._block = 0, memoryview(b"")

    def read_at(self, offset: int, size: int) -> bytes:
        """As `ByteReader.read_at`."""
        return bytes(self.view_at(offset, size))

    def view_at(self, offset: int, size: int) -> memoryview:
        """As `read_at`, without a copy: keeping the view keeps all bytes around it in memory."""
        at = offset - self._first
        if at < 0 or at + size > len(self._block):
            block = self._data.read_ready(offset, size, max(size, _NEAR_BYTES))
            self._first, self._block, at = offset, memoryview(block), 0
        return self._block[at : at + size]

    def peek(self, offset: int, size: int) -> bytes:
        """As `read_at`, but bytes far away are read separately, and the bytes held stay."""
        at = offset - self._first
        if at >= 0 and at + size <= len(self._block):
            return bytes(self._block[at : at + size])
        return self._data.read_at(offset, size)

    def unpack_at(self, layout: struct.Struct, offset: int) -> tuple[Any, ...] | None:
        """The values at `offset`; None where the bytes end before."""
        at = offset - self._first
        if at < 0 or at + layout.size > len(self._block):
            if len(self.view_at(offset, layout.size)) < layout.size:
                return None
            at = offset - self._first
        return layout.unpack_from(self._block, at)

    def reaches(self, offset: int) -> bool:
        """As `ByteReader.reaches`."""
        return self._first < offset <= self._first + len(self._block) or self._data.reaches(offset)


_standard_input: ByteReader | None = None


def open_bytes(path: str) -> ByteReader:
    """The bytes of a file, decompressed, or of standard input where the path is "-".

    Standard input has a single reader, however often it is opened: bytes that were not released can
    be read again.

    Raises
    ------
    SourceError
        If the file is missing, not a file, or not readable.
    """
    global _standard_input
    if path == STDIN:
        if _standard_input is None:
            _standard_input = ByteReader(STDIN, sys.stdin.buffer)
        return _standard_input
    try:
        return ByteReader(path, Path(path).open("rb", buffering=0))
    except OSError as error:
        raise SourceError(f"cannot be opened: {error.strerror}: {path}") from error


def _read(file: BinaryIO) -> bytes:
    """The next bytes, without waiting for a full block where fewer have already arrived."""
    read = getattr(file, "read1", file.read)
    piece: bytes = read(_PIECE)
    return piece


def _rest(file: BinaryIO) -> Iterator[bytes]:
    while piece := _read(file):
        yield piece


class _Bites:
    """Compressed input in blocks, and the offset of the block taken last.

    From `fine_from` on, blocks have `step` bytes.
    """

    def __init__(
        self, first: bytes, file: BinaryIO, fine_from: int | None = None, step: int = 1
    ) -> None:
        self._first, self._file = first, file
        self._fine_from, self._step = fine_from, step
        self.begun = 0

    def __iter__(self) -> Iterator[bytes]:
        taken = 0
        for piece in chain([self._first], _rest(self._file)):
            at = 0
            while at < len(piece):
                size = _BITE
                if self._fine_from is not None:
                    left = self._fine_from - taken
                    size = min(_BITE, left) if left > 0 else self._step
                self.begun, bite = taken, piece[at : at + size]
                at += len(bite)
                taken += len(bite)
                yield bite


def _unpacked(compression: str, packed: Iterator[bytes]) -> Iterator[bytes]:
    """The content of a compressed stream of one or more members, in parts of bounded size.

    Raises
    ------
    EOFError, zlib.error, lzma.LZMAError
        Where it is truncated or damaged, after the content before that.
    """
    block = next(packed, b"")
    while block:
        unpack = _UNPACKERS[compression]()
        while not unpack.eof:
            piece, block = unpack(block)
            if piece:
                yield piece
            elif not block and not unpack.eof:
                block = next(packed, b"")
                if not block:
                    raise EOFError("it ends too early")
        while not (block := block.lstrip(b"\0")):  # members may be padded
            block = next(packed, b"")
            if not block:
                return


class _Gzip:
    def __init__(self) -> None:
        self._unpacker = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._unpacker.eof

    def __call__(self, packed: bytes) -> tuple[bytes, bytes]:
        piece = self._unpacker.decompress(packed, _PIECE)
        return piece, self._unpacker.unused_data or self._unpacker.unconsumed_tail


class _Xz:
    def __init__(self) -> None:
        self._unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)

    @property
    def eof(self) -> bool:
        return self._unpacker.eof

    def __call__(self, packed: bytes) -> tuple[bytes, bytes]:
        piece = self._unpacker.decompress(packed, _PIECE)  # it keeps input it has not used yet
        return piece, self._unpacker.unused_data


class _Zstd:
    _BITE = 1 << 8
    """Its output is not limited: this much input gives at most 8 MB."""

    def __init__(self) -> None:
        import zstandard  # when a file needs it

        self._error = zstandard.ZstdError
        self._unpacker = zstandard.ZstdDecompressor(max_window_size=_MEMORY).decompressobj()

    @property
    def eof(self) -> bool:
        return self._unpacker.eof

    def __call__(self, packed: bytes) -> tuple[bytes, bytes]:
        try:
            piece = self._unpacker.decompress(packed[: self._BITE]) if packed else b""
        except self._error as error:
            raise EOFError(str(error)) from error
        return piece, self._unpacker.unused_data + packed[self._BITE :]


_UNPACKERS: dict[str, Callable[[], _Gzip | _Xz | _Zstd]] = {
    "gzip": _Gzip,
    "zstd": _Zstd,
    "xz": _Xz,
}
