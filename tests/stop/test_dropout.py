"""Dropout: one mask a sequence, while learning alone, repeatable, shared by processes, exact."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.nets import Case, build, by_rule, inputs, worst
from helpers.streams import CLASSES, LEARNERS, NETWORK, stream
from torch.nn import functional

from streamstop.learning.learner import LearnerSpec, StopLearner
from streamstop.stop import bptt
from streamstop.stop.batch_gradients import batch_gradients
from streamstop.stop.layer import LayerSpec
from streamstop.stop.losses import Loss
from streamstop.stop.network import Network

TOLERANCE = 1e-10

P = 0.3
ONE = Case((2, 6, 6), (LayerSpec("conv", 4, pool=2, dropout=P),))
LAYERS = {
    "a convolution, pooled": ONE.layers,
    "a linear layer": (LayerSpec("linear", 20, dropout=P),),
    "deep": (
        LayerSpec("conv", 5, pool=2, dropout=P),
        LayerSpec("conv", 6, pool=3, pooling="max", dropout=0.1),
        LayerSpec("linear", 15, dropout=0.5),
    ),
    "blocks": (
        LayerSpec("block", 4, dropout=P),
        LayerSpec("block", 6, stride=2, residual="membrane", dropout=P),
    ),
}


def masks(network: Network) -> list[torch.Tensor]:
    return [layer.mask for layer in network.layers if layer.mask is not None]


def test_one_mask_holds_for_the_sequence_and_scales_what_it_lets_through():
    network = build(ONE)
    (layer,) = network.layers
    network.reset_state(3)
    assert layer.mask is None
    x, _ = inputs(ONE)
    pooled = functional.avg_pool2d
    for now in x:
        network.forward(now)
        mask = layer.mask
        assert mask.shape == (3, *layer.out_shape)
        assert set(mask.unique().tolist()) == {0.0, 1 / (1 - P)}
        whole = pooled(layer.state.spikes, 2) * mask
        torch.testing.assert_close(network.features, whole.flatten(1), rtol=1e-12, atol=0)
    first = masks(network)[0]
    assert mask is first
    network.reset_state(3)
    network.forward(x[0])
    assert not torch.equal(layer.mask, first)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_share_silenced_is_that_asked_for_and_the_mean_stays(p):
    case = Case((1, 2, 2), (LayerSpec("linear", 5000, dropout=p),), batch=4)
    network = build(case)
    network.reset_state(4)
    network.forward(inputs(case)[0][0])
    (mask,) = masks(network)
    assert float((mask == 0).double().mean()) == pytest.approx(p, abs=0.015)
    assert float(mask.mean()) == pytest.approx(1.0, abs=0.15 if p == 0.9 else 0.03)


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS.keys())
def test_what_only_predicts_silences_nothing(layers):
    """It says what a network without dropout says, before and after it has learned."""
    case = Case((2, 6, 6), layers)
    network = build(case)
    spec = replace(network.spec, layers=tuple(one._replace(dropout=0.0) for one in layers))
    plain = Network(spec, 0, dtype=torch.float64)
    plain.load_parameters(network.parameters())
    x, labels = inputs(case)
    for _ in range(2):
        network.reset_state(3)
        plain.reset_state(3)
        for now in x:
            assert torch.equal(network.forward(now, traces=False), plain.forward(now, False))
        by_rule(network, x, labels)
    network.reset_state(3)
    plain.reset_state(3)
    assert not all(torch.equal(network.forward(now), plain.forward(now)) for now in x)


def test_predicting_draws_no_mask():
    network = build(ONE)
    before = network.masks.get_state()
    network.reset_state(3)
    for now in inputs(ONE)[0]:
        network.forward(now, traces=False)
    assert torch.equal(network.masks.get_state(), before)
    network.forward(inputs(ONE)[0][0])
    assert not torch.equal(network.masks.get_state(), before)


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS.keys())
def test_masks_can_be_had_again(layers):
    """From the seed, and from the generator's state as a checkpoint keeps it."""
    case = Case((2, 6, 6), layers)
    x, labels = inputs(case)
    one, other = build(case), build(case)
    by_rule(one, x, labels)
    state = one.masks.get_state()
    second = by_rule(one, x, labels)
    drawn = [mask.clone() for mask in masks(one)]
    for _ in range(2):
        again = by_rule(other, x, labels)
    assert all(torch.equal(a, b) for a, b in zip(drawn, masks(other), strict=True))
    one.masks.set_state(state)
    once_more = by_rule(one, x, labels)
    for name, grad in second.items():
        assert torch.equal(grad, again[name])
        assert torch.equal(grad, once_more[name])


@pytest.mark.parametrize("readout", ["linear", "leaky_integrator", "spiking"])
@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS.keys())
def test_gradients_are_the_references_under_the_same_masks(layers, readout):
    case = Case((2, 6, 6), layers, readout=readout)
    network = build(case)
    x, labels = inputs(case)
    ours = by_rule(network, x, labels)
    assert masks(network)
    cut = bptt.grads(network, x, labels, same_step_only=True)
    cut = {name: grad for name, grad in cut.items() if name in ours}
    assert max(worst(ours, cut).values()) < TOLERANCE
    for layer in network.layers:
        layer.mask = None
    without = bptt.grads(network, x, labels, same_step_only=True)
    differences = worst(ours, {name: without[name] for name in ours})
    assert min(v for k, v in differences.items() if k.endswith("weight")) > 1e-3


def test_what_is_silenced_gets_no_error():
    network = build(ONE._replace(layers=(LayerSpec("linear", 30, dropout=0.5),), batch=1))
    case = ONE._replace(batch=1)
    x, labels = inputs(case)
    grads = by_rule(network, x, labels)
    silent = (masks(network)[0] == 0).flatten()
    assert 5 < int(silent.sum()) < 25
    assert not grads["linear1.weight"][silent].any()
    assert not grads["linear1.bias"][silent].any()
    assert not grads["readout.weight"][:, silent].any()
    assert bool(grads["linear1.bias"][~silent].all())


@pytest.mark.parametrize("rule", ["stop", "sltt", "ottt", "bptt"])
def test_shares_of_a_batch_have_its_masks_and_its_gradients(rule):
    """Processes that share a batch draw for all of it: their gradients sum to those of one."""
    case = Case((2, 6, 6), LAYERS["deep"], batch=5, rule=rule)
    x, labels = inputs(case)
    network = build(case)
    whole = by_rule(network, x, labels)
    drawn = [mask.clone() for mask in masks(network)]
    total = {name: torch.zeros_like(grad) for name, grad in whole.items()}
    losses = 0.0
    for first, last in ((0, 2), (2, 5)):
        share = build(case)
        loss, votes = batch_gradients(
            share, x[:, first:last], labels[first:last], Loss(), sample_offset=first, batch_size=5
        )
        assert votes.shape == (last - first, 5)
        losses += float(loss)
        for mine, all_of_them in zip(masks(share), drawn, strict=True):
            assert torch.equal(mine, all_of_them[first:last])
        assert torch.equal(share.masks.get_state(), network.masks.get_state())
        for name, grad in share.grads.items():
            total[name] += grad
    for name, grad in whole.items():
        torch.testing.assert_close(total[name], grad, rtol=1e-10, atol=1e-12)
    again, _ = batch_gradients(build(case), x, labels, Loss())
    assert losses == pytest.approx(float(again), rel=1e-12)


SILENCED = replace(NETWORK, layers=(LayerSpec("conv", 6, pool=2, dropout=0.4),))


@pytest.mark.parametrize("name", ["segment", "step", "segment, slow"])
def test_a_learner_with_dropout_decides_with_all_its_neurons(name):
    """A shadow without masks, with the weights of the segment's beginning, says every bin."""
    learner, one = StopLearner(SILENCED, LEARNERS[name]), stream(4)
    assert learner.inference_network is not learner.network
    for segment, label in zip(one.x, one.labels, strict=True):
        copy = Network(NETWORK, seed=99, learn="")
        copy.load_parameters(
            {k: v.clone() for k, v in learner.inference_network.parameters().items()}
        )
        learner.begin_segment()
        votes = np.zeros(CLASSES)
        for x in segment:
            said = learner.predict(x, trace=True).log_probs
            learner.learn(label)
            alone = functional.log_softmax(copy.forward(x, False), 1)[0].double().numpy()
            assert said.tobytes() == alone.tobytes()
            votes += alone
        assert masks(learner.network)
        assert not masks(learner.inference_network)
        decision = learner.predict_segment()
        assert decision.linear.tobytes() == (votes / len(segment)).tobytes()
        learner.update_lda(decision.rates, label)
        learner.end_segment()


def test_a_learner_needs_no_shadow_without_it():
    assert StopLearner(NETWORK, LearnerSpec()).inference_network is not None
    plain = StopLearner(NETWORK, LearnerSpec())
    assert plain.inference_network is plain.network
    naive = StopLearner(SILENCED, LearnerSpec(predict_while_training=True))
    assert naive.inference_network is naive.network
