"""Writes formats that need no camera library: .csv, .npz, .npy and N-MNIST's .bin.

Guarantees:

- `streamstop.formats` reads back exactly the events that were written.
- The same events give the same bytes, however they are split into packets.
- The file appears under its name only when it is complete.

Does not:

- Sort events.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, BinaryIO

import numpy as np

from streamstop.errors import UsageError
from streamstop.events.packet import EVENT_DTYPE, Events, SensorSize
from streamstop.formats._writing import (
    atomic_file,
    iter_chunks,
    raise_on_far,
    raise_on_outside,
    repacketize,
)
from streamstop.formats.base import SIMULATED_SOURCE

_COLUMNS = ("t", "x", "y", "p")
_UNIT_DIGITS = {"s": 6, "ms": 3, "us": 0, "ns": -3}
"""Digits by which the point moves, from us on."""

_NPY_EVENTS = 1 << 14
_BIN_TIME_BITS = 23


def write_csv(
    path: str | Path,
    packets: Events | Iterable[Events],
    sensor: SensorSize,
    *,
    simulated: bool = False,
    columns: str = "txyp",
    unit: str = "us",
) -> int:
    """Write events as text, one per line, after a header that contains the sensor.

    The header is that of faery, `t,x@346,y@260,on`, in the order of the columns. With times in
    another unit than us, which faery does not read, it is a line `%geometry:346,260` and a header
    such as `t_s,x,y,on`.

    Parameters
    ----------
    path
        File to write; it appears when complete and replaces an older one.
    packets
        An array of EVENT_DTYPE, shape (n,), or an iterable of such arrays.
    sensor
        Size in pixels.
    simulated
        Adds a line that starts with `#` before the header, which faery does not read; pandas'
        `comment="#"` and numpy's loadtxt skip it.
    columns
        Order of the columns: the letters t, x, y and p, once each.
    unit
        Unit of the times: s, ms, us or ns. Digits of the fraction go down to a microsecond.

    Returns
    -------
    count : int
        Number of events written.

    Raises
    ------
    UsageError
        If an event lies outside the sensor, or `columns` or `unit` is none. No file is left then.
    """
    if sorted(columns) != sorted(_COLUMNS):
        raise UsageError(f"columns are the letters t, x, y and p in some order, not {columns!r}")
    if unit not in _UNIT_DIGITS:
        raise UsageError(f"the unit is one of {', '.join(_UNIT_DIGITS)}, not {unit!r}")
    pattern = ",".join("%s" if name == "t" and unit != "us" else "%d" for name in columns) + "\n"

    def write(file: BinaryIO) -> int:
        file.write(f"# source: {SIMULATED_SOURCE}\n".encode() if simulated else b"")
        file.write(_csv_header(sensor, columns, unit).encode())
        written = 0
        for events in iter_chunks(packets):
            raise_on_outside(events, sensor, written)
            values = {name: events[name].tolist() for name in ("t", "x", "y")}
            values["p"] = events["p"].astype(np.int8).tolist()
            if unit != "us":
                values["t"] = [_in_unit(t, unit) for t in values["t"]]
            lines = map(pattern.__mod__, zip(*(values[name] for name in columns), strict=True))
            file.write("".join(lines).encode())
            written += len(events)
        return written

    return atomic_file(path, write)


def _csv_header(sensor: SensorSize, columns: str, unit: str) -> str:
    sized = {"t": "t", "x": f"x@{sensor.width}", "y": f"y@{sensor.height}", "p": "on"}
    plain = {"t": f"t_{unit}", "x": "x", "y": "y", "p": "on"}
    names = ",".join((sized if unit == "us" else plain)[name] for name in columns)
    size = "" if unit == "us" else f"%geometry:{sensor.width},{sensor.height}\n"
    return f"{size}{names}\n"


def _in_unit(t_us: int, unit: str) -> str:
    """A time in a unit, exact.

    >>> _in_unit(1_000_045, "s"), _in_unit(-7, "ms"), _in_unit(12, "ns")
    ('1.000045', '-0.007', '12000')
    """
    digits = _UNIT_DIGITS[unit]
    if digits < 0:
        return f"{t_us * 10**-digits}"
    whole, fraction = divmod(abs(t_us), 10**digits)
    return f"{'-' if t_us < 0 else ''}{whole}.{fraction:0{digits}d}"


def write_npz(
    path: str | Path,
    packets: Events | Iterable[Events],
    sensor: SensorSize,
    *,
    simulated: bool = False,
) -> int:
    """Write events as an .npz of columns t, x, y and p, with `sensor_size`; see `write_csv`.

    Parameters
    ----------
    simulated
        Adds an array of that name. Columns are held in temporary files, not in memory.
    """

    def write(file: BinaryIO) -> int:
        with ExitStack() as stack:
            columns = {name: stack.enter_context(TemporaryFile()) for name in _COLUMNS}
            written = 0
            for events in iter_chunks(packets):
                raise_on_outside(events, sensor, written)
                for name, column in columns.items():
                    column.write(events[name].tobytes())
                written += len(events)
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, column in columns.items():
                    column.seek(0)
                    _member(archive, name, EVENT_DTYPE[name], written, column)
                size = np.array(sensor, np.int64)
                _member(archive, "sensor_size", size.dtype, 2, size.tobytes())
                if simulated:
                    _member(archive, "simulated", np.dtype(bool), 1, b"\1")
        return written

    return atomic_file(path, write)


def _member(
    archive: zipfile.ZipFile, name: str, dtype: np.dtype, rows: int, content: IO[bytes] | bytes
) -> None:
    member = zipfile.ZipInfo(f"{name}.npy")  # dated 1980, where np.savez writes the current time
    member.compress_type = zipfile.ZIP_DEFLATED
    about = {"descr": dtype.str, "fortran_order": False, "shape": (rows,)}
    with archive.open(member, "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, about)
        if isinstance(content, bytes):
            file.write(content)
        else:
            shutil.copyfileobj(content, file, 1 << 20)


def write_npy(
    path: str | Path,
    packets: Events | Iterable[Events],
    sensor: SensorSize,
    *,
    simulated: bool = False,
) -> int:
    """Write events as an .npy of `EVENT_DTYPE`, which `numpy.load` returns; see `write_csv`.

    It contains neither the sensor nor `simulated`; an .npz does.
    """

    def write(file: BinaryIO) -> int:
        _npy_header(file, 0)
        start = file.tell()
        written = 0
        for events in repacketize(iter_chunks(packets), _NPY_EVENTS):
            raise_on_outside(events, sensor, written)
            file.write(events.tobytes())
            written += len(events)
        file.seek(0)
        _npy_header(file, written)  # numpy reserves space for any number of rows
        assert file.tell() == start
        return written

    return atomic_file(path, write)


def _npy_header(file: BinaryIO, rows: int) -> None:
    descr = np.lib.format.dtype_to_descr(EVENT_DTYPE)
    about = {"descr": descr, "fortran_order": False, "shape": (rows,)}
    np.lib.format.write_array_header_1_0(file, about)


def write_bin(
    path: str | Path,
    packets: Events | Iterable[Events],
    sensor: SensorSize,
    *,
    simulated: bool = False,
) -> int:
    """Write events as N-MNIST's .bin, which has neither sensor nor `simulated`; see `write_csv`.

    Raises
    ------
    UsageError
        If the sensor is larger than 256x256, the first time is not below 2**23 us, or a time lies
        2**22 us (4.2 s) or more from the one before, which no reader could tell from a wrap.
    """
    if max(sensor) > 256:
        raise UsageError(f".bin holds coordinates up to 255, and the sensor is {sensor}")

    def write(file: BinaryIO) -> int:
        written, last_us = 0, None
        for events in iter_chunks(packets):
            raise_on_outside(events, sensor, written)
            raise_on_far(events, last_us, written, _BIN_TIME_BITS, ".bin")
            t = events["t"]
            low = t & ((1 << _BIN_TIME_BITS) - 1)
            rows = np.empty((len(t), 5), np.uint8)
            rows[:, 0], rows[:, 1] = events["x"], events["y"]
            rows[:, 2] = low >> 16 | events["p"].astype(np.int64) << 7
            rows[:, 3], rows[:, 4] = low >> 8 & 0xFF, low & 0xFF
            file.write(rows.tobytes())
            written, last_us = written + len(t), int(t[-1])
        return written

    return atomic_file(path, write)
