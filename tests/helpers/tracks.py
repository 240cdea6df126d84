"""Labelled streams in memory, cut into packets at will."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

import numpy as np

from streamstop.events.labels import LabelTrack, Segment
from streamstop.events.packet import Cursor, Events, Packet, SensorSize, make_events

SENSOR = SensorSize(12, 8)


def track(lengths_us: Sequence[int], *, gap_us: int = 0, start_us: int = 0) -> LabelTrack:
    """Segments of those lengths, in turn of classes a and b, `gap_us` between them."""
    segments, now_us = [], start_us
    for i, length_us in enumerate(lengths_us):
        segments.append(Segment(now_us, now_us + length_us, i % 2, f"r{i}"))
        now_us += length_us + gap_us
    return LabelTrack(("a", "b"), segments)


def events_over(
    until_us: int, n: int, seed: int = 0, *, sensor: SensorSize = SENSOR, shuffle_us: int = 0
) -> Events:
    """`n` events from 0 to `until_us`, some one pixel outside the sensor, some late."""
    draw = np.random.default_rng(seed)
    t = np.sort(draw.integers(0, until_us, n))
    t = np.maximum(t - draw.integers(0, shuffle_us + 1, n) * (draw.random(n) < 0.1), 0)
    x = draw.integers(0, sensor.width + (draw.random(n) < 0.05), n)
    y = draw.integers(0, sensor.height, n)
    return make_events(t, x, y, draw.random(n) < 0.5)


class Stream:
    """A `Source` over events in memory; `cuts` are the events that packets begin at."""

    name, format = "memory", "memory"
    live = simulated = False
    notes = ()

    def __init__(
        self,
        events: Events,
        labels: LabelTrack | None,
        cuts: Sequence[int] = (),
        *,
        sensor: SensorSize = SENSOR,
        until_us: int | None = None,
        origin_us: int | None = 0,
    ) -> None:
        self.events, self.labels = events, labels
        self.sensor, self.origin_us = sensor, origin_us
        self.cuts = sorted(cuts)
        self.until_us = until_us

    def __iter__(self) -> Iterator[Packet]:
        edges = [0, *self.cuts, len(self.events)]
        for nth, (a, b) in enumerate(itertools.pairwise(edges)):
            last = nth == len(edges) - 2
            yield Packet(
                self.events[a:b], Cursor("memory", event=b), self.until_us if last else None
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None
