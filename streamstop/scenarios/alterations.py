"""Corruptions that change or remove events one by one.

Each takes runs of events with the same level above 0, in the order of the stream, and returns those
that remain. It draws one random number per event, so that nothing depends on how runs are cut.

Guarantees: events outside the sensor are not changed; some of them may be removed like others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamstop.events.packet import Events, Packet, SensorSize

LOSS = "corruption_loss"
"""The cause under which the ledger counts removed events."""

Key = tuple[int, int]
"""The run's seed, and which of its corruptions this is."""


class EventTransform(Protocol):
    """A change of events."""

    def apply(self, events: Events, level: float, segment: int) -> Events:
        """What is left of a run of events, shape (n,); the array given may be changed.

        level : above 0.  segment : the one that the run lies in, or right after.
        """
        ...


class Thinning:
    """Loss of events by chance: `keep` of ON and of OFF events is left at level 1."""

    def __init__(self, key: Key, keep_on: float, keep_off: float, *, inverse: bool = False) -> None:
        self._draw = np.random.default_rng(key)
        self._keep = np.array([keep_off, keep_on])
        self._inverse = inverse  # levels scale 1 / keep, a threshold, not the fraction lost

    def apply(self, events: Events, level: float, segment: int) -> Events:
        """Each event is kept by a draw of its own."""
        if self._inverse:
            keep = 1 / (1 + level * (1 / self._keep - 1))
        else:
            keep = 1 - level * (1 - self._keep)
        return events[self._draw.random(len(events)) < keep[events["p"].astype(np.intp)]]


class Flip:
    """Polarity inverted, of a fraction of the events."""

    def __init__(self, key: Key, fraction: float) -> None:
        self._draw = np.random.default_rng(key)
        self._fraction = fraction

    def apply(self, events: Events, level: float, segment: int) -> Events:
        """All events are left."""
        events["p"] ^= self._draw.random(len(events)) < level * self._fraction
        return events


class DeadPixels:
    """Pixels that send nothing; as the level rises, more of them, and none comes back."""

    def __init__(self, sensor: SensorSize, key: Key, fraction: float) -> None:
        pixels = sensor.width * sensor.height
        self._sensor = sensor
        self._rank = np.random.default_rng(key).permutation(pixels)
        self._dead = fraction * pixels

    def apply(self, events: Events, level: float, segment: int) -> Events:
        """Events of pixels that live, and those of no pixel at all."""
        at, inside = _pixel(events, self._sensor)
        return events[~inside | (self._rank[at] >= round(level * self._dead))]


class Rotation:
    """The picture turned about the sensor's centre; what leaves the sensor is lost."""

    def __init__(self, sensor: SensorSize, degrees: float) -> None:
        self._sensor = sensor
        self._degrees = degrees
        self._level = 0.0
        self._to = np.zeros((0, 2), np.int64)

    def apply(self, events: Events, level: float, segment: int) -> Events:
        """Each event at the pixel nearest to where its own is turned to."""
        if level != self._level:
            self._to = _turned(self._sensor, level * self._degrees)
            self._level = level
        at, inside = _pixel(events, self._sensor)
        to = self._to[at]
        stays = (to[:, 0] >= 0) | ~inside
        events["x"] = np.where(inside, to[:, 0], events["x"])
        events["y"] = np.where(inside, to[:, 1], events["y"])
        return events[stays]


class Mirror:
    """Left and right exchanged, of whole segments: of a fraction of them, drawn one by one."""

    def __init__(self, sensor: SensorSize, key: Key, fraction: float) -> None:
        self._width = sensor.width
        self._key = key
        self._fraction = fraction

    def apply(self, events: Events, level: float, segment: int) -> Events:
        """All events are left."""
        if np.random.default_rng((*self._key, segment)).random() < level * self._fraction:
            x = events["x"].astype(np.int64)
            events["x"] = np.where(x < self._width, self._width - 1 - x, x)
        return events


TRANSFORMS: dict[str, Callable[[SensorSize, float, Key], EventTransform]] = {
    "dead-pixels": lambda sensor, amount, key: DeadPixels(sensor, key, amount),
    "loss": lambda sensor, amount, key: Thinning(key, 1 - amount, 1 - amount),
    "flip": lambda sensor, amount, key: Flip(key, amount),
    "rotate": lambda sensor, amount, key: Rotation(sensor, amount),
    "mirror": lambda sensor, amount, key: Mirror(sensor, key, amount),
    "threshold": lambda sensor, amount, key: Thinning(key, 1 / amount, 1 / amount, inverse=True),
    "threshold-on": lambda sensor, amount, key: Thinning(key, 1 / amount, 1.0, inverse=True),
    "threshold-off": lambda sensor, amount, key: Thinning(key, 1.0, 1 / amount, inverse=True),
}


def alter_events(
    packets: Iterable[Packet],
    starts_us: NDArray[np.int64],
    levels: NDArray[np.float64],
    alteration: EventTransform,
) -> Iterator[Packet]:
    """The packets with their events altered, each by the level of the segment its time lies in.

    starts_us, levels : of the segments, shape (segments,). Before the first, nothing happens; what
        lies between two segments goes with the one before.
    """
    for packet in packets:
        segment = np.searchsorted(starts_us, packet.events["t"], side="right") - 1
        level = np.where(segment >= 0, levels[segment], 0.0)
        if not level.any():
            yield packet
            continue
        events = packet.events.copy()
        edges = [0, *(np.flatnonzero(np.diff(segment)) + 1).tolist(), len(events)]
        left = [
            alteration.apply(events[a:b], float(level[a]), int(segment[a]))
            if level[a]
            else events[a:b]
            for a, b in pairwise(edges)
        ]
        kept = np.concatenate(left)
        lost = len(events) - len(kept)
        dropped = dict(packet.dropped)
        if lost:
            dropped[LOSS] = dropped.get(LOSS, 0) + lost
        yield packet._replace(events=kept, dropped=dropped)


def _pixel(events: Events, sensor: SensorSize) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The number of each event's pixel (0 where it has none), and whether it has one."""
    x, y = events["x"].astype(np.int64), events["y"].astype(np.int64)
    inside = (x < sensor.width) & (y < sensor.height)
    return np.where(inside, y * sensor.width + x, 0), inside


def _turned(sensor: SensorSize, degrees: float) -> NDArray[np.int64]:
    """Where each pixel is turned to, shape (pixels, 2) as (x, y); (-1, -1) where outside.

    Rows count downwards, so that the rotation of the formula looks clockwise. Quarter turns are
    exact.
    """
    quarters = degrees / 90
    if quarters == int(quarters):
        cos, sin = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[int(quarters) % 4]
    else:
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    middle = np.array([(sensor.width - 1) / 2, (sensor.height - 1) / 2])
    y, x = np.divmod(np.arange(sensor.width * sensor.height), sensor.width)
    dx, dy = x - middle[0], y - middle[1]
    to = np.stack([cos * dx - sin * dy, sin * dx + cos * dy], axis=1) + middle
    nearest: NDArray[np.int64] = np.floor(to + 0.5).astype(np.int64)
    out = (nearest < 0) | (nearest >= np.array(sensor))
    nearest[out.any(axis=1)] = -1
    return nearest
