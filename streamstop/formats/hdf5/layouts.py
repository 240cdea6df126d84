"""Finds the events in an HDF5 file and converts its rows to events.

No other module reads with h5py. It runs in a process of its own; see
`streamstop.formats.hdf5.worker`.

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

from streamstop.events.packet import MAX_PACKET_EVENTS
from streamstop.formats.base import SIMULATED_SOURCE
from streamstop.formats.columns import find_columns
from streamstop.formats.table_layout import (
    SAMPLE_ROWS,
    Rows,
    TableLayout,
    TableOptions,
    find_layout,
)

MAX_CHUNK_BYTES = 1 << 25
"""Largest sum of the columns' chunk sizes: a chunk is always decompressed as a whole."""

GROUPS = ("events", "CD", "davis/left", "")
"""Groups that are looked into first for columns, or for a table called `events`."""

MAX_GROUPS = 1 << 8
"""Groups that are searched where those hold no events."""

FAULTS = (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError)
"""Errors that h5py raises for files that cannot be read."""

_PLACES = 4
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
    options
        What the user states about its columns.
    group
        Where its events are; "" to look for them.

    Raises
    ------
    OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError
        If it is no HDF5 file, or has none of the known layouts.
    SourceError
        If its numbers do not say what the columns are.
    """

    def __init__(self, path: str, options: TableOptions, group: str = "") -> None:
        import h5py

        self._file = h5py.File(path, "r", locking=False, rdcc_nbytes=_CACHE_BYTES)
        try:
            found = _find(self._file, group, options)
            self._group, self._columns = found.group, found.columns
            self._datasets = list({id(one.dataset): one.dataset for one in self._columns}.values())
            self._offset_us = _offset(self._file)
            self._sizes = self._facts(Path(path).stat().st_size)
            self._layout = self._find_layout(found, options, path)
            self._about = {**self._sizes, "notes": [*found.notes, *self._layout.notes]}
        except BaseException:
            self.close()
            raise

    def _find_layout(self, found: _Found, options: TableOptions, path: str) -> TableLayout:
        """What the columns mean, by rows from several places of the file."""
        rows = self._sizes["rows"]
        places = [(0, min(SAMPLE_ROWS, rows))]
        if rows > SAMPLE_ROWS:
            count = SAMPLE_ROWS // _PLACES
            places = [(i * (rows - count) // (_PLACES - 1), count) for i in range(_PLACES)]
        blocks = []
        for first, count in places:
            with suppress(*FAULTS):  # a damaged chunk costs its rows when they are read
                blocks.append(self._raw(first, first + count))
        sample = [np.concatenate(columns) for columns in zip(*blocks, strict=True)]
        if not sample:
            sample = [np.zeros(0, np.int64)] * len(self._columns)
        return find_layout(
            sample,
            rows,
            options,
            path,
            names=found.names,
            unit="us" if found.in_us else "",
        )

    def _raw(self, first: int, last: int) -> list[NDArray[Any]]:
        """The columns of rows [first, last), shape (n,) each, in the order of the file."""
        read = {id(one): _rows(one, first, last) for one in self._datasets}
        return [_part(read[id(one.dataset)], one.part) for one in self._columns]

    def about(self) -> dict[str, Any]:
        """Sizes of the file's columns.

        notes : what was inferred about them.
        rows : rows of every column that the file holds.
        claimed : rows of the longest column, by its shape.
        chunk, step : rows of the largest chunk; rows of as many whole chunks as a packet may hold.
        row_bytes : bytes per event, decompressed.
        """
        return self._about

    def sensor(self) -> tuple[int, int] | None:
        """Width and height, if attributes hold them; a damaged attribute may crash this process."""
        return _sensor(self._file, self._group)

    def simulated(self) -> bool:
        """Whether an attribute says that no camera made the events; see `sensor`."""
        return str(self._file.attrs.get("source", "")) == SIMULATED_SOURCE

    def read(self, first: int, last: int) -> Rows:
        """The rows [first, last), at most MAX_PACKET_EVENTS of them."""
        columns = self._raw(first, last)
        rows = self._layout.rows(*(columns[at] for at in self._layout.order))
        if self._offset_us:
            rows.events["t"] += self._offset_us
        return rows

    def place(self, row: int) -> int | None:
        """Byte offset in the file of the chunk that makes `row` unreadable; None: unknown."""
        for one in self._datasets:
            try:
                _rows(one, row, row + 1)
            except FAULTS:
                with suppress(*FAULTS, MemoryError):
                    axis = _axis(one)
                    where = [0] * one.ndim
                    where[axis] = row // one.chunks[axis] * one.chunks[axis]
                    info = one.id.get_chunk_info_by_coord(tuple(where))
                    return int(info.byte_offset) if info.byte_offset is not None else None
        return None

    def close(self) -> None:
        """Close the file."""
        self._columns, self._datasets = [], []
        self._file.close()

    def _facts(self, file_bytes: int) -> dict[str, Any]:
        lengths = [_length(one) for one in self._datasets]
        rows = [int(one.chunks[_axis(one)]) if one.chunks else 1 for one in self._datasets]
        chunk = min(max(rows), MAX_PACKET_EVENTS)
        return {
            "rows": min(min(lengths), *(_held(one, file_bytes) for one in self._datasets)),
            "claimed": max(lengths),
            "chunk": chunk,
            "step": MAX_PACKET_EVENTS // chunk * chunk,
            "row_bytes": sum(_row_bytes(one) for one in self._datasets),
        }


class _Found(NamedTuple):
    """The events in a file: their group, columns, and what the layout says about them.

    names : names of t, x, y and p, in which order `columns` then is; None for a table without.
    in_us : whether the layout defines times as microseconds.
    """

    group: str
    columns: list[_Column]
    names: dict[str, str] | None
    in_us: bool
    notes: tuple[str, ...] = ()


def _find(file: Any, group: str, options: TableOptions) -> _Found:
    """The events of a file, in the group that is named, a usual one, or the only one."""
    if group:
        found = _in_group(file, group.strip("/"), options)
        if found is None:
            there = ", ".join(_groups_with_events(file)) or "none"
            raise ValueError(f"its group {group!r} holds no events (groups that do: {there})")
        return found
    for name in GROUPS:
        found = _in_group(file, name, options)
        if found is not None:
            others = [one for one in _groups_with_events(file) if one != name]
            more = f"events read from the group {name!r}; also in {', '.join(others)} (?group=)"
            return found._replace(notes=(more,)) if others else found
    names = _groups_with_events(file)
    if len(names) > 1:
        raise ValueError(
            f"several groups hold events, {', '.join(names)}; choose one with ?group={names[0]}"
        )
    found = _in_group(file, names[0], options) if names else None
    if found is None:
        raise ValueError(
            f"it has none of the known layouts; it holds {', '.join(list(file)[:8])}; ?group= "
            "names the group with columns t, x, y and p, or a table of events"
        )
    return found._replace(notes=(f"events read from the group {names[0]!r}",))


def _groups_with_events(file: Any) -> list[str]:
    """Groups with columns called t, x, y and p, among the first MAX_GROUPS groups."""
    import h5py

    waiting, found = [""], []
    for _ in range(MAX_GROUPS):
        if not waiting:
            break
        name = waiting.pop(0)
        with suppress(*FAULTS):
            here = _member(file, name)
            members = list(here)
            if find_columns(members):
                found.append(name or "/")
            for one in members:
                if isinstance(here.get(one, getlink=True), h5py.HardLink) and isinstance(
                    here[one], h5py.Group
                ):
                    waiting.append(f"{name}/{one}".strip("/"))
    return found


def _in_group(file: Any, name: str, options: TableOptions) -> _Found | None:
    """The events of a group, or of the table of that name; None where it holds none."""
    here = _member(file, name)
    if here is None:
        return None
    parent, _, last = name.rpartition("/")
    if hasattr(here, "dtype"):
        return _table(_dataset(_member(file, parent), last, columns=None), parent, options)
    found = find_columns(list(here))
    if found:
        datasets = [_dataset(here, member) for member in found.values()]
        _refuse_large(datasets)
        columns = [_Column(one, None) for one in datasets]
        dsec = name == "events" and "t_offset" in file
        return _Found(name, columns, found, in_us=dsec)
    if "events" in here and hasattr(_member(here, "events"), "chunks"):
        table = _dataset(here, "events", columns=None)
        return _table(table, name, options)
    return None


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


def _dataset(group: Any, name: str, columns: int | None = 1) -> Any:
    """A numeric dataset of this file, with a cache for one chunk of it.

    columns : 1 for a column, shape (n,), (n, 1) or (1, n); None for a table.
    """
    import h5py

    found = _member(group, name)
    if (
        not hasattr(found, "chunks")
        or found.ndim not in (1, 2)
        or (columns is not None and found.ndim == 2 and 1 not in found.shape)
    ):
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
    others = int(np.prod(dataset.shape, dtype=object)) // max(_length(dataset), 1)
    return max(others, 1) * int(dataset.dtype.itemsize)


def _held(dataset: Any, file_bytes: int) -> int:
    """Upper bound of the rows that the file stores of a dataset; unwritten rows take no space."""
    if dataset.id.get_create_plist().get_layout() == 0:  # compact: stored in the header
        return _length(dataset)
    if not dataset.chunks:
        if dataset.id.get_offset() is None:
            return 0
        return file_bytes // max(_row_bytes(dataset), 1)
    count = file_bytes // 8  # the size of an entry in the index
    with suppress(*FAULTS):
        count = min(count, int(dataset.id.get_num_chunks()))
    return count * int(dataset.chunks[_axis(dataset)])


def _table(table: Any, group: str, options: TableOptions) -> _Found:
    """The columns of a table: fields by name, or columns without names."""
    _refuse_large([table])
    if table.dtype.names:
        fields = find_columns(table.dtype.names)
        if fields is None or table.ndim != 1:
            raise ValueError(f"fields {', '.join(table.dtype.names)} are not t, x, y and p")
        columns = [_Column(table, member) for member in fields.values()]
        return _Found(group, columns, fields, in_us=group == "CD")
    width = len(options.columns or "txyp")
    if table.ndim != 2 or table.shape[1] != width:
        raise ValueError(
            f"a table of shape {table.shape} does not have {width} columns; ?columns= with - for "
            "each to leave out reads a wider one"
        )
    return _Found(group, [_Column(table, i) for i in range(width)], None, in_us=False)


def _part(values: NDArray[Any], part: str | int | None) -> NDArray[Any]:
    if part is None:
        return values
    return np.asarray(values[part] if isinstance(part, str) else values[:, part])


def _axis(dataset: Any) -> int:
    """Along which its rows lie: 1 for a column stored as one row, as MATLAB's files hold them."""
    return int(dataset.ndim == 2 and dataset.shape[0] == 1 and dataset.shape[1] != 4)


def _length(dataset: Any) -> int:
    return int(dataset.shape[_axis(dataset)])


def _rows(dataset: Any, first: int, last: int) -> NDArray[Any]:
    """Rows [first, last) of a column or table."""
    values = dataset[0, first:last] if _axis(dataset) else dataset[first:last]
    return np.asarray(values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values)


def _offset(file: Any) -> int:
    """DSEC's t_offset, in us; 0 where there is none."""
    found = _member(file, "t_offset")
    if found is None or getattr(found, "shape", None) not in ((), (1,)):
        return 0
    if found.dtype.kind not in "iu":
        return 0
    value = int(np.asarray(found[()]).reshape(-1)[0])
    return value if abs(value) <= _MAX_TIME_US else 0


def _sensor(file: Any, group: str) -> tuple[int, int] | None:
    """Width and height, if the file's attributes, or M3ED's calibration, hold them."""
    resolution = _member(file, f"{group}/calib/resolution")
    if resolution is not None and getattr(resolution, "shape", None) == (2,):
        width, height = (int(side) for side in resolution[:])
        return width, height
    groups = (_member(file, name) for name in (*GROUPS[:3], group))
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
