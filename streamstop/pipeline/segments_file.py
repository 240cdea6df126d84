"""The decisions of runs, segment by segment, as their segments.csv has them.

It promises to read a file as a stream, whatever its length, and to bring together only segments
that are the same in both files. It knows whether a decision was right, not what made it.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from streamstop.errors import UsageError
from streamstop.pipeline.summary_file import rename_makers

MAX_LINE = 1 << 16
"""Characters of a line of segments.csv; a longer one is none of ours."""

WINDOW = 50
"""Segments that a point of a curve speaks of."""

POINTS = 160
"""Points of a curve."""


class SegmentRow(NamedTuple):
    """A row of segments.csv."""

    segment: int
    start_us: int
    end_us: int
    recording: str
    label: str
    right: bool


class SharedSegments(NamedTuple):
    """Segments that two runs share, those in one alone, and those that one alone decided right."""

    both: int
    alone: int
    first_only: int
    second_only: int


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows by column, as text, with the lines that they end on.

    Raises UsageError where the file is damaged, OSError where it cannot be read.
    """
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        reader = csv.DictReader(_lines(file.readline, path))
        try:
            old = "headline" not in (reader.fieldnames or ())
            for row in reader:
                yield reader.line_num, rename_makers(row) if old else row
        except csv.Error as error:
            raise UsageError(f"line {reader.line_num} cannot be read ({error}): {path}") from error


def read_segments(path: Path) -> Iterator[SegmentRow]:
    """The rows of a segments.csv, as a stream.

    Raises UsageError where it is damaged, OSError where it cannot be read.
    """
    for line, row in read_rows(path):
        try:
            yield SegmentRow(
                int(row["segment"]),
                int(row["start_us"]),
                int(row["end_us"]),
                row["recording"],
                row["label"],
                row["headline"] == row["label"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"line {line} is no segment's ({error}): {path}") from error


def windowed_accuracy(
    path: Path, at: Sequence[int], makers: Sequence[str] = ("headline",)
) -> dict[str, list[float | None]]:
    """Accuracy of decision makers over the last `WINDOW` segments, at numbers of segments.

    None past the run's end, and all along for a maker that is not in the file. Raises UsageError
    where the file is damaged, OSError where it cannot be read.
    """
    hits: dict[str, deque[bool]] = {maker: deque(maxlen=WINDOW) for maker in makers}
    out: dict[str, list[float | None]] = {maker: [] for maker in makers}
    place = 0
    for nth, (_, row) in enumerate(read_rows(path), start=1):
        for maker in makers:
            if row.get(maker) is not None:
                hits[maker].append(row[maker] == row.get("label"))
        if place < len(at) and at[place] == nth:
            place += 1
            for maker, own in hits.items():
                out[maker].append(sum(own) / len(own) if own else None)
    return {maker: own + [None] * (len(at) - len(own)) for maker, own in out.items()}


def sample_points(most: int) -> list[int]:
    """Numbers of segments that curves of at most so many have points at."""
    points = min(POINTS, most)
    return sorted({round(1 + (most - 1) * i / max(points - 1, 1)) for i in range(points)})


def count_shared(first: Path, second: Path, *, by_time: bool) -> SharedSegments:
    """Walk two files side by side, matching segments by when they begin, or by number.

    Raises UsageError where the same place in the stream holds different segments.
    """
    ours, theirs = read_segments(first), read_segments(second)
    a, b = next(ours, None), next(theirs, None)
    both = alone = first_only = second_only = 0
    while a is not None or b is not None:
        if a is None or b is None or _place(a, by_time) != _place(b, by_time):
            alone += 1
            if b is None or (a is not None and _place(a, by_time) < _place(b, by_time)):
                a = next(ours, None)
            else:
                b = next(theirs, None)
            continue
        if (a.recording, a.label) != (b.recording, b.label) or (by_time and a.end_us != b.end_us):
            raise UsageError(
                f"not the same stream: segment {a.segment} is {a.label} of {a.recording} in one, "
                f"{b.label} of {b.recording} in the other"
            )
        both += 1
        first_only += a.right and not b.right
        second_only += b.right and not a.right
        a, b = next(ours, None), next(theirs, None)
    return SharedSegments(both, alone, first_only, second_only)


def _place(row: SegmentRow, by_time: bool) -> int:
    return row.start_us if by_time else row.segment


def _lines(readline: Callable[[int], str], path: Path) -> Iterator[str]:
    while line := readline(MAX_LINE):
        if len(line) == MAX_LINE and not line.endswith("\n"):
            raise UsageError(f"a line is longer than {MAX_LINE} characters: {path}")
        yield line
