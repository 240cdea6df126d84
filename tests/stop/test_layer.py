"""Layers: parametrisations that hold their range, shapes, thresholds and leaks as asked for."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamstop.config.sections import NetworkConfig
from streamstop.stop.layer import LEAK_MAX, LayerSpec, NeuronSpec, SpikingLayer


def layer_of(
    spec: LayerSpec,
    shape: tuple[int, int, int] = (2, 9, 12),
    *,
    theta: float = 1.0,
    leak: float = 0.9,
    dtype: torch.dtype = torch.float32,
) -> SpikingLayer:
    return SpikingLayer(
        spec,
        shape,
        NeuronSpec(theta, leak),
        torch.Generator().manual_seed(0),
        dtype,
    )


GRADIENTS = st.lists(
    st.floats(min_value=-1e6, max_value=1e6, allow_nan=False, width=32), min_size=1, max_size=60
)


@settings(max_examples=40, deadline=None)
@given(
    GRADIENTS,
    st.sampled_from([1e-4, 1e-2, 0.3]),
    st.sampled_from([torch.optim.Adam, torch.optim.SGD]),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_theta_stays_positive_and_leak_in_range(gradients, lr, optimizer, dtype):
    """Whatever the gradients: the leak between 0 and LEAK_MAX, every threshold above zero."""
    layer = layer_of(LayerSpec("conv", 3), dtype=dtype)
    moved = [layer.log_theta, layer.leak_logit]
    steps = optimizer(moved, lr=lr)
    for gradient in gradients:
        for tensor in moved:
            tensor.grad = torch.full_like(tensor, gradient)
        if optimizer is torch.optim.SGD:  # bounded as any sane caller of SGD would
            torch.nn.utils.clip_grad_norm_(moved, 2.0)
        steps.step()
        layer.refresh()
        assert (layer.theta > 0).all()
        assert layer.theta.isfinite().all()
        assert 0.0 < float(layer.leak) <= float(torch.tensor(LEAK_MAX, dtype=dtype))


def test_every_leak_that_the_configuration_allows_can_be_had():
    limits = next(f.metadata for f in fields(NetworkConfig) if f.name == "leak_init")
    assert limits["below"] == LEAK_MAX
    for leak in (math.nextafter(0.0, 1.0), math.nextafter(LEAK_MAX, 0.0)):
        assert math.isfinite(float(layer_of(LayerSpec("linear", 3), leak=leak).leak_logit))


def test_a_leak_short_of_saturation_is_below_its_bound():
    layer = layer_of(LayerSpec("linear", 3), dtype=torch.float64)
    for logit in (-30.0, -5.0, 0.0, 5.0, 30.0):
        layer.leak_logit.fill_(logit)
        layer.refresh()
        assert 0.0 < float(layer.leak) < LEAK_MAX


@pytest.mark.parametrize("leak", [0.01, 0.5, 0.9, 0.98])
@pytest.mark.parametrize("theta", [0.1, 1.0, 7.0])
def test_starts_with_the_leak_and_threshold_asked_for(leak, theta):
    layer = layer_of(LayerSpec("conv", 5), theta=theta, leak=leak, dtype=torch.float64)
    assert float(layer.leak) == pytest.approx(leak, rel=1e-12)
    assert layer.theta.flatten().tolist() == pytest.approx([theta] * 5, rel=1e-12)


@pytest.mark.parametrize(
    ("spec", "neurons", "out"),
    [
        (LayerSpec("conv", 4), (4, 9, 12), (4, 9, 12)),
        (LayerSpec("conv", 4, kernel=5, pool=2), (4, 9, 12), (4, 4, 6)),
        (LayerSpec("conv", 4, stride=2), (4, 5, 6), (4, 5, 6)),
        (LayerSpec("conv", 4, stride=2, pool=3), (4, 5, 6), (4, 1, 2)),
        (LayerSpec("linear", 7), (7, 1, 1), (7, 1, 1)),
    ],
)
def test_shapes_are_what_comes_out(spec, neurons, out):
    layer = layer_of(spec)
    layer.reset_state(2)
    spikes = layer.forward(torch.ones(2, 2, 9, 12), traces=True)
    assert (layer.neurons, layer.out_shape) == (neurons, out)
    assert spikes.shape == (2, *out)
    assert layer.state.spikes.shape == (2, *neurons)


def test_initial_weights_spread_as_gain_over_root_fan_in():
    layer = layer_of(LayerSpec("linear", 400), (2, 16, 16))
    assert float(layer.weight.std()) == pytest.approx(1.5 / math.sqrt(512), rel=0.02)


def test_pooling_hands_the_error_to_the_neurons_it_averaged():
    """Error 1 on one pooled spike of a remainder-leaving pool reaches its four neurons, a quarter
    each, and no other: with inputs on one pixel only that pixel's weight column can tell."""
    layer = layer_of(LayerSpec("conv", 1, kernel=1, pool=2), (1, 3, 3), dtype=torch.float64)
    layer.reset_state(1)
    x = torch.arange(1.0, 10.0, dtype=torch.float64).view(1, 1, 3, 3)
    layer.forward(x, "stop")
    phi = torch.exp(-(layer.state.v - layer.theta).abs())
    grads = {name: torch.zeros_like(value) for name, value in layer.parameters().items()}
    layer.backward(torch.ones(1, 1, 1, 1, dtype=torch.float64), grads, need_input=False)
    layer.flush_pending(grads)
    wanted = (phi * x)[0, 0, :2, :2].sum() / 4
    assert float(grads["weight"]) == pytest.approx(float(wanted), rel=1e-12)
    assert float(grads["log_theta"]) == pytest.approx(-float(phi[0, 0, :2, :2].sum()) / 4)
