"""The page of a comparison: one self-contained HTML file.

Guarantees:
- A pure function of a `Comparison`, the files of the runs and the command.
- No script, nothing loaded, everything escaped, bounded however long the runs were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from streamstop.experiments.comparison import Comparison, Pair
from streamstop.experiments.groups import KEPT, Group, best_baseline, disambiguate
from streamstop.pipeline.segments_file import WINDOW
from streamstop.report.charts.seeds import Dots, curves_chart, dot_plot
from streamstop.report.formatting import NONE
from streamstop.report.names import HEADLINE, INITIAL_NETWORK, LDA_COUNTS, data_name, name_of
from streamstop.report.pages.base import environment, layer_style, output_path, write_atomically
from streamstop.report.text import seeds as seeds_text

MAX_DIFFER = 200
MAX_LINES = 12
"""Groups that the charts draw; more could not be distinguished."""

Cell = tuple[str, str]


def write_comparison(comparison: Comparison, path: Path | str, command: str = "") -> Path:
    """Write the page of a comparison; return its path.

    Raises UsageError where a file cannot be written there.
    """
    path = output_path(path)
    return write_atomically(render(comparison, command), path)


def render(comparison: Comparison, command: str = "") -> str:
    """The page of a comparison."""
    groups = comparison.groups
    columns = [column for column in COLUMNS if any(column[1](g)[0] != NONE for g in groups)]
    best = max(groups, key=lambda group: group.mean)
    return (
        environment()
        .get_template("comparison.html.j2")
        .render(
            c=comparison,
            text=seeds_text,
            result=seeds_text.comparison_sentence(comparison),
            kinds=sorted({data_name(g.summary.get("data")) for g in groups}),
            runs=sum(len(g.runs) for g in groups),
            heads=[head for head, _ in columns],
            rows=[
                {
                    "letter": group.letter,
                    "label": group.label,
                    "n": group.summary["n"],
                    "best": group is best and len(groups) > 1,
                    "cells": [cell(group) for _, cell in columns],
                }
                for group in groups
            ],
            dots=dots(groups[:MAX_LINES]),
            curves=group_curves(groups[:MAX_LINES]),
            window=WINDOW,
            caution=seeds_text.CAUTION,
            tested=[_tested(pair) for pair in comparison.pairs if pair.is_comparable],
            limits=list(_limits(comparison)),
            differ=[
                (key, disambiguate(values))
                for key, values in list(comparison.differ.items())[:MAX_DIFFER]
            ],
            command=command,
        )
    )


def dots(groups: tuple[Group, ...]) -> Markup:
    """The learner of each group, seed by seed, and below it the strongest baseline."""
    rows = []
    for i, group in enumerate(groups):
        own = group.figure("accuracy", "segment")
        if own is None:
            continue
        name = f"{group.letter}  {group.label}".rstrip()
        rows.append(
            Dots(
                name,
                own,
                group.values("accuracy", "segment"),
                seeds_text.percent_sd(own),
                layer_style(i)[0],
            )
        )
        best = best_baseline(group.summary)
        theirs = group.figure("baselines", best, "segment") if best else None
        if best and theirs:
            rows.append(
                Dots(
                    f"{group.letter}  {_name(best, group)}",
                    theirs,
                    group.values("baselines", best, "segment"),
                    seeds_text.percent_sd(theirs),
                    6,
                )
            )
    desc = "; ".join(f"{row.label} {row.note}" for row in rows)
    return dot_plot(rows, key="dots", title="Accuracy of each seed, by group", desc=f"{desc}.")


def group_curves(groups: tuple[Group, ...]) -> Markup:
    """The learner's accuracy over the run, one line and band per group."""
    lines = [
        (group, HEADLINE, f"{group.letter}  {group.label}".rstrip(), layer_style(i))
        for i, group in enumerate(groups)
    ]
    return curves_chart(lines, key="curves", title="Accuracy over the run, by group")


def _of(*path: str) -> Callable[[Group], Cell]:
    """A column of fractions, with their intervals below."""

    def cell(group: Group) -> Cell:
        found = group.figure(*path)
        return seeds_text.percent_sd(found), seeds_text.interval(found) if _known(found) else ""

    return cell


def _plain(*path: str) -> Callable[[Group], Cell]:
    """A column of other figures."""
    return lambda group: (seeds_text.figure_sd(group.figure(*path)), "")


def _best_baseline(group: Group) -> Cell:
    best = best_baseline(group.summary)
    if best is None:
        return NONE, ""
    return seeds_text.percent_sd(group.figure("baselines", best, "segment")), _name(best, group)


def _name(key: str, group: Group) -> str:
    return name_of(key, pretrained=bool(group.summary.get("weights")))


def _alarms(group: Group) -> Cell:
    """The number of drift alarms, where there were any."""
    found = group.figure("drift", "count")
    if not found or not found["mean"]:
        return NONE, ""
    return f"{found['mean']:.1f}" + (f" ± {found['sd']:.1f}" if found["sd"] is not None else ""), ""


def _known(found: Mapping[str, Any] | None) -> bool:
    """Whether there is an interval of more than a point."""
    return found is not None and found["ci95"] is not None and found["sd"] > 0


COLUMNS: tuple[tuple[str, Callable[[Group], Cell]], ...] = (
    ("learner", _of("accuracy", "segment")),
    ("last third", _of("accuracy", "segment_last_third")),
    ("strongest baseline", _best_baseline),
    ("LDA on counts", _of("baselines", LDA_COUNTS, "segment")),
    ("initial network", _of("baselines", INITIAL_NETWORK, "segment")),
    ("held-out, at the end", _of(*KEPT, "average_accuracy")),
    ("forgetting", _plain(*KEPT, "forgetting")),
    ("drift alarms", _alarms),
)
"""Columns of the table of groups: head, and the function that makes a cell."""


def _tested(pair: Pair) -> dict[str, Any]:
    assert pair.difference is not None
    raw = (pair.p_segments, pair.p_t, pair.p_flips)
    difference = pair.difference.as_dict()
    interval = seeds_text.interval(difference, signed=True) if _known(difference) else ""
    return {"pair": pair, "p": pair.corrected or raw, "interval": interval}


def _limits(comparison: Comparison) -> Iterator[str]:
    """The smallest p of the sign-flip test, once per number of seeds."""
    limits = dict.fromkeys(seeds_text.least_p_text(pair) for pair in comparison.pairs)
    for text in limits:
        if text:
            yield f"Sign flips give p {text}, before correction."
