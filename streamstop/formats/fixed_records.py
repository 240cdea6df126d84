"""Files of a header and then records of one size, one for each event: AEDAT 1.0 and 2.0, .bin.

It promises bounded memory, entry at any record, and times without wraps. A time counter of n bits
is taken to have moved by less than half its range from one record to the next, forwards or back;
a silence longer than that (35 minutes for 32 bits, 4.2 s for 23) cannot be told from a step back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamstop.events.packet import (
    MAX_PACKET_EVENTS,
    Cursor,
    Damage,
    Packet,
    empty_events,
    make_events,
)
from streamstop.formats.byte_reader import open_bytes


class Columns(NamedTuple):
    """A block of records, decoded.

    time : counter value of every record, shape (n,), not negative.
    x, y, p : columns of every record, shape (n,).
    keep : which records are events, shape (n,); None where all are.
    dropped : records that are events but no brightness changes, by cause.
    """

    time: NDArray[Any]
    x: NDArray[Any]
    y: NDArray[Any]
    p: NDArray[Any]
    keep: NDArray[np.bool_] | None = None
    dropped: Mapping[str, int] = {}


def unwrap(time: NDArray[Any], bits: int, last_us: int | None) -> NDArray[np.int64]:
    """Times without wraps from a counter of `bits` bits, shape (n,) as `time`.

    last_us : time of the record before, wraps undone; None at the start of the file, where the
        counter's first value is the time.

    >>> unwrap(np.array([250, 3, 2, 9]), 8, None).tolist()
    [250, 259, 258, 265]
    """
    half = 1 << (bits - 1)
    time = time.astype(np.int64)
    first = int(time[0]) if last_us is None else last_us
    before = np.empty_like(time)
    before[0], before[1:] = first, time[:-1]
    steps = ((time - before + half) & (2 * half - 1)) - half
    return np.asarray(first + np.cumsum(steps))


def record_packets(
    path: str,
    start: Cursor | None,
    *,
    header_bytes: int,
    record_bytes: int,
    time_bits: int,
    decode: Callable[[bytes], Columns],
) -> Iterator[Packet]:
    """Packets of a file of records; see `Recording.packets`."""
    offset, index, last_us = header_bytes, 0, None
    if start is not None and start.offset > header_bytes:
        offset, index, last_us = start.offset, start.event, start.t_us
    with open_bytes(path) as data:
        size = record_bytes * MAX_PACKET_EVENTS
        while True:
            block = data.read_ready(offset, record_bytes, size)
            rest = len(block) % record_bytes
            if whole := len(block) - rest:
                columns = decode(block[:whole] if rest else block)
                t = unwrap(columns.time, time_bits, last_us)
                last_us = int(t[-1])
                events = make_events(t, columns.x, columns.y, columns.p)
                if columns.keep is not None:
                    events = events[columns.keep]
                offset, index = offset + whole, index + len(events)
                at = Cursor(path, offset, index, last_us)
                yield Packet(events, at, dropped=columns.dropped)
            data.release(offset)
            if len(block) < record_bytes:
                break
        damage = data.fault
        if rest:
            damage = (Damage(offset, rest, "the file ends inside an event", path), *damage)
        if damage:
            yield Packet(empty_events(), Cursor(path, offset, index, last_us or 0), damage=damage)
