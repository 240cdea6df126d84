"""Corruptions that add events: background noise and hot pixels.

Added events are drawn slot by slot of the stream's time, each slot from its own number, so that
they do not depend on packets, nor on the stream's own events. One goes in before the first event
that brings a later time. At the end of the stream time has come as far as the last event, or as the
source vouches. A silence beyond `MAX_SILENCE_US`, or a jump back, is no time that passes: nothing
is added there. Memory holds one slot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamstop.events.packet import MAX_PACKET_EVENTS, Events, Packet, SensorSize, empty_events
from streamstop.scenarios.alterations import Key

HOT_HZ = 100.0
"""Events per second of a hot pixel."""

SLOT_US = 10_000
MAX_SILENCE_US = 10_000_000
MAX_BACK_US = 1_000_000
_LIMIT_US = 1 << 60
"""Times beyond are damage; they are cut to this, so that no sum leaves 64 bits."""


class AdditiveNoise(Protocol):
    """Events that no light caused, as many as at level 1."""

    def slot(self, number: int, era: int) -> tuple[Events, NDArray[np.float64]]:
        """The events of slot `number`, in time order, and the level from which on each is there.

        era : how often time has jumped back.
        """
        ...


class BackgroundActivity:
    """Background activity: a Poisson process at each pixel, of either polarity."""

    def __init__(self, sensor: SensorSize, hz: float, key: Key) -> None:
        self._sensor = sensor
        self._mean = hz * sensor.width * sensor.height * SLOT_US / 1e6
        self._key = key

    def slot(self, number: int, era: int) -> tuple[Events, NDArray[np.float64]]:
        """See `AdditiveNoise`."""
        draw = _draw(self._key, number, era)
        events = _at_any_time(draw, self._mean, number)
        events["x"] = draw.integers(0, self._sensor.width, len(events))
        events["y"] = draw.integers(0, self._sensor.height, len(events))
        events["p"] = draw.random(len(events)) < 0.5
        return events, draw.random(len(events))


class HotPixels:
    """Pixels that send ON events all the time; as the level rises, more of them."""

    def __init__(self, sensor: SensorSize, fraction: float, key: Key) -> None:
        pixels = sensor.width * sensor.height
        self._hot = np.random.default_rng(key).permutation(pixels)[: round(fraction * pixels)]
        self._width = sensor.width
        self._key = key

    def slot(self, number: int, era: int) -> tuple[Events, NDArray[np.float64]]:
        """See `AdditiveNoise`."""
        draw = _draw(self._key, number, era)
        events = _at_any_time(draw, HOT_HZ * len(self._hot) * SLOT_US / 1e6, number)
        which = draw.integers(0, max(len(self._hot), 1), len(events))
        events["y"], events["x"] = np.divmod(self._hot[which], self._width)
        events["p"] = True
        return events, which / max(len(self._hot), 1)


ADDITIVE: dict[str, Callable[[SensorSize, float, Key], AdditiveNoise]] = {
    "noise": BackgroundActivity,
    "hot-pixels": HotPixels,
}


def _draw(key: Key, number: int, era: int) -> np.random.Generator:
    return np.random.default_rng((*key, era, number % (1 << 64)))


def _at_any_time(draw: np.random.Generator, mean: float, number: int) -> Events:
    events = empty_events(int(draw.poisson(mean)))
    events["t"] = number * SLOT_US + np.sort(draw.integers(0, SLOT_US, len(events)))
    return events


def add_events(
    packets: Iterable[Packet],
    starts_us: NDArray[np.int64],
    levels: NDArray[np.float64],
    process: AdditiveNoise,
    origin_us: int | None,
) -> Iterator[Packet]:
    """The packets with events of `process` among theirs.

    starts_us, levels : of the segments, shape (segments,); see `alterations.alter_events`.
    origin_us : where time begins; None: at the first event.
    """
    flow = _Flow(starts_us, levels, process, origin_us)
    cursor = None
    for packet in packets:
        waiting: Packet | None = None
        for events in flow.through(packet.events, packet.until_us):
            for first in range(0, len(events), MAX_PACKET_EVENTS):
                if waiting is not None:
                    yield waiting
                    packet = packet._replace(dropped={}, damage=())
                waiting = packet._replace(
                    events=events[first : first + MAX_PACKET_EVENTS],
                    cursor=cursor or packet.cursor,
                    until_us=None,
                )
        last = waiting or packet._replace(events=empty_events())
        yield last._replace(cursor=packet.cursor, until_us=packet.until_us)
        cursor = packet.cursor


class _Flow:
    """How far time has come, and what was drawn of the slot that it is in."""

    def __init__(
        self,
        starts_us: NDArray[np.int64],
        levels: NDArray[np.float64],
        process: AdditiveNoise,
        origin_us: int | None,
    ) -> None:
        self._starts_us, self._levels = starts_us, levels
        self._process = process
        self._now_us = origin_us
        self._era = 0
        self._slot: int | None = None
        self._held = empty_events()

    def through(self, events: Events, until_us: int | None) -> Iterator[Events]:
        """`events` with others among them, then others up to `until_us`, in arrays."""
        t = np.clip(events["t"], -_LIMIT_US, _LIMIT_US)
        done = 0
        while done < len(t):
            count, latest = self._before_a_jump(t[done:])
            yield from self._among(events[done : done + count], latest)
            done += count
        if until_us is not None:
            if self._now_us is None or until_us > self._now_us:
                self._come(min(until_us, _LIMIT_US))
            yield from self._among(empty_events(), np.zeros(0, np.int64), until_us)

    def _come(self, t_us: int) -> None:
        """Where `t_us` is too far off, time jumps there."""
        if self._now_us is None or t_us - self._now_us > MAX_SILENCE_US:
            self._now_us = t_us
        elif self._now_us - t_us > MAX_BACK_US:
            self._now_us, self._slot = t_us, None
            self._era += 1

    def _before_a_jump(self, t: NDArray[np.int64]) -> tuple[int, NDArray[np.int64]]:
        """How many events come before time jumps again, and the latest time at each."""
        self._come(int(t[0]))
        assert self._now_us is not None
        latest = np.maximum.accumulate(np.maximum(t, self._now_us))
        steps = np.diff(latest, prepend=self._now_us) > MAX_SILENCE_US
        jumps = steps | (latest - t > MAX_BACK_US)
        count = int(jumps.argmax()) if jumps.any() else len(t)
        return count, latest[:count]

    def _among(
        self, events: Events, latest: NDArray[np.int64], until_us: int | None = None
    ) -> Iterator[Events]:
        """Others in their places among events, up to the latest time or `until_us`."""
        assert self._now_us is not None
        end_us = int(latest[-1]) if until_us is None else max(until_us, self._now_us)
        if self._silent(self._now_us, end_us):
            self._now_us = end_us
            yield events
            return
        done = 0
        while self._now_us < end_us:
            stop_us = min((self._now_us // SLOT_US + 1) * SLOT_US, end_us)
            # An event at `stop_us` itself comes after all that was added before it.
            count = int(np.searchsorted(latest[done:], stop_us, side="left"))
            others = self._drawn(self._now_us, stop_us)
            place = np.searchsorted(latest[done : done + count], others["t"], side="right")
            yield _put_in(events[done : done + count], others, place)
            done += count
            self._now_us = stop_us
        yield events[done:]

    def _silent(self, first_us: int, end_us: int) -> bool:
        """Whether no segment of a level above 0 is met from `first_us` to `end_us`."""
        a, b = np.searchsorted(self._starts_us, (first_us, end_us), side="right")
        return not self._levels[max(int(a) - 1, 0) : int(b)].any()

    def _drawn(self, first_us: int, end_us: int) -> Events:
        """What comes by itself in [first_us, end_us), within one slot, thinned to its level."""
        number = first_us // SLOT_US
        if number != self._slot:
            events, needs = self._process.slot(number, self._era)
            segment = np.searchsorted(self._starts_us, events["t"], side="right") - 1
            level = np.where(segment >= 0, self._levels[segment], 0.0)
            self._held = events[needs < level]
            self._slot = number
        a, b = np.searchsorted(self._held["t"], (first_us, end_us), side="left")
        return self._held[a:b]


def _put_in(events: Events, others: Events, place: NDArray[np.intp]) -> Events:
    """`others` among `events`, each before the event whose number `place` tells."""
    if not len(others):
        return events
    both = empty_events(len(events) + len(others))
    theirs = np.zeros(len(both), bool)
    theirs[place + np.arange(len(others))] = True
    both[theirs], both[~theirs] = others, events
    return both
