"""A non-stationary stream in words: its changes, the drift detectors, the best and worst domains.

Guarantees:
- A known change is named with its place in the stream.
- An alarm is called false only where the changes are known.
- Pure functions of a `Snapshot`.
"""

from __future__ import annotations

import statistics

from streamstop.report.formatting import NBSP, NONE, figure, percent, plural, shorten, whole
from streamstop.report.names import HEADLINE, NO_CHANGE
from streamstop.report.views.run import Snapshot
from streamstop.report.views.scenario import DetectorResult, DomainScore, detector_results

MAX_SPANS_NAMED = 8
NAME = 40
"""Letters of a domain name in a sentence."""

LINE_NAME = 20
"""The same where two names share a line of a terminal."""


LONG_RUNS = (
    "Labels come in long runs here: repeating the last label is nearly always correct and needs no "
    "knowledge of the classes. The held-out evaluation below measures that knowledge."
)
LONG_RUNS_ALONE = (
    "Labels come in long runs here: repeating the last label is nearly always correct and needs no "
    "knowledge of the classes. scenario.held_out_fraction keeps segments to measure that knowledge."
)


def describe_changes(snapshot: Snapshot) -> str:
    """The known changes of the stream, in a sentence; empty without any."""
    scenario = snapshot.scenario
    spans = scenario.spans
    if not scenario.changes:
        return ""
    if len(spans) == 2 and len(scenario.drifts) == 1:
        return (
            f"The stream changed once, after {plural(scenario.drifts[0], 'segment')}: from "
            f"{_name(spans[0].name)} to {_name(spans[1].name)}."
        )
    count = len(scenario.drifts)
    times = "once" if count == 1 else f"{count:,} times"
    named = [f"{_name(s.name)} ({s.last - s.first + 1:,})" for s in spans[:MAX_SPANS_NAMED]]
    left = scenario.total_spans - len(named)
    more = f"; {left:,} more" if left > 0 else ""
    return f"The stream changed {times}. Its spans (segments): {'; '.join(named)}{more}."


def long_runs_note(snapshot: Snapshot) -> str:
    """The caveat where the strongest baseline only repeats labels; else empty."""
    if snapshot.best_baseline is None or snapshot.best_baseline.key != NO_CHANGE:
        return ""
    return LONG_RUNS if snapshot.held_out else LONG_RUNS_ALONE


def detector_rows(snapshot: Snapshot) -> list[tuple[str, str, str, str, str, str, str]]:
    """Rows of the detectors that raised an alarm: detector, signal, alarms, detected changes,
    delay, false alarms, repeated alarms.
    """
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
    """The detectors that raised no alarm, with their signals."""
    by_signal: dict[str, list[str]] = {}
    for one in detector_results(snapshot.scenario):
        if not one.alarms:
            by_signal.setdefault(one.signal, []).append(one.detector)
    return "; ".join(f"{', '.join(names)} over the {signal}" for signal, names in by_signal.items())


def delay_text(watch: DetectorResult) -> str:
    """Delay of a detector in segments: median and range over the changes that it detected.

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
    """The domains with the best and the worst accuracy; empty with a single domain."""
    known = [d for d in snapshot.domains if d.accuracy.get(HEADLINE) is not None]
    if len(known) < 2:
        return ""
    ranked = sorted(known, key=lambda d: d.accuracy[HEADLINE] or 0.0)
    return f"best {_scored(ranked[-1])}; worst {_scored(ranked[0])}"


def domain_name(domain: DomainScore) -> str:
    """The name of a domain; the domains beyond the limit share one."""
    return "all further domains" if domain.name is None else domain.name


def short_count(value: float | None) -> str:
    """A large count with three digits and a unit.

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
    return f"“{name}” {percent(domain.accuracy[HEADLINE])}"


def _name(name: str) -> str:
    return f"“{shorten(name, NAME)}”"
