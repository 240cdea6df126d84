"""The inner loop of the Event Stream reader, compiled by numba on its first call.

Guarantees:

- The same events, however the bytes are split into blocks.
- No event outside the sensor: after an impossible coordinate the loop searches for the next offset
  from which events can be read.

`streamstop.formats.event_stream.reader` reads the file and is the only caller. Importing this
module imports numba.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

TIME, SEARCHING, BAD_FROM, BAD_TO, EXPOSURES, COUNT = range(6)
"""Indices into `state`: time so far; 1 while the loop searches for a valid offset; the damaged
region before the events in `out`, in bytes of the file, -1: none; exposure events skipped; events
in `out`."""

STATE_SIZE = 6

MORE, FULL, CUT = range(3)
"""Why the loop returned: no bytes left; `out` is full; damage begins after what `out` holds."""

EVENT_BYTES = 5
LOOK_AHEAD = 512
"""At most this many further bytes decide whether events can be read from an offset."""

AGREEING_EVENTS = 8


@numba.njit(inline="never")
def _can_be_read(data: Any, i: int, low_bits: int, width: int, height: int) -> bool:
    """Whether the next events, read from offset `i` on, all lie on the sensor."""
    end = min(len(data), i + LOOK_AHEAD)
    top = 255 >> low_bits
    for _ in range(AGREEING_EVENTS):
        while i < end and data[i] >> low_bits == top:
            i += 1
        if i + EVENT_BYTES > end:
            return True
        x = np.int64(data[i + 1]) | np.int64(data[i + 2]) << 8
        y = np.int64(data[i + 3]) | np.int64(data[i + 4]) << 8
        if x >= width or y >= height:
            return False
        i += EVENT_BYTES
    return True


@numba.njit
def decode(
    data: Any, i: int, limit: int, first: int, out: Any, state: Any,
    low_bits: int, width: int, height: int,
) -> tuple[int, int]:  # fmt: skip
    """Decode events that start before `limit`.

    data : (m,) uint8, with LOOK_AHEAD bytes after `limit` unless the file ends before.
    first : offset of data[0] in the file.
    out : (n, 2) int64, EVENT_DTYPE as two words per event: time; then x, y, p in 16, 16, 8 bits.
    state : (STATE_SIZE,) int64, in and out.
    low_bits : 1 for DVS events, whose first byte ends in the polarity; 2 for ATIS events, where the
        polarity is the upper of two bits, and the lower marks exposure events.

    Returns the first byte that was not decoded, and why the loop stopped.
    """
    n = state[COUNT]
    t = state[TIME]
    top = 255 >> low_bits
    flags = (1 << low_bits) - 1
    room = out.shape[0]
    size = len(data)
    status = MORE
    while i < limit:
        if n >= room:
            status = FULL
            break
        if state[SEARCHING]:
            if not _can_be_read(data, i, low_bits, width, height):
                i += 1
                continue
            state[SEARCHING] = 0
            state[BAD_TO] = first + i
        head = np.int64(data[i])
        delta = head >> low_bits
        if delta == top:  # time passes without an event; flags 0 reset the state
            t += top * (head & flags)
            i += 1
            continue
        if i + EVENT_BYTES > size:
            break
        x = np.int64(data[i + 1]) | np.int64(data[i + 2]) << 8
        y = np.int64(data[i + 3]) | np.int64(data[i + 4]) << 8
        if x >= width or y >= height:
            if n:
                status = CUT
                break
            if state[BAD_FROM] < 0:
                state[BAD_FROM] = first + i
            if _can_be_read(data, i + EVENT_BYTES, low_bits, width, height):
                t += delta  # one bad event, and the following ones are aligned
                i += EVENT_BYTES
                state[BAD_TO] = first + i
            else:
                i += 1
                state[SEARCHING] = 1
            continue
        t += delta
        i += EVENT_BYTES
        if low_bits == 2 and head & 1:
            state[EXPOSURES] += 1
            continue
        out[n, 0] = t
        out[n, 1] = x | (height - 1 - y) << 16 | (head >> (low_bits - 1) & 1) << 32
        n += 1
    if status == MORE and n >= room:
        status = FULL
    state[COUNT] = n
    state[TIME] = t
    return i, status
