"""Pages written again: of runs and trainings, in their folders or elsewhere, of nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.fake_run import fake_scenario, write_fake_run
from typer.testing import CliRunner

from streamstop.cli import app
from streamstop.errors import UsageError
from streamstop.report.pages.run import render
from streamstop.report.views.run import load_snapshot
from streamstop.report.write import write_page

runner = CliRunner()


def test_runs_get_their_pages_and_the_paths_are_printed(tmp_path: Path) -> None:
    folders = [write_fake_run(tmp_path / name, overrides=fake_scenario()) for name in "ab"]
    (folders[0] / "report.html").write_text("old")
    result = runner.invoke(app, ["report", *map(str, folders)])
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [str(one / "report.html") for one in folders]
    for one in folders:
        assert (one / "report.html").read_text(encoding="utf-8") == render(load_snapshot(one))


def test_out_takes_the_page_of_one(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path / "run")
    page = tmp_path / "page.html"
    result = runner.invoke(app, ["report", str(folder), "--out", str(page)])
    assert (result.exit_code, result.stdout) == (0, f"{page}\n")
    assert page.is_file() and not (folder / "report.html").exists()


def test_what_is_no_run_is_named_and_the_others_are_done(tmp_path: Path) -> None:
    good, empty = write_fake_run(tmp_path / "good"), tmp_path / "empty"
    empty.mkdir()
    unfinished = write_fake_run(tmp_path / "unfinished")
    (unfinished / "summary.json").unlink()
    result = runner.invoke(app, ["report", str(empty), str(good), str(unfinished), "absent"])
    assert result.exit_code == 2
    assert result.stdout == f"{good / 'report.html'}\n"
    for message in ("Not a run folder", "This run has no summary.json", "No such folder"):
        assert message in result.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["a", "b", "--out", "x.html"], "--out is for a single run; 2 were given"),
        (["a", "--out", "."], "--out needs a file, and this is a folder"),
        (["a", "--out", "absent/x.html"], "--out needs a file in a folder that exists"),
        ([], "Missing argument"),
    ],
)
def test_what_cannot_be_done_is_exit_2(args: list[str], message: str) -> None:
    result = runner.invoke(app, ["report", *args])
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_an_unfinished_training_says_how_it_goes_on(tmp_path: Path) -> None:
    (tmp_path / "epochs.jsonl").write_text("")
    with pytest.raises(UsageError, match="streamstop train --resume"):
        write_page(tmp_path)


def test_a_training_gets_its_own_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.json").write_text("{}")
    asked = []

    def instead(folder: Path, to: Path | None = None) -> Path:
        asked.append((folder, to))
        return folder / "train.html"

    monkeypatch.setattr("streamstop.report.pages.training.write_train_page", instead)
    assert write_page(tmp_path) == tmp_path / "train.html"
    assert asked == [(tmp_path, None)]


def test_several_seeds_get_their_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "summary.json").write_text(json.dumps({"kind": "several seeds"}))
    page = tmp_path / "report.html"
    monkeypatch.setattr("streamstop.report.pages.seeds.write_joint_report", lambda _: page)
    assert write_page(tmp_path) == page


def test_several_seeds_do_not_go_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps({"kind": "several seeds"}))
    with pytest.raises(UsageError, match="leave out --out"):
        write_page(tmp_path, tmp_path / "x.html")
