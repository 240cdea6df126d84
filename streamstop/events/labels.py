"""Labels: segments of a stream, the track they form, and the CSV they live in on disk.

A segment is a labelled interval [start_us, end_us). On disk a track is a CSV with the columns of
the DVS-Gesture set: `class,startTime_usec,endTime_usec`. Reading promises intervals in time order
that do not overlap, each with its line for messages; what a class is called is taken as written.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from streamstop.errors import SourceError, UsageError

CLASS_NAMES = "gesture_mapping.csv"
"""Beside label files, as in the DVS-Gesture set: what to call classes that are numbers."""

CSV_COLUMNS = ("class", "startTime_usec", "endTime_usec")
MAX_CSV_BYTES = 1 << 26


class Segment(NamedTuple):
    """A labelled interval of the stream.

    start_us, end_us : half-open interval in stream time.
    label : index into the track's classes.
    recording : name of the recording it was cut from.
    recording_us : where it starts in that recording, from the recording's first event.
    """

    start_us: int
    end_us: int
    label: int
    recording: str = ""
    recording_us: int = 0


@dataclass(frozen=True)
class LabelTrack:
    """The segments of a stream in time order, and the names of their classes."""

    classes: tuple[str, ...]
    segments: Sequence[Segment]

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.segments)

    def __len__(self) -> int:
        return len(self.segments)


class LabelInterval(NamedTuple):
    """A labelled interval [start_us, end_us) of one recording, and the line it was read from."""

    start_us: int
    end_us: int
    name: str
    line: int = 0


def sorted_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Class names without repeats: whole numbers first, by value, then the others by name.

    >>> sorted_classes(["10", "9", "mug", "9"])
    ('9', '10', 'mug')
    """

    def key(name: str) -> tuple[int, int, str]:
        return (0, int(name), name) if name.isdecimal() else (1, 0, name)

    return tuple(sorted(set(names), key=key))


def is_label_csv(head: bytes) -> bool:
    """Whether a file that begins with `head` has the first line of a label CSV."""
    line = head.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0]
    return [cell.strip() for cell in line.split(b",")] == [name.encode() for name in CSV_COLUMNS]


def read_label_csv(
    path: str | Path, mend: Callable[[list[LabelInterval]], list[LabelInterval]] | None = None
) -> list[LabelInterval]:
    """The intervals of a label CSV, in time order.

    mend : sets right what is known to be wrong in it, before the intervals are held against each
        other.

    Raises
    ------
    SourceError
        If the file cannot be read.
    UsageError
        If it is no label CSV, a line cannot be understood, intervals overlap or there are none.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_CSV_BYTES + 1)
    except OSError as error:
        raise SourceError(f"the labels cannot be opened: {error.strerror}: {path}") from error
    if len(content) > MAX_CSV_BYTES:
        raise UsageError(f"label file larger than the {MAX_CSV_BYTES} bytes allowed: {path}")
    if not is_label_csv(content):
        raise UsageError(f"the first line of a label file is {','.join(CSV_COLUMNS)}: {path}")
    intervals = []
    rows = csv.reader(content.decode("utf-8-sig", errors="replace").splitlines())
    for line, row in enumerate(rows, start=1):
        cells = [cell.strip() for cell in row]
        if line == 1 or not any(cells):
            continue
        try:
            name, start, end = cells
            interval = LabelInterval(int(start), int(end), name, line)
        except ValueError:
            raise UsageError(
                f"line {line} is not a class and two whole numbers of microseconds: "
                f"{','.join(row)[:80]!r}: {path}"
            ) from None
        if not name or interval.start_us >= interval.end_us:
            why = "ends before it begins" if name else "names no class"
            raise UsageError(f"the interval of line {line} {why}: {','.join(row)[:80]!r}: {path}")
        intervals.append(interval)
    if not intervals:
        raise UsageError(f"the label file holds no interval: {path}")
    intervals.sort()
    if mend is not None:
        intervals = mend(intervals)
    for one, following in pairwise(intervals):
        if following.start_us < one.end_us:
            raise UsageError(
                f"the intervals of lines {one.line} and {following.line} overlap, from "
                f"{following.start_us} us to {min(one.end_us, following.end_us)} us: {path}"
            )
    return intervals


def apply_class_names(classes: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    """Classes that are numbers under the names that CLASS_NAMES in `folder` gives them, if any.

    A name comes with its number in front: "4 right_arm_clockwise". Raises UsageError where a line
    of the file is anything but a name and a number, under "action,label".
    """
    names = _class_names(folder / CLASS_NAMES)
    return tuple(names.get(one, one) for one in classes)


def _class_names(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    with path.open("rb") as file:
        text = file.read(MAX_CSV_BYTES).decode("utf-8-sig", errors="replace")
    names = {}
    for line, row in enumerate(csv.reader(text.splitlines()), start=1):
        cells = [cell.strip() for cell in row]
        if line == 1 and cells == ["action", "label"]:
            continue
        if len(cells) != 2 or not cells[0] or not cells[1].isdecimal():
            raise UsageError(f"line {line} is not a name and a number of a class: {path}")
        names[cells[1]] = f"{cells[1]} {cells[0]}"
    return names


def label_names(recording: Path) -> tuple[Path, Path]:
    """Where the label CSV of `rec.aedat4` may lie: `rec_labels.csv`, else `rec.csv`, beside it."""
    return recording.with_name(f"{recording.stem}_labels.csv"), recording.with_suffix(".csv")


def align_intervals(
    intervals: Sequence[LabelInterval], first_us: int, last_us: int, path: str | Path
) -> list[LabelInterval]:
    """Label intervals in a recording's own time.

    Times are the recording's own where every interval lies at least by half within the recording;
    else they count from its first event, where that holds. An interval may begin a little before
    the first event or end after the last: labels, too, tell that time went on.

    Parameters
    ----------
    intervals : as read, in time order.
    first_us, last_us : times of the recording's first and last event.
    path : the label file, for messages.

    Raises
    ------
    UsageError
        If the intervals fit in neither way.
    """
    for shift in (0, first_us):
        moved = [
            one._replace(start_us=one.start_us + shift, end_us=one.end_us + shift)
            for one in intervals
        ]
        inside = (min(one.end_us, last_us + 1) - max(one.start_us, first_us) for one in moved)
        if all(
            2 * shared >= one.end_us - one.start_us
            for shared, one in zip(inside, moved, strict=True)
        ):
            return moved
    lines = f"{len(intervals)} intervals from {intervals[0].start_us} to {intervals[-1].end_us} us"
    raise UsageError(
        f"the labels do not fit the recording: {lines}, but its events lie from {first_us} to "
        f"{last_us} us ({last_us - first_us} us long), and neither the recording's own times nor "
        f"times from its first event bring every interval inside; are they of another recording? "
        f"{path}"
    )
