"""The non-stationary part of a run's summary: spans, changes, alarms, held-out scores.

Guarantees:
- Bounded values, whatever the summary holds.
- A summary without these tables (of an older version) gives empty values.
- A missing or non-finite figure is None.
- A table with another meaning raises ValueError, TypeError or KeyError.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from streamstop.pipeline.summary_file import number
from streamstop.report.names import HEADLINE, N_SEGMENTS

MAX_SPANS = 1024
MAX_ALARMS = 512
MAX_DOMAINS = 128
MAX_TASKS = 64
MAX_ROWS = 256
MAX_MAKERS = 24

UNFINISHED = ("interrupted", "diverged")
"""Statuses of runs that did not reach the end of their stream."""

Row = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """Segments `first` to `last` (from 0, both included) of one domain or task, and its name."""

    first: int
    last: int
    name: str


@dataclass(frozen=True, slots=True)
class DriftAlarm:
    """An alarm of a drift detector at a segment; `signal` : what it watches."""

    segment: int
    detector: str
    signal: str


@dataclass(frozen=True, slots=True)
class ScenarioView:
    """A non-stationary stream: its spans and known changes, and the alarms of drift detectors.

    drifts : the first segments after each known change.
    alarm_count : of all alarms; `alarms` are the first of them.
    watched : (detector, signal) of all detectors; empty where the run does not list them.
    """

    name: str = ""
    domain: str = ""
    spans: tuple[Span, ...] = ()
    total_spans: int = 0
    drifts: tuple[int, ...] = ()
    alarms: tuple[DriftAlarm, ...] = ()
    alarm_count: int = 0
    watched: tuple[tuple[str, str], ...] = ()
    responses: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the spans, each once, in order."""
        return tuple(dict.fromkeys(span.name for span in self.spans))

    @property
    def changes(self) -> bool:
        """Whether the stream is known to change."""
        return bool(self.drifts) or len(self.spans) > 1


@dataclass(frozen=True, slots=True)
class DetectorResult:
    """The result of one detector on one signal.

    delays : for each known change, segments until the first alarm before the next change; None
        without one.
    false_alarms : alarms before the first known change; None where no change is known.
    repeated : further alarms after the one that detected a change.
    """

    detector: str
    signal: str
    alarms: int
    delays: tuple[int | None, ...]
    false_alarms: int | None
    repeated: int

    @property
    def found(self) -> tuple[int, ...]:
        """The delays of the detected changes, shortest first."""
        return tuple(sorted(one for one in self.delays if one is not None))


@dataclass(frozen=True, slots=True)
class DomainScore:
    """One domain: the accuracy of every decision maker on its segments, by key.

    name : None for the domains beyond the limit, which share one row.
    """

    name: str | None
    segments: int
    first: int
    accuracy: Mapping[str, float | None]

    @property
    def best(self) -> float | None:
        """The highest accuracy."""
        return max((v for v in self.accuracy.values() if v is not None), default=None)


@dataclass(frozen=True, slots=True)
class HeldOutScores:
    """One decision maker on the held-out segments.

    before : accuracy by task before the stream; empty where it was not measured.
    r : accuracy by span and task.
    """

    key: str
    before: Row
    r: tuple[Row, ...]
    average_accuracy: float | None
    backward_transfer: float | None
    forward_transfer: float | None
    forgetting: float | None


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The held-out evaluation: tasks, the task of each span, and the scores of decision makers."""

    tasks: tuple[str, ...]
    learned: tuple[int, ...]
    scores: tuple[HeldOutScores, ...]
    rows_left: int = 0
    tasks_left: int = 0

    @property
    def learner(self) -> HeldOutScores | None:
        """The scores of the headline prediction."""
        return next((one for one in self.scores if one.key == HEADLINE), None)


def detector_results(scenario: ScenarioView) -> list[DetectorResult]:
    """The results of all detectors against the known changes, in the order of `watched`."""
    alarmed = [(one.detector, one.signal) for one in scenario.alarms]
    return [
        _detector_result(scenario, *key) for key in dict.fromkeys([*scenario.watched, *alarmed])
    ]


def _detector_result(scenario: ScenarioView, detector: str, signal: str) -> DetectorResult:
    raised = sorted(
        one.segment for one in scenario.alarms if (one.detector, one.signal) == (detector, signal)
    )
    delays: list[int | None] = []
    repeated = 0
    for drift, until in zip_longest(scenario.drifts, scenario.drifts[1:]):
        within = [a for a in raised if a >= drift and (until is None or a < until)]
        delays.append(within[0] - drift if within else None)
        repeated += max(0, len(within) - 1)
    false_alarms = sum(a < scenario.drifts[0] for a in raised) if scenario.drifts else None
    return DetectorResult(detector, signal, len(raised), tuple(delays), false_alarms, repeated)


def read_scenario(summary: Mapping[str, Any]) -> ScenarioView:
    """The stream of a summary: of a run that broke off, the part that it came to."""
    scenario, drift = summary.get("scenario") or {}, summary.get("drift") or {}
    spans = scenario.get("spans") or ()
    drifts = (int(one) for one in (scenario.get("drifts") or ())[:MAX_SPANS])
    total = int(scenario.get("spans_in_all") or len(spans))
    if summary.get("status") in UNFINISHED:
        came_to = int(summary.get(N_SEGMENTS) or 0)
        spans = [one for one in spans if int(one[0]) < came_to]
        drifts = (one for one in drifts if one < came_to)
        total = min(total, len(spans))
    alarms = drift.get("alarms") or ()
    return ScenarioView(
        name=str(scenario.get("name") or ""),
        domain=str(scenario.get("domain") or ""),
        spans=tuple(Span(int(a), int(b), str(name)) for a, b, name in spans[:MAX_SPANS]),
        total_spans=total,
        drifts=tuple(sorted(drifts)),
        alarms=tuple(
            DriftAlarm(int(one["segment"]), str(one["detector"]), str(one["signal"]))
            for one in alarms[:MAX_ALARMS]
        ),
        alarm_count=int(drift.get("count") or len(alarms)),
        watched=tuple((str(a), str(b)) for a, b in (drift.get("watched") or ())[:MAX_MAKERS]),
        responses=int(drift.get("responses") or 0),
    )


def read_domains(summary: Mapping[str, Any]) -> tuple[DomainScore, ...]:
    """The domains of a summary, in the order of their first segments."""
    known = ("domain", "segments", "first")
    return tuple(
        DomainScore(
            None if row["domain"] is None else str(row["domain"]),
            int(row["segments"]),
            int(row["first"]),
            {str(k): number(v) for k, v in row.items() if k not in known},
        )
        for row in (summary.get("per_domain") or ())[:MAX_DOMAINS]
    )


def read_held_out(summary: Mapping[str, Any]) -> HeldOut | None:
    """The held-out evaluation of a summary; None without one.

    The first MAX_TASKS tasks and MAX_ROWS spans are kept, and always the last span.
    """
    table = summary.get("continual")
    if not table:
        return None
    tasks = tuple(str(one) for one in table["tasks"])
    learned = tuple(int(one) for one in table["taught"])
    if any(not 0 <= one < len(tasks) for one in learned):
        raise ValueError("a span names an unknown task")
    kept = _kept(len(learned))
    return HeldOut(
        tasks=tasks[:MAX_TASKS],
        learned=tuple(learned[i] for i in kept),
        scores=tuple(_held_out_scores(table["makers"], len(tasks), len(learned), kept)),
        rows_left=len(learned) - len(kept),
        tasks_left=max(0, len(tasks) - MAX_TASKS),
    )


def _kept(rows: int) -> list[int]:
    return list(range(rows)) if rows <= MAX_ROWS else [*range(MAX_ROWS - 1), rows - 1]


def _held_out_scores(
    makers: Mapping[str, Any], tasks: int, rows: int, kept: Sequence[int]
) -> Iterator[HeldOutScores]:
    for key, figures in list(makers.items())[:MAX_MAKERS]:
        r = figures["r"]
        if len(r) != rows or any(len(row) != tasks for row in r):
            raise ValueError("R does not have one row per span and one column per task")
        names = ("average_accuracy", "backward_transfer", "forward_transfer", "forgetting")
        yield HeldOutScores(
            str(key),
            _row(figures.get("before") or ()),
            tuple(_row(r[i]) for i in kept),
            *(number(figures.get(name)) for name in names),
        )


def _row(values: Sequence[Any]) -> Row:
    return tuple(number(v) for v in values[:MAX_TASKS])
