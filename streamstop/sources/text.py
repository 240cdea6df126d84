"""Events as text, one a line: .csv with a header or without.

Fields are apart by comma, semicolon, tab or space. A header names the columns, and the sensor where
faery wrote it (`t,x@346,y@260,on`); without one their order is `txyp` unless `columns` says it.
Values are whole numbers (times microseconds) or, for polarity, True and False; polarity is ON above
zero. A line that is none of that is damage and costs itself only. It reads two million lines a
second or so; keep long recordings in another format.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamstop.errors import SourceError
from streamstop.events import MAX_PACKET_EVENTS, Cursor, Damage, Events, Packet, SensorSize
from streamstop.sources.columns import column_order, events_from, find_columns
from streamstop.sources.recording import read_start

_BLOCK_BYTES = 1 << 19
_NUMBER = re.compile(rb"[-+]?\d{1,18}$")
_WORDS = ((b"True", b"1"), (b"False", b"0"), (b"true", b"1"), (b"false", b"0"))


class CsvRecording:
    """A .csv file of events; see `streamstop.sources.recording.Recording`.

    Parameters
    ----------
    path : the file.
    columns : order of the columns where there is no header.

    Raises
    ------
    SourceError
        If its first line is neither a header with t, x, y and p nor numbers.
    """

    format = "csv"
    simulated = False

    def __init__(self, path: str, columns: str = "txyp") -> None:
        self.path = path
        self.sensor: SensorSize | None = None
        start = read_start(path, _BLOCK_BYTES)
        mark = len(start) - len(start.removeprefix(b"\xef\xbb\xbf"))
        line = start[mark:].split(b"\n", 1)[0]
        self._separator = next((one for one in (b",", b";", b"\t") if one in line), None)
        cells = [cell.strip() for cell in line.split(self._separator)]
        self._first = mark
        names = list(column_order(columns, path))
        if not all(_NUMBER.match(_plain(cell)) for cell in cells):
            headed = [cell.decode(errors="replace").strip("\"'").partition("@") for cell in cells]
            names = [name for name, _, _ in headed]
            sizes = {name: size for name, _, size in headed if size.isdecimal()}
            if sizes.keys() == {"x", "y"}:
                self.sensor = SensorSize(int(sizes["x"]), int(sizes["y"]))
            self._first += len(line) + 1
        found = find_columns(names)
        if found is None or len(cells) < 4:
            shown = line[:60].decode(errors="replace")
            raise SourceError(
                "the first line is neither a header that names t, x, y and p nor whole numbers; "
                f"times are microseconds without a fraction: {shown!r}: {path}"
            )
        self._width = len(cells)
        self._at = [names.index(found[column]) for column in "txyp"]

    def packets(self, start: Cursor | None = None) -> Iterator[Packet]:
        """Packets from `start` on; see `Recording.packets`."""
        offset, index, t_us, skip = self._first, 0, 0, 0
        if start is not None and (start.offset or start.skip):
            offset, index, t_us, skip = start.offset, start.event, start.t_us, start.skip
        with Path(self.path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(offset)
            while block := file.read(_BLOCK_BYTES):
                end = block.rfind(b"\n") + 1
                if end and offset + len(block) < size:
                    block = block[:end]
                    file.seek(offset + end)
                following = offset + len(block)
                events, damage = self._parse(block, offset)
                for first in range(skip, max(len(events), 1), MAX_PACKET_EVENTS):
                    part = events[first : first + MAX_PACKET_EVENTS]
                    index += len(part)
                    t_us = int(part["t"][-1]) if len(part) else t_us
                    done = first + MAX_PACKET_EVENTS >= len(events)
                    at = Cursor(
                        self.path,
                        following if done else offset,
                        index,
                        t_us,
                        0 if done else first + len(part),
                    )
                    yield Packet(part, at, damage=damage)
                    damage = ()
                offset, skip = following, 0

    def _parse(self, block: bytes, offset: int) -> tuple[Events, tuple[Damage, ...]]:
        """The events of whole lines."""
        plain = _plain(block)
        table = self._fast(plain)
        if table is not None:
            return self._events(table), ()
        rows = []
        bad = 0
        where, why = offset, b""
        at = offset
        for line in block.split(b"\n"):
            cells = [cell.strip() for cell in _plain(line).split(self._separator)]
            if len(cells) == self._width and all(_NUMBER.match(cell) for cell in cells):
                rows.append([int(cell) for cell in cells])
            elif line.strip():
                where, why = (where, why) if bad else (at, line[:40])
                bad += len(line) + 1
            at += len(line) + 1
        table = np.array(rows, np.int64).reshape(-1, self._width)
        reason = f"lines that are no events, the first of them {why.decode(errors='replace')!r}"
        return self._events(table), (Damage(where, bad, reason, self.path),) if bad else ()

    def _fast(self, block: bytes) -> NDArray[np.int64] | None:
        """All lines at once, None where any is out of the ordinary."""
        if self._separator is not None:
            block = block.replace(self._separator, b" ")
        if re.search(rb"[^-+0-9 \t\r\n]", block):
            return None
        text = np.frombuffer(block, np.uint8)
        starts = (text > 0x20) & np.append(True, text[:-1] <= 0x20)
        ends = np.append(np.flatnonzero(text == 0x0A), len(text) - 1)
        numbers = np.diff(np.cumsum(starts)[ends], prepend=0)
        if not ((numbers == 0) | (numbers == self._width)).all():
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # how numpy tells of text that is no number
            try:
                values: NDArray[Any] = np.fromstring(block, np.int64, sep=" ")
            except (DeprecationWarning, ValueError):
                return None
        return values.reshape(-1, self._width) if len(values) == numbers.sum() else None

    def _events(self, table: NDArray[np.int64]) -> Events:
        t, x, y, p = (table[:, at] for at in self._at)
        return events_from(t, x, y, p)


def _plain(text: bytes) -> bytes:
    """Words for polarity made numbers."""
    for word, number in _WORDS:
        text = text.replace(word, number)
    return text
