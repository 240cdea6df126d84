"""The joint summary: means over those that came to their end, and a word on every other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.made_runs import hits, make_run

from streamstop.experiments.aggregate import SeedRun, aggregate_runs, mean_sd_tree, seed_folders
from streamstop.pipeline.summary_file import read_summary


def run(tmp_path: Path, seed: int, right: int, **overrides: Any) -> SeedRun:
    folder = make_run(tmp_path / f"seed-{seed}", hits(right, 10), seed=seed, **overrides)
    return SeedRun(seed, 0, folder.name, read_summary(folder))


def test_every_figure_has_mean_deviation_number_and_interval(tmp_path: Path) -> None:
    runs = [run(tmp_path, seed, right) for seed, right in enumerate([6, 7, 8])]
    summary = aggregate_runs(runs, command="streamstop run --seeds 0-2")
    figure = summary["accuracy"]["segment"]
    assert (figure["mean"], figure["n"]) == (pytest.approx(0.7), 3)
    assert figure["sd"] == pytest.approx(0.1)
    assert figure["ci95"] == pytest.approx([0.7 - 0.2484, 0.7 + 0.2484], abs=1e-4)
    assert summary["accuracy"]["kappa"]["mean"] == pytest.approx(0.4)
    assert summary["baselines"]["lda_counts"]["segment"]["sd"] == 0
    assert summary["per_class"] == [
        {"class": "a", "segments": mean_sd_tree([10, 10, 10]), "recall": figure}
    ]
    assert summary["margin_over_baselines"]["lda_counts"]["segment"]["mean"] == pytest.approx(0.2)
    assert summary["drift"]["count"]["mean"] == 1
    assert [(r["seed"], r["segment"]) for r in summary["runs"]] == [(0, 0.6), (1, 0.7), (2, 0.8)]
    assert (summary["status"], summary["n"], summary["data"]) == ("complete", 3, "simulated")
    assert json.loads(json.dumps(summary)) == summary


@pytest.mark.parametrize("status", ["diverged", "interrupted"])
def test_a_run_without_an_end_is_in_no_mean_and_is_named(tmp_path: Path, status: str) -> None:
    broken = run(tmp_path, 1, 1, status=status, message="a reason")
    failed = SeedRun(2, 3, message="its source cannot be opened")
    summary = aggregate_runs([run(tmp_path, 0, 8), broken, failed], command="")
    assert summary["accuracy"]["segment"]["n"] == summary["n"] == 1
    assert f"seed 1 is in no mean: {status} after 10 segments (a reason)" in summary["message"]
    assert "seed 2 is in no mean: its source cannot be opened" in summary["message"]
    assert summary["status"] == "failed"
    assert [row["status"] for row in summary["runs"]] == ["complete", status, "failed"]


def test_domains_and_continual_figures_have_means_too(tmp_path: Path) -> None:
    def with_tests(seed: int, value: float) -> SeedRun:
        figures = {"r": [[value]], "average_accuracy": value, "forgetting": None}
        return run(
            tmp_path,
            seed,
            5,
            continual={"tasks": ["x"], "taught": [0], "makers": {"headline": figures}},
            per_domain=[{"domain": "lamp", "accuracy": value, "segments": 4}],
        )

    summary = aggregate_runs([with_tests(0, 0.5), with_tests(1, 0.7)], command="")
    own = summary["continual"]["makers"]["headline"]
    assert own["average_accuracy"]["mean"] == pytest.approx(0.6)
    assert own["forgetting"] is None
    assert "r" not in own
    assert summary["per_domain"][0]["domain"] == "lamp"
    assert summary["per_domain"][0]["accuracy"]["mean"] == pytest.approx(0.6)


def test_rows_are_matched_by_name_not_by_place() -> None:
    found = mean_sd_tree(
        [[{"class": "x", "r": 1.0}, {"class": "y", "r": 0.0}], [{"class": "y", "r": 1.0}]]
    )
    assert [(row["class"], row["r"]["mean"], row["r"]["n"]) for row in found] == [
        ("x", 1.0, 1),
        ("y", 0.5, 2),
    ]
    others = mean_sd_tree(
        [[{"domain": None, "a": 1}], [{"domain": "x", "a": 2}, {"domain": None, "a": 3}]]
    )
    assert [(row["domain"], row["a"]["mean"]) for row in others] == [(None, 2.0), ("x", 2.0)]
    assert mean_sd_tree([[1, 2], [3, 4]]) is None
    assert mean_sd_tree([float("nan"), 1.0])["n"] == 1


def test_seeds_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    for name in ("seed-10", "seed-2", "seed-x", "seed-01", "other"):
        (tmp_path / name).mkdir()
    assert [one.name for one in seed_folders(tmp_path)] == ["seed-2", "seed-10"]
    assert seed_folders(tmp_path / "nowhere") == []
