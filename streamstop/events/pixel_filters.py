"""Filters per pixel: the mask of hot pixels, and the refractory time.

Guarantees:

- Causal: a mask applies only to events that come after the decision, which no later event changes.
- Decisions depend on the order of events and their times, not on how these were cut into packets.
- Memory is 16 bytes for each pixel of the sensor, and one entry for each masked pixel.

Does not:

- Unmask a pixel.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from streamstop.errors import UsageError
from streamstop.events._binning_loop import COUNT, LATEST_US, MASKED, TIME_LIMIT_US
from streamstop.events.hot_pixels import hot_pixels
from streamstop.events.packet import SensorSize

HotPixelMode = Literal["keep", "mask"]

FIRST_WINDOW_US = 1_000_000
"""Stream time from the first event on, after which hot pixels are looked for first."""

WINDOW_US = 10_000_000
"""Stream time between later looks, each at the events since the look before."""

MAX_PIXELS = 1 << 24
"""Pixels of the largest sensor that is filtered: 256 MB."""

_NEVER_US = -(1 << 62)
_UNDECIDED = 1 << 62


class MaskedPixel(NamedTuple):
    """A hot pixel, and since when its events are rejected.

    Attributes
    ----------
    x, y
        The pixel.
    events
        Its events in the window in which it was found hot.
    from_us
        Time of the event that ended that window, in the events' own time.
    """

    x: int
    y: int
    events: int
    from_us: int


class PixelFilters:
    """What the binner knows of each pixel; `Binner` is its only user.

    Hot pixels are looked for at the first event that is `FIRST_WINDOW_US` after the first one of
    the stream, by the rule of `streamstop.events.hot_pixels` applied to the events before it on the
    sensor and in time, and again after every `WINDOW_US`. A jump back in time moves the end of the
    window with it, and forgets when pixels last sent an event.

    Parameters
    ----------
    sensor
        Width and height in pixels.
    hot
        "mask" looks for hot pixels, "keep" does not.
    refractory_us
        An event less than this before or after the latest accepted one of its pixel is rejected;
        0 rejects none.

    Attributes
    ----------
    pixels
        (width * height, 2) int64, what the loop counts and compares.
    masked
        The masked pixels, in the order of the decisions.

    Raises
    ------
    UsageError
        Where the sensor is too large, or a setting makes no sense.
    """

    def __init__(self, sensor: SensorSize, hot: HotPixelMode, refractory_us: int) -> None:
        if hot not in get_args(HotPixelMode):
            raise UsageError(f"hot_pixels must be keep or mask, not {hot!r}")
        if not 0 <= refractory_us <= TIME_LIMIT_US:
            raise UsageError(f"refractory_us must lie within 0 and 2**60, not {refractory_us}")
        self.used = hot == "mask" or refractory_us > 0
        if self.used and sensor.width * sensor.height > MAX_PIXELS:
            raise UsageError(
                f"a sensor of {sensor} has too many pixels for a filter that knows each of them "
                f"({MAX_PIXELS:,} at most); use hot_pixels=keep and refractory_us=0"
            )
        self.sensor, self.refractory_us = sensor, refractory_us
        size = sensor.width * sensor.height if self.used else 1
        self.pixels: NDArray[np.int64] = np.zeros((size, 2), np.int64)
        self.pixels[:, LATEST_US] = _NEVER_US
        self.masked: list[MaskedPixel] = []
        self._begun = False
        self._look_at = _NEVER_US if hot == "mask" else _UNDECIDED

    def last(self, last_us: int, floor_us: int) -> int:
        """The latest time that the loop may count without a look; `last_us` where none is due.

        An event later than that is not late: it lies at or beyond `floor_us`.
        """
        return min(last_us, max(self._look_at, floor_us) - 1)

    def look(self, t: int, floor_us: int) -> bool:
        """Look for hot pixels if they are due before an event at `t`; whether they were."""
        if t < self._look_at or t < floor_us:
            return False
        if self._begun:
            self._mask(t)
        self._look_at = t + (WINDOW_US if self._begun else FIRST_WINDOW_US)
        self._begun = True
        return True

    def mask(self, pixels: Iterable[MaskedPixel]) -> None:
        """Mask these pixels, if hot pixels are masked at all."""
        if self._look_at == _UNDECIDED:
            return
        for one in pixels:
            self.pixels[one.y * self.sensor.width + one.x, COUNT] = MASKED
            self.masked.append(one)

    def jumped_back(self, from_us: int, to_us: int) -> None:
        """Time goes on from `to_us`."""
        self.pixels[:, LATEST_US] = _NEVER_US
        if self._begun:
            self._look_at = to_us + max(self._look_at - from_us, 0)

    def _mask(self, t: int) -> None:
        counts = self.pixels[:, COUNT]
        grid = np.maximum(counts, 0).reshape(self.sensor.height, self.sensor.width)
        found = hot_pixels(grid)
        counts[counts != MASKED] = 0
        self.mask(MaskedPixel(x, y, events, t) for x, y, events in found)
