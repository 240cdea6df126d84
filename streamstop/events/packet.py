"""Events, packets and cursors: the data types that sources and the binner share.

An event is (t, x, y, p): time in microseconds, column, row, and polarity (True is ON, brighter).
Column 0 is the left and row 0 the top of the picture, as in images, whatever the file counts from.
A packet is a bounded array of events from a source, with the status of the source: its position
(cursor), how far time has come, what was lost and what was damaged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

EVENT_DTYPE = np.dtype([("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "?")], align=True)
"""One event in 16 bytes. Aligned, so that an AEDAT4 packet is this array already. A negative
coordinate of a damaged file becomes a large one and is rejected as out of range, never wrapped."""

MAX_PACKET_EVENTS = 1 << 16
"""Largest packet of any source; it bounds memory."""

Events = NDArray[Any]
"""A one-dimensional array of `EVENT_DTYPE`."""


class SensorSize(NamedTuple):
    """Pixels of a sensor: `width` columns and `height` rows."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True, slots=True)
class Damage:
    """One stretch of input that could not be read.

    Attributes
    ----------
    offset
        Byte offset in the file where reading failed.
    lost_bytes
        Bytes passed over.
    reason
        One short sentence, for the ledger and the report.
    path
        The file.
    lost_us
        From the last event before it to the first after it; None where no event follows, or it
        is not known.
    """

    offset: int
    lost_bytes: int
    reason: str
    path: str
    lost_us: int | None = None


COMMON_SENSORS = (
    SensorSize(34, 34),
    SensorSize(128, 128),
    SensorSize(240, 180),
    SensorSize(304, 240),
    SensorSize(320, 240),
    SensorSize(346, 260),
    SensorSize(320, 320),
    SensorSize(640, 480),
    SensorSize(1280, 720),
    SensorSize(1280, 800),
    SensorSize(1280, 960),
)
"""Sensors of the usual cameras and data sets, from the smallest on."""


class Cursor(NamedTuple):
    """Where in its source a run is: file, byte offset, index of the next event, time in us.

    Attributes
    ----------
    skip
        Events of the block at `offset` already handed over, for formats whose blocks (a
        compressed packet, say) cannot be entered in the middle.
    """

    path: str = ""
    offset: int = 0
    event: int = 0
    t_us: int = 0
    skip: int = 0


class Packet(NamedTuple):
    """A bounded array of events with the source's status.

    Attributes
    ----------
    events
        Array of EVENT_DTYPE, at most MAX_PACKET_EVENTS, in the order the source had them.
    cursor
        Position after this packet.
    until_us
        The source guarantees that time has come this far, even without events (the end of a
        recorded segment, a live clock); None where the events alone tell the time.
    dropped
        Events that the source received but did not deliver, by cause.
    damage
        Stretches of input that could not be read, between the packet before and these events.
    arrived_s
        When its events came in (live) or were due (paced), by `time.monotonic`; else None.
    """

    events: Events
    cursor: Cursor = Cursor()
    until_us: int | None = None
    dropped: Mapping[str, int] = {}
    damage: tuple[Damage, ...] = ()
    arrived_s: float | None = None


def empty_events(n: int = 0) -> Events:
    """An array of `n` zeroed events, shape (n,)."""
    return np.zeros(n, dtype=EVENT_DTYPE)


def make_events(t: Any, x: Any, y: Any, p: Any) -> Events:
    """Events from four columns of equal length.

    Examples
    --------
    >>> make_events([5, 9], [0, 1], [2, 3], [True, False])["t"].tolist()
    [5, 9]
    """
    events = empty_events(len(t))
    events["t"], events["x"], events["y"], events["p"] = t, x, y, p
    return events
