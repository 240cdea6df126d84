"""Replays a recording at the speed of its own time, or at any multiple of it.

Guarantees:

- The events of the recording in their order, in smaller packets, each yielded when it is due.
- The schedule counts from the start, so that delays do not add up.
- After a jump in time the schedule restarts there: a jump is not waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamstop.events.packet import Cursor, Packet


def replay_realtime(
    packets: Iterable[Packet],
    speed: float,
    *,
    tick_us: int = 10_000,
    gap_us: int = 1_000_000,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Packet]:
    """The same events, in packets of `tick_us`, each when its last event is due.

    Parameters
    ----------
    packets
        Of a recording.
    speed
        Times real time, above 0.
    tick_us
        Length of the packets in the recording's time.
    gap_us
        A longer step in time, forwards or back, is a jump.
    clock, sleep
        Seconds on a clock, and a function that waits for so many.

    Yields
    ------
    packet : Packet
        `arrived_s` is when it was due, whether or not it was asked for in time.
    """
    start_s, start_us, now_us = 0.0, 0, None
    cursor = Cursor()
    for packet in packets:
        done, n = 0, len(packet.events)
        if not n:
            yield packet
        while done < n:
            t = packet.events["t"][done:]
            if now_us is None or not now_us - gap_us <= int(t[0]) <= now_us + gap_us:
                start_s, start_us, now_us = clock(), int(t[0]), int(t[0])
            for count, latest_us in _stretches(t, now_us, tick_us, gap_us):
                due_s = start_s + (latest_us - start_us) / (speed * 1e6)
                if (wait_s := due_s - clock()) > 0:
                    sleep(wait_s)
                yield Packet(
                    packet.events[done : done + count],
                    packet.cursor if done + count == n else cursor,
                    packet.until_us if done + count == n else None,
                    packet.dropped if not done else {},
                    packet.damage if not done else (),
                    due_s,
                )
                done, now_us = done + count, latest_us
        cursor = packet.cursor


def _stretches(
    t: NDArray[Any], now_us: int, tick_us: int, gap_us: int
) -> Iterator[tuple[int, int]]:
    """Number of events that are due together, and their latest time, up to the first jump.

    t : times of the events, shape (n,); the first of them is no jump.
    now_us : the latest time before.
    """
    latest = np.maximum.accumulate(np.maximum(t, now_us))
    jumps = (t < latest - gap_us) | (np.diff(latest, prepend=now_us) > gap_us)
    end = int(jumps.argmax()) if jumps.any() else len(t)
    cuts = np.flatnonzero(np.diff(latest[:end] // tick_us)) + 1
    for first, last in pairwise((0, *cuts.tolist(), end)):
        yield last - first, int(latest[last - 1])
