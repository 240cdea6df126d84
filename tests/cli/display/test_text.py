"""Text on a terminal: what wrapping never parts, and what never reaches it."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from streamstop.cli.display.text import print_paragraph, print_path
from streamstop.report.formatting import NBSP


def shown(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_a_figure_is_never_parted_from_its_unit_nor_a_name_at_its_hyphen() -> None:
    console = Console(file=io.StringIO(), width=30)
    print_paragraph(console, f"of all that was seen, it got 94.6{NBSP}±{NBSP}0.5{NBSP}% right")
    print_paragraph(console, "it begins with a name, dvs-gesture")
    assert shown(console) == [
        "of all that was seen, it got",
        "94.6 ± 0.5 % right",
        "it begins with a name,",
        "dvs-gesture",
    ]


def test_a_path_is_in_one_piece_and_steers_nothing() -> None:
    console = Console(file=io.StringIO(), width=30)
    print_path(console, "report", Path("runs/20260101T000000Z-a-long-name\x1b[2J/report.html"))
    assert shown(console) == ["report  runs/20260101T000000Z-a-long-name�[2J/report.html"]
