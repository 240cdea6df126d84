"""Backpropagation through time: the same network unrolled and differentiated by autograd.

It is the oracle to which `tests/stop` compares the rule in float64, and the control
`rule = "bptt"` of experiments in float32. The reset spike is detached, as in STOP; the spike's
derivative is the surrogate. Memory grows with time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from streamstop.stop.batch_norm import EPSILON, MOMENTUM
from streamstop.stop.layer import LEAK_MAX, SpikingLayer, decay_input_gain
from streamstop.stop.losses import Loss
from streamstop.stop.network import Network
from streamstop.stop.neuron import SURROGATES
from streamstop.stop.readouts import SpikingReadout
from streamstop.stop.residual import ResidualBlock
from streamstop.stop.synapses import Synapses, standardised


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


class _Current:
    """Synapses for autograd."""

    def __init__(
        self, synapses: Synapses, p: dict[str, Tensor], gain: Tensor | None = None
    ) -> None:
        self.synapses = synapses
        self.p = p
        self.gain = gain
        self.weight = p["weight"]
        if synapses.norm == "weight_standardization":
            self.weight = standardised(self.weight, synapses.size)

    def of(self, x: Tensor) -> Tensor:
        made = self._plain(x)
        return made if self.gain is None else made * self.gain

    def _plain(self, x: Tensor) -> Tensor:
        one, normal = self.synapses, self.synapses.normalisation
        y = functional.conv2d(
            x.reshape(x.shape[0], *one.in_shape),
            self.weight,
            None if normal else self.p["bias"],
            one.stride,
            one.pad,
            groups=one.groups,
        )
        if normal is None:
            return y
        variance, mean = torch.var_mean(y, (0, 2, 3), correction=0, keepdim=True)
        normal.mean.lerp_(mean.detach().flatten(), MOMENTUM)
        normal.variance.lerp_(variance.detach().flatten(), MOMENTUM)
        scale, bias = self.p["scale"].view(1, -1, 1, 1), self.p["bias"].view(1, -1, 1, 1)
        return (y - mean) / (variance + EPSILON).sqrt() * scale + bias


class _Unrolled:
    """One spiking layer for autograd: membrane and spikes of the step before."""

    def __init__(self, layer: SpikingLayer, p: dict[str, Tensor], batch: int, bottom: bool) -> None:
        self.layer = layer
        self.bottom = bottom
        self.leak = LEAK_MAX * torch.sigmoid(p["leak_logit"])
        self.theta = torch.exp(p["log_theta"]).view_as(layer.theta)
        self.synapses = _Current(layer.synapses, p, decay_input_gain(self.leak, layer.neuron))
        self.u = layer.theta.new_zeros(batch, *layer.neurons)
        self.s = torch.zeros_like(self.u)

    def step(self, current: Tensor, cut: Tensor) -> Tensor:
        """One bin; the pooled spikes, for autograd to go through.

        cut : the current as it carries on to later bins: the same number, which may know less.
        """
        if self.layer.neuron.reset == "soft":
            kept = self.leak * (self.u - self.theta * self.s)
        else:
            kept = self.leak * self.u * (1.0 - self.s)
        membrane = kept + current
        spike: Tensor = _Spike.apply(  # type: ignore[no-untyped-call]
            membrane - self.theta, self.layer.neuron.surrogate
        )
        self.u = membrane if cut is current else kept + cut
        self.s = spike.detach()
        spec = self.layer.spec
        if spec.pool > 1:
            pooled = functional.max_pool2d if spec.pooling == "max" else functional.avg_pool2d
            spike = pooled(spike, spec.pool)
        return spike if self.layer.mask is None else spike * self.layer.mask


class _Unroller:
    """A whole network for autograd."""

    def __init__(
        self, network: Network, p: dict[str, Tensor], batch: int, same_step_only: bool
    ) -> None:
        self.network = network
        self.p = p
        self.same_step_only = same_step_only
        bottoms = {id(layer) for layer in _bottom(network)}
        self.layers = {
            id(layer): _Unrolled(layer, self._of(name), batch, id(layer) in bottoms)
            for name, layer in zip(network.layer_names, network.layers, strict=True)
        }
        self.skips = {
            id(stage.shortcut): _Current(stage.shortcut, self._of(f"block{i}.skip"))
            for i, stage in enumerate(network.stages, start=1)
            if isinstance(stage, ResidualBlock) and stage.shortcut is not None
        }
        self.v: Tensor = torch.zeros(())
        if isinstance(network.readout, SpikingReadout):
            layer = network.readout.layer
            none_below = not network.stages
            self.layers[id(layer)] = _Unrolled(layer, self._of("readout"), batch, none_below)
        elif network.readout.leaky:
            self.leak = LEAK_MAX * torch.sigmoid(p["readout.leak_logit"])
        self._constant: Tensor | None = None

    def _of(self, name: str) -> dict[str, Tensor]:
        start = f"{name}."
        return {k[len(start) :]: v for k, v in self.p.items() if k.startswith(start)}

    def _layer(self, layer: SpikingLayer, x: Tensor, extra: tuple[Tensor, Tensor] | None = None):  # type: ignore[no-untyped-def]
        one = self.layers[id(layer)]
        current = one.synapses.of(x)
        cut = current
        if self.same_step_only and not one.bottom:
            cut = one.synapses.of(x.detach())
        if extra is not None:
            cut = (cut if cut is not current else current) + extra[1]
            current = current + extra[0]
            cut = cut if self.same_step_only else current
        return one.step(current, cut)

    def step(self, x: Tensor, constant: bool) -> Tensor:
        """Logits of one bin."""
        for i, stage in enumerate(self.network.stages):
            if isinstance(stage, ResidualBlock):
                x = self._block(stage, x)
            elif i == 0 and constant:
                one = self.layers[id(stage)]
                if self._constant is None:
                    self._constant = one.synapses.of(x)
                x = one.step(self._constant, self._constant)
            else:
                x = self._layer(stage, x)
        f = x.mean((2, 3)) if self.network.spec.global_average else x.flatten(1)
        readout = self.network.readout
        if isinstance(readout, SpikingReadout):
            return self._layer(readout.layer, f[:, :, None, None]).flatten(1)  # type: ignore[no-any-return]
        weight, bias = self.p["readout.weight"], self.p["readout.bias"]
        current = functional.linear(f, weight, bias)
        if not readout.leaky:
            return current
        kept = self.leak * self.v
        self.v = kept + current
        if self.same_step_only:
            current = self.v
            self.v = kept + functional.linear(f.detach(), weight, bias)
            return current
        return self.v

    def _block(self, block: ResidualBlock, x: Tensor) -> Tensor:
        inner = self._layer(block.parts["a"], x)
        if block.spec.residual == "membrane":
            if block.shortcut is None:
                extra = x, x.detach()
            else:
                skip = self.skips[id(block.shortcut)]
                made = skip.of(x)
                extra = made, skip.of(x.detach()) if self.same_step_only else made
            return self._layer(block.parts["b"], inner, extra)  # type: ignore[no-any-return]
        way = block.parts.get("way")
        around = x if way is None else self._layer(way, x)
        return self._layer(block.parts["b"], inner) + around  # type: ignore[no-any-return]


def loss_and_grads(
    network: Network,
    bins: Iterable[Tensor],
    labels: Tensor,
    loss: Loss | None = None,
    *,
    constant: bool = False,
    since: int = 0,
    same_step_only: bool = False,
) -> tuple[Tensor, list[Tensor], dict[str, Tensor]]:
    """Loss summed over bins and samples, logits of every bin, gradients by parameter name.

    bins : each (batch, polarities, height, width).  labels : (batch,).
    constant : all bins are the same.  since : the first bin that there is a loss of.
    same_step_only : cut the path by which a layer's spike reaches later bins through the membrane
        of the layer above. What is left is what STOP keeps; the difference is what it drops.
    """
    loss = loss or Loss()
    with torch.enable_grad():
        own = torch.contiguous_format
        p = {
            k: v.detach().clone(memory_format=own).requires_grad_()
            for k, v in network.parameters().items()
        }
        all_logits = unroll(network, p, bins, constant=constant, same_step_only=same_step_only)
        target = loss.target(labels, network.spec.classes, all_logits[0].dtype)
        total = all_logits[0].new_zeros(())
        for i, logits in enumerate(all_logits):
            if i >= since and loss.applies_to(last=i == len(all_logits) - 1):
                total = total + loss.loss_and_grad(logits, target)[0]
        values = torch.autograd.grad(total, list(p.values()), allow_unused=True)
    grads = {k: v for k, v in zip(p, values, strict=True) if v is not None}
    return total.detach(), [one.detach() for one in all_logits], grads


def grads(
    network: Network,
    x: Tensor,
    labels: Tensor,
    loss: Loss | None = None,
    *,
    same_step_only: bool = False,
) -> dict[str, Tensor]:
    """The gradients alone, of x (bins, batch, polarities, height, width): as `loss_and_grads`."""
    return loss_and_grads(network, x, labels, loss, same_step_only=same_step_only)[2]


def unroll(
    network: Network,
    p: dict[str, Tensor],
    bins: Iterable[Tensor],
    *,
    constant: bool = False,
    same_step_only: bool = False,
) -> list[Tensor]:
    """Logits of every bin, a graph of all of them.

    bins : as in `loss_and_grads`.  p : the parameters, by name.
    """
    unroller: _Unroller | None = None
    all_logits = []
    for x in bins:
        if unroller is None:
            unroller = _Unroller(network, p, len(x), same_step_only)
        all_logits.append(unroller.step(x, constant))
    return all_logits


def _bottom(network: Network) -> list[SpikingLayer]:
    """Layers fed by the input alone, which no error needs to pass."""
    if not network.stages:
        return []
    first = network.stages[0]
    if isinstance(first, SpikingLayer):
        return [first]
    return [part for key, part in first.parts.items() if key != "b"]
