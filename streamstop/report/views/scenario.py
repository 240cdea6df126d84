"""What became of the world in a run, as its summary tells it: spans, drifts, alarms, tests.

Promises: bounded values, whatever the summary holds; a summary of an older version, without these
tables, gives empty ones; every missing or non-finite figure is None. A table that is there but
means something else raises ValueError, TypeError or KeyError. It computes one thing: what a
detector's alarms say of the drifts that are known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from streamstop.pipeline.summary_file import number

MAX_SPANS = 1024
MAX_ALARMS = 512
MAX_DOMAINS = 128
MAX_TASKS = 64
MAX_ROWS = 256
MAX_MAKERS = 24

BROKE_OFF = ("interrupted", "diverged")
"""Statuses of runs that did not see the end of their stream."""

Row = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """Segments `first` to `last`, counted from 0, both in it, and what is true of them."""

    first: int
    last: int
    name: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """A detector's alarm at a segment, over errors or over a rate."""

    segment: int
    detector: str
    signal: str


@dataclass(frozen=True, slots=True)
class World:
    """The course of the world and what the detectors said of it.

    drifts : the segments with which the world is known to have changed.
    alarm_count : of all; `alarms` are the first of them.
    watched : (detector, signal) of all that watched; empty where the run does not say.
    """

    scenario: str = ""
    domain: str = ""
    spans: tuple[Span, ...] = ()
    spans_in_all: int = 0
    drifts: tuple[int, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    alarm_count: int = 0
    watched: tuple[tuple[str, str], ...] = ()
    responses: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The spans' names, each once, in the order in which they come."""
        return tuple(dict.fromkeys(span.name for span in self.spans))

    @property
    def changes(self) -> bool:
        """Whether the world is known to change."""
        return bool(self.drifts) or len(self.spans) > 1


@dataclass(frozen=True, slots=True)
class Watch:
    """What one detector over one signal said.

    delays : for each known drift, segments from it to the first alarm before the next one; None
        where there was none.
    false : alarms before the first known drift; None where no drift is known.
    again : further alarms after one that found a drift.
    """

    detector: str
    signal: str
    alarms: int
    delays: tuple[int | None, ...]
    false: int | None
    again: int

    @property
    def found(self) -> tuple[int, ...]:
        """The delays of the drifts that were found, shortest first."""
        return tuple(sorted(one for one in self.delays if one is not None))


@dataclass(frozen=True, slots=True)
class DomainScore:
    """One domain: everyone's accuracy on its segments, by the keys of summary.json.

    name : None for all the domains together that came after the first so many.
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
class Examined:
    """One decision maker on the held-out segments.

    before : accuracy by task before the stream; empty where it is not known.
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
    """The tests on what is held out: tasks, the task of each span, and who was tested."""

    tasks: tuple[str, ...]
    taught: tuple[int, ...]
    tested: tuple[Examined, ...]
    rows_left: int = 0
    tasks_left: int = 0

    @property
    def learner(self) -> Examined | None:
        """The learner's own."""
        return next((one for one in self.tested if one.key == "decided"), None)


def watches(world: World) -> list[Watch]:
    """What each detector's alarms say of the known drifts, in the order in which they watch."""
    heard = [(one.detector, one.signal) for one in world.alarms]
    return [_watch(world, *key) for key in dict.fromkeys([*world.watched, *heard])]


def _watch(world: World, detector: str, signal: str) -> Watch:
    raised = sorted(
        one.segment for one in world.alarms if (one.detector, one.signal) == (detector, signal)
    )
    delays: list[int | None] = []
    again = 0
    for drift, until in zip_longest(world.drifts, world.drifts[1:]):
        within = [a for a in raised if a >= drift and (until is None or a < until)]
        delays.append(within[0] - drift if within else None)
        again += max(0, len(within) - 1)
    false = sum(a < world.drifts[0] for a in raised) if world.drifts else None
    return Watch(detector, signal, len(raised), tuple(delays), false, again)


def read_world(summary: Mapping[str, Any]) -> World:
    """The world of a summary: of a run that broke off, the part that it came to."""
    scenario, drift = summary.get("scenario") or {}, summary.get("drift") or {}
    spans = scenario.get("spans") or ()
    drifts = (int(one) for one in (scenario.get("drifts") or ())[:MAX_SPANS])
    in_all = int(scenario.get("spans_in_all") or len(spans))
    if summary.get("status") in BROKE_OFF:
        came_to = int(summary.get("segments") or 0)
        spans = [one for one in spans if int(one[0]) < came_to]
        drifts = (one for one in drifts if one < came_to)
        in_all = min(in_all, len(spans))
    alarms = drift.get("alarms") or ()
    return World(
        scenario=str(scenario.get("name") or ""),
        domain=str(scenario.get("domain") or ""),
        spans=tuple(Span(int(a), int(b), str(name)) for a, b, name in spans[:MAX_SPANS]),
        spans_in_all=in_all,
        drifts=tuple(sorted(drifts)),
        alarms=tuple(
            Alarm(int(one["segment"]), str(one["detector"]), str(one["signal"]))
            for one in alarms[:MAX_ALARMS]
        ),
        alarm_count=int(drift.get("count") or len(alarms)),
        watched=tuple((str(a), str(b)) for a, b in (drift.get("watched") or ())[:MAX_MAKERS]),
        responses=int(drift.get("responses") or 0),
    )


def read_domains(summary: Mapping[str, Any]) -> tuple[DomainScore, ...]:
    """The domains of a summary, in the order in which they came."""
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
    """The tests of a summary; None where nothing was tested.

    Of more than MAX_TASKS tasks or MAX_ROWS spans the first are kept, and the last span.
    """
    said = summary.get("continual")
    if not said:
        return None
    tasks = tuple(str(one) for one in said["tasks"])
    taught = tuple(int(one) for one in said["taught"])
    if any(not 0 <= one < len(tasks) for one in taught):
        raise ValueError("a span teaches a task that is none")
    kept = _kept(len(taught))
    return HeldOut(
        tasks=tasks[:MAX_TASKS],
        taught=tuple(taught[i] for i in kept),
        tested=tuple(_tested(said["makers"], len(tasks), len(taught), kept)),
        rows_left=len(taught) - len(kept),
        tasks_left=max(0, len(tasks) - MAX_TASKS),
    )


def _kept(rows: int) -> list[int]:
    return list(range(rows)) if rows <= MAX_ROWS else [*range(MAX_ROWS - 1), rows - 1]


def _tested(
    makers: Mapping[str, Any], tasks: int, rows: int, kept: Sequence[int]
) -> Iterator[Examined]:
    for key, said in list(makers.items())[:MAX_MAKERS]:
        r = said["r"]
        if len(r) != rows or any(len(row) != tasks for row in r):
            raise ValueError("R has not a row a span and a column a task")
        figures = ("average_accuracy", "backward_transfer", "forward_transfer", "forgetting")
        yield Examined(
            str(key),
            _row(said.get("before") or ()),
            tuple(_row(r[i]) for i in kept),
            *(number(said.get(name)) for name in figures),
        )


def _row(values: Sequence[Any]) -> Row:
    return tuple(number(v) for v in values[:MAX_TASKS])
