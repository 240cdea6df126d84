"""Accuracy over a run: what is drawn on a changing stream, and how much at most."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

from helpers.fake_run import write_fake_run

from streamstop.evaluation.metrics import WINDOW as METRICS_WINDOW
from streamstop.pipeline.segments_file import WINDOW, read_rows
from streamstop.report.charts.accuracy import (
    MAX_BANDS,
    MAX_MARKS,
    MAX_MOMENTS,
    accuracy_chart,
    alarm_lanes,
    span_bands,
    undrawn_marks,
)
from streamstop.report.names import name_of
from streamstop.report.views.run import Snapshot, load_snapshot
from streamstop.report.views.scenario import DriftAlarm, ScenarioView, Span


def test_a_changing_stream_is_drawn_over_the_same_last_segments(changing: Snapshot) -> None:
    assert changing.windowed.window == 25  # a tenth of 257
    text = accuracy_chart(changing)
    assert ">TEST domain 0<" in text and ">TEST domain 1<" in text
    assert 'class="moment"' in text and "the stream changed" in text
    assert "alarm by ADWIN" in text
    assert "all so far" not in text and "last third" not in text
    for name in ("headline prediction", "LDA on counts", "softmax regression on counts"):
        assert f"<span>{name}</span>" in text


def test_a_stationary_stream_has_no_marks(changing: Snapshot, tmp_path: Path) -> None:
    still = load_snapshot(write_fake_run(tmp_path / "still"))
    text = accuracy_chart(still)
    assert "(accuracy: last 50 segments)" in text and "last third" in text
    assert 'class="moment"' not in text and "alarm by" not in text


def test_lines_that_are_tied_lie_on_each_other(tmp_path: Path) -> None:
    """A baseline with the predictions of the learner has its curve, at every point."""
    folder = write_fake_run(tmp_path / "run")
    with (folder / "segments.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (folder / "segments.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        table.writerows(row | {"softmax_counts": row["headline"]} for row in rows)
    lines = dict(re.findall(r'<path class="s(0|3)" [^>]* d="([^"]*)"', accuracy_chart_of(folder)))
    assert lines["0"] == lines["3"]


def test_every_decision_maker_has_a_line_over_the_same_window(tmp_path: Path) -> None:
    snapshot = load_snapshot(write_fake_run(tmp_path / "run"))
    assert snapshot.windowed.window == WINDOW == METRICS_WINDOW
    text = accuracy_chart(snapshot)
    for score in snapshot.scores:
        assert f"<span>{name_of(score.key)}</span>" in text
    right = [row["headline"] == row["label"] for _, row in read_rows(tmp_path / "run/segments.csv")]
    assert dict(snapshot.windowed.accuracy)["headline"][-1] == sum(right[-WINDOW:]) / WINDOW


def test_a_run_shorter_than_a_window_has_a_chart(tmp_path: Path) -> None:
    text = accuracy_chart_of(write_fake_run(tmp_path / "run", segments=3))
    assert "(accuracy: last 3 segments)" in text


def accuracy_chart_of(folder: Path) -> str:
    return str(accuracy_chart(load_snapshot(folder)))


def test_the_strongest_baseline_is_always_drawn(changing: Snapshot) -> None:
    scores = tuple(
        replace(one, segment=0.999) if one.key == "no_change" else one for one in changing.scores
    )
    assert "<span>no change</span>" not in accuracy_chart(changing)
    assert "<span>no change</span>" in accuracy_chart(replace(changing, scores=scores))


def test_without_segments_csv_spans_are_still_marked(changing: Snapshot) -> None:
    text = accuracy_chart(replace(changing, windowed=type(changing.windowed)()))
    assert ">TEST domain 1<" in text and "(accuracy: all segments so far)" in text


def test_a_domain_that_comes_again_has_its_number() -> None:
    spans = tuple(Span(10 * i, 10 * i + 9, name) for i, name in enumerate("abab"))
    bands = span_bands(ScenarioView(spans=spans))
    assert [one.number for one in bands] == [1, 2, 1, 2]
    assert [one.shaded for one in bands] == [False, True, False, True]
    assert (bands[1].low, bands[1].high) == (10, 20)


def test_alarms_have_a_row_by_detector_and_signal() -> None:
    watched = tuple((d, s) for s in ("errors", "event rate") for d in ("ADWIN", "KSWIN"))
    alarms = (
        DriftAlarm(3, "KSWIN", "event rate"),
        DriftAlarm(4, "ADWIN", "event rate"),
        DriftAlarm(5, "KSWIN", "errors"),
        DriftAlarm(9, "KSWIN", "errors"),
    )
    lanes = alarm_lanes(ScenarioView(alarms=alarms, watched=watched))
    assert [(one.group, one.label, list(one.x)) for one in lanes] == [
        ("errors", "KSWIN over errors", [6, 10]),
        ("events", "ADWIN over event rate", [5]),
        ("events", "KSWIN over event rate", [4]),
    ]
    assert lanes[0].shape == lanes[2].shape != lanes[1].shape


def test_marks_are_bounded_and_the_rest_is_stated() -> None:
    n = 1000
    scenario = ScenarioView(
        spans=tuple(Span(i, i, str(i)) for i in range(n)),
        total_spans=n,
        drifts=tuple(range(1, n)),
        alarms=tuple(DriftAlarm(i, f"detector {i}", "errors") for i in range(n)),
        alarm_count=n,
    )
    assert len(span_bands(scenario)) == MAX_BANDS
    assert sum(len(lane.x) for lane in alarm_lanes(scenario)) <= MAX_MARKS
    assert undrawn_marks(scenario) == [
        f"{n - MAX_BANDS} further spans are not shaded",
        f"{n - 1 - MAX_MOMENTS} further changes are not marked",
        f"{n - MAX_MARKS} further alarms are not marked",
    ]
    assert undrawn_marks(ScenarioView()) == []
