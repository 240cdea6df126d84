"""Labels: segments of a stream, the track they form, and the CSV they live in on disk.

A segment is a labelled interval [start_us, end_us). On disk a track is a CSV with the columns of
the DVS-Gesture set: `class,startTime_usec,endTime_usec`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple


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
