"""Synthetic labelled streams for the learner, and one way of leading it through them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from streamstop.learning.learner import LearnerSpec, StopLearner
from streamstop.stop.layer import LayerSpec
from streamstop.stop.network import NetworkSpec

CLASSES = 4
NETWORK = NetworkSpec((2, 8, 8), (LayerSpec("conv", 6, pool=2),), CLASSES)

LEARNERS = {
    "segment": LearnerSpec(update="segment", lr=1e-2, lr_readout=3e-2),
    "segment, slow": LearnerSpec(update="segment", lr=1e-2, lr_readout=3e-2, ema_decay=0.8),
    "step": LearnerSpec(update="step", lr=1e-3, lr_readout=5e-2),
    "step, every 3": LearnerSpec(update="step", update_interval=3, lr=1e-3, lr_readout=5e-2),
    "step, slow": LearnerSpec(update="step", lr=1e-3, lr_readout=5e-2, ema_decay=0.8),
}
"""Every honest way to learn, at rates high enough that a label moves what is said after it."""


class Stream(NamedTuple):
    """Segments: bins of shape (segments, bins, 1, 2, 8, 8), and a label each."""

    x: Tensor
    labels: list[int]


def stream(
    segments: int, bins: int = 10, *, seed: int = 0, signal: bool = True, density: float = 0.15
) -> Stream:
    """Noise, and where `signal` asks for it, a bright patch whose place tells the class."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(CLASSES, size=segments).tolist()
    x = (draw.random((segments, bins, 1, 2, 8, 8)) < density).astype(np.float32)
    if signal:
        for i, label in enumerate(labels):
            row, column = 4 * (label // 2), 4 * (label % 2)
            patch = x[i, ..., row : row + 4, column : column + 4]
            patch += draw.random(patch.shape) < 0.2
    return Stream(torch.from_numpy(x), labels)


class Said(NamedTuple):
    """What a learner said: of each segment its bins', and its decision by each readout."""

    bins: list[list[bytes]]
    linear: list[bytes]
    lda: list[bytes]
    weights: list[bytes]
    hits: list[bool]


def weights_of(learner: StopLearner) -> bytes:
    """All parameters of the network that learns, and of the one that decides."""
    both = (learner.network, learner.inference_network)
    return b"".join(v.numpy().tobytes() for n in both for v in n.parameters().values())


def lead(
    learner: StopLearner, one: Stream, each_bin: Callable[[int, int], None] | None = None
) -> Said:
    """Test, then train, through the whole stream; every label concurrent."""
    said = Said([], [], [], [], [])
    for i, (segment, label) in enumerate(zip(one.x, one.labels, strict=True)):
        learner.begin_segment()
        said.bins.append([])
        for j, x in enumerate(segment):
            said.bins[-1].append(learner.predict(x, trace=True).log_probs.tobytes())
            learner.learn(label)
            if each_bin is not None:
                each_bin(i, j)
        decision = learner.predict_segment()
        said.linear.append(decision.linear.tobytes())
        said.lda.append(decision.lda.tobytes())
        said.hits.append(int(decision.linear.argmax()) == label)
        learner.update_lda(decision.rates, label)
        learner.end_segment()
        said.weights.append(weights_of(learner))
    return said
