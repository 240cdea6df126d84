"""What is marked on a chart besides its lines: stretches of x with their names, moments, alarms.

Promises: the same values give the same characters; every text is escaped; kinds of alarms differ by
shape and by row, not by colour alone; a name stands only where it has room, at a wide page's width
and at a telephone's, else its number, else nothing. Draws what it is given, and bounds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

LETTER = 6.4
"""Width in px to allow for a letter of a name above a chart."""

WIDE, NARROW = 800, 320
"""Width in px of a plot at its widest, and on a telephone: what decides which names have room."""

LEAST_LETTERS = 9
"""A name is cut short to no less than this: less would tell few names apart."""

CROWD = 24
"""More moments than this are drawn faintly: solid lines would hide the chart."""

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
"""Outlines around the origin; "down" is kept for moments of the world."""


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of x, with its name and the number that stands for it where there is no room.

    shaded : whether it is set off, as every other one is.
    """

    low: float
    high: float
    name: str
    number: int = 0
    shaded: bool = True


@dataclass(frozen=True, slots=True)
class Lane:
    """A row of marks below a chart.

    group : what several rows have in common, written once beside them.
    label : says which row it is, to a screen reader and the legend.
    """

    group: str
    label: str
    shape: str
    x: Sequence[float]


def band_parts(band: Band, start: str, width: float, share: float, top: int, height: int) -> str:
    """A band's area, and its name above it.

    start, width : where it begins and how wide it is, in percent of the chart.
    share : of the plot's width that it takes.
    """
    out = ""
    if band.shaded:
        out = f'<rect class="shade" x="{start}" y="{top}" width="{width:.2f}%" height="{height}"/>'
    middle = f"{float(start.rstrip('%')) + width / 2:.2f}%"
    wide, narrow = label_for(band, share * WIDE), label_for(band, share * NARROW)
    texts = [(wide, "")] if wide == narrow else [(wide, " at-wide"), (narrow, " at-narrow")]
    for text, where in texts:
        if text:
            out += (
                f'<text class="tick{where}" x="{middle}" y="{top - 6}" text-anchor="middle">'
                f"{escape(text)}</text>"
            )
    return out


def label_for(band: Band, room: float) -> str:
    """What stands above a band that is `room` px wide: its name, cut at need, its number, nothing.

    Where numbers have no room, every fifth or tenth has, if its neighbours are as narrow.

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
    """Solid lines across the plot and the alarms, each with a wedge on its top."""
    kind = "moment many" if len(at) > CROWD else "moment"
    return "".join(
        f'<line class="{kind}" x1="{x}" x2="{x}" y1="{top}" y2="{bottom:g}"/>'
        f'<svg class="at" x="{x}" y="{top - 1}"><path d="{SHAPES["down"]}"/></svg>'
        for x in at
    )


def lane_parts(
    lanes: Sequence[Lane], across: Callable[[float], str], top: float, gutter: float
) -> str:
    """Rows of marks, one below the other, each group's name in the gutter."""
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
    """What the marks mean: (shape, label, note) each, the moments of the world first."""
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
