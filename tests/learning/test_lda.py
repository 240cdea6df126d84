"""Streaming LDA against the batch formula, and what holds before there is much to know."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from streamstop.learning.lda import StreamingLDA


def samples(n: int = 60, features: int = 6, classes: int = 3) -> tuple[NDArray, NDArray]:
    """Correlated features, classes of unequal size."""
    draw = np.random.default_rng(0)
    labels = draw.choice(classes, n, p=np.arange(1, classes + 1) / sum(range(classes + 1)))
    mixing = draw.normal(size=(features, features))
    x = (
        draw.normal(size=(n, features)) @ mixing
        + 2.0 * draw.normal(size=(classes, features))[labels]
    )
    return x + 5.0, labels


def learned(x: NDArray, labels: NDArray, classes: int, shrinkage: float) -> StreamingLDA:
    lda = StreamingLDA(classes, shrinkage)
    for one, label in zip(x, labels, strict=True):
        lda.learn(one, int(label))
    return lda


def batch_scores(
    x: NDArray, labels: NDArray, classes: int, shrinkage: float, at: NDArray
) -> NDArray:
    """The textbook: within-class covariance of all samples at once, solved by `inv`."""
    seen = [c for c in range(classes) if (labels == c).any()]
    means = np.array([x[labels == c].mean(0) for c in seen])
    centred = np.concatenate([x[labels == c] - x[labels == c].mean(0) for c in seen])
    covariance = centred.T @ centred / (len(x) - len(seen))
    target = np.trace(covariance) / x.shape[1] * np.eye(x.shape[1])
    covariance = (1 - shrinkage) * covariance + shrinkage * target
    inverse = np.linalg.inv(covariance)
    scores = np.full(classes, -np.inf)
    for c, mean in zip(seen, means, strict=True):
        prior = np.log((labels == c).mean())
        scores[c] = mean @ inverse @ at - mean @ inverse @ mean / 2 + prior
    return scores


@pytest.mark.parametrize("shrinkage", [0.05, 0.2, 1.0])
def test_equals_batch_lda(shrinkage):
    x, labels = samples()
    lda = learned(x, labels, 3, shrinkage)
    for at in x[:5] + 0.3:
        expected = batch_scores(x, labels, 3, shrinkage, at)
        np.testing.assert_allclose(lda.scores(at), expected, rtol=1e-6)
        # the covariance's floor of 1e-9 is all that lies between the two


def test_equals_batch_lda_after_every_sample():
    """Asked after each sample, the answer never lags behind what was learned."""
    x, labels = samples()
    lda = StreamingLDA(3, 0.2)
    for i, (one, label) in enumerate(zip(x, labels, strict=True)):
        lda.learn(one, int(label))
        if i >= 10:
            expected = batch_scores(x[: i + 1], labels[: i + 1], 3, 0.2, x[0])
            np.testing.assert_allclose(lda.scores(x[0]), expected, rtol=1e-6)


def test_order_does_not_matter():
    x, labels = samples()
    at = x.mean(0)
    first = learned(x, labels, 3, 0.1).scores(at)
    by_class = np.argsort(labels, kind="stable")
    for order in (by_class, by_class[::-1], np.random.default_rng(1).permutation(len(x))):
        again = learned(x[order], labels[order], 3, 0.1).scores(at)
        np.testing.assert_allclose(again, first, rtol=1e-9, atol=1e-9)


def test_old_classes_are_not_forgotten():
    x, labels = samples()
    lda = learned(x[labels < 2], labels[labels < 2], 3, 0.1)
    means = lda.means[:2].copy()
    for one in x[labels == 2]:
        lda.learn(one, 2)
    assert np.array_equal(lda.means[:2], means)


def test_before_any_sample_all_classes_are_equal():
    assert StreamingLDA(4).scores(np.ones(3)).tolist() == [0.0] * 4


def test_a_class_never_seen_is_never_chosen():
    x, labels = samples()
    lda = learned(x[labels != 1], labels[labels != 1], 3, 0.1)
    scores = lda.scores(x[labels == 1][0])
    assert scores[1] == -np.inf
    assert np.isfinite(scores[[0, 2]]).all()


def test_one_sample_a_class_is_enough_to_answer():
    """No within-class scatter at all: the nearest mean wins, nothing is NaN."""
    lda = StreamingLDA(3, 0.1)
    for label, x in enumerate(np.eye(3)):
        lda.learn(x, label)
        assert not np.isnan(lda.scores(np.ones(3))).any()
    for label, x in enumerate(np.eye(3)):
        assert lda.scores(x + 0.1).argmax() == label


def test_identical_samples_and_dead_features():
    lda = StreamingLDA(2, 0.0)
    for _ in range(3):
        lda.learn(np.array([0.0, 1.0, 0.0]), 0)
        lda.learn(np.array([0.0, 2.0, 0.0]), 1)
    assert lda.scores(np.array([0.0, 1.1, 0.0])).argmax() == 0
    assert lda.scores(np.array([0.0, 1.9, 0.0])).argmax() == 1


def test_memory_does_not_grow_with_samples():
    x, labels = samples()
    lda = learned(x[:2], labels[:2], 3, 0.1)
    for one, label in zip(x, labels, strict=True):
        held = lda.counts.size + lda.means.size + lda.scatter.size
        assert lda.state_bytes(6) == 8 * held == 8 * (6 * 6 + 3 * 6 + 3)
        lda.learn(one, int(label))


@pytest.mark.parametrize("number", [0.5, 1, 4, 100])
def test_what_was_learned_counts_for_as_many_samples_as_said(number: float) -> None:
    x, labels = samples()
    lda, at = learned(x, labels, 3, 0.2), x[0] + 0.3
    before = lda.scores(at) - np.log(lda.counts / lda.counts.sum())
    mean = lda.means[1].copy()
    lda.scale_counts(number)
    np.testing.assert_allclose(lda.scores(at) - np.log(1 / 3), before)  # but for the frequencies
    lda.learn(at, 1)
    np.testing.assert_allclose(lda.means[1], mean + (at - mean) / (number + 1))


@pytest.mark.parametrize("number", [0.5, 1, 10])
def test_the_covariance_keeps_its_size_under_more_of_the_same(number: float) -> None:
    x, labels = samples(n=3_000)
    lda = learned(x, labels, 3, 0.2)
    lda.scale_counts(number)
    size = np.trace(lda.scatter) / lda._freedom()
    for n, (one, label) in enumerate(zip(x, labels, strict=True), start=1):
        lda.learn(one, int(label))
        if n in (30, 300, 3_000):
            assert np.trace(lda.scatter) / lda._freedom() == pytest.approx(size, rel=0.25)


def test_classes_never_seen_stay_unseen_when_the_others_are_weighed() -> None:
    lda = learned(np.eye(4), np.array([0, 0, 2, 2]), 3, 0.1)
    lda.scale_counts(1)
    assert lda.counts.tolist() == [1, 0, 1]
    assert lda.scores(np.ones(4))[1] == -np.inf
