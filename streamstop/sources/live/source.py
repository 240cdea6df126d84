"""Live sources: a thread reads a feed into a bounded ring buffer, and a clock closes bins.

Guarantees:

- Reading never waits for the learner, unless the origin itself can wait.
- Memory is bounded: what does not fit is dropped, the oldest first, and counted.
- With `max_latency_s`, no event is handed over that has waited longer: it is dropped and counted,
  cause "overload". What came before the iteration began waits from then on.
- The recorder gets everything received, in its order, with a note of what the learner got: that,
  and the marks of the clock, make the same run again.

The clock: an event of time t arrives at some moment, so events of t + d should have arrived a time
d later. If none has for the feed's `idle_us`, time is taken to have passed up to that long ago
(`Packet.until_us`). The binner rejects an event that comes after the clock has passed its time, as
late.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from streamstop.errors import DamageError, SourceError, StreamstopError
from streamstop.events.labels import LabelTrack
from streamstop.events.packet import (
    MAX_PACKET_EVENTS,
    Cursor,
    Damage,
    Events,
    Packet,
    empty_events,
)
from streamstop.sources.base import SourceBase
from streamstop.sources.live.feed import FeedChunk, LiveFeed, Recorder

RING_EVENTS = 1 << 22
"""Number of events that may wait for the learner: 64 MB."""

POLL_S = 0.01
"""Time that a feed waits for events in one call."""

MAX_DAMAGE = 64
"""Maximum number of damaged regions that wait; further ones are counted in the last."""


@dataclass(frozen=True, slots=True)
class _Queued:
    """An entry of the ring: at most MAX_PACKET_EVENTS events, and when they arrived."""

    events: Events
    arrived_s: float


class EventRing:
    """A bounded queue of events between the reading and the learning thread.

    Parameters
    ----------
    capacity
        Maximum number of events.
    waits
        True makes `put` wait for room; else the oldest are dropped, cause "ring_overflow".
    max_age_s
        Older events are dropped by `take`, cause "overload"; 0 for none, as where `put` waits.
    clock
        Seconds, as `arrived_s`.
    left
        Called with events that leave the ring, in their order, and whether they were taken.
    """

    def __init__(
        self,
        capacity: int,
        *,
        waits: bool,
        max_age_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        left: Callable[[Events, bool], None] = lambda events, taken: None,
    ) -> None:
        self._capacity = max(capacity, MAX_PACKET_EVENTS)
        self._waits = waits
        self._max_age_s = 0.0 if waits else max_age_s
        self._clock, self._left = clock, left
        self._begun_s = float("-inf")
        self._queue: deque[_Queued] = deque()
        self._events = 0
        self._dropped: Counter[str] = Counter()
        self._damage: list[Damage] = []
        self._changed = threading.Condition()
        self._closed = False
        self._error: StreamstopError | None = None

    def put(self, received: FeedChunk, arrived_s: float) -> None:
        """Add what a feed received."""
        events = received.events
        with self._changed:
            if self._closed:
                return
            self._dropped.update(received.dropped)
            room = MAX_DAMAGE - len(self._damage)
            self._damage += received.damage[: max(room, 0)]
            for first in range(0, len(events), MAX_PACKET_EVENTS):
                part = events[first : first + MAX_PACKET_EVENTS]
                while self._waits and self._events + len(part) > self._capacity:
                    if self._closed:
                        self._dropped["at_stop"] += len(events) - first
                        self._left(events[first:], False)
                        return
                    self._changed.wait()
                while self._events + len(part) > self._capacity:
                    self._drop("ring_overflow")
                self._queue.append(_Queued(part, arrived_s))
                self._events += len(part)
            self._changed.notify_all()

    def begin(self) -> None:
        """Note that events are taken from now on: those that wait become old from now on."""
        self._begun_s = self._clock()

    def _drop(self, cause: str) -> None:
        oldest = self._queue.popleft()
        self._events -= len(oldest.events)
        self._dropped[cause] += len(oldest.events)
        self._left(oldest.events, False)

    def end(self, error: StreamstopError | None = None) -> None:
        """Note that nothing more will come, and the error that ended it, if any."""
        with self._changed:
            self._closed, self._error = True, error
            self._changed.notify_all()

    def take(self, timeout_s: float) -> tuple[_Queued | None, Mapping[str, int], list[Damage]]:
        """The oldest events, None if none came in time; what was dropped or damaged before.

        Raises
        ------
        EOFError
            When the ring is empty and nothing more will come.
        StreamstopError
            The same, if an error ended it.
        """
        with self._changed:
            if not self._queue and not self._closed:
                self._changed.wait(timeout_s)
            oldest_s = self._clock() - self._max_age_s if self._max_age_s else float("-inf")
            while self._queue and max(self._queue[0].arrived_s, self._begun_s) < oldest_s:
                self._drop("overload")
            oldest = self._queue.popleft() if self._queue else None
            if oldest is not None:
                self._events -= len(oldest.events)
                self._left(oldest.events, True)
                self._changed.notify_all()
            dropped, self._dropped = self._dropped, Counter()
            damage, self._damage = self._damage, []
            if oldest is None and self._closed and not dropped and not damage:
                raise self._error or EOFError
            return oldest, dropped, damage

    def clear(self) -> Counter[str]:
        """Drop everything that waits, cause "at_stop", and return the counts."""
        with self._changed:
            self._closed = True
            left, self._dropped = self._dropped, Counter()
            if self._events:
                left["at_stop"] += self._events
            for waiting in self._queue:
                self._left(waiting.events, False)
            self._queue.clear()
            self._events = 0
            self._changed.notify_all()
            return left


class LiveSource(SourceBase):
    """A feed as a source; see `streamstop.sources.base.Source`.

    Parameters
    ----------
    feed
        What is read.
    labels
        Intervals in the feed's own time, or None.
    strict
        Stop at the first damage.
    seconds
        End after this long; 0 for as long as events come.
    tick_us
        Interval at which the clock advances time without events; the width of a bin.
    ring_events
        Number of events that may wait.
    max_latency_s
        How long they may; 0 for as long as there is room. A feed that waits is not bounded so:
        its sender holds back what does not fit.
    clock
        Seconds on a monotonic clock.

    Attributes
    ----------
    recorder
        Gets a copy of everything received and of the marks; None for none.
    """

    live = True
    origin_us: int | None = None
    notes: Sequence[str] = ()

    def __init__(
        self,
        feed: LiveFeed,
        *,
        labels: LabelTrack | None = None,
        strict: bool = False,
        seconds: float = 0.0,
        tick_us: int = 10_000,
        ring_events: int = RING_EVENTS,
        max_latency_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.format = feed.name, feed.format
        self.sensor, self.simulated = feed.sensor, feed.simulated
        self.origin_known = getattr(feed, "origin_known", True)
        self.labels = labels
        self.recorder: Recorder | None = None
        self._feed = feed
        self._strict = strict
        self._seconds = seconds
        self._tick_us = max(tick_us, 1_000)
        self._clock = clock
        self._recording = threading.Lock()
        self._ring = EventRing(
            ring_events,
            waits=feed.waits,
            max_age_s=max_latency_s,
            clock=clock,
            left=self._record,
        )
        self._stop = threading.Event()
        self._reader = threading.Thread(target=self._read, name="feed", daemon=True)

    @property
    def announcement(self) -> str:
        """What is open, in a few words for the user."""
        return self._feed.announcement()

    def start(self) -> None:
        """Begin to read the feed; what comes waits in the ring until it is iterated over."""
        if self._reader.ident is None:
            self._feed.warm_up()
            self._reader.start()

    def __iter__(self) -> Iterator[Packet]:
        """Packets as they come, and marks of the clock where none come.

        Until the first event a packet without events comes every `tick_us`, so that whoever waits
        can stop.

        Raises
        ------
        SourceError
            If the feed failed; everything received before was yielded.
        DamageError
            At the first damage, if `strict`.
        """
        self.start()
        self._ring.begin()
        end_s = self._clock() + self._seconds if self._seconds else float("inf")
        index, last_us, passed_us = 0, None, None
        arrived_s = self._clock()
        idle_s = self._feed.idle_us * 1e-6
        while self._clock() < end_s:
            try:
                waiting, dropped, damage = self._ring.take(self._tick_us * 1e-6)
            except EOFError:
                return
            if damage and self._strict:
                raise DamageError(
                    f"damaged: {damage[0].reason}; stopped because of --strict: {self.name}"
                )
            if waiting is not None and len(waiting.events):
                index += len(waiting.events)
                last_us = passed_us = int(waiting.events["t"].max())
                arrived_s = waiting.arrived_s
                at = Cursor(self.name, 0, index, last_us)
                yield Packet(waiting.events, at, None, dropped, tuple(damage), arrived_s=arrived_s)
                continue
            until_us = None
            silent_s = self._clock() - arrived_s
            if last_us is not None and passed_us is not None and silent_s > idle_s:
                now_us = last_us + int((silent_s - idle_s) * 1e6)
                if now_us >= passed_us + self._tick_us:
                    until_us = passed_us = now_us
                    self._mark(until_us)
            if until_us is not None or dropped or damage or last_us is None:
                at = Cursor(self.name, 0, index, last_us or 0)
                yield Packet(empty_events(), at, until_us, dropped, tuple(damage))
        self._stop.set()
        left = self._ring.clear()
        # A socket reports bad datagrams once a second; the rest is reported now.
        held = self._feed.held_damage()
        if left or held:
            at = Cursor(self.name, 0, index, last_us or 0)
            yield Packet(empty_events(), at, None, left, held)

    def close(self) -> None:
        """Stop reading, and close the feed and the recorder."""
        self._stop.set()
        self._ring.clear()
        self._feed.close()
        if self._reader.is_alive():
            self._reader.join(timeout=1.0)
        if self.recorder is not None:
            self.recorder.close()

    def _record(self, events: Events, taken: bool) -> None:
        """Record what leaves the ring; called by both threads, one at a time."""
        if self.recorder is not None:
            with self._recording:
                self.recorder.write(events, taken=taken)

    def _mark(self, until_us: int) -> None:
        if self.recorder is not None:
            with self._recording:
                self.recorder.mark(until_us)

    def _read(self) -> None:
        """The reading thread: from the feed into the ring."""
        reason: StreamstopError | None = None
        try:
            while not self._stop.is_set():
                received = self._feed.read(POLL_S)
                if received is None:
                    break
                if len(received.events) or received.dropped or received.damage:
                    self._ring.put(received, self._clock())
        except StreamstopError as error:
            reason = None if self._stop.is_set() else error
        except BaseException as error:  # drivers raise anything; a thread must not end silently
            text = f"reading failed with {type(error).__name__}: {error}: {self.name}"
            reason = None if self._stop.is_set() else SourceError(text)
        self._ring.end(reason)
