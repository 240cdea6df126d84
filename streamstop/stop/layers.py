"""One spiking layer: synapses, neurons, pooling, and the layer's share of the STOP rule.

A layer goes forward once per bin and, while learning, backward once in the same bin: the error
travels through space only (Eq. 11, 16), time is carried by the traces (Eq. 17, 24, 27)::

    delta   = g * phi(u - theta)
    dW     += delta (x) trace           trace[t] = leak * trace[t-1] + x[t]     (Eq. 20)
    db     += sum delta * e_bias
    dtheta += sum delta * (e_theta - 1)
    dleak  += sum delta * e_leak

Thresholds and leaks are learned through parametrisations that cannot leave their range: theta =
exp(log_theta), one per channel, and leak = LEAK_MAX * sigmoid(leak_logit), one per layer.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from streamstop.stop.lif import SURROGATES, LIFState, lif_step_

LEAK_MAX = 0.99
"""No leak may come closer to 1: a membrane that never forgets saturates."""


class LayerSpec(NamedTuple):
    """What a layer is: `kind` "conv" or "linear", output channels, odd kernel, stride, pooling.

    pool : factor of the average pooling of its spikes on their way to the next layer.
    """

    kind: str
    channels: int
    kernel: int = 3
    stride: int = 1
    pool: int = 1


class SpikingLayer:
    """Parameters, state and gradients of one layer. Input (batch, channels, height, width).

    A linear layer sees its input flattened and answers as (batch, channels, 1, 1), so that all
    layers speak of the same four axes.

    Attributes
    ----------
    weight : (out, in, kernel, kernel).
    bias, log_theta : (out,).
    leak_logit : ().
    grads : one tensor for each name in `learn`, summed until the learner takes them.
    state : LIFState of shape (batch, \\*out_shape); trace : (batch, \\*in_shape).
    """

    def __init__(
        self,
        spec: LayerSpec,
        in_shape: tuple[int, int, int],
        *,
        theta: float,
        leak: float,
        gain: float,
        surrogate: str,
        generator: torch.Generator,
        dtype: torch.dtype,
    ) -> None:
        self.spec = spec
        self.kernel, self.pad = spec.kernel, spec.kernel // 2
        self.stride = spec.stride
        if spec.kind == "linear":
            self.kernel, self.pad, self.stride = 1, 0, 1
            in_shape = (math.prod(in_shape), 1, 1)
        self.in_shape = in_shape
        self.surrogate = SURROGATES[surrogate]
        fan_in = in_shape[0] * self.kernel**2
        shape = (spec.channels, in_shape[0], self.kernel, self.kernel)
        weight = torch.randn(shape, generator=generator, dtype=torch.float64)
        self.weight = (weight * (gain / math.sqrt(fan_in))).to(dtype)
        self.bias = torch.zeros(spec.channels, dtype=dtype)
        self.log_theta = torch.full((spec.channels,), math.log(theta), dtype=dtype)
        self.leak_logit = torch.tensor(math.log(leak / (LEAK_MAX - leak)), dtype=dtype)
        sides = [(n + 2 * self.pad - self.kernel) // self.stride + 1 for n in in_shape[1:]]
        self.neurons = (spec.channels, sides[0], sides[1])
        self.out_shape = (spec.channels, sides[0] // spec.pool, sides[1] // spec.pool)
        self.rest(1)
        self.refresh()

    def parameters(self) -> dict[str, Tensor]:
        """The learnable tensors by name."""
        return {
            "weight": self.weight,
            "bias": self.bias,
            "log_theta": self.log_theta,
            "leak_logit": self.leak_logit,
        }

    def refresh(self) -> None:
        """Recompute leak and theta from their parametrisations, after the parameters moved."""
        self.leak = LEAK_MAX * torch.sigmoid(self.leak_logit)
        self.theta = torch.exp(self.log_theta).view(1, -1, 1, 1)

    def rest(self, batch: int) -> None:
        """Put the neurons at rest and clear the presynaptic trace."""
        dtype, device = self.weight.dtype, self.weight.device
        self.state = LIFState.rest((batch, *self.neurons), dtype, device)
        self.trace = torch.zeros((batch, *self.in_shape), dtype=dtype, device=device)

    def forward(self, x: Tensor, traces: bool) -> Tensor:
        """One bin: x (batch, in...) to pooled spikes (batch, \\*out_shape)."""
        x = x.reshape(x.shape[0], *self.in_shape)
        if traces:
            self.trace.mul_(self.leak).add_(x)
        current = functional.conv2d(x, self.weight, self.bias, self.stride, self.pad)
        lif_step_(self.state, current, self.leak, self.theta, traces)
        s = self.state.s
        return functional.avg_pool2d(s, self.spec.pool) if self.spec.pool > 1 else s

    def backward(self, g: Tensor, grads: dict[str, Tensor], need_input: bool) -> Tensor | None:
        """The same bin's error: g (batch, \\*out_shape) adds to `grads`, and goes on downwards.

        Returns the error of the layer's input, (batch, \\*in_shape), or None if not needed.
        """
        if self.spec.pool > 1:
            pool = self.spec.pool
            g = functional.interpolate(g, scale_factor=float(pool)) / pool**2
            _, high, wide = self.neurons
            if g.shape[2:] != (high, wide):  # rows that the pooling left out carry no error
                g = functional.pad(g, (0, wide - g.shape[3], 0, high - g.shape[2]))
        state = self.state
        delta = g * self.surrogate(state.u - self.theta)
        down, d_weight, _ = torch.ops.aten.convolution_backward(
            delta,
            self.trace,
            self.weight,
            None,
            [self.stride, self.stride],
            [self.pad, self.pad],
            [1, 1],
            False,
            [0, 0],
            1,
            [need_input, "weight" in grads, False],
        )
        over = (0, 2, 3)
        if "weight" in grads:
            grads["weight"].add_(d_weight)
            grads["bias"].add_(delta.sum(over) * state.e_bias)
        if "log_theta" in grads:  # chain rule: dtheta/dlog_theta = theta
            grads["log_theta"].add_((delta * (state.e_theta - 1.0)).sum(over) * self.theta.view(-1))
        if "leak_logit" in grads:  # dleak/dlogit = leak (1 - leak / LEAK_MAX)
            scale = self.leak * (1.0 - self.leak / LEAK_MAX)
            grads["leak_logit"].add_((delta * state.e_leak).sum() * scale)
        return down if need_input else None
