"""Decisions read as a stream: matched where they are the same segments, refused where not."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from helpers.made_runs import hits, make_run

from streamstop.errors import UsageError
from streamstop.pipeline.segments_file import (
    MAX_LINE,
    WINDOW,
    count_shared,
    sample_points,
    windowed_accuracy,
)


def rows(folder: Path) -> Path:
    return folder / "segments.csv"


def test_shared_segments_are_counted_by_who_was_right(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", [True, True, False, False, True])
    b = make_run(tmp_path / "b", [True, False, True, False])
    found = count_shared(rows(a), rows(b), by_time=True)
    assert found == (4, 1, 1, 1)
    assert count_shared(rows(b), rows(a), by_time=True) == (4, 1, 1, 1)


def test_other_segments_at_the_same_place_are_no_pair(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", [True] * 3)
    b = make_run(tmp_path / "b", [True] * 3, recording="another")
    with pytest.raises(UsageError, match="not the same stream: segment 0"):
        count_shared(rows(a), rows(b), by_time=True)


def test_with_other_bins_segments_are_matched_by_number(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", [True] * 3)
    b = make_run(tmp_path / "b", [False] * 3, bin_us=30_000)
    assert count_shared(rows(a), rows(b), by_time=False) == (3, 0, 3, 0)


def test_a_curve_is_the_share_of_the_last_segments(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", hits(60, 100))
    at = [1, 40, 50, 90, 100, 120]
    found = windowed_accuracy(rows(a), at, ["headline", "not there"])
    assert found["headline"] == [0, 0, 10 / WINDOW, 1.0, 1.0, None]
    assert found["not there"] == [None] * 6


def test_a_grid_begins_with_the_first_segment_and_ends_with_the_last() -> None:
    assert sample_points(3) == [1, 2, 3]
    assert sample_points(1) == [1]
    assert sample_points(0) == []
    many = sample_points(100_000)
    assert (many[0], many[-1]) == (1, 100_000)
    assert len(many) <= 160


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("segment,start_us\n0,1\n", "line 2 is no segment's"),
        ("segment,start_us,end_us,recording,label,decided\nx,0,1,r,a,a\n", "line 2"),
        ("segment,start_us,end_us,recording,label,decided\n0,0,1," + "r" * MAX_LINE, "longer than"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "segments.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        count_shared(path, path, by_time=True)


def test_a_long_run_needs_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", [True, False] * 10_000)
    tracemalloc.start()
    count_shared(rows(a), rows(a), by_time=True)
    windowed_accuracy(rows(a), sample_points(20_000))
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
