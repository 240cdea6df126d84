"""A changing world in words and figures: its course, what noticed it, where the learner did well.

Promises: a change that is known is named with its place; what no detector could know of is never
called a false alarm; rounded figures are `words`' own. Pure functions of a `Snapshot`.
"""

from __future__ import annotations

import statistics

from streamstop.report.formatting import NBSP, NONE, figure, percent, plural, shorten, whole
from streamstop.report.names import HEADLINE, NO_CHANGE
from streamstop.report.views.run import Snapshot
from streamstop.report.views.scenario import DetectorResult, DomainScore, detector_results

MAX_SPANS_NAMED = 8
NAME = 40
"""Letters of a domain's name in a sentence."""

LINE_NAME = 20
"""The same where two of them share a line of a terminal."""


LONG_RUNS = (
    "Labels come in long runs here: to repeat the last one is nearly always right, and takes no "
    "knowledge of any class. What is known of the classes shows on what is held out, below."
)
LONG_RUNS_ALONE = (
    "Labels come in long runs here: to repeat the last one is nearly always right, and takes no "
    "knowledge of any class. scenario.held_out keeps segments to ask for it."
)


def describe_changes(snapshot: Snapshot) -> str:
    """What became of the world, in a sentence; nothing where it is not known to change."""
    scenario = snapshot.scenario
    spans = scenario.spans
    if not scenario.changes:
        return ""
    if len(spans) == 2 and len(scenario.drifts) == 1:
        return (
            f"The world changed once, after {plural(scenario.drifts[0], 'segment')}: from "
            f"{_name(spans[0].name)} to {_name(spans[1].name)}."
        )
    count = len(scenario.drifts)
    times = "once" if count == 1 else f"{count:,} times"
    named = [f"{_name(s.name)} ({s.last - s.first + 1:,})" for s in spans[:MAX_SPANS_NAMED]]
    left = scenario.total_spans - len(named)
    more = f"; {left:,} more" if left > 0 else ""
    return f"The world changed {times}. Its spans, with their segments: {'; '.join(named)}{more}."


def long_runs_note(snapshot: Snapshot) -> str:
    """What a reader of the headline must know where the strongest rival only repeats labels."""
    if snapshot.best_baseline is None or snapshot.best_baseline.key != NO_CHANGE:
        return ""
    return LONG_RUNS if snapshot.held_out else LONG_RUNS_ALONE


def detector_rows(snapshot: Snapshot) -> list[tuple[str, str, str, str, str, str, str]]:
    """Rows of the detectors that raised an alarm: itself, what it watches, how many, drifts found,
    delay, false alarms, alarms again."""
    return [
        (
            one.detector,
            one.signal,
            whole(one.alarms),
            _found(one),
            delay_text(one),
            whole(one.false_alarms),
            whole(one.repeated) if one.delays else NONE,
        )
        for one in detector_results(snapshot.scenario)
        if one.alarms
    ]


def silent_detectors(snapshot: Snapshot) -> str:
    """The detectors that raised no alarm, with what they watched."""
    by_signal: dict[str, list[str]] = {}
    for one in detector_results(snapshot.scenario):
        if not one.alarms:
            by_signal.setdefault(one.signal, []).append(one.detector)
    return "; ".join(f"{', '.join(names)} over the {said}" for said, names in by_signal.items())


def delay_text(watch: DetectorResult) -> str:
    """How long a detector took, in segments: the median and the range of the drifts that it found.

    >>> delays = ((12,), (12, 3, 40, None), (None,))
    >>> [delay_text(DetectorResult("ADWIN", "errors", 2, d, 0, 0)) for d in delays]
    ['12', '12 (3 to 40)', '–']
    """
    found = watch.found
    if not found:
        return NONE
    middle = figure(statistics.median(found))
    return middle if len(found) == 1 else f"{middle} ({found[0]:,} to {found[-1]:,})"


def _found(watch: DetectorResult) -> str:
    if not watch.delays:
        return NONE
    if len(watch.delays) == 1:
        return "yes" if watch.found else "no"
    return f"{len(watch.found):,} of {len(watch.delays):,}"


def best_and_worst(snapshot: Snapshot) -> str:
    """The domains that the learner decided best and worst; nothing where there is a single one."""
    known = [d for d in snapshot.domains if d.accuracy.get(HEADLINE) is not None]
    if len(known) < 2:
        return ""
    ranked = sorted(known, key=lambda d: d.accuracy[HEADLINE] or 0.0)
    return f"best {_scored(ranked[-1])}; worst {_scored(ranked[0])}"


def domain_name(domain: DomainScore) -> str:
    """A domain's name; all those that were too many have one together."""
    return "all further domains" if domain.name is None else domain.name


def short_count(value: float | None) -> str:
    """A count too large to read digit by digit.

    >>> [short_count(v).replace(NBSP, " ") for v in (312.0, 45_678.0, 1_234_567.0, None)]
    ['312', '45.7 k', '1.23 M', '–']
    """
    if value is None:
        return NONE
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            size = 1e3 if unit == "k" else size
            return f"{value / size:.3g}{NBSP}{unit}"
    return figure(value)


def _scored(domain: DomainScore) -> str:
    name = shorten(domain_name(domain), LINE_NAME)
    return f"“{name}” {percent(domain.accuracy['decided'])}"


def _name(name: str) -> str:
    return f"“{shorten(name, NAME)}”"
