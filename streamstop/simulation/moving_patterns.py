"""Patterns that move in one of eight directions, which only the order of the bins reveals.

The samples are simulated, without camera or pixel model; whatever stores them must say so. In each
sample a small random pattern crosses a plane whose opposite edges are joined, with a random speed,
start and polarity; some of its cells fail to fire, and other cells fire at random.

Guarantees:

- A single bin has the same distribution for all directions.
- A direction and its opposite have the same counts per cell, since one is the time reversal of the
  other.
- The mean count of every cell is the same for all directions, so that a linear rule on counts, or
  on any function of each cell's count, is at chance.

Does not:

- Hide which of the four axes a pattern moved along: its streak over the sample reveals that to a
  nonlinear rule.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from streamstop.datasets.samples import Samples
from streamstop.errors import UsageError

DIRECTIONS = (
    *("right", "down_right", "down", "down_left"),
    *("left", "up_left", "up", "up_right"),
)
"""Names of the classes, clockwise in steps of an eighth of a turn."""


class MovingParams(NamedTuple):
    """Settings of the samples.

    Attributes
    ----------
    steps
        Bins per sample.
    side
        Rows and columns of the plane.
    pattern
        Rows and columns of the pattern, of whose cells half are lit, on average.
    speed
        Slowest and fastest, cells per bin.
    fires
        Probability that a lit cell fires in a bin.
    noise
        Probability that any cell fires at random in a bin, per polarity.
    """

    steps: int = 16
    side: int = 16
    pattern: int = 4
    speed: tuple[float, float] = (0.75, 1.5)
    fires: float = 0.9
    noise: float = 0.01


def moving_patterns(
    samples: int,
    seed: int,
    params: MovingParams | None = None,
    *,
    directions: NDArray[np.int64] | None = None,
) -> Samples:
    """Labelled samples, with every direction equally often.

    Parameters
    ----------
    samples
        Number of samples.
    seed
        Draws everything.
    params
        Settings of the samples.
    directions
        (samples,), indices into `DIRECTIONS` that replace the drawn ones; all else is drawn as
        without it. Opposite directions then give time-reversed samples, except for failures and
        noise.

    Returns
    -------
    samples : Samples
        x has shape (samples, steps, 2, side, side).

    Raises
    ------
    UsageError
        If the pattern does not fit on the plane.

    Examples
    --------
    >>> moving_patterns(5, seed=0).x.shape
    torch.Size([5, 16, 2, 16, 16])
    """
    params = params or MovingParams()
    steps, side, pattern = params.steps, params.side, params.pattern
    if pattern > side:
        raise UsageError(f"a pattern of {pattern} cells does not fit on a plane of {side}")
    draw = np.random.Generator(np.random.Philox(key=[seed, 5]))
    drawn = draw.permutation(np.arange(samples) % len(DIRECTIONS))
    y = drawn if directions is None else directions
    lit = draw.random((samples, pattern, pattern)) < 0.5
    # One cell is always lit: an empty pattern would have no direction.
    lit[np.arange(samples), *draw.integers(0, pattern, (2, samples))] = True
    polarity = draw.integers(0, 2, samples)
    middle = draw.uniform(0, side, (samples, 2))
    speed = draw.uniform(*params.speed, samples)
    fired = draw.random((samples, steps, pattern, pattern), np.float32) < params.fires
    x = draw.random((samples, steps, 2, side, side), np.float32) < params.noise

    angle = y * (2 * np.pi / len(DIRECTIONS))
    way = np.stack([np.sin(angle), np.cos(angle)], 1) * speed[:, None]  # rows count downwards
    since = np.arange(steps) - (steps - 1) / 2
    place = middle[:, None] + since[:, None] * way[:, None]
    first = np.round(place).astype(np.int64)[..., None] + np.arange(pattern)
    rows, columns = np.moveaxis(first % side, 2, 0)
    sample, step = np.arange(samples)[:, None], np.arange(steps)
    at = tuple(index[..., None, None] for index in (sample, step, polarity[:, None]))
    x[*at, rows[..., :, None], columns[..., None, :]] |= fired & lit[:, None]
    return Samples(
        torch.from_numpy(x.astype(np.uint8)),
        torch.from_numpy(y.astype(np.int64)),
        DIRECTIONS,
        simulated=True,
    )
