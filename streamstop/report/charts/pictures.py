"""Small pictures of events as inline SVG: ON and OFF in two colours, with tones by value.

Guarantees:
- No image file and no script; colours are the CSS variables `--on`, `--off` and `--mixed`.
- A few very active cells do not darken the rest: the 98th percentile has the full tone.
- The same values give the same characters; cells of one tone share one path.
"""

from __future__ import annotations

from markupsafe import Markup, escape

from streamstop.report.views.samples import Picture

TONES = 5
LIGHTEST = 0.35
"""Opacity of the weakest tone: a single event must be visible."""

Cell = tuple[str, int] | None
"""Class and tone of a cell; None where it is empty."""


def picture_svg(picture: Picture, *, key: str, title: str, desc: str, width: int) -> Markup:
    """A picture, `width` px wide.

    key : unique on the page; links title and description to the picture.
    """
    paths: dict[tuple[str, int], list[str]] = {}
    for y, row in enumerate(_cells(picture)):
        x = 0
        while x < len(row):
            cell, end = row[x], x + 1
            while end < len(row) and row[end] == cell:
                end += 1
            if cell is not None:
                paths.setdefault(cell, []).append(f"M{x} {y}h{end - x}v1h-{end - x}z")
            x = end
    drawn = "".join(
        f'<path class="{kind}" fill-opacity="{LIGHTEST + (1 - LIGHTEST) * tone / (TONES - 1):.2f}" '
        f'd="{"".join(parts)}"/>'
        for (kind, tone), parts in sorted(paths.items())
    )
    height = round(width * picture.height / picture.width)
    return Markup(
        f'<svg class="events" role="img" viewBox="0 0 {picture.width} {picture.height}" '
        f'style="width:{width}px;aspect-ratio:{width}/{max(height, 1)}" '
        f'aria-labelledby="{escape(key)}-t {escape(key)}-d">'
        f'<title id="{escape(key)}-t">{escape(title)}</title>'
        f'<desc id="{escape(key)}-d">{escape(desc)}</desc>'
        f'<rect class="ground" width="{picture.width}" height="{picture.height}"/>{drawn}</svg>'
    )


def _cells(picture: Picture) -> list[list[Cell]]:
    totals = [
        [on + off for on, off in zip(*rows, strict=True)]
        for rows in zip(picture.on, picture.off, strict=True)
    ]
    active = sorted(value for row in totals for value in row if value > 0)
    full = active[min(len(active) - 1, round(0.98 * (len(active) - 1)))] if active else 1.0
    return [
        [_cell(on, total, full) if total > 0 else None for on, total in zip(ons, sums, strict=True)]
        for ons, sums in zip(picture.on, totals, strict=True)
    ]


def _cell(on: float, total: float, full: float) -> tuple[str, int]:
    fraction = on / total
    kind = "on" if fraction > 2 / 3 else "off" if fraction < 1 / 3 else "mixed"
    return kind, round((TONES - 1) * min(total / full, 1.0))
