"""Prints a comparison: groups, tests, and where the configurations differ.

Guarantees:
- Fits in 80 columns.
- Every pair has a line; pairs that cannot be tested state the reason.
- Nothing from a file can steer the terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from streamstop.cli.display.text import plain, print_paragraph, print_path
from streamstop.experiments.comparison import Comparison
from streamstop.experiments.groups import KEPT, Group, best_baseline, disambiguate
from streamstop.report.formatting import NBSP, NONE, p_value, percent, plural, points, shorten
from streamstop.report.names import INITIAL_NETWORK, LDA_COUNTS, name_of
from streamstop.report.text import seeds as seeds_text

MAX_DIFFER = 12
MAX_COLUMNS = 5
"""Columns that fit in 80 characters; the page has the others."""


def print_comparison(
    comparison: Comparison, page: Path | str | None, console: Console | None = None
) -> None:
    """Print a comparison.

    page : path of its page; None without one.  console : standard output if None.
    """
    console = console or Console()
    console.print()
    for note in comparison.notes:
        print_paragraph(console, note, "yellow")
    if any(group.summary.get("data") == "simulated" for group in comparison.groups):
        console.print(Text("SIMULATED DATA", style="bold yellow"))
    print_paragraph(console, seeds_text.comparison_sentence(comparison), "bold")
    console.print()
    console.print(Padding(_groups(comparison, console.width), (0, 0, 1, 2)))
    if baselines := _best_baselines(comparison.groups):
        print_paragraph(console, baselines, "dim")
        console.print()
    if any(pair.is_comparable for pair in comparison.pairs):
        console.print(Padding(_pairs(comparison), (0, 0, 1, 2)))
        for text in _explained(comparison):
            print_paragraph(console, text, "dim")
    for pairs, why in seeds_text.untested_pairs(comparison):
        print_paragraph(console, f"{pairs}. {why}", "yellow")
    if len(comparison.groups) > 1:
        console.print()
        _differ(console, comparison)
    if page is not None:
        print_path(console, "page", page)


def _groups(comparison: Comparison, width: int) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim", show_edge=False)
    table.add_column("group", overflow="ellipsis", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    columns = [one for one in COLUMNS if any(one[1](g) != NONE for g in comparison.groups)]
    columns = columns[:MAX_COLUMNS]
    for head, _ in columns:
        table.add_column(head, justify="right", no_wrap=True)
    room = max(12, width - 11 * len(columns) - 6)
    for group in comparison.groups:
        table.add_row(
            Text(shorten(plain(f"{group.letter} {group.label}"), room)),
            str(group.summary["n"]),
            *(plain(cell(group)) for _, cell in columns),
        )
    return table


def _best_baselines(groups: Sequence[Group]) -> str:
    """The names of the strongest baselines, each with the letters of its groups."""
    letters: dict[str, list[str]] = {}
    for group in groups:
        if best := best_baseline(group.summary):
            name = name_of(best, pretrained=bool(group.summary.get("weights")))
            letters.setdefault(name, []).append(group.letter)
    named = [f"{name} ({', '.join(of)})" for name, of in letters.items()]
    return f"Strongest baseline: {'; '.join(named)}." if named else ""


def _share(*path: str) -> Callable[[Group], str]:
    return lambda group: _short(group.figure(*path))


def _short(found: Mapping[str, Any] | None) -> str:
    """A percentage without its sign, which is in the column head."""
    if found is None:
        return NONE
    mean = percent(found["mean"]).removesuffix(f"{NBSP}%")
    return mean if found["sd"] is None else f"{mean} ±{found['sd'] * 100:.1f}"


def _best_baseline(group: Group) -> str:
    best = best_baseline(group.summary)
    return _short(group.figure("baselines", best, "segment")) if best else NONE


COLUMNS: tuple[tuple[str, Callable[[Group], str]], ...] = (
    ("all, %", _share("accuracy", "segment")),
    ("last third", _share("accuracy", "segment_last_third")),
    ("baseline", _best_baseline),
    ("held-out", _share(*KEPT, "average_accuracy")),
    ("LDA counts", _share("baselines", LDA_COUNTS, "segment")),
    ("initial net", _share("baselines", INITIAL_NETWORK, "segment")),
)


def _pairs(comparison: Comparison) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    table.add_column("pair", no_wrap=True)
    for head in ("points", "95 % interval", "one correct", "sign test", "paired t", "flips"):
        table.add_column(head, justify="right", no_wrap=True)
    for pair in comparison.pairs:
        if pair.is_comparable and pair.difference is not None:
            shown = pair.corrected or (pair.p_segments, pair.p_t, pair.p_flips)
            table.add_row(
                f"{pair.first} - {pair.second}",
                points(pair.difference.mean),
                plain(seeds_text.interval(pair.difference.as_dict(), signed=True)),
                f"{pair.first_only:,}:{pair.second_only:,}",
                *map(p_value, shown),
            )
    return table


def _explained(comparison: Comparison) -> list[str]:
    pairs = [pair for pair in comparison.pairs if pair.is_comparable]
    how = "p-values, corrected by Holm: " if pairs[0].corrected else "p-values: "
    text = f"{how}sign test over {_range([pair.segments for pair in pairs])} shared segments"
    if any(pair.p_t is not None or pair.p_flips is not None for pair in pairs):
        text += f", t and sign flips over {_range([len(pair.seeds) for pair in pairs])} seeds"
    limits = sorted({seeds_text.least_p_text(pair) for pair in pairs} - {""})
    if limits:
        text += f" (flips: {', '.join(limits)})"
    return [f"{text}. {seeds_text.CAUTION}"]


def _range(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _differ(console: Console, comparison: Comparison) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    table.add_column("setting", no_wrap=True)
    for group in comparison.groups:
        table.add_column(group.letter, overflow="fold")
    for key, values in list(comparison.differ.items())[:MAX_DIFFER]:
        table.add_row(
            Text(plain(key)), *(Text(shorten(plain(v), 60)) for v in disambiguate(values))
        )
    console.print(Padding(table, (0, 0, 1, 2)))
    if (left := len(comparison.differ) - MAX_DIFFER) > 0:
        print_paragraph(console, f"{plural(left, 'setting')} more, with --json or --out.", "dim")
