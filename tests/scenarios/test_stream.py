"""Runs under a scenario: what is held out is tested after each span, and never learned."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.event_files import write_bin

from streamstop.errors import UsageError
from streamstop.evaluation.held_out import HeldOutEvaluation
from streamstop.events.packet import make_events
from streamstop.pipeline.configure import load_config
from streamstop.pipeline.run import RunResult, run
from streamstop.scenarios.stream import open_stream

SETS = ["network.channels=[4]", "binning.height=8", "binning.width=8", "binning.bin_us=10000"]
SETS += ["segments.length_us=20000"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes of two users; ten segments of 20 ms each, the class told by its rows."""
    for user in ("user01_led", "user02_lab"):
        for k, label in enumerate("abc"):
            draw = np.random.default_rng(k)
            t = np.sort(draw.integers(0, 200_000, 1500))
            t[0], t[-1] = 0, 199_999
            y = 11 * k + draw.integers(0, 10, 1500)
            events = make_events(t, draw.integers(0, 34, 1500), y, draw.random(1500) < 0.5)
            write_bin(tmp_path / "data" / user / label / "0.bin", events)
    return tmp_path / "data"


def go(folder: Path, tmp_path: Path, *sets: str, **flags: Any) -> RunResult:
    chosen = {"source.uri": str(folder), "run.output_dir": str(tmp_path / "runs")}
    chosen |= {key.replace("__", "."): value for key, value in flags.items()}
    return run(load_config(None, [*SETS, *sets], chosen))


def rows(result: RunResult) -> list[dict[str, str]]:
    with (result.run_dir / "segments.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_classes_come_one_by_one_and_are_tested_after_each(folder: Path, tmp_path: Path) -> None:
    result = go(
        folder, tmp_path, "scenario.name=class-incremental", "scenario.held_out_fraction=0.3"
    )
    said = result.summary["continual"]
    labels = [row["label"] for row in rows(result)]
    order = list(dict.fromkeys(labels))
    assert labels == [one for one in order for _ in range(14)]
    assert said["tasks"] == order and said["taught"] == [0, 1, 2]
    assert result.summary["scenario"]["spans"] == [
        [14 * i, 14 * i + 13, name] for i, name in enumerate(order)
    ]
    assert result.summary["scenario"]["held_out"] == 18
    assert result.summary["protocol"]["order"] == "class-incremental"
    assert result.summary["ledger"]["dropped"]["held_out"] > 0
    lda = said["makers"]["lda"]
    # Of what it has been taught it knows all; of what it has not, nothing.
    assert lda["r"] == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert (lda["average_accuracy"], lda["forgetting"]) == (1.0, 0.0)
    assert said["makers"]["majority"]["average_accuracy"] == pytest.approx(1 / 3)
    assert said["makers"]["no_change"]["r"][2] == [0, 0, 1]


def test_being_tested_changes_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = ("scenario.name=class-incremental", "scenario.held_out_fraction=0.3")
    tested = go(folder, tmp_path, *sets)
    for name in ("evaluate_before", "advance_to", "finish"):
        monkeypatch.setattr(HeldOutEvaluation, name, lambda *_: None)
    untested = go(folder, tmp_path, *sets)
    assert untested.summary["continual"] is None
    assert rows(tested) == rows(untested)
    weights = [(one.run_dir / "weights.safetensors").read_bytes() for one in (tested, untested)]
    assert weights[0] == weights[1]


def test_a_learner_that_begins_anew_with_each_task_knows_the_last_alone(
    folder: Path, tmp_path: Path
) -> None:
    sets = (
        "scenario.name=class-incremental",
        "scenario.held_out_fraction=0.3",
        "learner.reinitialize=span",
    )
    result = go(folder, tmp_path, *sets)
    makers = result.summary["continual"]["makers"]
    assert np.array_equal(makers["lda"]["r"], np.eye(3))
    assert makers["frozen_features_lda"]["average_accuracy"] > 0.9  # its rivals go on


def test_each_state_of_a_corrupted_world_is_tested(folder: Path, tmp_path: Path) -> None:
    result = go(
        folder,
        tmp_path,
        "scenario.name=corrupted",
        "scenario.corruptions=['rotate 180 at 0.5']",
        "scenario.held_out_fraction=0.2",
    )
    said = result.summary["continual"]
    assert said["tasks"] == ["clean", "rotate 180 at 0.5"]
    assert said["taught"] == [0, 1]
    first, last = said["makers"]["lda"]["r"]
    # Turned by half, the rows of a are those of c: what it learned upright does not hold.
    assert first[0] == 1.0 and first[1] < 0.7
    assert result.summary["scenario"]["drifts"] == [24]
    assert result.summary["protocol"]["spans"] == "0-23 clean; 24-47 rotate 180 at 0.5"
    assert last[1] > first[1]
    found = rows(result)
    for one, own in zip(result.summary["per_domain"], (found[:24], found[24:]), strict=True):
        assert (one["first"], one["segments"]) == (int(own[0]["segment"]), 24)
        for maker in ("headline", "lda_counts", "softmax_counts", "initial_network"):
            assert one[maker] == np.mean([row[maker] == row["label"] for row in own])


def test_recordings_tell_domains_where_nothing_changes(folder: Path, tmp_path: Path) -> None:
    said = go(folder, tmp_path, "segments.max_segments=20").summary["per_domain"]
    assert {one["domain"] for one in said} == {"lab", "led"}
    assert sum(one["segments"] for one in said) == 20


def test_domains_are_lightings_or_folders(folder: Path, tmp_path: Path) -> None:
    for domain, names in (("lighting", ["lab", "led"]), ("folder", ["user01_led", "user02_lab"])):
        result = go(
            folder,
            tmp_path,
            "scenario.name=domain-incremental",
            f"scenario.domain_from={domain}",
            "scenario.held_out_fraction=0.1",
        )
        assert result.summary["continual"]["tasks"] == names
        assert [one[2] for one in result.summary["scenario"]["spans"]] == names


def test_a_stream_that_does_not_change_is_tested_once(folder: Path, tmp_path: Path) -> None:
    said = go(folder, tmp_path, "scenario.held_out_fraction=0.2").summary["continual"]
    assert (said["tasks"], said["taught"]) == (["all"], [0])
    assert said["makers"]["lda"]["average_accuracy"] == 1.0
    assert said["makers"]["lda"]["forgetting"] is None


def test_a_limit_ends_the_tests_with_the_stream(folder: Path, tmp_path: Path) -> None:
    result = go(
        folder,
        tmp_path,
        "scenario.name=class-incremental",
        "scenario.held_out_fraction=0.3",
        "segments.max_segments=20",
    )
    said = result.summary["continual"]
    assert said["taught"] == [0, 1]
    assert len(said["tasks"]) == 3  # the third is only tested


def test_a_run_without_held_out_segments_says_so(folder: Path, tmp_path: Path) -> None:
    summary = go(folder, tmp_path, "scenario.name=gradual").summary
    assert summary["continual"] is None
    assert [one[2] for one in summary["scenario"]["spans"]] == ["lab", "lab to led", "led"]


def test_a_response_to_drift_is_counted(folder: Path, tmp_path: Path) -> None:
    sets = ("drift.response=boost", "drift.detector=hddm-a", "segments.length_us=10000")
    result = go(folder, tmp_path, "scenario.corruptions=['loss 1 at 0.5']", *sets)
    heard = [one for one in result.summary["drift"]["alarms"] if one["detector"] == "HDDM-A"]
    assert result.summary["drift"]["responses"] == len(heard) > 0


def test_what_does_not_fit_is_refused(folder: Path, tmp_path: Path) -> None:
    one = folder / "user01_led" / "a" / "0.bin"
    cases = [
        (folder, ["scenario.name=corrupted"], "names none"),
        (one, ["scenario.name=class-incremental"], "this is one stream"),
        (one, ["scenario.held_out_fraction=0.3"], "this is one stream"),
        (folder, ["scenario.held_out_fraction=0.01"], "holds nothing out"),
    ]
    for path, sets, words in cases:
        config = load_config(None, [*SETS, *sets], {"source.uri": str(path)})
        with pytest.raises(UsageError, match=words):
            open_stream(config, str(path))
