"""The chart of accuracy over a run: with the world's spans, its known drifts, and what was noticed.

Promises: pure functions of a `Snapshot`; where the world changes, everyone is drawn over the same
last segments, as an average over all of the stream would hide what a change does; at most
MAX_BANDS spans, MAX_MOMENTS drifts and MAX_MARKS alarms are drawn, the first ones, and said.
"""

from __future__ import annotations

from markupsafe import Markup

from streamstop.report.charts import lines as charts
from streamstop.report.charts.annotations import Band, Lane, mark_legend
from streamstop.report.charts.lines import Line, Values, last
from streamstop.report.formatting import percent, plural, shorten
from streamstop.report.names import name_of
from streamstop.report.text import scenario as changing_words
from streamstop.report.views.run import Snapshot
from streamstop.report.views.scenario import World

MAX_ACCURACY_LINES = 14
MAX_BANDS = 120
MAX_MOMENTS = 120
MAX_MARKS = 240
MAX_LANES = 16

STYLES = {
    "segment_windowed": (0, "", 2.6),
    "decided": (0, "", 2.6),
    "segment": (0, "2 3", 2.0),
    "linear": (5, "", 1.4),
    "lda": (2, "", 1.4),
    "lda_counts": (1, "", 2.0),
    "river": (3, "", 1.4),
    "frozen": (4, "6 3", 1.4),
    "frozen_lda": (2, "5 2", 1.4),
    "frozen_linear": (5, "5 2", 1.4),
    "frozen_discriminant": (4, "2 2", 1.4),
    "majority": (6, "", 1.2),
    "no_change": (6, "1.5 3", 1.4),
}
"""Colour, dash and weight of each accuracy line: the learner and its strongest rival stand out."""

RECENT = ("decided", "lda_counts", "river", "frozen_lda", "frozen", "frozen_discriminant")
"""Who is drawn where the world changes, beside the strongest rival: more lines would hide each
other, as each goes up and down."""

SIGNALS = {"event rate": "events", "firing rate": "firing"}
"""Short for what is watched: it stands beside a row of alarms."""

SHAPES = {
    "ADWIN": "diamond",
    "Page-Hinkley": "square",
    "HDDM-A": "up",
    "HDDM-W": "cross",
    "KSWIN": "disc",
}


def accuracy_chart(snapshot: Snapshot) -> Markup:
    """Accuracy over the run, with its legend; nothing where nothing was scored."""
    over_last = bool(snapshot.recent.accuracy)
    lines = _recent_lines(snapshot) if over_last else _cumulative_lines(snapshot)
    if not any(value is not None for line in lines for value in line.y):
        return Markup()
    x = snapshot.recent.x if over_last else snapshot.curves.x
    world = snapshot.world
    bands = world_bands(world)
    third = (x[-1] * 2 / 3, x[-1], "last third") if len(x) > 2 and not bands else None
    lanes = alarm_lanes(world)
    drawn = charts.line_chart(
        # The learner is drawn last, on top of everything.
        list(reversed(lines)),
        x,
        key="accuracy",
        title="Accuracy over the run",
        desc=_described(snapshot, lines),
        x_label="segments seen" if over_last else snapshot.curves.x_label,
        y_format=lambda v: f"{v * 100:.0f}\N{NO-BREAK SPACE}%",
        y_range=(0.0, 1.0),
        height=330,
        gutter=8.0 if over_last else 9.5,
        shade=third,
        bands=bands,
        moments=world.drifts[:MAX_MOMENTS],
        lanes=lanes,
    )
    by_end = charts.legend(sorted(lines, key=lambda line: -(last(line.y) or 0.0)))
    marks = _mark_legend(world, lanes)
    if over_last:
        return Markup('<div class="row-legend timeline">{}{}{}</div>').format(by_end, drawn, marks)
    return Markup('<div class="with-legend">{}{}</div><div class="row-legend">{}</div>').format(
        drawn, by_end, marks
    )


def world_bands(world: World) -> list[Band]:
    """The spans, every other one shaded; none where there is a single one."""
    if len(world.spans) < 2:
        return []
    number = {name: i for i, name in enumerate(world.names, start=1)}
    return [
        Band(span.first, span.last + 1, span.name, number[span.name], shaded=i % 2 == 1)
        for i, span in enumerate(world.spans[:MAX_BANDS])
    ]


def alarm_lanes(world: World) -> list[Lane]:
    """A row for each detector over each signal that raised an alarm, in the order of watching."""
    drawn = world.alarms[:MAX_MARKS]
    order = [signal for _, signal in world.watched] + [one.signal for one in drawn]
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


def marks_left(world: World) -> list[str]:
    """What was not drawn, in words."""
    said = []
    spans = world.spans_in_all - MAX_BANDS
    if spans > 0:
        said.append(f"{spans:,} further spans are not shaded")
    if len(world.drifts) > MAX_MOMENTS:
        said.append(f"{len(world.drifts) - MAX_MOMENTS:,} further drifts are not marked")
    if world.alarm_count > MAX_MARKS:
        said.append(f"{world.alarm_count - MAX_MARKS:,} further alarms are not marked")
    return said


def _cumulative_lines(snapshot: Snapshot) -> list[Line]:
    found = dict(snapshot.curves.accuracy)
    order = sorted(found, key=lambda k: list(STYLES).index(k) if k in STYLES else len(STYLES))
    named = {
        "segment_windowed": "learner, last 50 segments",
        "segment": "learner, all so far",
    }
    return [_line(key, named.get(key), found[key]) for key in order[:MAX_ACCURACY_LINES]]


def _recent_lines(snapshot: Snapshot) -> list[Line]:
    found = dict(snapshot.recent.accuracy)
    rival = snapshot.rival.key if snapshot.rival else ""
    keys = [key for key in dict.fromkeys([*RECENT, rival]) if key in found]
    return [_line(key, "learner" if key == "decided" else None, found[key]) for key in keys]


def _line(key: str, name: str | None, values: Values) -> Line:
    colour, dash, weight = STYLES.get(key, (7, "", 1.2))
    note = percent(last(values))
    return Line(name or name_of(key), values, colour, dash, weight, note)


def _described(snapshot: Snapshot, lines: list[Line]) -> str:
    said = ["At the end: " + "; ".join(f"{line.label} {line.note}" for line in lines)]
    if course := changing_words.course(snapshot):
        said.append(course.rstrip("."))
    if snapshot.world.alarm_count:
        said.append(plural(snapshot.world.alarm_count, "alarm"))
    return ". ".join(said) + "."


def _mark_legend(world: World, lanes: list[Lane]) -> Markup:
    moment = ""
    if world.drifts:
        count = len(world.drifts)
        moment = "the world changed" + (f", {count:,} times" if count > 1 else "")
    heard: dict[str, int] = {}
    for lane in lanes:
        detector = lane.label.partition(" over ")[0]
        heard[detector] = heard.get(detector, 0) + len(lane.x)
    shapes = [
        (SHAPES.get(name, "disc"), f"alarm by {shorten(name, 24)}", f"{count:,}")
        for name, count in heard.items()
    ]
    return mark_legend(shapes, moment=moment) if shapes or moment else Markup()
