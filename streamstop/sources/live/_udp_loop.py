"""The inner loop of the UDP receiver: datagrams to events, compiled by numba on first use.

Guarantees:

- No byte outside a datagram is read, whatever the bytes: an event that its datagram does not
  contain completely is counted, and not made.

Does not:

- Check coordinates; the binner does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

TIME_BITS = 32

LAST_US, SEEN, OFFSET_US = range(3)
"""Indices into `clock`: the last timestamp, wraps undone; whether there was one; how far the
timestamps' clock is ahead of the arrival clock.
"""

CUT, CUT_BYTES, FIRST_CUT = range(3)
"""Indices into `tally`: truncated events, their bytes, where the first of them started."""

DatagramLoop = Callable[..., int]


def read_datagrams(
    data: Any, starts: Any, ends: Any, arrival_us: Any, by_arrival: bool,
    words: Any, clock: Any, tally: Any,
) -> int:  # fmt: skip
    """The events of datagrams that lie in one buffer; returns their number.

    data : (bytes,) uint8.
    starts, ends, arrival_us : (datagrams,) int64, position and arrival time of each.
    by_arrival : every event gets its datagram's arrival time, and timestamps are ignored.
    words : (n, 2) int64, out: events as in EVENT_DTYPE; n is at least bytes / 4.
    clock, tally : (3,) int64, in and out.
    """
    half = np.int64(1 << (TIME_BITS - 1))
    mask = np.int64((1 << TIME_BITS) - 1)
    n = 0
    for d in range(len(starts)):
        at = starts[d]
        end = ends[d]
        now = arrival_us[d]
        while at + 4 <= end:
            y = np.int64(data[at]) | np.int64(data[at + 1]) << 8
            x = np.int64(data[at + 2]) | np.int64(data[at + 3]) << 8
            if x & 0x8000:
                t = now if by_arrival else now + clock[OFFSET_US]
                at += 4
            elif at + 8 > end:
                break
            else:
                t = np.int64(data[at + 4]) | np.int64(data[at + 5]) << 8
                t |= np.int64(data[at + 6]) << 16 | np.int64(data[at + 7]) << 24
                at += 8
                if by_arrival:
                    t = now
                else:  # as in `fixed_records.unwrap`
                    if clock[SEEN]:
                        t = clock[LAST_US] + ((t - clock[LAST_US] + half) & mask) - half
                    clock[SEEN] = 1
                    clock[LAST_US] = t
                    clock[OFFSET_US] = t - now
            words[n, 0] = t
            words[n, 1] = (x & 0x7FFF) | (y & 0x7FFF) << 16 | (y >> 15) << 32
            n += 1
        if at < end:
            if not tally[CUT]:
                tally[FIRST_CUT] = at
            tally[CUT] += 1
            tally[CUT_BYTES] += end - at
    return n


@cache
def compiled_loop() -> DatagramLoop:
    """`read_datagrams` compiled for one signature, once per process."""
    import numba
    from numba import types

    number = types.int64
    column = types.Array(number, 1, "C")
    signature = number(
        types.Array(types.uint8, 1, "C"), column, column, column, types.boolean,
        types.Array(number, 2, "C"), column, column,
    )  # fmt: skip
    loop: DatagramLoop = numba.njit(signature)(read_datagrams)
    return loop
