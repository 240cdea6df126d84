"""Hot pixels: those that send far more events than all others and than their neighbours.

Does not:

- Count events: `streamstop.events.pixel_filters` does in a run, and
  `streamstop.tools.event_statistics` for `inspect`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_HOT_MIN_EVENTS = 20
_HOT_DEVIATIONS = 8.0
_HOT_NEIGHBOUR_RATIO = 10.0


class HotPixel(NamedTuple):
    """A pixel with far more events than other active pixels and than its neighbours."""

    x: int
    y: int
    events: int


def hot_pixels(counts: NDArray[Any]) -> list[HotPixel]:
    """Hot pixels, those with most events first.

    A pixel is hot if its count meets three conditions:

    - more than 8 standard deviations above the median of the active pixels; the standard
      deviation is estimated as 1.4826 times the median absolute deviation, and as at least the
      square root of the median (Poisson noise);
    - at least 20 events;
    - more than 10 times the median of its neighbours: a moving edge activates neighbours too.

    counts : events per pixel, shape (height, width), integers.

    >>> quiet = np.full((5, 5), 4)
    >>> quiet[2, 3] = 400
    >>> hot_pixels(quiet)
    [HotPixel(x=3, y=2, events=400)]
    """
    active = counts[counts > 0]
    if not len(active):
        return []
    middle = float(np.median(active))
    deviation = max(1.4826 * float(np.median(np.abs(active - middle))), middle**0.5)
    above = counts > max(middle + _HOT_DEVIATIONS * deviation, _HOT_MIN_EVENTS - 1)
    rows, columns = np.nonzero(above)
    if not len(rows):
        return []
    down, right = (one.ravel() - 1 for one in np.indices((3, 3)))
    y = rows + np.delete(down, 4)[:, None]
    x = columns + np.delete(right, 4)[:, None]
    on_it = (y >= 0) & (y < counts.shape[0]) & (x >= 0) & (x < counts.shape[1])
    around = np.where(on_it, counts[y * on_it, x * on_it], np.nan)
    usual = np.nanmedian(around, axis=0) if counts.size > 1 else np.zeros(1)
    found = [
        HotPixel(int(x), int(y), int(counts[y, x]))
        for x, y, near in zip(columns, rows, usual, strict=True)
        if counts[y, x] > _HOT_NEIGHBOUR_RATIO * near
    ]
    return sorted(found, key=lambda one: (-one.events, one.y, one.x))
