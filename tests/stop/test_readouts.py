"""Readouts and losses: what of them is exact, and what a layer under each of them is told."""

from __future__ import annotations

import pytest
import torch
from helpers.nets import CLASSES, Case, build, by_rule, cosine, inputs, only, worst

from streamstop.stop import bptt
from streamstop.stop.cost import network_cost
from streamstop.stop.layer import LayerSpec
from streamstop.stop.losses import Loss

TOLERANCE = 1e-10

LOSSES = {
    f"{kind}, {at}, {smoothing}": Loss(kind, at, smoothing)
    for kind in ("ce", "half_mse", "mean_ce_mse")
    for at in ("step", "end")
    for smoothing in (0.0, 0.1)
}

READOUTS = ("linear", "leaky_integrator", "spiking")

every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
every_readout = pytest.mark.parametrize("readout", READOUTS)

ONE = Case((2, 6, 5), (LayerSpec("conv", 4, pool=2),), readout_leak=0.7)
DEEP = Case(
    (2, 8, 6),
    (LayerSpec("conv", 5, pool=2), LayerSpec("block", 4), LayerSpec("linear", 12)),
    bins=10,
    readout_leak=0.8,
)
NOTHING_BELOW = Case((2, 3, 4), (), readout_leak=0.6)


@every_readout
@every_loss
@pytest.mark.parametrize("case", [ONE, DEEP], ids=["one layer", "deep"])
def test_the_readouts_own_parameters_are_exact_and_those_below_lose_one_path(case, loss, readout):
    """Weight, bias, leak and threshold of whatever readout equal BPTT, under a loss at each step
    and one at the end alone; everything equals BPTT without the path that STOP cuts."""
    network = build(case._replace(readout=readout))
    x, labels = inputs(case)
    ours, exact = by_rule(network, x, labels, loss), bptt.grads(network, x, labels, loss)
    own = {k: v for k, v in ours.items() if k.startswith("readout")}
    assert len(own) == {"linear": 2, "leaky_integrator": 3, "spiking": 4}[readout]
    assert min(float(g.abs().max()) for g in own.values()) > 1e-4  # none agrees by being zero
    assert max(worst(own, only(exact, own)).values()) < TOLERANCE
    cut = worst(ours, bptt.grads(network, x, labels, loss, same_step_only=True))
    assert max(cut.values()) < TOLERANCE, cut


@every_loss
def test_the_layer_under_a_linear_readout_is_exact_and_under_the_others_not(loss):
    for readout in READOUTS:
        network = build(ONE._replace(readout=readout))
        x, labels = inputs(ONE)
        differences = worst(by_rule(network, x, labels, loss), bptt.grads(network, x, labels, loss))
        below = max(v for k, v in differences.items() if not k.startswith("readout"))
        assert below < TOLERANCE if readout == "linear" else below > 0.05, readout


@every_readout
def test_without_layers_the_readout_is_all_there_is_and_exact(readout):
    network = build(NOTHING_BELOW._replace(readout=readout))
    x, labels = inputs(NOTHING_BELOW)
    differences = worst(by_rule(network, x, labels), bptt.grads(network, x, labels))
    assert max(differences.values()) < TOLERANCE


@every_readout
@pytest.mark.parametrize("kind", ["ce", "half_mse", "mean_ce_mse"])
def test_a_loss_at_the_end_is_the_last_bins_share_of_one_at_each_step(kind, readout):
    """The error comes down through the last bin alone; traces bring what came before to it."""
    network = build(DEEP._replace(readout=readout))
    x, labels = inputs(DEEP)
    whole = by_rule(network, x, labels, Loss(kind))
    shorter = by_rule(network, x[:-1], labels, Loss(kind))
    end = by_rule(network, x, labels, Loss(kind, "end"))
    for name, grad in end.items():
        torch.testing.assert_close(grad, whole[name] - shorter[name], rtol=1e-9, atol=1e-10)
    # Of that last bin alone, at rest before it, much would be missing: the traces carry it.
    alone = by_rule(network, x[-1:], labels, Loss(kind, "end"))
    assert cosine(alone["conv1.weight"], end["conv1.weight"]) < 0.9


def test_under_a_leaky_readout_and_a_loss_at_the_end_earlier_bins_are_told_nothing():
    """BPTT sends an error to every bin through the readout's potential; the rule to the last."""
    case = ONE._replace(readout="leaky_integrator", readout_leak=0.95, bins=20)
    network = build(case)
    x, labels = inputs(case)
    loss = Loss("half_mse", "end")
    ours, exact = by_rule(network, x, labels, loss), bptt.grads(network, x, labels, loss)
    sizes = {k: float(ours[k].norm() / exact[k].norm()) for k in ("conv1.weight", "readout.weight")}
    assert sizes["readout.weight"] == pytest.approx(1.0, abs=1e-9)
    assert sizes["conv1.weight"] < 0.5


def test_the_readouts_say_what_their_equations_say():
    """v of the leaky one sums the past; the spiking one answers 0 or 1 a class."""
    x, _ = inputs(ONE)
    said = {}
    for readout in READOUTS:
        network = build(ONE._replace(readout=readout))
        network.reset_state(ONE.batch)
        said[readout] = torch.stack([network.forward(now) for now in x])
    v = torch.zeros_like(said["linear"][0])
    for now, leaky in zip(said["linear"], said["leaky_integrator"], strict=True):
        v = 0.7 * v + now
        torch.testing.assert_close(leaky, v, rtol=1e-12, atol=1e-12)
    assert set(said["spiking"].unique().tolist()) == {0.0, 1.0}


@every_readout
def test_a_logit_once_said_does_not_change(readout):
    network = build(ONE._replace(readout=readout))
    network.reset_state(ONE.batch)
    x, _ = inputs(ONE)
    said = [network.forward(now) for now in x]
    kept = [one.clone() for one in said[:1]]
    assert torch.equal(said[0], kept[0])
    network.reset_state(ONE.batch)
    again = [network.forward(now).clone() for now in x]
    assert all(torch.equal(a, b) for a, b in zip(said, again, strict=True))


@every_readout
def test_a_twin_says_the_same_and_shares_nothing(readout):
    network = build(ONE._replace(readout=readout))
    twin = network.readout.clone()
    own = network.readout.parameters()
    for name, value in twin.parameters().items():
        assert torch.equal(value, own[name])
        assert value.data_ptr() != own[name].data_ptr()
    features = torch.rand((7, 1, own["weight"].shape[1]), dtype=torch.float64)
    network.readout.reset_state(1)
    twin.reset_state(1)
    first = [network.readout.forward(f, "none") for f in features]
    second = [twin.forward(f, "none") for f in features]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    before = network.readout.forward(features[0], "none").clone()
    for value in twin.parameters().values():
        value.fill_(0.3)
    twin.refresh()
    network.readout.reset_state(1)
    for f in features:
        twin.forward(f, "stop")
        after = network.readout.forward(f, "none")
    after = network.readout.forward(features[0], "none")
    assert torch.equal(after, before)


@every_readout
def test_state_and_costs_are_counted_by_hand(readout):
    """4 channels of 3x2 pooled; potential and traces of the readout, no function of time."""
    network = build(ONE._replace(readout=readout))
    network.reset_state(1)
    features = 4 * 3 * 2
    layer = 4 * (4 * 6 * 5) + 2 * 6 * 5 + 1
    own = {
        "linear": 0,
        "leaky_integrator": 2 * CLASSES + features + 1,
        "spiking": 4 * CLASSES + features + 1,
    }
    assert network.state_bytes() == 8 * (layer + own[readout])
    cost = network_cost(network.spec, dtype=torch.float64)
    assert cost.state_bytes == network.state_bytes()
    assert cost.parameters == sum(v.numel() for v in network.parameters().values())
    assert cost.neurons == 4 * 6 * 5 + (CLASSES if readout == "spiking" else 0)
    for now in inputs(ONE._replace(batch=1))[0]:
        network.forward(now)
        assert network.state_bytes() == 8 * (layer + own[readout])


@pytest.mark.parametrize("learn", ["", "w", "t", "l", "wtl"])
@every_readout
def test_the_readouts_weights_always_learn_and_the_rest_of_it_as_asked(learn, readout):
    case = DEEP._replace(readout=readout)
    whole, part = build(case), build(case._replace(learn=learn))
    x, labels = inputs(case)
    exact, ours = by_rule(whole, x, labels), by_rule(part, x, labels)
    own = {k.removeprefix("readout.") for k in ours if k.startswith("readout")}
    more = {"leak_logit"} if readout != "linear" and "l" in learn else set()
    more |= {"log_theta"} if readout == "spiking" and "t" in learn else set()
    assert own == {"weight", "bias"} | more
    for name, grad in ours.items():
        torch.testing.assert_close(grad, exact[name], rtol=1e-12, atol=1e-12)
