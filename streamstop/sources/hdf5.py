"""HDF5 in the layouts that event data come in, through h5py, in bounded memory.

Known are `events/{x,y,p,t}` (DSEC, with its `t_offset`), `events/{xs,ys,ps,ts}` (rpg, E2VID),
`CD/events` (Metavision: fields x, y, p, t) and `davis/left/events` (MVSEC: columns x, y, t, p).
Compressions are those of HDF5 and of hdf5plugin (blosc, zstd, ...); Metavision's own codec, ECF, is
no part of either. Times in seconds are read with `?unit=s` and never guessed. A chunk that cannot
be read costs that chunk.

A file may name others (external and soft links, external storage, virtual datasets): none of them
is followed. HDF5 is a tree of pointers, so the file has to be a plain one: no pipe, no gzip.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

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
from streamstop.sources.byte_reader import open_bytes
from streamstop.sources.columns import events_from, find_columns

MAX_CHUNK_BYTES = 1 << 26
"""A chunk is unpacked whole; one that claims more than this is refused."""

GROUPS = ("events", "CD", "davis/left", "")
"""Where the columns, or a table called `events`, are looked for."""

UNITS_US = {"us": 1.0, "ms": 1e3, "s": 1e6}

_MVSEC_ORDER = {"x": 0, "y": 1, "t": 2, "p": 3}
_MAX_TIME_US = 1 << 60
_FAULTS = (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError)


class _Column(NamedTuple):
    """Where a column is: a dataset, and a field or column number of it (None: the dataset)."""

    dataset: Any
    part: str | int | None


class Hdf5Recording:
    """An HDF5 file of events; see `streamstop.sources.recording.Recording`.

    Parameters
    ----------
    path : the file.
    unit : of its times: "us", "ms" or "s".

    Raises
    ------
    SourceError
        If h5py is missing, the file is none, or is in none of the known layouts.
    """

    format = "hdf5"
    simulated = False

    def __init__(self, path: str, unit: str = "us") -> None:
        self.path = path
        self.sensor: SensorSize | None = None
        if unit not in UNITS_US:
            raise SourceError(f"times are in {', '.join(UNITS_US)}, not in {unit!r}: {path}")
        self._unit_us = UNITS_US[unit]
        with open_bytes(path) as data:
            if data.size is None:
                raise SourceError(
                    f"HDF5 cannot be read from a pipe or compressed; unpack it to a file: {path}"
                )
        try:
            with self._open() as file:
                columns = self._columns(file)
                self._rows = min(one.dataset.shape[0] for one in columns.values())
                self._uneven = max(one.dataset.shape[0] for one in columns.values()) - self._rows
                self._chunk, self._step = _steps([one.dataset for one in columns.values()])
                self._offset_us = _offset(file)
                self.sensor = _sensor(file)
                self._row_bytes = sum(one.dataset.dtype.itemsize for one in columns.values())
                if unit == "us" and self._rows and _kind_of(columns["t"]) == "f":
                    raise SourceError(
                        f"its times are fractions, seconds as it seems; say so with ?unit=s: {path}"
                    )
        except _FAULTS as error:
            raise SourceError(f"cannot be read as HDF5 events, {error}: {path}") from error

    def _open(self) -> Any:
        try:
            import h5py
            import hdf5plugin  # noqa: F401  # it registers its filters
        except ImportError as error:
            raise SourceError(
                f"reading HDF5 needs h5py: pip install 'streamstop[hdf5]': {self.path}"
            ) from error
        return h5py.File(self.path, "r", locking=False, rdcc_nbytes=MAX_CHUNK_BYTES)

    def _columns(self, file: Any) -> dict[str, _Column]:
        """Where t, x, y and p are."""
        for name in GROUPS:
            group = _member(file, name)
            if group is None or hasattr(group, "dtype"):
                continue
            found = find_columns(list(group))
            if found:
                return {
                    column: _Column(_dataset(group, member), None)
                    for column, member in found.items()
                }
            if "events" in group and _is_dataset(group, "events"):
                return _table(_dataset(group, "events"))
        raise ValueError(f"none of the known layouts; it holds {', '.join(list(file)[:8])}")

    def packets(self, start: Cursor | None = None) -> Iterator[Packet]:
        """Packets from `start` on; see `Recording.packets`."""
        index, t_us, row = 0, 0, 0
        if start is not None:
            index, t_us, row = start.event, start.t_us, start.offset
        by_chunk_until = 0  # beyond a place that could not be read at once
        with self._open() as file:
            columns = self._columns(file)
            while row < self._rows:
                step = self._chunk if row < by_chunk_until else self._step
                end = min(row + step - row % step, self._rows)
                try:
                    events = self._events(columns, row, end)
                except _FAULTS as error:
                    if end - row > self._chunk:
                        by_chunk_until = end
                        continue
                    reason = f"rows {row} to {end} cannot be read ({str(error)[:120]})"
                    damage = Damage(row, (end - row) * self._row_bytes, reason, self.path)
                    row = end
                    at = Cursor(self.path, row, index, t_us)
                    yield Packet(empty_events(), at, damage=(damage,))
                    continue
                row, index = end, index + len(events)
                t_us = int(events["t"][-1])
                yield Packet(events, Cursor(self.path, row, index, t_us))
            if self._uneven:
                reason = f"columns are of different lengths, {self._uneven} rows are not whole"
                damage = Damage(self._rows, self._uneven * 8, reason, self.path)
                yield Packet(empty_events(), Cursor(self.path, row, index, t_us), damage=(damage,))

    def _events(self, columns: dict[str, _Column], first: int, last: int) -> Events:
        read: dict[int, NDArray[Any]] = {}
        for one in columns.values():
            if one.dataset.id.id not in read:
                read[one.dataset.id.id] = one.dataset[first:last]
        values = {name: _part(read[one.dataset.id.id], one.part) for name, one in columns.items()}
        t = values["t"]
        if self._unit_us != 1.0 or t.dtype.kind == "f":
            t = np.rint(np.clip(t * self._unit_us, -_MAX_TIME_US, _MAX_TIME_US))
            t = np.where(np.isfinite(t), t, _MAX_TIME_US)
        t = t.astype(np.int64) + self._offset_us
        return events_from(t, values["x"], values["y"], values["p"])


def _member(file: Any, path: str) -> Any:
    """A group or dataset inside the file itself, None where there is none. Follows no link."""
    import h5py

    here = file
    for name in filter(None, path.split("/")):
        if not isinstance(here, h5py.Group) or name not in here:
            return None
        if not isinstance(here.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name!r} is a link, and links are not followed")
        here = here[name]
    return here


def _is_dataset(group: Any, name: str) -> bool:
    return hasattr(_member(group, name), "chunks")


def _dataset(group: Any, name: str) -> Any:
    """A dataset of this file that can be read in bounded memory."""
    found = _member(group, name)
    if not hasattr(found, "chunks") or found.ndim not in (1, 2):
        raise ValueError(f"{name!r} is no column of numbers")
    if found.is_virtual or found.external:
        raise ValueError(f"{name!r} lies in another file, which is not opened")
    if found.dtype.hasobject or found.dtype.itemsize > 1 << 10:
        raise ValueError(f"{name!r} is of {found.dtype}, no numbers")
    chunk = found.chunks or (1,)
    if int(np.prod([*map(int, chunk)], dtype=object)) * found.dtype.itemsize > MAX_CHUNK_BYTES:
        raise ValueError(f"chunks of {name!r} are of {chunk}, more than the bytes allowed")
    filters = found.id.get_create_plist()
    for i in range(filters.get_nfilters()):
        code, _, _, label = filters.get_filter(i)
        import h5py

        if not h5py.h5z.filter_avail(code):
            said = label.decode(errors="replace") or str(code)
            which = "Metavision's ECF codec" if code == 36559 else f"filter {said!r} ({code})"
            raise ValueError(
                f"{name!r} is compressed by {which}, which is not installed; write the file anew "
                "with another compression, or install the plugin"
            )
    return found


def _table(table: Any) -> dict[str, _Column]:
    """Columns of a table: fields by name, or four columns in MVSEC's order."""
    if table.dtype.names:
        fields = find_columns(table.dtype.names)
        if fields is None or table.ndim != 1:
            raise ValueError(f"fields {', '.join(table.dtype.names)} are not t, x, y and p")
        return {name: _Column(table, member) for name, member in fields.items()}
    if table.ndim != 2 or table.shape[1] != 4:
        raise ValueError(f"a table of shape {table.shape} is not one of x, y, t and p")
    return {name: _Column(table, i) for name, i in _MVSEC_ORDER.items()}


def _part(values: NDArray[Any], part: str | int | None) -> NDArray[Any]:
    if part is None:
        return values
    return np.asarray(values[part] if isinstance(part, str) else values[:, part])


def _kind_of(column: _Column) -> str:
    dtype = column.dataset.dtype
    return str((dtype[column.part] if isinstance(column.part, str) else dtype).kind)


def _steps(datasets: Sequence[Any]) -> tuple[int, int]:
    """Rows of the largest chunk, and of as many of them as a packet may hold."""
    rows = [int(one.chunks[0]) if one.chunks else MAX_PACKET_EVENTS for one in datasets]
    chunk = min(max(rows), MAX_PACKET_EVENTS)
    return chunk, MAX_PACKET_EVENTS // chunk * chunk


def _offset(file: Any) -> int:
    """DSEC's t_offset, in us; 0 where there is none."""
    found = _member(file, "t_offset")
    if found is None or getattr(found, "shape", None) not in ((), (1,)):
        return 0
    if found.dtype.kind not in "iu":
        return 0
    value = int(np.asarray(found[()]).reshape(-1)[0])
    return value if abs(value) <= _MAX_TIME_US else 0


def _sensor(file: Any) -> SensorSize | None:
    """What the file's attributes say of the sensor."""
    groups = (_member(file, name) for name in GROUPS[:3])
    for attributes in (file.attrs, *(one.attrs for one in groups if one is not None)):
        geometry = attributes.get("geometry")
        text = geometry.decode(errors="replace") if isinstance(geometry, bytes) else str(geometry)
        if size := re.fullmatch(r"(\d{1,5})x(\d{1,5})", text):
            return SensorSize(int(size[1]), int(size[2]))
        resolution = attributes.get("sensor_resolution")
        if resolution is not None and np.shape(resolution) == (2,):
            height, width = (int(side) for side in resolution)  # rpg: rows first
            return SensorSize(width, height)
        sides = [attributes.get(side) for side in ("width", "height")]
        if all(isinstance(side, (int, np.integer)) for side in sides):
            return SensorSize(*(int(side) for side in sides if side is not None))
    return None
