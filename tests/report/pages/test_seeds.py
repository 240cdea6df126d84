"""The page of several seeds: self-contained, escaped, bounded, and true to the summary."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from helpers.html_page import Page
from helpers.made_runs import hits, make_run

from streamstop.errors import UsageError
from streamstop.experiments.aggregate import SeedRun, aggregate_runs
from streamstop.pipeline.summary_file import read_summary
from streamstop.report.pages.seeds import write_joint_report


def joint(folder: Path, right: list[int], failed: tuple[SeedRun, ...] = (), **others: Any) -> Path:
    runs = []
    for seed, count in enumerate(right):
        made = make_run(folder / f"seed-{seed}", hits(count, 60), seed=seed, **others)
        runs.append(SeedRun(seed, 0, made.name, read_summary(made)))
    summary = aggregate_runs([*runs, *failed], command="streamstop run --seeds 0-2", name="x")
    folder.mkdir(exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def page(folder: Path) -> Page:
    return Page(write_joint_report(folder).read_text(encoding="utf-8"))


def test_the_page_has_the_means_the_seeds_and_the_baselines(tmp_path: Path) -> None:
    found = page(joint(tmp_path / "j", [48, 51, 54]))
    text = found.text.replace("\xa0", " ")
    assert "Over 3 seeds, the learner predicts 85.0 ± 5.0 % of simulated segments correctly" in text
    assert "LDA on counts" in text
    assert "+35.0" in text, "the learner minus its strongest baseline"
    assert "Simulated data" in text
    assert [v for k, v in found.attributes if k == "href"] == [
        f"seed-{seed}/report.html" for seed in range(3)
    ]


def test_nothing_is_loaded_and_nothing_runs(tmp_path: Path) -> None:
    found = page(joint(tmp_path / "j", [48, 51, 54]))
    assert {"script", "link", "img", "iframe", "object"}.isdisjoint(found.tags)
    assert not [v for k, v in found.attributes if k.startswith("on") or "://" in v]


def test_names_from_files_are_escaped(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    rows = [{"class": evil, "segments": 3, "recall": 1.0, "precision": None}]
    folder = joint(tmp_path / "j", [48, 50], per_class=rows, source=evil, classes=[evil])
    assert "<script" not in write_joint_report(folder).read_text()


def test_a_seed_that_failed_is_in_the_page(tmp_path: Path) -> None:
    folder = joint(tmp_path / "j", [48], (SeedRun(7, 3, message="no such camera"),))
    text = page(folder).text
    assert "seed 7 is in no mean: no such camera" in text
    assert "One seed does not show how much results vary between seeds" in text


@pytest.mark.parametrize("others", [{"status": "interrupted"}, {"accuracy": None}])
def test_without_a_score_there_is_a_page_all_the_same(
    tmp_path: Path, others: dict[str, Any]
) -> None:
    text = page(joint(tmp_path / "j", [30, 40], **others)).text
    assert "there is no mean" in text or "nothing was scored" in text


def test_domains_and_continual_figures_have_tables(tmp_path: Path) -> None:
    own = {"r": [], "average_accuracy": 0.75, "forgetting": 0.125}
    folder = joint(
        tmp_path / "j",
        [48, 51],
        per_domain=[{"domain": "lamp", "segments": 60, "first": 0, "headline": 0.5}],
        continual={"tasks": ["lamp"], "taught": [0], "makers": {"headline": own}},
    )
    text = page(folder).text.replace("\xa0", " ")
    assert "lamp 60 50.0 ± 0 %" in text
    assert "headline prediction 0.750 ± 0.000 0.125 ± 0.000" in text


def test_a_damaged_segments_file_costs_only_its_curve(tmp_path: Path) -> None:
    folder = joint(tmp_path / "j", [48, 51])
    (folder / "seed-1" / "segments.csv").write_text("x" * 100_000)
    assert "Accuracy over the run" in page(folder).text


def test_the_page_stays_small_however_long_the_runs(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    made = make_run(folder / "seed-0", hits(2_000, 20_000))
    summary = aggregate_runs([SeedRun(0, 0, "seed-0", read_summary(made))], command="")
    (folder / "summary.json").write_text(json.dumps(summary))
    assert write_joint_report(folder).stat().st_size < 200_000


def test_a_run_s_folder_is_no_joint_one(tmp_path: Path) -> None:
    folder = joint(tmp_path / "j", [48])
    with pytest.raises(UsageError, match="not the folder of several seeds"):
        write_joint_report(folder / "seed-0")
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({"kind": summary["kind"]}))
    with pytest.raises(UsageError, match="does not have the shape"):
        write_joint_report(folder)


def test_colours_are_the_style_sheet_s(tmp_path: Path) -> None:
    """So that dark and print differ by it alone."""
    text = write_joint_report(joint(tmp_path / "j", [48, 51, 54])).read_text()
    body = text[text.index("<body>") :]
    assert not re.findall(r'(?:fill|stroke)="#', body)
