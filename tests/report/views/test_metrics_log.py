"""Reading a run line by line: bounded, evenly spaced, deaf to damage."""

from __future__ import annotations

import json
import tracemalloc
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstop.report.views.metrics_log import (
    MAX_LINE_BYTES,
    MAX_POINTS,
    Decimator,
    Paired,
    read_curves,
    read_paired,
    read_windowed,
)


def record(i: int, **more: object) -> str:
    return json.dumps(
        {"bin": i, "t_us": i * 1000, "segment": i, "accuracy": {"segment": 0.5}} | more
    )


@given(n=st.integers(1, 5000), limit=st.integers(2, 64))
def test_decimation_keeps_first_and_last_and_an_even_spacing(n: int, limit: int) -> None:
    kept: Decimator[int] = Decimator(lambda raw: raw, limit=limit)
    for i in range(n):
        kept.offer(i)
    items = kept.items()
    assert items[0] == 0 and items[-1] == n - 1
    assert len(items) <= limit
    steps = {b - a for a, b in pairwise(items[:-1])}
    assert len(steps) <= 1
    assert n >= limit or items == list(range(n))


@given(n=st.integers(1, 600), bad=st.sets(st.integers(0, 600)))
def test_unreadable_items_leave_holes_and_move_nothing(n: int, bad: set[int]) -> None:
    def parse(raw: int) -> int | None:
        return None if raw in bad else raw

    whole: Decimator[int] = Decimator(lambda raw: raw, limit=32)
    holed: Decimator[int] = Decimator(parse, limit=32)
    for i in range(n):
        whole.offer(i)
        holed.offer(i)
    # Only the end may differ: where the last item is damaged, the one before it stands in.
    assert set(holed.items()) <= (set(whole.items()) - bad) | {n - 2, n - 1}


def test_a_line_cut_short_by_a_kill_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(record(0) + "\n" + record(1) + "\n" + record(2)[:17])
    curves = read_curves(path)
    assert curves.x == (1.0, 2.0)
    assert curves.unreadable == 1


def test_a_line_without_end_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with path.open("w") as file:
        file.write(record(0) + "\n" + '{"bin": ' + "9" * (3 * MAX_LINE_BYTES) + "\n" + record(1))
    curves = read_curves(path)
    assert curves.x == (1.0, 2.0)
    assert curves.unreadable == 1


def test_long_runs_take_bounded_memory(tmp_path: Path) -> None:
    layers = {name: {"firing_rate": 0.1, "threshold": 1.0} for name in ("conv1", "conv2")}

    def peak(lines: int) -> int:
        path = tmp_path / f"{lines}.jsonl"
        with path.open("w") as file:
            file.writelines(record(i, layers=layers) + "\n" for i in range(lines))
        tracemalloc.start()
        curves = read_curves(path)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(curves.x) <= MAX_POINTS
        assert (curves.x[0], curves.x[-1]) == (1.0, float(lines))
        assert curves.records == lines
        return used

    short = peak(2 * MAX_POINTS)
    assert peak(100_000) < 1.5 * short + 100_000


def test_figures_that_are_not_finite_are_gaps(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(record(0, loss=1.0) + "\n" + record(1, loss=float("nan")) + "\n" + record(2))
    assert read_curves(path).loss == (1.0, None, None)


def test_without_segments_the_axis_is_stream_time_from_the_origin(tmp_path: Path) -> None:
    origin = 1_633_953_690_975_950
    path = tmp_path / "metrics.jsonl"
    lines = (
        record(i, segment=None, t_us=origin + i * 10_000, accuracy=None) for i in (100, 200, 300)
    )
    path.write_text("\n".join(lines))
    curves = read_curves(path, bin_us=10_000)
    assert curves.x == pytest.approx((1.0, 2.0, 3.0))
    assert curves.x_label == "stream time (s)"


def test_pairs_count_who_was_right_alone(tmp_path: Path) -> None:
    path = tmp_path / "segments.csv"
    path.write_text(
        "segment,label,decided,river,majority\n"
        "0,mug,,mug,box\n1,mug,mug,box,mug\n2,box,box,mug,mug\n3,box,mug,mug,box\n4,,box,box,box\n"
    )
    pairs = read_paired(path, ("softmax_counts", "majority", "absent"))
    assert pairs == {"softmax_counts": Paired(2, 1), "majority": Paired(1, 1)}


@pytest.mark.parametrize(
    ("ours", "theirs", "p"),
    [(5, 5, 1.0), (6, 0, 2 / 64), (0, 6, 2 / 64), (560, 500, 0.0701), (1060, 1000, 0.194)],
)
def test_sign_test(ours: int, theirs: int, p: float) -> None:
    assert Paired(ours, theirs).p_value() == pytest.approx(p, rel=0.02)


def test_everyone_s_last_segments_by_hand(tmp_path: Path) -> None:
    """Windows of two: from the first segment on, as half a window is one."""
    path = tmp_path / "segments.csv"
    path.write_text(
        "segment,label,decided,river\n0,a,a,b\n1,a,b,b\n2,a,a,a\n3,a,a,a\n4,,a,a\n5,a,b,a\n"
    )
    found = read_windowed(path, ("headline", "softmax_counts", "absent"), 2)
    assert (found.window, found.x) == (2, (1.0, 2.0, 3.0, 4.0, 5.0))
    assert dict(found.accuracy) == {
        "headline": (1.0, 0.5, 0.5, 1.0, 0.5),
        "softmax_counts": (0.0, 0.0, 0.5, 1.0, 1.0),
    }


def test_less_than_half_a_window_is_no_accuracy_yet(tmp_path: Path) -> None:
    path = tmp_path / "segments.csv"
    path.write_text("segment,label,decided\n" + "".join(f"{i},a,a\n" for i in range(2000)))
    found = read_windowed(path, ("headline",), 10)
    values = dict(found.accuracy)["headline"]
    assert values[0] is None and values[-1] == 1.0
    assert found.x[-1] == 2000 and len(found.x) <= MAX_POINTS
    path.write_text("segment,label,decided\n")
    assert read_windowed(path, ("headline",), 10).x == ()
