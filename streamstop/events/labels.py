"""Labels: segments of a stream, label tracks, and what label files are called.

A segment is a labelled interval [start_us, end_us). On disk a track is a CSV with the columns of
DVS-Gesture: `class,startTime_usec,endTime_usec`; `streamstop.events.label_table` reads others, too.

Guarantees:

- Class names are kept as written.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from streamstop.errors import UsageError

CLASS_NAMES = "gesture_mapping.csv"
"""A file next to label files, as in DVS-Gesture, with names of classes that are numbers."""

CSV_COLUMNS = ("class", "startTime_usec", "endTime_usec")
MAX_CSV_BYTES = 1 << 26


class Segment(NamedTuple):
    """A labelled interval of the stream.

    Attributes
    ----------
    start_us, end_us
        Half-open interval in stream time.
    label
        Index into the track's classes.
    recording
        Name of the recording it was cut from.
    recording_us
        Where it starts in that recording, from the recording's first event.
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
    """Class names without repeats: whole numbers first, by value, then all remaining by name.

    Examples
    --------
    >>> sorted_classes(["10", "9", "mug", "9"])
    ('9', '10', 'mug')
    """

    def key(name: str) -> tuple[int, int, str]:
        return (0, int(name), name) if name.isdecimal() else (1, 0, name)

    return tuple(sorted(set(names), key=key))


def is_label_csv(head: bytes) -> bool:
    """Whether a file that begins with `head` has the documented first line of a label CSV.

    Only this header tells labels from events or any other table, whatever the file is called.
    """
    line = head.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0]
    return [cell.strip() for cell in line.split(b",")] == [name.encode() for name in CSV_COLUMNS]


def apply_class_names(classes: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    """Replace numeric classes by the names in CLASS_NAMES in `folder`, where there are any.

    A name follows its number: "4 right_arm_clockwise".

    Raises
    ------
    UsageError
        A line of the file, below "action,label", is not a name and a number.
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
    """Possible label files of `rec.aedat4`, in its folder: `rec_labels.csv`, else `rec.csv`."""
    return recording.with_name(f"{recording.stem}_labels.csv"), recording.with_suffix(".csv")
