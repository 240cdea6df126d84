"""A labelled set in memory, its channels' statistics, and stratified ways to split it.

Guarantees: splits depend on labels and seed alone.

Does not: read files.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MAX_CACHE_BYTES = 8 << 30
"""No set may take more memory."""

Indices = NDArray[np.int64]

Part = Literal["train", "test"]


class Samples(NamedTuple):
    """A labelled set.

    x : uint8, (n, channels, height, width) of images, (n, T, 2, height, width) of events.
    y : int64, (n,), numbers of classes.  classes : their names.
    simulated : whether any of it was made by a simulator.
    """

    x: Tensor
    y: Tensor
    classes: tuple[str, ...]
    simulated: bool = False

    def subset(self, which: Indices) -> Samples:
        """The samples of these numbers, in this order."""
        chosen = torch.from_numpy(which)
        return self._replace(x=self.x[chosen], y=self.y[chosen])


class DataSets(NamedTuple):
    """What one network is trained and tested on, in memory.

    training, test : labelled sets of the same shape and classes; without a test set nothing is
        tested, unless by folds.
    name : where they are from, for people.
    """

    training: Samples
    test: Samples | None
    name: str


def channel_statistics(x: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, from how often each of 256 values occurs.

    x : uint8, (n, channels, height, width). A standard deviation below 1 is given as 1,
    so that a constant channel can be divided by it.
    """
    values = torch.arange(256, dtype=torch.float64)
    means, standard_deviations = [], []
    for channel in range(x.shape[1]):
        often = torch.bincount(x[:, channel].flatten(), minlength=256).double()
        mean = (often * values).sum() / often.sum()
        variance = (often * (values - mean).square()).sum() / often.sum()
        means.append(float(mean))
        standard_deviations.append(max(float(variance.sqrt()), 1.0))
    return tuple(means), tuple(standard_deviations)


def stratified_folds(y: Tensor, parts: int, seed: int) -> Indices:
    """The fold of each sample, 0 to parts - 1, equal but for one in size and in each class.

    y : (n,) numbers of classes.
    """
    by_class = _by_class(y, seed)
    dealt = np.empty(len(by_class), np.int64)
    dealt[by_class] = np.arange(len(by_class)) % parts
    return dealt


def split(y: Tensor, fraction: float, seed: int | None) -> tuple[Indices, Indices]:
    """Samples to train on and samples to validate on, the latter about `fraction` of each class.

    y : (n,) numbers of classes.
    seed : what the latter are drawn from; None takes the last of each class, as windows of one
        recording want it: their neighbours in time would give drawn ones away.
    """
    by_class = _by_class(y, seed)
    held = np.zeros(len(by_class), bool)
    if seed is None:
        often = np.bincount(y.numpy())
        ends = np.cumsum(often)
        for end, count in zip(ends, often, strict=True):
            last = max(int(count * fraction + 1e-9), int(fraction > 0))
            held[by_class[end - min(last, count) : end]] = True
    else:
        passed = np.floor(np.arange(len(by_class) + 1) * fraction + 1e-9)
        held[by_class[np.diff(passed) > 0]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def _by_class(y: Tensor, seed: int | None) -> Indices:
    """All samples, class after class, in each in an order drawn from the seed, or as they come."""
    labels = y.numpy()
    order = np.arange(len(labels))
    drawn = order if seed is None else np.random.default_rng(seed).permutation(order)
    return drawn[np.argsort(labels[drawn], kind="stable")]
