"""Pictures of events: polarity by colour, value by tone, bounded in size."""

from __future__ import annotations

import re

from streamstop.report.charts.pictures import picture_svg
from streamstop.report.views.samples import Picture


def drawn(on: list[list[float]], off: list[list[float]], title: str = "T") -> str:
    grids = (tuple(map(tuple, one)) for one in (on, off))
    return str(picture_svg(Picture(*grids), key="k", title=title, desc="D", width=100))


def paths(svg: str) -> dict[tuple[str, str], str]:
    found = re.findall(r'<path class="(\w+)" fill-opacity="([\d.]+)" d="([^"]*)"/>', svg)
    return {(kind, tone): d for kind, tone, d in found}


def test_polarities_and_tones() -> None:
    svg = drawn([[4, 1, 0, 2]], [[0, 0, 4, 2]])
    assert paths(svg) == {
        ("on", "1.00"): "M0 0h1v1h-1z",
        ("on", "0.51"): "M1 0h1v1h-1z",
        ("off", "1.00"): "M2 0h1v1h-1z",
        ("mixed", "1.00"): "M3 0h1v1h-1z",
    }


def test_equal_neighbours_are_one_rectangle_and_empty_cells_none() -> None:
    assert paths(drawn([[1, 1, 0, 1]], [[0] * 4])) == {("on", "1.00"): "M0 0h2v1h-2zM3 0h1v1h-1z"}
    assert paths(drawn([[0, 0]], [[0, 0]])) == {}


def test_a_hot_cell_does_not_lighten_the_rest() -> None:
    plain, hot = [[2.0] * 10 for _ in range(10)], [[2.0] * 10 for _ in range(10)]
    hot[0][0] = 9_000.0
    zeros = [[0.0] * 10] * 10
    assert set(paths(drawn(hot, zeros))) == set(paths(drawn(plain, zeros))) == {("on", "1.00")}


def test_text_is_escaped_and_the_largest_picture_is_small() -> None:
    assert "<script" not in drawn([[1]], [[0]], title="<script>")
    board = [[float((x + y) % 2) for x in range(64)] for y in range(64)]
    other = [[1.0 - value for value in row] for row in board]
    assert len(drawn(board, other)) < 80_000
