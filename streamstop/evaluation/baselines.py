"""Baselines that are scored beside the learner, in the same test-then-train order.

`predict` returns a class index, or None where the baseline has seen no label yet (which counts as
wrong); `learn` follows.

Guarantees:

- Memory depends on the number of features and classes, not of segments.
"""

from __future__ import annotations

from collections import Counter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from river import linear_model, preprocessing

from streamstop.learning.lda import StreamingLDA, Vector

POOLED_SIDE = 16
"""Counts are pooled to at most this many rows and columns."""


def log_counts(counts: NDArray[np.int64]) -> Vector:
    """Features of the counting baselines: log(1 + pooled event counts) of a whole segment.

    Parameters
    ----------
    counts : ndarray of shape (2, height, width)
        Event counts, summed over the bins of the segment.

    Returns
    -------
    ndarray of shape (2 * min(height, 16) * min(width, 16),)
        The features.
    """
    for axis in (1, 2):
        edges = np.linspace(0, counts.shape[axis], min(counts.shape[axis], POOLED_SIDE) + 1)
        counts = np.add.reduceat(counts, edges[:-1].astype(np.intp), axis=axis)
    return np.log1p(counts.astype(np.float64)).ravel()


class Baseline(Protocol):
    """What a baseline provides: predict a segment's class from log counts, then learn its label."""

    def predict(self, x: Vector) -> int | None:
        """Predict the class of a segment from its features; None before the first label."""
        ...

    def learn(self, x: Vector, label: int) -> None:
        """Learn a segment's label."""
        ...


class NoChange:
    """Predicts the label of the previous segment."""

    def __init__(self) -> None:
        self._last: int | None = None

    def predict(self, x: Vector) -> int | None:
        """The last label learned; `x` is not used."""
        return self._last

    def learn(self, x: Vector, label: int) -> None:
        """Keep `label`."""
        self._last = label


class MajorityClass:
    """Predicts the most frequent label so far; on a tie, the lowest index."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def predict(self, x: Vector) -> int | None:
        """The most frequent label learned; `x` is not used."""
        if not self._counts:
            return None
        return min(self._counts, key=lambda label: (-self._counts[label], label))

    def learn(self, x: Vector, label: int) -> None:
        """Count `label`."""
        self._counts[label] += 1


class SoftmaxOnCounts:
    """River's softmax regression on log counts that are standardised online."""

    def __init__(self) -> None:
        self._model = preprocessing.StandardScaler() | linear_model.SoftmaxRegression()

    def predict(self, x: Vector) -> int | None:
        """The most probable class, None before the first label."""
        predicted = self._model.predict_one(dict(enumerate(x.tolist())))
        return None if predicted is None else int(predicted)

    def learn(self, x: Vector, label: int) -> None:
        """One step of river's default SGD (rate 0.01)."""
        self._model.learn_one(dict(enumerate(x.tolist())), label)


class LDAOnCounts:
    """Streaming LDA on log counts, the strongest of these baselines."""

    def __init__(self, classes: int, shrinkage: float) -> None:
        self._lda = StreamingLDA(classes, shrinkage)

    def predict(self, x: Vector) -> int | None:
        """The class with the highest LDA score, None before the first label."""
        return int(self._lda.scores(x).argmax()) if self._lda.counts.any() else None

    def learn(self, x: Vector, label: int) -> None:
        """Update means and covariance."""
        self._lda.learn(x, label)


def make_baselines(classes: int) -> dict[str, Baseline]:
    """A new baseline of each kind, by its name in summary.json."""
    return {
        "no_change": NoChange(),
        "majority": MajorityClass(),
        "softmax_counts": SoftmaxOnCounts(),
        "lda_counts": LDAOnCounts(classes, shrinkage=0.2),
    }
