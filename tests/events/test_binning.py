"""Binning: known answers, the rules of time one by one, the ledger, and memory."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from streamstop.errors import UsageError
from streamstop.events.binning import MAX_DESCRIBED_JUMPS, Bin, Binner, TimeJump, pixel_to_cell_map
from streamstop.events.packet import EVENT_DTYPE, Events, SensorSize, make_events

SMALL = SensorSize(4, 4)


def at(*times: int) -> Events:
    """One event at pixel (0, 0) at each time."""
    n = len(times)
    return make_events(times, [0] * n, [0] * n, [True] * n)


def binner_of_ten(**settings: Any) -> Binner:
    return Binner(SMALL, **{"bin_us": 10, "height": 4, "width": 4, "reset_gap_us": 100, **settings})


def brief(bins: Iterator[Bin]) -> list[tuple[int, int, int, bool]]:
    return [(b.index, b.start_us, b.events, b.reset) for b in bins]


def spans(axis: np.ndarray) -> dict[int, tuple[int, int]]:
    """First and last pixel of each cell."""
    return {
        int(c): (int(np.flatnonzero(axis == c)[0]), int(np.flatnonzero(axis == c)[-1]))
        for c in np.unique(axis)
    }


# sensor, then for columns and for rows: first and last cell used, pixels of the one and the other
LETTERBOX_32 = [
    ((128, 128), (0, 31), (0, 3), (124, 127), (0, 31), (0, 3), (124, 127)),
    ((346, 260), (0, 31), (0, 10), (335, 345), (4, 27), (0, 10), (249, 259)),
    ((240, 180), (0, 31), (0, 6), (232, 239), (4, 27), (0, 6), (172, 179)),
    ((34, 34), (0, 31), (0, 0), (33, 33), (0, 31), (0, 0), (33, 33)),
    ((1280, 720), (0, 31), (0, 39), (1240, 1279), (7, 24), (0, 39), (680, 719)),
    ((16, 16), (1, 31), (0, 0), (15, 15), (1, 31), (0, 0), (15, 15)),
    ((1, 1), (16, 16), (0, 0), (0, 0), (16, 16), (0, 0), (0, 0)),
]


@pytest.mark.parametrize(
    ("sensor", "x_cells", "x_first", "x_last", "y_cells", "y_first", "y_last"), LETTERBOX_32
)
def test_letterbox_of_each_sensor(sensor, x_cells, x_first, x_last, y_cells, y_first, y_last):
    columns, rows = pixel_to_cell_map(SensorSize(*sensor), 32, 32, "letterbox")
    for axis, cells, first, last in (
        (columns, x_cells, x_first, x_last),
        (rows, y_cells, y_first, y_last),
    ):
        assert (axis.min(), axis.max()) == cells
        assert spans(axis)[cells[0]] == first
        assert spans(axis)[cells[1]] == last


def test_all_cells_of_a_whole_numbered_downscale_hold_equally_many_pixels():
    for sensor, n in [(SensorSize(128, 128), 4), (SensorSize(1280, 720), 40)]:
        for axis in pixel_to_cell_map(sensor, 32, 32, "letterbox"):
            assert set(np.bincount(axis)[axis.min() :]) == {n}


def test_34_pixels_on_32_cells_double_exactly_two_cells():
    columns, _ = pixel_to_cell_map(SensorSize(34, 34), 32, 32, "letterbox")
    assert np.flatnonzero(np.bincount(columns) == 2).tolist() == [8, 24]
    assert set(np.bincount(columns)) == {1, 2}


def test_crop_keeps_the_centre_square():
    columns, rows = pixel_to_cell_map(SensorSize(346, 260), 32, 32, "crop")
    assert np.flatnonzero(columns >= 0)[[0, -1]].tolist() == [43, 302]
    assert (rows >= 0).all()
    assert columns[[42, 43, 302, 303]].tolist() == [-1, 0, 31, -1]
    columns, rows = pixel_to_cell_map(SensorSize(1280, 720), 32, 32, "crop")
    assert np.flatnonzero(columns >= 0)[[0, -1]].tolist() == [280, 999]


def test_stretch_fills_both_axes():
    columns, rows = pixel_to_cell_map(SensorSize(346, 260), 32, 32, "stretch")
    assert (columns[0], columns[-1], rows[0], rows[-1]) == (0, 31, 0, 31)
    assert set(np.unique(rows)) == set(range(32))


@pytest.mark.parametrize(
    ("width", "height"),
    [(128, 128), (346, 260), (240, 180), (34, 34), (16, 16), (1280, 720), (1, 1)],
)
def test_the_pixels_at_the_sensors_edge_count_and_those_beyond_do_not(width, height):
    sensor = SensorSize(width, height)
    binner = Binner(sensor, origin_us=0)
    x = [0, width - 1, 0, width - 1, width, 0, 65535, 0]
    y = [0, 0, height - 1, height - 1, 0, height, 0, 65535]
    (b,) = [*binner.push(make_events(range(8), x, y, [True] * 8)), *binner.flush()]
    columns, rows = pixel_to_cell_map(sensor, 32, 32, "letterbox")
    expected = np.zeros((2, 32, 32), np.int32)
    np.add.at(expected[1], (rows[y[:4]], columns[x[:4]]), 1)
    np.testing.assert_array_equal(b.counts, expected)
    assert binner.rejected["out_of_range"] == 4


def test_off_and_on_are_planes_0_and_1_also_where_the_padding_is_not_zero():
    raw = np.full(3 * EVENT_DTYPE.itemsize, 0xFF, np.uint8)
    events = raw.view(EVENT_DTYPE)
    events["t"], events["x"], events["y"] = 0, [0, 1, 1], [2, 3, 3]
    events["p"] = [False, True, True]
    (b,) = [*(binner := binner_of_ten()).push(events), *binner.flush()]
    assert b.counts.dtype == np.int32
    assert b.counts.shape == (2, 4, 4)
    assert np.argwhere(b.counts).tolist() == [[0, 2, 0], [1, 3, 1]]
    assert (b.counts[0, 2, 0], b.counts[1, 3, 1], b.events) == (1, 2, 3)


def test_binary_says_whether_but_still_counts_the_events():
    (b,) = [*(binner := binner_of_ten(representation="binary")).push(at(0, 1, 2)), *binner.flush()]
    assert (b.counts.max(), b.counts.sum(), b.events) == (1, 1, 3)


def test_a_large_stream_equals_a_histogram():
    rng = np.random.default_rng(1)
    n = 200_000
    t = np.sort(rng.integers(0, 1_000_000, n))
    x, y, p = rng.integers(0, 346, n), rng.integers(0, 260, n), rng.integers(0, 2, n)
    binner = Binner(SensorSize(346, 260), origin_us=0)
    events = make_events(t, x, y, p)
    bins = [b for k in range(0, n, 65_536) for b in binner.push(events[k : k + 65_536])]
    bins += binner.flush()
    columns, rows = pixel_to_cell_map(SensorSize(346, 260), 32, 32, "letterbox")
    expected, _ = np.histogramdd(
        (t, p, rows[y], columns[x]),
        (np.arange(0, 1_000_001, 10_000), np.arange(3), np.arange(33), np.arange(33)),
    )
    np.testing.assert_array_equal(np.stack([b.counts for b in bins]), expected)


def test_a_bin_is_the_callers_to_keep():
    binner = binner_of_ten()
    first, second = binner.push(at(0, 10, 20))
    first.counts[...] = 7
    assert second.counts.sum() == 1
    (third,) = binner.flush()
    assert third.counts.sum() == 1


def test_an_event_on_the_edge_belongs_to_the_next_bin():
    binner = binner_of_ten()
    assert brief(binner.push(at(5, 14, 15, 24, 25))) == [(0, 5, 2, False), (1, 15, 2, False)]
    assert brief(binner.flush()) == [(2, 25, 1, False)]


def test_empty_bins_are_bins():
    binner = binner_of_ten(origin_us=0)
    assert brief(binner.push(at(35))) == [(0, 0, 0, False), (1, 10, 0, False), (2, 20, 0, False)]


def test_time_closes_bins_without_events_and_flush_takes_the_begun_one():
    binner = binner_of_ten(origin_us=0)
    assert brief(binner.advance(9)) == []
    assert brief(binner.advance(10)) == [(0, 0, 0, False)]
    assert brief(binner.flush()) == []  # time stands on the edge: no second bin yet
    assert brief(binner.advance(11)) == []
    assert brief(binner.flush()) == [(1, 10, 0, False)]
    assert brief(binner.flush()) == []
    assert brief(binner.push(at(19, 20))) == []
    assert (binner.rejected["late"], binner.pending) == (1, 1)


def test_before_the_first_event_there_is_no_time_to_advance():
    binner = binner_of_ten()
    assert brief(binner.advance(1000)) == []
    assert brief(binner.flush()) == []
    assert brief(binner.push(at(3, 13))) == [(0, 3, 1, False)]


def test_events_older_than_a_vouch_are_late():
    binner = binner_of_ten(reorder_window_us=10, origin_us=0)
    assert brief(binner.push(at(15))) == []
    assert brief(binner.advance(12)) == [(0, 0, 0, False)]
    assert brief(binner.push(at(11, 12, 16, 11))) == []
    assert (binner.rejected["late"], binner.pending) == (2, 3)


def test_disorder_within_reorder_us_is_sorted_in_and_older_is_late():
    binner = binner_of_ten(reorder_window_us=5, origin_us=0)
    assert brief(binner.push(at(9, 14, 9, 8))) == []
    assert binner.rejected["late"] == 1
    assert brief(binner.push(at(15, 9, 10))) == [(0, 0, 2, False)]
    assert binner.rejected["late"] == 2
    assert brief(binner.flush()) == [(1, 10, 3, False)]


def test_without_reorder_us_any_step_back_is_late_even_into_an_open_bin():
    binner = binner_of_ten()
    assert brief(binner.push(at(0, 5, 5, 4))) == []
    assert (binner.rejected["late"], binner.pending) == (1, 3)


def test_a_step_of_gap_us_is_time_and_one_more_is_a_jump():
    binner = binner_of_ten()
    assert len(brief(binner.push(at(0, 100)))) == 10
    assert (binner.jumps, binner.pending) == (0, 1)
    assert brief(binner.push(at(201))) == [(10, 100, 1, False)]
    assert brief(binner.flush()) == [(20, 200, 1, True)]
    assert binner.first_jumps == [TimeJump(2, 100, 201)]
    assert "event 2: time jumped forward by 101 us" in str(binner.first_jumps[0])


def test_the_way_back_over_a_forward_jump_is_late():
    binner = binner_of_ten(reorder_window_us=20)
    assert brief(binner.push(at(0, 205, 200, 199))) == [(0, 0, 1, False)]
    assert binner.rejected["late"] == 1
    assert brief(binner.flush()) == [(20, 200, 2, True)]


def test_a_jump_back_begins_the_next_bin_at_the_event_that_jumped():
    binner = binner_of_ten(reorder_window_us=10)
    assert brief(binner.push(at(1000, 1015))) == []
    assert brief(binner.push(at(3, 12))) == [(0, 1000, 1, False), (1, 1010, 1, False)]
    assert brief(binner.push(at(13, 23))) == [(2, 1020, 2, True)]
    assert brief(binner.flush()) == [(3, 1030, 1, False), (4, 1040, 1, False)]
    assert "back by 1012 us" in str(binner.first_jumps[0])


def test_a_vouch_for_a_time_that_has_passed_does_not_turn_time_back():
    binner = binner_of_ten(reorder_window_us=20, origin_us=0)
    assert brief(binner.push(at(18))) == []
    assert brief(binner.advance(5)) == []
    assert brief(binner.flush()) == [(0, 0, 0, False), (1, 10, 1, False)]


def test_a_clock_that_leaps_is_a_jump_too():
    binner = binner_of_ten(origin_us=0)
    assert brief(binner.push(at(5))) == []
    assert len(brief(binner.advance(105))) == 10
    assert binner.jumps == 0
    assert brief(binner.advance(999)) == [(10, 100, 0, False)]
    assert brief(binner.push(at(998, 1000))) == [(99, 990, 0, True)]
    assert (binner.jumps, binner.rejected["late"]) == (1, 1)


def test_off_sensor_events_do_not_move_time_but_cropped_ones_do():
    binner = Binner(
        SensorSize(8, 4), bin_us=10, height=4, width=4, resize_mode="crop", reset_gap_us=100
    )
    events = make_events([0, 50, 20, 25, 24], [2, 8, 0, 7, 2], [0, 0, 3, 3, 3], [1] * 5)
    assert brief(binner.push(events)) == [(0, 0, 1, False), (1, 10, 0, False)]
    rejected = {cause: n for cause, n in binner.rejected.items() if n}
    assert rejected == {"late": 1, "out_of_range": 1, "cropped": 2}
    assert brief(binner.flush()) == [(2, 20, 0, False)]
    assert (binner.binned, binner.pending) == (1, 0)


def test_times_at_the_ends_of_int64_are_bad_and_cost_nothing_else():
    ends = np.iinfo(np.int64)
    binner = binner_of_ten()
    assert brief(binner.push(at(ends.min, ends.max, -7, ends.max, ends.min, 3))) == [
        (0, -7, 1, False)
    ]
    assert binner.rejected["bad_time"] == 4
    assert binner.jumps == 0


def test_a_file_of_nothing_but_jumps_is_bounded():
    rng = np.random.default_rng(2)
    binner = Binner(SMALL)
    times = rng.integers(-(1 << 60), 1 << 60, 20_000)
    bins = sum(1 for _ in binner.push(at(*times)))
    assert bins == binner.jumps == 19_999
    assert binner.binned + binner.pending == 20_000
    assert len(binner.first_jumps) == MAX_DESCRIBED_JUMPS


def test_the_ledger_balances_between_two_bins_of_one_packet():
    binner = binner_of_ten()
    seen = []
    for b in binner.push(at(0, 1, 12, 11, 25, 30)):
        assert binner.binned + binner.pending + sum(binner.rejected.values()) == 6
        seen.append((b.index, binner.binned, binner.pending))
    assert seen == [(0, 2, 4), (1, 3, 2), (2, 4, 1)]


def test_a_call_before_the_last_bins_were_taken_is_refused():
    binner = binner_of_ten()
    bins = binner.push(at(0, 20, 40))
    next(bins)
    with pytest.raises(RuntimeError, match="2 events in hand"):
        binner.push(at(50))
    with pytest.raises(RuntimeError, match="exhaust its iterator"):
        binner.flush()
    assert len(list(bins)) == 3
    assert brief(binner.push(at(50))) == [(4, 40, 1, False)]


def test_read_only_unaligned_and_strided_packets_bin_alike():
    events = at(0, 3, 11, 12, 25)
    read_only = np.frombuffer(events.tobytes(), EVENT_DTYPE)
    unaligned = np.frombuffer(b"!" + events.tobytes(), EVENT_DTYPE, offset=1)
    strided = np.repeat(events, 2)[::2]
    assert not unaligned.flags.aligned
    outcomes = []
    for packet in (events, read_only, unaligned, strided):
        binner = binner_of_ten()
        outcomes.append(brief(binner.push(packet)) + brief(binner.flush()))
    assert outcomes == [outcomes[0]] * 4


def test_another_dtype_is_refused():
    with pytest.raises(TypeError, match="EVENT_DTYPE"):
        binner_of_ten().push(np.zeros(3, [("t", "<u4"), ("x", "<u2"), ("y", "<u2"), ("p", "?")]))
    with pytest.raises(TypeError, match="shape"):
        binner_of_ten().push(at(1, 2).reshape(2, 1))


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"bin_us": 0}, "bin_us must be at least 1"),
        ({"height": 0}, "height must be at least 1"),
        ({"resize_mode": "zoom"}, "letterbox, crop, stretch"),
        ({"representation": "floats"}, "count, binary"),
        ({"reorder_window_us": -1}, "reorder_window_us must not be negative"),
        ({"reorder_window_us": 91}, "reset_gap_us must be at least"),
        ({"reset_gap_us": 1 << 61}, "at most 2\\*\\*60"),
        ({"origin_us": 1 << 61}, "origin_us must lie"),
    ],
)
def test_settings_that_make_no_sense_are_usage_errors(settings, what):
    with pytest.raises(UsageError, match=what):
        binner_of_ten(**settings)


def test_open_bins_never_overflow(monkeypatch):
    monkeypatch.setattr("streamstop.events.binning.MAX_OPEN_EVENTS", 10)
    binner = binner_of_ten()
    assert brief(binner.push(at(*range(8)))) == []
    with pytest.raises(UsageError, match="nothing of this packet was binned"):
        binner.push(at(8, 9, 9))
    assert binner.pending == 8


def test_memory_does_not_grow_with_the_stream():
    rng = np.random.default_rng(3)
    events = make_events(
        np.sort(rng.integers(0, 1_000_000, 20_000)),
        *rng.integers(0, 130, (2, 20_000)),
        rng.integers(0, 2, 20_000),
    )
    binner = Binner(SensorSize(128, 128), reorder_window_us=20_000)

    def second(k: int) -> int:
        packet = events.copy()
        # Every fifth second is a jump back, so that those leave nothing behind either.
        packet["t"] += (k % 5) * 1_000_000
        return sum(b.events for b in binner.push(packet))

    for k in range(20):
        second(k)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for k in range(200):
        second(k)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < 8192  # one bin's counts
    assert binner.jumps >= 40


def test_a_sensor_beyond_16_bits_is_a_usage_error():
    with pytest.raises(UsageError, match="65537x1"):
        Binner(SensorSize(65_537, 1))
