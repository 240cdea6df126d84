"""Annotations of a line chart: named intervals of x, moments, rows of alarms.

Guarantees:
- The same values give the same characters; every text is escaped.
- Kinds of alarms differ by shape and by row, not by colour alone.
- A name is shown only where it fits, on a wide page and on a phone; else its number, else nothing.

Does not:
- Bound the number of annotations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

LETTER = 6.4
"""Width in px per letter of a name above a chart."""

WIDE, NARROW = 800, 320
"""Width in px of a plot on a wide page, and on a phone: they decide which names fit."""

LEAST_LETTERS = 9
"""A name is cut to no fewer letters than this; fewer would be ambiguous."""

CROWD = 24
"""More moments than this are drawn faintly, so that they do not hide the chart."""

LANE = 13
"""Height in px of a row of alarms."""

SHAPES = {
    "square": "M-3.6-3.6h7.2v7.2h-7.2z",
    "up": "M0-4.6 4.6 3.6h-9.2z",
    "diamond": "M0-5 5 0 0 5-5 0z",
    "disc": "M-4.1 0a4.1 4.1 0 1 0 8.2 0a4.1 4.1 0 1 0-8.2 0z",
    "cross": "M-1.5-4.6h3v3.1h3.1v3h-3.1v3.1h-3v-3.1h-3.1v-3h3.1z",
    "down": "M0 4.6 4.6-3.6h-9.2z",
}
"""Outlines around the origin; "down" is reserved for changes of the stream."""


@dataclass(frozen=True, slots=True)
class Band:
    """An interval of x with its name, and the number that replaces a name that does not fit.

    shaded : whether its background is shaded, as every other one is.
    """

    low: float
    high: float
    name: str
    number: int = 0
    shaded: bool = True


@dataclass(frozen=True, slots=True)
class Lane:
    """A row of marks below a chart.

    group : a name that several rows share, written once next to them.
    label : the full name of the row, for screen readers and the legend.
    """

    group: str
    label: str
    shape: str
    x: Sequence[float]


def band_parts(band: Band, start: str, width: float, fraction: float, top: int, height: int) -> str:
    """The area of a band, and its name above it.

    start, width : position and width in percent of the chart.
    fraction : of the plot's width.
    """
    out = ""
    if band.shaded:
        out = f'<rect class="shade" x="{start}" y="{top}" width="{width:.2f}%" height="{height}"/>'
    middle = f"{float(start.rstrip('%')) + width / 2:.2f}%"
    wide, narrow = label_for(band, fraction * WIDE), label_for(band, fraction * NARROW)
    texts = [(wide, "")] if wide == narrow else [(wide, " at-wide"), (narrow, " at-narrow")]
    for text, where in texts:
        if text:
            out += (
                f'<text class="tick{where}" x="{middle}" y="{top - 6}" text-anchor="middle">'
                f"{escape(text)}</text>"
            )
    return out


def label_for(band: Band, room: float) -> str:
    """The label of a band that is `room` px wide: its name (cut if needed), its number, or nothing.

    Where numbers do not fit, every fifth or tenth is shown.

    >>> band = Band(0, 1, "fluorescent led", 30)
    >>> [label_for(band, room) for room in (200, 70, 30, 5, 1)]
    ['fluorescent led', 'fluoresce…', '30', '30', '']
    """
    letters = int(room / LETTER)
    if len(band.name) <= letters:
        return band.name
    if letters >= LEAST_LETTERS:
        return band.name[: letters - 1].rstrip() + "…"
    wanted = LETTER * len(str(band.number)) + 3
    alone = next((n for n in (1, 5, 10) if band.number % n == 0 and wanted <= n * room), None)
    return str(band.number) if band.number and alone else ""


def moment_parts(at: Sequence[str], top: int, bottom: float) -> str:
    """Vertical lines across plot and alarms, each with a wedge on top."""
    kind = "moment many" if len(at) > CROWD else "moment"
    return "".join(
        f'<line class="{kind}" x1="{x}" x2="{x}" y1="{top}" y2="{bottom:g}"/>'
        f'<svg class="at" x="{x}" y="{top - 1}"><path d="{SHAPES["down"]}"/></svg>'
        for x in at
    )


def lane_parts(
    lanes: Sequence[Lane], across: Callable[[float], str], top: float, gutter: float
) -> str:
    """Rows of marks, one below the other, with the names of the groups in the gutter."""
    out = []
    for i, lane in enumerate(lanes):
        y = top + (i + 0.5) * LANE
        marks = "".join(
            f'<svg class="at" x="{across(value)}" y="{y:g}"><path d="{SHAPES[lane.shape]}"/></svg>'
            for value in lane.x
        )
        out.append(
            f'<line class="grid" x1="{gutter}%" x2="98.5%" y1="{y:g}" y2="{y:g}"/>'
            f"<g><title>{escape(lane.label)}</title>{marks}</g>"
        )
    for name in dict.fromkeys(lane.group for lane in lanes):
        rows = [i for i, lane in enumerate(lanes) if lane.group == name]
        middle = top + (rows[0] + rows[-1] + 1) / 2 * LANE
        out.append(
            f'<text class="tick" x="{gutter - 1.2:.2f}%" y="{middle:g}" dy="0.33em" '
            f'text-anchor="end">{escape(name)}</text>'
        )
    return "".join(out)


def mark_legend(shapes: Sequence[tuple[str, str, str]], *, moment: str = "") -> Markup:
    """The legend of the marks; shapes : (shape, label, note). Changes of the stream come first."""
    items = []
    if moment:
        items.append(
            '<li><svg class="key" width="16" height="14" aria-hidden="true">'
            '<line class="moment" x1="8" x2="8" y1="1" y2="14"/>'
            f'<svg class="at" x="8" y="5"><path d="{SHAPES["down"]}"/></svg></svg>'
            f"<span>{escape(moment)}</span></li>"
        )
    items += [
        '<li><svg class="key" width="16" height="14" aria-hidden="true">'
        f'<svg class="at" x="8" y="7"><path d="{SHAPES[shape]}"/></svg></svg>'
        f"<span>{escape(label)}</span><b>{escape(note)}</b></li>"
        for shape, label, note in shapes
    ]
    return Markup(f'<ul class="legend">{"".join(items)}</ul>')
