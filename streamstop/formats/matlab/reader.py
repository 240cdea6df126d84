"""Reads events from MATLAB files of version 5 (`save(..., '-v7')` and before), as of ASL-DVS.

The events are four variables, or four fields of a struct, called t, x, y and p or what other
software calls them (`ts`, `pol`, ...), or one matrix of four columns. Where several structs hold
events, `?group=` chooses. Unit and polarity are inferred from the numbers
(`streamstop.formats.table_layout`). Files of version 7.3 are HDF5 and read as such.

MATLAB counts from 1. Pixels are taken to do so where the smallest x and y are both 1 and polarity
is 1 and 2, as the tools of N-MNIST and N-Caltech101 leave them; `?first=0` or `?first=1` states it.

Guarantees:

- Numbers are read in parts, so that memory is bounded; nothing in the file is run.

Does not:

- Read from a pipe or a file that is compressed as a whole.
- Read on after damage in a compressed variable.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamstop.errors import NoEventsError, SourceError
from streamstop.events.packet import (
    MAX_PACKET_EVENTS,
    Cursor,
    Damage,
    Packet,
    SensorSize,
    empty_events,
)
from streamstop.formats.byte_reader import ByteReader, open_bytes
from streamstop.formats.columns import find_columns
from streamstop.formats.matlab.elements import Array, DamagedError, Stream, find_arrays, open_array
from streamstop.formats.table_layout import (
    SAMPLE_ROWS,
    Rows,
    TableLayout,
    TableOptions,
    find_layout,
)

_PLACES = 8
_SHOWN = 12


class MatRecording:
    """A MATLAB file of version 5; see `streamstop.formats.base.Recording`.

    Parameters
    ----------
    path
        The file.
    columns, unit, on
        As in `streamstop.formats.table_layout.TableOptions`; "" infers them.
    group
        The struct or matrix that holds the events; "" to look for them.
    first
        Number of the first column and row of pixels, "0" or "1"; "" infers it.

    Raises
    ------
    SourceError
        If it cannot be read, holds no events, or its numbers do not say what the columns are.
    """

    format = "mat"
    sensor_inferred = False
    simulated = False
    sensor: SensorSize | None = None

    def __init__(
        self,
        path: str,
        columns: str = "",
        unit: str = "",
        on: str = "",
        group: str = "",
        first: str = "",
    ) -> None:
        self.path = path
        self._options = TableOptions(columns, unit, on).checked(path)
        if first not in ("", "0", "1"):
            raise SourceError(
                f"first is 0 or 1, the number of the first pixel, not {first!r}: {path}"
            )
        notes: list[str] = []
        with open_bytes(path) as data:
            if not data.seekable:
                raise SourceError(
                    f".mat cannot be read from a pipe or compressed; unpack it to a file: {path}"
                )
            found, damage = _arrays(data)
            self._arrays, self._names, about = _chosen(found, group, self._options, path, damage)
            notes += [about] if about else []
            self._rows = min(one.numbers for one in self._arrays)
            self._claimed = max(_length(one) for one in self._arrays)
            self._layout, sample = self._find_layout(data)
        self._first = int(first) if first else _first_pixel(sample, self._layout)
        if self._first and not first:
            notes.append(
                "pixels counted from 1, as MATLAB does, inferred from their values and from "
                "polarity 1 and 2 (?first=0 if not)"
            )
        self.notes: Sequence[str] = (*notes, *self._layout.notes)

    def packets(self, start: Cursor | None = None) -> Iterator[Packet]:
        """Packets from `start` on; see `Recording.packets`."""
        at = start if start is not None else Cursor(self.path)
        row, index, t_us = at.offset, at.event, at.t_us
        row_bytes = sum(one.dtype.itemsize for one in self._arrays)
        with open_bytes(self.path) as data:
            streams = [open_array(data, one, row) for one in self._arrays]
            reason = ""
            while row < self._rows:
                n = min(MAX_PACKET_EVENTS, self._rows - row)
                columns = _read(streams, self._arrays, n)
                whole = len(columns[0])
                if whole:
                    rows = self._decoded(columns)
                    damage = self._bad(row, rows, row_bytes)
                    row, index = row + whole, index + len(rows.events)
                    t_us = int(rows.events["t"][-1]) if len(rows.events) else t_us
                    yield Packet(rows.events, Cursor(self.path, row, index, t_us), damage=damage)
                if whole < n:
                    reason = _fault(streams) or "the file ends too early"
                    break
            else:
                for stream in streams if self._rows == self._claimed else ():
                    stream.finish()
                reason = _fault(streams)
        if not reason and self._claimed > self._rows and row == self._rows:
            reason = f"the columns claim {self._claimed} rows, but hold only {self._rows}"
        if reason:
            lost = max(self._claimed - row, 0) * row_bytes
            damage = (Damage(row, lost, f"after row {row}: {reason}", self.path),)
            after = Cursor(self.path, max(self._claimed, row), index, t_us)
            yield Packet(empty_events(), after, damage=damage)

    def _find_layout(self, data: ByteReader) -> tuple[TableLayout, list[NDArray[Any]]]:
        """What the columns mean, and the rows by which it was found."""
        spread = not any(one.packed_bytes for one in self._arrays)
        places = [(0, min(SAMPLE_ROWS, self._rows))]
        if spread and self._rows > SAMPLE_ROWS:
            count = SAMPLE_ROWS // _PLACES
            places = [(i * (self._rows - count) // (_PLACES - 1), count) for i in range(_PLACES)]
        blocks = []
        for row, count in places:
            streams = [open_array(data, one, row) for one in self._arrays]
            blocks.append(_read(streams, self._arrays, count))
        sample = [np.concatenate(columns) for columns in zip(*blocks, strict=True)]
        if not len(sample[0]) and self._claimed:
            reason = _fault(streams) or "the file ends too early"
            raise SourceError(f"cannot be read as .mat, {reason}: {self.path}")
        layout = find_layout(
            sample,
            self._rows,
            self._options,
            self.path,
            names=self._names,
            whole=spread or self._rows <= SAMPLE_ROWS,
        )
        return layout, sample

    def _decoded(self, columns: list[NDArray[Any]]) -> Rows:
        t, x, y, p = (columns[at] for at in self._layout.order)
        if self._first:
            x, y = (one.astype(np.int64 if one.dtype.kind in "iu" else "f8") - 1 for one in (x, y))
        return self._layout.rows(t, x, y, p)

    def _bad(self, row: int, rows: Rows, row_bytes: int) -> tuple[Damage, ...]:
        """The rows of a block that are no events, as damage; `row`: the block's first."""
        if not len(rows.bad):
            return ()
        first = row + int(rows.bad[0])
        reason = f"{len(rows.bad)} rows are no events, the first is row {first}: {rows.reason}"
        return (Damage(first, len(rows.bad) * row_bytes, reason, self.path),)


def _arrays(data: ByteReader) -> tuple[dict[str, Array], str]:
    """The numeric arrays of the file by name, and what is wrong with the rest, "" if nothing."""
    found: dict[str, Array] = {}
    try:
        for one in find_arrays(data):
            found.setdefault(one.name, one)
    except DamagedError as error:
        return found, str(error)
    return found, ""


def _chosen(
    found: dict[str, Array], group: str, options: TableOptions, path: str, damage: str
) -> tuple[list[Array], dict[str, str] | None, str]:
    """The arrays of the events, their names (None for a matrix), and a note."""
    groups: dict[str, list[str]] = {}
    for name in found:
        outer, _, inner = name.rpartition(".")
        groups.setdefault(outer, []).append(inner)
    fitting = {outer: names for outer, inner in groups.items() if (names := find_columns(inner))}
    width = len(options.columns or "txyp")
    tables = [name for name, one in found.items() if len(one.shape) == 2 and one.shape[1] == width]
    wanted = [group] if group in (*fitting, *tables) else [] if group else [*fitting] or tables
    if len(wanted) == 1 and wanted[0] in fitting:
        outer, names = wanted[0], fitting[wanted[0]]
        arrays = [found[f"{outer}.{name}".removeprefix(".")] for name in names.values()]
        for one in arrays:
            if len(one.shape) != 2 or 1 not in one.shape:
                sides = "x".join(map(str, one.shape))
                raise SourceError(f"{one.name!r} is {sides}, not one column of numbers: {path}")
        return arrays, names, f"events read from the struct {outer!r}" if outer else ""
    if len(wanted) == 1:
        return _columns_of(found[wanted[0]], width), None, f"events read from {wanted[0]!r}"
    if wanted:
        names_ = ", ".join(repr(one) for one in wanted[:_SHOWN])
        raise SourceError(f"events may be in {names_}; choose with ?group={wanted[-1]}: {path}")
    if damage:
        raise SourceError(f"cannot be read as .mat, {damage}: {path}")
    held = ", ".join([*found][:_SHOWN]) or "none"
    which = f"its {group!r} holds no events" if group else "it holds no events"
    raise NoEventsError(
        f"{which}: they are columns t, x, y and p, alone or in a struct, or a matrix of four "
        f"columns; its arrays of numbers are {held}: {path}"
    )


def _columns_of(table: Array, width: int) -> list[Array]:
    """The columns of a matrix, which lie one after the other."""
    size = table.shape[0] * table.dtype.itemsize
    held = [min(max(table.size - i * size, 0), size) for i in range(width)]
    return [
        table._replace(shape=(table.shape[0], 1), offset=table.offset + i * size, size=held[i])
        for i in range(width)
    ]


def _length(array: Array) -> int:
    return max(array.shape) if min(array.shape) else 0


def _read(streams: list[Stream], arrays: list[Array], rows: int) -> list[NDArray[Any]]:
    """At most `rows` rows of each column, as many as all have."""
    parts = [
        np.frombuffer(block, one.dtype, len(block) // one.dtype.itemsize)
        for stream, one in zip(streams, arrays, strict=True)
        for block in (stream.read(rows * one.dtype.itemsize),)
    ]
    whole = min(map(len, parts))
    return [part[:whole].astype(part.dtype.newbyteorder("=")) for part in parts]


def _fault(streams: list[Stream]) -> str:
    return next((one.fault for one in streams if one.fault), "")


def _first_pixel(sample: list[NDArray[Any]], layout: TableLayout) -> int:
    """1 where pixels are counted from 1, by the rule at the head of this module; else 0."""
    _, x, y, p = (sample[at] for at in layout.order)
    counted = len(x) and set(np.unique(p).tolist()) == {1, 2}
    return int(bool(counted and x.min() == 1 and y.min() == 1))
