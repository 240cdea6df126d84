"""The inner loop of the binner: one pass over a packet's events, compiled by numba on first use.

Guarantees:

- Consumes events while only counting is needed, and stops before the first event that closes a bin
  or jumps in time; the binner handles that event in plain Python.

Does not:

- Check its input: `streamstop.events.binning` is its only caller.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any

import numpy as np

TIME_LIMIT_US = 1 << 60
"""Times beyond +-2**60 us (36,000 years) are damage. Within it no sum here overflows int64."""

LATE, OUT_OF_RANGE, CROPPED, BAD_TIME, HOT_PIXEL, REFRACTORY = range(6)
"""Where in `tally` each cause of rejection is counted."""

CROPPED_AWAY, OUTSIDE = -1, -2
"""What `columns` and `rows` hold for coordinates that fall in no cell."""

COUNT, LATEST_US = range(2)
"""The columns of `pixels`: events of a pixel since hot pixels were last looked for, MASKED where
it is hot; and the time of its latest accepted event."""

MASKED = -1

BinLoop = Callable[..., int]

FILTERS = False
"""Whether `bin_events` looks at `pixels`: each compiled loop has a value of its own built in."""


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
    reorder_window_us: int,
    reset_gap_us: int,
    tally: Any,
    pixels: Any,
    sensor_width: int,
    refractory_us: int,
) -> int:
    """Count events from index `i` on; return the index of the first one that was not consumed.

    Parameters
    ----------
    words
        (n, 2) int64, a packet seen as two words an event: time; then x, y, p in 16, 16, 8 bits
        (and three bytes of padding, which may hold anything).
    columns, rows
        (65536,), (65536,) int64: what each possible x and y adds to the index of its cell;
        OUTSIDE where the sensor has no such pixel, CROPPED_AWAY where the grid has no cell.
    plane
        Cells of one polarity, height * width of the grid.
    counts, filled
        (slots, 2 * plane) int32, (slots,) int64: the open bins, a ring.
    head, start
        Slot and first microsecond of the oldest open bin.
    clock
        (2,) int64, in and out: the latest time seen, and the floor that late events lie below.
    last
        The latest time that closes no bin. An on-sensor event after it ends the pass.
    tally
        (6,) int64, out: rejected events by cause.
    pixels
        (pixels of the sensor, 2) int64, in and out, row after row: see COUNT and LATEST_US.
    sensor_width
        Pixels in a row of the sensor.
    refractory_us
        An event this soon after the latest accepted one of its pixel is rejected.
    """
    n = words.shape[0]
    slots = counts.shape[0]
    now = clock[0]
    floor = clock[1]
    slot = head
    slot_start = start
    grid = counts[slot]
    in_slot = 0
    while i < n:
        # An unsigned index spares numba the question whether it counts from the end. All else here
        # is in aid of the branch predictor: what varies from event to event is arithmetic.
        event = np.uint64(i)
        t = words[event, 0]
        xyp = words[event, 1]
        column = columns[xyp & 0xFFFF]
        row = rows[(xyp >> 16) & 0xFFFF]
        if (column | row) < 0 or t < floor or t > last:
            if column == OUTSIDE or row == OUTSIDE:
                tally[OUT_OF_RANGE] += 1
            elif t > last:
                if t <= TIME_LIMIT_US:
                    break
                tally[BAD_TIME] += 1
            elif t < floor:
                if t < -TIME_LIMIT_US:
                    tally[BAD_TIME] += 1
                elif now - t > reset_gap_us:
                    break
                else:
                    tally[LATE] += 1
            else:
                tally[CROPPED] += 1
                now = max(now, t)
                floor = max(floor, t - reorder_window_us)
                if FILTERS:  # a neighbour of what is kept, and evidence of what is usual
                    pixel = np.uint64(((xyp >> 16) & 0xFFFF) * sensor_width + (xyp & 0xFFFF))
                    if pixels[pixel, COUNT] != MASKED:
                        pixels[pixel, COUNT] += 1
            i += 1
            continue
        i += 1
        now = max(now, t)
        floor = max(floor, t - reorder_window_us)
        if FILTERS:
            pixel = np.uint64(((xyp >> 16) & 0xFFFF) * sensor_width + (xyp & 0xFFFF))
            if pixels[pixel, COUNT] == MASKED:
                tally[HOT_PIXEL] += 1
                continue
            pixels[pixel, COUNT] += 1
            latest = pixels[pixel, LATEST_US]
            if abs(t - latest) < refractory_us:
                tally[REFRACTORY] += 1
                continue
            pixels[pixel, LATEST_US] = max(latest, t)
        # Outside the slot's window, in one comparison: a negative difference wraps to a huge one.
        if np.uint64(t - slot_start) >= np.uint64(bin_us):
            filled[slot] += in_slot
            in_slot = 0
            later = (t - start) // bin_us
            slot = (head + later) % slots
            slot_start = start + later * bin_us
            grid = counts[slot]
        on = ((xyp >> 32) & 0xFF) != 0
        grid[np.uint64(row + column + plane * on)] += 1
        in_slot += 1
    filled[slot] += in_slot
    clock[0] = now
    clock[1] = floor
    return i


@cache
def compiled_loop(filters: bool = False) -> BinLoop:
    """`bin_events` compiled for one signature, once a process: well under a second.

    Without `filters` nothing of them is left in the machine code. numba could keep that on disk,
    but its cache is made of pickles, needs a folder that can be written, and would save a third of
    a second.
    """
    # Imported here, so that commands that bin nothing do not wait for it.
    import numba
    from numba import types

    number = types.int64
    vector = types.Array(number, 1, "C")
    matrix = types.Array(number, 2, "C")
    # Packets read straight from a file's bytes are read-only, and a writable array passes for one.
    words = types.Array(number, 2, "C", readonly=True)
    counts = types.Array(types.int32, 2, "C")
    signature = number(
        words, number, vector, vector, number, counts, vector, number, vector,
        number, number, number, number, number, vector, matrix, number, number,
    )  # fmt: skip
    names = {**globals(), "FILTERS": filters}  # numba takes a global for a constant
    function = FunctionType(bin_events.__code__, names, bin_events.__name__)
    loop: BinLoop = numba.njit(signature)(function)
    return loop
