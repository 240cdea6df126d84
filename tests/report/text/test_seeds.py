"""Results over seeds name the strongest baseline, beaten or not, and what is not significant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.made_runs import hits, make_run

from streamstop.experiments.aggregate import SeedRun, aggregate_runs
from streamstop.experiments.comparison import compare
from streamstop.pipeline.summary_file import read_summary
from streamstop.report.text import seeds as seeds_text


def joint(tmp_path: Path, right: list[int], **others: Any) -> dict[str, Any]:
    runs = []
    for seed, count in enumerate(right):
        folder = make_run(tmp_path / f"seed-{seed}", hits(count, 100), seed=seed, **others)
        runs.append(SeedRun(seed, 0, folder.name, read_summary(folder)))
    return aggregate_runs(runs, command="")


def spaces(text: str) -> str:
    return text.replace("\xa0", " ")


@pytest.mark.parametrize(
    ("right", "result", "evidence"),
    [
        (
            [80, 82, 84],
            "correctly (last third 100 ± 0 %); the strongest baseline (LDA on counts): 50.0",
            "+32.0 points, 95 % interval +27.0 to +37.0 (Student's t, 3 seeds).",
        ),
        (
            [40, 50, 45],
            ". It does not beat the strongest baseline (LDA on counts): 50.0 ± 0 %.",
            "the difference is not significant.",
        ),
    ],
)
def test_the_strongest_baseline_is_named_beaten_or_not(
    tmp_path: Path, right: list[int], result: str, evidence: str
) -> None:
    summary = joint(tmp_path, right)
    assert result in spaces(seeds_text.seeds_sentence(summary))
    assert spaces(seeds_text.margin_sentence(summary)).endswith(evidence)


def test_real_data_are_called_real(tmp_path: Path) -> None:
    assert "of real segments" in spaces(
        seeds_text.seeds_sentence(joint(tmp_path, [50], data="real"))
    )


def test_two_groups_that_were_right_on_the_same_segments_are_equal(tmp_path: Path) -> None:
    for name, settings in (("a", ""), ("b", '[learner]\nrule = "sltt"')):
        make_run(tmp_path / name, hits(30, 60), settings=settings)
    found = compare([str(tmp_path / "a"), str(tmp_path / "b")])
    assert "are correct on exactly the same segments" in seeds_text.comparison_sentence(found)


def test_a_difference_that_is_not_significant_is_called_so(tmp_path: Path) -> None:
    make_run(tmp_path / "a", hits(30, 60))
    make_run(tmp_path / "b", hits(32, 60), settings='[learner]\nrule = "sltt"')
    found = compare([str(tmp_path / "a"), str(tmp_path / "b")])
    text = spaces(seeds_text.comparison_sentence(found))
    assert text == (
        "B (rule = sltt) is better than A (rule = stop) by 3.3 points over 1 seed; the difference "
        "is not significant (sign test over segments, p = 0.5)."
    )


def test_the_best_mean_is_no_better_than_a_group_that_beats_it_on_shared_seeds(
    tmp_path: Path,
) -> None:
    groups = {"stop": [32, 33, 32, *[40] * 6], "sltt": [36, 37, 36], "ottt": [20, 21, 20]}
    for rule, right in groups.items():
        for seed, count in enumerate(right):
            settings = f'[learner]\nrule = "{rule}"'
            make_run(
                tmp_path / rule / f"seed-{seed}", hits(count, 40), seed=seed, settings=settings
            )
    found = compare([str(tmp_path / rule) for rule in groups])
    text = spaces(seeds_text.comparison_sentence(found))
    assert "A (rule = stop) is the most accurate" in text
    assert (
        "significantly better than C. On the seeds that they share, B is significantly better"
        in text
    )
