"""Gestures as training samples, simulated in memory and cut into overlapping windows of bins.

Whatever stores these samples must mark them as simulated.

Guarantees:

- The same samples for the same subjects, seed and settings.
- Windows of one occasion are adjacent, so that a split by subject separates them.
- Where polarities are swapped at random, the polarity at a limb's edge does not tell its direction.

Does not:

- Give the events of `simulate_gesture`: there are fewer frames, for speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from streamstop.datasets.samples import Samples
from streamstop.errors import UsageError
from streamstop.simulation.figure import paint_figure
from streamstop.simulation.gestures import LIGHTINGS, SENSOR, Subject
from streamstop.simulation.motions import Performance, pose_at
from streamstop.simulation.pixel import DvsPixelModel

ARM_TURNS = (
    "right_arm_clockwise",
    "right_arm_counter_clockwise",
    "left_arm_clockwise",
    "left_arm_counter_clockwise",
)
"""Two pairs of gestures, each the time reversal of the other."""


class WindowParams(NamedTuple):
    """How gestures are filmed and cut.

    Attributes
    ----------
    occasion_us
        Length of each occasion.
    window_us, stride_us
        Length and stride of the windows cut from it.
    bin_us
        Width of a bin, of which all of those are multiples.
    step_us
        Time from frame to frame.
    side
        Rows and columns of a bin.
    swap
        Whether each window's polarities are swapped at random, as if limbs were darker than the
        background as often as brighter. Without it, ON runs ahead of a limb and OFF behind it,
        and a single bin tells its direction.
    """

    occasion_us: int = 2_000_000
    window_us: int = 1_000_000
    stride_us: int = 250_000
    bin_us: int = 50_000
    step_us: int = 5_000
    side: int = 32
    lighting: str = "lab"
    swap: bool = True

    @property
    def steps(self) -> int:
        """Bins per window."""
        return self.window_us // self.bin_us


def mirrored(samples: Samples) -> Samples:
    """Arm turns as in a mirror: left is right, and clockwise is counter-clockwise.

    Parameters
    ----------
    samples
        Of `ARM_TURNS`, all four classes in that order.
    """
    assert samples.classes == ARM_TURNS
    return samples._replace(x=samples.x.flip(-1), y=len(ARM_TURNS) - 1 - samples.y)


def gesture_windows(
    gestures: Sequence[str], subjects: Sequence[int], seed: int, params: WindowParams
) -> Samples:
    """Windows of one occasion of each gesture by each subject.

    Parameters
    ----------
    gestures
        Names of `GESTURES`; they are the classes, in this order.
    subjects
        Seeds of subjects.
    seed
        Draws occasions, sensors and swaps.
    params
        How gestures are filmed and cut.

    Returns
    -------
    samples : Samples
        x has shape (n, steps, 2, side, side).

    Raises
    ------
    UsageError
        If a gesture is unknown, or lengths do not fit each other.
    """
    lengths = (params.occasion_us, params.window_us, params.stride_us)
    if any(length % params.bin_us for length in lengths) or params.bin_us % params.step_us:
        raise UsageError(
            f"occasions, windows and strides of {lengths} us are not all whole bins of "
            f"{params.bin_us} us, or bins are not whole steps of {params.step_us} us"
        )
    if params.window_us > params.occasion_us or SENSOR.width % params.side:
        raise UsageError(
            f"windows of {params.window_us} us do not fit occasions of {params.occasion_us} us, or "
            f"{SENSOR.width} pixels do not make {params.side} equal cells"
        )
    draw = np.random.Generator(np.random.Philox(key=[seed, 6]))
    stride = params.stride_us // params.bin_us
    windows: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for subject in subjects:
        for label, gesture in enumerate(gestures):
            occasion = int(draw.integers(1 << 40))
            bins = _bins(gesture, Subject.draw(subject), occasion, params)
            for first in range(0, len(bins) - params.steps + 1, stride):
                one = bins[first : first + params.steps]
                windows.append(one[:, ::-1] if params.swap and draw.random() < 0.5 else one)
                labels.append(label)
    x = torch.from_numpy(np.stack(windows))
    return Samples(x, torch.tensor(labels, dtype=torch.int64), tuple(gestures), simulated=True)


def _bins(gesture: str, subject: Subject, occasion: int, params: WindowParams) -> NDArray[np.uint8]:
    """One occasion as bins, (occasion_us / bin_us, 2, side, side)."""
    light, performance = LIGHTINGS[params.lighting], Performance.draw(occasion)
    sensor = DvsPixelModel(SENSOR, light.params, occasion)
    shape = (params.occasion_us // params.bin_us, 2, params.side, params.side)
    counts = np.zeros(shape, np.int64)
    cell = SENSOR.width // params.side
    for t_us in range(0, params.occasion_us + 1, params.step_us):
        pose = pose_at(gesture, subject.build, t_us * 1e-6, performance)
        luminance = light.apply(paint_figure(pose, subject.look), t_us * 1e-6)
        events = sensor.step(luminance, t_us)
        # An event at the very end of the occasion belongs to the next bin, which does not exist.
        events = events[events["t"] < params.occasion_us]
        at = (events["t"] // params.bin_us, events["p"].astype(np.int64))
        np.add.at(counts, (*at, events["y"] // cell, events["x"] // cell), 1)
    return np.minimum(counts, 255).astype(np.uint8)
