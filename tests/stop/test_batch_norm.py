"""Batch normalisation: torch's in each step, exact where a step is all there is, folded exactly."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers.nets import CLASSES, Case, build, by_rule, cosine, inputs, only, same_as_bptt, worst
from helpers.streams import NETWORK
from torch import Tensor
from torch.nn import functional

from streamstop.errors import UsageError
from streamstop.learning.learner import LearnerSpec, StopLearner
from streamstop.stop import bptt
from streamstop.stop.batch_gradients import batch_gradients
from streamstop.stop.batch_norm import EPSILON, MOMENTUM
from streamstop.stop.layer import LayerSpec, NeuronSpec
from streamstop.stop.losses import Loss
from streamstop.stop.network import Network

TOLERANCE = 1e-10

ONE = Case((2, 6, 5), (LayerSpec("conv", 4, pool=2),), norm="batch")
DEEP = Case(
    (2, 8, 8),
    (
        LayerSpec("conv", 5, pool=2),
        LayerSpec("block", 6, stride=2, residual="membrane"),
        LayerSpec("block", 4, stride=2),
        LayerSpec("linear", 9),
    ),
    norm="batch",
    batch=6,
)


def normalised(y: Tensor, p: dict[str, Tensor], name: str) -> Tensor:
    """torch's, of one step, by its own mean and variance."""
    scale, bias = p[f"{name}.scale"], p[f"{name}.bias"]
    return functional.batch_norm(y, None, None, scale, bias, training=True, eps=EPSILON)


def test_every_steps_current_is_torchs():
    network = build(ONE)
    (layer,), p = network.layers, network.parameters()
    network.reset_state(ONE.batch)
    u, s = torch.zeros_like(layer.state.v), torch.zeros_like(layer.state.spikes)
    for now in inputs(ONE)[0]:
        current = normalised(functional.conv2d(now, layer.weight, None, 1, 1), p, "conv1")
        u = layer.leak * (u - layer.theta * s) + current
        s = (u >= layer.theta).to(u.dtype)
        network.forward(now)
        torch.testing.assert_close(layer.state.v, u, rtol=1e-12, atol=1e-12)
        assert torch.equal(layer.state.spikes, s)


def test_running_statistics_follow_every_step_and_only_where_it_learns():
    """Of the variance as it is, not torch's estimate of a larger population's."""
    network = build(ONE)
    (layer,) = network.layers
    synapses = layer.synapses
    mean, variance = torch.zeros(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64)
    network.reset_state(ONE.batch)
    x, _ = inputs(ONE)
    for now in x:
        network.forward(now)
        y = functional.conv2d(now, layer.weight, None, 1, 1).transpose(0, 1).flatten(1)
        mean += MOMENTUM * (y.mean(1) - mean)
        variance += MOMENTUM * (y.var(1, correction=0) - variance)
        torch.testing.assert_close(synapses.normalisation.mean, mean, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(
            synapses.normalisation.variance, variance, rtol=1e-12, atol=1e-12
        )
    network.reset_state(ONE.batch)
    for now in x:
        network.forward(now, traces=False)
    torch.testing.assert_close(synapses.normalisation.mean, mean, rtol=1e-12, atol=1e-12)
    assert {"conv1.mean", "conv1.variance"} <= network.parameters().keys()
    assert not {"conv1.mean", "conv1.variance"} & network.grads.keys()
    assert "conv1.scale" in network.grads


def test_a_single_steps_gradients_are_autograds_through_torchs_own():
    """A convolution and a linear layer, written out with `torch.nn.functional.batch_norm`."""
    layers = (LayerSpec("conv", 4, pool=2), LayerSpec("linear", 8))
    case = Case((2, 6, 6), layers, norm="batch", bins=1, batch=7)
    network = build(case)
    x, labels = inputs(case)
    ours = by_rule(network, x, labels)
    p = {k: v.clone().requires_grad_() for k, v in network.parameters().items()}

    def spikes(u: Tensor, name: str) -> Tensor:
        over = u - torch.exp(p[f"{name}.log_theta"]).view(1, -1, 1, 1)
        fired, phi = (over.detach() >= 0).to(u.dtype), over.detach().abs().neg().exp()
        return fired + phi * (over - over.detach())

    with torch.enable_grad():
        y = functional.conv2d(x[0], p["conv1.weight"], None, 1, 1)
        s = functional.avg_pool2d(spikes(normalised(y, p, "conv1"), "conv1"), 2)
        y = functional.conv2d(s.reshape(7, -1, 1, 1), p["linear2.weight"])
        s = spikes(normalised(y, p, "linear2"), "linear2").flatten(1)
        logits = functional.linear(s, p["readout.weight"], p["readout.bias"])
        loss = functional.cross_entropy(logits, labels, reduction="sum")
        values = torch.autograd.grad(loss, list(p.values()), allow_unused=True)
    for name, value in zip(p, values, strict=True):
        if value is None:  # leaks have no past, running statistics no say
            assert name.endswith(("leak_logit", "mean", "variance"))
            assert name not in ours or not ours[name].any()
        else:
            torch.testing.assert_close(ours[name], value, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("readout", ["linear", "leaky_integrator", "spiking"])
@pytest.mark.parametrize("rule", ["stop", "sltt", "ottt"])
def test_a_single_step_of_a_deep_network_equals_bptt(rule, readout):
    """Through blocks and their ways: with one step, no rule drops anything."""
    case = DEEP._replace(bins=1, readout=readout, rule=rule)
    same_as_bptt(build(case), *inputs(case))


def test_over_many_steps_a_layer_is_exact_but_for_the_weights():
    """Their trace runs past each step's mean and variance, and takes them for this step's."""
    network = build(ONE._replace(bins=15))
    x, labels = inputs(ONE._replace(bins=15))
    ours, exact = by_rule(network, x, labels), bptt.grads(network, x, labels)
    differences = worst(ours, only(exact, ours))
    inexact = differences.pop("conv1.weight")
    assert max(differences.values()) < TOLERANCE, differences
    assert inexact > 1e-3
    assert cosine(ours["conv1.weight"], exact["conv1.weight"]) > 0.9


def test_rules_agree_on_loss_votes_and_running_statistics():
    found = {}
    for rule in ("stop", "ottt", "sltt", "bptt"):
        network = build(DEEP._replace(rule=rule))
        loss, votes = batch_gradients(network, *inputs(DEEP), Loss())
        kept = [v for k, v in network.parameters().items() if k.endswith(("mean", "variance"))]
        found[rule] = [loss, votes, *kept]
    for rule in ("ottt", "sltt", "bptt"):
        for one, other in zip(found["stop"], found[rule], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("readout", ["linear", "leaky_integrator", "spiking"])
@pytest.mark.parametrize("rule", ["stop", "bptt"])
def test_a_folded_network_predicts_what_the_whole_one_does(rule, readout):
    network = build(DEEP._replace(rule=rule, readout=readout))
    for seed in range(3):
        batch_gradients(network, *inputs(DEEP, seed), Loss())
    network.refresh()
    spec, parameters = network.folded()
    assert spec.neuron.normalization == "none"
    plain = Network(spec, 5, dtype=torch.float64)
    assert plain.parameters().keys() == parameters.keys()
    plain.load_parameters(parameters)
    network.reset_state(4)
    plain.reset_state(4)
    fired = 0.0
    for now in inputs(DEEP._replace(batch=4, bins=20), 9)[0]:
        whole, folded = network.forward(now, traces=False), plain.forward(now, traces=False)
        torch.testing.assert_close(folded, whole, rtol=1e-12, atol=1e-12)
        for one, other in zip(network.spikes(), plain.spikes(), strict=True):
            assert torch.equal(one, other)
            fired += float(one.sum())
    assert fired > 100


def test_folding_a_network_without_it_changes_nothing():
    network = build(ONE._replace(norm="weight_standardization"))
    spec, parameters = network.folded()
    assert spec == network.spec
    assert all(value is parameters[name] for name, value in network.parameters().items())


def test_a_stream_refuses_it_and_says_what_to_do():
    network = replace(NETWORK, neuron=NeuronSpec(normalization="batch"))
    with pytest.raises(
        UsageError, match=r'no batch: take "weight_standardization".*folded weights'
    ):
        StopLearner(network, LearnerSpec())


def test_a_step_is_of_all_samples_together():
    """One sample's normalisation depends on the others', as it must; without learning it does
    not."""
    network = build(ONE)
    x, _ = inputs(ONE)
    answers = []
    for traces in (True, False):
        for batch in (3, 2):
            network.reset_state(batch)
            answers.append(network.forward(x[0][:batch], traces=traces)[:2])
    torch.testing.assert_close(answers[2], answers[3], rtol=1e-12, atol=1e-12)
    assert not torch.equal(answers[0], answers[1])
    assert answers[0].shape == (2, CLASSES)
