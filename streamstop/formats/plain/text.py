"""Reads events from text, one per line: .csv or .txt, with or without a header.

Fields are separated by comma, semicolon, tab or space. A header names the columns, and the sensor
in faery's style (`t,x@346,y@260,on`); without one the order is `txyp` unless `columns` gives it.
Lines before it that start with `#` are comments, unless one names the columns, which makes it the
header. Values are whole numbers (times microseconds) or, for polarity, True and False; polarity is
ON above zero. Times in seconds with a fraction, as in the Event Camera Dataset, need `unit`, and
are refused without it. Any other line is damage and costs only itself.

It reads about two million lines per second; another format is better for long recordings.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamstop.errors import SourceError
from streamstop.events.packet import (
    MAX_PACKET_EVENTS,
    Cursor,
    Damage,
    Events,
    Packet,
    SensorSize,
    empty_events,
)
from streamstop.formats.base import SIMULATED_SOURCE, read_head
from streamstop.formats.byte_reader import ByteReader, open_bytes
from streamstop.formats.columns import column_order, events_from, find_columns, time_unit

_BLOCK_BYTES = 1 << 19
_ODD, _ODD_DECIMAL = re.compile(rb"[^-+0-9 \t\r\n]"), re.compile(rb"[^-+.0-9eE \t\r\n]")
_START_BYTES = 1 << 16
_SMALL = 1 << 10
"""Size of the parts that are parsed line by line where a block cannot be parsed at once."""
_MAX_PARTS = 1 << 9
"""Bad lines reported one by one per block; further ones are reported with the last of them."""
_NUMBER = re.compile(rb"[-+]?\d{1,18}$")
_DECIMAL = re.compile(rb"[-+]?\d{1,18}(?:\.\d{0,30})?(?:[eE][-+]?\d{1,2})?$")
_WORDS = ((b"True", b"1"), (b"False", b"0"), (b"true", b"1"), (b"false", b"0"))


_COMMENT = b"#"
_SIMULATED = f"# source: {SIMULATED_SOURCE}".encode()


class _Part(NamedTuple):
    """Bad lines, if any, and the good ones after them."""

    damage: tuple[Damage, ...]
    events: Events


class _Run(NamedTuple):
    """Lines from byte `first` to `end`: a table of good lines, or None for one bad line."""

    first: int
    end: int
    table: NDArray[Any] | None
    line: bytes = b""


class CsvRecording:
    """A text file of events; see `streamstop.formats.base.Recording`.

    Parameters
    ----------
    path
        The file.
    columns
        Order of the columns where there is no header.
    unit
        Unit of its times: "us", or "ms" or "s", which may have a fraction.

    Raises
    ------
    SourceError
        If its first line is neither a header with t, x, y and p nor numbers, or times have a
        fraction and no unit is given.
    """

    format = "csv"
    notes: Sequence[str] = ()
    sensor_inferred = False

    def __init__(self, path: str, columns: str = "txyp", unit: str = "us") -> None:
        self.path = path
        self.simulated = False
        self.sensor: SensorSize | None = None
        self._unit_us = time_unit(unit, path)
        self._number = _NUMBER if self._unit_us == 1 else _DECIMAL
        start = read_head(path, _START_BYTES, _holds_head)
        self._first = len(start) - len(start.removeprefix(b"\xef\xbb\xbf"))
        line, _, rest = start[self._first :].partition(b"\n")
        while line.startswith(_COMMENT) and not _names_columns(line):
            self.simulated |= line.split() == _SIMULATED.split()
            self._first += len(line) + 1
            line, _, rest = rest.partition(b"\n")
        titles = line.removeprefix(_COMMENT)
        self._separator = _separator(titles)
        cells = [cell.strip() for cell in titles.split(self._separator)]
        names = list(column_order(columns, path))
        headless = self._are(_DECIMAL, cells)
        if not headless:
            headed = [cell.decode(errors="replace").strip("\"'").partition("@") for cell in cells]
            names = [name for name, _, _ in headed]
            sizes = {name: size for name, _, size in headed if size.isdecimal()}
            if sizes.keys() == {"x", "y"}:
                self.sensor = SensorSize(int(sizes["x"]), int(sizes["y"]))
            self._first += len(line) + 1
        found = find_columns(names)
        if found is None or len(cells) < 4:
            raise SourceError(
                "the first line is neither a header that names t, x, y and p nor whole numbers: "
                f"{_shown(line)}: {path}"
            )
        self._width = len(cells)
        self._at = [names.index(found[column]) for column in "txyp"]
        first = line if headless else rest.partition(b"\n")[0]
        cells = first.split(self._separator)
        if self._are(_DECIMAL, cells) and not self._are(self._number, cells):
            raise SourceError(
                "the first line of events has numbers with a fraction; where times are seconds, "
                f"give ?unit=s, else they are whole microseconds: {_shown(first)}: {path}"
            )

    @staticmethod
    def _are(number: re.Pattern[bytes], cells: list[bytes]) -> bool:
        return all(number.match(_plain(cell).strip()) for cell in cells)

    def packets(self, start: Cursor | None = None) -> Iterator[Packet]:
        """Packets from `start` on; see `Recording.packets`."""
        offset, index, t_us, skip = self._first, 0, 0, 0
        if start is not None and (start.offset or start.skip):
            offset, index, t_us, skip = start.offset, start.event, start.t_us, start.skip
        with open_bytes(self.path) as data:
            while block := _whole_lines(data, offset):
                following = offset + len(block)
                handed = list(_cut(self._parse(block, offset), skip))
                for i, (events, damage, taken) in enumerate(handed, 1):
                    index += len(events)
                    t_us = int(events["t"][-1]) if len(events) else t_us
                    at = Cursor(self.path, offset, index, t_us, taken)
                    if i == len(handed):
                        at = Cursor(self.path, following, index, t_us)
                    yield Packet(events, at, damage=damage)
                offset, skip = following, 0
                data.release(offset)
            if data.fault:
                at = Cursor(self.path, offset, index, t_us)
                yield Packet(empty_events(), at, damage=data.fault)

    def _parse(self, block: bytes, offset: int) -> list[_Part]:
        """The events of complete lines, split where bad lines lie between them."""
        parts: list[_Part] = []
        damage: tuple[Damage, ...] = ()
        for good, group in groupby(self._runs(block, offset), lambda run: run.table is not None):
            if len(parts) == _MAX_PARTS:
                rest = block[next(group).first - offset :]
                return [*parts, self._mixed(rest, offset + len(block) - len(rest), damage)]
            runs = list(group)
            if good:
                events = self._events([run.table for run in runs if run.table is not None])
                parts.append(_Part(damage, events))
                damage = ()
            else:
                damage = (self._damage(runs, runs[-1].end - runs[0].first),)
        return [*parts, _Part(damage, empty_events())] if damage or not parts else parts

    def _mixed(self, block: bytes, offset: int, damage: tuple[Damage, ...]) -> _Part:
        """Lines of which too many are bad: one damaged region, then all events."""
        bad, tables, lost = [], [], 0
        for run in self._runs(block, offset):
            if run.table is None:
                bad.append(run)
            else:
                tables.append(run.table)
        lost = sum(run.end - run.first for run in bad)
        found = (self._damage(bad, lost),) if bad else ()
        return _Part((*damage, *found), self._events(tables))

    def _damage(self, bad: list[_Run], lost_bytes: int) -> Damage:
        shown = bad[0].line[:40].decode(errors="replace")
        reason = f"lines that are not events, the first of them {shown!r}"
        return Damage(bad[0].first, lost_bytes, reason, self.path)

    def _runs(self, block: bytes, offset: int) -> Iterator[_Run]:
        """Runs of good lines and single bad ones, in order, without blank lines."""
        table = self._fast(_plain(block))
        if table is not None:
            if len(table):
                yield _Run(offset, offset + len(block), table)
            return
        middle = block.find(b"\n", len(block) // 2) + 1
        if len(block) > _SMALL and 0 < middle < len(block):
            yield from self._runs(block[:middle], offset)
            yield from self._runs(block[middle:], offset + middle)
            return
        at = offset
        for line in io.BytesIO(block):
            if line.strip():
                yield _Run(at, at + len(line), self._row(line), line.strip())
            at += len(line)

    def _row(self, line: bytes) -> NDArray[Any] | None:
        """One line, shape (1, width); None where it is not an event."""
        cells = _plain(line).split(self._separator)
        if len(cells) != self._width or not self._are(self._number, cells):
            return None
        if self._unit_us == 1:
            return np.array([[int(cell) for cell in cells]], np.int64)
        row = np.array([[float(cell) for cell in cells]])
        return row if self._is_whole(row) else None

    def _is_whole(self, table: NDArray[np.float64]) -> bool:
        """Whether all values except the times are whole numbers."""
        others = table[:, self._at[1:]]
        return bool(np.isfinite(table).all() and (others == np.floor(others)).all())

    def _fast(self, block: bytes) -> NDArray[Any] | None:
        """All lines at once, shape (n, width); None where any of them needs a closer look."""
        if self._separator is not None:
            block = block.replace(self._separator, b" ")
        if (_ODD if self._unit_us == 1 else _ODD_DECIMAL).search(block):
            return None
        text = np.frombuffer(block, np.uint8)
        starts = (text > 0x20) & np.append(True, text[:-1] <= 0x20)
        ends = np.append(np.flatnonzero(text == 0x0A), len(text) - 1)
        numbers = np.diff(np.cumsum(starts)[ends], prepend=0)
        if not ((numbers == 0) | (numbers == self._width)).all():
            return None
        if not numbers.any():
            return np.zeros((0, self._width), np.int64)
        kind = np.int64 if self._unit_us == 1 else np.float64
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # how numpy reports text that is not a number
            try:
                values: NDArray[Any] = np.fromstring(block, kind, sep=" ")
            except (DeprecationWarning, ValueError):
                return None
        if len(values) != numbers.sum():
            return None
        table = values.reshape(-1, self._width)
        return table if self._unit_us == 1 or self._is_whole(table) else None

    def _events(self, tables: list[NDArray[Any]]) -> Events:
        if not tables:
            return empty_events()
        table = np.concatenate(tables)
        t, x, y, p = (table[:, at] for at in self._at)
        return events_from(t, x, y, p, unit_us=self._unit_us)


def _cut(parts: list[_Part], skip: int) -> Iterator[tuple[Events, tuple[Damage, ...], int]]:
    """The events of a block after its first `skip`, in parts.

    Yields the events, the damage before them, and the number of events of the block yielded so far.
    """
    taken = 0
    for part in parts:
        first, n = max(skip - taken, 0), len(part.events)
        if first < n or not n:
            for at in range(first, max(n, 1), MAX_PACKET_EVENTS):
                events = part.events[at : at + MAX_PACKET_EVENTS]
                yield events, () if at else part.damage, taken + at + len(events)
        taken += n


def _whole_lines(data: ByteReader, offset: int) -> bytes:
    """Complete lines from `offset` on; a partial line only where it is too long or the last."""
    block = b""
    while len(block) < _BLOCK_BYTES:
        more = data.read_ready(offset, len(block) + 1, _BLOCK_BYTES)
        if len(more) == len(block):
            return block
        block = more
        if end := block.rfind(b"\n") + 1:
            return block[:end]
    return block


def _holds_head(start: bytes) -> bool:
    """Whether there are at least two lines that are not comments."""
    return sum(not line.startswith(_COMMENT) for line in start.split(b"\n")[:-1]) > 1


def _separator(line: bytes) -> bytes | None:
    return next((one for one in (b",", b";", b"\t") if one in line), None)


def _names_columns(line: bytes) -> bool:
    """Whether a comment is a header, as numpy's savetxt writes it."""
    titles = line.removeprefix(_COMMENT)
    cells = titles.decode(errors="replace").split((_separator(titles) or b" ").decode())
    return find_columns([cell.strip().strip("\"'").partition("@")[0] for cell in cells]) is not None


def _shown(line: bytes) -> str:
    return repr(line[:60].decode(errors="replace"))


def _plain(text: bytes) -> bytes:
    """Replace words for polarity by numbers."""
    for word, number in _WORDS:
        text = text.replace(word, number)
    return text
