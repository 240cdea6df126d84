"""Charts as inline SVG: lines over a run, and the heat map of a confusion matrix.

Guarantees:
- No script, no file beside the page; every text is escaped.
- The same values give the same characters.
- Text keeps its size at any width: only the lines are stretched.
- Colours are the CSS variables `--s0` to `--s7`: light, dark and print differ by style sheet.

Does not:
- Smooth or thin the values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

from streamstop.report.charts.annotations import (
    LANE,
    Band,
    Lane,
    band_parts,
    lane_parts,
    moment_parts,
)
from streamstop.report.formatting import shorten

Values = Sequence[float | None]

COLOURS = 8
SPAN = 1000
"""Width of the coordinate system of the lines, which is stretched to the chart."""

TOP, BOTTOM = 10, 40
"""Space in px above the plot, and below it for tick labels and the axis name."""

HEADROOM = 14
"""Additional space above the plot for the names of bands."""


CELLS = ((8, 58), (12, 48), (20, 34), (1 << 30, 24))
"""(most classes, side of a heat map cell in px)."""

LETTER = 6.7
"""Width in px per letter of a class name; enough for the common fonts."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart, parallel to the chart's x.

    style : number of its colour; `dash` distinguishes lines of one colour.
    weight : stroke width in px.
    note : text after the label in the legend, usually the last value.
    low, high : edges of a band around the line.
    """

    label: str
    y: Values
    style: int
    dash: str = ""
    weight: float = 1.5
    note: str = ""
    low: Values | None = None
    high: Values | None = None


def last(values: Values) -> float | None:
    """The last value that is not None."""
    return next((v for v in reversed(values) if v is not None), None)


def line_chart(
    lines: Sequence[Line],
    x: Sequence[float],
    *,
    key: str,
    title: str,
    desc: str,
    x_label: str,
    y_format: Callable[[float], str] | None = None,
    y_range: tuple[float, float] | None = None,
    height: int = 240,
    gutter: float = 9.5,
    shade: tuple[float, float, str] | None = None,
    bands: Sequence[Band] = (),
    moments: Sequence[float] = (),
    lanes: Sequence[Lane] = (),
) -> Markup:
    """Lines over a common x.

    key : unique on the page; links title and description to the chart.
    title, desc : for screen readers.
    y_range : ends of the y axis; from the lines and bands if None.
    gutter : percent of the width left for the labels of the y axis.
    shade : one shaded interval (low, high, name).
    bands, moments : intervals with names, and positions; clipped to the range of x.
    lanes : rows of marks between the plot and the numbers of the x axis; they add to the height.
    """
    top = TOP + (HEADROOM if shade or bands else 0)
    plot = height - top - BOTTOM
    below = 6 + LANE * len(lanes) if lanes else 0
    foot = top + plot + below
    x_low, x_high = (min(x), max(x)) if x else (0.0, 1.0)
    if 0 < x_low < 0.1 * x_high:
        x_low = 0.0  # A run starts at 0: so does the axis.
    if x_low == x_high:
        x_low, x_high = x_low - 0.5, x_high + 0.5
    y_ticks = ticks(*(y_range or _extent(lines)), 4)
    y_low, y_high = y_range or (y_ticks[0], y_ticks[-1])
    inner = 100.0 - gutter - 1.5

    def across(value: float) -> str:
        return f"{gutter + inner * (value - x_low) / (x_high - x_low):.2f}%"

    def down(value: float) -> float:
        return plot * (1 - (value - y_low) / (y_high - y_low))

    def column(value: float) -> float:
        return SPAN * (value - x_low) / (x_high - x_low)

    out = [
        f'<svg class="chart" role="img" width="100%" height="{height + below}" '
        f'aria-labelledby="{escape(key)}-t {escape(key)}-d">'
        f'<title id="{escape(key)}-t">{escape(title)}</title>'
        f'<desc id="{escape(key)}-d">{escape(desc)}</desc>'
    ]
    if shade and x_low <= shade[0] < shade[1] <= x_high:
        bands = [Band(*shade), *bands]
    for band in bands:
        low, high = max(band.low, x_low), min(band.high, x_high)
        if low < high:
            fraction = (high - low) / (x_high - x_low)
            out.append(band_parts(band, across(low), inner * fraction, fraction, top, plot + below))
    y_text = y_format or tick_format(y_ticks)
    for value in y_ticks:
        if y_low <= value <= y_high:
            y = top + down(value)
            out.append(
                f'<line class="grid" x1="{gutter}%" x2="98.5%" y1="{y:.1f}" y2="{y:.1f}"/>'
                f'<text class="tick" x="{gutter - 1.2:.2f}%" y="{y:.1f}" dy="0.33em" '
                f'text-anchor="end">{escape(y_text(value))}</text>'
            )
    x_ticks = [v for v in ticks(x_low, x_high, 6 if gutter < 10 else 4) if x_low <= v <= x_high]
    x_text = tick_format(x_ticks)
    for value in x_ticks:
        fraction = (value - x_low) / (x_high - x_low)
        anchor = "end" if fraction > 0.96 else "middle"
        out.append(
            f'<line class="axis" x1="{across(value)}" x2="{across(value)}" y1="{foot}" '
            f'y2="{foot + 4}"/><text class="tick" x="{across(value)}" '
            f'y="{foot + 17}" text-anchor="{anchor}">{escape(x_text(value))}</text>'
        )
    if lanes:
        seen = [
            Lane(lane.group, lane.label, lane.shape, [v for v in lane.x if x_low <= v <= x_high])
            for lane in lanes
        ]
        out.append(lane_parts(seen, across, top + plot + below - LANE * len(lanes), gutter))
        out.append(f'<line class="axis" x1="{gutter}%" x2="98.5%" y1="{foot}" y2="{foot}"/>')
    inside = [across(value) for value in moments if x_low <= value <= x_high]
    out.append(moment_parts(inside, top, foot))
    out.append(
        f'<line class="axis" x1="{gutter}%" x2="98.5%" y1="{top + plot}" y2="{top + plot}"/>'
        f'<text class="tick" x="98.5%" y="{foot + 34}" text-anchor="end">'
        f"{escape(x_label)}</text>"
        f'<svg x="{gutter}%" y="{top}" width="{inner}%" height="{plot}" '
        f'viewBox="0 0 {SPAN} {plot}" preserveAspectRatio="none">'
    )
    columns = [column(value) for value in x]
    for line in lines:
        if line.low is not None and line.high is not None:
            out.append(_band(columns, line, down))
    out.extend(_path(columns, line, down) for line in lines)
    out.append("</svg></svg>")
    return Markup("".join(out))


def legend(lines: Sequence[Line]) -> Markup:
    """The names of the lines with a sample of each, in the given order."""
    items = "".join(
        f"<li>{line_key(line.style, line.dash, line.weight)}"
        f"<span>{escape(line.label)}</span>"
        + (f"<b>{escape(line.note)}</b>" if line.note else "")
        + "</li>"
        for line in lines
    )
    return Markup(f'<ul class="legend">{items}</ul>')


def line_key(style: int, dash: str = "", weight: float = 1.5) -> Markup:
    """A sample of a line, for legends and tables."""
    return Markup(
        '<svg class="key" width="26" height="10" aria-hidden="true">'
        f'<line x1="0" x2="26" y1="5" y2="5" class="s{style % COLOURS}" '
        f'stroke-width="{weight}"{_dash(dash)}/></svg>'
    )


def heat_map(
    matrix: Sequence[Sequence[int]], labels: Sequence[str], *, key: str, title: str, desc: str
) -> Markup:
    """A square matrix of counts: rows are true classes, columns are predictions.

    The opacity of a cell is its fraction of its row; the diagonal has its own colour. Where names
    are too long for their columns, rows and columns are numbered.
    """
    n = len(matrix)
    cell = _cell(n)
    numbered = needs_numbers(labels)
    rows = [shorten(name, 30) for name in labels]
    columns = [str(i + 1) for i in range(n)] if numbered else rows
    names = 14 + round(LETTER * max(map(len, rows), default=0))
    # A narrow page crops the names of a numbered map; the numbers are enough.
    left = names + (30 if numbered else 16)
    top, side = 44, n * cell
    width, height = left + side + 2, top + side + 2
    kind = (" numbered" if numbered and n <= 12 else "") + (" small" if n > 20 else "")
    least = round(width * (0.72 if n <= 12 else 0.9))
    out = [
        f'<svg class="heat{kind}" role="img" viewBox="0 0 {width} {height}" '
        f'style="width:{width}px;min-width:{least}px;--crop:{names / (width - names):.4f}" '
        f'aria-labelledby="{escape(key)}-t {escape(key)}-d">'
        f'<title id="{escape(key)}-t">{escape(title)}</title>'
        f'<desc id="{escape(key)}-d">{escape(desc)}</desc>'
        f'<text class="tick" x="{left + side / 2:g}" y="13">predicted</text>'
        f'<text class="tick" transform="translate(11 {top + side / 2:g}) rotate(-90)">true</text>'
    ]
    for i, (row, column) in enumerate(zip(rows, columns, strict=True)):
        middle = i * cell + cell / 2
        height_of_row = f'y="{top + middle:g}" dy="0.34em"'
        if numbered:
            out.append(f'<text class="row" x="{left - 8}" {height_of_row}>{column}</text>')
        out.append(
            f'<text class="column" x="{left + middle:g}" y="{top - 8}">{escape(column)}</text>'
            f'<text class="row" x="{names if numbered else left - 8}" {height_of_row}>'
            f"{escape(row)}</text>"
        )
    out.append(
        f'<rect class="frame" x="{left}" y="{top}" width="{side}" height="{side}"/>'
        f'<g transform="translate({left} {top})">'
    )
    for i, counts in enumerate(matrix):
        total = sum(counts)
        for j, count in enumerate(counts):
            if not count:
                continue
            fraction = count / total
            kind = "right" if i == j else "wrong"
            strength = " strong" if fraction > 0.8 else " middling" if fraction > 0.55 else ""
            out.append(
                f'<g class="{kind}{strength}"><rect x="{j * cell + 1}" y="{i * cell + 1}" '
                f'width="{cell - 2}" height="{cell - 2}" '
                f'fill-opacity="{0.1 + 0.9 * fraction:.2f}"/>'
                f'<text x="{j * cell + cell / 2:g}" y="{i * cell + cell / 2:g}" dy="0.35em">'
                f"{count if count < 10_000 else f'{count / 1000:.0f}k'}</text></g>"
            )
    out.append("</g></svg>")
    return Markup("".join(out))


def needs_numbers(labels: Sequence[str]) -> bool:
    """Whether names are too long for the columns of their heat map."""
    return any(LETTER * len(name) > _cell(len(labels)) - 2 for name in labels)


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers that enclose [low, high], in about `about` steps.

    >>> ticks(0.13, 0.87, 4)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> ticks(0.5, 0.5, 4)
    [0.495, 0.4975, 0.5, 0.5025, 0.505]
    """
    if high - low < 1e-9 * max(1.0, abs(low), abs(high)):
        margin = 0.02 * abs(low) or 1.0
        low, high = low - margin / 2, high + margin / 2
    raw = (high - low) / about
    size = 10.0 ** math.floor(math.log10(raw))
    step = size * next(m for m in (1, 2, 2.5, 5, 10) if m * size >= raw * 0.999)
    first, last = math.floor(low / step + 1e-6), math.ceil(high / step - 1e-6)
    return [round(k * step, 12) for k in range(first, last + 1)]


def tick_format(values: Sequence[float]) -> Callable[[float], str]:
    """A format with just enough decimals to distinguish the ticks.

    >>> [tick_format([0.0, 0.25, 0.5])(v) for v in (0.25, 0.5)]
    ['0.25', '0.50']
    """
    step = min((b - a for a, b in pairwise(values)), default=1.0)
    decimals = 0
    while decimals < 6 and abs(step * 10**decimals - round(step * 10**decimals)) > 1e-6:
        decimals += 1
    return lambda value: f"{value:,.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def _cell(classes: int) -> int:
    return next(size for most, size in CELLS if classes <= most)


def _extent(lines: Sequence[Line]) -> tuple[float, float]:
    values = [
        v
        for line in lines
        for ys in (line.y, line.low, line.high)
        for v in ys or ()
        if v is not None
    ]
    return (min(values), max(values)) if values else (0.0, 1.0)


def _path(columns: Sequence[float], line: Line, down: Callable[[float], float]) -> str:
    """The path of a line, with a gap where a value is missing."""
    parts, joined = [], False
    for at, value in zip(columns, line.y, strict=True):
        if value is not None:
            parts.append(f"{'L' if joined else 'M'}{at:.0f} {down(value):.1f}")
        joined = value is not None
    if len(parts) == 1:
        # A path of one point draws nothing, so a short dash is added.
        parts.append(f"h{SPAN * 0.01:.0f}")
    return (
        f'<path class="s{line.style % COLOURS}" stroke-width="{line.weight}"{_dash(line.dash)} '
        f'd="{"".join(parts)}"/>'
    )


def _band(columns: Sequence[float], line: Line, down: Callable[[float], float]) -> str:
    """The area between the edges of a line, where both exist."""
    edges = [
        (at, down(low), down(high))
        for at, low, high in zip(columns, line.low or (), line.high or (), strict=True)
        if low is not None and high is not None
    ]
    if len(edges) < 2:
        return ""
    there = "L".join(f"{at:.0f} {high:.1f}" for at, _, high in edges)
    back = "L".join(f"{at:.0f} {low:.1f}" for at, low, _ in reversed(edges))
    return f'<path class="band b{line.style % COLOURS}" d="M{there}L{back}Z"/>'


def _dash(dash: str) -> str:
    return f' stroke-dasharray="{escape(dash)}"' if dash else ""
