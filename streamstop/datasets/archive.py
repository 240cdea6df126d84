"""Files in a folder or in a tar, plain or packed by gzip: their names, and what is asked for.

A tar is read once from end to end, nothing is written to disk, and a tar that is cut or damaged is
refused as a whole: half a data set must not pass for one. Links and other things that are no files
are passed over. What is asked for is held in memory, at most MAX_HELD_BYTES of it.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO

from streamstop.errors import SourceError

MAX_FILES = 1 << 21
"""A set of more files is some other thing given by mistake."""

MAX_HELD_BYTES = 4 << 30
"""No more of a set's files is held at once; CIFAR-10 has 0.15 GB."""

MAX_NAME_BYTES = 1 << 16
"""A header that states longer names is damaged."""

DEPTH = 3
"""Names below a folder have so many parts at most: train/cat/1.png."""

_BLOCK = 512
_CHUNK = 1 << 20


def read_files(path: Path, wanted: Callable[[str], bool]) -> dict[str, bytes | None]:
    """Every file by its name, in the order of names, with its content where it is wanted.

    path : a folder or a tar. Names are relative to it, with slashes; hidden ones are left out.

    Raises SourceError where it is neither, cannot be read, is damaged, or holds too much.
    """
    found: dict[str, bytes | None] = {}
    held = 0
    for name, read in _folder(path) if path.is_dir() else _tar(path):
        found[name] = None
        if wanted(name):
            content = found[name] = read()
            held += len(content)
        if len(found) > MAX_FILES or held > MAX_HELD_BYTES:
            raise SourceError(
                f"more than {MAX_FILES} files, or {MAX_HELD_BYTES} bytes of them to read: {path}"
            )
    return dict(sorted(found.items()))


_Read = Callable[[], bytes]


def _folder(root: Path, depth: int = DEPTH) -> Iterator[tuple[str, _Read]]:
    try:
        for path in sorted(root.iterdir()):
            if path.name.startswith("."):
                continue
            if path.is_file():
                yield path.name, partial(_whole, path)
            elif depth > 1 and path.is_dir():
                for name, read in _folder(path, depth - 1):
                    yield f"{path.name}/{name}", read
    except OSError as error:
        raise SourceError(f"cannot be opened: {error.strerror}: {error.filename}") from error


def _whole(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MAX_HELD_BYTES + 1)
    if len(content) > MAX_HELD_BYTES:
        raise SourceError(f"longer than {MAX_HELD_BYTES} bytes: {path}")
    return content


def _tar(path: Path) -> Iterator[tuple[str, _Read]]:
    """The files of a tar; what was not read of one is passed over."""
    try:
        with path.open("rb") as plain:
            packed = plain.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            yield from _members(file, path)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"cannot be read ({error}); fetch it again: {path}") from error


def _members(file: IO[bytes] | gzip.GzipFile, path: Path) -> Iterator[tuple[str, _Read]]:
    """The files of an open tar, each block's checksum being checked (`tarfile` itself takes a
    damaged header for the end).
    """
    place, longer = 0, ""
    while True:
        block = file.read(_BLOCK)
        place += _BLOCK
        if len(block) == _BLOCK and not block.strip(b"\0"):
            return
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            what = "no tar" if place == _BLOCK else "damaged or cut"
            raise SourceError(
                f"{what} at byte {place - _BLOCK} ({error}); fetch it again: {path}"
            ) from error
        rest = _Rest(file, info.size, path)
        if info.type in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE):
            if info.size > MAX_NAME_BYTES:
                raise SourceError(f"a name of {info.size} bytes at byte {place}: {path}")
            text = rest.read()
            longer = _pax_path(text) if info.type == tarfile.XHDTYPE else _decoded(text)
        else:
            name, longer = (longer or info.name).removeprefix("./"), ""
            hidden = any(part.startswith(".") for part in name.split("/"))
            if info.isreg() and not hidden:
                yield name, rest.read
        rest.skip()
        file.read(-info.size % _BLOCK)
        place += info.size + -info.size % _BLOCK


class _Rest:
    """What is left to read of a tar's current file."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile, size: int, path: Path) -> None:
        self._file, self._left, self._path = file, size, path

    def read(self) -> bytes:
        if self._left > MAX_HELD_BYTES:
            raise SourceError(f"a file of {self._left} bytes is too long: {self._path}")
        content = self._file.read(self._left)
        self._left -= len(content)
        self._whole(content)
        return content

    def skip(self) -> None:
        while self._left:
            passed = self._file.read(min(self._left, _CHUNK))
            self._left -= len(passed)
            self._whole(passed)

    def _whole(self, read: bytes) -> None:
        if self._left and not read:
            raise SourceError(f"ends in the middle of a file; fetch it again: {self._path}")


def _decoded(text: bytes) -> str:
    return text.rstrip(b"\0").decode("utf-8", "surrogateescape")


def _pax_path(records: bytes) -> str:
    r"""The path in a pax header, "" where there is none: records are "LENGTH key=value\n"."""
    while records:
        length, _, _ = records.partition(b" ")
        with suppress(ValueError):
            record = records[: int(length)]
            _, _, pair = record.partition(b" ")
            if pair.startswith(b"path="):
                return _decoded(pair[5:].rstrip(b"\n"))
            if record:
                records = records[len(record) :]
                continue
        return ""
    return ""
