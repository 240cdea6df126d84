"""What is marked on a chart: in its place, distinct without colour, named where there is room."""

from __future__ import annotations

import re

from streamstop.report.charts.annotations import LANE, SHAPES, Band, Lane, label_for, mark_legend
from streamstop.report.charts.lines import Line, line_chart

LINE = Line("learner", (0.0, 0.5, 1.0), 0)


def drawn(**marks: object) -> str:
    return line_chart(
        [LINE],
        (0.0, 50.0, 100.0),
        key="k",
        title="t",
        desc="d",
        x_label="x",
        height=200,
        gutter=10.0,
        **marks,  # type: ignore[arg-type]
    )


def test_moments_and_alarms_stand_at_their_x() -> None:
    """The plot reaches from 10 to 98.5 %: 50 of 100 is at 54.25 %, 80 at 80.8 %."""
    text = drawn(moments=[50.0], lanes=[Lane("errors", "ADWIN over errors", "diamond", [80.0])])
    assert '<line class="moment" x1="54.25%" x2="54.25%"' in text
    assert f'<svg class="at" x="80.80%" y="172.5"><path d="{SHAPES["diamond"]}"/>' in text
    assert "<title>ADWIN over errors</title>" in text


def test_every_row_of_alarms_has_a_place_of_its_own() -> None:
    lanes = [Lane("errors", "a", "diamond", [5.0]), Lane("errors", "b", "disc", [5.0])]
    heights = re.findall(r'<svg class="at" x="[^"]*" y="([^"]*)">', drawn(lanes=lanes))
    assert float(heights[1]) - float(heights[0]) == LANE
    assert drawn(lanes=lanes).count(">errors<") == 1, "a group is named once"
    tall = re.search(r'height="(\d+)" aria', drawn(lanes=lanes))
    assert tall is not None and int(tall[1]) == 200 + 6 + 2 * LANE


def test_marks_beyond_the_lines_are_not_drawn() -> None:
    text = drawn(moments=[-1.0, 101.0], lanes=[Lane("g", "a", "disc", [100.5])])
    assert 'class="moment"' not in text and 'class="at"' not in text


def test_every_other_band_is_shaded_and_cut_to_the_lines() -> None:
    bands = [Band(0, 40, "clean", 1, shaded=False), Band(40, 200, "noise", 2)]
    text = drawn(bands=bands)
    assert text.count('class="shade"') == 1
    assert '<rect class="shade" x="45.40%" y="24" width="53.10%"' in text
    assert ">clean<" in text and ">noise<" in text


def test_a_name_on_a_narrow_page_may_be_a_number() -> None:
    text = drawn(bands=[Band(0, 8, "fluorescent", 3), Band(8, 100, "led", 4)])
    assert 'class="tick at-wide"' in text and ">fluoresce…<" in text
    assert re.search(r'class="tick at-narrow"[^>]*>3<', text)
    assert text.count(">led<") == 1
    assert label_for(Band(0, 1, "led"), 4) == ""


def test_of_crowded_numbers_every_fifth_stands() -> None:
    stands = [n for n in range(1, 61) if label_for(Band(0, 1, "a long name", n), 8)]
    assert stands == list(range(5, 61, 5))
    fewer = [n for n in range(1, 61) if label_for(Band(0, 1, "a long name", n), 1.6)]
    assert fewer == list(range(10, 61, 10))


def test_a_crowd_of_moments_is_faint() -> None:
    assert 'class="moment many"' in drawn(moments=[float(n) for n in range(1, 60)])
    assert "many" not in drawn(moments=[1.0])


def test_names_are_escaped() -> None:
    nasty = "<script>&"
    text = drawn(
        bands=[Band(0, 100, nasty)], lanes=[Lane(nasty, nasty, "disc", [1.0])]
    ) + mark_legend([("disc", nasty, nasty)], moment=nasty)
    assert "<script" not in text
    assert text.count("&lt;script&gt;&amp;") == 6


def test_shapes_differ() -> None:
    assert len(set(SHAPES.values())) == len(SHAPES)
