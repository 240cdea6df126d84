"""Charts: ticks that enclose, lines that stay inside, text that is escaped."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstop.report.charts.lines import Line, heat_map, legend, line_chart, tick_format, ticks


@given(st.floats(-1e6, 1e6), st.floats(1e-4, 1e6), st.integers(2, 8))
def test_ticks_enclose_in_even_steps(low: float, width: float, about: int) -> None:
    marks = ticks(low, low + width, about)
    slack = 1e-6 * (abs(low) + width)
    assert marks[0] <= low + slack and marks[-1] >= low + width - slack
    assert 2 <= len(marks) <= 2.5 * about + 2
    text = [tick_format(marks)(m) for m in marks]
    assert len(set(text)) == len(text)


def chart(*lines: Line, x: list[float]) -> str:
    return str(line_chart(lines, x, key="k", title="T", desc="D", x_label="x"))


def points(path: str) -> list[tuple[float, float]]:
    return [(float(a), float(b)) for a, b in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path)]


def test_a_line_begins_and_ends_at_the_edges() -> None:
    svg = chart(Line("a", [0.0, 1.0, 0.5], 0), x=[0.0, 5.0, 10.0])
    assert points(svg) == [(0, 190), (500, 0), (1000, 95)]


def test_a_missing_value_breaks_the_line() -> None:
    svg = chart(Line("a", [0.1, None, 0.3, 0.2], 0), x=[0, 1, 2, 3])
    path = re.findall(r'<path[^>]* d="([^"]*)"', svg)
    assert [c for c in path[0] if c.isalpha()] == ["M", "M", "L"]


@pytest.mark.parametrize("y", [[], [None, None], [0.5], [2.0, 2.0]])
def test_hardly_any_data_still_draws(y: list[float | None]) -> None:
    svg = chart(Line("a", y, 0), x=[float(i) for i in range(len(y))])
    assert "nan" not in svg and "inf" not in svg.lower()
    assert svg.count("<svg") == svg.count("</svg>") == 2


def test_text_is_escaped() -> None:
    nasty = '"><script>alert(1)</script>'
    svg = str(
        line_chart(
            [Line(nasty, [1.0, 2.0], 0, note=nasty)],
            [0, 1],
            key=nasty,
            title=nasty,
            desc=nasty,
            x_label=nasty,
            shade=(0.5, 1.0, nasty),
        )
        + legend([Line(nasty, (), 0, note=nasty)])
        + heat_map([[1]], [nasty], key=nasty, title=nasty, desc=nasty)
    )
    assert "<script" not in svg and '""' not in svg


def test_a_chart_has_a_title_and_a_description_for_screen_readers() -> None:
    for svg in (
        chart(Line("a", [1.0], 0), x=[0.0]),
        str(heat_map([[1]], ["mug"], key="k", title="T", desc="D")),
    ):
        assert 'role="img"' in svg and 'aria-labelledby="k-t k-d"' in svg
        assert '<title id="k-t">T</title><desc id="k-d">D</desc>' in svg


def test_heat_map_shows_every_count_that_is_not_zero() -> None:
    svg = str(heat_map([[3, 0], [17, 1]], ["mug", "box"], key="k", title="", desc=""))
    cells = re.findall(r'class="(right|wrong)[^"]*".*?<text[^>]*>(\d+)</text>', svg)
    assert cells == [("right", "3"), ("wrong", "17"), ("right", "1")]


def test_names_too_long_for_a_column_are_numbered_on_both_sides() -> None:
    names = ["right arm clockwise", "right arm counter clockwise"]
    svg = str(heat_map([[1, 0], [0, 1]], names, key="k", title="", desc=""))
    assert re.findall(r'class="column"[^>]*>([^<]*)<', svg) == ["1", "2"]
    assert re.findall(r'class="row"[^>]*>([^<]*)<', svg) == ["1", names[0], "2", names[1]]
