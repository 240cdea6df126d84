"""The reference: the same network unrolled in time and differentiated by autograd (BPTT).

Slow, memory growing with time, and the oracle that `tests/stop` holds the rule against in float64.
The reset spike is detached, as in STOP; the spike's derivative is the surrogate.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from streamstop.stop.blocks import ResidualBlock
from streamstop.stop.layers import LEAK_MAX, SpikingLayer, standardised
from streamstop.stop.lif import SURROGATES
from streamstop.stop.network import Network


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, v: Tensor, surrogate: str) -> Tensor:
        ctx.save_for_backward(v)
        ctx.surrogate = surrogate
        return (v >= 0).to(v.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        (v,) = ctx.saved_tensors
        return g * SURROGATES[ctx.surrogate](v.clone()), None


class _Unrolled:
    """One spiking layer for autograd: membrane and spikes of the step before."""

    def __init__(self, layer: SpikingLayer, p: dict[str, Tensor], batch: int, bottom: bool) -> None:
        self.layer = layer
        self.bottom = bottom
        self.leak = LEAK_MAX * torch.sigmoid(p["leak_logit"])
        self.theta = torch.exp(p["log_theta"]).view_as(layer.theta)
        plain = layer.neuron.norm == "none"
        self.weight = p["weight"] if plain else standardised(p["weight"], layer.scale)
        self.bias = p["bias"]
        self.u = torch.zeros(batch, *layer.neurons, dtype=layer.weight.dtype)
        self.s = torch.zeros_like(self.u)

    def _current(self, x: Tensor) -> Tensor:
        one = self.layer
        return functional.conv2d(
            x, self.weight, self.bias, one.stride, one.pad, groups=one.spec.groups
        )

    def step(self, x: Tensor, same_step_only: bool) -> Tensor:
        """One bin; the pooled spikes, for autograd to go through."""
        x = x.reshape(x.shape[0], *self.layer.in_shape)
        if self.layer.neuron.reset == "soft":
            kept = self.leak * (self.u - self.theta * self.s)
        else:
            kept = self.leak * self.u * (1.0 - self.s)
        membrane = kept + self._current(x)
        spike: Tensor = _Spike.apply(  # type: ignore[no-untyped-call]
            membrane - self.theta, self.layer.neuron.surrogate
        )
        # Cut so, what carries on is the same number but knows only of this layer's own parameters.
        cut = same_step_only and not self.bottom
        self.u = kept + self._current(x.detach()) if cut else membrane
        self.s = spike.detach()
        pool = self.layer.spec.pool
        if pool == 1:
            return spike
        pooled = (
            functional.max_pool2d if self.layer.spec.pooling == "max" else functional.avg_pool2d
        )
        return pooled(spike, pool)


def bptt_grads(
    network: Network, x: Tensor, labels: Tensor, *, same_step_only: bool = False
) -> dict[str, Tensor]:
    """Gradients of the summed cross-entropy over all bins and samples, by parameter name.

    x : (bins, batch, polarities, height, width).  labels : (batch,).
    same_step_only : cut the path by which a layer's spike reaches later bins through the membrane
        of the layer above. What is left is what STOP keeps; the difference is what it drops.
    """
    with torch.enable_grad():
        p = {k: v.detach().clone().requires_grad_() for k, v in network.parameters().items()}
        loss = torch.zeros((), dtype=x.dtype)
        for logits in unrolled(network, p, x, same_step_only=same_step_only):
            loss = loss + functional.cross_entropy(logits, labels, reduction="sum")
        names = list(p)
        values = torch.autograd.grad(loss, [p[n] for n in names])
    return dict(zip(names, values, strict=True))


def unrolled(
    network: Network, p: dict[str, Tensor], x: Tensor, *, same_step_only: bool = False
) -> list[Tensor]:
    """Logits of every bin, a graph of all of them: x as in `bptt_grads`, `p` by parameter name."""
    batch = x.shape[1]
    bottoms = {id(layer) for layer in _bottom(network)}
    layers = {
        id(layer): _Unrolled(
            layer,
            {key: p[f"{name}.{key}"] for key in layer.parameters()},
            batch,
            id(layer) in bottoms,
        )
        for name, layer in zip(network.names, network.layers, strict=True)
    }

    def step(layer: SpikingLayer, now: Tensor) -> Tensor:
        return layers[id(layer)].step(now, same_step_only)

    said = []
    for now in x:
        below: Tensor = now
        for stage in network.stages:
            if isinstance(stage, ResidualBlock):
                inner = step(stage.parts["b"], step(stage.parts["a"], below))
                way = stage.parts.get("way")
                below = inner + (below if way is None else step(way, below))
            else:
                below = step(stage, below)
        features = below.mean((2, 3)) if network.spec.global_average else below.flatten(1)
        logits = functional.linear(features, p["readout.weight"], p["readout.bias"])
        said.append(logits)
    return said


def _bottom(network: Network) -> list[SpikingLayer]:
    """Layers fed by the input alone, which no error needs to pass."""
    first = network.stages[0]
    if isinstance(first, SpikingLayer):
        return [first]
    return [part for key, part in first.parts.items() if key != "b"]
