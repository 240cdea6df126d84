"""NumPy's .npy and .npz, read without pickle and in bounded memory, and written.

An .npy file holds a structured array with fields for t, x, y and p, or a table of shape (n, 4)
whose column order is `txyp` unless said otherwise. An .npz file holds one array for each column, or
one array called `events` (or alone in it) that is like an .npy. Times are whole microseconds. Only
the headers are trusted to NumPy; the data are read in blocks, and never more than the file holds.
What stands after a damaged stretch of an .npz cannot be read, as it is compressed.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamstop.errors import SourceError
from streamstop.events import (
    MAX_PACKET_EVENTS,
    Cursor,
    Damage,
    Events,
    Packet,
    SensorSize,
    empty_events,
)
from streamstop.sources.columns import column_order, events_from, find_columns

_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)
MAX_ROW_BYTES = 1 << 10

UNITS_US = {"us": 1, "ms": 1000}
"""What times may be in."""

MAX_TIME = 1 << 53
"""Times beyond this in a larger unit than us are damage."""


class _Array(NamedTuple):
    """An array in a file: the archive's member it is ("" in an .npy), its type, and its rows."""

    member: str
    dtype: np.dtype[Any]
    rows: int
    width: int


class ArrayRecording:
    """An .npy or .npz file; see `streamstop.sources.recording.Recording`.

    Parameters
    ----------
    path : the file.
    columns : order of the columns of a table of shape (n, 4).
    unit : of its times, "us" or "ms".

    Raises
    ------
    SourceError
        If it cannot be read, would need pickle, or is in none of the known shapes.
    """

    def __init__(self, path: str, columns: str = "txyp", unit: str = "us") -> None:
        self.path = path
        self.sensor: SensorSize | None = None
        self.simulated = False
        self._order = column_order(columns, path)
        if unit not in UNITS_US:
            raise SourceError(f"times are in {' or '.join(UNITS_US)}, not in {unit!r}: {path}")
        self._unit_us = UNITS_US[unit]
        with Path(path).open("rb") as file:
            self.format = "npz" if file.read(2) == b"PK" else "npy"
        try:
            self._arrays = self._find()
        except (*_BROKEN, OSError) as error:
            raise SourceError(f"cannot be read as .{self.format}, {error}: {path}") from error
        lengths = {one.rows for one in self._arrays.values()}
        if len(lengths) != 1:
            sizes = ", ".join(f"{name} {one.rows}" for name, one in self._arrays.items())
            raise SourceError(f"the columns are of different lengths ({sizes}): {path}")
        self._rows = lengths.pop()
        first = next(self.packets(), None)
        if first is not None and first.damage and not first.cursor.event:
            raise SourceError(f"nothing can be read, {first.damage[0].reason}: {path}")

    def _find(self) -> dict[str, _Array]:
        """The arrays that hold the events, by column; "" for one that holds them all."""
        if self.format == "npy":
            with Path(self.path).open("rb") as file:
                return {"": self._usable(_header(file, ""))}
        with zipfile.ZipFile(self.path) as archive:
            arrays = {}
            for member in archive.namelist():
                if member.endswith(".npy"):
                    with archive.open(member) as file:
                        arrays[member.removesuffix(".npy")] = _header(file, member)
            self._note(archive, arrays)
        if found := find_columns(list(arrays)):
            return {column: arrays[name] for column, name in found.items()}
        whole = arrays.get("events") or (next(iter(arrays.values())) if len(arrays) == 1 else None)
        if whole is None:
            names = ", ".join(list(arrays)[:8]) or "none"
            raise ValueError(f"it needs arrays t, x, y and p, or one called events; it has {names}")
        return {"": self._usable(whole)}

    def _note(self, archive: zipfile.ZipFile, arrays: dict[str, _Array]) -> None:
        """What an .npz may say beside its events."""
        size = arrays.get("sensor_size")
        if size is not None and size.rows == 2 and size.dtype.kind in "iu":
            with archive.open(size.member) as file:
                _header(file, "")
                width, height = np.frombuffer(file.read(2 * size.dtype.itemsize), size.dtype)
            self.sensor = SensorSize(int(width), int(height))
        self.simulated = "simulated" in arrays

    def _usable(self, array: _Array) -> _Array:
        """The array, if it can hold all columns."""
        if array.dtype.names:
            if array.width == 1 and find_columns(array.dtype.names):
                return array
            raise ValueError(f"its fields {', '.join(array.dtype.names)} are not t, x, y and p")
        if array.width != 4 or array.dtype.kind not in "iuf":
            raise ValueError(
                f"it is no table of numbers of shape (n, 4), but of {array.dtype} and "
                f"{array.width} columns"
            )
        return array

    def packets(self, start: Cursor | None = None) -> Iterator[Packet]:
        """Packets from `start` on; see `Recording.packets`."""
        row = start.event if start is not None else 0
        t_us = start.t_us if start is not None else 0
        try:
            with ExitStack() as stack:
                streams = self._open(stack, row)
                while row < self._rows:
                    n = min(MAX_PACKET_EVENTS, self._rows - row)
                    parts = [
                        file.read(n * one.width * one.dtype.itemsize)
                        for file, one in zip(streams, self._arrays.values(), strict=True)
                    ]
                    whole = min(
                        len(part) // (one.width * one.dtype.itemsize)
                        for part, one in zip(parts, self._arrays.values(), strict=True)
                    )
                    events = self._events(parts, whole)
                    row += whole
                    t_us = int(events["t"][-1]) if whole else t_us
                    damage = () if whole == n else (self._damage(row, "the file ends too early"),)
                    yield Packet(events, Cursor(self.path, row, row, t_us), damage=damage)
                    if damage:
                        return
        except (*_BROKEN, OSError) as error:
            at = Cursor(self.path, row, row, t_us)
            yield Packet(empty_events(), at, damage=(self._damage(row, str(error)),))

    def _open(self, stack: ExitStack, row: int) -> list[IO[bytes]]:
        """One stream for each array, standing at `row`."""
        streams: list[IO[bytes]]
        if self.format == "npy":
            streams = [stack.enter_context(Path(self.path).open("rb"))]  # noqa: SIM115
        else:
            archive = stack.enter_context(zipfile.ZipFile(self.path))
            members = [one.member for one in self._arrays.values()]
            streams = [stack.enter_context(archive.open(member)) for member in members]
        for file, one in zip(streams, self._arrays.values(), strict=True):
            _header(file, "")
            file.seek(row * one.width * one.dtype.itemsize, 1)
        return streams

    def _events(self, parts: list[bytes], rows: int) -> Events:
        table = {}
        for part, (column, one) in zip(parts, self._arrays.items(), strict=True):
            values = np.frombuffer(part, one.dtype, rows * one.width)
            if column:
                table[column] = values
            elif one.dtype.names:
                fields = find_columns(one.dtype.names) or {}
                table = {name: values[field] for name, field in fields.items()}
            else:
                grid = values.reshape(rows, 4)
                table = {name: grid[:, i] for i, name in enumerate(self._order)}
        events = events_from(**table)
        if self._unit_us > 1:  # what would leave 64 bits stays too late for any stream
            events["t"] = events["t"].clip(-MAX_TIME, MAX_TIME) * self._unit_us
        return events

    def _damage(self, row: int, reason: str) -> Damage:
        lost = sum(one.width * one.dtype.itemsize for one in self._arrays.values())
        return Damage(row, (self._rows - row) * lost, f"after event {row}: {reason}", self.path)


def _header(file: IO[bytes], member: str) -> _Array:
    """The header of an .npy; the file then stands at the data.

    Raises
    ------
    ValueError
        If it is no such header, or of objects, which only pickle could read.
    """
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"its .npy version {version} is not known")
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which pickle alone can read, and none is used")
    if fortran and len(shape) > 1:
        raise ValueError("its table is stored column by column; save a C-ordered copy")
    if len(shape) > 2 or not 0 < dtype.itemsize <= MAX_ROW_BYTES:
        raise ValueError(f"an array of {dtype} and shape {shape} holds no events")
    return _Array(member, dtype, shape[0] if shape else 1, shape[1] if len(shape) == 2 else 1)


def write_npz(
    path: str | Path, events: Events, sensor: SensorSize, *, simulated: bool = False
) -> None:
    """Write events as an .npz of columns t, x, y and p, with `sensor_size` beside them.

    The same events give the same bytes. The file appears when it is complete.

    simulated : marks the events as made by no camera.
    """
    columns: dict[str, NDArray[Any]] = {name: events[name] for name in ("t", "x", "y", "p")}
    columns["sensor_size"] = np.array(sensor, np.int64)
    if simulated:
        columns["simulated"] = np.array([True])
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, column in columns.items():
                member = zipfile.ZipInfo(f"{name}.npy")  # its date is 1980: np.savez's is now
                member.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(member, "w", force_zip64=True) as file:
                    np.lib.format.write_array(
                        file, np.ascontiguousarray(column), allow_pickle=False
                    )
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
