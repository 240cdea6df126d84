"""Running event counts per time window and per pixel.

Guarantees:
- Bounded memory, whatever the times and coordinates of the events.
- Counts that do not depend on how the events are cut into packets.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamstop.events.packet import Events, SensorSize

MAX_SERIES = 64
"""Windows of `EventRateSeries`; when time exceeds them, pairs of windows are merged."""

MAX_SIDE = 2048
"""Events beyond this column or row are not counted per pixel."""

_SERIES_US = 1000


class MaxWindowCounter:
    """Most events in any window of one width.

    Windows are aligned to the first event. Those near the latest event are kept, so that events
    slightly out of order are counted in their own window.

    Attributes
    ----------
    most : number of events in the fullest window so far.

    >>> counter = MaxWindowCounter(10)
    >>> counter.add(np.array([1, 2, 9, 10]))
    >>> counter.most
    3
    """

    _KEPT = 64

    def __init__(self, width_us: int) -> None:
        self._width_us = width_us
        self._at = np.zeros(0, np.int64)
        self._events = np.zeros(0, np.int64)
        self.most = 0

    def add(self, since_us: NDArray[np.int64]) -> None:
        """Count events at these times after the first event, shape (n,), n > 0, in us."""
        at = since_us // self._width_us
        # Count runs of equal windows first: there are far fewer of them than events.
        edges = np.flatnonzero(np.diff(at)) + 1
        runs = np.diff(edges, prepend=0, append=len(at))
        each = np.concatenate([self._at, at[np.concatenate([[0], edges])]])
        windows, place = np.unique(each, return_inverse=True)
        events = np.zeros(len(windows), np.int64)
        np.add.at(events, place, np.concatenate([self._events, runs]))
        self.most = max(self.most, int(events.max()))
        near = np.abs(windows - at[-1]) < self._KEPT
        self._at, self._events = windows[near], events[near]


class EventRateSeries:
    """Events over time in at most MAX_SERIES windows, whose width doubles as time goes on.

    Attributes
    ----------
    width_us : width of a window.
    counts : events per window, shape (MAX_SERIES,); those from `used` on are 0.
    used : windows up to the latest event.

    >>> series = EventRateSeries()
    >>> series.add(np.array([0, 999, 1000]))
    >>> series.counts[: series.used]
    array([2, 1])
    """

    def __init__(self) -> None:
        self.width_us = _SERIES_US
        self.counts = np.zeros(MAX_SERIES, np.int64)
        self.used = 0

    def add(self, since_us: NDArray[np.int64]) -> None:
        """Count events at these times after the first event, shape (n,), n > 0, in us."""
        last_us = int(since_us.max())
        while last_us >= self.width_us * MAX_SERIES:
            self.counts[: MAX_SERIES // 2] = self.counts.reshape(-1, 2).sum(1)
            self.counts[MAX_SERIES // 2 :] = 0
            self.width_us *= 2
            self.used = -(-self.used // 2)
        at = np.maximum(since_us // self.width_us, 0)
        self.counts += np.bincount(at, minlength=MAX_SERIES)
        self.used = max(self.used, int(at.max()) + 1)


class PixelCounts:
    """OFF and ON events per pixel, in a grid that grows with the coordinates.

    Attributes
    ----------
    grid : counts, shape (2, height, width); OFF first.
    """

    def __init__(self) -> None:
        self.grid = np.zeros((2, 64, 64), np.uint32)

    def add(self, events: Events) -> None:
        """Count events; those beyond MAX_SIDE are left out."""
        x, y = events["x"], events["y"]
        inside = (x < MAX_SIDE) & (y < MAX_SIDE)
        if not inside.all():
            x, y, events = x[inside], y[inside], events[inside]
        if not len(x):
            return
        height, width = self.grid.shape[1:]
        wanted = (_power(int(y.max()) + 1, height), _power(int(x.max()) + 1, width))
        if wanted != (height, width):
            grown = np.zeros((2, *wanted), np.uint32)
            grown[:, :height, :width] = self.grid
            self.grid = grown
        flat = (events["p"].astype(np.intp) * wanted[0] + y) * wanted[1] + x
        np.add.at(self.grid.reshape(-1), flat, np.uint32(1))

    def of(self, sensor: SensorSize | None) -> NDArray[np.uint32]:
        """The part of the grid that lies on a sensor, without a copy; it may be smaller."""
        width, height = sensor or (0, 0)
        return self.grid[:, :height, :width]


def _power(needed: int, has: int) -> int:
    """The smallest power of two that holds `needed`, or `has` if that is larger."""
    return max(has, 1 << (needed - 1).bit_length())
