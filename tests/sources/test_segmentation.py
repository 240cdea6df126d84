"""Recordings scanned, cut into labelled segments, and read segment by segment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pytest
from helpers.event_files import Whole, random_events, same
from hypothesis import given
from hypothesis import strategies as st

from streamstop.errors import DamageError, UsageError
from streamstop.events.labels import LabelInterval
from streamstop.events.packet import Cursor, Damage, Events, Packet, SensorSize, make_events
from streamstop.sources import segmentation
from streamstop.sources.segmentation import (
    MAX_DAMAGE,
    cut_intervals,
    cut_segments,
    label_track,
    most_common_sensor,
    raise_on_damage,
    read_slice,
    scan,
)


class Recorded:
    """A recording in memory, in packets of `size` events; counts the packets it yields."""

    path, format, simulated = "memory", "memory", True
    sensor: SensorSize | None = None

    def __init__(self, events: Events, size: int = 7, damage: Sequence[Damage] = ()) -> None:
        self.events, self.size, self.damage = events, size, damage
        self.yielded = 0

    def packets(self, start: Cursor | None = None) -> Iterator[Packet]:
        at = start.event if start is not None else 0
        for first in range(at, len(self.events), self.size):
            part = self.events[first : first + self.size]
            self.yielded += 1
            lost = tuple(self.damage) if not first else ()
            cursor = Cursor(self.path, 0, first + len(part), int(part["t"][-1]))
            yield Packet(part, cursor, damage=lost)


def at_times(*t: int) -> Events:
    zeros = np.zeros(len(t), np.int64)
    return make_events(np.array(t), zeros, zeros, zeros > 0)


def test_a_survey_counts_times_and_places() -> None:
    events = make_events(
        np.array([5, 9, 7]), np.array([0, 3, 3]), np.array([1, 1, 2]), np.ones(3, bool)
    )
    found = scan(Recorded(events, size=2), coordinates=True)
    assert (found.first_us, found.last_us, found.events) == (5, 9, 3)
    assert found.columns is not None and found.columns[[0, 3]].tolist() == [1, 2]
    assert found.rows is not None and found.rows[[1, 2]].tolist() == [2, 1]
    assert found.outside(SensorSize(3, 2)) == 3  # two by x, of which one by y too
    assert scan(Recorded(events), coordinates=False).columns is None


def test_damage_beyond_the_cap_is_added_up() -> None:
    damage = [Damage(i, 10, "bad", "memory") for i in range(MAX_DAMAGE + 6)]
    found = scan(Recorded(at_times(1), damage=damage), coordinates=False)
    assert len(found.damage) == MAX_DAMAGE
    assert sum(one.lost_bytes for one in found.damage) == 10 * len(damage)


def test_strict_stops_at_the_first_damage() -> None:
    bad = Damage(17, 3, "bad checksum", "memory")
    with pytest.raises(DamageError, match="at byte 17, 3 bytes lost: bad checksum"):
        scan(Recorded(at_times(1), damage=[bad]), coordinates=False, strict=True)
    with pytest.raises(DamageError, match=r"memory$"):
        raise_on_damage(bad)


@pytest.mark.parametrize(
    ("x", "y", "sensor"),
    [
        (33, 33, (34, 34)),
        (34, 0, (128, 128)),
        (130, 99, (240, 180)),
        (345, 259, (346, 260)),
        (1279, 719, (1280, 720)),
        (1500, 40, (1501, 41)),  # no usual sensor
    ],
)
def test_the_smallest_usual_sensor_that_holds_the_events(
    x: int, y: int, sensor: tuple[int, int]
) -> None:
    events = make_events(np.array([0]), np.array([x]), np.array([y]), np.ones(1, bool))
    assert most_common_sensor(scan(Recorded(events), coordinates=True)) == sensor


def test_one_stray_event_in_a_thousand_does_not_enlarge_the_sensor() -> None:
    n = 1000
    x = np.zeros(n, np.int64)
    x[5] = 20_000
    events = make_events(np.arange(n), x, np.zeros(n, np.int64), np.ones(n, bool))
    assert most_common_sensor(scan(Recorded(events), coordinates=True)) == SensorSize(34, 34)
    x[6] = 20_000
    events = make_events(np.arange(n), x, np.zeros(n, np.int64), np.ones(n, bool))
    assert most_common_sensor(scan(Recorded(events), coordinates=True)).width == 20_001


def test_intervals_are_cut_into_whole_lengths() -> None:
    intervals = [LabelInterval(0, 25, "a"), LabelInterval(30, 39, "b"), LabelInterval(50, 70, "c")]
    cuts = cut_intervals(intervals, 10)
    assert [one[:3] for one in cuts] == [
        (0, 10, "a"),
        (10, 20, "a"),
        (50, 60, "c"),
        (60, 70, "c"),
    ]
    assert cut_intervals(intervals, 0) == intervals
    with pytest.raises(UsageError, match="is the length too small"):
        cut_intervals([LabelInterval(0, 1 << 21, "a")], 1)


def test_a_label_track_numbers_classes_in_their_order() -> None:
    intervals = [LabelInterval(100, 120, "10"), LabelInterval(200, 250, "9")]
    track = label_track("rec", "labels.csv", intervals, 100, 20)
    assert [(one.start_us, one.end_us, one.label) for one in track] == [
        (100, 120, 1),
        (200, 220, 0),
        (220, 240, 0),
    ]
    assert [one.recording_us for one in track] == [0, 100, 120]
    assert len(label_track("rec", "labels.csv", intervals, 100, 20, limit=2).segments) == 2
    with pytest.raises(UsageError, match="no segment is left"):
        label_track("rec", "labels.csv", intervals, 100, 51)


def test_events_outside_pieces_are_counted_by_cause() -> None:
    recording = Recorded(at_times(0, 5, 12, 22, 40, 41, 44, 59))
    found = scan(recording, coordinates=False)
    intervals = [LabelInterval(5, 24, "a"), LabelInterval(40, 45, "b")]
    slices, dropped = cut_segments(recording, found, intervals, 10)
    assert [(one.start_us, one.end_us, one.name, one.events) for one in slices] == [(5, 15, "a", 2)]
    # 0 and 59 lie in no interval; 22, 40, 41 and 44 after the last whole piece of theirs.
    assert dropped == {"unlabelled_gap": 2, "segment_tail": 4}


def test_pieces_without_events_are_not_made() -> None:
    recording = Recorded(at_times(0, 1, 90))
    slices, dropped = cut_segments(
        recording, scan(recording, coordinates=False), [LabelInterval(0, 100, "a")], 10
    )
    assert [(one.start_us, one.events) for one in slices] == [(0, 2), (90, 1)]
    assert not dropped


def test_an_event_that_comes_late_is_dropped_from_the_piece_it_arrives_in() -> None:
    recording = Recorded(at_times(0, 10, 14, 8, 16, 20), size=2)
    found = scan(recording, coordinates=False)
    slices, dropped = cut_segments(
        recording, found, [LabelInterval(0, 10, "a"), LabelInterval(10, 30, "b")], 0
    )
    assert [one.events for one in slices] == [1, 5]
    assert not dropped
    second = Whole(read_slice(recording, slices[1]))
    assert second.events["t"].tolist() == [10, 14, 16, 20]
    assert second.dropped == {"out_of_order": 1}


@given(
    steps=st.lists(st.integers(-3, 9), min_size=1, max_size=60),
    size=st.integers(1, 9),
    length_us=st.integers(0, 40),
    edges=st.sets(st.integers(-20, 300), min_size=2, max_size=8),
)
def test_every_event_is_in_one_piece_or_counted(
    steps: list[int], size: int, length_us: int, edges: set[int]
) -> None:
    recording = Recorded(at_times(*np.cumsum(steps).tolist()), size)
    found = scan(recording, coordinates=False)
    intervals = [LabelInterval(*one, "a") for one in list(pairwise(sorted(edges)))[::2]]
    slices, dropped = cut_segments(recording, found, intervals, length_us)
    read = [Whole(read_slice(recording, part)) for part in slices]
    for part, one in zip(slices, read, strict=True):
        assert len(one.events) + one.dropped.total() == part.events
        assert ((one.events["t"] >= part.start_us) & (one.events["t"] < part.end_us)).all()
    assert sum(part.events for part in slices) + dropped.total() == len(steps)


def test_a_late_piece_is_read_without_what_lies_before_it() -> None:
    events = random_events(1000, start_us=0)
    recording = Recorded(events, size=10)
    found = scan(recording, coordinates=False)
    middle = int(events["t"][700])
    interval = LabelInterval(middle, middle + 500, "a")
    (part,), _ = cut_segments(recording, found, [interval], 0)
    recording.yielded = 0
    whole = Whole(read_slice(recording, part))
    inside = (events["t"] >= middle) & (events["t"] < middle + 500)
    assert same(whole.events, events[inside])
    assert recording.yielded <= len(whole.events) // 10 + 3


def test_too_many_pieces_are_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmentation, "MAX_SLICES", 3)
    assert len(cut_intervals([LabelInterval(0, 30, "a")], 10)) == 3
    with pytest.raises(UsageError, match=r"would cut 4 segments .* more than the 3 allowed"):
        cut_intervals([LabelInterval(0, 40, "a")], 10)
