"""The page of a comparison: self-contained, escaped, with a result for every pair."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.html_page import Page
from helpers.made_runs import hits, make_run

from streamstop.errors import UsageError
from streamstop.experiments.comparison import compare
from streamstop.report.pages.comparison import render, write_comparison

OTTT = '[learner]\nrule = "ottt"'
SLTT = '[learner]\nrule = "sltt"'
ELSEWHERE = '[source]\nuri = "<b>elsewhere</b>"'


def group(at: Path, right: list[int], settings: str = "") -> str:
    for seed, count in enumerate(right):
        make_run(at / f"seed-{seed}", hits(count, 60), seed=seed, settings=settings)
    return str(at)


def page(*named: str) -> Page:
    return Page(render(compare(named), "streamstop compare TEST"))


def test_two_groups_have_figures_a_test_and_what_they_differ_in(tmp_path: Path) -> None:
    found = page(group(tmp_path / "a", [54, 55, 56]), group(tmp_path / "b", [48, 49, 51], SLTT))
    text = found.text.replace("\xa0", " ")
    assert "A (rule = stop) is better than B (rule = sltt) by 9.4 points over 3 seeds" in text
    assert "the difference is significant (paired t-test over seeds, p =" in text
    assert "learner.rule stop sltt" in text
    assert "17 : 0" in text
    assert "with 3 seeds at least 0.25" in text
    assert "corrected" not in text
    assert {"script", "link", "img", "iframe", "object"}.isdisjoint(found.tags)


def test_tests_of_three_groups_are_corrected(tmp_path: Path) -> None:
    found = page(
        group(tmp_path / "a", [54, 55, 56]),
        group(tmp_path / "b", [30, 31, 31], SLTT),
        group(tmp_path / "c", [54, 55, 57], OTTT),
    )
    text = found.text
    assert "Of 3 groups, C (rule = ottt) is the most accurate" in text
    assert "It is significantly better than B." in text
    assert "The difference from A is not significant." in text
    assert "by Holm's method" in text


def test_groups_that_are_not_comparable_are_not_tested(tmp_path: Path) -> None:
    found = page(group(tmp_path / "a", [54, 55, 56]), group(tmp_path / "b", [30] * 3, ELSEWHERE))
    assert "are not comparable" in found.text
    assert "another source" in found.text
    assert "paired t" not in found.text
    assert "b" in found.tags
    assert "<b>elsewhere" not in render(compare([str(tmp_path / "a"), str(tmp_path / "b")]))


def test_one_group_is_shown_without_a_test(tmp_path: Path) -> None:
    found = page(group(tmp_path / "a", [54, 55, 56]))
    assert "one group: these runs differ by nothing but their seed" in found.text
    assert "Significance" not in found.text


def test_the_page_is_written_where_it_can_be(tmp_path: Path) -> None:
    found = compare([group(tmp_path / "a", [54, 55])])
    path = write_comparison(found, tmp_path / "c.html", "streamstop compare a")
    assert "streamstop compare a" in path.read_text()
    with pytest.raises(UsageError, match="this is a folder"):
        write_comparison(found, tmp_path)
    with pytest.raises(UsageError, match="needs a file in a folder that exists"):
        write_comparison(found, tmp_path / "nowhere" / "c.html")
