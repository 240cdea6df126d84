"""What fights forgetting: classes that the loss compares, rates of rows, and beginning anew."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.streams import CLASSES, LEARNERS, NETWORK, Stream, lead, stream, weights_of

from streamstop.learning.learner import LearnerSpec, StopLearner
from streamstop.stop.losses import Loss

READOUTS = ("linear", "leaky_integrator", "spiking")
every_readout = pytest.mark.parametrize("readout", READOUTS)

SWITCHED = {
    "seen": replace(LEARNERS["segment"], loss_classes="seen"),
    "present, step": replace(LEARNERS["step"], loss_classes="recent", recent_segments=3),
    "rates": replace(LEARNERS["segment"], class_lr_decay=0.5, other_class_lr_scale=0.5),
    "rates, step": replace(
        LEARNERS["step, every 3"], loss_classes="seen", class_lr_decay=0.2, other_class_lr_scale=0.5
    ),
}
every_switch = pytest.mark.parametrize("spec", SWITCHED.values(), ids=SWITCHED.keys())


def of(labels: list[int], bins: int = 6) -> Stream:
    """Noise with these labels."""
    return stream(len(labels), bins, signal=False)._replace(labels=labels)


def learner_of(spec: LearnerSpec, readout: str = "linear", **changes: Any) -> StopLearner:
    network = replace(NETWORK, readout=readout)  # type: ignore[arg-type]
    return StopLearner(network, replace(spec, **changes), dtype=torch.float64)


def rows_of(learner: StopLearner) -> torch.Tensor:
    """Weights and bias of the readout, a row a class."""
    p = learner.network.parameters()
    return torch.cat([p["readout.weight"].flatten(1), p["readout.bias"].view(-1, 1)], 1).clone()


def taught(learner: StopLearner, one: Stream) -> StopLearner:
    lead(learner, one._replace(x=one.x.double()))
    return learner


def moved(learner: StopLearner, one: Stream) -> list[int]:
    """The classes whose rows move in a stream."""
    before = rows_of(learner)
    return (rows_of(taught(learner, one)) != before).any(1).nonzero().flatten().tolist()


@pytest.mark.parametrize("kind", ["ce", "half_mse", "mean_ce_mse"])
def test_a_loss_among_some_classes_is_that_of_them_alone(kind):
    loss, logits = Loss(kind, label_smoothing=0.1, classes=(0, 2, 3)), torch.randn(2, 5).double()
    logits.requires_grad_()
    target = loss.target(torch.tensor([2, 0]), 5, torch.float64)
    assert target.sum(1).tolist() == pytest.approx([1.0, 1.0])
    assert not target[:, [1, 4]].any()
    value, error = loss.loss_and_grad(logits, target)
    kept = replace(loss, classes=()).target(torch.tensor([1, 0]), 3, torch.float64)
    alone = replace(loss, classes=()).loss_and_grad(logits[:, [0, 2, 3]], kept)[0]
    assert value.item() == pytest.approx(alone.item())
    torch.testing.assert_close(error, torch.autograd.grad(value, logits)[0])


@every_readout
@pytest.mark.parametrize("rule", ["stop", "ottt", "sltt", "bptt"])
def test_rows_of_classes_never_named_stand_still(rule, readout):
    learner = learner_of(LEARNERS["segment"], readout, rule=rule, loss_classes="seen")
    assert moved(learner, of([2])) == []  # one class alone teaches nothing
    assert moved(learner, of([0])) == [0, 2]
    assert moved(learner, of([3, 3])) == [0, 2, 3]
    plain = learner_of(LEARNERS["segment"], readout, rule=rule)
    assert moved(plain, of([2])) == [0, 1, 2, 3]


def test_rows_of_classes_long_unnamed_stand_still():
    learner = learner_of(
        LEARNERS["segment"], loss_classes="recent", recent_segments=2, betas=(0.0, 0.9)
    )
    taught(learner, of([0, 1]))
    assert moved(learner, of([2])) == [0, 1, 2]
    assert moved(learner, of([2])) == [1, 2]
    assert moved(learner, of([2])) == []
    assert moved(learner, of([0])) == [0, 2]


def test_it_decides_among_the_classes_that_it_knew_when_the_segment_began():
    learner, one = learner_of(LEARNERS["step"], loss_classes="seen"), of([0, 2, 1])
    taught(learner, one._replace(x=one.x[:2], labels=[0, 2]))
    learner.begin_segment()
    x = one.x[2].double()
    said = learner.predict(x[0], trace=True).log_probs
    learner.learn(1)
    later = learner.predict(x[1], trace=True).log_probs
    for log_probabilities in (said, later, learner.predict_segment().linear):
        assert np.isneginf(log_probabilities[[1, 3]]).all()
    assert np.exp(said).sum() == pytest.approx(1.0)
    learner.end_segment()
    learner.begin_segment()
    assert np.isfinite(learner.predict(x[0], trace=False).log_probs).tolist() == [1, 1, 1, 0]


def test_what_nothing_was_learned_of_may_be_anything():
    learner = learner_of(LEARNERS["segment"], loss_classes="seen")
    assert np.isfinite(learner.predict(of([0]).x[0, 0].double(), trace=False).log_probs).all()
    learner.mark_classes_seen([1, 3])
    learner.begin_segment()
    said = learner.predict(of([0]).x[0, 0].double(), trace=False).log_probs
    assert np.isfinite(said).tolist() == [False, True, False, True]


@every_readout
def test_rows_cool_with_the_segments_of_their_class(readout):
    """Beside the same optimiser with rows that do not: full, then a half, then a third."""
    still = replace(LEARNERS["segment"], trainable=(), betas=(0.0, 0.9), lr_readout=1e-6)
    plain, cooled = learner_of(still, readout), learner_of(still, readout, class_lr_decay=1.0)
    for n, label in enumerate([1, 1, 1], start=1):
        full, part = (-rows_of(one) + rows_of(taught(one, of([label]))) for one in (plain, cooled))
        torch.testing.assert_close(part[1] * n, full[1], rtol=1e-3, atol=1e-9)
        torch.testing.assert_close(part[0], full[0], rtol=1e-3, atol=1e-9)


def test_rows_of_other_classes_move_by_their_share():
    spec = replace(LEARNERS["segment"], trainable=())
    plain, share, none = (
        learner_of(spec, other_class_lr_scale=others) for others in (1.0, 0.25, 0.0)
    )
    start = rows_of(plain)
    steps = [rows_of(taught(one, of([2]))) - start for one in (plain, share, none)]
    for one, part in zip(steps, (1.0, 0.25, 0.0), strict=True):
        torch.testing.assert_close(one[2], steps[0][2])
        torch.testing.assert_close(one[[0, 1, 3]], steps[0][[0, 1, 3]] * part)


@every_switch
def test_a_label_changes_nothing_said_of_its_segment_or_before(spec):
    one = stream(6)
    labels = [*one.labels[:3], (one.labels[3] + 1) % CLASSES, *one.labels[4:]]
    a, b = (lead(StopLearner(NETWORK, spec), s) for s in (one, one._replace(labels=labels)))
    assert (a.bins[:4], a.linear[:4], a.lda[:4]) == (b.bins[:4], b.linear[:4], b.lda[:4])
    assert a.bins[4] != b.bins[4]


@every_switch
def test_it_learns_what_there_is_to_learn(spec):
    hits = lead(StopLearner(NETWORK, spec), stream(90)).hits
    assert np.mean(hits[-30:]) > 0.7


@every_switch
def test_after_starting_over_it_is_as_new(spec):
    learner, fresh, one = StopLearner(NETWORK, spec, 3), StopLearner(NETWORK, spec, 3), stream(5)
    lead(learner, stream(4, seed=7))
    assert weights_of(learner) != weights_of(fresh)
    learner.reinitialize()
    assert lead(learner, one) == lead(fresh, one)


def test_the_counts_are_kept_of_labels_alone():
    learner = learner_of(SWITCHED["seen"])
    taught(learner, of([1, 1, 3]))
    learner.begin_segment()
    learner.predict(of([0]).x[0, 0].double(), trace=False)
    learner.end_segment()
    assert learner.counts.tolist() == [0, 2, 0, 1]
