"""What events look like in numbers, to set simulated recordings beside real ones.

Promises measures of a recording that need nothing but its events: rate, share of ON events,
intervals between events of one pixel, how many pixels are active and where. Does not judge.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamstop.errors import UsageError
from streamstop.events.packet import Events, SensorSize

SAME_TIME_US = 2
"""Events of one pixel no further apart were read twice: no pixel is that fast."""

QUANTILES = (0.25, 0.5, 0.75, 0.95)


class Measures(NamedTuple):
    """Of one recording, or a stretch of one.

    rate_hz : events a second. on_share : of all events.
    active_share : of the sensor's pixels, those with any event. busy_share : of its pixels, the
    fewest that hold nine of ten events.
    twice_share : of all events, those within SAME_TIME_US of the one before at the same pixel.
    intervals_us : QUANTILES of the other intervals between successive events of a pixel.
    same_share : of those, between events of one polarity.
    quiet_hz : rate of a pixel of the top rows, a fifth of the sensor, where nobody moves.
    middle, spread : (2,), median of x and y; width and height of the middle 80 % of events.
    """

    rate_hz: float
    on_share: float
    active_share: float
    busy_share: float
    twice_share: float
    intervals_us: tuple[float, ...]
    same_share: float
    quiet_hz: float
    middle: tuple[float, float]
    spread: tuple[float, float]


def measure(events: Events, sensor: SensorSize) -> Measures:
    """Measures of `events`, shape (n,), sorted by time.

    Raises UsageError where there are too few events for intervals to exist.
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
        on_share=float(events["p"].mean()),
        active_share=float(np.mean(count > 0)),
        busy_share=float(np.searchsorted(held, 0.9 * len(events)) + 1) / len(count),
        twice_share=float(np.count_nonzero(~far)) / len(events),
        intervals_us=tuple(float(q) for q in np.quantile(interval[far], QUANTILES)),
        same_share=float(same[far].mean()),
        quiet_hz=quiet / (quiet_rows * sensor.width) / seconds,
        middle=(float(x[1]), float(y[1])),
        spread=(float(x[2] - x[0]), float(y[2] - y[0])),
    )


def picture(events: Events, sensor: SensorSize) -> NDArray[np.uint8]:
    """ON events green and OFF events red over black, added up; (height, width, 3)."""
    canvas = np.zeros((sensor.height, sensor.width, 3))
    for channel, on in ((0, False), (1, True)):
        these = events[events["p"] == on]
        np.add.at(canvas[:, :, channel], (these["y"], these["x"]), 70)
    return np.asarray(np.minimum(canvas + 16, 255), np.uint8)
