"""The stream that a configuration describes: opened, ordered, corrupted, paced.

Guarantees: the source, its schedule and its held-out sources belong to each other; no held-out
segment is in the stream.

Does not: read more than opening a source reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from streamstop.config.sections import Config
from streamstop.errors import UsageError
from streamstop.scenarios.corruptions import Corruption, corrupted, parse_corruption
from streamstop.scenarios.scenario import UNORDERED, Scenario, Schedule, Span, make_schedule
from streamstop.sources.base import Source
from streamstop.sources.folder import FolderSource
from streamstop.sources.live.source import LiveSource
from streamstop.sources.open import open_source, sensor_size
from streamstop.sources.realtime import replay_realtime
from streamstop.sources.transformed import TransformedSource

WHOLE = "all"
"""The only task of a stationary stream."""


@dataclass(frozen=True)
class ScenarioStream:
    """A non-stationary stream and its held-out tests.

    source : not yet entered.
    schedule : spans and drifts; without spans where nothing changes.
    tests : sources of held-out segments, with the task of each segment.
    live : the camera or socket below `source`, which may be corrupted; None for recordings.
    """

    source: Source
    schedule: Schedule
    tests: tuple[tuple[Source, Sequence[str]], ...] = ()
    live: LiveSource | None = None

    @property
    def spans(self) -> tuple[Span, ...]:
        """The spans after which there is a test: those with a single task."""
        track = self.source.labels
        whole = (Span(0, len(track or ()) - 1, WHOLE),)
        return tuple(one for one in self.schedule.spans or whole if one.name in self.tasks)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that are tested, in the order in which the stream comes to them."""
        tested = {name for _, tasks in self.tests for name in tasks}
        came = [one.name for one in self.schedule.spans if one.name in tested]
        return tuple(dict.fromkeys([*came, *sorted(tested)]))


def scenario_from_config(config: Config) -> Scenario:
    """The scenario that a configuration describes."""
    c = config.scenario
    return Scenario(
        c.name,
        c.domain_from,
        c.classes_per_task,
        c.transition_segments,
        c.repetitions,
        c.held_out_fraction,
        config.segments.order,
    )


def open_stream(config: Config, uri: str = "") -> ScenarioStream:
    """Open the configured source with its scenario.

    Parameters
    ----------
    config : Config
        A run's settings, from `load_config`.
    uri : str
        The source; empty: `source.uri`.

    Raises
    ------
    SourceError, UsageError, DamageError
        As `open_source`.
    UsageError
        If the scenario does not fit the source.
    """
    uri = uri or config.source.uri
    scenario = scenario_from_config(config)
    corruptions = [parse_corruption(text) for text in config.scenario.corruptions]
    if scenario.name == "corrupted" and not corruptions:
        raise UsageError(
            'scenario.name = "corrupted", but scenario.corruptions names none; such as '
            "scenario.corruptions = ['rotate 90 at 0.5']"
        )
    orders = scenario.held_out > 0 or scenario.name not in UNORDERED
    opened = open_source(
        uri,
        labels=config.source.labels or None,
        sensor=sensor_size(config.source.sensor) if config.source.sensor else None,
        strict=config.source.strict,
        seed=config.run.seed,
        length_us=config.segments.length_us,
        order=scenario.order if orders else config.segments.order,
        limit=config.segments.max_segments,
        align_us=config.binning.bin_us,
        seconds=config.source.duration_s,
        max_latency_ms=config.source.max_latency_ms,
    )
    if orders and not isinstance(opened, FolderSource):
        raise UsageError(
            f"scenario.name = {scenario.name!r} with held_out = {scenario.held_out:g} "
            "orders and "
            f"parts the recordings of a folder, and this is one stream: {uri}"
        )
    track = opened.labels
    found = make_schedule(scenario, track, corruptions) if track is not None else Schedule((), ())
    tests = _tests(config, scenario, opened, found, corruptions)
    source = _corrupted(config, opened, corruptions)
    if config.source.speed and not source.live:
        b = config.binning
        replay = partial(
            replay_realtime, speed=config.source.speed, tick_us=b.bin_us, gap_us=b.reset_gap_us
        )
        source = TransformedSource(source, replay)
    return ScenarioStream(source, found, tests, opened if isinstance(opened, LiveSource) else None)


def _corrupted(config: Config, source: Source, corruptions: Sequence[Corruption]) -> Source:
    align_us = config.binning.bin_us
    return corrupted(source, corruptions, seed=config.run.seed, align_us=align_us)


def _tests(
    config: Config,
    scenario: Scenario,
    opened: Source,
    found: Schedule,
    corruptions: Sequence[Corruption],
) -> tuple[tuple[Source, Sequence[str]], ...]:
    """The held-out sources: one, divided by task; or one per span's corruptions, in full."""
    if not scenario.held_out or not isinstance(opened, FolderSource):
        return ()
    held = opened.held_out()
    track, stream = held.labels, opened.labels
    if track is None or stream is None or not len(track):
        raise UsageError(
            f"scenario.held_out_fraction = {scenario.held_out:g} holds nothing out: no "
            "class of a task has "
            f"so many segments; cut them shorter with segments.length_us: {opened.name}"
        )
    if scenario.name == "class-incremental":
        of_class = scenario.tasks_of_classes(stream)
        return ((held, [of_class.get(one.label, "not in the stream") for one in track]),)
    if tasks := scenario.tasks(track):
        return ((held, tasks),)
    names = dict.fromkeys(one.name for one in found.spans) or {WHOLE: None}
    return tuple(
        (_corrupted(config, held, _in_full(name, corruptions)), [name] * len(track))
        for name in names
    )


def _in_full(name: str, corruptions: Sequence[Corruption]) -> list[Corruption]:
    """The corruptions of a span of that name, at full level from end to end."""
    kept = name.split("; ")
    return [Corruption(one.kind, one.amount) for one in corruptions if str(one) in kept]
