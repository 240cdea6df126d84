"""Replay at the speed of a recording's own time: the same events, each when it is due."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.clocks import Watch
from helpers.event_files import Whole, random_events, same

from streamstop.events.packet import Packet, make_events
from streamstop.sources.realtime import replay_realtime


@pytest.mark.parametrize("speed", [0.5, 1.0, 20.0])
def test_each_event_comes_when_it_is_due(speed: float) -> None:
    events = random_events(20_000)  # one second
    watch = Watch()
    packets = [Packet(part) for part in np.split(events, [1, 7_000])]
    came = []
    whole = []
    for packet in replay_realtime(packets, speed, clock=watch, sleep=watch.sleep):
        whole.append(packet)
        came.append((watch.now_s, packet))
    assert same(Whole(whole).events, events)
    start_us = int(events["t"][0])
    for now_s, packet in came:
        first, last = (int(packet.events["t"][i]) - start_us for i in (0, -1))
        assert now_s - 100.0 == pytest.approx(last / speed / 1e6, abs=1e-9)
        assert last - first < 10_000
        assert packet.arrived_s == pytest.approx(now_s)


def test_no_delay_adds_up() -> None:
    events = random_events(20_000)
    watch = Watch()
    for _ in replay_realtime([Packet(events)], 1.0, clock=watch, sleep=watch.sleep):
        watch.now_s += 0.004  # the learner's time, less than a tick
    length_s = (int(events["t"][-1]) - int(events["t"][0])) / 1e6
    assert watch.now_s - 100.0 == pytest.approx(length_s + 0.004)


@pytest.mark.parametrize("jump_us", [5_000_000, -3_000_000])
def test_a_jump_is_not_waited_for_and_disorder_is_no_jump(jump_us: int) -> None:
    t = np.arange(0, 100_000, 100)
    t = np.concatenate([t, t + 100_000 + jump_us])
    t[10] -= 900  # late by a little
    n = len(t)
    events = make_events(t, np.zeros(n), np.zeros(n), np.ones(n, bool))
    watch = Watch()
    whole = Whole(replay_realtime([Packet(events)], 1.0, clock=watch, sleep=watch.sleep))
    assert same(whole.events, events)
    assert watch.now_s - 100.0 == pytest.approx(0.2, abs=0.001)


def test_what_a_packet_holds_beside_its_events_is_yielded_once() -> None:
    events = random_events(5_000)
    packet = Packet(events, until_us=10**9, dropped={"special": 3})
    watch = Watch()
    whole = Whole(replay_realtime([packet, Packet(events[:0], dropped={"special": 1})], 1.0,
                        clock=watch, sleep=watch.sleep))  # fmt: skip
    assert len(whole.packets) > 10
    assert whole.dropped == {"special": 4}
    assert [p.until_us for p in whole.packets if p.until_us is not None] == [10**9]
