"""Small multiples as one SVG file: panels in rows and columns with the same axes.

The file contains its own colours, for light and dark pages, and its own background.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDE, HIGH, GAP = 176, 128, 14
LEFT, TOP, RIGHT, BOTTOM = 74, 66, 12, 48
"""Sizes in px: of a panel, between panels, and around them all."""

STYLE = """
.ground{fill:#ffffff}.frame{fill:none;stroke:#8b949e}.grid{stroke:#d8dee4}
text{fill:#1f2328;font:12px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif}
.head{font-weight:600}.quiet{fill:#57606a}.line{fill:none;stroke-linejoin:round}.band{stroke:none}
.l0{stroke:#57606a}.l1{stroke:#bc4c00}.l2{stroke:#1a7f37}.l3{stroke:#0969da}.l4{stroke:#8250df}
.f0{fill:#57606a}.f1{fill:#bc4c00}.f2{fill:#1a7f37}.f3{fill:#0969da}.f4{fill:#8250df}
.band{fill-opacity:.18}
"""
DARK = """
.ground{fill:#0d1117}.frame{stroke:#6e7681}.grid{stroke:#262c36}text{fill:#e6edf3}
.quiet{fill:#9198a1}
.l0{stroke:#9198a1}.l1{stroke:#f0883e}.l2{stroke:#3fb950}.l3{stroke:#58a6ff}.l4{stroke:#bc8cff}
.f0{fill:#9198a1}.f1{fill:#f0883e}.f2{fill:#3fb950}.f3{fill:#58a6ff}.f4{fill:#bc8cff}
"""
STYLES = 5


class Series(NamedTuple):
    """One line of a panel: its points, and the edges of a band around it (or none).

    style : number of its colour, 0 to 4.  weight : width of its stroke.
    dash : of the stroke; a dashed line shows no points.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    style: int
    weight: float = 2.0
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    dash: str = ""


class Axis(NamedTuple):
    """Ticks from end to end, lowest first, and how they read; `log` for a logarithmic axis."""

    name: str
    ticks: Sequence[float]
    form: Callable[[float], str] = "{:g}".format
    log: bool = False

    def share(self, value: float) -> float:
        """Where `value` lies between the ends, 0 to 1."""
        low, high = self.ticks[0], self.ticks[-1]
        if self.log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return (value - low) / (high - low)


def panels(
    cells: Mapping[tuple[str, str], Sequence[Series]],
    x: Axis,
    y: Axis,
    *,
    title: str,
    desc: str,
) -> str:
    """The SVG.

    cells : series by the panel's row and column, both named; drawn in the order given, so that the
        last is on top. The legend is the first panel's, the last drawn first.
    title, desc : text for screen readers; the title also stands above the panels.
    """
    rows = list(dict.fromkeys(row for row, _ in cells))
    columns = list(dict.fromkeys(column for _, column in cells))
    width = LEFT + len(columns) * (WIDE + GAP) - GAP + RIGHT
    height = TOP + len(rows) * (HIGH + GAP) - GAP + BOTTOM
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-labelledby="t d"><title id="t">{escape(title)}</title>'
        f'<desc id="d">{escape(desc)}</desc><style>{STYLE}'
        f"@media (prefers-color-scheme:dark){{{DARK}}}</style>"
        f'<rect class="ground" width="{width}" height="{height}"/>'
        f'<text class="head" x="{LEFT}" y="20">{escape(title)}</text>',
        *_legend(next(iter(cells.values())), width - RIGHT),
    ]
    for (row, column), series in cells.items():
        i, j = rows.index(row), columns.index(column)
        left, top = LEFT + j * (WIDE + GAP), TOP + i * (HIGH + GAP)
        if i == 0:
            out.append(_text(column, left + WIDE / 2, top - 10, "middle"))
        if j == 0:
            out += [_text(y.form(v), left - 7, top + _down(y, v) + 4, "end") for v in y.ticks]
            out.append(
                f'<text transform="translate(18 {top + HIGH / 2:g}) rotate(-90)" '
                f'text-anchor="middle">{escape(row)}</text>'
            )
        if i == len(rows) - 1:
            out += [
                _text(x.form(v), left + _across(x, v), top + HIGH + 17, "middle") for v in x.ticks
            ]
        out += _panel(series, x, y, left, top)
    middle = (LEFT + width - RIGHT) / 2
    out += [_text(x.name, middle, height - 10, "middle"), "</svg>"]
    return "\n".join(out) + "\n"


def _panel(series: Sequence[Series], x: Axis, y: Axis, left: float, top: float) -> list[str]:
    out = [f'<g transform="translate({left:g} {top:g})">']
    out += [
        f'<line class="grid" x2="{WIDE}" y1="{_down(y, v):.1f}" y2="{_down(y, v):.1f}"/>'
        for v in y.ticks
    ]
    out.append(f'<rect class="frame" width="{WIDE}" height="{HIGH}"/>')
    for one in series:
        across = [_across(x, v) for v in one.x]
        if one.low:
            edge = [*zip(across, one.high, strict=True)]
            edge += [*zip(across, one.low, strict=True)][::-1]
            points = " ".join(f"{a:.1f},{_down(y, v):.1f}" for a, v in edge)
            out.append(f'<polygon class="band f{one.style % STYLES}" points="{points}"/>')
    for one in series:
        points = [(_across(x, a), _down(y, v)) for a, v in zip(one.x, one.y, strict=True)]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        out.append(
            f'<polyline class="line l{one.style % STYLES}" stroke-width="{one.weight:g}"'
            f'{_dash(one)} points="{path}"/>'
        )
        if one.dash:
            continue
        out += [
            f'<circle class="f{one.style % STYLES}" cx="{a:.1f}" cy="{b:.1f}" '
            f'r="{one.weight + 0.8:g}"/>'
            for a, b in points
        ]
    return [*out, "</g>"]


def _legend(series: Sequence[Series], right: float) -> list[str]:
    out = []
    for one in series:
        right -= 7.0 * len(one.label)
        out.append(_text(one.label, right, 20, "start"))
        out.append(
            f'<line class="l{one.style % STYLES}" stroke-width="{one.weight:g}"{_dash(one)} '
            f'x1="{right - 24:g}" x2="{right - 6:g}" y1="16" y2="16"/>'
        )
        right -= 38
    return out


def _dash(one: Series) -> str:
    return f' stroke-dasharray="{one.dash}"' if one.dash else ""


def _text(words: str, across: float, down: float, anchor: str) -> str:
    return (
        f'<text class="quiet" x="{across:.1f}" y="{down:.1f}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )


def _across(axis: Axis, value: float) -> float:
    """From the panel's left edge, with a margin so that the end points stand clear of the frame."""
    return 14 + (WIDE - 28) * axis.share(value)


def _down(axis: Axis, value: float) -> float:
    """From the panel's top edge."""
    return 8 + (HIGH - 16) * (1 - axis.share(value))
