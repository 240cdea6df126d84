"""Gzipped idx files, the format of LeCun's MNIST and its relatives.

Guarantees: a file gives exactly the bytes that its header announces, or an error.

Does not: read idx files of other types than bytes.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from streamstop.datasets.samples import Part, Samples
from streamstop.errors import SourceError

MAX_IDX_BYTES = 1 << 30
"""No idx file may unpack to more; MNIST's largest has 47 MB."""

IDX_PARTS: dict[Part, str] = {"train": "train", "test": "t10k"}
"""What the files of each part begin with."""


def idx_name(part: Part) -> str:
    """The name of a part's images."""
    return f"{IDX_PARTS[part]}-images-idx3-ubyte.gz"


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


def load_idx(folder: Path, part: Part, limit: int = 0) -> Samples:
    """The "train" or "test" images of an MNIST-like folder, and their labels.

    Raises SourceError as `read_idx`, and where images and labels are not equally many.
    """
    images = read_idx(folder / idx_name(part), 3)
    labels = read_idx(folder / f"{IDX_PARTS[part]}-labels-idx1-ubyte.gz", 1)
    if len(images) != len(labels) or not images.size:
        raise SourceError(f"{len(images)} {part} images, {len(labels)} labels: {folder}")
    count = limit or len(images)
    names = tuple(str(i) for i in range(int(labels.max()) + 1))
    x, y = torch.from_numpy(images[:count, None]), torch.from_numpy(labels[:count]).long()
    return Samples(x, y, names)
