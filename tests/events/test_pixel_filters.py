"""Hot pixels and the refractory time: when a mask begins, what it rejects, what is forgotten."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from streamstop.errors import UsageError
from streamstop.events.binning import Binner
from streamstop.events.packet import Events, SensorSize, make_events
from streamstop.events.pixel_filters import FIRST_WINDOW_US, WINDOW_US, MaskedPixel

SENSOR = SensorSize(12, 10)
HOT = (5, 4)


def binner_of(**settings: Any) -> Binner:
    return Binner(SENSOR, **{"bin_us": 50_000, "height": 10, "width": 12, **settings})


def scene(until_us: int, *, hot_from_us: int = 0, seed: int = 0, start_us: int = 0) -> Events:
    """Every pixel sends now and then, HOT a thousand times a second once it has gone bad."""
    draw = np.random.default_rng(seed)
    n = until_us // 1_000
    t = draw.integers(0, until_us, n)
    x, y = draw.integers(0, SENSOR.width, n), draw.integers(0, SENSOR.height, n)
    hot = np.arange(hot_from_us, until_us, 1_000)
    t = np.concatenate([t, hot])
    x = np.concatenate([x, np.full(len(hot), HOT[0])])
    y = np.concatenate([y, np.full(len(hot), HOT[1])])
    order = np.argsort(t, kind="stable")
    return make_events(start_us + t[order], x[order], y[order], t[order] % 2)


def rejected(binner: Binner) -> dict[str, int]:
    return {cause: n for cause, n in binner.rejected.items() if n}


def at(times: list[int], x: int = 0) -> Events:
    n = len(times)
    return make_events(times, [x] * n, [0] * n, [True] * n)


def test_a_hot_pixel_is_masked_from_the_first_window_on_and_not_before() -> None:
    events = scene(3_000_000)
    binner = binner_of(hot_pixels="mask")
    bins = [*binner.push(events), *binner.flush()]
    first_us = int(events["t"][0])
    (found,) = binner.masked_pixels
    after = events["t"][events["t"] >= first_us + FIRST_WINDOW_US]
    assert found[:2] == HOT and found.from_us == after[0]
    on_it = (events["x"] == HOT[0]) & (events["y"] == HOT[1])
    late = on_it & (events["t"] >= found.from_us)
    assert rejected(binner) == {"hot_pixel": np.count_nonzero(late)}
    assert found.events == np.count_nonzero(on_it & (events["t"] < found.from_us))
    kept = binner_of()
    plain = [*kept.push(events), *kept.flush()]
    for masked, whole in zip(bins, plain, strict=True):
        difference = (whole.counts - masked.counts).sum(0)
        assert difference.sum() == difference[HOT[1], HOT[0]]
        assert (difference.sum() > 0) == (whole.end_us > found.from_us)


def test_a_pixel_that_goes_bad_later_is_found_at_the_end_of_its_window() -> None:
    begin = FIRST_WINDOW_US + 1_000_000
    events = scene(FIRST_WINDOW_US + WINDOW_US + 2_000_000, hot_from_us=begin)
    binner = binner_of(hot_pixels="mask")
    list(binner.push(events))
    (found,) = binner.masked_pixels
    first_us = int(events["t"][0])
    assert found[:2] == HOT
    assert 0 <= found.from_us - (first_us + FIRST_WINDOW_US + WINDOW_US) < 10_000


def test_nothing_after_a_moment_changes_a_bin_before_it() -> None:
    events = scene(3_000_000)
    changed = np.concatenate([events[events["t"] < 2_000_000], scene(999_000, start_us=2_000_000)])
    one, other = binner_of(hot_pixels="mask"), binner_of(hot_pixels="mask")
    for mine, theirs in zip(one.push(events), other.push(changed), strict=False):
        if mine.end_us > 2_000_000:
            break
        assert mine.counts.tolist() == theirs.counts.tolist()
    assert one.masked_pixels[:1] == other.masked_pixels[:1] != ()


@pytest.mark.parametrize("settings", [{"hot_pixels": "mask"}, {"refractory_us": 1_500}])
def test_bins_are_the_same_however_the_stream_is_cut(settings: dict[str, Any]) -> None:
    events = scene(1_500_000)
    whole = binner_of(**settings)
    bins = [one.counts.tolist() for one in whole.push(events)]
    cut = binner_of(**settings)
    edges = np.sort(np.random.default_rng(1).integers(0, len(events), 200))
    pieces = [one.counts.tolist() for part in np.split(events, edges) for one in cut.push(part)]
    assert bins == pieces
    assert whole.masked_pixels == cut.masked_pixels
    assert rejected(whole) == rejected(cut) != {}


def test_pixels_that_another_binner_found_are_masked_at_once() -> None:
    pixel = MaskedPixel(0, 0, 100, 0)
    binner = binner_of(hot_pixels="mask")
    binner.mask([pixel])
    list(binner.push(at([0, 1, 2])))
    assert rejected(binner) == {"hot_pixel": 3} and binner.masked_pixels == (pixel,)
    keeps = binner_of()
    keeps.mask([pixel])
    list(keeps.push(at([0, 1, 2])))
    assert rejected(keeps) == {} and keeps.masked_pixels == ()


def test_the_refractory_time_counts_from_the_latest_accepted_event() -> None:
    binner = binner_of(refractory_us=10)
    list(binner.push(at([0, 9, 10, 19, 20])))  # 9 is rejected, so 10 is counted
    assert rejected(binner) == {"refractory": 2} and binner.pending == 3


def test_pixels_are_refractory_each_on_its_own() -> None:
    binner = binner_of(refractory_us=10)
    list(binner.push(make_events([0, 1, 2], [0, 1, 0], [0, 0, 1], [1, 1, 1])))
    assert rejected(binner) == {} and binner.pending == 3


def test_a_jump_back_in_time_forgets_the_latest_events() -> None:
    binner = binner_of(refractory_us=10, reset_gap_us=100_000)
    list(binner.push(at([500_000, 1, 2])))
    assert rejected(binner) == {"refractory": 1} and binner.jumps == 1


def test_events_out_of_order_are_refractory_on_both_sides() -> None:
    binner = binner_of(refractory_us=10, reorder_window_us=1_000)
    list(binner.push(at([400], x=1)))
    list(binner.push(at([500, 491, 490, 505, 509])))
    assert rejected(binner) == {"refractory": 3} and binner.pending == 3


def test_rejected_events_move_time() -> None:
    binner = Binner(SENSOR, bin_us=10, height=10, width=12, refractory_us=1_000)
    bins = list(binner.push(at([0, 12, 25])))
    assert [one.events for one in bins] == [1, 0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hot_pixels": "drop"}, "keep or mask"),
        ({"refractory_us": -1}, "refractory_us"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        binner_of(**settings)


def test_a_sensor_with_too_many_pixels_for_filters_is_refused() -> None:
    huge = SensorSize(1 << 13, 1 << 13)
    Binner(huge)
    with pytest.raises(UsageError, match="refractory_us=0"):
        Binner(huge, refractory_us=5)


def test_memory_of_filters_is_of_the_sensor_not_of_the_stream() -> None:
    binner = binner_of(hot_pixels="mask", refractory_us=5)
    before = binner._filters.pixels.nbytes
    assert before == 16 * SENSOR.width * SENSOR.height
    starts = np.arange(0, 30_000_000, 3_000_000)
    for start, _ in pairwise(starts):
        list(binner.push(scene(2_900_000, start_us=int(start))))
    assert binner._filters.pixels.nbytes == before
    assert len(binner.masked_pixels) == 1
