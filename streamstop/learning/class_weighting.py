"""Learning rates of the readout rows per class, from class counts: a measure against forgetting."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamstop.stop.network import Network


def class_rows(network: Network) -> list[Tensor]:
    """The readout's parameters that have one row per class."""
    classes = network.spec.classes
    every = network.readout.parameters().values()
    return [value for value in every if value.ndim and len(value) == classes]


def class_lr_scale(
    counts: NDArray[np.int64], label: int | None, decay: float, other_scale: float
) -> NDArray[np.float64]:
    """The fraction of its step that each class's row takes, shape (classes,).

    Parameters
    ----------
    counts : ndarray of shape (classes,)
        Segments of each class so far.
    label : int or None
        The segment's class.
    decay : float
        A row moves at n ** -decay after n segments of its class.
    other_scale : float
        A further factor for the rows of all classes but `label`.

    Examples
    --------
    >>> class_lr_scale(np.array([4, 1, 0]), 0, 0.5, 0.1).tolist()
    [0.5, 0.1, 0.1]
    """
    scale = np.maximum(counts, 1).astype(np.float64) ** -decay
    scale[np.arange(len(scale)) != label] *= other_scale
    return scale


def scale_moves(rows: list[Tensor], before: list[Tensor], scale: NDArray[np.float64]) -> None:
    """Take each row back to where it moves only `scale` of its way from `before`, in place."""
    for row, old in zip(rows, before, strict=True):
        factor = torch.from_numpy(scale).to(row.dtype)
        row.copy_(torch.lerp(old, row, factor.view(-1, *[1] * (row.ndim - 1))))
