"""Statistics of events, to compare simulated recordings with real ones.

They need nothing but the events: rate, fraction of ON events, intervals between events of one
pixel, number and place of the active pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamstop.errors import UsageError
from streamstop.events.packet import Events, SensorSize

SAME_TIME_US = 2
"""Events of one pixel this close were read twice: no pixel is that fast."""

QUANTILES = (0.25, 0.5, 0.75, 0.95)


class Measures(NamedTuple):
    """Statistics of one recording, or a part of one.

    Attributes
    ----------
    rate_hz
        Events per second.
    on_fraction
        ON events, of all events.
    active_fraction
        Pixels with any event, of the sensor's pixels.
    busy_fraction
        The fewest pixels that hold nine of ten events, of the sensor's pixels.
    twice_fraction
        Events within SAME_TIME_US of the one before at the same pixel, of all events.
    intervals_us
        QUANTILES of the other intervals between successive events of a pixel.
    same_fraction
        Intervals between events of one polarity, of those.
    quiet_hz
        Rate per pixel of the top rows, a fifth of the sensor, where nobody moves.
    middle, spread
        (2,), median of x and y; width and height of the middle 80 % of events.
    """

    rate_hz: float
    on_fraction: float
    active_fraction: float
    busy_fraction: float
    twice_fraction: float
    intervals_us: tuple[float, ...]
    same_fraction: float
    quiet_hz: float
    middle: tuple[float, float]
    spread: tuple[float, float]


def measure(events: Events, sensor: SensorSize) -> Measures:
    """Statistics of `events`, shape (n,), sorted by time.

    Raises
    ------
    UsageError
        If there are too few events for intervals.
    """
    pixel = events["y"].astype(np.int64) * sensor.width + events["x"]
    order = np.lexsort((events["t"], pixel))
    t, p, of_one = events["t"][order], events["p"][order], np.diff(pixel[order]) == 0
    interval, same = np.diff(t)[of_one], (p[1:] == p[:-1])[of_one]
    far = interval > SAME_TIME_US
    if not far.any():
        raise UsageError(f"{len(events)} events hold no interval between events of one pixel")
    seconds = max(int(events["t"][-1] - events["t"][0]), 1) * 1e-6
    count = np.bincount(pixel, minlength=sensor.width * sensor.height)
    held = np.cumsum(np.sort(count)[::-1])
    quiet_rows = sensor.height // 5
    quiet = np.count_nonzero(events["y"] < quiet_rows)
    x, y = (np.quantile(events[axis], (0.1, 0.5, 0.9)) for axis in ("x", "y"))
    return Measures(
        rate_hz=len(events) / seconds,
        on_fraction=float(events["p"].mean()),
        active_fraction=float(np.mean(count > 0)),
        busy_fraction=float(np.searchsorted(held, 0.9 * len(events)) + 1) / len(count),
        twice_fraction=float(np.count_nonzero(~far)) / len(events),
        intervals_us=tuple(float(q) for q in np.quantile(interval[far], QUANTILES)),
        same_fraction=float(same[far].mean()),
        quiet_hz=quiet / (quiet_rows * sensor.width) / seconds,
        middle=(float(x[1]), float(y[1])),
        spread=(float(x[2] - x[0]), float(y[2] - y[0])),
    )


def picture(events: Events, sensor: SensorSize) -> NDArray[np.uint8]:
    """ON events green and OFF events red on black, added up; (height, width, 3)."""
    canvas = np.zeros((sensor.height, sensor.width, 3))
    for channel, on in ((0, False), (1, True)):
        these = events[events["p"] == on]
        np.add.at(canvas[:, :, channel], (these["y"], these["x"]), 70)
    return np.asarray(np.minimum(canvas + 16, 255), np.uint8)
