"""Baselines: known answers, before and after their first label."""

from __future__ import annotations

import numpy as np
import pytest

from streamstop.evaluation.baselines import (
    LDAOnCounts,
    MajorityClass,
    NoChange,
    SoftmaxOnCounts,
    log_counts,
    make_baselines,
)

X = np.zeros(3)


def test_no_change_repeats_the_last_label():
    rival = NoChange()
    said = []
    for label in (2, 2, 0, 1):
        said.append(rival.predict(X))
        rival.learn(X, label)
    assert said == [None, 2, 2, 0]


def test_majority_and_its_ties():
    rival, said = MajorityClass(), []
    for label in (2, 1, 1, 2, 2, 0):
        said.append(rival.predict(X))
        rival.learn(X, label)
    assert said == [None, 2, 1, 1, 1, 2]  # of equals the lowest


@pytest.mark.parametrize("name", ["no_change", "majority", "softmax_counts", "lda_counts"])
def test_before_the_first_label_there_is_no_answer(name):
    rival = make_baselines(3)[name]
    assert rival.predict(X) is None
    rival.learn(X, 1)
    assert rival.predict(X) == 1


@pytest.mark.parametrize(
    "rival", [SoftmaxOnCounts(), LDAOnCounts(3, 0.2)], ids=["softmax_counts", "lda"]
)
def test_learners_of_counts_learn(rival):
    draw = np.random.default_rng(0)
    hits = []
    for _ in range(90):
        label = int(draw.integers(3))
        x = draw.normal(size=6)
        x[2 * label] += 4
        hits.append(rival.predict(x) == label)
        rival.learn(x, label)
    assert np.mean(hits[-30:]) > 0.85


def test_log_counts_pools_32_to_16():
    counts = np.zeros((2, 32, 32), dtype=np.int64)
    counts[0, 0, 0], counts[0, 1, 1], counts[1, 31, 30] = 3, 4, 10
    features = log_counts(counts).reshape(2, 16, 16)
    assert features[0, 0, 0] == pytest.approx(np.log(8))
    assert features[1, 15, 15] == pytest.approx(np.log(11))
    assert np.count_nonzero(features) == 2


@pytest.mark.parametrize(
    ("height", "width", "length"), [(16, 16, 512), (8, 40, 256), (1, 1, 2), (33, 17, 512)]
)
def test_log_counts_of_any_size_loses_no_event(height, width, length):
    draw = np.random.default_rng(0)
    counts = draw.integers(0, 9, (2, height, width)).astype(np.int64)
    features = log_counts(counts)
    assert features.shape == (length,)
    assert np.expm1(features).sum() == pytest.approx(counts.sum())
