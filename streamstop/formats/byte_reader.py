"""The bytes of a recording by offset: of a file, of a compressed file, of standard input.

Formats read their bytes through here, so that each of them can be compressed with gzip, zstd or xz
and come through a pipe. Offsets count in what was decompressed. It promises bounded memory: what
was not released is kept, which is a format's look-ahead; and that the bytes before a fault of the
compression are handed over, the fault told after them (of a pipe, which has no second reading, all
but those that came in one bite with it).
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
"""What a compressed file begins with."""

SUFFIXES = (".gz", ".zst", ".xz")

_PIECE = 1 << 20
_MEMORY = 1 << 27
"""What a compressed file may ask for to be unpacked; the usual levels need an eighth of it."""
_BITE = 1 << 16
_NEAR_BYTES = 1 << 18
_SMALL_BITE = 1 << 8
"""A compressed file is unpacked by so much, and what holds a fault byte by byte."""
_MAGIC_BYTES = max(map(len, COMPRESSIONS))
_FAULTS = (EOFError, OSError, zlib.error, lzma.LZMAError)


def inner_suffix(path: str) -> str:
    """The suffix of what is inside, in lower case.

    >>> inner_suffix("a/rec.csv.gz"), inner_suffix("rec.BIN"), inner_suffix("-")
    ('.csv', '.bin', '')
    """
    name = Path(path)
    if name.suffix.lower() in SUFFIXES:
        name = name.with_suffix("")
    return name.suffix.lower()


class ByteReader:
    """Bytes of one recording, by offset; `open_bytes` opens it.

    Bytes of a plain file can be read at any offset at any time. Of a compressed one, or of a pipe,
    they are read onwards, and back as far as they were not released.
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
        """Bytes in all; None where only the end will tell."""
        if self._seekable:
            return os.fstat(self._file.fileno()).st_size
        return self._start + len(self._kept) if self._ended else None

    @property
    def seekable(self) -> bool:
        """Whether bytes can be read in any order."""
        return self._seekable

    @property
    def fault(self) -> tuple[Damage, ...]:
        """What was wrong with the compression, once reading has come to it; until then empty.

        Its offset is among the decompressed bytes; how many are lost there cannot be known.
        """
        if not self._fault:
            return ()
        end = self._start + len(self._kept)
        reason = f"{self.compression or 'the pipe'} cannot be read on: {self._fault}"
        return (Damage(end, 0, reason, self.path),)

    def read_at(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on, fewer only where they end.

        The first read of a compressed file may begin anywhere: what lies before is not kept.

        Raises
        ------
        SourceError
            If they were released and there is no second reading of them.
        OSError
            If the file cannot be read on.
        """
        if self._seekable:
            self._file.seek(offset)
            block = self._file.read(size)
            while len(block) < size and (more := self._file.read(size - len(block))):
                block += more
            return block
        if offset < self._start:
            raise SourceError(
                "standard input can be read once only, and this needs a second pass; save it to a "
                f"file, or say the sensor with ?sensor=WIDTHxHEIGHT: {self.path}"
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
        """At least `least` bytes from `offset` on, and up to `most`; fewer only where they end.

        Of a pipe what is there already, so that a slow one is not waited for longer than need be.
        """
        if self.path != STDIN:
            return self.read_at(offset, most)
        self.reaches(offset + least)
        return self.read_at(offset, min(max(self._start + len(self._kept) - offset, least), most))

    def reaches(self, offset: int) -> bool:
        """Whether there are bytes up to `offset`; what lies before it is kept."""
        if self._seekable:
            return offset <= os.fstat(self._file.fileno()).st_size
        self._untouched = False
        while not self._ended and self._start + len(self._kept) < offset:
            self._take_piece()
        return offset <= self._start + len(self._kept)

    def release(self, offset: int) -> None:
        """Promise that nothing before `offset` will be asked for again."""
        gone = offset - self._start
        if not self._seekable and gone >= min(_PIECE, len(self._kept)):
            gone = min(gone, len(self._kept))
            del self._kept[:gone]
            self._start += gone

    def close(self) -> None:
        """Close the file. Standard input stays as it is, with what was not released of it."""
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
        """What the unpacker had made of the bite that holds the fault when it came upon it.

        It does not hand that over itself, so all is unpacked again, that bite in small ones, and
        once more, the small one that holds the fault byte by byte.
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
    """The bytes around one place, so that small blocks cost no call to the system each.

    They are read once: of a file that grows meanwhile the new bytes are seen when reading comes
    to the end of what was there.
    """

    def __init__(self, data: ByteReader) -> None:
        self._data = data
        self._first, self._block = 0, memoryview(b"")

    def read_at(self, offset: int, size: int) -> bytes:
        """As `ByteReader.read_at`."""
        return bytes(self.view_at(offset, size))

    def view_at(self, offset: int, size: int) -> memoryview:
        """As `read_at`, without a copy: what keeps it keeps all that lies around it."""
        at = offset - self._first
        if at < 0 or at + size > len(self._block):
            block = self._data.read_ready(offset, size, max(size, _NEAR_BYTES))
            self._first, self._block, at = offset, memoryview(block), 0
        return self._block[at : at + size]

    def peek(self, offset: int, size: int) -> bytes:
        """As `read_at`, but what lies elsewhere is read apart, and what is near stays so."""
        at = offset - self._first
        if at >= 0 and at + size <= len(self._block):
            return bytes(self._block[at : at + size])
        return self._data.read_at(offset, size)

    def unpack_at(self, layout: struct.Struct, offset: int) -> tuple[Any, ...] | None:
        """What stands at `offset`; None where the bytes end before."""
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

    Standard input is one reader, however often it is opened: what was not released is there again.

    Raises
    ------
    SourceError
        If the file is missing, no file, or not readable.
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
    """What comes next, without waiting for a whole piece where less is there already."""
    read = getattr(file, "read1", file.read)
    piece: bytes = read(_PIECE)
    return piece


def _rest(file: BinaryIO) -> Iterator[bytes]:
    while piece := _read(file):
        yield piece


class _Bites:
    """What is to be unpacked, in bites, and where the one that was taken last begins.

    From `fine_from` on they are of `step` bytes.
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
    """The content of a compressed stream of one or more members, in pieces of bounded size.

    Raises
    ------
    EOFError, zlib.error, lzma.LZMAError
        Where it is cut short or damaged, after what came before.
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
        piece = self._unpacker.decompress(packed, _PIECE)  # it keeps what it does not use yet
        return piece, self._unpacker.unused_data


class _Zstd:
    _BITE = 1 << 8
    """It has no bound on what it returns: at most 8 MB of this much."""

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
