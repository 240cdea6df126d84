"""The reference itself, against finite differences of a network whose spikes are smooth.

Spikes have no useful derivative, so the check builds a function that has the surrogate as its
true one: s = s0 + Phi(u - theta) - Phi(u0 - theta0), with Phi' = phi and s0, u0, theta0 as they
are at the point of interest. There its value is the spiking network's and its slope the
surrogate's; the reset takes s0, a constant: "detached". Central differences of its loss know
nothing of autograd.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from helpers.nets import Case, build, inputs
from torch import Tensor
from torch.nn import functional

from streamstop.stop import bptt
from streamstop.stop.layer import LEAK_MAX, LayerSpec
from streamstop.stop.network import Network

PRIMITIVES: dict[str, Callable[[Tensor], Tensor]] = {
    "exponential": lambda v: v.sign() * (1 - torch.exp(-v.abs())),
    "triangle": lambda v: v.clamp(-1, 1) - v.clamp(-1, 1).abs() * v.clamp(-1, 1) / 2,
}

Trace = list[list[tuple[Tensor, Tensor, Tensor]]]
"""For each bin and layer: u - theta, spikes, and the layer's input, at the point of interest."""


def smooth_loss(
    network: Network,
    p: dict[str, Tensor],
    x: Tensor,
    labels: Tensor,
    at: Trace | None,
    cut: bool,
) -> tuple[float, Trace]:
    """Loss of the smooth network with parameters `p`; without `at`, of the spiking one itself.

    cut : later bins see the input of the layers above as it was at the point of interest.
    """
    batch = x.shape[1]
    primitive = PRIMITIVES[network.spec.neuron.surrogate]
    u = [torch.zeros(batch, *layer.neurons, dtype=x.dtype) for layer in network.layers]
    s0 = [torch.zeros_like(v) for v in u]
    loss, trace = 0.0, []
    for k, now in enumerate(x):
        below, row = now, []
        for i, (name, layer) in enumerate(zip(network.layer_names, network.layers, strict=True)):
            leak = LEAK_MAX / (1 + torch.exp(-p[f"{name}.leak_logit"]))
            theta = p[f"{name}.log_theta"].exp().reshape(1, -1, 1, 1)
            below = below.reshape(batch, *layer.in_shape)

            def current(x: Tensor, name: str = name, i: int = i) -> Tensor:
                layer, w, b = network.layers[i], p[f"{name}.weight"], p[f"{name}.bias"]
                return functional.conv2d(
                    x, w, b, stride=layer.synapses.stride, padding=layer.synapses.pad
                )

            kept = leak * (u[i] - theta * s0[i])
            gap = kept + current(below) - theta
            if at is None:
                spikes = s0[i] = (gap >= 0).to(x.dtype)
                u[i] = gap + theta
            else:
                gap0, s0[i], below0 = at[k][i]
                spikes = s0[i] + primitive(gap) - primitive(gap0)
                u[i] = kept + current(below0) if cut and i else gap + theta
            row.append((gap, spikes, below))
            pool = layer.spec.pool
            below = functional.avg_pool2d(spikes, pool) if pool > 1 else spikes
        logits = functional.linear(below.flatten(1), p["readout.weight"], p["readout.bias"])
        loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
        trace.append(row)
    return loss, trace


CASES = {
    "linear": Case((1, 3, 3), (LayerSpec("linear", 6), LayerSpec("linear", 5)), bins=6, batch=2),
    "conv": Case(
        (2, 5, 5),
        (LayerSpec("conv", 3, stride=2), LayerSpec("conv", 3, pool=2), LayerSpec("linear", 4)),
        bins=6,
        batch=2,
    ),
}


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("surrogate", ["exponential", "triangle"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_reference_equals_finite_differences(case, surrogate, cut):
    case = case._replace(surrogate=surrogate)
    network = build(case)
    x, labels = inputs(case, density=0.5)
    p = {k: v.clone().contiguous() for k, v in network.parameters().items()}
    _, at = smooth_loss(network, p, x, labels, None, cut)
    ours = bptt.grads(network, x, labels, same_step_only=cut)
    draw = np.random.default_rng(0)
    step = 1e-6
    for name, value in p.items():
        flat = value.view(-1)
        for i in draw.choice(len(flat), min(len(flat), 6), replace=False):
            before, losses = float(flat[i]), []
            for moved in (before + step, before - step):
                flat[i] = moved
                losses.append(smooth_loss(network, p, x, labels, at, cut)[0])
            flat[i] = before
            slope = (losses[0] - losses[1]) / (2 * step)
            assert float(ours[name].view(-1)[i]) == pytest.approx(slope, abs=1e-6, rel=1e-5), name


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_network_runs_as_the_equations_say(case):
    """`Network.forward`, in place and bin by bin, has the loss of the equations written out."""
    network = build(case)
    x, labels = inputs(case, density=0.5)
    written_out, _ = smooth_loss(network, network.parameters(), x, labels, None, False)
    network.reset_state(case.batch)
    loss = sum(
        float(functional.cross_entropy(network.forward(now), labels, reduction="sum")) for now in x
    )
    assert loss == pytest.approx(written_out, abs=1e-10)


def test_the_reference_leaves_the_network_as_it_was():
    case = CASES["conv"]
    network = build(case)
    before = {k: v.clone() for k, v in network.parameters().items()}
    bptt.grads(network, *inputs(case))
    for name, value in network.parameters().items():
        assert torch.equal(value, before[name])
        assert not value.requires_grad
    assert not any(t.any() for layer in network.layers for t in layer.state)
