"""The text of a report is as honest as its figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_run import write_fake_run

from streamstop.report.formatting import NBSP
from streamstop.report.text import run as run_text
from streamstop.report.views.metrics_log import Paired
from streamstop.report.views.run import Snapshot, load_snapshot

MakeRun = Callable[..., Path]


@pytest.fixture
def fake_run(tmp_path: Path) -> MakeRun:
    """Make a run folder with test data; takes what `write_fake_run` takes."""
    return lambda name="run", **options: write_fake_run(tmp_path / name, **options)


def scored(fake_run: MakeRun, ours: float, theirs: float, **more: Any) -> Snapshot:
    folder = fake_run(
        overrides={
            "accuracy": {"segment": ours, "segment_last_third": 1.0},
            "baselines": {
                "softmax_counts": {"segment": 0.64, "segment_last_third": 0.78},
                "lda_counts": {"segment": theirs, "segment_last_third": 0.99},
            },
        }
        | more
    )
    return load_snapshot(folder)


def content(snapshot: Snapshot) -> str:
    return run_text.result_sentence(snapshot).replace(NBSP, " ")


def test_the_result_when_the_learner_wins(fake_run: MakeRun) -> None:
    assert content(scored(fake_run, 0.953, 0.931)) == (
        "Over 257 segments of real data, the learner predicted 95.3 % correctly (last third "
        "100 %). The strongest baseline (LDA on counts): 93.1 % (last third 99.0 %)."
    )


def test_the_result_when_it_does_not(fake_run: MakeRun) -> None:
    assert "It does not beat the strongest baseline (LDA on counts)" in content(
        scored(fake_run, 0.92, 0.931)
    )
    assert "the same as the strongest baseline (LDA on counts)" in content(
        scored(fake_run, 0.931, 0.931)
    )


def test_the_strongest_baseline_need_not_be_lda(fake_run: MakeRun) -> None:
    assert "The strongest baseline (softmax regression on counts)" in content(
        scored(fake_run, 0.953, 0.3)
    )


def test_simulated_data_are_called_so_in_the_result(fake_run: MakeRun) -> None:
    assert "of simulated data" in content(scored(fake_run, 0.9, 0.8, data="simulated"))


def test_unlabelled_says_that_nothing_was_scored(fake_run: MakeRun) -> None:
    snapshot = load_snapshot(fake_run(labelled=False))
    assert content(snapshot).startswith("Nothing was scored")
    assert "This means nothing, because the network was never trained" in content(snapshot)
    trained = replace(snapshot, weights={"path": "best.safetensors"})
    assert content(trained).endswith("Whether that is correct is unknown.")
    beside = replace(snapshot, labels_beside="a/rec.csv")
    assert "has no labels (a label file lies next to it: --labels a/rec.csv)." in content(beside)
    given = replace(snapshot, status="unscored", unscored=3, message="labels are too short")
    assert content(given) == "Nothing was scored: labels are too short."
    assert "has no labels" not in " ".join(dict(run_text.protocol(given)).values())
    assert "this run has no result" in run_text.warnings(given)[0]
    assert run_text.significance_sentence(snapshot) == ""
    assert "Honest scoring" not in dict(run_text.protocol(snapshot))


def test_what_nothing_learned_by_is_not_in_the_protocol(fake_run: MakeRun) -> None:
    """Of a frozen network and of a stream without labels; the order is of labelled segments."""
    learns = {"rule": "stop", "trainable": ["weights", "thresholds", "leaks"], "loss": "ce"}
    content = {**learns, "order": "iid", "length_us": "0"}
    snapshot = load_snapshot(fake_run())
    protocol = {**snapshot.protocol, **content}
    for run, kept in (
        (replace(snapshot, protocol=protocol), content.keys()),
        (
            replace(snapshot, protocol={**protocol, "frozen": "True"}),
            content.keys() - learns.keys(),
        ),
        (replace(snapshot, protocol=protocol, accuracy=None), set()),
    ):
        named = {name.lower().replace("segment", "length_us") for name, _ in run_text.protocol(run)}
        assert named & content.keys() == set(kept)


def test_honesty_is_claimed_for_the_prequential_protocol_alone(fake_run: MakeRun) -> None:
    snapshot = load_snapshot(fake_run())
    assert "Honest scoring" in dict(run_text.protocol(snapshot))
    naive = replace(snapshot, protocol=dict(snapshot.protocol) | {"evaluation": "naive"})
    assert "Honest scoring" not in dict(run_text.protocol(naive))


@pytest.mark.parametrize(
    ("status", "word"), [("interrupted", "Interrupted"), ("diverged", "diverged")]
)
def test_a_run_that_ended_badly_says_so_first(fake_run: MakeRun, status: str, word: str) -> None:
    assert word in run_text.warnings(load_snapshot(fake_run(status=status)))[0]


def test_a_whole_run_warns_of_nothing(fake_run: MakeRun) -> None:
    assert run_text.warnings(load_snapshot(fake_run())) == []


def test_damage_is_reported_even_of_a_complete_run(fake_run: MakeRun) -> None:
    damage = [{"offset": 1, "lost_bytes": 2, "reason": "cut", "path": "x"}] * 2
    ledger = {"received": 5, "binned": 5, "pending": 0, "damage": damage}
    (warning,) = run_text.warnings(load_snapshot(fake_run(overrides={"ledger": ledger})))
    assert "2 parts of it could not be read" in warning


def test_ledger_as_an_equation(fake_run: MakeRun) -> None:
    snapshot = load_snapshot(fake_run())
    assert snapshot.ledger.balances
    assert run_text.ledger_equation(snapshot) == (
        "received 4,321,000 = binned 4,318,100 + dropped 0 "
        "+ rejected 2,900 (late 2,400, out of range 500) + pending 0"
    )
    off = replace(snapshot, ledger=replace(snapshot.ledger, pending=3))
    assert "received 4,321,000 ≠ binned" in run_text.ledger_equation(off)
    assert "does not balance: 3 events are counted twice" in run_text.warnings(off)[0]


def test_a_lead_that_may_be_chance_is_called_so(fake_run: MakeRun) -> None:
    snapshot = scored(fake_run, 0.953, 0.931)
    close = replace(snapshot, paired=(("lda_counts", Paired(10, 5)),))
    clear = replace(snapshot, paired=(("lda_counts", Paired(40, 5)),))
    assert "is not significant" in run_text.significance_sentence(close)
    assert "is not significant" not in run_text.significance_sentence(clear)
    assert "the learner on 10, this baseline on 5" in run_text.significance_sentence(close)


def test_many_rejected_events_are_a_warning(tmp_path: Path) -> None:
    """At 1 % nothing is content, above it the share and the causes are."""
    snapshot = load_snapshot(write_fake_run(tmp_path))
    for late, content in ((10, False), (11, True)):
        ledger = replace(snapshot.ledger, received=1000, rejected=(("late", late),))
        found = run_text.warnings(replace(snapshot, ledger=ledger))
        assert (
            any("of the events were rejected" in one and "late 11" in one for one in found)
            == content
        )


def test_events_that_a_filter_was_asked_to_reject_are_no_warning(tmp_path: Path) -> None:
    snapshot = load_snapshot(write_fake_run(tmp_path))
    rejected = (("hot_pixel", 300), ("refractory", 300), ("late", 1))
    ledger = replace(snapshot.ledger, received=1000, rejected=rejected)
    found = run_text.warnings(replace(snapshot, ledger=ledger))
    assert not any("rejected" in one for one in found)


WEIGHTS = {"path": "runs/x/best.safetensors", "sha256": "ab" * 32, "classes": 7, "bin_us": None}


def test_pretrained_weights_are_a_warning(fake_run: MakeRun) -> None:
    scratch, trained = scored(fake_run, 0.95, 0.93), scored(fake_run, 0.95, 0.93, weights=WEIGHTS)
    warned = " ".join(run_text.warnings(trained))
    assert "weights of runs/x/best.safetensors (sha256 abababababab)" in warned
    assert "not one from scratch" in warned
    assert "not a test score either" in warned
    assert "the learner, which started pretrained, predicted 95.0 %" in content(trained)
    assert "is not known" in dict(run_text.protocol(trained))["Honest scoring"]
    assert "has seen few labels" not in dict(run_text.protocol(trained))["Evaluation"]
    assert run_text.note_of("initial_network", trained) != run_text.note_of(
        "initial_network", scratch
    )
    for text in (
        content(scratch),
        *run_text.warnings(scratch),
        *dict(run_text.protocol(scratch)).values(),
    ):
        assert "trained" not in text


def test_a_frozen_run_is_called_frozen_and_no_learner(fake_run: MakeRun) -> None:
    terms = {"update": "step", "evaluation": "prequential", "decision": "linear", "frozen": True}
    frozen = scored(fake_run, 0.95, 0.93, weights=WEIGHTS, protocol=terms)
    assert "the frozen network predicted 95.0 %" in content(frozen)
    assert "only predicts (frozen)" in " ".join(run_text.warnings(frozen))
    found = dict(run_text.protocol(frozen))
    assert found["Updates"].startswith("None: the network is frozen")
    assert "Frozen" not in found
    unlabelled = load_snapshot(fake_run("u", labelled=False, overrides={"weights": WEIGHTS}))
    assert not any("score" in warning for warning in run_text.warnings(unlabelled))
    (warning,) = run_text.warnings(unlabelled)
    assert "only predicted: it had no labels" in warning and "learn" not in warning


def test_an_overloaded_run_says_so_first(fake_run: MakeRun) -> None:
    snapshot = load_snapshot(fake_run(status="overloaded", overrides={"weights": WEIGHTS}))
    dropped = (("overload", 600), ("cut_off", 7))
    ledger = replace(snapshot.ledger, received=1000, binned=393, dropped=dropped, rejected=())
    first = run_text.warnings(replace(snapshot, ledger=ledger))[0]
    assert first.replace(NBSP, " ").startswith(
        "Overloaded: 60.0 % of the events were dropped (overload 600), since they came faster"
    )


def test_terms_of_the_protocol_have_units_and_idle_ones_are_left_out(fake_run: MakeRun) -> None:
    terms = {"update": "segment", "arrival": "immediate", "update_interval": 1, "delay_us": 0}
    terms |= {
        "bin_us": 50_000,
        "length_us": 0,
        "trainable": ["weights", "thresholds"],
        "rule": "stop",
    }
    found = run_text.protocol(load_snapshot(fake_run(overrides={"protocol": terms})))
    assert found[-4:] == [
        ("Bin", f"50{NBSP}ms"),
        ("Segment", "as labelled"),
        ("Trainable", "weights, thresholds"),
        ("Rule", "stop"),
    ]
    assert not {"Update interval", "Delay"} & set(dict(found))
    late = {"update": "step", "arrival": "delayed", "update_interval": 3, "delay_us": 1_500_000}
    content = dict(run_text.protocol(load_snapshot(fake_run(overrides={"protocol": late}))))
    assert (content["Update interval"], content["Delay"]) == ("3", f"1.5{NBSP}s")
    assert content["Labels"].endswith("trains only the LDA readout.")


@pytest.mark.parametrize(("late", "part"), run_text.LATE.items())
def test_what_late_labels_train_is_said(fake_run: MakeRun, late: str, part: str) -> None:
    terms = {"update": "segment", "arrival": "delayed", "delay_us": 1_500_000, "late": late}
    content = dict(run_text.protocol(load_snapshot(fake_run(overrides={"protocol": terms}))))
    assert f"trains the LDA readout and {part}, as if it had been known" in content["Labels"]
    assert "Late" not in content
