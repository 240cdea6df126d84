"""Finds the events in an HDF5 file and converts its rows to events; only this module uses h5py.

It runs in a process of its own; see `streamstop.formats.hdf5.worker`.

Guarantees:

- It follows no link, opens no other file, and reads no more rows than the file can hold, whatever
  shape its datasets claim.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamstop.events.packet import MAX_PACKET_EVENTS, Events
from streamstop.formats.columns import UNITS_US, events_from, find_columns

MAX_CHUNK_BYTES = 1 << 25
"""Largest sum of the columns' chunk sizes: a chunk is always decompressed as a whole."""

GROUPS = ("events", "CD", "davis/left", "")
"""Groups that are searched for columns, or for a table called `events`."""

FAULTS = (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError)
"""Errors that h5py raises for files that cannot be read."""

_MVSEC_ORDER = {"x": 0, "y": 1, "t": 2, "p": 3}
_MAX_TIME_US = 1 << 60
_MAX_ITEM_BYTES = 1 << 8
_CACHE_BYTES = 1 << 20
_ECF = 36559


class _Column(NamedTuple):
    """Location of a column: a dataset, and a field or column of it (None: the dataset itself)."""

    dataset: Any
    part: str | int | None


class OpenFile:
    """An HDF5 file of events, open.

    Parameters
    ----------
    path
        The file.
    unit
        Unit of its times, a key of UNITS_US.

    Raises
    ------
    OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError
        If it is no HDF5 file, or has none of the known layouts.
    """

    def __init__(self, path: str, unit: str) -> None:
        import h5py

        self._unit_us = float(UNITS_US[unit])  # an integer would wrap 32-bit times
        self._file = h5py.File(path, "r", locking=False, rdcc_nbytes=_CACHE_BYTES)
        try:
            self._columns = _columns(self._file)
            self._datasets = list(
                {id(one.dataset): one.dataset for one in self._columns.values()}.values()
            )
            kind = _kind_of(self._columns["t"])
            if unit == "us" and kind == "f" and len(self._columns["t"].dataset):
                raise ValueError(
                    "its times have a fraction, so they are probably seconds; if so, give ?unit=s"
                )
            self._offset_us = _offset(self._file)
            self._about = self._facts(Path(path).stat().st_size)
        except BaseException:
            self.close()
            raise

    def about(self) -> dict[str, Any]:
        """Sizes of the file's columns.

        rows : rows of every column that the file holds.
        claimed : rows of the longest column, by its shape.
        chunk, step : rows of the largest chunk; rows of as many whole chunks as a packet may hold.
        row_bytes : bytes per event, decompressed.
        """
        return self._about

    def sensor(self) -> tuple[int, int] | None:
        """Width and height, if attributes hold them; a damaged attribute may crash this process."""
        return _sensor(self._file)

    def read(self, first: int, last: int) -> Events:
        """Events of the rows [first, last), at most MAX_PACKET_EVENTS of them."""
        read = {id(one): one[first:last] for one in self._datasets}
        values = {
            name: _part(read[id(one.dataset)], one.part) for name, one in self._columns.items()
        }
        t = values["t"]
        if self._unit_us != 1.0 or t.dtype.kind == "f":
            t = np.rint(np.clip(t * self._unit_us, -_MAX_TIME_US, _MAX_TIME_US))
            t = np.where(np.isfinite(t), t, _MAX_TIME_US)
        t = t.astype(np.int64) + self._offset_us
        return events_from(t, values["x"], values["y"], values["p"])

    def place(self, row: int) -> int | None:
        """Byte offset in the file of the chunk that makes `row` unreadable; None: unknown."""
        for one in self._datasets:
            try:
                one[row : row + 1]
            except FAULTS:
                with suppress(*FAULTS, MemoryError):
                    at = row // one.chunks[0] * one.chunks[0]
                    info = one.id.get_chunk_info_by_coord((at,) + (0,) * (one.ndim - 1))
                    return int(info.byte_offset) if info.byte_offset is not None else None
        return None

    def close(self) -> None:
        """Close the file."""
        self._columns, self._datasets = {}, []
        self._file.close()

    def _facts(self, file_bytes: int) -> dict[str, Any]:
        lengths = [int(one.shape[0]) for one in self._datasets]
        rows = [int(one.chunks[0]) if one.chunks else 1 for one in self._datasets]
        chunk = min(max(rows), MAX_PACKET_EVENTS)
        return {
            "rows": min(min(lengths), *(_held(one, file_bytes) for one in self._datasets)),
            "claimed": max(lengths),
            "chunk": chunk,
            "step": MAX_PACKET_EVENTS // chunk * chunk,
            "row_bytes": sum(_row_bytes(one) for one in self._datasets),
        }


def _columns(file: Any) -> dict[str, _Column]:
    """Locations of t, x, y and p."""
    for name in GROUPS:
        group = _member(file, name)
        if group is None or hasattr(group, "dtype"):
            continue
        found = find_columns(list(group))
        if found:
            datasets = [_dataset(group, member) for member in found.values()]
            _refuse_large(datasets)
            return {column: _Column(one, None) for column, one in zip(found, datasets, strict=True)}
        if "events" in group and hasattr(_member(group, "events"), "chunks"):
            table = _dataset(group, "events")
            _refuse_large([table])
            return _table(table)
    raise ValueError(f"it has none of the known layouts; it holds {', '.join(list(file)[:8])}")


def _member(file: Any, path: str) -> Any:
    """A group or dataset inside the file itself, else None; links are not followed."""
    import h5py

    here = file
    for name in filter(None, path.split("/")):
        if not isinstance(here, h5py.Group) or name not in here:
            return None
        if not isinstance(here.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name!r} is a link, and links are not followed")
        here = here[name]
    return here


def _dataset(group: Any, name: str) -> Any:
    """A numeric dataset of this file, with a cache for one chunk of it."""
    import h5py

    found = _member(group, name)
    if not hasattr(found, "chunks") or (found.ndim != 1 and (found.ndim, name) != (2, "events")):
        raise ValueError(f"{name!r} is not a column of numbers")
    if found.is_virtual or found.external:
        raise ValueError(f"{name!r} is stored in another file, which is not opened")
    if found.dtype.hasobject or not 0 < found.dtype.itemsize <= _MAX_ITEM_BYTES:
        raise ValueError(f"{name!r} has type {found.dtype}, not numbers")
    filters = found.id.get_create_plist()
    for i in range(filters.get_nfilters()):
        code, _, _, label = filters.get_filter(i)
        if not h5py.h5z.filter_avail(code):
            known = label.decode(errors="replace") or str(code)
            which = "Metavision's ECF codec" if code == _ECF else f"filter {known!r} ({code})"
            raise ValueError(
                f"{name!r} is compressed by {which}, which is not installed; rewrite the file "
                "with another compression, or install the plugin"
            )
    if _CACHE_BYTES < _chunk_bytes(found) <= MAX_CHUNK_BYTES:
        access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
        access.set_chunk_cache(521, _chunk_bytes(found), 1.0)
        found = h5py.Dataset(h5py.h5d.open(group.id, name.encode(), access))
    return found


def _refuse_large(datasets: Sequence[Any]) -> None:
    if sum(map(_chunk_bytes, datasets)) > MAX_CHUNK_BYTES:
        raise ValueError(
            f"chunks of {' and '.join(str(one.chunks) for one in datasets)} are more than the "
            f"{MAX_CHUNK_BYTES} bytes allowed; rewrite the file with smaller ones (h5repack)"
        )


def _chunk_bytes(dataset: Any) -> int:
    if not dataset.chunks:
        return 0
    return int(np.prod([*map(int, dataset.chunks)], dtype=object)) * int(dataset.dtype.itemsize)


def _row_bytes(dataset: Any) -> int:
    return int(np.prod(dataset.shape[1:], dtype=object)) * int(dataset.dtype.itemsize)


def _held(dataset: Any, file_bytes: int) -> int:
    """Upper bound of the rows that the file stores of a dataset; unwritten rows take no space."""
    if dataset.id.get_create_plist().get_layout() == 0:  # compact: stored in the header
        return int(dataset.shape[0])
    if not dataset.chunks:
        if dataset.id.get_offset() is None:
            return 0
        return file_bytes // max(_row_bytes(dataset), 1)
    count = file_bytes // 8  # the size of an entry in the index
    with suppress(*FAULTS):
        count = min(count, int(dataset.id.get_num_chunks()))
    return count * int(dataset.chunks[0])


def _table(table: Any) -> dict[str, _Column]:
    """Columns of a table: fields by name, or four columns in MVSEC's order."""
    if table.dtype.names:
        fields = find_columns(table.dtype.names)
        if fields is None or table.ndim != 1:
            raise ValueError(f"fields {', '.join(table.dtype.names)} are not t, x, y and p")
        return {name: _Column(table, member) for name, member in fields.items()}
    if table.ndim != 2 or table.shape[1] != 4:
        raise ValueError(f"a table of shape {table.shape} does not have the columns x, y, t and p")
    return {name: _Column(table, i) for name, i in _MVSEC_ORDER.items()}


def _part(values: NDArray[Any], part: str | int | None) -> NDArray[Any]:
    if part is None:
        return values
    return np.asarray(values[part] if isinstance(part, str) else values[:, part])


def _kind_of(column: _Column) -> str:
    dtype = column.dataset.dtype
    return str((dtype[column.part] if isinstance(column.part, str) else dtype).kind)


def _offset(file: Any) -> int:
    """DSEC's t_offset, in us; 0 where there is none."""
    found = _member(file, "t_offset")
    if found is None or getattr(found, "shape", None) not in ((), (1,)):
        return 0
    if found.dtype.kind not in "iu":
        return 0
    value = int(np.asarray(found[()]).reshape(-1)[0])
    return value if abs(value) <= _MAX_TIME_US else 0


def _sensor(file: Any) -> tuple[int, int] | None:
    """Width and height, if the file's attributes hold them."""
    groups = (_member(file, name) for name in GROUPS[:3])
    for attributes in (file.attrs, *(one.attrs for one in groups if one is not None)):
        geometry = attributes.get("geometry")
        text = geometry.decode(errors="replace") if isinstance(geometry, bytes) else str(geometry)
        if size := re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text):
            return int(size[1]), int(size[2])
        resolution = attributes.get("sensor_resolution")
        if resolution is not None and np.shape(resolution) == (2,):
            height, width = (int(side) for side in resolution)  # rpg: rows first
            return width, height
        sides = [attributes.get(side) for side in ("width", "height")]
        if all(isinstance(side, (int, np.integer)) for side in sides):
            width, height = (int(side) for side in sides if side is not None)
            return width, height
    return None
