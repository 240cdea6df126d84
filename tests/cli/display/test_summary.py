"""What is printed at the end of a run: honest, complete, at home in 80 columns."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_run import fake_scenario, write_fake_run
from rich.console import Console

from streamstop.cli.display.summary import print_summary
from streamstop.report.formatting import NBSP, percent
from streamstop.report.names import name_of
from streamstop.report.text import run as run_text
from streamstop.report.views.run import summary_snapshot

MakeSummary = Callable[..., dict[str, Any]]
REPORT = "runs/20260101T000000Z-" + "a-rather-long-name-" * 5 + "/report.html"


@pytest.fixture
def fake_summary(tmp_path: Path) -> MakeSummary:
    """Make a summary with test data; takes what `write_fake_run` takes."""

    def make(**options: Any) -> dict[str, Any]:
        folder = write_fake_run(tmp_path / "run", **options)
        summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
        return summary

    return make


def printed(summary: dict[str, Any], width: int = 80) -> str:
    out = io.StringIO()
    print_summary(summary, REPORT, Console(file=out, width=width))
    return out.getvalue()


def test_the_best_and_the_worst_domain_have_a_line(fake_summary: MakeSummary) -> None:
    assert "domains" not in printed(fake_summary())
    text = " ".join(printed(fake_summary(overrides=fake_scenario())).split())
    assert "domains best “TEST domain 1” " in text
    assert "; worst “TEST domain 0” " in text


def test_operations_are_shown_where_the_run_counts_them(fake_summary: MakeSummary) -> None:
    counted: dict[str, Any] = {
        "executions": 4,
        "activation_sparsity": 0.75,
        "synaptic_operations": {"effective_macs": 1200.4, "effective_acs": 34.0, "dense": 5000},
        "learning_operations": {"total": 0.0},
    }
    text = " ".join(printed(fake_summary(overrides={"operations": counted})).split())
    assert (
        "1,234 of 5,000 synaptic per bin, 75.0 % of neurons without a spike; none to learn" in text
    )
    counted["learning_operations"]["total"] = 9876.6
    text = " ".join(printed(fake_summary(overrides={"operations": counted})).split())
    assert "9,877 per bin to learn" in text
    assert "operations" not in printed(fake_summary(overrides={"operations": {}}))


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"simulated": True, "status": "interrupted"},
        {"labelled": False},
        {"classes": ("x" * 200, "右手" * 40), "labelled": False},
    ],
)
def test_no_line_is_wider_than_the_console(
    fake_summary: MakeSummary, options: dict[str, Any], width: int
) -> None:
    text = printed(fake_summary(**options), width)
    lines = text.splitlines()
    assert f"report  {REPORT}" in lines, "the path must be in one piece, to be copied"
    console = Console(file=io.StringIO(), width=width)
    for line in lines:
        assert REPORT in line or console.measure(line).maximum <= width


def test_says_what_the_report_says(fake_summary: MakeSummary) -> None:
    summary = fake_summary()
    snapshot = summary_snapshot(summary)
    text = " ".join(printed(summary).split())
    assert run_text.result_sentence(snapshot).replace(NBSP, " ") in text
    assert run_text.ledger_equation(snapshot) in text
    for score in snapshot.scores:
        share = percent(score.segment).replace(NBSP, " ")
        row = next(
            r
            for r in printed(summary).splitlines()
            if r.strip().startswith(name_of(score.key) + " ")
        )
        assert share in row


def test_a_figure_is_never_parted_from_its_unit(fake_summary: MakeSummary) -> None:
    for width in range(40, 100):
        assert not any(
            line.lstrip().startswith("%") for line in printed(fake_summary(), width).splitlines()
        )


def test_simulated_and_interrupted_come_before_the_score(fake_summary: MakeSummary) -> None:
    text = printed(fake_summary(simulated=True, status="interrupted"))
    assert text.index("Interrupted") < text.index("SIMULATED") < text.index("predicted")


def test_data_that_nobody_knows_the_origin_of_are_called_neither(fake_summary: MakeSummary) -> None:
    text = " ".join(printed({**fake_summary(), "data": "unknown"}).split())
    assert "257 segments of data of unknown origin" in text
    assert "real data" not in text and "SIMULATED" not in text


def test_names_cannot_steer_the_terminal(fake_summary: MakeSummary) -> None:
    summary = fake_summary(labelled=False, classes=("\x1b[2J\x07evil", "[red]mug[/red]", "\udc80"))
    text = printed(summary)
    assert "\x1b" not in text and "\x07" not in text
    assert "[red]mug[/red]" in text
    text.encode()
