"""Reads what a run wrote line by line, and keeps a bounded part of it however long the run was.

Promises: at most `MAX_POINTS` records of `metrics.jsonl` are kept, the first and the last readable
ones always among them, evenly spaced between; the same file gives the same records; of
`segments.csv` only counts are kept. Does not promise that a spike between two kept records is
seen: the report says how many of how many records are drawn.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

from streamstop.errors import UsageError
from streamstop.experiments.significance import sign_test
from streamstop.pipeline.segments_file import rows
from streamstop.pipeline.summary_file import number
from streamstop.report.names import HEADLINE

T = TypeVar("T")

MAX_POINTS = 512
"""Records kept of a run: more than a screen has columns to tell apart."""

MAX_LINE_BYTES = 1 << 20
"""A longer line of metrics.jsonl is no record of ours: it is passed over and counted."""

Values = tuple[float | None, ...]


class Decimator(Generic[T]):
    """Keeps at most `limit` of a stream's items, evenly spaced, the first and the last among them.

    While the stream is short everything is kept; each time the store fills, every second item
    leaves it and from then on half as many enter. `parse` is called only for an item that would be
    kept; one for which it gives None is counted as unreadable and leaves a hole.

    >>> kept = Decimator(str, limit=4)
    >>> for n in range(10):
    ...     kept.offer(n)
    >>> kept.items()
    ['0', '4', '8', '9']
    """

    def __init__(self, parse: Callable[[Any], T | None], *, limit: int = MAX_POINTS) -> None:
        self.parse = parse
        self.limit = limit
        self.seen = 0
        self.unreadable = 0
        self._stride = 1
        self._kept: list[tuple[int, T]] = []
        self._newest: deque[tuple[int, Any]] = deque(maxlen=2)

    def offer(self, raw: Any) -> None:
        """Take the next item of the stream."""
        index, self.seen = self.seen, self.seen + 1
        self._newest.append((index, raw))
        if index % self._stride:
            return
        item = self.parse(raw)
        if item is None:
            self.unreadable += 1
        else:
            self._kept.append((index, item))
        # Places are counted, not items, so that holes do not move what is kept.
        if index // self._stride + 1 >= self.limit:
            self._stride *= 2
            self._kept = [pair for pair in self._kept if pair[0] % self._stride == 0]

    def items(self) -> list[T]:
        """What was kept, in order. A killed run cuts its last line short: then the one before."""
        kept = [item for _, item in self._kept]
        for index, raw in reversed(self._newest):
            if self._kept and index <= self._kept[-1][0]:
                break
            last = self.parse(raw)
            if last is not None:
                return [*kept, last]
            self.unreadable += index % self._stride != 0
        return kept


@dataclass(frozen=True, slots=True)
class LayerCurves:
    """One layer over the run; each tuple is parallel to `Curves.x`."""

    name: str
    firing_rate: Values
    threshold: Values
    threshold_sd: Values
    leak: Values


@dataclass(frozen=True, slots=True)
class Curves:
    """The drawn part of metrics.jsonl.

    x : where each kept record stands: segments seen, or seconds of stream time.
    x_label : which of the two, in words.
    accuracy : name -> values, in the order the records have them.
    records : readable records the run wrote; `len(x)` of them are kept.
    unreadable : lines passed over (cut off, not JSON, too long), as far as they were looked at.
    """

    x: tuple[float, ...] = ()
    x_label: str = "segments seen"
    accuracy: tuple[tuple[str, Values], ...] = ()
    loss: Values = ()
    layers: tuple[LayerCurves, ...] = ()
    records: int = 0
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class WindowedAccuracy:
    """Everyone's accuracy over the last `window` segments, as the stream went by.

    x : segments seen.  accuracy : name -> values, parallel to x.
    """

    window: int = 0
    x: tuple[float, ...] = ()
    accuracy: tuple[tuple[str, Values], ...] = ()


@dataclass(frozen=True, slots=True)
class Paired:
    """The learner and one baseline on the same segments: who was right where only one was."""

    learner_only: int
    baseline_only: int

    def p_value(self) -> float:
        """Two-sided sign test of "neither is better", segments taken as independent."""
        return sign_test(self.learner_only, self.baseline_only)


def read_curves(path: Path, *, bin_us: int | None = None) -> Curves:
    """The curves of a run from its metrics.jsonl, read as a stream.

    bin_us : length of a bin in us; places the origin of stream time when nothing has labels.
    """
    kept: Decimator[dict[str, Any]] = Decimator(_record)
    too_long = 0
    with path.open("rb") as file:
        for line in _lines(file):
            if line is None:
                too_long += 1
            elif line.strip():
                kept.offer(line)
    records = kept.items()
    x, x_label = _axis(records, bin_us)
    accuracies = [_table(r.get("accuracy")) for r in records]
    layers = [_table(r.get("layers")) for r in records]
    return Curves(
        x=x,
        x_label=x_label,
        accuracy=tuple((k, tuple(number(a.get(k)) for a in accuracies)) for k in _keys(accuracies)),
        loss=tuple(number(r.get("loss")) for r in records),
        layers=tuple(_layer(name, layers) for name in _keys(layers)),
        records=kept.seen,
        unreadable=kept.unreadable + too_long,
    )


def read_paired(path: Path, baselines: tuple[str, ...]) -> dict[str, Paired]:
    """Per baseline, on how many segments it and the learner differ, from segments.csv."""
    wins: Counter[str] = Counter()
    losses: Counter[str] = Counter()
    present: list[str] = []
    try:
        for _, row in rows(path):
            if not (label := row.get("label")):
                continue
            present = present or [name for name in baselines if name in row]
            right = row.get(HEADLINE) == label
            for name in present:
                rival = row.get(name) == label
                wins[name] += right and not rival
                losses[name] += rival and not right
    except UsageError:
        return {}
    return {name: Paired(wins[name], losses[name]) for name in present}


def read_windowed(path: Path, makers: tuple[str, ...], window: int) -> WindowedAccuracy:
    """Windowed accuracies from segments.csv, whose rows are in the order in which they were scored.

    None until half a window was seen, then over what was seen; no more than `window` rows are kept.
    """
    last: deque[tuple[bool, ...]] = deque(maxlen=window)
    kept: Decimator[tuple[float, Values]] = Decimator(lambda item: item)
    present: tuple[str, ...] = ()
    hits: list[int] = []
    try:
        for _, row in rows(path):
            if not (label := row.get("label")):
                continue
            present = present or tuple(name for name in makers if name in row)
            right = tuple(row.get(name) == label for name in present)
            gone = last[0] if len(last) == window else (False,) * len(present)
            hits = hits or [0] * len(present)
            hits = [n + new - old for n, new, old in zip(hits, right, gone, strict=True)]
            last.append(right)
            enough = 2 * len(last) >= window
            values = tuple(n / len(last) if enough else None for n in hits)
            kept.offer((float(kept.seen + 1), values))
    except UsageError:
        return WindowedAccuracy()
    found = kept.items()
    columns = (tuple(values[k] for _, values in found) for k in range(len(present)))
    return WindowedAccuracy(
        window, tuple(x for x, _ in found), tuple(zip(present, columns, strict=True))
    )


def _lines(file: IO[bytes]) -> Iterator[bytes | None]:
    """Lines of a file; None in place of one that is longer than `MAX_LINE_BYTES`."""
    while line := file.readline(MAX_LINE_BYTES):
        if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            while (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
            yield None
        else:
            yield line


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _axis(records: list[dict[str, Any]], bin_us: int | None) -> tuple[tuple[float, ...], str]:
    """Segments where the run counted them, else seconds of stream time, else a count of records."""
    segments = [number(r.get("segment")) for r in records]
    if records and all(s is not None for s in segments):
        return tuple(s + 1 for s in segments if s is not None), "segments seen"
    times = [number(r.get("t_us")) for r in records]
    if records and all(t is not None for t in times):
        known = [t for t in times if t is not None]
        first_bin = number(records[0].get("bin"))
        origin = known[0] - (first_bin or 0.0) * (bin_us or 0)
        return tuple((t - origin) / 1e6 for t in known), "stream time (s)"
    return tuple(float(n) for n in range(len(records))), "records"


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _keys(tables: list[Mapping[str, Any]]) -> list[str]:
    """All keys in order of first appearance."""
    return list(dict.fromkeys(key for table in tables for key in table))


def _layer(name: str, layers: list[Mapping[str, Any]]) -> LayerCurves:
    rows = [_table(record.get(name)) for record in layers]

    def column(key: str) -> Values:
        return tuple(number(row.get(key)) for row in rows)

    return LayerCurves(
        name, column("firing_rate"), column("threshold"), column("threshold_sd"), column("leak")
    )
