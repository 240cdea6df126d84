"""Finds the numeric arrays of a MATLAB file, version 5, and reads them in parts.

A file is a header of 128 bytes and elements: u32 type, u32 length, data padded to 8 bytes. A
variable is an element of type 14, or one of type 15 that holds such a one, compressed by zlib. It
is a sequence of elements itself: flags, dimensions, name, and its numbers, which may be stored in
a smaller type than the class of the array.

Guarantees:

- Nothing but numbers and names is interpreted: objects, functions and cells are passed over.
- Memory is bounded whatever lengths the file states: numbers are read in parts.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from streamstop.formats.byte_reader import ByteReader

HEADER_BYTES = 128
MAX_VARIABLES = 1 << 10
MAX_NAME_BYTES = 1 << 12
MAX_FIELDS = 1 << 8
_MAX_DEPTH = 3
_PIECE = 1 << 16

_MATRIX, _COMPRESSED = 14, 15
_STRUCT, _NUMERIC = 2, range(6, 16)
_TYPES = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"
}  # fmt: skip
_COMPLEX = 0x0800


class DamagedError(Exception):
    """The bytes are not what the format demands there."""


class Array(NamedTuple):
    """A numeric array of the file.

    Attributes
    ----------
    name
        Its name, behind those of the structs it is a field of: "TD.ts".
    shape
        Its dimensions; numbers are stored column after column.
    dtype
        Type in which its numbers are stored.
    element
        Offset in the file of the variable that holds it.
    packed_bytes
        Compressed length of that variable; 0 where it is not compressed.
    offset
        Where its numbers start: in the file, or in the variable's decompressed bytes.
    size
        Length of its numbers in bytes, as stated.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    element: int
    packed_bytes: int
    offset: int
    size: int

    @property
    def numbers(self) -> int:
        """How many numbers it holds: those of its shape, or fewer where its bytes are fewer."""
        product = 1
        for side in self.shape:
            product *= side
        return min(product, self.size // self.dtype.itemsize)


class Stream:
    """Bytes from an offset on: of the file, or of a compressed part of it."""

    def __init__(self, data: ByteReader, offset: int, packed_bytes: int = 0) -> None:
        self._data, self._at = data, offset
        self._unpacker = zlib.decompressobj() if packed_bytes else None
        self._end = offset + packed_bytes
        self._rest = b""
        self.position = 0 if packed_bytes else offset
        self.fault = ""

    def read(self, size: int) -> bytes:
        """`size` bytes; fewer at the end or before damage, which `fault` then describes."""
        parts = bytearray()
        while len(parts) < size and (piece := self._piece(size - len(parts))):
            parts += piece
        self.position += len(parts)
        return bytes(parts)

    def skip(self, size: int) -> None:
        """Pass over `size` bytes."""
        if self._unpacker is None:
            self._at += size
            self.position += size
            return
        while size > 0 and (piece := self.read(min(size, _PIECE))):
            size -= len(piece)

    def finish(self) -> None:
        """Read to the end, where a wrong checksum shows in `fault`."""
        while self._unpacker is not None and self.read(_PIECE):
            pass

    def _piece(self, most: int) -> bytes:
        if self._unpacker is None:
            block = self._data.read_at(self._at, min(most, 1 << 20))
            self._at += len(block)
            return block
        piece = b""
        try:
            while not piece and not self._unpacker.eof and not self.fault:
                if not self._rest:
                    self._rest = self._data.read_at(self._at, min(_PIECE, self._end - self._at))
                    self._at += len(self._rest)
                    if not self._rest:
                        self.fault = "the compressed variable ends too early"
                        break
                piece = self._unpacker.decompress(self._rest, most)
                self._rest = self._unpacker.unconsumed_tail
        except zlib.error as error:
            self.fault = f"a compressed variable is damaged: {error}"
        return piece


def open_array(data: ByteReader, array: Array, first: int) -> Stream:
    """The numbers of an array from its number `first` on."""
    skipped = first * array.dtype.itemsize
    if not array.packed_bytes:
        return Stream(data, array.offset + skipped)
    stream = Stream(data, array.element + 8, array.packed_bytes)
    stream.skip(array.offset + skipped)
    return stream


def find_arrays(data: ByteReader) -> Iterator[Array]:
    """The numeric arrays of a file, those in structs (of one element) among them.

    Raises
    ------
    DamagedError
        If what is found of the file is not of the format; arrays before that were yielded.
    """
    head = data.read_at(0, HEADER_BYTES)
    if len(head) < HEADER_BYTES or head[126:128] not in (b"IM", b"MI"):
        raise DamagedError("its header is not that of MATLAB's version 5")
    order = "<" if head[126:128] == b"IM" else ">"
    offset = HEADER_BYTES
    for _ in range(MAX_VARIABLES):
        tag = data.read_at(offset, 8)
        if not tag:
            return
        if len(tag) < 8:
            raise DamagedError("it ends between two variables")
        kind, size = struct.unpack(order + "II", tag)
        if kind not in (_MATRIX, _COMPRESSED):
            raise DamagedError(f"no variable starts at byte {offset}")
        packed = size if kind == _COMPRESSED else 0
        stream = Stream(data, offset + 8 if packed else offset, packed)
        if packed or kind == _MATRIX:
            yield from _Parser(stream, order, offset, packed).variable()
        offset += 8 + size + (-size % 8 if not packed else 0)


class _Tag(NamedTuple):
    """The tag of an element; `inline` is its data where the tag holds them."""

    kind: int
    size: int
    inline: bytes | None


class _Parser:
    """Reads one variable."""

    def __init__(self, stream: Stream, order: str, element: int, packed: int) -> None:
        self._stream, self._order = stream, order
        self._element, self._packed = element, packed

    def variable(self) -> Iterator[Array]:
        """The numeric arrays of the variable."""
        tag = self._tag()
        if tag.kind != _MATRIX:
            raise DamagedError(self._stream.fault or "a compressed element is no variable")
        yield from self._matrix("", self._stream.position + tag.size, 0)

    def _matrix(self, outer: str, end: int, depth: int) -> Iterator[Array]:
        """The arrays of a matrix, whose tag was read; `end`: where it ends."""
        if end <= self._stream.position:
            return  # an empty field
        flags = self._data(16)
        sides = self._data(8 * 8)
        name = self._data(MAX_NAME_BYTES).decode(errors="replace")
        if len(flags) < 4 or len(sides) < 8 or len(sides) % 4:
            raise DamagedError("a variable has no dimensions")
        word = struct.unpack_from(self._order + "I", flags)[0]
        shape = struct.unpack_from(f"{self._order}{len(sides) // 4}i", sides)
        name = f"{outer}{name}"
        if min(shape) < 0:
            raise DamagedError(f"the dimensions of {name[:40]!r} are negative")
        kind = word & 0xFF
        if kind == _STRUCT and shape and depth < _MAX_DEPTH and np.prod(shape, dtype=object) == 1:
            yield from self._fields(name, depth)
        elif kind in _NUMERIC and not word & _COMPLEX:
            tag = self._tag()
            if tag.kind not in _TYPES:
                raise DamagedError(f"the numbers of {name[:40]!r} have no known type")
            dtype = np.dtype(self._order + _TYPES[tag.kind])
            at = self._stream.position - (4 if tag.inline is not None else 0)
            yield Array(name, shape, dtype, self._element, self._packed, at, tag.size)
        if depth:  # fields follow; what comes after a variable is found by its length
            self._stream.skip(max(end - self._stream.position, 0))

    def _fields(self, name: str, depth: int) -> Iterator[Array]:
        length = self._data(8)
        width = struct.unpack_from(self._order + "i", length)[0] if len(length) >= 4 else 0
        if not 0 < width <= MAX_NAME_BYTES:
            raise DamagedError(f"the struct {name[:40]!r} has no names of fields")
        names = self._data(width * MAX_FIELDS)
        for i in range(len(names) // width):
            field = names[i * width : (i + 1) * width].split(b"\0", 1)[0]
            tag = self._tag()
            if tag.kind != _MATRIX:
                raise DamagedError(f"a field of the struct {name[:40]!r} is damaged")
            end = self._stream.position + tag.size
            # The name of a field is in the struct; its own is empty.
            inner = f"{name}.{field.decode(errors='replace')}"
            yield from self._matrix(inner, end, depth + 1)

    def _tag(self) -> _Tag:
        head = self._stream.read(8)
        if len(head) < 8:
            raise DamagedError(self._stream.fault or "it ends inside a variable")
        kind, size = struct.unpack(self._order + "II", head)
        if kind >> 16:
            if kind >> 16 > 4:
                raise DamagedError("the tag of an element is damaged")
            return _Tag(kind & 0xFFFF, kind >> 16, head[4:])
        return _Tag(kind, size, None)

    def _data(self, most: int) -> bytes:
        """The data of the next element, which are short."""
        tag = self._tag()
        if tag.inline is not None:
            return tag.inline[: tag.size]
        if tag.size > most:
            raise DamagedError(f"an element of {tag.size} bytes where a few belong")
        content = self._stream.read(tag.size)
        self._stream.skip(-tag.size % 8)
        if len(content) < tag.size:
            raise DamagedError(self._stream.fault or "it ends inside a variable")
        return content
