"""Cuts a recording into the labelled segments of a stream.

Guarantees:

- Every event of the recording is in one segment, or counted by the cause for which it is in none.
- A segment can be read on its own, in bounded memory, without what lies before it.

Events are assigned in the order of arrival: an event belongs to the segment that contains the
latest time seen so far. One that comes late stays with its neighbours, or is dropped as
`out_of_order` if its time lies before its segment. Segments without events are not made.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamstop.errors import DamageError, UsageError
from streamstop.events.labels import (
    LabelInterval,
    LabelTrack,
    Segment,
    apply_class_names,
    sorted_classes,
)
from streamstop.events.packet import COMMON_SENSORS, Cursor, Damage, Packet, SensorSize
from streamstop.formats.base import Recording, read_packets

MAX_DAMAGE = 64
"""Damaged regions reported one by one per recording; further ones are merged into the last."""

MAX_SLICES = 1 << 20
"""More segments per recording indicate a mistake in `length_us`, or in the recording."""


class Block(NamedTuple):
    """The start of a packet in the recording, and the latest time before it.

    For the first packet that time is the first event's.
    """

    cursor: Cursor
    latest_us: int


@dataclass
class RecordingScan:
    """The result of one pass over a recording.

    Attributes
    ----------
    first_us, last_us
        Time of the first event, latest time of any.
    events
        Number of events.
    dropped, damage
        As the recording's reader reports them.
    blocks
        The packets with events.
    columns, rows
        Number of events by x and by y, shape (65536,); None if not asked for.
    """

    first_us: int = 0
    last_us: int = 0
    events: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    damage: list[Damage] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    columns: NDArray[np.int64] | None = None
    rows: NDArray[np.int64] | None = None

    def outside(self, sensor: SensorSize) -> int:
        """Number of events outside a sensor; those outside in both directions count twice."""
        assert self.columns is not None
        assert self.rows is not None
        return int(self.columns[sensor.width :].sum() + self.rows[sensor.height :].sum())


def scan(recording: Recording, *, coordinates: bool, strict: bool = False) -> RecordingScan:
    """Read a recording once from start to end.

    Parameters
    ----------
    recording
        What is read.
    coordinates
        Count events by column and row, too.
    strict
        Raise an error on damage.

    Raises
    ------
    DamageError
        At the first damage, if `strict`.
    """
    found = RecordingScan()
    if coordinates:
        found.columns, found.rows = np.zeros((2, 1 << 16), np.int64)
    cursor = Cursor(recording.path)
    for packet in read_packets(recording):
        found.dropped.update(packet.dropped)
        for damage in packet.damage:
            _note(found.damage, damage, strict)
        if len(packet.events):
            t = packet.events["t"]
            if not found.events:
                found.first_us = found.last_us = int(t[0])
            found.blocks.append(Block(cursor, found.last_us))
            found.last_us = max(found.last_us, int(t.max()))
            found.events += len(t)
            if found.columns is not None and found.rows is not None:
                found.columns += np.bincount(packet.events["x"], minlength=1 << 16)
                found.rows += np.bincount(packet.events["y"], minlength=1 << 16)
        cursor = packet.cursor
    return found


def raise_on_damage(damage: Damage) -> None:
    """Raise the error that `strict` asks for."""
    raise DamageError(
        f"damaged at byte {damage.offset}, {damage.lost_bytes} bytes lost: {damage.reason}; "
        "under --strict, and in training, damaged input is refused (streamstop convert keeps what "
        f"can be read): {damage.path}"
    )


def _note(noted: list[Damage], damage: Damage, strict: bool) -> None:
    if strict:
        raise_on_damage(damage)
    if len(noted) < MAX_DAMAGE:
        noted.append(damage)
        return
    last = noted[-1]
    lost = last.lost_bytes + damage.lost_bytes
    noted[-1] = Damage(last.offset, lost, "further damage, merged", last.path)


def most_common_sensor(found: RecordingScan) -> SensorSize:
    """The smallest common sensor that holds all events but 1 in 1000, which may be damage."""
    for sensor in COMMON_SENSORS:
        if found.outside(sensor) * 1000 <= found.events:
            return sensor
    assert found.columns is not None
    assert found.rows is not None
    return SensorSize(int(found.columns.nonzero()[0][-1]) + 1, int(found.rows.nonzero()[0][-1]) + 1)


class SegmentSlice(NamedTuple):
    """A labelled part of a recording: [start_us, end_us) in the recording's own time.

    Attributes
    ----------
    name
        Of its class.
    events
        Number of events in it.
    block
        Where reading it starts.
    """

    start_us: int
    end_us: int
    name: str
    events: int
    block: Block


def cut_intervals(intervals: Sequence[LabelInterval], length_us: int) -> list[LabelInterval]:
    """Cut each interval into as many parts of `length_us` as it holds, without the rest.

    0 leaves the intervals as they are.
    """
    if not length_us:
        return list(intervals)
    count = sum((one.end_us - one.start_us) // length_us for one in intervals)
    if count > MAX_SLICES:
        raise UsageError(
            f"segments.length_us = {length_us} would cut {count} segments from one recording, more "
            f"than the {MAX_SLICES} allowed; is the length too small, or are its times damaged?"
        )
    return [
        one._replace(start_us=start, end_us=start + length_us)
        for one in intervals
        for start in range(one.start_us, one.end_us - length_us + 1, length_us)
    ]


def label_track(
    name: str,
    labels: str,
    intervals: Sequence[LabelInterval],
    first_us: int,
    length_us: int,
    limit: int = 0,
) -> LabelTrack:
    """The label track of a single stream.

    Parameters
    ----------
    name
        Of the stream, for the segments.
    labels
        The label CSV; names of classes may lie beside it.
    intervals
        In the stream's own time, in time order, without overlap.
    first_us
        Start of the stream.
    length_us
        See `cut_intervals`.
    limit
        Maximum number of segments, 0 for all.

    Raises
    ------
    UsageError
        If no segment is left.
    """
    wanted = cut_intervals(intervals, length_us)[: limit or None]
    if not wanted:
        raise UsageError(
            f"no segment is left: every labelled interval is shorter than segments.length_us = "
            f"{length_us}: {labels}"
        )
    classes = sorted_classes(one.name for one in wanted)
    segments = [
        Segment(*one[:2], classes.index(one.name), name, one.start_us - first_us) for one in wanted
    ]
    return LabelTrack(apply_class_names(classes, Path(labels).parent), segments)


def cut_segments(
    recording: Recording, found: RecordingScan, intervals: Sequence[LabelInterval], length_us: int
) -> tuple[list[SegmentSlice], Counter[str]]:
    """Cut a recording into segments; the segments with events, and the other events by cause.

    Parameters
    ----------
    recording
        What is cut.
    found
        Its scan.
    intervals
        Labelled intervals in the recording's own time, in time order, without overlap.
    length_us
        Length of a segment; 0 makes one of each interval.

    Returns
    -------
    slices : list[SegmentSlice]
        In time order.
    dropped : Counter[str]
        "unlabelled_gap" (in no interval) and "segment_tail" (in an interval, after its last whole
        segment); the causes that the scan reports are not included.
    """
    wanted = cut_intervals(intervals, length_us)
    if len(wanted) == 1 and (wanted[0].start_us, wanted[0].end_us) == (
        found.first_us,
        found.last_us + 1,
    ):
        whole = wanted[0]
        return [SegmentSlice(*whole[:3], found.events, found.blocks[0])], Counter()
    in_slices = _count(recording, wanted)
    in_intervals = _count(recording, intervals) if length_us else in_slices
    latest = [block.latest_us for block in found.blocks]
    slices = []
    for one, n in zip(wanted, in_slices, strict=True):
        if n:
            # It starts in the last block before which no time had reached its start.
            block = found.blocks[max(bisect_right(latest, one.start_us - 1) - 1, 0)]
            slices.append(SegmentSlice(*one[:3], int(n), block))
    dropped = Counter(
        unlabelled_gap=found.events - int(in_intervals.sum()),
        segment_tail=int(in_intervals.sum()) - int(in_slices.sum()),
    )
    return slices, +dropped


def _count(recording: Recording, intervals: Sequence[LabelInterval]) -> NDArray[np.int64]:
    """Number of events per interval, by the latest time so far; intervals are disjoint."""
    if not intervals:
        return np.zeros(0, np.int64)
    # Ranges between and around the intervals: every second one is an interval.
    edges = np.array([edge for one in intervals for edge in one[:2]], np.int64)
    counts = np.zeros(len(edges) + 1, np.int64)
    latest_us: int | None = None
    for packet in read_packets(recording):
        if len(packet.events):
            latest = _latest(packet.events["t"], latest_us)
            latest_us = int(latest[-1])
            bounds = np.searchsorted(latest, edges, side="left")
            counts += np.diff(bounds, prepend=0, append=len(latest))
    return counts[1::2]


def _latest(t: NDArray[Any], before_us: int | None) -> NDArray[np.int64]:
    """The latest time so far at each event, shape (n,)."""
    latest = np.maximum.accumulate(t)
    return latest if before_us is None else np.maximum(latest, before_us)


def read_slice(recording: Recording, part: SegmentSlice) -> Iterator[Packet]:
    """The events of one segment, in packets, with times as in the recording.

    Events whose time lies before the segment are dropped, cause "out_of_order". Damage is not
    reported again: the scan did.
    """
    latest_us = part.block.latest_us
    for packet in read_packets(recording, part.block.cursor):
        events = packet.events
        if not len(events):
            continue
        latest = _latest(events["t"], latest_us)
        latest_us = int(latest[-1])
        first, last = np.searchsorted(latest, (part.start_us, part.end_us), side="left")
        events = events[first:last]
        early = events["t"] < part.start_us
        if early.any():
            out = int(np.count_nonzero(early))
            yield Packet(events[~early], packet.cursor, dropped={"out_of_order": out})
        elif len(events):
            yield Packet(events, packet.cursor)
        if latest_us >= part.end_us:
            return
