"""Charts over several seeds: dots with intervals, and curves with bands.

Guarantees:
- Those of `streamstop.report.charts.lines`.
- A row or line is identified by its name as well as by its colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from markupsafe import Markup, escape

from streamstop.errors import UsageError
from streamstop.experiments.groups import Group
from streamstop.pipeline.segments_file import sample_points, windowed_accuracy
from streamstop.report.charts import lines as charts
from streamstop.report.charts.lines import Line
from streamstop.report.formatting import NBSP, percent, shorten
from streamstop.report.names import N_SEGMENTS

ROW = 42
"""Height of a row of dots in px: its name, and the dots below."""

FOOT = 26


@dataclass(frozen=True, slots=True)
class Dots:
    """A row: one accuracy per seed, their mean and its interval.

    figure : {"mean", "sd", "n", "ci95"}.  values : one per seed; None is not drawn.
    note : text at the end of the row.  style : number of its colour.
    """

    label: str
    figure: Mapping[str, Any]
    values: Sequence[float | None]
    note: str
    style: int


def dot_plot(rows: Sequence[Dots], *, key: str, title: str, desc: str) -> Markup:
    """Rows of dots over a common axis of accuracy; empty without rows."""
    if not rows:
        return Markup()
    ends = [value for row in rows for value in row.values if value is not None]
    ends += [row.figure["mean"] for row in rows]
    ends += [edge for row in rows for edge in row.figure["ci95"] or ()]
    # An interval may exceed 0 to 100 %; the axis does not.
    at = [
        v
        for v in charts.ticks(max(min(ends), 0.0), min(max(ends), 1.0), 5)
        if -1e-9 <= v <= 1 + 1e-9
    ]
    low, high = at[0], at[-1]
    below = len(rows) * ROW

    def across(value: float) -> str:
        inside = min(max(value, low), high)
        return f"{1 + 97.5 * (inside - low) / (high - low):.2f}%"

    out = [
        f'<svg class="chart" role="img" width="100%" height="{below + FOOT}" '
        f'aria-labelledby="{escape(key)}-t {escape(key)}-d">'
        f'<title id="{escape(key)}-t">{escape(title)}</title>'
        f'<desc id="{escape(key)}-d">{escape(desc)}</desc>'
    ]
    text = charts.tick_format([value * 100 for value in at])
    for i, value in enumerate(at):
        anchor = "start" if i == 0 else "end" if i == len(at) - 1 else "middle"
        out.append(
            f'<line class="grid" x1="{across(value)}" x2="{across(value)}" y1="0" y2="{below}"/>'
            f'<text class="tick" x="{across(value)}" y="{below + 17}" text-anchor="{anchor}">'
            f"{escape(text(value * 100))}{NBSP}%</text>"
        )
    for i, row in enumerate(rows):
        out.append(_row(row, i * ROW, across))
    out.append("</svg>")
    return Markup("".join(out))


def _row(row: Dots, top: int, across: Any) -> str:
    y, colour = top + 29, row.style % charts.COLOURS
    parts = [
        f'<text class="label" x="1%" dx="6" y="{top + 15}">'
        f"{escape(shorten(row.label, 34))}</text>"
        f'<text class="label value" x="100%" y="{top + 15}" text-anchor="end">'
        f"{escape(row.note)}</text>"
    ]
    if row.figure["ci95"]:
        low, high = row.figure["ci95"]
        parts.append(
            f'<line class="whisker s{colour}" x1="{across(low)}" x2="{across(high)}" y1="{y}" '
            f'y2="{y}"/>'
        )
    parts += [
        f'<circle class="s{colour}" cx="{across(value)}" cy="{y}" r="4"/>'
        for value in row.values
        if value is not None
    ]
    parts.append(f'<circle class="b{colour}" cx="{across(row.figure["mean"])}" cy="{y}" r="5"/>')
    return "".join(parts)


def curves_chart(
    lines: Sequence[tuple[Group, str, str, tuple[int, str, float]]], *, key: str, title: str
) -> Markup:
    """Windowed accuracy over the run: mean over the seeds of a group, with a band to the extremes.

    lines : group, decision maker (a column of segments.csv), name, (colour, dash, weight).
    Empty where no segments.csv can be read.
    """
    most = max((int(n) for group, *_ in lines for n in group.values(N_SEGMENTS) if n), default=0)
    at = sample_points(most)
    drawn = []
    wanted: dict[str, list[str]] = {}
    for group, maker, *_ in lines:
        wanted.setdefault(group.letter, []).append(maker)
    read = {
        group.letter: _of_seeds(group, at, wanted[group.letter])
        for group in {group.letter: group for group, *_ in lines}.values()
    }
    for group, maker, name, style in lines:
        seeds = [one[maker] for one in read[group.letter]]
        mean, low, high = _band(seeds)
        if (end := charts.last(mean)) is not None:
            band = (low, high) if len(seeds) > 1 else (None, None)
            drawn.append(Line(name, mean, *style, percent(end), *band))
    if not drawn or len(at) < 2:
        return Markup()
    values = [v for line in drawn for ys in (line.y, line.low or ()) for v in ys if v is not None]
    chart = charts.line_chart(
        list(reversed(drawn)),
        at,
        key=key,
        title=title,
        desc="At the end: " + "; ".join(f"{line.label} {line.note}" for line in drawn) + ".",
        x_label="segments seen",
        y_format=lambda v: f"{v * 100:g}{NBSP}%",
        y_range=(0.0 if min(values) < 0.5 else charts.ticks(min(values), 1.0, 4)[0], 1.0),
        height=320,
    )
    return Markup('<div class="with-legend">{}{}</div>').format(chart, charts.legend(drawn))


def _of_seeds(
    group: Group, at: Sequence[int], makers: Sequence[str]
) -> list[dict[str, list[float | None]]]:
    """The curves of each seed whose segments.csv can be read."""
    found = []
    for run in group.runs:
        try:
            found.append(windowed_accuracy(run.segments, at, makers))
        except (UsageError, OSError):
            continue
    return found


def _band(
    seeds: Sequence[Sequence[float | None]],
) -> tuple[list[float | None], list[float | None], list[float | None]]:
    """Mean, lowest and highest at each point, over the seeds that have a value there."""
    mean: list[float | None] = []
    low: list[float | None] = []
    high: list[float | None] = []
    for at in zip(*seeds, strict=True):
        there = [value for value in at if value is not None]
        mean.append(fmean(there) if there else None)
        low.append(min(there, default=None))
        high.append(max(there, default=None))
    return mean, low, high
