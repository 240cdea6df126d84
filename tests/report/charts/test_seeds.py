"""Dots and bands: every seed is drawn, and stays on its axis."""

from __future__ import annotations

import re
from pathlib import Path

from helpers.made_runs import hits, make_run

from streamstop.experiments.comparison import compare
from streamstop.experiments.significance import MeanInterval
from streamstop.report.charts.seeds import Dots, curves_chart, dot_plot


def row(values: list[float], label: str = "x") -> Dots:
    return Dots(label, MeanInterval.of(values).as_dict(), values, "note", 0)


def test_every_seed_has_a_ring_and_the_mean_a_dot() -> None:
    drawn = dot_plot([row([0.8, 0.85, 0.9]), row([0.7])], key="k", title="t", desc="d")
    assert drawn.count('<circle class="s0"') == 4
    assert drawn.count('<circle class="b0"') == 2
    assert drawn.count("whisker") == 1, "a single seed has no interval"


def test_an_interval_beyond_what_a_share_can_be_ends_at_the_axis() -> None:
    drawn = dot_plot([row([0.01, 0.99])], key="k", title="t", desc="d")
    places = [float(x) for x in re.findall(r'x[12]="(-?[\d.]+)%"', drawn)]
    assert min(places) >= 1
    assert max(places) <= 98.5


def test_names_are_escaped_and_nothing_is_drawn_of_nothing() -> None:
    assert "<b>" not in dot_plot([row([0.5], "<b>")], key="k", title="t", desc="d")
    assert dot_plot([], key="k", title="t", desc="d") == ""


def test_equal_seeds_still_make_an_axis() -> None:
    assert "circle" in dot_plot([row([1.0, 1.0])], key="k", title="t", desc="d")
    assert "circle" in dot_plot([row([0.0, 0.0])], key="k", title="t", desc="d")


def test_a_band_goes_from_the_lowest_seed_to_the_highest(tmp_path: Path) -> None:
    for seed, count in enumerate([20, 60]):
        make_run(tmp_path / f"seed-{seed}", hits(count, 60), seed=seed)
    group = compare([str(tmp_path)]).groups[0]
    style = (0, "", 2.0)
    drawn = curves_chart([(group, "headline", "name", style)], key="k", title="t")
    assert drawn.count('class="band b0"') == 1
    assert "name 70.0" in drawn.replace("\xa0", " "), "(20/50 + 50/50) / 2 at the end"
    missing = curves_chart([(group, "no such column", "name", style)], key="k", title="t")
    assert missing == ""
