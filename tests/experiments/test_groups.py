"""Groups of runs: found by their folders, told from each other by their configurations."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.made_runs import hits, make_run

from streamstop.errors import UsageError
from streamstop.experiments.groups import (
    MAX_GROUPS,
    Run,
    abbreviate,
    best_baseline,
    config_differences,
    disambiguate,
    find_run_folders,
    group_runs,
    read_run,
)


def runs(tmp_path: Path, name: str, seeds: int = 2, settings: str = "") -> list[Run]:
    return [
        read_run(make_run(tmp_path / f"{name}-{i}", hits(5 + i, 10), seed=i, settings=settings))
        for i in range(seeds)
    ]


def test_runs_that_differ_by_their_seed_are_one_group(tmp_path: Path) -> None:
    (group,), notes = group_runs(runs(tmp_path, "a", 3))
    assert (group.letter, [run.seed for run in group.runs]) == ("A", [0, 1, 2])
    assert notes == []
    assert group.mean == pytest.approx(0.6)
    assert group.values("accuracy", "segment") == [0.5, 0.6, 0.7]
    assert group.figure("accuracy", "segment", "mean") is None
    assert group.figure("accuracy", "nothing") is None


def test_groups_are_named_by_the_settings_in_which_they_differ(tmp_path: Path) -> None:
    slow = '[learner]\nrule = "sltt"\n'
    groups, _ = group_runs([*runs(tmp_path, "a"), *runs(tmp_path, "b", settings=slow)])
    assert config_differences(groups) == {"learner.rule": ("stop", "sltt")}
    assert [group.label for group in groups] == ["rule = stop", "rule = sltt"]


def test_a_default_that_is_written_out_makes_no_other_group(tmp_path: Path) -> None:
    same = '[learner]\nrule = "stop"\n'
    groups, _ = group_runs([*runs(tmp_path, "a", 1), *runs(tmp_path, "b", 2, same)[1:]])
    assert len(groups) == 1 and [run.seed for run in groups[0].runs] == [0, 1]


def test_of_one_seed_that_ran_twice_the_last_counts_and_a_note_names_it(tmp_path: Path) -> None:
    (group,), notes = group_runs([*runs(tmp_path, "a", 1), *runs(tmp_path, "b", 1)])
    assert [run.folder.name for run in group.runs] == ["b-0"]
    assert len(notes) == 1 and "seed 0 was run more than once" in notes[0]


def test_a_run_that_did_not_end_is_in_no_mean_and_a_note_names_it(tmp_path: Path) -> None:
    broken = read_run(make_run(tmp_path / "x", hits(1, 10), seed=7, status="interrupted"))
    (group,), notes = group_runs([*runs(tmp_path, "a", 2), broken])
    assert [run.seed for run in group.runs] == [0, 1]
    assert notes == ["A: seed 7 is in no mean: interrupted after 10 segments"]


def test_other_versions_are_noted(tmp_path: Path) -> None:
    new = read_run(make_run(tmp_path / "n", hits(5, 10), seed=9, versions={"streamstop": "9"}))
    _, notes = group_runs([*runs(tmp_path, "a", 1), new])
    assert any("streamstop 0 and 9" in note for note in notes)


def test_more_groups_than_letters_are_refused(tmp_path: Path) -> None:
    (one,) = runs(tmp_path, "a", 1)
    many = [
        Run(one.folder, 0, one.summary, {"learner.lr": float(i)}) for i in range(MAX_GROUPS + 1)
    ]
    with pytest.raises(UsageError, match=f"{MAX_GROUPS + 1} groups"):
        group_runs(many)
    assert len(group_runs(many[:-1])[0]) == MAX_GROUPS


def test_folders_are_found_once_and_what_is_none_is_noted(tmp_path: Path) -> None:
    runs(tmp_path / "joint", "seed")
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    words = [str(tmp_path / "joint"), str(tmp_path / "joint" / "seed-0"), str(tmp_path / "file")]
    folders, notes = find_run_folders([*words, str(tmp_path / "empt*")])
    assert [folder.name for folder in folders] == ["seed-0", "seed-1"]
    assert len(notes) == 2 and all(note.startswith("left out: ") for note in notes)
    with pytest.raises(UsageError, match="nowhere"):
        find_run_folders([str(tmp_path / "nowhere")])


def test_a_training_s_folder_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text("{}")
    with pytest.raises(UsageError, match="training"):
        read_run(tmp_path)


def test_the_best_baseline_is_that_of_the_mean_and_then_of_the_end() -> None:
    def figure(segment: float, end: float) -> dict[str, dict[str, float]]:
        return {"segment": {"mean": segment}, "segment_last_third": {"mean": end}}

    assert best_baseline({"baselines": {"x": figure(0.4, 0.9), "y": figure(0.5, 0.1)}}) == "y"
    assert best_baseline({"baselines": {"x": figure(0.5, 0.9), "y": figure(0.5, 0.1)}}) == "x"
    assert best_baseline({"baselines": {"x": {"segment": None}}}) is None
    assert best_baseline({}) is None


def test_values_are_abbreviated_unless_that_makes_two_alike() -> None:
    assert abbreviate("data/sets/rec.aedat?sensor=34x34") == "rec.aedat?sensor=34x34"
    assert abbreviate([True, "", 0.5]) == "[true, none, 0.5]"
    assert disambiguate(["a/x.bin", "b/y.bin"]) == ["x.bin", "y.bin"]
    assert disambiguate(["a/x.bin", "b/x.bin"]) == ["a/x.bin", "b/x.bin"]
