"""`run --seeds` and `compare`: what reaches them, what is printed, and the exit codes."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import pytest
from helpers.made_runs import fake_run, hits, make_run, note_report
from typer.testing import CliRunner

from streamstop.cli import app
from streamstop.experiments import seeds as several

runner = CliRunner()


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Have --seeds run made-up runs, and stand in a folder of its own."""
    monkeypatch.setattr(several, "run_seeds", partial(several.run_seeds, run=fake_run))
    monkeypatch.setattr("streamstop.report.pages.run.write_report", note_report)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_several_seeds_leave_one_folder_one_page_and_means(
    faked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = ["run", "--seeds", "0-2", "--jobs", "2", "--name", "odd-damaged", "--json"]
    monkeypatch.setattr(sys, "argv", ["streamstop", *args])
    result = runner.invoke(app, args)
    assert result.exit_code == 4
    summary = json.loads(result.stdout)
    assert (summary["seeds"], summary["n"]) == ([0, 1, 2], 3)
    assert summary["command"] == "streamstop run --seeds 0-2 --jobs 2 --name odd-damaged --json"
    (folder,) = (faked / "runs").iterdir()
    assert (folder / "report.html").exists()
    alone = json.loads((folder / "seed-2" / "summary.json").read_text())["command"]
    assert alone == "streamstop run --name odd-damaged --json --seed 2"


def test_means_are_printed_beside_the_baselines(faked: Path) -> None:
    result = runner.invoke(app, ["run", "--seeds=0,2", "--name", "ok"])
    assert result.exit_code == 0
    assert "60.0 ± 14.1 %" in result.stdout
    assert "LDA on counts" in result.stdout
    assert "a library prints this" not in result.stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--seeds", "0-2", "--seed", "1"], "not both"),
        (["--seeds", "0-2", "--set", "run.seed=1"], "not both"),
        (["--jobs", "2"], "--jobs needs --seeds"),
        (["--seeds", "x"], "numbers and ranges"),
        (["--seeds", "0-1", "--source", "davis346"], "davis346 is live"),
        (["--seeds", "0-1", "--source", "-"], "a pipe comes once"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(faked: Path, args: list[str], message: str) -> None:
    result = runner.invoke(app, ["run", *args])
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (faked / "runs").exists()


def test_no_jobs_are_no_jobs() -> None:
    assert runner.invoke(app, ["run", "--seeds", "0-1", "--jobs", "0"]).exit_code == 2


def test_compare_prints_a_table_writes_a_page_and_says_json(tmp_path: Path) -> None:
    for seed in range(3):
        make_run(tmp_path / "a" / f"seed-{seed}", hits(40 + seed, 60), seed=seed)
        rule = '[learner]\nrule = "sltt"'
        make_run(tmp_path / "b" / f"seed-{seed}", hits(30, 60), seed=seed, settings=rule)
    named = [str(tmp_path / "a"), str(tmp_path / "b")]
    page = tmp_path / "c.html"
    result = runner.invoke(app, ["compare", *named, "--out", str(page)], env={"COLUMNS": "90"})
    assert result.exit_code == 0
    assert "A (rule = stop) is better than B (rule = sltt)" in " ".join(result.stdout.split())
    assert page.read_text().startswith("<!doctype html>")
    found = json.loads(runner.invoke(app, ["compare", *named, "--json"]).stdout)
    assert [group["n"] for group in found["groups"]] == [3, 3]


def test_compare_of_nothing_is_a_usage_error(tmp_path: Path) -> None:
    assert runner.invoke(app, ["compare"]).exit_code == 2
    result = runner.invoke(app, ["compare", str(tmp_path / "nowhere")])
    assert result.exit_code == 2
    assert "no such run" in result.stderr
    assert "nothing to compare" in runner.invoke(app, ["compare", str(tmp_path)]).stderr
