"""Streaming linear discriminant analysis: a classifier that learns from a second and never forgets.

Running class means and one shared within-class covariance, updated exactly one sample at a time
(Welford), nothing stored; the covariance is shrunk towards a multiple of the identity (Ledoit and
Wolf 2004). Its statistics do not depend on the order of samples. Used twice: as the second readout,
on firing rates, and as the strongest simple baseline, on event counts.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

Vector = NDArray[np.float64]


class StreamingLDA:
    """Linear discriminant with running statistics.

    Parameters
    ----------
    classes : number of classes.
    shrinkage : in (0, 1], weight of the identity in the covariance.

    Memory is features^2 + classes * features numbers, whatever the number of samples.
    """

    def __init__(self, classes: int, shrinkage: float = 0.1) -> None:
        self.shrinkage = shrinkage
        self.counts = np.zeros(classes)
        self.means = np.zeros((classes, 0))
        self.scatter = np.zeros((0, 0))
        self._weight: Vector | None = None
        self._bias = np.zeros(classes)
        self.known_means = 0

    def scores(self, x: Vector) -> Vector:
        """Log posterior of each class up to a constant, shape (classes,); -inf where never seen.

        x : features, shape (features,). All zeros before the first sample.
        """
        weight, bias = self.coefficients()
        return np.asarray(weight @ x + bias) if weight.size else bias

    def coefficients(self) -> tuple[Vector, Vector]:
        """Weights (classes, features) and biases (classes,) of the scores as they are now.

        Both zeros, of no features, before the first sample.
        """
        if not self.counts.any():
            return np.zeros((len(self.counts), 0)), np.zeros(len(self.counts))
        if self._weight is None:
            self._solve()
        assert self._weight is not None
        return self._weight, self._bias

    def learn(self, x: Vector, label: int) -> None:
        """Take in one sample, features x of class `label`."""
        if self.means.shape[1] != len(x):
            self.means = np.zeros((len(self.counts), len(x)))
            self.scatter = np.zeros((len(x), len(x)))
        self.counts[label] += 1
        before = x - self.means[label]
        self.means[label] += before / self.counts[label]
        self.scatter += np.outer(before, x - self.means[label])
        self._weight = None

    def decay(self, keep: float) -> None:
        """Count what was learned so far for no more than a share `keep` of what it was; 0: not.

        With a share the means stay, and move the faster; with 0 it is as if nothing was learned.
        """
        self.counts *= keep
        self.scatter *= keep
        self.known_means *= keep > 0
        self._weight = None

    def scale_counts(self, samples: float) -> None:
        """Count what was learned for so many samples, above 0, of each class that was seen.

        Means, covariance and thus scores stay as they are, but for the classes' frequencies, which
        become equal; what is learned from now on moves them the faster, the fewer these are.
        """
        before, seen = self._freedom(), self.counts > 0
        self.counts[seen] = samples
        self.known_means = int(np.count_nonzero(seen))
        self.scatter *= self._freedom() / before
        self._weight = None

    def load(self, other: StreamingLDA) -> None:
        """Take over the statistics of another, of as many classes or fewer."""
        known, features = other.means.shape
        self.counts = np.zeros(len(self.counts))
        self.counts[:known] = other.counts
        self.means = np.zeros((len(self.counts), features))
        self.means[:known] = other.means
        self.scatter = other.scatter.copy()
        self.known_means = other.known_means
        self._weight = None

    def _freedom(self) -> float:
        # A mean costs one sample's freedom, unless it was known when samples began to be counted.
        unknown = np.count_nonzero(self.counts) - self.known_means
        return float(max(self.counts.sum() - unknown, 1))

    def _solve(self) -> None:
        features = self.means.shape[1]
        freedom = self._freedom()
        covariance = self.scatter * ((1 - self.shrinkage) / freedom)
        variance = np.trace(self.scatter) / freedom / features
        covariance[np.diag_indices(features)] += self.shrinkage * variance + 1e-9
        factor = torch.linalg.cholesky(torch.from_numpy(covariance))
        weight = torch.cholesky_solve(torch.from_numpy(self.means.T.copy()), factor).T
        self._weight = weight.numpy().copy()
        seen = self.counts > 0
        prior = np.log(np.where(seen, self.counts, 1.0) / self.counts.sum())
        self._bias = np.where(seen, prior - 0.5 * (self.means * self._weight).sum(1), -np.inf)

    def state_bytes(self, features: int) -> int:
        """Bytes of the statistics of that many features."""
        classes = len(self.counts)
        return 8 * (features**2 + classes * features + classes)
