"""Shortcuts of the synapses, sparse products and products that wait, change no figure."""

from __future__ import annotations

import pytest
import torch
from helpers.nets import Case, build, by_rule, inputs
from torch import Tensor
from torch.nn import functional

from streamstop.stop import bptt
from streamstop.stop._products import SPARSE_CHANNELS
from streamstop.stop.layer import LayerSpec
from streamstop.stop.network import Network
from streamstop.stop.synapses import MAX_PENDING

SPARSE = {
    "3x3": ((2, 6, 5), LayerSpec("conv", 4)),
    "1x1": ((3, 4, 7), LayerSpec("conv", 3, kernel=1)),
    "5x5 without padding": ((1, 7, 9), LayerSpec("conv", 5, kernel=5, pad=0)),
    "more padding than the kernel has": ((4, 5, 5), LayerSpec("conv", 3, pad=3, pool=2)),
    "a kernel larger than the plane": ((2, 3, 2), LayerSpec("conv", 3, kernel=7)),
}


@pytest.mark.parametrize("norm", ["none", "weight_standardization"])
@pytest.mark.parametrize("rule", ["stop", "sltt"])
@pytest.mark.parametrize(("shape", "spec"), SPARSE.values(), ids=SPARSE.keys())
def test_one_sample_of_few_channels_is_what_it_is_in_a_batch(shape, spec, rule, norm):
    """Alone it takes the sparse product, beside another the dense one; gradients equal BPTT."""
    case = Case(shape, (spec, LayerSpec("conv", 3, kernel=1)), rule=rule, norm=norm, batch=2)
    network = build(case)
    x, labels = inputs(case)
    synapses = network.layers[0].synapses
    said = {}
    for batch in (1, 2):
        network.reset_state(batch)
        said[batch] = [network.forward(now[:batch])[:1].clone() for now in x]
        assert (synapses._sparse is not None) == (batch == 1)
    for alone, beside in zip(*said.values(), strict=True):
        torch.testing.assert_close(alone, beside, rtol=1e-11, atol=1e-12)
    whole = by_rule(network, x, labels)
    parts = [by_rule(network, x[:, i : i + 1], labels[i : i + 1]) for i in range(2)]
    for name, grad in whole.items():
        torch.testing.assert_close(parts[0][name] + parts[1][name], grad, rtol=1e-10, atol=1e-11)
    if rule == "stop":
        cut = bptt.grads(network, x[:, :1], labels[:1], same_step_only=True)
        for name, grad in parts[0].items():
            torch.testing.assert_close(grad, cut[name], rtol=1e-10, atol=1e-11)


def test_what_the_sparse_product_does_not_cover_is_left_to_the_dense_one():
    for shape, spec in (
        ((SPARSE_CHANNELS + 1, 6, 6), LayerSpec("conv", 4)),
        ((2, 6, 6), LayerSpec("conv", 4, stride=2)),
        ((2, 6, 6), LayerSpec("conv", 4, groups=2)),
        ((2, 6, 6), LayerSpec("linear", 4)),
    ):
        network = build(Case(shape, (spec,)))
        network.reset_state(1)
        assert network.layers[0].synapses._sparse is None
    assert (
        not build(Case((2, 6, 6), (LayerSpec("conv", 4),), norm="batch")).layers[0].synapses._sparse
    )


def test_the_sparse_product_takes_up_weights_that_moved():
    case = Case((2, 5, 5), (LayerSpec("conv", 3),), batch=1)
    network = build(case)
    x, _ = inputs(case)
    (layer,) = network.layers
    for _ in range(2):
        network.reset_state(1)
        network.forward(x[0])
        dense = functional.conv2d(x[0], layer.weight, layer.bias, padding=1)
        torch.testing.assert_close(layer.state.v, dense, rtol=1e-12, atol=1e-12)
        layer.weight.mul_(0.5)
        layer.bias.add_(0.1)
        network.refresh()


MANY_WEIGHTS = Case((2, 4, 4), (LayerSpec("linear", 24), LayerSpec("linear", 40)), bins=19)


def learn_each(network: Network, x: Tensor, labels: Tensor, look: bool) -> None:
    target = functional.one_hot(labels, 5).to(x.dtype)
    for now in x:
        network.backward(network.forward(now).softmax(1) - target)
        if look:
            assert network.grads  # which delivers what waits


@pytest.mark.parametrize("norm", ["none", "weight_standardization", "batch"])
@pytest.mark.parametrize("batch", [1, 3, 4, MAX_PENDING, MAX_PENDING + 1])
def test_what_waits_for_one_product_is_the_same_gradient(batch, norm):
    """Looked at after every bin, it cannot wait; zeroed or at rest in between, nothing is lost or
    comes back."""
    case = MANY_WEIGHTS._replace(batch=batch, norm=norm)
    waits, looked = build(case), build(case)
    x, labels = inputs(case)
    waits.reset_state(batch)
    assert waits.layers[1].synapses._max_deferred == max(MAX_PENDING // batch, 0)
    for network, look in ((waits, False), (looked, True)):
        network.reset_state(batch)
        learn_each(network, x[:5], labels, look)
        network.zero_grads()
        learn_each(network, x[5:], labels, look)
        network.reset_state(batch)
        learn_each(network, x[:3], labels, look)
    for name, grad in waits.grads.items():
        torch.testing.assert_close(grad, looked.grads[name], rtol=1e-10, atol=1e-11)


def test_what_may_wait_is_counted_and_does_not_grow():
    case = MANY_WEIGHTS._replace(batch=1)
    network = build(case)
    network.reset_state(1)
    passing = (32 + 24) + (24 + 40)
    assert network.pending_bytes() == MAX_PENDING * passing * 8
    learn_each(network, *inputs(case), False)
    assert network.pending_bytes() == MAX_PENDING * passing * 8
    assert build(case._replace(learn="tl")).pending_bytes() == 0
