"""Comparisons: what is a group, what is tested, what is refused, and the figures of the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.made_runs import hits, make_run

from streamstop.errors import UsageError
from streamstop.experiments.comparison import Comparison, compare
from streamstop.experiments.significance import mcnemar_test

SLTT = '[learner]\nrule = "sltt"'


def seeds(at: Path, right: list[int], of: int = 40, **others: Any) -> str:
    for seed, count in enumerate(right):
        make_run(at / f"seed-{seed}", hits(count, of), seed=seed, **others)
    return str(at)


def three(tmp_path: Path) -> Comparison:
    return compare(
        [
            seeds(tmp_path / "a", [30, 31, 32]),
            seeds(tmp_path / "b", [26, 28, 29], settings=SLTT),
            seeds(tmp_path / "c", [30, 30, 33], settings='[learner]\nrule = "ottt"'),
        ]
    )


def test_runs_that_differ_by_seed_alone_are_one_group(tmp_path: Path) -> None:
    found = compare([seeds(tmp_path / "a", [20, 24]), seeds(tmp_path / "b", [28], settings=SLTT)])
    assert [(g.letter, g.label, len(g.runs)) for g in found.groups] == [
        ("A", "rule = stop", 2),
        ("B", "rule = sltt", 1),
    ]
    assert found.differ == {"learner.rule": ("stop", "sltt")}
    accuracy = found.groups[0].figure("accuracy", "segment")
    assert accuracy is not None
    assert (accuracy["mean"], accuracy["n"]) == (pytest.approx(0.55), 2)
    assert found.groups[0].best_baseline == "lda_counts"


def test_a_group_is_called_by_what_sets_it_apart_from_others_of_its_name(tmp_path: Path) -> None:
    make_run(tmp_path / "a", hits(5, 10))
    make_run(tmp_path / "b", hits(6, 10), settings=SLTT)
    many = "[learner]\nlr = 1.0\nlr_leak = 1.0\nlr_readout = 1.0\nslow = 0.5"
    make_run(tmp_path / "c", hits(6, 10), settings=many, name="other")
    found = compare([str(tmp_path / name) for name in "abc"])
    assert [group.label for group in found.groups] == [
        "test-data, rule = stop",
        "test-data, rule = sltt",
        "other",
    ]


def test_a_setting_left_out_is_its_default(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", hits(5, 10))
    b = make_run(tmp_path / "b", hits(6, 10), seed=1, settings='[learner]\nrule = "stop"')
    assert len(compare([str(a), str(b)]).groups) == 1


def test_pairs_are_tested_over_segments_and_over_seeds(tmp_path: Path) -> None:
    pair = three(tmp_path).pairs[0]
    assert (pair.first, pair.second, pair.seeds, pair.segments) == ("A", "B", (0, 1, 2), 120)
    assert (pair.first_only, pair.second_only) == (10, 0)
    assert pair.p_segments == mcnemar_test(10, 0)
    assert pair.by_seed == (4 / 40, 3 / 40, 3 / 40)
    assert pair.difference is not None
    assert pair.difference.mean == pytest.approx(10 / 120)
    assert pair.p_flips == pair.min_p == 0.25
    assert pair.p_t == pytest.approx(0.00990, abs=1e-4)  # t = 10 with 2 degrees of freedom


def test_a_segment_of_one_run_alone_is_in_no_difference(tmp_path: Path) -> None:
    a = seeds(tmp_path / "a", [30, 31, 32])
    b = seeds(tmp_path / "b", [20, 22, 21], of=30, settings=SLTT)  # the first 30, the last right
    pair = compare([a, b]).pairs[0]
    assert (pair.segments, pair.unmatched) == (90, 30)
    assert pair.by_seed == pytest.approx((0.0, -1 / 30, 1 / 30))


def test_three_groups_are_corrected_by_holm_and_two_are_not(tmp_path: Path) -> None:
    found = three(tmp_path)
    raw = [pair.p_segments for pair in found.pairs]
    assert len(raw) == 3
    for pair in found.pairs:
        assert pair.corrected is not None
        assert pair.corrected[0] is not None
        assert pair.corrected[0] >= (pair.p_segments or 0)
    for i, kind in enumerate(("p_segments", "p_t", "p_flips")):
        tested = [pair for pair in found.pairs if getattr(pair, kind) is not None]
        least = min(tested, key=lambda pair: getattr(pair, kind))
        assert least.corrected is not None
        assert least.corrected[i] == pytest.approx(min(1, len(tested) * getattr(least, kind)))
    two = compare([str(tmp_path / "a"), str(tmp_path / "b")])
    assert two.pairs[0].corrected is None


def test_with_two_seeds_there_is_no_test_over_seeds(tmp_path: Path) -> None:
    found = compare(
        [seeds(tmp_path / "a", [20, 24]), seeds(tmp_path / "b", [28, 30], settings=SLTT)]
    )
    pair = found.pairs[0]
    assert (pair.p_t, pair.p_flips, pair.min_p) == (None, None, None)
    assert pair.p_segments is not None


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"settings": '[source]\nuri = "elsewhere.aedat4"'}, "another source"),
        (
            {"settings": "[segments]\nlength_us = 500000"},
            "another protocol, segments.length_us 0 and 500000",
        ),
        ({"settings": '[scenario]\nname = "gradual"'}, "scenario.name none and gradual"),
        ({"settings": '[labels]\narrival = "delayed"'}, "labels.arrival"),
        ({"settings": SLTT, "data": "real"}, "simulated data"),
        ({"settings": SLTT, "accuracy": None}, "nothing was scored in B"),
        ({"settings": SLTT, "status": "diverged"}, "no run of B came to its end"),
        ({"settings": SLTT, "recording": "other"}, "not the same stream"),
    ],
)
def test_what_is_not_comparable_is_said_and_not_tested(
    tmp_path: Path, others: dict[str, Any], said: str
) -> None:
    found = compare(
        [seeds(tmp_path / "a", [9] * 3, 10), seeds(tmp_path / "b", [8] * 3, 10, **others)]
    )
    pair = found.pairs[0]
    assert not pair.is_comparable
    assert said in "; ".join(pair.reasons)
    assert (pair.p_segments, pair.p_t, pair.p_flips, pair.difference) == (None,) * 4


def test_no_seed_in_common_is_no_pair(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", hits(5, 10), seed=0)
    b = make_run(tmp_path / "b", hits(5, 10), seed=1, settings=SLTT)
    assert "no seed in common" in compare([str(a), str(b)]).pairs[0].reasons[0]


def test_bins_of_another_length_are_a_setting_not_another_stream(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", hits(5, 10))
    b = make_run(tmp_path / "b", hits(6, 10), bin_us=30_000)
    pair = compare([str(a), str(b)]).pairs[0]
    assert (pair.is_comparable, pair.segments, pair.second_only) == (True, 10, 1)


def test_globs_joint_folders_and_folders_are_each_taken_once(tmp_path: Path) -> None:
    joint = seeds(tmp_path / "x" / "a", [5, 6], 10)
    one = make_run(tmp_path / "x" / "b", hits(6, 10), settings=SLTT)
    (tmp_path / "x" / "unfinished").mkdir()
    (tmp_path / "x" / "unfinished" / "config.toml").touch()
    (tmp_path / "x" / "notes.txt").touch()
    found = compare([str(tmp_path / "x" / "*"), joint, str(one)])
    assert [len(g.runs) for g in found.groups] == [2, 1]
    assert any("unfinished" in note for note in found.notes)
    assert any("notes.txt" in note for note in found.notes)


def test_of_a_seed_run_twice_the_last_counts(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", hits(5, 10))
    b = make_run(tmp_path / "b", hits(6, 10))
    found = compare([str(a), str(b)])
    assert found.groups[0].runs[0].folder == b
    assert any("more than once" in note for note in found.notes)


def test_a_diverged_seed_is_named_and_is_in_no_mean(tmp_path: Path) -> None:
    seeds(tmp_path / "a", [5, 6], 10)
    make_run(tmp_path / "a" / "seed-7", hits(1, 3), seed=7, status="diverged", message="NaN")
    found = compare([str(tmp_path / "a")])
    assert [run.seed for run in found.groups[0].runs] == [0, 1]
    assert any("seed 7 is in no mean: diverged" in note for note in found.notes)


def test_nothing_to_compare_is_an_error_that_says_why(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such run"):
        compare([str(tmp_path / "nowhere*")])
    make_run(tmp_path / "runs" / "a", hits(5, 10))
    with pytest.raises(UsageError, match=r"it holds runs, so say .*runs/\*"):
        compare([str(tmp_path / "runs")])
    training = tmp_path / "training"
    training.mkdir()
    (training / "config.toml").touch()
    (training / "epochs.jsonl").touch()
    with pytest.raises(UsageError, match="a training's folder"):
        compare([str(training)])


def test_more_groups_than_letters_are_refused(tmp_path: Path) -> None:
    for i in range(27):
        make_run(tmp_path / f"r{i}", hits(5, 10), settings=f"[learner]\nlr = {(i + 1) / 1000}")
    with pytest.raises(UsageError, match="27 groups, and at most 26"):
        compare([str(tmp_path / "*")])


def test_json_holds_groups_settings_and_tests(tmp_path: Path) -> None:
    said = json.loads(json.dumps(three(tmp_path).as_dict()))
    assert [group["letter"] for group in said["groups"]] == ["A", "B", "C"]
    assert said["groups"][0]["accuracy"]["segment"]["n"] == 3
    assert said["differ"]["learner.rule"] == {"A": "stop", "B": "sltt", "C": "ottt"}
    assert said["pairs"][0]["by_seed"] == pytest.approx({"0": 0.1, "1": 0.075, "2": 0.075})
    assert set(said["pairs"][0]["corrected"]) == {"p_segments", "p_t", "p_flips"}
