"""Live sources: what came is yielded or counted, and the clock advances only in silence."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from helpers.clocks import Watch
from helpers.event_files import Whole, random_events, same

from streamstop.errors import DamageError, SourceError
from streamstop.events.packet import Damage, Events, SensorSize, empty_events
from streamstop.sources.live.feed import FeedChunk, LiveFeed
from streamstop.sources.live.source import EventRing, LiveSource

NOTHING = FeedChunk(empty_events())


class SharedWatch(Watch):
    """A clock that the feed's thread moves, and that counts how often the test's thread looks."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self.looked = threading.Condition()

    def __call__(self) -> float:
        if threading.current_thread() is threading.main_thread():
            with self.looked:
                self.looks += 1
                self.looked.notify_all()
        return self.now_s


class Silence:
    """A time without events, in steps; the source looks at the clock at each of them."""

    def __init__(self, watch: SharedWatch, seconds: float, steps: int = 12) -> None:
        self.watch, self.seconds, self.steps = watch, seconds, steps

    def pass_by(self) -> None:
        for _ in range(self.steps):
            self.watch.now_s += self.seconds / self.steps
            with self.watch.looked:
                seen = self.watch.looks + 3
                assert self.watch.looked.wait_for(lambda seen=seen: self.watch.looks >= seen, 60.0)


class Script(LiveFeed):
    """A feed that plays a list: what it received, an error, or how long it is silent, in s."""

    name = "script"
    format = "script"
    sensor = SensorSize(128, 128)
    simulated = True

    def __init__(
        self,
        parts: Sequence[FeedChunk | BaseException | Silence],
        *,
        idle_us: int = 20_000,
        waits: bool = False,
        endless: bool = False,
    ) -> None:
        self.parts = list(parts)
        self.idle_us, self.waits, self.endless = idle_us, waits, endless
        self.closed, self.drained = threading.Event(), threading.Event()

    def read(self, timeout_s: float) -> FeedChunk | None:
        if not self.parts:
            self.drained.set()
            if self.endless:
                self.closed.wait(timeout_s)
                return NOTHING
            return None
        part = self.parts.pop(0)
        if isinstance(part, BaseException):
            raise part
        if isinstance(part, Silence):
            part.pass_by()
            return NOTHING
        return part

    def close(self) -> None:
        self.closed.set()


class Notes:
    """A recorder that keeps all calls in memory."""

    def __init__(self) -> None:
        self.calls: list[Events | int] = []
        self.not_taken: list[Events] = []
        self.closed = False

    def write(self, events: Events, *, taken: bool = True) -> None:
        (self.calls if taken else self.not_taken).append(events.copy())

    def mark(self, until_us: int) -> None:
        self.calls.append(until_us)

    def close(self) -> None:
        self.closed = True


def test_what_came_is_handed_over_in_order() -> None:
    events = random_events(200_000)
    parts = [FeedChunk(part) for part in np.split(events, [10, 5_000, 150_000])]
    with LiveSource(Script(parts)) as source:
        whole = Whole(source)
    assert same(whole.events, events)
    assert max(len(packet.events) for packet in whole.packets) <= 1 << 16
    assert not whole.dropped
    assert all(packet.arrived_s is not None for packet in whole.packets if len(packet.events))


def test_what_comes_between_opening_and_the_run_waits() -> None:
    events = random_events(1_000)
    feed = Script([FeedChunk(events)], endless=True)
    with LiveSource(feed) as source:
        source.start()
        assert feed.drained.wait(60.0)
        first = next(iter(source))
    assert same(first.events, events)


def test_until_the_first_event_whoever_waits_gets_control() -> None:
    """Packets without events and without marks: time has not begun."""
    feed = Script([], endless=True)
    with LiveSource(feed, tick_us=1_000) as source:
        packets = iter(source)
        for packet in (next(packets) for _ in range(3)):
            assert len(packet.events) == 0 and packet.until_us is None


def test_a_full_ring_drops_the_oldest_and_counts_them() -> None:
    ring = EventRing(100_000, waits=False)
    events = random_events(150_000)
    for part in np.split(events, 15):
        ring.put(FeedChunk(part, {"driver": 1}), 0.0)
    ring.end()
    kept, dropped = [], 0
    while True:
        try:
            waiting, lost, _ = ring.take(0.0)
        except EOFError:
            break
        assert waiting is not None
        kept.append(waiting.events)
        dropped += lost.get("ring_overflow", 0)
        assert lost.get("driver", 15) == 15
    assert same(np.concatenate(kept), events[50_000:])
    assert dropped == 50_000


def taken_from(ring: EventRing) -> tuple[list[Events], dict[str, int]]:
    """What a ring that has ended still hands over, and what it dropped."""
    kept: list[Events] = []
    dropped: Counter[str] = Counter()
    while True:
        try:
            waiting, lost, _ = ring.take(0.0)
        except EOFError:
            return kept, dict(dropped)
        dropped.update(lost)
        if waiting is not None:
            kept.append(waiting.events)


def test_events_that_waited_too_long_are_dropped_and_the_newest_kept() -> None:
    watch, left = Watch(), []
    ring = EventRing(
        100_000,
        waits=False,
        max_age_s=0.5,
        clock=watch,
        left=lambda events, taken: left.append((len(events), taken)),
    )
    parts = np.split(random_events(600), [100, 300])
    for part in parts:  # 0.6, 0.4 and 0.2 s old in the end
        ring.put(FeedChunk(part), watch())
        watch.sleep(0.2)
    ring.end()
    kept, dropped = taken_from(ring)
    assert [len(part) for part in kept] == [200, 300]
    assert dropped == {"overload": 100}
    assert left == [(100, False), (200, True), (300, True)]


def test_what_came_before_the_run_began_gets_old_only_from_then_on() -> None:
    watch = Watch()
    ring = EventRing(100_000, waits=False, max_age_s=0.5, clock=watch)
    ring.put(FeedChunk(random_events(100)), watch())
    watch.sleep(7.0)  # the network is loaded
    ring.begin()
    watch.sleep(0.4)
    ring.put(FeedChunk(random_events(20)), watch())
    ring.end()
    kept, dropped = taken_from(ring)
    assert [len(part) for part in kept] == [100, 20] and dropped == {}


def test_events_of_an_origin_that_waits_do_not_get_old() -> None:
    watch = Watch()
    ring = EventRing(100_000, waits=True, max_age_s=0.5, clock=watch)
    ring.put(FeedChunk(random_events(100)), watch())
    watch.sleep(60.0)
    ring.end()
    assert len(taken_from(ring)[0]) == 1


def test_the_recorder_gets_what_was_dropped_and_what_was_left_too() -> None:
    watch, recorder = Watch(), Notes()
    events = random_events(400)
    feed = Script([FeedChunk(part) for part in np.split(events, 4)], endless=True)
    with LiveSource(feed, clock=watch, max_latency_s=0.5) as source:
        source.recorder = recorder
        source.start()
        assert feed.drained.wait(60.0)
        packets = iter(source)
        assert len(next(packets).events) == 100
        watch.sleep(0.4)
        assert len(next(packets).events) == 100
        watch.sleep(0.2)
        assert next(packets).dropped == {"overload": 200}
    taken = [call for call in recorder.calls if not isinstance(call, int)]
    assert same(np.concatenate(taken), events[:200])
    assert same(np.concatenate(recorder.not_taken), events[200:])


def test_what_still_waits_at_the_end_is_recorded_as_not_taken() -> None:
    recorder = Notes()
    events = random_events(400)
    feed = Script([FeedChunk(part) for part in np.split(events, 4)], endless=True)
    with LiveSource(feed) as source:
        source.recorder = recorder
        source.start()
        assert feed.drained.wait(60.0)
        next(iter(source))
    assert same(np.concatenate(recorder.not_taken), events[100:])


def test_an_origin_that_waits_loses_nothing_to_a_slow_learner() -> None:
    events = random_events(300_000)
    parts = [FeedChunk(part) for part in np.split(events, 10)]
    got = []
    with LiveSource(Script(parts, waits=True), ring_events=1 << 16) as source:
        for packet in source:
            time.sleep(0.01)
            assert not packet.dropped
            got.append(packet.events)
    assert same(np.concatenate(got), events)


def test_the_clock_speaks_after_silence_and_never_ahead_of_it() -> None:
    events = random_events(100)
    watch = SharedWatch()
    parts = [FeedChunk(events[:50]), Silence(watch, 0.15), FeedChunk(events[50:])]
    feed = Script(parts, idle_us=30_000)
    with LiveSource(feed, tick_us=10_000, clock=watch) as source:
        packets = list(source)
    last_us = int(events["t"][49])
    marks = [packet.until_us for packet in packets if packet.until_us is not None]
    assert len(marks) >= 3
    assert marks == sorted(marks)
    assert min(marks) > last_us
    assert max(marks) <= last_us + 150_000 - 30_000
    assert np.diff([last_us, *marks]).min() >= 10_000
    # All marks come in the silence, between the two halves.
    order = ["e" if len(packet.events) else "c" for packet in packets]
    assert "".join(order).strip("c").count("ec") == 1


def test_the_recorder_gets_what_the_learner_gets() -> None:
    events = random_events(100)
    recorder, watch = Notes(), SharedWatch()
    parts = [FeedChunk(events[:50]), Silence(watch, 0.1), FeedChunk(events[50:])]
    feed = Script(parts, idle_us=20_000)
    heard: list[Events | int] = []
    with LiveSource(feed, tick_us=5_000, clock=watch) as source:
        source.recorder = recorder
        for packet in source:
            if len(packet.events):
                heard.append(packet.events)
            if packet.until_us is not None:
                heard.append(packet.until_us)
    assert recorder.closed
    assert len(heard) == len(recorder.calls) > 3
    for one, other in zip(heard, recorder.calls, strict=True):
        assert one == other if isinstance(one, int) else same(one, np.asarray(other))


@pytest.mark.parametrize("error", [SourceError("unplugged"), ValueError("in the driver")])
def test_what_came_before_an_error_is_handed_over_first(error: Exception) -> None:
    events = random_events(1000)
    got = []
    feed = Script([FeedChunk(events), error])
    message = r"unplugged|ValueError: in the driver"
    with pytest.raises(SourceError, match=message), LiveSource(feed) as source:
        for packet in source:
            got.append(packet.events)
    assert same(np.concatenate(got), events)
    assert feed.closed.is_set()


def test_it_ends_in_time_and_counts_what_waits() -> None:
    events = random_events(1000)
    feed = Script([FeedChunk(events[i : i + 10]) for i in range(0, 1000, 10)], endless=True)
    watch = Watch()
    with LiveSource(feed, seconds=0.3, clock=watch) as source:
        handed, dropped = 0, 0
        for packet in source:
            handed += len(packet.events)
            dropped += sum(packet.dropped.values())
            if handed == 10:  # a slow learner
                assert feed.drained.wait(60.0)
                watch.sleep(0.35)
    assert handed + dropped == 1000
    assert handed == 10


def test_strict_stops_at_damage_and_else_it_is_reported() -> None:
    bad = FeedChunk(empty_events(), {}, (Damage(0, 3, "3 bytes left over", "script"),))
    with LiveSource(Script([bad])) as source:
        assert Whole(source).damage == list(bad.damage)
    strict = LiveSource(Script([bad]), strict=True)
    with pytest.raises(DamageError, match="3 bytes left over"), strict as source:
        Whole(source)


def test_closing_ends_the_thread() -> None:
    feed = Script([FeedChunk(random_events(10))], endless=True)
    with LiveSource(feed) as source:
        next(iter(source))
    assert feed.closed.is_set()
    assert not any(thread.name == "feed" and thread.is_alive() for thread in threading.enumerate())
