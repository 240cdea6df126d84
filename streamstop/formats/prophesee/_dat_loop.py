"""The inner loop of the DAT reader: records to events, compiled by numba on its first call.

Guarantees:

- Times without wraps: a counter is assumed to move by less than half its range from one record to
  the next, forwards or back.

`streamstop.formats.prophesee.dat` reads the file and is the only caller. Importing this module
imports numba.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

NO_TIME = -(1 << 62)


@numba.njit
def decode(records: Any, out: Any, last_us: int) -> int:
    """Decode all records; returns the last time.

    records : (n,) uint64: time in the lower 32 bits, then x, y and polarity in 14, 14 and 4.
    out : (n, 2) int64, EVENT_DTYPE as two words per event: time; then x, y, p in 16, 16, 8 bits.
    last_us : time of the record before, wraps undone; NO_TIME at the start of the file, where the
        counter's first value is the time.
    """
    size, half = np.int64(1 << 32), np.int64(1 << 31)
    if last_us == NO_TIME:
        last_us = int(np.int64(records[0]) & (size - 1))
    before = last_us & (size - 1)
    turns = last_us - before
    for i in range(len(records)):
        record = np.int64(records[np.uint64(i)])
        time = record & (size - 1)
        step = time - before
        if step < -half:
            turns += size
        elif step >= half:
            turns -= size
        before = time
        at = np.uint64(i)
        out[at, 0] = turns + time
        out[at, 1] = (
            (record >> 32) & 0x3FFF | (record >> 30) & 0x3FFF0000 | (record >> 28) & 0x100000000
        )
    return int(turns + before)
