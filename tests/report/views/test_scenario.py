"""What a summary says of a changing stream: read whole and bounded."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.fake_run import fake_scenario

from streamstop.report.views.scenario import (
    MAX_ALARMS,
    MAX_ROWS,
    MAX_SPANS,
    MAX_TASKS,
    DriftAlarm,
    ScenarioView,
    Span,
    detector_results,
    read_domains,
    read_held_out,
    read_scenario,
)


def alarms(
    *segments: int, detector: str = "ADWIN", signal: str = "errors"
) -> tuple[DriftAlarm, ...]:
    return tuple(DriftAlarm(one, detector, signal) for one in segments)


def test_a_summary_without_these_tables_is_of_a_stationary_stream() -> None:
    for summary in ({}, {"scenario": None, "drift": None, "continual": None, "per_domain": []}):
        assert read_scenario(summary) == ScenarioView()
        assert not read_scenario(summary).changes
        assert read_domains(summary) == ()
        assert read_held_out(summary) is None


def test_a_scenario_is_read_whole() -> None:
    scenario = read_scenario(fake_scenario(100, spans=4, alarms=3))
    assert scenario.spans[1] == Span(25, 49, "TEST domain 1")
    assert (scenario.drifts, scenario.total_spans, scenario.changes) == ((25, 50, 75), 4, True)
    assert scenario.alarms == (
        DriftAlarm(25, "ADWIN", "errors"),
        DriftAlarm(50, "Page-Hinkley", "errors"),
        DriftAlarm(75, "KSWIN", "errors"),
    )


@pytest.mark.parametrize("status", ["interrupted", "diverged"])
def test_an_unfinished_run_has_only_the_changes_it_reached(status: str) -> None:
    summary = fake_scenario(100, spans=4) | {"n_segments": 60, "status": status}
    scenario = read_scenario(summary)
    assert (scenario.drifts, len(scenario.spans), scenario.total_spans) == ((25, 50), 3, 3)
    assert read_scenario(summary | {"status": "complete"}).drifts == (25, 50, 75)


def test_the_alarms_of_a_detector_are_sorted_by_the_changes() -> None:
    """Before 40: 10, 39 are false. From 40: 40 at once, 45 again. From 60: none. From 80: 99."""
    scenario = ScenarioView(drifts=(40, 60, 80), alarms=alarms(10, 39, 40, 45, 99))
    (one,) = detector_results(scenario)
    assert (one.alarms, one.false_alarms, one.repeated) == (5, 2, 1)
    assert one.delays == (0, None, 19)
    assert one.found == (0, 19)


def test_without_known_drifts_no_alarm_is_false() -> None:
    (one,) = detector_results(ScenarioView(alarms=alarms(10, 20)))
    assert (one.alarms, one.delays, one.false_alarms, one.repeated) == (2, (), None, 0)


def test_those_that_watched_and_raised_nothing_are_there() -> None:
    scenario = ScenarioView(
        drifts=(5,), alarms=alarms(7), watched=(("KSWIN", "errors"), ("ADWIN", "errors"))
    )
    assert [(one.detector, one.alarms, one.delays) for one in detector_results(scenario)] == [
        ("KSWIN", 0, (None,)),
        ("ADWIN", 1, (2,)),
    ]


def test_domains_keep_everyone_s_accuracy() -> None:
    row = {
        "domain": "led",
        "segments": 3,
        "first": 7,
        "headline": 0.5,
        "softmax_counts": float("nan"),
    }
    (one, others) = read_domains({"per_domain": [row, {**row, "domain": None}]})
    assert (one.name, one.segments, one.first) == ("led", 3, 7)
    assert one.accuracy == {"headline": 0.5, "softmax_counts": None}
    assert one.best == 0.5
    assert others.name is None


def test_r_is_read_with_its_first_row_and_its_figures() -> None:
    held = read_held_out(fake_scenario(tasks=3))
    assert held is not None and held.learner is not None
    assert held.tasks == ("TEST task 0", "TEST task 1", "TEST task 2")
    assert len(held.learner.before) == 3
    assert [len(row) for row in held.learner.r] == [3, 3, 3]
    assert held.learner.backward_transfer == -0.125


def test_an_older_run_has_r_without_the_row_before() -> None:
    summary = fake_scenario()
    for figures in summary["continual"]["makers"].values():
        del figures["before"]
    held = read_held_out(summary)
    assert held is not None and held.learner is not None
    assert held.learner.before == ()


def test_what_is_kept_is_bounded() -> None:
    alarm = {"segment": 1, "detector": "ADWIN", "signal": "errors"}
    scenario = read_scenario(
        {
            "scenario": {"spans": [[0, 1, "a"]] * 5000, "drifts": [1] * 5000},
            "drift": {"alarms": [alarm] * 5000},
        }
    )
    assert (len(scenario.spans), len(scenario.drifts)) == (MAX_SPANS, MAX_SPANS)
    assert (len(scenario.alarms), scenario.alarm_count, scenario.total_spans) == (
        MAX_ALARMS,
        5000,
        5000,
    )
    n, rows = 100, 300
    figures = {"r": [[i / rows] * n for i in range(rows)]}
    held = read_held_out(
        {
            "continual": {
                "tasks": [str(i) for i in range(n)],
                "taught": [0] * rows,
                "makers": {"headline": figures},
            }
        }
    )
    assert held is not None and held.learner is not None
    assert (len(held.tasks), held.tasks_left) == (MAX_TASKS, n - MAX_TASKS)
    assert (len(held.learner.r), held.rows_left) == (MAX_ROWS, rows - MAX_ROWS)
    assert held.learner.r[-1][0] == 299 / 300  # the last stays: it is what the figures speak of


@pytest.mark.parametrize(
    "broken",
    [
        {"scenario": {"spans": [[0, 1]]}},
        {"drift": {"alarms": [{"segment": "soon", "detector": "a", "signal": "b"}]}},
        {"continual": {"tasks": ["a"], "taught": [1], "makers": {}}},
        {"continual": {"tasks": ["a"], "taught": [0], "makers": {"headline": {"r": [[1.0, 0.0]]}}}},
        {"per_domain": [{"segments": 1, "first": 0}]},
    ],
)
def test_what_means_something_else_is_an_error(broken: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        read_scenario(broken), read_domains(broken), read_held_out(broken)
