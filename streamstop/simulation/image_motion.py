"""A still image that moves along a closed path in front of a sensor, several times.

Guarantees:

- The same frames for the same image.
- A path that ends each loop where it started, along four legs at 45 degrees, slower at its corners.

Does not:

- Model the refresh or the colours of a real monitor.

The model is what Li et al. (2017), CIFAR10-DVS: an event-stream dataset for object classification,
call repeated closed-loop smooth movement. The lengths are assumptions, because the paper was not
available: see `Motion`.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import cos, pi
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from streamstop.events.packet import SensorSize
from streamstop.simulation.fast_sensor import Frame, Picture

GAMMA = 2.2
"""Gamma: a monitor's light is the pixel's value to this power."""

BLACK = 0.06
"""Light of the monitor's black as a fraction of white, including reflected room light."""

_LUMA = np.array([0.299, 0.587, 0.114])


class Motion(NamedTuple):
    """How an image moves.

    All values are assumptions, except six loops in 1.2 s and legs at 45 degrees, which are from
    memory of the paper.

    Attributes
    ----------
    side_px
        Rows and columns of the image on the sensor; the rest is the monitor's background, of
        reflectance `ground`.
    leg_px
        Length of a leg along rows and along columns.
    loop_us
        Time of a loop of four legs.
    loops
        Number of loops.
    rest_us
        Time without movement, half before and half after.
    """

    side_px: int = 112
    ground: float = 0.05
    leg_px: float = 3.0
    loop_us: int = 200_000
    loops: int = 6
    rest_us: int = 100_000

    @property
    def duration_us(self) -> int:
        """Duration of a recording."""
        return self.loops * self.loop_us + self.rest_us

    def place(self, t_us: int) -> tuple[float, float]:
        """Offset of the image at a time from its start, in columns and rows.

        Examples
        --------
        >>> Motion().place(50_000), Motion().place(150_000)
        ((0.0, 0.0), (0.0, 6.0))
        """
        t_us = min(max(t_us - self.rest_us // 2, 0), self.loops * self.loop_us)
        leg, done = divmod(4 * (t_us % self.loop_us) / self.loop_us, 1.0)
        fraction = 0.5 - 0.5 * cos(pi * done)
        corners = ((0, 0), (1, 1), (0, 2), (-1, 1), (0, 0))
        (ax, ay), (bx, by) = corners[int(leg)], corners[int(leg) + 1]
        return (
            self.leg_px * (ax + fraction * (bx - ax)),
            self.leg_px * (ay + fraction * (by - ay)),
        )


def still_frames(
    image: NDArray[np.uint8], sensor: SensorSize, motion: Motion, lamp: float, step_us: int
) -> Iterator[Frame]:
    """Frames of an image, shape (channels, height, width), `step_us` apart, the first at time 0.

    Parameters
    ----------
    lamp
        Luminance of white on the monitor.
    """
    canvas = _canvas(image, sensor, motion)
    for t_us in range(0, motion.duration_us + 1, step_us):
        # Half the path lies on either side of the centred position.
        x, y = motion.place(t_us)
        yield Frame(_moved(canvas, x, y - motion.leg_px, sensor), lamp)


def _canvas(image: NDArray[np.uint8], sensor: SensorSize, motion: Motion) -> Picture:
    """The light of the monitor, larger than the sensor by the path's extent on all sides."""
    grey = np.tensordot(_LUMA, image, 1) if image.shape[0] == 3 else image.mean(0)
    shown = Image.fromarray(np.asarray(grey, np.float32))
    side = motion.side_px
    large = np.asarray(shown.resize((side, side), Image.Resampling.BICUBIC))
    light = BLACK + (1.0 - BLACK) * (np.clip(large, 0, 255) / 255.0) ** GAMMA
    margin = _margin(motion)
    canvas = np.full((sensor.height + 2 * margin, sensor.width + 2 * margin), motion.ground)
    top, left = (canvas.shape[0] - side) // 2, (canvas.shape[1] - side) // 2
    canvas[top : top + side, left : left + side] = light
    # A lens blurs, also at the image's edge.
    for axis in range(2):
        canvas = (np.roll(canvas, 1, axis) + 2 * canvas + np.roll(canvas, -1, axis)) / 4
    return np.asarray(canvas, np.float32)


def _margin(motion: Motion) -> int:
    return int(np.ceil(motion.leg_px)) + 2


def _moved(canvas: Picture, x: float, y: float, sensor: SensorSize) -> Picture:
    """What the sensor sees of the canvas moved by (x, y), bilinear between pixels."""
    margin = (canvas.shape[1] - sensor.width) // 2
    left, top = margin - x, margin - y
    column, row = int(np.floor(left)), int(np.floor(top))
    right, low = np.float32(left - column), np.float32(top - row)
    seen = canvas[row : row + sensor.height + 1, column : column + sensor.width + 1]
    across = seen[:, :-1] + right * (seen[:, 1:] - seen[:, :-1])
    return np.ascontiguousarray(across[:-1] + low * (across[1:] - across[:-1]))
