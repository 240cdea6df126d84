"""Causal, and honest: nothing said of a segment knows its label, and the naive score shows why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.streams import CLASSES, LEARNERS, NETWORK, Stream, lead, stream

from streamstop.learning.learner import LearnerSpec, StopLearner

every_way = pytest.mark.parametrize("spec", LEARNERS.values(), ids=LEARNERS.keys())
NAIVE = replace(LEARNERS["step"], predict_while_training=True)


def with_other_label(one: Stream, segment: int) -> Stream:
    labels = list(one.labels)
    labels[segment] = (labels[segment] + 1) % CLASSES
    return one._replace(labels=labels)


@every_way
def test_a_later_bin_changes_nothing_before_it(spec):
    one = stream(5)
    other = one._replace(x=one.x.clone())
    other.x[3, 6] += 1.0
    a, b = (lead(StopLearner(NETWORK, spec), s) for s in (one, other))
    assert a.bins[:3] == b.bins[:3]
    assert a.bins[3][:6] == b.bins[3][:6]
    assert (a.linear[:3], a.lda[:3], a.weights[:3]) == (b.linear[:3], b.lda[:3], b.weights[:3])
    assert a.bins[3][6] != b.bins[3][6]  # and the change is one that is felt
    assert a.linear[3] != b.linear[3]
    assert a.weights[3] != b.weights[3]


@every_way
def test_a_label_changes_nothing_said_of_its_segment_or_before(spec):
    one = stream(5)
    a, b = (lead(StopLearner(NETWORK, spec), s) for s in (one, with_other_label(one, 3)))
    assert a.bins[:4] == b.bins[:4]
    assert (a.linear[:4], a.lda[:4]) == (b.linear[:4], b.lda[:4])
    assert a.weights[:3] == b.weights[:3]
    assert a.weights[3] != b.weights[3]
    assert a.bins[4] != b.bins[4]
    assert a.lda[4] != b.lda[4]


def test_the_naive_learner_does_know_its_label():
    """The test above can fail: deciding with the weights being trained breaks it."""
    one = stream(5)
    a, b = (lead(StopLearner(NETWORK, NAIVE), s) for s in (one, with_other_label(one, 3)))
    assert a.bins[3][0] == b.bins[3][0]
    assert a.bins[3][1:] != b.bins[3][1:]
    assert a.linear[3] != b.linear[3]


def accuracy(spec: LearnerSpec, seeds: int, *, signal: bool, segments: int = 50) -> list[float]:
    runs = []
    for seed in range(seeds):
        one = stream(segments, bins=15, seed=seed, signal=signal)
        runs.append(float(np.mean(lead(StopLearner(NETWORK, spec, seed), one).hits)))
    return runs


@every_way
def test_on_random_labels_an_honest_score_is_chance(spec):
    """150 decisions over 3 seeds: chance is 0.25, its standard deviation 0.035."""
    runs = accuracy(spec, 3, signal=False)
    assert np.mean(runs) < 0.25 + 4 * 0.035, runs
    assert max(runs) < 0.5, runs


def test_on_random_labels_the_naive_score_lies():
    runs = accuracy(NAIVE, 3, signal=False)
    assert np.mean(runs) > 0.8, runs
    assert min(runs) > 0.6, runs


def test_the_naive_score_is_above_the_honest_one():
    """Where there is a signal too: same stream, same training, only the deciding weights differ."""
    naive = accuracy(NAIVE, 3, signal=True, segments=25)
    honest = accuracy(LEARNERS["step"], 3, signal=True, segments=25)
    assert all(n > h + 0.1 for n, h in zip(naive, honest, strict=True)), (naive, honest)


def test_naive_and_honest_train_the_same_weights():
    """The shadow decides; it does not teach."""
    one, readouts = stream(4), []
    for spec in (NAIVE, LEARNERS["step"]):
        learner = StopLearner(NETWORK, spec)
        lead(learner, one)
        readouts.append([v.numpy().tobytes() for v in learner.network.parameters().values()])
    assert readouts[0] == readouts[1]
