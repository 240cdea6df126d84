"""Files of a header and records of fixed size, one per event: AEDAT 1.0 and 2.0, .bin.

Guarantees:

- Memory is bounded, reading can start at any record, and wraps of the time are undone.

A time counter of n bits is assumed to move by less than half its range from one record to the next,
forwards or back; a longer silence (35 minutes for 32 bits, 4.2 s for 23) looks like a step back.
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

    Attributes
    ----------
    time
        Counter value of every record, shape (n,), not negative.
    x, y, p
        Columns of every record, shape (n,).
    keep
        Which records are events, shape (n,); None where all are.
    dropped
        Number of special events (not brightness changes), by cause.
    """

    time: NDArray[Any]
    x: NDArray[Any]
    y: NDArray[Any]
    p: NDArray[Any]
    keep: NDArray[np.bool_] | None = None
    dropped: Mapping[str, int] = {}


def unwrap(time: NDArray[Any], bits: int, last_us: int | None) -> NDArray[np.int64]:
    """Undo the wraps of a time counter.

    Parameters
    ----------
    time
        Counter values, shape (n,).
    bits
        Width of the counter.
    last_us
        Time of the record before, wraps undone; None at the start of the file, where the
        counter's first value is the time.

    Returns
    -------
    time_us : NDArray[np.int64]
        Shape (n,).

    Examples
    --------
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
    """Packets of a file of fixed-size records; see `Recording.packets`."""
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
