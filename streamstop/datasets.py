"""Training and test sets in memory: static images, and recordings as bins.

It promises bytes as the files have them (event counts above 255 in a cell and bin are 255), in an
order that the files alone decide, and splits that depend on labels and seed alone. A header's sizes
are checked against caps before anything is allocated. It does not draw, shuffle or normalise
batches; `streamstop.training` does.
"""

from __future__ import annotations

import gzip
import math
import zlib
from bisect import bisect_right
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamstop.binning import Binner
from streamstop.config import BinningConfig
from streamstop.errors import SourceError, UsageError
from streamstop.sources.folder import FolderSource

MAX_IDX_BYTES = 1 << 30
"""No idx file may unpack to more; MNIST's largest has 47 MB."""

MAX_CACHE_BYTES = 8 << 30
"""No set of binned recordings may take more memory."""

Indices = NDArray[np.int64]


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

    def take(self, which: Indices) -> Samples:
        """The samples of these numbers, in this order."""
        chosen = torch.from_numpy(which)
        return self._replace(x=self.x[chosen], y=self.y[chosen])


def read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """An idx file of bytes packed by gzip (LeCun's MNIST files), with this number of axes.

    Raises SourceError where it cannot be read, is no such file, or is not as long as it says.
    """
    try:
        with gzip.open(path, "rb") as file:
            head = file.read(4 + 4 * axes)
            if len(head) < 4 + 4 * axes or head[:4] != bytes((0, 0, 8, axes)):
                raise SourceError(
                    f"not an idx file of bytes with {axes} axes (it begins {head[:4].hex(' ')}): "
                    f"{path}"
                )
            sizes = [int.from_bytes(head[i : i + 4], "big") for i in range(4, len(head), 4)]
            length = math.prod(sizes)
            if length > MAX_IDX_BYTES:
                shown = "x".join(map(str, sizes))
                raise SourceError(f"{shown} bytes are more than {MAX_IDX_BYTES}: {path}")
            data = file.read(length + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"cannot be read ({error}); fetch it again: {path}") from error
    if len(data) != length:
        found = f"only {len(data)}" if len(data) < length else "more"
        raise SourceError(f"{length} bytes should follow the header, there are {found}: {path}")
    return np.frombuffer(data, np.uint8).reshape(sizes).copy()


def load_images(folder: Path, part: str, limit: int = 0) -> Samples:
    """The "train" or "t10k" images of an MNIST-like folder, and their labels.

    Raises SourceError as `read_idx`, and where images and labels are not equally many.
    """
    images = read_idx(folder / f"{part}-images-idx3-ubyte.gz", 3)
    labels = read_idx(folder / f"{part}-labels-idx1-ubyte.gz", 1)
    if len(images) != len(labels) or not images.size:
        raise SourceError(f"{len(images)} {part} images, {len(labels)} labels: {folder}")
    count = limit or len(images)
    names = tuple(str(i) for i in range(int(labels.max()) + 1))
    x, y = torch.from_numpy(images[:count, None]), torch.from_numpy(labels[:count]).long()
    return Samples(x, y, names)


def load_events(uri: str, binning: BinningConfig, steps: int, limit: int = 0) -> Samples:
    """A folder of labelled recordings, the first `steps` bins of each; shorter ones end in silence.

    Raises SourceError or UsageError as `FolderSource`, DamageError where a recording is damaged,
    UsageError where it would take more than MAX_CACHE_BYTES.
    """
    source = FolderSource(
        uri, order="round-robin", limit=limit, align_us=binning.bin_us, strict=True
    )
    track = source.labels
    assert track is not None
    segments = list(track)
    shape = (len(segments), steps, 2, binning.height, binning.width)
    if math.prod(shape) > MAX_CACHE_BYTES:
        raise UsageError(
            f"{len(segments)} recordings of {steps} bins take {math.prod(shape)} bytes, more than "
            f"{MAX_CACHE_BYTES}; choose fewer data.steps or a smaller grid: {uri}"
        )
    counts = np.zeros(shape, np.uint8)
    starts = [segment.start_us for segment in segments]
    binner = Binner(
        source.sensor,
        bin_us=binning.bin_us,
        height=binning.height,
        width=binning.width,
        fit=binning.fit,
        values=binning.values,
        reorder_us=binning.reorder_us,
        gap_us=binning.gap_us,
        origin_us=source.origin_us,
    )
    for packet in source:
        bins = list(binner.push(packet.events))
        if packet.until_us is not None:
            bins += binner.advance(packet.until_us)
        for one in bins:
            i = bisect_right(starts, one.start_us) - 1
            step = (one.start_us - starts[i]) // binning.bin_us
            if step < steps:
                counts[i, step] = np.minimum(one.counts, 255)
    y = torch.tensor([segment.label for segment in segments], dtype=torch.int64)
    return Samples(torch.from_numpy(counts), y, track.classes, source.simulated)


def deal(y: Tensor, parts: int, seed: int) -> Indices:
    """The part, 0 to parts - 1, of each sample: equal in size, and so in each class, but for one.

    y : (n,) numbers of classes.
    """
    by_class = _drawn_by_class(y, seed)
    dealt = np.empty(len(by_class), np.int64)
    dealt[by_class] = np.arange(len(by_class)) % parts
    return dealt


def split(y: Tensor, share: float, seed: int) -> tuple[Indices, Indices]:
    """Samples to train on and samples to validate on, the latter about `share` of each class.

    y : (n,) numbers of classes.
    """
    by_class = _drawn_by_class(y, seed)
    passed = np.floor(np.arange(len(by_class) + 1) * share + 1e-9)
    held = np.zeros(len(by_class), bool)
    held[by_class[np.diff(passed) > 0]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def _drawn_by_class(y: Tensor, seed: int) -> Indices:
    """All samples, class after class, in each in an order drawn from the seed."""
    labels = y.numpy()
    drawn = np.random.default_rng(seed).permutation(len(labels))
    return drawn[np.argsort(labels[drawn], kind="stable")]
