"""Reads one member of a zip archive forwards, returning all bytes before damage.

Python's own reader withholds the bytes of the block that holds the damage, and all of a short
member whose checksum is wrong. Stored and deflated members are read, as NumPy writes them, in
bounded memory.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable

_LOCAL = struct.Struct("<4s22xHH")
_BITE = 1 << 16
_PIECE = 1 << 20


class Member:
    """The content of a member, like a file, but one that ends where it cannot be read further.

    Parameters
    ----------
    read_at
        Returns bytes of the archive, by offset and size.
    info
        The member's entry in the archive's directory.

    Raises
    ------
    zipfile.BadZipFile
        If no member starts where the directory says.
    NotImplementedError
        If it is encrypted, or compressed by another method.
    """

    def __init__(self, read_at: Callable[[int, int], bytes], info: zipfile.ZipInfo) -> None:
        if info.flag_bits & 1 or info.compress_type not in (
            zipfile.ZIP_STORED,
            zipfile.ZIP_DEFLATED,
        ):
            raise NotImplementedError(f"{info.filename} is neither stored nor deflated")
        head = read_at(info.header_offset, _LOCAL.size)
        if len(head) < _LOCAL.size or not head.startswith(b"PK\x03\x04"):
            raise zipfile.BadZipFile(f"no member starts where {info.filename} should")
        _, name, extra = _LOCAL.unpack(head)
        self._read_at, self._info = read_at, info
        self._at = info.header_offset + _LOCAL.size + name + extra
        self._end = self._at + info.compress_size
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._kept = bytearray()
        self._sum = 0
        self._ended = False
        self.fault = ""

    def read(self, size: int, /) -> bytes:
        """The next `size` bytes; fewer only where it ends or cannot be read further."""
        while len(self._kept) < size and not self._ended:
            self._unpack()
        block = bytes(self._kept[:size])
        del self._kept[:size]
        return block

    def skip(self, size: int) -> None:
        """Skip `size` bytes."""
        while size > 0 and (block := self.read(min(size, _PIECE))):
            size -= len(block)

    def _unpack(self) -> None:
        packed = self._read_at(self._at, max(min(_BITE, self._end - self._at), 0))
        if self._info.compress_type == zipfile.ZIP_STORED:
            content, self._at = packed, self._at + len(packed)
            self._ended = not packed
        else:
            before = self._inflate.copy()
            try:
                content = self._inflate.decompress(packed, _PIECE)
                self._at += len(packed) - len(self._inflate.unconsumed_tail)
                self._ended = self._inflate.eof or not (packed or content)
            except zlib.error as error:
                content = _before_fault(before, packed)
                self._ended, self.fault = True, f"{self._info.filename}: {error}"
        self._kept += content
        self._sum = zlib.crc32(content, self._sum)
        if self._ended and not self.fault and self._sum != self._info.CRC:
            self.fault = f"the checksum (CRC) of {self._info.filename} is wrong"


def _before_fault(inflate: zlib._Decompress, packed: bytes) -> bytes:
    """The decompressed bytes of an input block before the damage in it."""
    content = bytearray()
    try:
        for i in range(len(packed)):
            content += inflate.decompress(packed[i : i + 1])
    except zlib.error:
        pass
    return bytes(content)
