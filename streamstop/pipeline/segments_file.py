"""Reads segments.csv: the predictions of a run, one row per segment.

Guarantees:

- Files are read as streams, in bounded memory.
- Two runs are compared only on segments that are the same in both files.
- Columns of an older version are returned under their names of this version.
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
"""Characters; a longer line is an error."""

WINDOW = 50
"""Segments per point of a curve of windowed accuracy."""

POINTS = 160
"""Largest number of points of a curve."""


class SegmentRow(NamedTuple):
    """A row of segments.csv: the segment, and whether its headline prediction was correct."""

    segment: int
    start_us: int
    end_us: int
    recording: str
    label: str
    right: bool


class SharedSegments(NamedTuple):
    """Counts of segments in both runs, in one only, and predicted correctly by one only."""

    both: int
    alone: int
    first_only: int
    second_only: int


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number of the line that each row ends on, and its text by column.

    Raises
    ------
    UsageError
        The file is damaged.
    OSError
        It cannot be read.
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
    """Yield the rows of a segments.csv, parsed.

    Raises
    ------
    UsageError
        The file is damaged.
    OSError
        It cannot be read.
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
            raise UsageError(f"line {line} is not a segment ({error}): {path}") from error


def windowed_accuracy(
    path: Path, at: Sequence[int], makers: Sequence[str] = ("headline",)
) -> dict[str, list[float | None]]:
    """Accuracy over the last `WINDOW` segments, at given numbers of segments.

    Parameters
    ----------
    path : Path
        A segments.csv.
    at : sequence of int
        Numbers of segments, ascending.
    makers : sequence of str
        Columns of predictions.

    Returns
    -------
    dict of str to list
        One value per number in `at`; None after the end of the run, and for columns that are not
        in the file.

    Raises
    ------
    UsageError
        The file is damaged.
    OSError
        It cannot be read.
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
    """Numbers of segments at which to draw curves of at most `most` segments."""
    points = min(POINTS, most)
    return sorted({round(1 + (most - 1) * i / max(points - 1, 1)) for i in range(points)})


def count_shared(first: Path, second: Path, *, by_time: bool) -> SharedSegments:
    """Compare two files, matching segments by start time, or by number.

    Parameters
    ----------
    first, second : Path
        Two segments.csv.
    by_time : bool
        Match by start time; else by number.

    Raises
    ------
    UsageError
        A file is damaged, or the same place in the stream holds different segments.
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
