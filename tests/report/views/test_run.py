"""A run folder becomes a snapshot, or a clear refusal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.fake_run import write_fake_run

from streamstop.errors import UsageError
from streamstop.report.views.run import load_snapshot, summary_snapshot

MakeRun = Callable[..., Path]


@pytest.fixture
def fake_run(tmp_path: Path) -> MakeRun:
    """Make a run folder with test data; takes what `write_fake_run` takes."""
    return lambda name="run", **options: write_fake_run(tmp_path / name, **options)


def test_figures_are_the_summarys_own(fake_run: MakeRun) -> None:
    folder = fake_run()
    summary = json.loads((folder / "summary.json").read_text())
    snapshot = load_snapshot(folder)
    assert snapshot.labelled and not snapshot.simulated
    assert snapshot.headline is not None
    assert snapshot.headline.segment == summary["accuracy"]["segment"]
    assert {s.key for s in snapshot.scores if s.kind == "baseline"} == set(summary["baselines"])
    assert snapshot.best_baseline is not None
    best = max(summary["baselines"].items(), key=lambda item: item[1]["segment"])
    assert snapshot.best_baseline.key == best[0]
    shares = [s.segment for s in snapshot.ranking]
    assert shares == sorted(shares, reverse=True)
    assert len(snapshot.curves.x) == summary["n_segments"]
    assert snapshot.curves.x[-1] == summary["n_segments"]


def test_between_equals_the_learner_stands_below_the_baseline(fake_run: MakeRun) -> None:
    same = {"segment": 0.9, "segment_last_third": 0.95}
    folder = fake_run(overrides={"accuracy": same, "baselines": {"softmax_counts": same}})
    ranked = [s.key for s in load_snapshot(folder).ranking if s.segment == 0.9]
    assert ranked == ["softmax_counts", "headline"]


def test_anything_but_real_data_is_called_simulated(fake_run: MakeRun) -> None:
    assert load_snapshot(fake_run(overrides={"data": "synthetic"})).simulated
    assert not load_snapshot(fake_run(overrides={"data": "unknown"})).simulated


def test_not_finite_is_none(fake_run: MakeRun) -> None:
    folder = fake_run(overrides={"speed": {"events_per_s": float("inf"), "wall_s": None}})
    assert load_snapshot(folder).speed == {"events_per_s": None, "wall_s": None}


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"No such folder.*nowhere$"):
        load_snapshot(tmp_path / "nowhere")


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(UsageError, match="Not a run folder"):
        load_snapshot(tmp_path)


def test_an_unfinished_run(fake_run: MakeRun) -> None:
    folder = fake_run()
    (folder / "summary.json").unlink()
    with pytest.raises(UsageError, match="still running, or it was killed"):
        load_snapshot(folder)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", "null", '{"status": "complete"}', "[" * 100_000, "\udc80"],
    ids=["empty", "cut", "list", "no keys", "null", "few keys", "deep", "not utf-8"],
)
def test_a_damaged_summary(fake_run: MakeRun, text: str) -> None:
    folder = fake_run()
    (folder / "summary.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match=r"summary\.json"):
        load_snapshot(folder)


@pytest.mark.parametrize(
    "wrong",
    [
        {"ledger": {"received": 1}},
        {"ledger": {"received": "many", "binned": 0, "pending": 0}},
        {"confusion": [[1, 2]]},
        {"confusion": 7},
        {"per_class": [{"class": "mug"}]},
        {"accuracy": [1]},
        {"baselines": {"softmax_counts": None}},
        {"n_segments": None},
    ],
)
def test_a_summary_of_another_shape(fake_run: MakeRun, wrong: dict[str, object]) -> None:
    summary = json.loads((fake_run() / "summary.json").read_text()) | wrong
    with pytest.raises(UsageError, match="does not have the shape"):
        summary_snapshot(summary)


def test_curves_and_config_may_be_missing(fake_run: MakeRun) -> None:
    folder = fake_run()
    for name in ("metrics.jsonl", "segments.csv", "config.toml"):
        (folder / name).unlink()
    snapshot = load_snapshot(folder)
    assert snapshot.curves.x == () and snapshot.config == "" and snapshot.paired == ()
