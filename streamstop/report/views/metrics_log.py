"""Reads the log files of a run line by line and keeps a bounded number of points.

Guarantees:
- At most `MAX_POINTS` points per curve, evenly spaced, including the first and the last readable.
- The same file gives the same points.
- Of segments.csv only counts and windowed accuracies are kept.

Does not:
- Show a spike between two kept points; the report states how many records are drawn.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

from streamstop.errors import UsageError
from streamstop.experiments.significance import mcnemar_test
from streamstop.pipeline.segments_file import read_rows
from streamstop.pipeline.summary_file import number, rename_makers
from streamstop.report.names import HEADLINE

T = TypeVar("T")

MAX_POINTS = 512
"""Points kept per curve: more than the columns of a screen."""

MAX_LINE_BYTES = 1 << 20
"""A longer line of metrics.jsonl is skipped and counted as unreadable."""

Values = tuple[float | None, ...]


class Decimator(Generic[T]):
    """Keeps at most `limit` items of a stream, evenly spaced, including the first and the last.

    Each time the store is full, every second item is removed and the stride doubles. `parse` is
    called only for items that would be kept; None from it counts as unreadable and leaves a gap.

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
        """Add the next item of the stream."""
        index, self.seen = self.seen, self.seen + 1
        self._newest.append((index, raw))
        if index % self._stride:
            return
        item = self.parse(raw)
        if item is None:
            self.unreadable += 1
        else:
            self._kept.append((index, item))
        # Positions are counted, not items, so that gaps do not shift what is kept.
        if index // self._stride + 1 >= self.limit:
            self._stride *= 2
            self._kept = [pair for pair in self._kept if pair[0] % self._stride == 0]

    def items(self) -> list[T]:
        """The kept items, in order; the last readable one stands in for a cut-off last line."""
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
    """Curves of one layer; each tuple is parallel to `Curves.x`."""

    name: str
    firing_rate: Values
    threshold: Values
    threshold_sd: Values
    leak: Values


@dataclass(frozen=True, slots=True)
class Curves:
    """The curves of metrics.jsonl.

    x : position of each kept record: segments seen, or seconds of stream time.
    x_label : name of that axis.
    accuracy : (name, values), in the order of the records.
    records : records that the run wrote; `len(x)` of them are kept.
    unreadable : lines skipped (cut off, not JSON, too long), of those that were parsed.
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
    """Accuracy of every decision maker over the last `window` segments.

    x : segments seen.  accuracy : (key, values parallel to x).
    """

    window: int = 0
    x: tuple[float, ...] = ()
    accuracy: tuple[tuple[str, Values], ...] = ()


@dataclass(frozen=True, slots=True)
class Paired:
    """The learner and one baseline on the same segments: how often exactly one was correct."""

    learner_only: int
    baseline_only: int

    def p_value(self) -> float:
        """Two-sided sign test of equal accuracy; treats segments as independent."""
        return mcnemar_test(self.learner_only, self.baseline_only)


def read_curves(path: Path, *, bin_us: int | None = None) -> Curves:
    """Read the curves of a run from its metrics.jsonl, as a stream.

    bin_us : length of a bin in us; locates time zero of a stream without labels.
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
    accuracies = [rename_makers(_table(r.get("accuracy"))) for r in records]
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
    """Per baseline, count the segments where exactly one of it and the learner is correct."""
    wins: Counter[str] = Counter()
    losses: Counter[str] = Counter()
    present: list[str] = []
    try:
        for _, row in read_rows(path):
            if not (label := row.get("label")):
                continue
            present = present or [name for name in baselines if name in row]
            right = row.get(HEADLINE) == label
            for name in present:
                theirs = row.get(name) == label
                wins[name] += right and not theirs
                losses[name] += theirs and not right
    except UsageError:
        return {}
    return {name: Paired(wins[name], losses[name]) for name in present}


def read_windowed(path: Path, makers: tuple[str, ...], window: int) -> WindowedAccuracy:
    """Read windowed accuracies from segments.csv, whose rows are in the order of scoring.

    None until half a window was scored, then over the segments so far. At most `window` rows are
    kept in memory.
    """
    last: deque[tuple[bool, ...]] = deque(maxlen=window)
    kept: Decimator[tuple[float, Values]] = Decimator(lambda item: item)
    present: tuple[str, ...] = ()
    hits: list[int] = []
    try:
        for _, row in read_rows(path):
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
    """Lines of a file; None in place of a line longer than `MAX_LINE_BYTES`."""
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
    """Segments where the run counted them, else seconds of stream time, else records."""
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


def _keys(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    """All keys, in order of first appearance."""
    return list(dict.fromkeys(key for table in tables for key in table))


def _layer(name: str, layers: list[Mapping[str, Any]]) -> LayerCurves:
    rows = [_table(record.get(name)) for record in layers]

    def column(key: str) -> Values:
        return tuple(number(row.get(key)) for row in rows)

    return LayerCurves(
        name, column("firing_rate"), column("threshold"), column("threshold_sd"), column("leak")
    )
