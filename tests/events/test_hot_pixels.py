"""Which pixels are hot: the rule's three conditions, each at its edge."""

from __future__ import annotations

import numpy as np
import pytest

from streamstop.events.hot_pixels import HotPixel, hot_pixels


def test_hot_pixels_stand_out_and_edges_do_not() -> None:
    draw = np.random.default_rng(1)
    counts = draw.poisson(5, (60, 80))
    assert hot_pixels(counts) == []
    counts[20:23] += 200  # an edge that stayed
    counts[50, 3], counts[0, 0], counts[59, 79] = 900, 700, 19
    assert [one[:2] for one in hot_pixels(counts)] == [(3, 50), (0, 0)]
    assert hot_pixels(np.zeros((4, 4), np.uint32)) == []
    assert hot_pixels(np.array([[5000]])) == []


@pytest.mark.parametrize(("events", "hot"), [(19, False), (20, True)])
def test_a_hot_pixel_has_at_least_20_events(events: int, hot: bool) -> None:
    counts = np.ones((9, 9), np.int64)
    counts[4, 4] = events
    assert hot_pixels(counts) == ([HotPixel(4, 4, events)] if hot else [])


@pytest.mark.parametrize(("neighbours", "hot"), [(99, True), (100, False)])
def test_a_hot_pixel_has_more_than_ten_times_the_events_of_its_neighbours(
    neighbours: int, hot: bool
) -> None:
    counts = np.full((30, 30), 4)
    counts[9:12, 9:12] = neighbours
    counts[10, 10] = 1000
    assert (HotPixel(10, 10, 1000) in hot_pixels(counts)) is hot


def test_hot_pixels_are_sorted_by_events_then_by_place() -> None:
    counts = np.full((20, 20), 3)
    counts[1, 2] = counts[1, 9] = counts[15, 2] = 500
    counts[10, 10] = 900
    assert [one[:2] for one in hot_pixels(counts)] == [(10, 10), (2, 1), (9, 1), (2, 15)]
