"""What a terminal shows of several seeds and of comparisons: whole, and at home in 80 columns."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from helpers.made_runs import hits, make_run
from rich.console import Console

from streamstop.cli.display.compare import print_comparison
from streamstop.cli.display.seeds import SeedsLine, print_joint
from streamstop.experiments.aggregate import SeedRun, aggregate_runs
from streamstop.experiments.comparison import compare
from streamstop.experiments.seeds import SeedProgress
from streamstop.pipeline.summary_file import read_summary


def group(at: Path, right: list[int], settings: str = "", **others: Any) -> list[SeedRun]:
    runs = []
    for seed, count in enumerate(right):
        made = make_run(
            at / f"seed-{seed}", hits(count, 60), seed=seed, settings=settings, **others
        )
        runs.append(SeedRun(seed, 0, made.name, read_summary(made)))
    return runs


def console(width: int = 80) -> Console:
    return Console(file=io.StringIO(), width=width)


def content(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_learner_stands_beside_its_baselines_with_means_and_deviations(tmp_path: Path) -> None:
    runs = [*group(tmp_path, [48, 51, 54]), SeedRun(9, 3, message="no such camera")]
    out = console()
    print_joint(aggregate_runs(runs, command=""), "runs/x/report.html", out)
    text = content(out)
    assert "85.0 ± 5.0 %" in text
    assert "+35.0" in text
    assert "seed 9 is in no mean: no such camera" in text
    assert "SIMULATED DATA" in text
    assert "runs/x/report.html" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("others", [{"accuracy": None}, {"status": "interrupted"}])
def test_without_a_score_it_says_so(tmp_path: Path, others: dict[str, Any]) -> None:
    out = console()
    print_joint(aggregate_runs(group(tmp_path, [30], **others), command=""), None, out)
    assert "nothing was scored" in content(out) or "there is no mean" in content(out)


def test_what_was_kept_stands_beside_where_there_are_tasks(tmp_path: Path) -> None:
    own = {"average_accuracy": 0.75, "forgetting": 0.125}
    continual = {"tasks": ["x"], "taught": [0], "makers": {"headline": own}}
    out = console()
    runs = group(tmp_path, [48, 51], continual=continual)
    print_joint(aggregate_runs(runs, command=""), None, out)
    (line,) = [one for one in content(out).splitlines() if "headline prediction" in one]
    assert "75.0 ± 0 %" in line
    assert "0.125 ± 0.000" in line
    assert max(map(len, content(out).splitlines())) <= 80


def test_a_comparison_fits_and_has_a_line_for_every_pair(tmp_path: Path) -> None:
    group(tmp_path / "a", [54, 55, 56])
    group(tmp_path / "b", [48, 49, 51], '[learner]\nrule = "sltt"')
    group(tmp_path / "c", [48, 49, 51], "[segments]\nlimit = 60")
    out = console()
    found = compare([str(tmp_path / name) for name in "abc"])
    print_comparison(found, "c.html", out)
    text = content(out)
    assert max(map(len, text.splitlines())) <= 80
    assert "A - B" in text
    assert "+9.4" in text
    assert (
        "A and C; B and C. Not comparable: another protocol, segments.max_segments 0 and 60."
        in " ".join(text.split())
    )
    assert "Strongest baseline: LDA on counts (A, B, C)." in text
    assert "learner.rule" in text
    assert "c.html" in text


def test_nothing_from_a_file_steers_the_terminal(tmp_path: Path) -> None:
    group(tmp_path / "a", [54], name="x\x1b[2J")
    out = console()
    print_comparison(compare([str(tmp_path / "a")]), None, out)
    assert "\x1b" not in content(out)


def test_the_line_shows_every_seed_and_is_not_drawn_where_nobody_looks() -> None:
    out = io.StringIO()
    seen = Console(file=out, force_terminal=True, width=80)
    with SeedsLine(3, console=seen) as line:
        line.update(SeedProgress(0, 10, 10, 100, 0.9))
        line._drawn_s = 0.0
        line.update(SeedProgress(1, 5, 10, 100, 0.8))
    assert "1/3 seeds" in out.getvalue()
    assert "1: 80.0 %" in out.getvalue()
    quiet = io.StringIO()
    with SeedsLine(3, quiet=True, console=Console(file=quiet, force_terminal=True)) as line:
        line.update(SeedProgress(0, 10, 10, 100, 0.9))
    assert quiet.getvalue() == ""
