"""Which formats are written, and by what: one table, and one function that writes them all.

A file's name tells the format by its suffix, where that is no question; `.gz`, `.zst` or `.xz`
after it compress the file.
"""

from __future__ import annotations

import gzip
import lzma
import shutil
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from streamstop.errors import UsageError
from streamstop.events.packet import Events, SensorSize
from streamstop.formats._writing import STDOUT, atomic_file
from streamstop.formats.byte_reader import SUFFIXES, inner_suffix

Writer = Callable[..., int]

WRITERS = {
    "aedat4": "aedat.aedat4_writer:write_aedat4",
    "aedat3": "aedat.aedat3_writer:write_aedat3",
    "aedat2": "aedat.aedat2_writer:write_aedat2",
    "evt3": "prophesee.writer:write_evt3",
    "evt2": "prophesee.writer:write_evt2",
    "dat": "prophesee.writer:write_dat",
    "npz": "plain.writers:write_npz",
    "npy": "plain.writers:write_npy",
    "csv": "plain.writers:write_csv",
    "bin": "plain.writers:write_bin",
}
"""By the format's short name, "module:function" in `streamstop.formats`."""

BY_SUFFIX = {
    ".aedat4": "aedat4",
    ".raw": "evt3",
    ".dat": "dat",
    ".npz": "npz",
    ".npy": "npy",
    ".csv": "csv",
    ".bin": "bin",
}
"""What a suffix stands for. `.aedat` is of several versions, and has to be told."""


STREAMED = tuple(one for one in WRITERS if one not in ("aedat4", "npz", "npy"))
"""What can be written to standard output: these three end in what their beginning tells."""


def format_of(path: str | Path, format: str = "") -> str:
    """The short name of the format that a file of this name is written in.

    Raises
    ------
    UsageError
        If it is not known, or not told by the name alone.
    """
    known = ", ".join(WRITERS)
    if str(path) == STDOUT and format not in STREAMED:
        raise UsageError(
            f"what goes to standard output has no name to tell its format, and no way back; say "
            f"--format, one of {', '.join(STREAMED)}: {path}"
        )
    if format:
        if format not in WRITERS:
            raise UsageError(f"format {format!r} is not written; written are {known}: {path}")
        return format
    suffix = inner_suffix(str(path))
    if suffix == ".aedat":
        raise UsageError(f".aedat may be AEDAT 2.0 or 3.1; say --format aedat2 or aedat3: {path}")
    if suffix not in BY_SUFFIX:
        raise UsageError(
            f"the name does not tell the format; end it in {', '.join(BY_SUFFIX)}, or say "
            f"--format, one of {known}: {path}"
        )
    return BY_SUFFIX[suffix]


def write_recording(
    path: str | Path,
    packets: Events | Iterable[Events],
    sensor: SensorSize,
    *,
    format: str = "",
    simulated: bool = False,
    on_bit: int = 0,
) -> int:
    """Write events to a file of any known format; returns how many.

    Parameters
    ----------
    path : file to write; it appears when complete and replaces what stood there. "-" is standard
        output, to which events go as they come.
    packets : an array of EVENT_DTYPE, shape (n,), or any number of them in turn.
    sensor : pixels of the sensor.
    format : a key of WRITERS; "" for what the suffix says.
    simulated : marks the events as made by no camera, where the format has a place for it.
    on_bit : of AEDAT 2.0 alone, the address bit of an ON event; see
        `streamstop.formats.aedat.aedat2_writer.write_aedat2`.

    Raises
    ------
    UsageError
        If the format is not known, or cannot say these events. No file is left then.
    """
    format = format_of(path, format)
    module, _, name = WRITERS[format].partition(":")
    write: Writer = getattr(import_module(f"streamstop.formats.{module}"), name)
    options: dict[str, Any] = {"simulated": simulated}
    if format == "aedat2":
        options["on_bit"] = on_bit
    elif on_bit:
        raise UsageError(f"the bit of an ON event is AEDAT 2.0's, and this is {format}: {path}")
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        return write(path, packets, sensor, **options)
    plain = path.with_name(path.name + ".plain")
    try:
        written = write(plain, packets, sensor, **options)

        def pack(file: BinaryIO) -> None:
            with plain.open("rb") as source, _packing(file, path.suffix.lower()) as packed:
                shutil.copyfileobj(source, packed, 1 << 20)

        atomic_file(path, pack)
    finally:
        plain.unlink(missing_ok=True)
    return written


def _packing(file: BinaryIO, suffix: str) -> AbstractContextManager[Any]:
    """What is written there, compressed into `file`."""
    if suffix == ".gz":
        return gzip.GzipFile("", "wb", 6, file, mtime=0)
    if suffix == ".xz":
        return lzma.LZMAFile(file, "wb")
    import zstandard

    return zstandard.ZstdCompressor(level=9).stream_writer(file, closefd=False)
