"""Writes events to a file of any supported format; the table `WRITERS` lists them.

The suffix of the file's name selects the format where it is unambiguous; a further `.gz`, `.zst` or
`.xz` compresses the file.
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
    "dsec": "hdf5.writer:write_dsec",
    "metavision-hdf5": "hdf5.writer:write_metavision_hdf5",
}
"""By the format's short name, "module:function" in `streamstop.formats`."""

BY_SUFFIX = {
    ".aedat4": "aedat4",
    ".raw": "evt3",
    ".dat": "dat",
    ".npz": "npz",
    ".npy": "npy",
    ".csv": "csv",
    ".txt": "csv",
    ".bin": "bin",
    ".h5": "dsec",
    ".hdf5": "dsec",
}
"""Format by suffix. `.aedat` has several versions, so it needs a format."""


HDF5 = ("dsec", "metavision-hdf5")
"""Formats that are HDF5 files."""

STREAMED = tuple(one for one in WRITERS if one not in ("aedat4", "npz", "npy", *HDF5))
"""Formats that can go to standard output: in the others the start of the file depends on its end.
"""


def format_of(path: str | Path, format: str = "") -> str:
    """The short name of the format in which a file of this name is written.

    Raises
    ------
    UsageError
        If it is unknown, or the name alone does not tell it.
    """
    known = ", ".join(WRITERS)
    if str(path) == STDOUT and format not in STREAMED:
        raise UsageError(
            f"standard output has no file name to tell the format, and cannot seek; give "
            f"--format, one of {', '.join(STREAMED)}: {path}"
        )
    if format:
        if format not in WRITERS:
            raise UsageError(f"format {format!r} cannot be written; supported are {known}: {path}")
        return format
    suffix = inner_suffix(str(path))
    if suffix == ".aedat":
        raise UsageError(f".aedat may be AEDAT 2.0 or 3.1; give --format aedat2 or aedat3: {path}")
    if suffix not in BY_SUFFIX:
        raise UsageError(
            f"the name does not tell the format; use a suffix of {', '.join(BY_SUFFIX)}, or give "
            f"--format, one of {known}: {path}"
        )
    return BY_SUFFIX[suffix]


def write_recording(
    path: str | Path,
    packets: Events | Iterable[Events],
    sensor: SensorSize,
    *,
    format: str = "",
    simulated: bool | None = False,
    on_bit: int = 0,
    columns: str = "",
    unit: str = "",
) -> int:
    """Write events to a file of any supported format.

    Parameters
    ----------
    path
        File to write; it appears when complete and replaces an older one. "-" is standard
        output, to which events go as they come.
    packets
        An array of EVENT_DTYPE, shape (n,), or an iterable of such arrays.
    sensor
        Size in pixels.
    format
        A key of WRITERS; "" for what the suffix selects.
    simulated
        Marks the events as made by no camera, where the format has a field for it.
    on_bit
        AEDAT 2.0 only: the address bit of an ON event; see
        `streamstop.formats.aedat.aedat2_writer.write_aedat2`.
    columns, unit
        Text only: order of the columns and unit of the times; see
        `streamstop.formats.plain.writers.write_csv`. "" for t, x, y, p in us.

    Returns
    -------
    count : int
        Number of events written.

    Raises
    ------
    UsageError
        If the format is unknown, or cannot represent these events. No file is left then.
    """
    format = format_of(path, format)
    module, _, name = WRITERS[format].partition(":")
    write: Writer = getattr(import_module(f"streamstop.formats.{module}"), name)
    options: dict[str, Any] = {"simulated": simulated}
    if format == "aedat2":
        options["on_bit"] = on_bit
    elif on_bit:
        raise UsageError(f"on_bit is AEDAT 2.0's option, and this is {format}: {path}")
    stated = {key: value for key, value in (("columns", columns), ("unit", unit)) if value}
    if stated and format != "csv":
        raise UsageError(f"--{next(iter(stated))} is for text (csv), and this is {format}: {path}")
    options |= stated
    path = Path(path)
    if format in HDF5 and path.suffix.lower() in SUFFIXES:
        raise UsageError(
            f"HDF5 is compressed inside, and a compressed file of it is not read; leave "
            f"{path.suffix} out of the name: {path}"
        )
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
    """A file object that compresses into `file` what is written to it."""
    if suffix == ".gz":
        return gzip.GzipFile("", "wb", 6, file, mtime=0)
    if suffix == ".xz":
        return lzma.LZMAFile(file, "wb")
    import zstandard

    return zstandard.ZstdCompressor(level=9).stream_writer(file, closefd=False)
