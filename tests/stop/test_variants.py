"""Resets, thresholds, surrogates, pooling, normalisation, residual blocks and the control rules.

Each is held against autograd through time, where the rule is exact, and against the reference with
the dropped path cut, where it is not.
"""

from __future__ import annotations

import pytest
import torch
from helpers.nets import CLASSES, Case, build, inputs, only, stop_grads, worst
from torch.nn import functional

from streamstop.stop import bptt
from streamstop.stop.layer import LayerSpec
from streamstop.stop.network import Network
from streamstop.stop.neuron import SURROGATES
from streamstop.stop.residual import ResidualBlock
from streamstop.stop.synapses import standardised, standardised_grad

CONV = LayerSpec("conv", 4)
TOLERANCE = 1e-10

ONE_LAYER = {
    "thresholds of a layer": Case((2, 6, 6), (CONV,), threshold="layer"),
    "thresholds of neurons": Case((2, 6, 6), (CONV,), threshold="neuron"),
    "thresholds of neurons, pooled": Case(
        (2, 7, 6), (LayerSpec("conv", 4, pool=2),), threshold="neuron"
    ),
    "max pooling": Case((2, 6, 6), (LayerSpec("conv", 4, pool=2, pooling="max"),)),
    "max pooling leaves a row": Case((2, 7, 6), (LayerSpec("conv", 4, pool=2, pooling="max"),)),
    "no padding": Case((2, 8, 7), (LayerSpec("conv", 4, kernel=5, pad=0),)),
    "global average": Case((2, 6, 5), (CONV,), average=True),
    "groups": Case((4, 6, 6), (LayerSpec("conv", 6, groups=2),)),
    "standardised weights": Case((2, 6, 6), (CONV,), norm="weight_standardization"),
    "standardised weights, linear": Case(
        (2, 4, 4), (LayerSpec("linear", 9),), norm="weight_standardization"
    ),
}


@pytest.mark.parametrize("case", ONE_LAYER.values(), ids=ONE_LAYER.keys())
def test_one_layer_equals_bptt(case):
    network = build(case)
    x, labels = inputs(case)
    differences = worst(stop_grads(network, x, labels), bptt.grads(network, x, labels))
    assert max(differences.values()) < TOLERANCE, differences


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_every_surrogate_equals_bptt(surrogate):
    case = Case((2, 6, 6), (CONV,), surrogate=surrogate)
    network = build(case)
    x, labels = inputs(case)
    differences = worst(stop_grads(network, x, labels), bptt.grads(network, x, labels))
    assert max(differences.values()) < TOLERANCE, differences


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_surrogates_are_even_and_highest_at_the_threshold(surrogate):
    v = torch.linspace(-3, 3, 601, dtype=torch.float64)
    phi = SURROGATES[surrogate](v.clone()).double()
    torch.testing.assert_close(phi, phi.flip(0))
    assert float(phi[300]) == float(phi.max()) == pytest.approx(1.0)
    assert bool((phi[300:].diff() <= 1e-12).all())


def test_hard_reset_is_exact_for_all_but_the_weights():
    """Their trace would have to remember when each neuron fired: it no longer factorises."""
    case = Case((2, 6, 6), (CONV,), reset="hard", bins=20)
    network = build(case)
    x, labels = inputs(case)
    ours, exact = stop_grads(network, x, labels), bptt.grads(network, x, labels)
    differences = worst(ours, exact)
    inexact = differences.pop("conv1.weight")
    assert max(differences.values()) < TOLERANCE, differences
    assert inexact > 0.05


def test_reset_spikes_differ():
    """Soft takes the threshold off, hard leaves nothing: the same input, other spikes."""
    counts = []
    for reset in ("soft", "hard"):
        case = Case((2, 6, 6), (CONV,), reset=reset, bins=30)
        network = build(case)
        network.reset_state(case.batch)
        counts.append(sum(float(_spikes(network, now).sum()) for now in inputs(case)[0]))
    assert counts[0] > counts[1] > 0


def _spikes(network: Network, now: torch.Tensor) -> torch.Tensor:
    network.forward(now)
    return network.spikes()[0]


BLOCKS = {
    "block keeps the shape": (LayerSpec("conv", 4), LayerSpec("block", 4)),
    "block changes it": (LayerSpec("conv", 4), LayerSpec("block", 6, stride=2)),
    "block at the bottom": (LayerSpec("block", 4), LayerSpec("conv", 5)),
    "block at the bottom keeps the shape": (LayerSpec("block", 3), LayerSpec("linear", 9)),
    "two blocks": (LayerSpec("block", 4, stride=2), LayerSpec("block", 4)),
}


@pytest.mark.parametrize("norm", ["none", "weight_standardization"])
@pytest.mark.parametrize("residual", ["add", "membrane"])
@pytest.mark.parametrize("layers", BLOCKS.values(), ids=BLOCKS.keys())
def test_residual_blocks_drop_the_same_path_and_no_other(layers, residual, norm):
    layers = tuple(
        one._replace(residual=residual) if one.kind == "block" else one for one in layers
    )
    case = Case((3, 6, 6), layers, bins=15, norm=norm)
    network = build(case)
    x, labels = inputs(case)
    ours = stop_grads(network, x, labels)
    reference = bptt.grads(network, x, labels, same_step_only=True)
    # A shortcut of synapses alone: its bias would be a second one of the same neurons, and stays.
    assert reference.keys() - ours.keys() == {f"{name}.bias" for name in network.skips}
    has_skips = residual == "membrane" and any(b.shortcut for b in blocks_of(network))
    assert bool(network.skips) == has_skips
    cut = worst(ours, only(reference, ours))
    assert max(cut.values()) < TOLERANCE, cut
    assert max(worst(ours, only(bptt.grads(network, x, labels), ours)).values()) > 0.1


def blocks_of(network: Network) -> list[ResidualBlock]:
    return [stage for stage in network.stages if isinstance(stage, ResidualBlock)]


def test_what_leaves_a_block_is_spikes_or_their_sum():
    """Where membranes are added, 0 or 1; where spikes are, up to 2."""
    largest = {}
    for residual in ("add", "membrane"):
        layers = (LayerSpec("conv", 4), LayerSpec("block", 4, residual=residual))
        network = build(Case((2, 6, 6), layers))
        x, _ = inputs(Case((2, 6, 6), layers), density=0.6)
        network.reset_state(3)
        seen = []
        for now in x:
            network.forward(now)
            seen.append(network.features.clone())
        assert set(torch.stack(seen).unique().tolist()) <= {0.0, 1.0, 2.0}
        largest[residual] = float(torch.stack(seen).max())
    assert largest == {"add": 2.0, "membrane": 1.0}


def test_a_membrane_takes_up_the_shortcut_as_current():
    """With the block's second weights at nothing, its neurons integrate what came in, alone."""
    layers = (LayerSpec("block", 2, residual="membrane"),)
    case = Case((2, 4, 4), layers)
    network = build(case)
    (block,) = blocks_of(network)
    b = block.parts["b"]
    b.weight.zero_()
    b.bias.zero_()
    network.refresh()
    network.reset_state(case.batch)
    u, s = torch.zeros_like(b.state.v), torch.zeros_like(b.state.spikes)
    for now in inputs(case)[0]:
        u = b.leak * (u - b.theta * s) + now
        s = (u >= b.theta).to(u.dtype)
        network.forward(now)
        torch.testing.assert_close(b.state.v, u, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("more", ({"kernel": 5}, {"pool": 2}, {"groups": 2}, {"pad": 0}))
def test_a_block_takes_nothing_that_it_does_not_know(more):
    with pytest.raises(ValueError, match="a block has channels, a stride and a dropout"):
        build(Case((2, 6, 6), (LayerSpec("block", 4, **more),)))


def test_sltt_is_stop_that_forgets_between_bins():
    """Its gradients are those of every bin alone, the membrane of the bin before a constant."""
    case = Case((2, 6, 6), (LayerSpec("conv", 4, pool=2), LayerSpec("linear", 8)), bins=10)
    network = build(case)
    network.rule = "sltt"
    x, labels = inputs(case)
    ours = stop_grads(network, x, labels)
    expected = {name: torch.zeros_like(value) for name, value in network.parameters().items()}
    p = {k: v.clone().requires_grad_() for k, v in network.parameters().items()}
    u = [torch.zeros(case.batch, *layer.neurons, dtype=x.dtype) for layer in network.layers]
    s = [torch.zeros_like(one) for one in u]
    target = functional.one_hot(labels, CLASSES).to(x.dtype)
    for now in x:
        with torch.enable_grad():
            below = now
            for i, (name, layer) in enumerate(
                zip(network.layer_names, network.layers, strict=True)
            ):
                leak = 0.99 * torch.sigmoid(p[f"{name}.leak_logit"])
                theta = torch.exp(p[f"{name}.log_theta"]).view_as(layer.theta)
                kept = leak * (u[i] - theta.detach() * s[i])
                below, one = below.reshape(case.batch, *layer.in_shape), layer.synapses
                membrane = kept + functional.conv2d(
                    below, p[f"{name}.weight"], p[f"{name}.bias"], one.stride, one.pad
                )
                over = membrane - theta
                soft = over.detach().abs().neg().exp() * (over - over.detach())
                spike = (over.detach() >= 0).to(x.dtype) + soft
                u[i], s[i] = membrane.detach(), spike.detach()
                below = functional.avg_pool2d(spike, 2) if layer.spec.pool == 2 else spike
            logits = functional.linear(below.flatten(1), p["readout.weight"], p["readout.bias"])
            loss = -(functional.log_softmax(logits, 1) * target).sum()
            for name, grad in zip(p, torch.autograd.grad(loss, list(p.values())), strict=True):
                expected[name] += grad
    differences = worst(ours, expected)
    assert max(differences.values()) < TOLERANCE, differences


def test_standardised_weights_have_no_mean_and_one_size():
    weight = torch.randn((5, 3, 3, 3), dtype=torch.float64) * 7 + 2
    made = standardised(weight, 0.25)
    torch.testing.assert_close(made.mean((1, 2, 3)), torch.zeros(5, dtype=torch.float64))
    torch.testing.assert_close(
        made.std((1, 2, 3), correction=0),
        torch.full((5,), 0.25, dtype=torch.float64),
        rtol=1e-5,
        atol=0,
    )


def test_gradient_of_standardised_weights_equals_autograd():
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn((5, 3, 3, 3), dtype=torch.float64, generator=draw).requires_grad_()
    g = torch.randn((5, 3, 3, 3), dtype=torch.float64, generator=draw)
    (expected,) = torch.autograd.grad((standardised(weight, 0.3) * g).sum(), [weight])
    torch.testing.assert_close(standardised_grad(weight.detach(), 0.3, g), expected)


def test_of_a_single_input_standardised_weights_are_nothing_and_their_gradient_none():
    """What is left of one number less its mean: such an output never speaks, nor is it told."""
    weight = torch.tensor([0.3, -2.0]).view(2, 1, 1, 1)
    assert not standardised(weight, 1.0).any()
    assert standardised_grad(weight, 1.0, torch.ones(2, 1, 1, 1)).tolist() == [[[[0.0]]]] * 2
