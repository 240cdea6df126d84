"""A changing stream in text: no alarm is called false without known changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.fake_run import fake_scenario, write_fake_run

from streamstop.report.text.scenario import (
    LONG_RUNS,
    LONG_RUNS_ALONE,
    best_and_worst,
    describe_changes,
    detector_rows,
    long_runs_note,
    silent_detectors,
)
from streamstop.report.views.run import Snapshot, load_snapshot
from streamstop.report.views.scenario import DomainScore, DriftAlarm, HeldOut, ScenarioView, Span


@pytest.fixture
def changing(tmp_path: Path) -> Snapshot:
    return load_snapshot(write_fake_run(tmp_path / "run", overrides=fake_scenario(100)))


def test_one_change_is_named_with_its_place(changing: Snapshot) -> None:
    assert describe_changes(changing) == (
        "The stream changed once, after 50 segments: from “TEST domain 0” to “TEST domain 1”."
    )


def test_many_changes_are_listed_up_to_a_bound(changing: Snapshot) -> None:
    spans = tuple(Span(i, i, f"d{i}") for i in range(20))
    scenario = ScenarioView(spans=spans, total_spans=30, drifts=tuple(range(1, 20)))
    content = describe_changes(replace(changing, scenario=scenario))
    assert content.startswith("The stream changed 19 times. ")
    assert "“d7” (1); 22 more." in content and "d8" not in content


def test_a_stationary_stream_has_no_changes(changing: Snapshot) -> None:
    assert describe_changes(replace(changing, scenario=ScenarioView())) == ""
    assert (
        describe_changes(
            replace(changing, scenario=ScenarioView(alarms=(DriftAlarm(1, "a", "errors"),)))
        )
        == ""
    )


def test_who_noticed_and_who_did_not(changing: Snapshot) -> None:
    scenario = ScenarioView(
        drifts=(40,),
        alarms=(DriftAlarm(10, "KSWIN", "errors"), DriftAlarm(52, "KSWIN", "errors")),
        watched=(("ADWIN", "errors"), ("KSWIN", "errors"), ("ADWIN", "event rate")),
    )
    snapshot = replace(changing, scenario=scenario)
    assert detector_rows(snapshot) == [("KSWIN", "errors", "2", "yes", "12", "1", "0")]
    assert silent_detectors(snapshot) == "ADWIN over the errors; ADWIN over the event rate"


def test_without_known_drifts_nothing_is_found_or_false(changing: Snapshot) -> None:
    scenario = ScenarioView(alarms=(DriftAlarm(10, "KSWIN", "errors"),))
    assert detector_rows(replace(changing, scenario=scenario)) == [
        ("KSWIN", "errors", "1", "–", "–", "–", "–")
    ]


def test_the_best_and_the_worst_domain(changing: Snapshot) -> None:
    domains = [
        DomainScore(name, n, 0, {"headline": v})
        for name, n, v in (("led", 9, 0.5), ("lab", 1, 0.75), ("x", 3, 0.25), ("y", 2, None))
    ]
    content = best_and_worst(replace(changing, domains=tuple(domains))).replace(
        "\N{NO-BREAK SPACE}", " "
    )
    assert content == "best “lab” 75.0 %; worst “x” 25.0 %"
    assert best_and_worst(replace(changing, domains=tuple(domains[:1]))) == ""


def test_a_baseline_that_only_repeats_is_explained(changing: Snapshot) -> None:
    assert long_runs_note(changing) == ""
    scores = tuple(
        replace(one, segment=0.999) if one.key == "no_change" else one for one in changing.scores
    )
    repeating = replace(changing, scores=scores)
    assert long_runs_note(replace(repeating, held_out=HeldOut(("a",), (0,), ()))) == LONG_RUNS
    assert long_runs_note(replace(repeating, held_out=None)) == LONG_RUNS_ALONE
