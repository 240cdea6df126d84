"""Prints several seeds: one progress line while they run, one table at the end.

Guarantees:
- The line is drawn on standard error only; not at all without a terminal or when quiet.
- The table has every baseline; every seed that is not in the means is named.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from streamstop.cli.display.live_line import Line
from streamstop.cli.display.text import plain, print_paragraph, print_path
from streamstop.experiments.groups import best_baseline
from streamstop.experiments.seeds import SeedProgress
from streamstop.report.formatting import percent, points, shorten
from streamstop.report.names import HEADLINE, MARGINS, name_of
from streamstop.report.text import seeds as seeds_text

DRAW_EVERY_S = 0.1
MAX_SHOWN = 4
"""Seeds whose accuracy fits in the line."""


class SeedsLine(Line):
    """Shows the progress of several seeds; a context manager.

    seeds : their number.  quiet : draw nothing.  console : standard error if None.
    """

    def __init__(self, seeds: int, *, quiet: bool = False, console: Console | None = None) -> None:
        seen = console is not None or sys.stdout.isatty()
        console = console or Console(stderr=True)
        progress = Progress(
            TextColumn("{task.fields[done]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[now]}", style="bold"),
            console=console,
            auto_refresh=False,
            transient=True,
            expand=True,
        )
        super().__init__(progress, not quiet and console.is_terminal and seen)
        self._seeds = seeds
        self._latest: dict[int, SeedProgress] = {}
        self._drawn_s = 0.0
        self._task = progress.add_task("", total=None, done="", now="")

    def update(self, now: SeedProgress) -> None:
        """Update one seed, and draw at most ten times per second."""
        self._latest[now.seed] = now
        if not self.shown or time.monotonic() - self._drawn_s < DRAW_EVERY_S:
            return
        self._drawn_s = time.monotonic()
        known = self._latest.values()
        going = [one for one in known if one.segments is None or one.segment < one.segments]
        total = None if any(not one.segments for one in known) else self._total()
        self._progress.update(
            self._task,
            total=total,
            completed=sum(one.segment for one in known),
            done=f"{len(known) - len(going)}/{self._seeds} seeds",
            now="  ".join(
                plain(f"{one.seed}: {percent(one.accuracy)}") for one in going[:MAX_SHOWN]
            ),
        )
        self._progress.refresh()

    def _total(self) -> float:
        """Segments of all seeds; a seed that has not begun counts with the mean of the others."""
        known = [one.segments or 0 for one in self._latest.values()]
        return sum(known) / len(known) * self._seeds


def print_joint(
    summary: Mapping[str, Any], report: Path | str | None, console: Console | None = None
) -> None:
    """Print the results of several seeds.

    summary : of the folder of several seeds.  report : path of its page.
    console : standard output if None.
    """
    console = console or Console()
    console.print()
    if summary["message"]:
        print_paragraph(console, f"{summary['message']}.", "yellow")
    if summary.get("data") == "simulated":
        console.print(Text("SIMULATED DATA", style="bold yellow"))
    print_paragraph(console, seeds_text.seeds_sentence(summary), "bold")
    if evidence := seeds_text.margin_sentence(summary):
        print_paragraph(console, evidence, "dim")
    console.print()
    if summary.get("accuracy"):
        console.print(Padding(_scores(summary), (0, 0, 1, 2)))
    if report is not None:
        print_path(console, "report", report)


def _scores(summary: Mapping[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    table.add_column("prediction by", no_wrap=True, overflow="ellipsis")
    kept = (summary.get("continual") or {}).get("makers") or {}
    margins = summary.get(MARGINS) or {}
    more = ("held-out", "forgetting") if kept else ("learner minus it",)
    first = ("all",) if kept else ("all", "last third")
    for head in (*first, *more):
        table.add_column(head, justify="right", no_wrap=True)
    rows = [(HEADLINE, "bold blue", summary["accuracy"])]
    rows += [(k, "blue", v) for k, v in (summary.get("accuracy_by_readout") or {}).items()]
    best = best_baseline(summary)
    rows += [
        (k, "yellow" if k == best else "", v) for k, v in (summary.get("baselines") or {}).items()
    ]
    for key, style, values in sorted(rows, key=_mean, reverse=True):
        if kept:
            own = kept.get(key, {})
            cells = [
                seeds_text.percent_sd(own.get("average_accuracy")),
                seeds_text.figure_sd(own.get("forgetting")),
            ]
        else:
            less = margins.get(key, {}).get("segment")
            cells = [seeds_text.percent_sd(values.get("segment_last_third"))]
            cells += ["" if less is None else points(less["mean"])]
        table.add_row(
            Text(shorten(plain(name_of(key, pretrained=bool(summary.get("weights")))), 32)),
            plain(seeds_text.percent_sd(values.get("segment"))),
            *map(plain, cells),
            style=style,
        )
    return table


def _mean(row: tuple[str, str, Mapping[str, Any]]) -> float:
    found = row[2].get("segment")
    return float(found["mean"]) if found else -1.0
