"""Readouts: logits from the last layer's spikes, and the gradients of their parameters.

    linear     v[t] = W f[t] + b                    memoryless: of this bin alone
    leaky      v[t] = leak * v[t-1] + W f[t] + b    a leaky integrator that never fires
    spiking    v[t] = spikes of a layer of one neuron per class (the paper's)

f[t] are the (pooled) spikes of the last layer. All learn by the same forward traces as the layers
below. The gradients of a linear, a leaky and a spiking readout's own parameters are exact under a
loss at each step. Under a leaky or spiking readout the layer below is no longer the last one.
"""

from __future__ import annotations

import copy
import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from streamstop.stop.layer import LEAK_MAX, LayerSpec, NeuronSpec, SpikingLayer
from streamstop.stop.traces import Traces

ReadoutKind = Literal["linear", "leaky_integrator", "spiking"]


class Readout:
    """Linear or leaky, without spikes.

    Attributes
    ----------
    weight : (classes, features).  bias : (classes,).
    leak_logit : (), of the leaky one.
    v : (batch, classes), its potential; trace (batch, features), trace_leak (batch, classes),
        trace_bias: traces as a layer's. Of the leaky one alone.
    """

    def __init__(
        self,
        leak: float | None,
        classes: int,
        features: int,
        generator: torch.Generator,
        dtype: torch.dtype,
    ) -> None:
        weight = torch.randn((classes, features), generator=generator, dtype=torch.float64)
        self.weight = (0.1 * weight / math.sqrt(features)).to(dtype)
        self.bias = torch.zeros(classes, dtype=dtype)
        self.leaky = leak is not None
        if leak is not None:
            logit = math.log(leak / (LEAK_MAX - leak))
            self.leak_logit = torch.tensor(logit, dtype=dtype)
        self.refresh()
        self.reset_state(1)

    def parameters(self) -> dict[str, Tensor]:
        """The tensors by name."""
        named = {"weight": self.weight, "bias": self.bias}
        return named | ({"leak_logit": self.leak_logit} if self.leaky else {})

    def to(self, device: torch.device) -> None:
        """Move parameters; the state is reset."""
        for name, value in self.parameters().items():
            setattr(self, name, value.to(device))
        self.refresh()
        self.reset_state(1)

    def refresh(self) -> None:
        """Recompute the leak from its parameter, after that moved."""
        if self.leaky:
            self.leak = LEAK_MAX * torch.sigmoid(self.leak_logit)

    def reset_state(self, batch: int) -> None:
        """Clear potential and traces."""
        if self.leaky:
            classes, features = self.weight.shape
            self.v, self.trace_leak = (self.bias.new_zeros(batch, classes) for _ in range(2))
            self.trace, self.trace_bias = (
                self.bias.new_zeros(batch, features),
                self.bias.new_zeros(()),
            )
            self._traces = self.trace, self.trace_leak, self.trace_bias
        else:
            self.trace = self.bias.new_zeros(batch, 0)

    def forward(self, features: Tensor, traces: Traces) -> Tensor:
        """Logits (batch, classes) of one bin's features (batch, features); or of several bins, one
        after the other, (bins * batch, ...).
        """
        current = functional.linear(features, self.weight, self.bias)
        if not self.leaky:
            self.trace = features
            return current
        batch = len(self.v)
        if len(current) == batch:
            self._step(features, current, traces)
            self._traces = self.trace, self.trace_leak, self.trace_bias
            return self.v
        kept = []
        for seen, now in zip(features.split(batch), current.split(batch), strict=True):
            self._step(seen, now, traces)
            trace_bias = self.trace_bias.repeat(batch, 1)
            kept.append((self.v, self.trace.clone(), self.trace_leak.clone(), trace_bias))
        v, *met = (torch.cat(of_bins) for of_bins in zip(*kept, strict=True))
        self._traces = met[0], met[1], met[2]
        return v

    def _step(self, features: Tensor, current: Tensor, traces: Traces) -> None:
        """The leaky one's potential and traces, one bin on."""
        if traces == "stop":
            self.trace.mul_(self.leak).add_(features)
            self.trace_leak.mul_(self.leak).add_(self.v)
            self.trace_bias.mul_(self.leak).add_(1.0)
        elif traces == "sltt":
            self.trace = features
            self.trace_leak.copy_(self.v)
            self.trace_bias.fill_(1.0)
        self.v = self.v * self.leak + current

    def backward(
        self, error: Tensor, grads: dict[str, Tensor], need_input: bool, *, apart: bool = False
    ) -> Tensor | None:
        """The same bins' error of the logits, (batch, classes), adds to `grads`; that of the
        features.

        apart : several errors of the one sample of the last bin, (errors, classes), each of which
            adds to sums of its own, (errors, ...).
        """
        if apart:
            self._add_apart(error, grads)
        elif not self.leaky:
            if "weight" in grads:
                grads["weight"].addmm_(error.T, self.trace)
                grads["bias"].add_(error.sum(0))
        else:
            trace, trace_leak, trace_bias = self._traces
            if "weight" in grads:
                grads["weight"].addmm_(error.T, trace)
                grads["bias"].add_((error * trace_bias).sum(0))
            if "leak_logit" in grads:
                grads["leak_logit"].add_((error * trace_leak).sum())
        return error @ self.weight if need_input else None

    def _add_apart(self, errors: Tensor, sums: dict[str, Tensor]) -> None:
        trace = self._traces[0] if self.leaky else self.trace
        if "weight" in sums:
            sums["weight"].view(errors.numel(), -1).addr_(errors.flatten(), trace[0])
        if "bias" in sums:
            sums["bias"].add_(errors * self._traces[2] if self.leaky else errors)
        if "leak_logit" in sums:
            sums["leak_logit"].addmv_(errors, self._traces[1][0])

    def flush_pending(self, grads: dict[str, Tensor]) -> None:
        """Nothing is gathered on the way."""

    def finish_grads(self, grads: dict[str, Tensor]) -> None:
        """Turn the gradient of the leak into that of its parameter."""
        if "leak_logit" in grads:
            grads["leak_logit"].mul_(self.leak * (1.0 - self.leak / LEAK_MAX))

    def state_bytes(self) -> int:
        """Bytes carried from bin to bin."""
        held = (self.v, self.trace_leak, self.trace, self.trace_bias) if self.leaky else ()
        return sum(t.numel() * t.element_size() for t in held)

    def clone(self) -> Readout:
        """The same readout with parameters and state of its own."""
        return copy.deepcopy(self)


class SpikingReadout:
    """A spiking layer of one neuron per class: its spikes are the logits.

    Attributes
    ----------
    layer : the spiking layer, linear.
    """

    def __init__(
        self,
        neuron: NeuronSpec,
        classes: int,
        features: int,
        generator: torch.Generator,
        dtype: torch.dtype,
    ) -> None:
        shape = (features, 1, 1)
        self.layer = SpikingLayer(LayerSpec("linear", classes), shape, neuron, generator, dtype)

    def parameters(self) -> dict[str, Tensor]:
        """The layer's tensors by name."""
        return self.layer.parameters()

    def to(self, device: torch.device) -> None:
        """Move parameters; the state is reset."""
        self.layer.to(device)

    def refresh(self) -> None:
        """Take up parameters that moved."""
        self.layer.refresh()

    def reset_state(self, batch: int) -> None:
        """Put the neurons at rest."""
        self.layer.reset_state(batch)

    def forward(self, features: Tensor, traces: Traces) -> Tensor:
        """Spikes (batch, classes) of one bin's features (batch, features)."""
        return self.layer.forward(features[:, :, None, None], traces).flatten(1).clone()

    def backward(
        self, error: Tensor, grads: dict[str, Tensor], need_input: bool, *, apart: bool = False
    ) -> Tensor | None:
        """The error of the spikes, (batch, classes), as a layer takes it."""
        down = self.layer.backward(error[:, :, None, None], grads, need_input, apart=apart)
        return None if down is None else down.flatten(1)

    def flush_pending(self, grads: dict[str, Tensor]) -> None:
        """Add what was gathered on the way."""
        self.layer.flush_pending(grads)

    def finish_grads(self, grads: dict[str, Tensor]) -> None:
        """Turn gradients into those of the parameters."""
        self.layer.finish_grads(grads)

    def state_bytes(self) -> int:
        """Bytes carried from bin to bin."""
        return self.layer.state_bytes()

    def clone(self) -> SpikingReadout:
        """The same readout with parameters and state of its own."""
        made = copy.deepcopy(self)
        made.layer.to(made.layer.bias.device)  # its buffers are views of its own state
        return made
