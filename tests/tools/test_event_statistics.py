"""Running counts: bounded memory, and no dependence on packets."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.event_files import random_events

from streamstop.events.packet import SensorSize, make_events
from streamstop.tools.event_statistics import (
    MAX_SERIES,
    MAX_SIDE,
    EventRateSeries,
    MaxWindowCounter,
    PixelCounts,
)


@pytest.mark.parametrize("cuts", [[], [1], [1, 2, 500, 501], list(range(0, 3000, 7))])
def test_counts_do_not_depend_on_packets(cuts: list[int]) -> None:
    t = np.sort(np.random.default_rng(3).integers(0, 200_000, 3000))
    windows, series = MaxWindowCounter(1_000), EventRateSeries()
    for part in filter(len, np.split(t, cuts)):
        windows.add(part)
        series.add(part)
    assert windows.most == np.bincount(t // 1_000).max()
    expected = np.bincount(t // series.width_us)
    assert series.counts[: series.used].tolist() == expected.tolist()


def test_windows_count_events_that_come_a_little_late() -> None:
    windows = MaxWindowCounter(10)
    windows.add(np.array([1, 2, 3, 25]))
    windows.add(np.array([4, 27, 5]))
    assert windows.most == 5


def test_the_series_doubles_its_windows_and_loses_nothing() -> None:
    draw = np.random.default_rng(0)
    t = np.sort(draw.integers(0, 50_000_000, 10_000))
    series = EventRateSeries()
    for part in np.split(t, [1, 50, 60, 9000]):
        series.add(part)
    assert series.counts.sum() == 10_000
    expected = np.bincount(t // series.width_us)
    assert series.counts[: series.used].tolist() == expected.tolist()
    assert MAX_SERIES // 2 < series.used <= MAX_SERIES


def test_windows_keep_bounded_memory() -> None:
    windows = MaxWindowCounter(10)
    for first in range(0, 10_000_000, 100_000):
        windows.add(np.arange(first, first + 100_000, 500))
    assert len(windows._at) <= 2 * windows._KEPT
    assert windows.most == 1


def test_a_time_before_the_first_event_is_counted_in_the_first_window() -> None:
    series = EventRateSeries()
    series.add(np.array([0, -5_000_000, 2_500]))
    assert series.counts[: series.used].tolist() == [2, 0, 1]


def test_the_grid_grows_with_the_coordinates_and_keeps_its_counts() -> None:
    pixels = PixelCounts()
    pixels.add(make_events([0, 1, 2], [3, 3, 5], [2, 2, 7], [True, True, False]))
    pixels.add(make_events([3], [300], [130], [True]))
    assert pixels.grid.shape == (2, 256, 512)
    assert pixels.grid.sum() == 4
    assert (pixels.grid[1, 2, 3], pixels.grid[0, 7, 5], pixels.grid[1, 130, 300]) == (2, 1, 1)


def test_the_grid_counts_each_pixel_and_polarity() -> None:
    events = random_events(5_000, width=34, height=30)
    pixels = PixelCounts()
    for part in np.split(events, [10, 4_000]):
        pixels.add(part)
    expected = np.zeros((2, 30, 34), np.int64)
    np.add.at(expected, (events["p"].astype(int), events["y"], events["x"]), 1)
    assert np.array_equal(pixels.of(SensorSize(34, 30)), expected)


def test_events_far_outside_take_no_memory() -> None:
    pixels = PixelCounts()
    pixels.add(make_events([0, 1, 2], [65_535, MAX_SIDE, 1], [0, 0, 1], [True] * 3))
    pixels.add(make_events([3], [0], [40_000], [True]))
    assert pixels.grid.shape == (2, 64, 64)
    assert pixels.grid.sum() == 1


def test_the_grid_of_a_sensor_is_at_most_its_size() -> None:
    pixels = PixelCounts()
    pixels.add(make_events([0], [40], [50], [True]))
    assert pixels.of(SensorSize(34, 34)).shape == (2, 34, 34)
    assert pixels.of(SensorSize(346, 260)).shape == (2, 64, 64)
    assert pixels.of(None).size == 0
