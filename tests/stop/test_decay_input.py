"""A gain that follows the leak: exact where the rule is, for every rule, and 1 at first."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers.nets import Case, build, inputs, only, same_as_bptt, stop_grads, worst

from streamstop.learning.learner import LearnerSpec, StopLearner
from streamstop.stop import bptt
from streamstop.stop.batch_gradients import batch_gradients
from streamstop.stop.cost import network_cost
from streamstop.stop.layer import LayerSpec, decay_input_gain
from streamstop.stop.losses import Loss
from streamstop.stop.network import Network

CONV, POOLED, LINEAR = LayerSpec("conv", 4), LayerSpec("conv", 4, pool=2), LayerSpec("linear", 9)
SHAPE = (2, 7, 6)
TOLERANCE = 1e-10

ONE_LAYER = {
    "conv": Case(SHAPE, (CONV,)),
    "conv, one sample": Case(SHAPE, (POOLED,), batch=1),
    "linear": Case(SHAPE, (LINEAR,), surrogate="triangle"),
    "standardised weights": Case(SHAPE, (CONV,), norm="weight_standardization"),
    "a threshold a neuron": Case(SHAPE, (POOLED,), threshold="neuron"),
}


def moved(case: Case, seed: int = 0, by: float = -0.7) -> Network:
    """A network whose leaks are not those that it began with."""
    network = build(case._replace(leak_gain=True), seed)
    for layer in network.layers:
        layer.leak_logit.add_(by)
    network.refresh()
    return network


def gains(network: Network) -> list[float]:
    return [float(decay_input_gain(layer.leak, layer.neuron)) for layer in network.layers]


@pytest.mark.parametrize("case", ONE_LAYER.values(), ids=ONE_LAYER.keys())
def test_one_layer_equals_bptt(case):
    network = moved(case)
    assert abs(gains(network)[0] - 1.0) > 0.5
    x, labels = inputs(case)
    exact, ours = bptt.grads(network, x, labels), stop_grads(network, x, labels)
    differences = worst(ours, only(exact, ours))
    assert max(differences.values()) < TOLERANCE, differences
    plain = build(case)
    plain.load_parameters(network.parameters())
    without = stop_grads(plain, x, labels)  # the gain's share of the gradients is no rounding
    assert min(worst({k: ours[k] for k in without}, without).values()) > 1e-3


def test_with_a_hard_reset_the_gains_share_of_the_leak_is_no_more_exact_than_the_weights():
    """Biases and thresholds are, and everything is in a single bin."""
    case = Case(SHAPE, (CONV,), reset="hard")
    for bins, inexact in ((1, set()), (12, {"conv1.weight", "conv1.leak_logit"})):
        network = moved(case._replace(bins=bins))
        x, labels = inputs(case._replace(bins=bins))
        ours = stop_grads(network, x, labels)
        differences = worst(ours, only(bptt.grads(network, x, labels), ours))
        assert {k for k, off in differences.items() if not off < TOLERANCE} == inexact, differences


def test_what_the_learner_carries_has_the_scaled_weights_in_it():
    spec = build(Case(SHAPE, (POOLED, CONV))).spec
    held = {
        gain: StopLearner(
            replace(spec, neuron=spec.neuron._replace(decay_input=gain)), LearnerSpec()
        ).state_bytes()
        for gain in (False, True)
    }
    weights = 4 * (4 * 2 * 9 + 4 + 4 * 4 * 9 + 4)
    assert held[True] - held[False] == weights
    gained = replace(spec, neuron=spec.neuron._replace(decay_input=True))
    assert network_cost(gained).derived_bytes == weights


def test_below_the_last_layer_only_the_path_through_membranes_is_dropped():
    case = Case(SHAPE, (POOLED, CONV, LINEAR), bins=20)
    network = moved(case)
    x, labels = inputs(case)
    ours = stop_grads(network, x, labels)
    cut = worst(ours, bptt.grads(network, x, labels, same_step_only=True))
    assert max(cut.values()) < TOLERANCE, cut


@pytest.mark.parametrize("readout", ["linear", "leaky_integrator", "spiking"])
@pytest.mark.parametrize("norm", ["none", "weight_standardization", "batch"])
def test_a_single_step_equals_bptt_through_blocks_too(norm, readout):
    """What joins a membrane from elsewhere is not scaled."""
    layers = (CONV, LayerSpec("block", 6, stride=2), LayerSpec("block", 8, residual="membrane"))
    case = Case((2, 8, 8), layers, bins=1, norm=norm, readout=readout)
    ours = same_as_bptt(moved(case), *inputs(case))
    assert float(ours["conv1.leak_logit"].abs()) > 1e-3  # with no past it is the gain's alone


def test_it_is_scaled_weights_and_biases_and_the_chain_rule():
    """Against a plain network with those weights: no reference has a share in it."""
    case = Case(SHAPE, (POOLED, CONV))
    network = moved(case)
    plain = build(case)
    plain.load_parameters(network.parameters())
    for layer, gain in zip(plain.layers, gains(network), strict=True):
        layer.weight.mul_(gain)
        layer.bias.mul_(gain)
    plain.refresh()
    x, labels = inputs(case)
    ours, theirs = stop_grads(network, x, labels), stop_grads(plain, x, labels)
    for name, layer, gain in zip(network.layer_names, network.layers, gains(network), strict=True):
        parts = {key: (theirs[f"{name}.{key}"], getattr(layer, key)) for key in ("weight", "bias")}
        by_gain = sum(float((grad * value).sum()) for grad, value in parts.values())
        leak = float(layer.leak)
        of_logit = -by_gain / (1 - case.leak) * leak * (1 - leak / 0.99)
        wanted = float(theirs[f"{name}.leak_logit"]) + of_logit
        assert float(ours[f"{name}.leak_logit"]) == pytest.approx(wanted, rel=1e-10)
        for key, (grad, _) in parts.items():
            torch.testing.assert_close(ours[f"{name}.{key}"], gain * grad, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(ours[f"{name}.log_theta"], theirs[f"{name}.log_theta"])


def test_at_first_it_changes_nothing():
    """Logits and the gradients of weights and thresholds are those of the network without it."""
    spec = build(Case(SHAPE, (POOLED, CONV))).spec
    gained = replace(spec, neuron=spec.neuron._replace(decay_input=True))
    x, labels = inputs(Case(SHAPE, (POOLED, CONV)))
    ours, theirs = (
        stop_grads(Network(one, 0, dtype=torch.float64), x, labels) for one in (gained, spec)
    )
    for name, grad in theirs.items():
        same = torch.allclose(ours[name], grad, rtol=1e-12, atol=1e-12)
        assert same == ("leak_logit" not in name), name


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_bins_together_and_a_constant_input_are_no_exception(norm, constant):
    case = Case(SHAPE, (POOLED, CONV), norm=norm)
    x, labels = inputs(case)
    bins = [x[0]] * len(x) if constant else list(x)
    found = []
    for how in ({}, {"steps_per_forward": 5}, {"constant": constant}):
        network = moved(case)
        batch_gradients(network, bins, labels, Loss(), **how)
        found.append({k: v.clone() for k, v in network.grads.items()})
    for other in found[1:]:
        assert max(worst(other, found[0]).values()) < TOLERANCE


def test_a_folded_network_keeps_its_gain():
    network = moved(Case(SHAPE, (POOLED, CONV), norm="batch"))
    for seed in range(3):
        batch_gradients(network, *inputs(Case(SHAPE, ()), seed), Loss())
    network.refresh()
    spec, parameters = network.folded()
    assert spec.neuron.decay_input and spec.neuron.normalization == "none"
    plain = Network(spec, 5, dtype=torch.float64)
    plain.load_parameters(parameters)
    network.reset_state(3)
    plain.reset_state(3)
    for now in inputs(Case(SHAPE, ()), 9)[0]:
        whole, folded = network.forward(now, traces=False), plain.forward(now, traces=False)
        torch.testing.assert_close(folded, whole, rtol=1e-12, atol=1e-12)


def test_leaks_cannot_learn_alone():
    case = Case(SHAPE, (CONV,), leak_gain=True)
    for learn in ("l", "tl"):
        with pytest.raises(ValueError, match="weights must"):
            build(case._replace(learn=learn))
    for others in ({"learn": "t"}, {"learn": "l", "rule": "bptt"}):
        build(case._replace(**others))
