"""The chart of accuracy over a run, with spans, known changes and alarms of drift detectors.

Guarantees:
- Pure functions of a `Snapshot`.
- All lines cover the same segments: the last ones, or all so far where there is no segments.csv.
- At most MAX_BANDS spans, MAX_MOMENTS changes and MAX_MARKS alarms are drawn; the page states the
  rest.
"""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from streamstop.report.charts import lines as charts
from streamstop.report.charts.annotations import Band, Lane, mark_legend
from streamstop.report.charts.lines import Line, Values, last
from streamstop.report.formatting import percent, plural, shorten
from streamstop.report.names import (
    FROZEN_FEATURES_LDA,
    HEADLINE,
    INITIAL_LDA,
    INITIAL_NETWORK,
    LDA_COUNTS,
    SOFTMAX_COUNTS,
    STYLES,
    name_of,
    style_of,
)
from streamstop.report.text import scenario as scenario_text
from streamstop.report.views.run import Snapshot
from streamstop.report.views.scenario import ScenarioView

MAX_ACCURACY_LINES = 14
MAX_BANDS = 120
MAX_MOMENTS = 120
MAX_MARKS = 240
MAX_LANES = 16

ON_CHANGES = (
    HEADLINE,
    LDA_COUNTS,
    SOFTMAX_COUNTS,
    FROZEN_FEATURES_LDA,
    INITIAL_NETWORK,
    INITIAL_LDA,
)
"""Lines on a non-stationary stream, besides the strongest baseline: more would hide each other."""

LOG_HEADLINE, LOG_WINDOWED = "segment", "segment_windowed"
"""Keys of the headline prediction in metrics.jsonl: cumulative, and over a window."""

SIGNALS = {"event rate": "events", "firing rate": "firing"}
"""Short names of signals, for rows of alarms."""

SHAPES = {
    "ADWIN": "diamond",
    "Page-Hinkley": "square",
    "HDDM-A": "up",
    "HDDM-W": "cross",
    "KSWIN": "disc",
}


def accuracy_chart(snapshot: Snapshot) -> Markup:
    """Accuracy over the run, with its legend; empty where nothing was scored."""
    windowed = bool(snapshot.windowed.accuracy)
    lines = _windowed_lines(snapshot) if windowed else _cumulative_lines(snapshot)
    if not any(value is not None for line in lines for value in line.y):
        return Markup()
    x = snapshot.windowed.x if windowed else snapshot.curves.x
    scenario = snapshot.scenario
    bands = span_bands(scenario)
    third = (x[-1] * 2 / 3, x[-1], "last third") if len(x) > 2 and not bands else None
    lanes = alarm_lanes(scenario)
    wide = windowed and scenario.changes
    over = f"last {snapshot.windowed.window} segments" if windowed else "all segments so far"
    drawn = charts.line_chart(
        # The learner is drawn last, on top.
        list(reversed(lines)),
        x,
        key="accuracy",
        title=f"Accuracy over the run: {over}",
        desc=_described(snapshot, lines),
        x_label=f"{'segments seen' if windowed else snapshot.curves.x_label} (accuracy: {over})",
        y_format=lambda v: f"{v * 100:.0f}\N{NO-BREAK SPACE}%",
        y_range=(0.0, 1.0),
        height=330,
        gutter=8.0 if wide else 9.5,
        shade=third,
        bands=bands,
        moments=scenario.drifts[:MAX_MOMENTS],
        lanes=lanes,
    )
    by_end = charts.legend(sorted(lines, key=lambda line: -(last(line.y) or 0.0)))
    marks = _mark_legend(scenario, lanes)
    if wide:
        return Markup('<div class="row-legend timeline">{}{}{}</div>').format(by_end, drawn, marks)
    return Markup('<div class="with-legend">{}{}</div><div class="row-legend">{}</div>').format(
        drawn, by_end, marks
    )


def span_bands(scenario: ScenarioView) -> list[Band]:
    """The spans, every other one shaded; none with a single span."""
    if len(scenario.spans) < 2:
        return []
    number = {name: i for i, name in enumerate(scenario.names, start=1)}
    return [
        Band(span.first, span.last + 1, span.name, number[span.name], shaded=i % 2 == 1)
        for i, span in enumerate(scenario.spans[:MAX_BANDS])
    ]


def alarm_lanes(scenario: ScenarioView) -> list[Lane]:
    """One row per detector and signal with an alarm, in the order of `watched`."""
    drawn = scenario.alarms[:MAX_MARKS]
    order = [signal for _, signal in scenario.watched] + [one.signal for one in drawn]
    keys = {(one.detector, one.signal) for one in drawn}
    ranked = sorted(
        keys,
        key=lambda key: (
            order.index(key[1]),
            list(SHAPES).index(key[0]) if key[0] in SHAPES else 9,
        ),
    )
    return [
        Lane(
            shorten(SIGNALS.get(signal, signal), 8),
            f"{detector} over {signal}",
            SHAPES.get(detector, "disc"),
            [one.segment + 1 for one in drawn if (one.detector, one.signal) == (detector, signal)],
        )
        for detector, signal in ranked[:MAX_LANES]
    ]


def undrawn_marks(scenario: ScenarioView) -> list[str]:
    """What was not drawn, in words."""
    parts = []
    spans = scenario.total_spans - MAX_BANDS
    if spans > 0:
        parts.append(f"{spans:,} further spans are not shaded")
    if len(scenario.drifts) > MAX_MOMENTS:
        parts.append(f"{len(scenario.drifts) - MAX_MOMENTS:,} further changes are not marked")
    if scenario.alarm_count > MAX_MARKS:
        parts.append(f"{scenario.alarm_count - MAX_MARKS:,} further alarms are not marked")
    return parts


def _cumulative_lines(snapshot: Snapshot) -> list[Line]:
    """Without segments.csv: every decision maker over all segments so far."""
    found = dict(snapshot.curves.accuracy)
    found.pop(LOG_WINDOWED, None)
    if LOG_HEADLINE in found:
        found[HEADLINE] = found.pop(LOG_HEADLINE)
    return _lines(snapshot, found)


def _windowed_lines(snapshot: Snapshot) -> list[Line]:
    """Every decision maker over the same last segments."""
    found = dict(snapshot.windowed.accuracy)
    if snapshot.scenario.changes:
        best = snapshot.best_baseline.key if snapshot.best_baseline else ""
        found = {key: found[key] for key in (*ON_CHANGES, best) if key in found}
    return _lines(snapshot, found)


def _lines(snapshot: Snapshot, found: Mapping[str, Values]) -> list[Line]:
    order = sorted(found, key=lambda k: list(STYLES).index(k) if k in STYLES else len(STYLES))
    lines = []
    for key in order[:MAX_ACCURACY_LINES]:
        name, values = name_of(key, pretrained=snapshot.trained), found[key]
        lines.append(Line(name, values, *style_of(key), percent(last(values))))
    return lines


def _described(snapshot: Snapshot, lines: list[Line]) -> str:
    parts = ["At the end: " + "; ".join(f"{line.label} {line.note}" for line in lines)]
    if changes := scenario_text.describe_changes(snapshot):
        parts.append(changes.rstrip("."))
    if snapshot.scenario.alarm_count:
        parts.append(plural(snapshot.scenario.alarm_count, "alarm"))
    return ". ".join(parts) + "."


def _mark_legend(scenario: ScenarioView, lanes: list[Lane]) -> Markup:
    moment = ""
    if scenario.drifts:
        count = len(scenario.drifts)
        moment = "the stream changed" + (f", {count:,} times" if count > 1 else "")
    counts: dict[str, int] = {}
    for lane in lanes:
        detector = lane.label.partition(" over ")[0]
        counts[detector] = counts.get(detector, 0) + len(lane.x)
    shapes = [
        (SHAPES.get(name, "disc"), f"alarm by {shorten(name, 24)}", f"{count:,}")
        for name, count in counts.items()
    ]
    return mark_legend(shapes, moment=moment) if shapes or moment else Markup()
