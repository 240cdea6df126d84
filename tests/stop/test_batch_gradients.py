"""Batches of whole sequences: constant inputs, every rule, and products in half the bits."""

from __future__ import annotations

import pytest
import torch
from helpers.nets import Case, build, by_rule, cosine, inputs, only, worst
from torch import Tensor
from torch.nn import functional

from streamstop.stop import bptt
from streamstop.stop.batch_gradients import batch_gradients
from streamstop.stop.layer import LayerSpec
from streamstop.stop.losses import Loss
from streamstop.stop.network import Network

RULES = ("stop", "ottt", "sltt", "bptt")

NETWORKS = {
    "conv": (LayerSpec("conv", 4, pool=2), LayerSpec("linear", 9)),
    "conv, max pooling and a stride": (
        LayerSpec("conv", 5, stride=2, pool=2, pooling="max"),
        LayerSpec("conv", 4),
    ),
    "linear": (LayerSpec("linear", 12), LayerSpec("linear", 8)),
    "dropout": (LayerSpec("conv", 4, dropout=0.3), LayerSpec("conv", 4, pool=2)),
    "a block, which takes it as any input": (LayerSpec("block", 4, residual="membrane"),),
    "no layer": (),
}


def image(case: Case, seed: int, batch: int) -> tuple[Tensor, Tensor]:
    x, labels = inputs(case._replace(bins=1, batch=batch), seed, density=0.6)
    return x[0], labels


@pytest.mark.parametrize("norm", ["none", "weight_standardization", "batch"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS.keys())
def test_a_constant_input_is_the_same_image_in_every_bin(layers, rule, norm):
    """Loss, votes and gradients, of several sequences one after the other, of other sizes."""
    case = Case((2, 7, 6), layers, rule=rule, norm=norm)
    once, each = build(case), build(case)
    for seed, batch, bins in ((0, 3, 8), (1, 1, 3), (2, 4, 1)):
        x, labels = image(case, seed, batch)
        found = [
            batch_gradients(network, [x] * bins, labels, Loss(), constant=constant)
            for network, constant in ((once, True), (each, False))
        ]
        for one, other in zip(*found, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
        assert once.grads.keys() == each.grads.keys()
        for name, grad in once.grads.items():
            torch.testing.assert_close(grad, each.grads[name], rtol=1e-10, atol=1e-11, msg=name)


@pytest.mark.parametrize("norm", ["none", "weight_standardization", "batch"])
@pytest.mark.parametrize("rule", ["stop", "sltt"])
def test_what_a_constant_input_gathers_can_be_looked_at_and_zeroed_on_the_way(rule, norm):
    """Gradients in the middle of a sequence, after a rest, and of what follows zeroing alone."""
    case = Case((2, 6, 6), NETWORKS["conv"], rule=rule, norm=norm)
    once, each = build(case), build(case)
    x, labels = image(case, 0, 3)
    other, _ = image(case, 1, 3)
    target = functional.one_hot(labels, 5).to(x.dtype)

    def step(now: Tensor) -> None:
        for network in (once, each):
            logits = network.forward(now, constant=network is once)
            network.backward(logits.softmax(1) - target)

    def agree() -> None:
        for name, grad in once.grads.items():
            torch.testing.assert_close(grad, each.grads[name], rtol=1e-10, atol=1e-11, msg=name)

    for network in (once, each):
        network.reset_state(3)
    for _ in range(4):
        step(x)
    agree()
    step(x)
    agree()
    for network in (once, each):
        network.zero_grads()
        assert not any(grad.any() for grad in network.grads.values())
    for _ in range(3):
        step(x)
    for network in (once, each):  # what was gathered survives the rest, and a new image begins
        network.reset_state(3)
    for _ in range(2):
        step(other)
    agree()
    assert bool(once.grads["conv1.weight"].any())


def test_a_rest_forgets_a_constant_input():
    case = Case((2, 6, 6), NETWORKS["conv"])
    network = build(case)
    x, _ = image(case, 0, 3)
    network.reset_state(3)
    first = network.forward(x, constant=True).clone()
    network.reset_state(3)
    assert not torch.equal(network.forward(2 * x, constant=True), first)
    network.reset_state(3)
    assert torch.equal(network.forward(x), first)


def test_weights_that_moved_are_taken_up_after_a_rest():
    case = Case((2, 6, 6), NETWORKS["conv"])
    network = build(case)
    x, labels = image(case, 0, 3)
    before = by_rule(network, [x] * 5, labels, constant=True)
    network.layers[0].weight.mul_(1.5)
    network.refresh()
    after = by_rule(network, [x] * 5, labels, constant=True)
    plain = by_rule(network, [x] * 5, labels)
    assert not torch.equal(before["conv1.weight"], after["conv1.weight"])
    torch.testing.assert_close(after["conv1.weight"], plain["conv1.weight"])


SHAPES = {
    "one layer": (LayerSpec("conv", 4, pool=2),),
    "deep": (LayerSpec("conv", 5, pool=2), LayerSpec("block", 4), LayerSpec("linear", 10)),
}


@pytest.mark.parametrize("readout", ["linear", "leaky_integrator", "spiking"])
@pytest.mark.parametrize("layers", SHAPES.values(), ids=SHAPES.keys())
def test_ottt_is_stop_on_weights_alone(layers, readout):
    case = Case((2, 8, 6), layers, readout=readout)
    x, labels = inputs(case)
    stop = by_rule(build(case), x, labels)
    ottt = by_rule(build(case._replace(rule="ottt")), x, labels)
    assert ottt.keys() == {name for name in stop if name.endswith(("weight", "bias"))}
    for name, grad in ottt.items():
        assert torch.equal(grad, stop[name]), name
    none = by_rule(build(case._replace(rule="ottt", learn="tl")), x, labels)
    assert none.keys() == {"readout.weight", "readout.bias"}


@pytest.mark.parametrize("at", ["step", "end"])
@pytest.mark.parametrize("readout", ["linear", "leaky_integrator", "spiking"])
@pytest.mark.parametrize("layers", SHAPES.values(), ids=SHAPES.keys())
def test_bptt_as_a_rule_is_the_reference(layers, readout, at):
    case = Case((2, 8, 6), layers, readout=readout, rule="bptt")
    network = build(case)
    x, labels = inputs(case)
    loss = Loss(timing=at)
    ours, expected = by_rule(network, x, labels, loss), bptt.grads(network, x, labels, loss)
    for name, grad in ours.items():
        torch.testing.assert_close(grad, expected[name], rtol=1e-12, atol=1e-12)
    assert len(ours) == len(expected)


@pytest.mark.parametrize("kind", ["ce", "half_mse", "mean_ce_mse"])
@pytest.mark.parametrize("at", ["step", "end"])
def test_every_rule_has_the_same_loss_and_votes(kind, at):
    """The rules differ in what they tell the weights, not in what the network says; those logits
    decide that the loss speaks of."""
    case = Case((2, 8, 6), SHAPES["deep"])
    x, labels = inputs(case)
    loss = Loss(kind, at, 0.1)
    network = build(case)
    total, said, _ = bptt.loss_and_grads(network, x, labels, loss)
    for rule in RULES:
        one, votes = batch_gradients(build(case._replace(rule=rule)), x, labels, loss)
        assert one.shape == ()
        torch.testing.assert_close(one, total, rtol=1e-12, atol=1e-12)
        deciding = torch.stack(said).sum(0) if at == "step" else said[-1]
        torch.testing.assert_close(votes, deciding, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_bins_may_come_one_by_one_and_earlier_gradients_are_gone(rule):
    case = Case((2, 8, 6), SHAPES["deep"], rule=rule)
    network = build(case)
    x, labels = inputs(case)
    expected = by_rule(network, x, labels)
    by_rule(network, *inputs(case, 5))
    batch_gradients(network, (now for now in x), labels, Loss())
    for name, grad in network.grads.items():
        assert torch.equal(grad, expected[name])
        assert not grad.requires_grad


@pytest.mark.parametrize("rule", RULES)
def test_what_does_not_learn_gathers_nothing(rule):
    case = Case((2, 8, 6), SHAPES["deep"], rule=rule, learn="w")
    x, labels = inputs(case)
    part = by_rule(build(case), x, labels)
    assert part.keys() == {k for k in build(case).parameters() if k.endswith(("weight", "bias"))}
    whole = by_rule(build(case._replace(learn="wtl")), x, labels)
    for name, grad in part.items():
        torch.testing.assert_close(grad, whole[name], rtol=1e-12, atol=1e-12)


def test_sltt_lacks_the_past_that_stop_has():
    """With one bin there is none, and they agree; with twelve they do not."""
    for bins in (1, 12):
        case = Case((2, 8, 6), SHAPES["deep"], bins=bins)
        x, labels = inputs(case)
        stop = by_rule(build(case), x, labels)
        sltt = by_rule(build(case._replace(rule="sltt")), x, labels)
        differences = [float((stop[k] - sltt[k]).abs().max()) for k in stop if "weight" in k]
        assert (max(differences) < 1e-12) == (bins == 1)


@pytest.mark.parametrize("norm", ["none", "weight_standardization", "batch"])
@pytest.mark.parametrize("constant", [False, True])
def test_products_in_bfloat16_are_near_those_in_float32(norm, constant):
    """Few spikes differ, of many samples; weights, states and sums stay float32. Switched off,
    everything is as it was to the bit."""
    layers = (LayerSpec("conv", 6, pool=2), LayerSpec("linear", 16))
    case = Case((2, 8, 8), layers, norm=norm, batch=64)
    exact = build(case)
    network = Network(exact.spec, 0)
    network.load_parameters(exact.parameters())
    x, labels = inputs(case)
    x = (x[:1].expand_as(x) if constant else x).float()
    before = by_rule(network, x, labels, constant=constant)
    statistics = {k: v.clone() for k, v in exact.parameters().items() if k.endswith("ance")}
    network.reset_state(case.batch)
    said = network.forward(x[0])
    network.autocast = torch.bfloat16
    assert network.autocast == torch.bfloat16
    found = by_rule(network, x, labels, constant=constant)
    for name, grad in found.items():
        assert grad.dtype == torch.float32
        assert not torch.equal(grad, before[name])
        if not name.endswith("leak_logit"):  # one number each, of terms that cancel
            assert cosine(grad, before[name]) > 0.95, name
    network.reset_state(case.batch)
    rough = network.forward(x[0])
    assert rough.dtype == torch.float32
    assert cosine(rough, said) > 0.95
    network.autocast = None
    for name in statistics:
        network.parameters()[name].copy_(statistics[name])
    again = by_rule(network, x, labels, constant=constant)
    assert all(torch.equal(again[name], grad) for name, grad in before.items())


def test_traces_are_those_of_the_rule_and_none_without():
    case = Case((2, 8, 6), SHAPES["deep"])
    x, _ = inputs(case)
    for rule, kept in (("stop", True), ("ottt", True), ("sltt", True), ("bptt", False)):
        network = build(case._replace(rule=rule))
        network.reset_state(3)
        network.forward(x[0])
        assert bool(network.layers[0].trace.any()) == kept
        network.reset_state(3)
        network.forward(x[0], traces=False)
        assert not network.layers[0].trace.any()


def test_gradients_of_one_batch_are_the_sum_over_its_samples():
    case = Case((2, 8, 6), SHAPES["deep"], batch=4)
    for rule in RULES:
        network = build(case._replace(rule=rule))
        x, labels = inputs(case)
        whole = by_rule(network, x, labels)
        alone = [by_rule(network, x[:, i : i + 1], labels[i : i + 1]) for i in range(4)]
        summed = {name: sum(one[name] for one in alone) for name in whole}
        assert max(worst(only(summed, whole), whole).values()) < 1e-10
