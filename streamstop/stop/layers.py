"""One spiking layer: synapses, neurons, pooling, and the layer's share of the STOP rule.

A layer goes forward once per bin and, while learning, backward once in the same bin: the error
travels through space only (Eq. 11, 16), time is carried by the traces (Eq. 17, 24, 27)::

    delta   = g * phi(u - theta)
    dW     += delta (x) trace           trace[t] = leak * trace[t-1] + x[t]     (Eq. 20)
    db     += sum delta * e_bias
    dtheta += sum delta * (e_theta - 1)
    dleak  += sum delta * e_leak

Thresholds and leaks are learned through parametrisations that cannot leave their range: theta =
exp(log_theta), and leak = LEAK_MAX * sigmoid(leak_logit), one per layer.

With `norm="weight"` the synapses are scaled standardised weights (Brock et al., ICLR 2021): each
output's weights less their mean, over their standard deviation, times gain / sqrt(fan-in). It is
the normalisation that is legal online: it looks at weights, never at data.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from streamstop.stop.lif import SURROGATES, LIFState, Reset, Traces, lif_step_

LEAK_MAX = 0.99
"""No leak may come closer to 1: a membrane that never forgets saturates."""

Threshold = Literal["layer", "channel", "neuron"]


class LayerSpec(NamedTuple):
    """What a layer is: its synapses, and how its spikes go on to the next layer.

    kind : "conv", "linear", or "block": a residual block of two convolutions (`blocks`).
    channels : of its output.  kernel : odd; stride, groups : of the convolution.
    pad : zeros around its input; -1 for as many as keep the sides (kernel // 2).
    pool : factor by which its spikes are pooled; pooling : "avg" or "max".
    """

    kind: str
    channels: int
    kernel: int = 3
    stride: int = 1
    pool: int = 1
    pooling: str = "avg"
    groups: int = 1
    pad: int = -1


class NeuronSpec(NamedTuple):
    """What all layers of a network have in common.

    theta, leak : initial threshold and leak.  gain : initial weights have standard deviation
    gain / sqrt(fan-in).  surrogate : name in `lif.SURROGATES`.  reset : "soft" (the paper's) or
    "hard".  threshold : what shares one threshold.  norm : "none" or "weight".
    """

    theta: float = 1.0
    leak: float = 0.9
    gain: float = 1.5
    surrogate: str = "exponential"
    reset: Reset = "soft"
    threshold: Threshold = "channel"
    norm: Literal["none", "weight"] = "none"


class SpikingLayer:
    """Parameters, state and gradients of one layer. Input (batch, channels, height, width).

    A linear layer sees its input flattened and answers as (batch, channels, 1, 1), so that all
    layers speak of the same four axes.

    Attributes
    ----------
    weight : (out, in / groups, kernel, kernel); synapses : what it becomes under `norm`.
    bias : (out,).  leak_logit : ().
    log_theta : (1,) a layer, (out,) a channel, or (out, height, width) a neuron.
    state : LIFState of shape (batch, \\*neurons); trace : (batch, \\*in_shape).
    """

    def __init__(
        self,
        spec: LayerSpec,
        in_shape: tuple[int, int, int],
        neuron: NeuronSpec,
        generator: torch.Generator,
        dtype: torch.dtype,
    ) -> None:
        self.spec = spec
        self.neuron = neuron
        self.kernel = spec.kernel
        self.pad = spec.kernel // 2 if spec.pad < 0 else spec.pad
        self.stride = spec.stride
        if spec.kind == "linear":
            self.kernel, self.pad, self.stride = 1, 0, 1
            in_shape = (math.prod(in_shape), 1, 1)
        self.in_shape = in_shape
        self.surrogate = SURROGATES[neuron.surrogate]
        shape = (spec.channels, in_shape[0] // spec.groups, self.kernel, self.kernel)
        self.scale = neuron.gain / math.sqrt(math.prod(shape[1:]))
        weight = torch.randn(shape, generator=generator, dtype=torch.float64)
        self.weight = (weight * self.scale).to(dtype)
        self.bias = torch.zeros(spec.channels, dtype=dtype)
        sides = [(n + 2 * self.pad - self.kernel) // self.stride + 1 for n in in_shape[1:]]
        self.neurons = (spec.channels, sides[0], sides[1])
        self.out_shape = (spec.channels, sides[0] // spec.pool, sides[1] // spec.pool)
        shared = {"layer": (1, 1, 1), "channel": (spec.channels, 1, 1), "neuron": self.neurons}
        self._theta_shape = shared[neuron.threshold]
        thresholds = self._theta_shape if neuron.threshold == "neuron" else self._theta_shape[:1]
        self.log_theta = torch.full(thresholds, math.log(neuron.theta), dtype=dtype)
        logit = math.log(neuron.leak / (LEAK_MAX - neuron.leak))
        self.leak_logit = torch.tensor(logit, dtype=dtype)
        self._chosen: Tensor | None = None
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
        """Recompute leak, theta and synapses from their parameters, after those moved."""
        self.leak = LEAK_MAX * torch.sigmoid(self.leak_logit)
        self.theta = torch.exp(self.log_theta).view(1, *self._theta_shape)
        self.synapses = self.weight
        if self.neuron.norm == "weight":
            self.synapses = standardised(self.weight, self.scale)

    def rest(self, batch: int) -> None:
        """Put the neurons at rest and clear the presynaptic trace."""
        dtype, device = self.weight.dtype, self.weight.device
        shape = (batch, *self.neurons)
        self.state = LIFState.rest(shape, dtype, device, self.neuron.reset)
        self.trace = torch.zeros((batch, *self.in_shape), dtype=dtype, device=device)

    def forward(self, x: Tensor, traces: Traces) -> Tensor:
        """One bin: x (batch, in...) to pooled spikes (batch, \\*out_shape)."""
        x = x.reshape(x.shape[0], *self.in_shape)
        if traces == "stop":
            self.trace.mul_(self.leak).add_(x)
        elif traces == "sltt":
            self.trace = x
        current = functional.conv2d(
            x, self.synapses, self.bias, self.stride, self.pad, groups=self.spec.groups
        )
        lif_step_(self.state, current, self.leak, self.theta, traces, self.neuron.reset)
        s, pool = self.state.s, self.spec.pool
        if pool > 1 and self.spec.pooling == "max":
            s, self._chosen = functional.max_pool2d(s, pool, return_indices=True)
        elif pool > 1:
            s = functional.avg_pool2d(s, pool)
        return s

    def backward(self, g: Tensor, grads: dict[str, Tensor], need_input: bool) -> Tensor | None:
        """The same bin's error: g (batch, \\*out_shape) adds to `grads`, and goes on downwards.

        Returns the error of the layer's input, (batch, \\*in_shape), or None if not needed.
        """
        g = self._unpool(g)
        state = self.state
        delta = g * self.surrogate(state.u - self.theta)
        if not grads and not need_input:
            return None
        down, d_weight, _ = torch.ops.aten.convolution_backward(
            delta,
            self.trace,
            self.synapses,
            None,
            [self.stride, self.stride],
            [self.pad, self.pad],
            [1, 1],
            False,
            [0, 0],
            self.spec.groups,
            [need_input, "weight" in grads, False],
        )
        over = (0, 2, 3)
        if "weight" in grads:
            grads["weight"].add_(d_weight)
            grads["bias"].add_((delta * state.e_bias).sum(over))
        if "log_theta" in grads:
            gathered = delta * (state.e_theta - 1.0)
            theta = grads["log_theta"]
            theta.add_(gathered.sum_to_size(1, *self._theta_shape).view_as(theta))
        if "leak_logit" in grads:
            grads["leak_logit"].add_((delta * state.e_leak).sum())
        return down if need_input else None

    def settle(self, grads: dict[str, Tensor]) -> None:
        """Turn gathered gradients of synapses, theta and leak into those of their parameters.

        Called once an update; the chain rule is linear, so that it may wait until then.
        """
        if "weight" in grads and self.neuron.norm == "weight":
            grads["weight"].copy_(standardised_grad(self.weight, self.scale, grads["weight"]))
        if "log_theta" in grads:  # dtheta/dlog_theta = theta
            grads["log_theta"].mul_(self.theta.view_as(grads["log_theta"]))
        if "leak_logit" in grads:  # dleak/dlogit = leak (1 - leak / LEAK_MAX)
            grads["leak_logit"].mul_(self.leak * (1.0 - self.leak / LEAK_MAX))

    def _unpool(self, g: Tensor) -> Tensor:
        """Error of the pooled spikes to error of the spikes, (batch, \\*neurons)."""
        pool, (_, high, wide) = self.spec.pool, self.neurons
        if pool == 1:
            return g
        if self.spec.pooling == "max":
            assert self._chosen is not None
            return functional.max_unpool2d(g, self._chosen, [pool, pool], output_size=[high, wide])
        g = functional.interpolate(g, scale_factor=float(pool)).div_(pool**2)
        if g.shape[2:] != (high, wide):  # rows that the pooling left out carry no error
            g = functional.pad(g, (0, wide - g.shape[3], 0, high - g.shape[2]))
        return g


def standardised(weight: Tensor, scale: float) -> Tensor:
    """Weights (out, ...) with mean 0 and standard deviation `scale` over each output's inputs."""
    centred = weight - weight.mean((1, 2, 3), keepdim=True)
    return centred * (scale / centred.square().mean((1, 2, 3), keepdim=True).sqrt().add(1e-6))


def standardised_grad(weight: Tensor, scale: float, grad: Tensor) -> Tensor:
    """Gradient of the weights, given `grad` of `standardised(weight, scale)`."""
    over = (1, 2, 3)
    centred = weight - weight.mean(over, keepdim=True)
    deviation = centred.square().mean(over, keepdim=True).sqrt()
    divisor = deviation + 1e-6
    along = (grad * centred).mean(over, keepdim=True) / (deviation * divisor)
    full = (grad - centred * along) * (scale / divisor)
    return full - full.mean(over, keepdim=True)
