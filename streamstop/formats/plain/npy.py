"""Reads NumPy's .npy and .npz, without pickle and in bounded memory.

An .npy file holds a structured array with fields for t, x, y and p, or a table of shape (n, 4). An
.npz file holds one array per column, or one array that is called `events` (or is the only one) and
is like an .npy. Order, unit and polarity are inferred from the numbers where names do not say them
(`streamstop.formats.table_layout`).

Guarantees:

- NumPy parses only the headers; the data are read in blocks, and never more than the file holds.

Does not:

- Read on after damage in an .npz, whose members are compressed.
- Seek in an .npz that comes through a pipe or is compressed again: it is copied to a temporary file
  without a name.
"""

from __future__ import annotations

import io
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamstop.errors import NoEventsError, SourceError
from streamstop.events.packet import (
    EVENT_DTYPE,
    MAX_PACKET_EVENTS,
    Cursor,
    Damage,
    Packet,
    SensorSize,
    empty_events,
)
from streamstop.formats.base import read_start
from streamstop.formats.byte_reader import ByteReader, open_bytes
from streamstop.formats.columns import find_columns
from streamstop.formats.plain.npz_member import Member
from streamstop.formats.table_layout import (
    SAMPLE_ROWS,
    Rows,
    TableLayout,
    TableOptions,
    find_layout,
)

_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)
MAX_ROW_BYTES = 1 << 10

MAX_SPOOL_BYTES = 1 << 32
"""Largest decompressed size of an .npz that comes through a pipe or is compressed again."""
_PIECE = 1 << 20
_NPY_HEADER_BYTES = 1 << 16
_PLACES, _PLACE_ROWS = 8, SAMPLE_ROWS // 8
_TOO_EARLY = "the file ends too early"


class _NotEventsError(ValueError):
    """The arrays can be read, and are not events."""


class _Array(NamedTuple):
    """An array in a file: its archive member ("" for an .npy), type, rows and columns.

    by_column : whether a table is stored column after column (Fortran order).
    """

    member: str
    dtype: np.dtype[Any]
    rows: int
    width: int
    by_column: bool = False


class ArrayRecording:
    """An .npy or .npz file; see `streamstop.formats.base.Recording`.

    Parameters
    ----------
    path
        The file.
    columns, unit, on
        As in `streamstop.formats.table_layout.TableOptions`; "" infers them.

    Raises
    ------
    SourceError
        If it cannot be read, would need pickle, has none of the known shapes, or its numbers do
        not say what the columns are.
    """

    notes: Sequence[str] = ()
    sensor_inferred = False

    def __init__(self, path: str, columns: str = "", unit: str = "", on: str = "") -> None:
        self.path = path
        self.sensor: SensorSize | None = None
        self.simulated = False
        self._options = TableOptions(columns, unit, on).checked(path)
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._spool: IO[bytes] | None = None
        self._spool_fault: tuple[Damage, ...] = ()
        self._names: dict[str, str] | None = None
        self._data_at = 0
        self.format = "npz" if read_start(path, 2) == b"PK" else "npy"
        try:
            self._arrays = self._find()
        except _NotEventsError as error:
            raise NoEventsError(f"cannot be read as .{self.format}, {error}: {path}") from error
        except (*_BROKEN, OSError) as error:
            raise SourceError(f"cannot be read as .{self.format}, {error}: {path}") from error
        lengths = {one.rows for one in self._arrays.values()}
        if len(lengths) != 1:
            sizes = ", ".join(f"{name} {one.rows}" for name, one in self._arrays.items())
            raise NoEventsError(f"the columns have different lengths ({sizes}): {path}")
        self._rows = lengths.pop()
        self._layout = self._find_layout()
        self.notes = self._layout.notes
        first = next(self.packets(), None)
        if (
            first is not None
            and first.damage
            and not first.cursor.event
            and _TOO_EARLY not in first.damage[0].reason
        ):
            raise SourceError(f"nothing can be read, {first.damage[0].reason}: {path}")

    def _find(self) -> dict[str, _Array]:
        """The arrays that hold the events, by column; "" for one that holds all columns."""
        if self.format == "npy":
            start = io.BytesIO(read_start(self.path, _NPY_HEADER_BYTES))
            array = self._usable(_header(start, "", by_column=True))
            self._data_at = start.tell()
            if not array.by_column:
                return {"": array}
            with open_bytes(self.path) as data:
                if not data.seekable:
                    raise _NotEventsError(
                        "its table is stored column by column, which needs a file"
                    )
            column = array._replace(width=1)
            return {str(i): column for i in range(array.width)}
        with ExitStack() as stack:
            read_at = self._archive(stack)
            arrays = {}
            for member in self._members:
                if member.endswith(".npy"):
                    array = _header(Member(read_at, self._members[member]), member)
                    arrays[member.removesuffix(".npy")] = array
            self._note(read_at, arrays)
        if found := find_columns(list(arrays)):
            for name in found.values():
                _refuse_no_number(name, arrays[name].dtype)
                if arrays[name].width != 1:
                    raise _NotEventsError(f"{name!r} has {arrays[name].width} columns, not one")
            self._names = found
            return {column: arrays[name] for column, name in found.items()}
        whole = arrays.get("events") or (next(iter(arrays.values())) if len(arrays) == 1 else None)
        if whole is None:
            names = ", ".join(list(arrays)[:8]) or "none"
            raise _NotEventsError(
                f"it needs arrays t, x, y and p, or one called events; it has {names}"
            )
        return {"": self._usable(whole)}

    def _archive(self, stack: ExitStack) -> Callable[[int, int], bytes]:
        """Random access to the bytes of the .npz, through a temporary copy if necessary."""
        if self._spool is None:
            data = stack.enter_context(open_bytes(self.path))
            if data.seekable:
                if not self._members:
                    with zipfile.ZipFile(self.path) as archive:
                        self._members = {one.filename: one for one in archive.infolist()}
                return data.read_at
            self._spool, self._spool_fault = _spooled(data), data.fault
            with zipfile.ZipFile(self._spool) as archive:
                self._members = {one.filename: one for one in archive.infolist()}
        spool = self._spool

        def read_at(offset: int, size: int) -> bytes:
            spool.seek(offset)
            return spool.read(size)

        return read_at

    def _note(self, read_at: Callable[[int, int], bytes], arrays: dict[str, _Array]) -> None:
        """Read what an .npz may contain besides its events: sensor and `simulated`."""
        size = arrays.get("sensor_size")
        if size is not None and size.rows == 2 and size.dtype.kind in "iu":
            member = Member(read_at, self._members[size.member])
            _header(member, "")
            content = member.read(2 * size.dtype.itemsize)
            if len(content) == 2 * size.dtype.itemsize:
                width, height = np.frombuffer(content, size.dtype).tolist()
                if 0 < width <= 1 << 16 and 0 < height <= 1 << 16:
                    self.sensor = SensorSize(width, height)
        self.simulated = "simulated" in arrays

    def _usable(self, array: _Array) -> _Array:
        """The array, if it can hold all columns."""
        if array.dtype.names:
            found = find_columns(array.dtype.names)
            if array.width == 1 and found:
                for name in found.values():
                    _refuse_no_number(name, array.dtype[name])
                self._names = found
                return array
            raise _NotEventsError(
                f"its fields {', '.join(array.dtype.names)} are not t, x, y and p"
            )
        if array.width != len(self._options.columns or "txyp") or array.dtype.kind not in "iuf":
            raise _NotEventsError(
                f"it is not a table of numbers of shape (n, 4), but has type {array.dtype} and "
                f"{array.width} columns; ?columns= with - for each to leave out reads a wider one"
            )
        return array

    def _find_layout(self) -> TableLayout:
        """What its columns mean, by rows from all over an .npy, or from the start of an .npz."""
        with ExitStack() as stack:
            spread = False
            if self.format == "npy":
                spread = stack.enter_context(open_bytes(self.path)).seekable
            places = [(0, min(SAMPLE_ROWS, self._rows))]
            if spread and self._rows > SAMPLE_ROWS:
                last = self._rows - _PLACE_ROWS
                places = [(i * last // (_PLACES - 1), _PLACE_ROWS) for i in range(_PLACES)]
            blocks, damaged = [], False
            for row, count in places:
                with suppress(*_BROKEN, OSError):
                    streams = self._open(stack, row)
                    parts = [
                        stream.read(count * one.width * one.dtype.itemsize)
                        for stream, one in zip(streams, self._arrays.values(), strict=True)
                    ]
                    blocks.append(self._raw(parts, self._whole(parts)))
                    if count == self._rows:  # to the end, where a wrong checksum shows
                        damaged = bool(self._faults(streams, row))
        sample = [np.concatenate(columns) for columns in zip(*blocks, strict=True)]
        whole = spread or self._rows <= SAMPLE_ROWS
        return find_layout(
            sample or [np.zeros(0, np.int64)] * len(self._options.columns or "txyp"),
            self._rows,
            self._options,
            self.path,
            names=self._names,
            unit="us" if self._is_ours() or damaged else "",  # damaged times tell no unit
            sensor=self.sensor,
            whole=whole,
        )

    def packets(self, start: Cursor | None = None) -> Iterator[Packet]:
        """Packets from `start` on; see `Recording.packets`."""
        row = start.event if start is not None else 0
        t_us = start.t_us if start is not None else 0
        fault: tuple[Damage, ...] = ()
        try:
            with ExitStack() as stack:
                streams = self._open(stack, row)
                while row < self._rows:
                    n = min(MAX_PACKET_EVENTS, self._rows - row)
                    parts = [
                        stream.read(n * one.width * one.dtype.itemsize)
                        for stream, one in zip(streams, self._arrays.values(), strict=True)
                    ]
                    whole = self._whole(parts)
                    if whole:
                        rows = self._decoded(parts, whole)
                        bad = self._bad(row, rows)
                        row += whole
                        t_us = int(rows.events["t"][-1]) if len(rows.events) else t_us
                        yield Packet(rows.events, Cursor(self.path, row, row, t_us), damage=bad)
                    if whole < n:
                        reason = next(filter(None, (one.fault for one in streams)), _TOO_EARLY)
                        fault = (self._damage(row, reason),)
                        break
                else:
                    fault = self._faults(streams, row)
                fault += self._spool_fault
                fault += tuple(
                    one
                    for stream in streams
                    if isinstance(stream, _Onwards)
                    for one in stream.damage()
                )
        except (*_BROKEN, OSError) as error:
            fault = (self._damage(row, str(error)),)
        if fault:
            yield Packet(empty_events(), Cursor(self.path, row, row, t_us), damage=fault)

    def _open(self, stack: ExitStack, row: int) -> list[Member | _Onwards]:
        """One stream per array, positioned at `row`."""
        if self.format == "npy":
            data = stack.enter_context(open_bytes(self.path))
            at, places = self._data_at, []
            for one in self._arrays.values():
                size = one.width * one.dtype.itemsize
                places.append(_Onwards(data, at + row * size))
                at += self._rows * size
            return [*places]
        read_at = self._archive(stack)
        streams: list[Member | _Onwards] = []
        for one in self._arrays.values():
            member = Member(read_at, self._members[one.member])
            _header(member, "")
            member.skip(row * one.width * one.dtype.itemsize)
            streams.append(member)
        return streams

    def _faults(self, streams: list[Member | _Onwards], row: int) -> tuple[Damage, ...]:
        """Damage that shows only when a member is read to its end."""
        for stream in streams:
            if isinstance(stream, Member):
                stream.skip(_PIECE)
        return tuple(self._damage(row, one.fault) for one in streams if one.fault)

    def _is_ours(self) -> bool:
        """Whether it is laid out as streamstop writes it, with times in us."""
        if self.format == "npz":
            return self.sensor is not None
        return next(iter(self._arrays.values())).dtype == EVENT_DTYPE

    def _whole(self, parts: list[bytes]) -> int:
        """Number of rows that all parts hold."""
        return min(
            len(part) // (one.width * one.dtype.itemsize)
            for part, one in zip(parts, self._arrays.values(), strict=True)
        )

    def _raw(self, parts: list[bytes], rows: int) -> list[NDArray[Any]]:
        """The columns t, x, y and p where they have names; else all columns of the table."""
        table: dict[str, NDArray[Any]] = {}
        for part, (column, one) in zip(parts, self._arrays.items(), strict=True):
            values = np.frombuffer(part, one.dtype, rows * one.width)
            if column:
                table[column] = values
            elif self._names is None:
                return list(values.reshape(rows, one.width).T)
            else:
                table = {name: values[field] for name, field in self._names.items()}
        return [*table.values()] if self._names is None else [table[one] for one in "txyp"]

    def _decoded(self, parts: list[bytes], rows: int) -> Rows:
        columns = self._raw(parts, rows)
        return self._layout.rows(*(columns[at] for at in self._layout.order))

    def _bad(self, row: int, rows: Rows) -> tuple[Damage, ...]:
        """The rows of a block that are no events, as damage; `row`: the block's first."""
        if not len(rows.bad):
            return ()
        size = sum(one.width * one.dtype.itemsize for one in self._arrays.values())
        first = row + int(rows.bad[0])
        at = self._data_at + first * size if self.format == "npy" else first
        reason = f"{len(rows.bad)} rows are no events, the first is row {first}: {rows.reason}"
        return (Damage(at, len(rows.bad) * size, reason, self.path),)

    def _damage(self, row: int, reason: str) -> Damage:
        """All rows from `row` on; the offset in an .npz, with a member per column, is the row."""
        size = sum(one.width * one.dtype.itemsize for one in self._arrays.values())
        at = self._data_at + row * size if self.format == "npy" else row
        lost = (self._rows - row) * size
        return Damage(at, lost, f"after event {row}: {reason}", self.path)


def _refuse_no_number(name: str, dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "biuf":
        raise _NotEventsError(f"{name!r} has type {dtype}, not numbers")


class _Onwards:
    """The bytes of an .npy from an offset on; each call releases the bytes returned before."""

    fault = ""

    def __init__(self, data: ByteReader, offset: int) -> None:
        self._data, self._offset = data, offset

    def read(self, size: int, /) -> bytes:
        self._data.release(self._offset)
        block = self._data.read_at(self._offset, size)
        self._offset += len(block)
        return block

    def damage(self) -> tuple[Damage, ...]:
        """Damage in the compression, also in what follows the last row."""
        self._data.release(self._offset)
        if not self._data.seekable:
            self._data.reaches(self._offset + _PIECE)
        return self._data.fault


def _spooled(data: ByteReader) -> IO[bytes]:
    """A temporary copy, without a name, of all that `data` holds."""
    copy = tempfile.TemporaryFile()  # noqa: SIM115
    at = 0
    while block := data.read_at(at, _PIECE):
        copy.write(block)
        at += len(block)
        data.release(at)
        if at > MAX_SPOOL_BYTES:
            copy.close()
            raise SourceError(
                f"an .npz needs random access, and decompressed this one is larger than the "
                f"{MAX_SPOOL_BYTES} bytes that may be copied for that; unpack it first: {data.path}"
            )
    return copy


def _header(file: Any, member: str, *, by_column: bool = False) -> _Array:
    """Parse the header of an .npy; the file, with `read(size)`, is then positioned at the data.

    by_column : accept a table in Fortran order.

    Raises
    ------
    ValueError
        If it is no such header, or of an array of objects, which would need pickle.
    """
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    version = np.lib.format.read_magic(file)
    if version not in readers:
        raise ValueError(f"its .npy version {version} is not known")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers written by Python 2
            shape, fortran, dtype = readers[version](file)
    except Exception as error:  # numpy parses it as Python, which raises all kinds of errors
        raise ValueError(f"its header cannot be parsed, {type(error).__name__}") from error
    if dtype.hasobject:
        raise _NotEventsError(
            "it holds Python objects, which need pickle, and pickle is never used; load it in a "
            "Python of your own, if you trust it, and save its columns with "
            "numpy.savez('events.npz', t=t, x=x, y=y, p=p)"
        )
    fortran = fortran and len(shape) > 1
    if fortran and not by_column:
        raise _NotEventsError("its table is stored column by column; save a C-ordered copy")
    if len(shape) > 2 or not 0 < dtype.itemsize <= MAX_ROW_BYTES:
        raise _NotEventsError(f"an array of {dtype} and shape {shape} holds no events")
    rows, width = shape[0] if shape else 1, shape[1] if len(shape) == 2 else 1
    return _Array(member, dtype, rows, width, fortran)
