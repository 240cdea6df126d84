"""A pattern that moves one of eight ways: what it does is told by the order of bins alone.

Simulated, with neither camera nor pixel model, and whatever keeps it must say so. In a sample a
small pattern, drawn anew for it, crosses a plane whose edges are joined, at a speed, from a place
and with a polarity of its own; cells of it fail to fire, and others fire without it. It promises
that a single bin is drawn alike for all directions, and that nobody can tell a direction from its
opposite by how often each cell fired, because one is the other backwards in time; that the mean
count of every cell is the same for all directions, so that a linear rule on counts, or on any
function of each cell's count, knows nothing at all. Which of four axes a pattern moved along, its
streak over the whole sample does tell, to a rule that is not linear.
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
"""Names of the classes, an eighth of a turn from one to the next, clockwise as it is seen."""


class MovingParams(NamedTuple):
    """What the samples are like.

    steps : bins a sample.  side : rows and columns of the plane.
    pattern : rows and columns of the pattern, of whose cells half are lit, on average.
    speed : slowest and fastest, cells a bin.
    fires : chance of a lit cell to fire in a bin.  noise : chance of any cell, of each polarity, to
    fire without it.
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
    """Labelled samples, x (samples, steps, 2, side, side), each direction as often as any other.

    seed : draws everything.
    directions : (samples,), numbers in `DIRECTIONS`, in place of those that would be drawn; all
        else is drawn as it would be. Opposite directions are then each other's samples with time
        reversed, but for failures and noise.

    Raises UsageError where the pattern does not fit on the plane.

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
    way = np.stack([np.sin(angle), np.cos(angle)], 1) * speed[:, None]  # rows go down
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
