"""Streaming linear discriminant analysis (LDA): a classifier that does not forget.

Running class means and one shared within-class covariance, updated exactly with one sample at a
time (Welford); no samples are stored. The covariance is shrunk towards a multiple of the identity
[1]_. It serves as the second readout, on firing rates, and as a baseline, on event counts; as
SLDA it is known from continual learning [2]_.

Guarantees:

- The statistics do not depend on the order of samples.
- Memory is features^2 + classes * features numbers, whatever the number of samples.

References
----------
.. [1] Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices",
   Journal of Multivariate Analysis 88, 2004.
.. [2] Hayes and Kanan, "Lifelong machine learning with deep streaming linear discriminant
   analysis", CVPR workshops 2020.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

Vector = NDArray[np.float64]


class StreamingLDA:
    """Linear discriminant analysis with running statistics.

    Parameters
    ----------
    classes : int
        Number of classes.
    shrinkage : float
        In (0, 1], weight of the identity in the covariance.

    Examples
    --------
    >>> lda = StreamingLDA(2)
    >>> for x, label in (([0.0, 1.0], 0), ([0.2, 0.9], 0), ([1.0, 0.0], 1), ([0.9, 0.3], 1)):
    ...     lda.learn(np.array(x), label)
    >>> int(lda.scores(np.array([0.8, 0.1])).argmax())
    1
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
        """Log posterior of each class, up to a constant.

        Parameters
        ----------
        x : ndarray of shape (features,)
            The features.

        Returns
        -------
        ndarray of shape (classes,)
            The scores; -inf for classes never seen, all zeros before the first sample.
        """
        weight, bias = self.coefficients()
        return np.asarray(weight @ x + bias) if weight.size else bias

    def coefficients(self) -> tuple[Vector, Vector]:
        """Current weights (classes, features) and biases (classes,) of the scores.

        Before the first sample the biases are zeros, and the weights have no features.
        """
        if not self.counts.any():
            return np.zeros((len(self.counts), 0)), np.zeros(len(self.counts))
        if self._weight is None:
            self._solve()
        assert self._weight is not None
        return self._weight, self._bias

    def learn(self, x: Vector, label: int) -> None:
        """Update the statistics with one sample, features `x` of class `label`."""
        if self.means.shape[1] != len(x):
            self.means = np.zeros((len(self.counts), len(x)))
            self.scatter = np.zeros((len(x), len(x)))
        self.counts[label] += 1
        before = x - self.means[label]
        self.means[label] += before / self.counts[label]
        self.scatter += np.outer(before, x - self.means[label])
        self._weight = None

    def decay(self, keep: float) -> None:
        """Reduce the weight of all past samples to a fraction `keep`.

        The means stay, and later samples move them faster; with 0 everything is forgotten.
        """
        self.counts *= keep
        self.scatter *= keep
        self.known_means *= keep > 0
        self._weight = None

    def scale_counts(self, samples: float) -> None:
        """Let past samples count as `samples` (above 0) of each class that was seen.

        Means and covariance stay, class frequencies become equal. The fewer samples, the faster
        later samples move the statistics.
        """
        before, seen = self._freedom(), self.counts > 0
        self.counts[seen] = samples
        self.known_means = int(np.count_nonzero(seen))
        self.scatter *= self._freedom() / before
        self._weight = None

    def load(self, other: StreamingLDA) -> None:
        """Copy the statistics of another LDA, which has as many classes or fewer."""
        known, features = other.means.shape
        self.counts = np.zeros(len(self.counts))
        self.counts[:known] = other.counts
        self.means = np.zeros((len(self.counts), features))
        self.means[:known] = other.means
        self.scatter = other.scatter.copy()
        self.known_means = other.known_means
        self._weight = None

    def _freedom(self) -> float:
        # A mean costs one degree of freedom, unless it was known before samples were counted.
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
        """Bytes of the statistics for this number of features."""
        classes = len(self.counts)
        return 8 * (features**2 + classes * features + classes)
