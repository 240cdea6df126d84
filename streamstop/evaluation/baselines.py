"""The baselines beside every score, each under the same test-then-train order as the learner.

`predict` answers with a class index, or None where the baseline has seen no label yet (which
counts as wrong); `learn` follows. Memory is bounded by features and classes, not by segments.
"""

from __future__ import annotations

from collections import Counter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from river import linear_model, preprocessing

from streamstop.learning.lda import StreamingLDA, Vector

POOLED_SIDE = 16
"""Counts are pooled to at most this many rows and columns before a baseline sees them."""


def log_counts(counts: NDArray[np.int64]) -> Vector:
    """Features of the counting baselines: log(1 + pooled event counts) of a whole segment.

    counts : (2, height, width), summed over the segment's bins.
    Returns a vector of 2 * min(height, 16) * min(width, 16) numbers.
    """
    for axis in (1, 2):
        edges = np.linspace(0, counts.shape[axis], min(counts.shape[axis], POOLED_SIDE) + 1)
        counts = np.add.reduceat(counts, edges[:-1].astype(np.intp), axis=axis)
    return np.log1p(counts.astype(np.float64)).ravel()


class Baseline(Protocol):
    """A rival: predicts a segment's class from its log counts, then learns its label."""

    def predict(self, x: Vector) -> int | None: ...

    def learn(self, x: Vector, label: int) -> None: ...


class NoChange:
    """Answers with the label of the segment before."""

    def __init__(self) -> None:
        self._last: int | None = None

    def predict(self, x: Vector) -> int | None:
        """The last label learned; `x` is not looked at."""
        return self._last

    def learn(self, x: Vector, label: int) -> None:
        """Remember `label`."""
        self._last = label


class MajorityClass:
    """Answers with the commonest label so far; the lowest index among equals."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def predict(self, x: Vector) -> int | None:
        """The commonest label learned; `x` is not looked at."""
        if not self._counts:
            return None
        return min(self._counts, key=lambda label: (-self._counts[label], label))

    def learn(self, x: Vector, label: int) -> None:
        """Count `label`."""
        self._counts[label] += 1


class SoftmaxOnCounts:
    """River's softmax regression on running-standardised log counts, the stronger of its forms."""

    def __init__(self) -> None:
        self._model = preprocessing.StandardScaler() | linear_model.SoftmaxRegression()

    def predict(self, x: Vector) -> int | None:
        """The most probable class, None before the first label."""
        said = self._model.predict_one(dict(enumerate(x.tolist())))
        return None if said is None else int(said)

    def learn(self, x: Vector, label: int) -> None:
        """One step of river's default SGD (rate 0.01)."""
        self._model.learn_one(dict(enumerate(x.tolist())), label)


class LDAOnCounts:
    """Streaming LDA on log counts: the strongest simple rival."""

    def __init__(self, classes: int, shrinkage: float) -> None:
        self._lda = StreamingLDA(classes, shrinkage)

    def predict(self, x: Vector) -> int | None:
        """The class of the highest discriminant score, None before the first label."""
        return int(self._lda.scores(x).argmax()) if self._lda.counts.any() else None

    def learn(self, x: Vector, label: int) -> None:
        """Update means and covariance."""
        self._lda.learn(x, label)


def make_baselines(classes: int) -> dict[str, Baseline]:
    """The baselines that look at labels and counts, by the names that reports use."""
    return {
        "no_change": NoChange(),
        "majority": MajorityClass(),
        "softmax_counts": SoftmaxOnCounts(),
        "lda_counts": LDAOnCounts(classes, shrinkage=0.2),
    }
