"""The inner loop of the binner: one pass over a packet's events, compiled by numba on first use.

It promises to consume events for as long as nothing but counting has to be done, and to stop
before the first event that closes a bin or jumps in time: the binner decides there, in plain
Python. It does no input checking: `streamstop.binning` is its only caller.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

TIME_LIMIT_US = 1 << 60
"""Times beyond +-2**60 us (36,000 years) are damage. Within it no sum here overflows int64."""

LATE, OUT_OF_RANGE, CROPPED, BAD_TIME = range(4)
"""Where in `tally` each cause of rejection is counted."""

BinLoop = Callable[..., int]


def bin_events(
    words: Any,
    i: int,
    columns: Any,
    rows: Any,
    plane: int,
    counts: Any,
    filled: Any,
    head: int,
    clock: Any,
    start: int,
    last: int,
    bin_us: int,
    reorder_us: int,
    gap_us: int,
    tally: Any,
) -> int:
    """Count events from index `i` on; return the index of the first one that was not consumed.

    words : (n, 2) int64, a packet seen as two words an event: time; then x, y, p in 16, 16, 8 bits
        (and three bytes of padding, which may hold anything).
    columns, rows : (sensor width,), (sensor height,) int64: what a pixel adds to the index of its
        cell, negative where the pixel is cropped.
    plane : cells of one polarity, height * width of the grid.
    counts, filled : (slots, 2 * plane) int32, (slots,) int64: the open bins, a ring.
    head, start : slot and first microsecond of the oldest open bin.
    clock : (2,) int64, in and out: the latest time seen, and the floor that late events lie below.
    last : the latest time that closes no bin. An on-sensor event after it ends the pass.
    tally : (4,) int64, out: rejected events by cause.
    """
    n = words.shape[0]
    slots = counts.shape[0]
    width = columns.shape[0]
    height = rows.shape[0]
    oldest = counts[head]
    now = clock[0]
    floor = clock[1]
    in_oldest = 0
    while i < n:
        t = words[i, 0]
        xyp = words[i, 1]
        x = xyp & 0xFFFF
        y = (xyp >> 16) & 0xFFFF
        if x >= width or y >= height:
            tally[OUT_OF_RANGE] += 1
            i += 1
            continue
        if t > now:
            if t > last:
                if t <= TIME_LIMIT_US:
                    break
                tally[BAD_TIME] += 1
                i += 1
                continue
            now = t
            floor = max(floor, t - reorder_us)
        elif t < floor:
            if t < -TIME_LIMIT_US:
                tally[BAD_TIME] += 1
            elif now - t > gap_us:
                break
            else:
                tally[LATE] += 1
            i += 1
            continue
        i += 1
        column = columns[x]
        row = rows[y]
        if (column | row) < 0:
            tally[CROPPED] += 1
            continue
        cell = row + column
        if (xyp >> 32) & 0xFF:
            cell += plane
        after = t - start
        if after < bin_us:
            oldest[cell] += 1
            in_oldest += 1
        else:
            slot = (head + after // bin_us) % slots
            counts[slot, cell] += 1
            filled[slot] += 1
    clock[0] = now
    clock[1] = floor
    filled[head] += in_oldest
    return i


@cache
def compiled_loop() -> BinLoop:
    """`bin_events` compiled for one signature: about a second once, then read from numba's cache.

    numba keeps that cache beside this file or, where the installation is read-only, in the user's
    cache folder. Where neither can be written, every process compiles anew.
    """
    # Imported here, so that commands that bin nothing do not wait for it.
    import numba
    from numba import types

    number = types.int64
    vector = types.Array(number, 1, "C")
    # Packets read straight from a file's bytes are read-only, and a writable array passes for one.
    words = types.Array(number, 2, "C", readonly=True)
    counts = types.Array(types.int32, 2, "C")
    signature = number(
        words, number, vector, vector, number, counts, vector, number, vector,
        number, number, number, number, number, vector,
    )  # fmt: skip
    try:
        loop: BinLoop = numba.njit(signature, cache=True)(bin_events)
    except (RuntimeError, OSError):  # no folder to cache in, or the disk is full
        loop = numba.njit(signature)(bin_events)
    return loop
