"""Generated samples, for trying a recipe whose data set is not on this machine.

Guarantees:

- Samples have the shape of the recipe's own, its number of classes, and depend on the seed alone.
- They are used only where the recipe's own place for its data does not exist: data that are there
  and cannot be read stay an error.

Does not: look like the data set. An accuracy on these samples means nothing.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from streamstop.config.bundled import data_note
from streamstop.config.training import RECIPES, DataConfig, TrainConfig
from streamstop.config.uri_paths import split_uri
from streamstop.datasets.samples import DataSets, Samples

GENERATED = "generated samples"
"""What the name of generated sets begins with."""

SAMPLES = 20
"""Generated for each of the training and the test set, where `data.max_samples` names no number."""


class _Known(NamedTuple):
    """What generated samples need to know of a data set; of events, the recipe's grid is taken.

    shape : (channels, height, width) of images.
    """

    classes: int
    shape: tuple[int, int, int] = (0, 0, 0)


KNOWN = {
    "mnist": _Known(10, (1, 28, 28)),
    "cifar10": _Known(10, (3, 32, 32)),
    "cifar100": _Known(100, (3, 32, 32)),
    "nmnist": _Known(10),
    "dvs": _Known(11),
    "cifar10dvs": _Known(10),
    "objects": _Known(7),
}
"""By the first word of a recipe's name: `mnist-lenet5` trains on "mnist"."""


def smoke_sets(recipe: str, config: TrainConfig) -> tuple[DataSets, str] | None:
    """Generated sets for a bundled recipe, and a note for people; None where its data are there.

    recipe : its name or path, of which the first word names the data set.
    config : the configuration to train with; its data must be at the recipe's own place.

    None also for a recipe of which nothing is known: its data are then read, or missed, as usual.
    """
    known = KNOWN.get(Path(recipe).stem.partition("-")[0])
    if known is None or not _missing(config.data):
        return None
    data, binning, seed = config.data, config.binning, config.run.seed
    count = data.max_samples or SAMPLES
    grid = (data.time_steps, binning.height, binning.width)

    def make(part: int) -> Samples:
        draw = np.random.default_rng([seed, part])
        if data.kind == "images":
            return _images(known.shape, known.classes, count, draw)
        return _events(grid, known.classes, count, draw)

    tested = data.kind == "images" or data.test_uri or data.test_fraction
    note = (
        f"{split_uri(data.uri)[1]} is not here: training on {count} generated samples, so the "
        f"scores mean nothing. The real set:\n{data_note(recipe, RECIPES)}"
    )
    name = f"{GENERATED} in place of {data.uri}"
    return DataSets(make(0), make(1) if tested else None, name), note


def _missing(data: DataConfig) -> bool:
    uris = [uri for uri in (data.uri, data.test_uri) if uri]
    return any(not Path(split_uri(uri)[1]).exists() for uri in uris)


def _labels(classes: int, count: int, draw: np.random.Generator) -> NDArray[np.int64]:
    """Classes in turn, beginning with one that is drawn where there are more than samples."""
    first = int(draw.integers(classes)) if classes > count else 0
    labels: NDArray[np.int64] = (first + np.arange(count)) % classes
    return labels


def _images(
    shape: tuple[int, int, int], classes: int, count: int, draw: np.random.Generator
) -> Samples:
    """A bright disc on noise, its place the class: `shape` (channels, height, width)."""
    labels = _labels(classes, count, draw)
    channels, high, wide = shape
    y, x = np.mgrid[:high, :wide]
    turns = 2 * math.pi * labels / classes
    top = (high - 1) / 2 + high / 4 * np.sin(turns)
    left = (wide - 1) / 2 + wide / 4 * np.cos(turns)
    away = np.hypot(y - top[:, None, None], x - left[:, None, None])
    pixels = draw.integers(0, 100, (count, channels, high, wide)) + 150 * (away < high / 6)[:, None]
    return _samples(pixels, labels, classes)


def _events(
    grid: tuple[int, int, int], classes: int, count: int, draw: np.random.Generator
) -> Samples:
    """A bar that moves across the grid, its direction the class: ON ahead of it, OFF behind.

    grid : (steps, height, width).
    """
    labels = _labels(classes, count, draw)
    steps, high, wide = grid
    y, x = np.mgrid[:high, :wide]
    turns = 2 * math.pi * labels / classes
    side = max(high, wide)
    along = (x - wide / 2) * np.cos(turns)[:, None, None]
    along = along + (y - high / 2) * np.sin(turns)[:, None, None] + side / 2
    counts = draw.poisson(0.02, (count, steps, 2, high, wide))
    for step in range(steps):
        front = side * (step + 1) / (steps + 1)
        for polarity, place in ((1, front), (0, front - side / 8)):
            edge = np.abs(along - place) < side / 16
            counts[:, step, polarity] += draw.poisson(2.0, edge.shape) * edge
    return _samples(counts, labels, classes)


def _samples(values: NDArray[np.int64], labels: NDArray[np.int64], classes: int) -> Samples:
    names = tuple(str(i) for i in range(classes))
    x = torch.from_numpy(np.minimum(values, 255).astype(np.uint8))
    return Samples(x, torch.from_numpy(labels), names, simulated=True)
