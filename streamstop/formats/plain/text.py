"""Reads events from text, one per line: .csv or .txt, with or without a header.

Fields are separated by comma, semicolon, tab or space. A header names the columns, and the sensor
in faery's style (`t,x@346,y@260,on`). Without one, order, unit and polarity are inferred from lines
of several places of the file (`streamstop.formats.table_layout`). Before them may stand lines that
start with `#` or `%` (comments, or the header, or Metavision's `%geometry:346,260`) and a line with
the sensor's width and height alone (`346 260`, as the Event Camera Dataset and E2VID have it).
Fractions may be written with a comma where another sign separates the fields. Any other line is
damage and costs only itself.

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

from streamstop.errors import NoEventsError
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
from streamstop.formats.columns import find_columns
from streamstop.formats.table_layout import (
    SAMPLE_ROWS,
    TableLayout,
    TableOptions,
    find_layout,
)

_BLOCK_BYTES = 1 << 19
_ODD, _ODD_DECIMAL = re.compile(rb"[^-+0-9 \t\r\n]"), re.compile(rb"[^-+.0-9eE \t\r\n]")
_START_BYTES = 1 << 16
_SMALL = 1 << 10
"""Size of the parts that are parsed line by line where a block cannot be parsed at once."""
_MAX_PARTS = 1 << 9
"""Bad lines reported one by one per block; further ones are reported with the last of them."""
_NUMBER = re.compile(rb"[-+]?\d{1,19}$")
_DECIMAL = re.compile(rb"[-+]?\d{1,19}(?:\.\d{0,30})?(?:[eE][-+]?\d{1,2})?$")
_FRACTION = re.compile(rb"\d\.|\d[eE][-+]?\d")
_DECIMAL_COMMA = re.compile(rb"\d,\d")
_SIZE = re.compile(rb"\s*([1-9]\d{0,4})[ \t,;]+([1-9]\d{0,4})\s*")
_GEOMETRY = re.compile(rb"% ?geometry: ?([1-9]\d{0,4})[,x]([1-9]\d{0,4})\s*")
_PLACES = 8
"""Places of the file from which lines are looked at."""
_PLACE_BYTES = 1 << 13
_ENOUGH_LINES = 1 << 8
"""Lines of a pipe that are waited for where they alone say what the columns are."""
_WORDS = ((b"True", b"1"), (b"False", b"0"), (b"true", b"1"), (b"false", b"0"))


_COMMENTS = (b"#", b"%")
_SIMULATED = f"# source: {SIMULATED_SOURCE}".encode()


class _Part(NamedTuple):
    """Bad lines, if any, and the good ones after them."""

    damage: tuple[Damage, ...]
    events: Events


class _Run(NamedTuple):
    """Lines from byte `first` to `end`: good ones as events (to find the layout: as a table of
    numbers), or None for one bad line.
    """

    first: int
    end: int
    good: NDArray[Any] | None
    line: bytes = b""


class CsvRecording:
    """A text file of events; see `streamstop.formats.base.Recording`.

    Parameters
    ----------
    path
        The file.
    columns, unit, on
        As in `streamstop.formats.table_layout.TableOptions`; "" infers them.

    Raises
    ------
    SourceError
        If its first line is neither a header with t, x, y and p nor numbers, or its lines do not
        say what the columns are.
    """

    format = "csv"
    notes: Sequence[str] = ()
    sensor_inferred = False

    def __init__(self, path: str, columns: str = "", unit: str = "", on: str = "") -> None:
        self.path = path
        self.simulated = False
        self.sensor: SensorSize | None = None
        options = TableOptions(columns, unit, on).checked(path)
        start = read_head(path, _START_BYTES, lambda head: _holds_head(head, bool(columns)))
        line, self._first = self._before_table(start)
        titles = line.lstrip(b"#%")
        self._separator = _separator(titles)
        cells = [cell.strip() for cell in titles.split(self._separator)]
        names: dict[str, str] | None = None
        unit_known = ""
        self._comma = self._separator != b"," and b"," in start[self._first :]
        if not _are(_DECIMAL, [_pointed(cell, self._comma) for cell in cells]):
            headed = [cell.decode(errors="replace").strip("\"'").partition("@") for cell in cells]
            titled = [name for name, _, _ in headed]
            sizes = {name: size for name, _, size in headed if size.isdecimal()}
            if sizes.keys() == {"x", "y"}:
                self.sensor, unit_known = SensorSize(int(sizes["x"]), int(sizes["y"])), "us"
            self._first += len(line) + 1
            names = find_columns(titled)
            if names is not None:
                self._at = [titled.index(names[column]) for column in "txyp"]
        if len(cells) < 4 or (
            names is None and not _are(_DECIMAL, [_pointed(cell, self._comma) for cell in cells])
        ):
            raise NoEventsError(
                "the first line is neither a header that names t, x, y and p nor four numbers: "
                f"{_shown(line)}: {path}"
            )
        self._width = len(cells)
        self._layout: TableLayout | None = None
        blocks, rows = self._places(start)
        self._decimal = self._comma or any(map(_FRACTION.search, map(_plain, blocks)))
        table = self._sampled(blocks)
        whole = rows is not None
        sample = [table[:, at] for at in (self._at if names is not None else range(self._width))]
        self._layout = find_layout(
            sample,
            rows,
            options,
            path,
            names=names,
            unit=unit_known,
            sensor=self.sensor,
            whole=whole,
        )
        if names is None:
            self._at = list(self._layout.order)
        self.notes = self._layout.notes

    def _before_table(self, start: bytes) -> tuple[bytes, int]:
        """The table's first line, and where it begins: after comments and the sensor's size."""
        at = len(start) - len(start.removeprefix(b"\xef\xbb\xbf"))
        while True:
            line = start[at:].partition(b"\n")[0]
            if size := _GEOMETRY.fullmatch(line):
                self.sensor = SensorSize(int(size[1]), int(size[2]))
            elif line.startswith(_COMMENTS) and not _names_columns(line):
                self.simulated |= line.split() == _SIMULATED.split()
            elif self.sensor is None and (size := _SIZE.fullmatch(line)):
                self.sensor = SensorSize(int(size[1]), int(size[2]))
            elif line.strip() or at >= len(start):
                return line, at
            at += len(line) + 1

    def _places(self, start: bytes) -> tuple[list[bytes], int | None]:
        """Complete lines from several places of the file, and the number of all (None: unknown)."""
        head = start[self._first :]
        with open_bytes(self.path) as data:
            size = data.size if data.seekable else None
            if size is None or size <= len(start):
                ended = size is not None
                block = head if ended else head[: head.rfind(b"\n") + 1]
                return [block], block.count(b"\n") + 1 if ended else None
            step = (size - self._first) // _PLACES
            blocks = [data.read_at(self._first + i * step, _PLACE_BYTES) for i in range(_PLACES)]
            blocks.append(data.read_at(max(size - _PLACE_BYTES, self._first), _PLACE_BYTES))
        inner = [block[block.find(b"\n") + 1 : block.rfind(b"\n") + 1] for block in blocks[1:]]
        blocks = [blocks[0][: blocks[0].rfind(b"\n") + 1], *inner]
        seen = sum(map(len, blocks))
        lines = sum(block.count(b"\n") for block in blocks)
        return blocks, (size - self._first) * lines // max(seen, 1)

    def _sampled(self, blocks: list[bytes]) -> NDArray[Any]:
        """The good lines among them, shape (n, width), at most SAMPLE_ROWS."""
        tables = [
            run.good for block in blocks for run in self._runs(block, 0) if run.good is not None
        ]
        kind = np.float64 if self._decimal else np.int64
        return np.concatenate([*tables, np.zeros((0, self._width), kind)])[:SAMPLE_ROWS]

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
        for good, group in groupby(self._runs(block, offset), lambda run: run.good is not None):
            if len(parts) == _MAX_PARTS:
                rest = block[next(group).first - offset :]
                return [*parts, self._mixed(rest, offset + len(block) - len(rest), damage)]
            runs = list(group)
            if good:
                events = self._events([run.good for run in runs if run.good is not None])
                parts.append(_Part(damage, events))
                damage = ()
            else:
                damage = (self._damage(runs, runs[-1].end - runs[0].first),)
        return [*parts, _Part(damage, empty_events())] if damage or not parts else parts

    def _mixed(self, block: bytes, offset: int, damage: tuple[Damage, ...]) -> _Part:
        """Lines of which too many are bad: one damaged region, then all events."""
        bad, tables, lost = [], [], 0
        for run in self._runs(block, offset):
            if run.good is None:
                bad.append(run)
            else:
                tables.append(run.good)
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
        cells = [_pointed(cell, self._comma) for cell in _plain(line).split(self._separator)]
        if len(cells) != self._width or not _are(_DECIMAL if self._decimal else _NUMBER, cells):
            return None
        if self._decimal:
            return self._decoded(np.array([[float(cell) for cell in cells]]))
        values = [int(cell) for cell in cells]
        return self._decoded(np.array([values], np.int64)) if max(values) < 1 << 63 else None

    def _decoded(self, table: NDArray[Any]) -> NDArray[Any] | None:
        """Events of a table, None where a row is none; before the layout is known, the table."""
        if self._layout is None or not len(table):
            return table
        rows = self._layout.rows(*(table[:, at] for at in self._at))
        return None if len(rows.bad) else rows.events

    def _fast(self, block: bytes) -> NDArray[Any] | None:
        """All lines at once, shape (n, width); None where any of them needs a closer look."""
        if self._separator is not None:
            block = block.replace(self._separator, b" ")
        block = _pointed(block, self._comma)
        if (_ODD_DECIMAL if self._decimal else _ODD).search(block):
            return None
        if not block:
            return np.zeros((0, self._width), np.int64)
        text = np.frombuffer(block, np.uint8)
        starts = (text > 0x20) & np.append(True, text[:-1] <= 0x20)
        ends = np.append(np.flatnonzero(text == 0x0A), len(text) - 1)
        numbers = np.diff(np.cumsum(starts)[ends], prepend=0)
        if not ((numbers == 0) | (numbers == self._width)).all():
            return None
        if not numbers.any():
            return np.zeros((0, self._width), np.int64)
        kind = np.float64 if self._decimal else np.int64
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # how numpy reports text that is not a number
            try:
                values: NDArray[Any] = np.fromstring(block, kind, sep=" ")
            except (DeprecationWarning, ValueError):
                return None
        if len(values) != numbers.sum():
            return None
        return self._decoded(values.reshape(-1, self._width))

    def _events(self, tables: list[NDArray[Any]]) -> Events:
        if not tables:
            return empty_events()
        return np.concatenate(tables)


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


def _holds_head(start: bytes, ordered: bool) -> bool:
    """Whether there are enough lines to say what the columns are.

    ordered : whether their order is known.
    """
    lines = [line for line in start.split(b"\n")[:-1] if not line.startswith(_COMMENTS)]
    ordered = ordered or _names_columns(lines[0] if lines else b"")
    ordered = ordered or any(map(_names_columns, start.split(b"\n")[:-1]))
    return len(lines) > (2 if ordered else _ENOUGH_LINES)


def _are(number: re.Pattern[bytes], cells: list[bytes]) -> bool:
    return all(number.match(_plain(cell).strip()) for cell in cells)


def _pointed(text: bytes, comma: bool) -> bytes:
    """Text with points for decimal commas, where there are any."""
    return text.replace(b",", b".") if comma else text


def _separator(line: bytes) -> bytes | None:
    return next((one for one in (b";", b"\t", b",") if one in line), None)


def _names_columns(line: bytes) -> bool:
    """Whether a comment is a header, as numpy's savetxt writes it."""
    titles = line.lstrip(b"#%")
    cells = titles.decode(errors="replace").split((_separator(titles) or b" ").decode())
    return find_columns([cell.strip().strip("\"'").partition("@")[0] for cell in cells]) is not None


def _shown(line: bytes) -> str:
    return repr(line[:60].decode(errors="replace"))


def _plain(text: bytes) -> bytes:
    """Replace words for polarity by numbers."""
    for word, number in _WORDS:
        text = text.replace(word, number)
    return text
