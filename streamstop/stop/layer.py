"""One spiking layer: synapses, neurons, pooling, and their gradients by the STOP rule.

A layer goes forward once per bin and, while learning, backward once in the same bin: the error
travels through space only (Eq. 11, 16), time is carried by the traces (Eq. 17, 24, 27)::

    delta   = g * phi(u - theta)
    dW     += delta (x) trace           trace[t] = leak * trace[t-1] + x[t]     (Eq. 20)
    db     += sum delta * e_bias
    dtheta += sum delta * (e_theta - 1)
    dleak  += sum delta * e_leak

Thresholds and leaks are learned through parametrisations that cannot leave their range: theta =
exp(log_theta), and leak = LEAK_MAX * sigmoid(leak_logit), one per layer.

With a leak gain, weights and biases act scaled by (1 - leak) / (1 - leak at the start): a constant
current then raises the membrane to the same height whatever the leak, which so sets how long a
neuron remembers and not how strongly it is driven. A bin costs the same: the gain's part of dleak
is made of the gradients of weights and biases, once an update, and is as exact as they are.

Where no prediction per bin is needed it takes several bins in one call, stacked along the batch:
the products are then of all of them at once, and the neurons keep what `backward` needs of each.

On a CPU, with the soft reset, the neurons' part of both passes is done by `_kernels`, in one pass
over memory; everywhere else by torch, as in `neuron`. The two agree to rounding.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from streamstop.stop import _kernels as kernels
from streamstop.stop.neuron import SURROGATES, LIFState, Reset, lif_step_
from streamstop.stop.synapses import Norm, Synapses
from streamstop.stop.traces import Traces

LEAK_MAX = 0.99
"""Largest leak: a membrane that never decays saturates."""

Threshold = Literal["layer", "channel", "neuron"]
Residual = Literal["add", "membrane"]

NUMPY: dict[torch.dtype, Any] = {torch.float32: np.float32, torch.float64: np.float64}


class LayerSpec(NamedTuple):
    """What a layer is: its synapses, and how its spikes go on to the next layer.

    kind : "conv", "linear", or "block": a residual block of two convolutions (`residual`).
    channels : of its output.  kernel : odd; stride, groups : of the convolution.
    pad : zeros around its input; -1 for as many as keep the sides (kernel // 2).
    pool : factor by which its spikes are pooled; pooling : "avg" or "max".
    dropout : fraction of its (pooled) outputs silenced while learning, one mask per sequence.
    residual : of a block: "add" adds the spikes of the shortcut, "membrane" adds its current to the
        membrane of the second convolution's neurons.
    """

    kind: str
    channels: int
    kernel: int = 3
    stride: int = 1
    pool: int = 1
    pooling: str = "avg"
    groups: int = 1
    pad: int = -1
    dropout: float = 0.0
    residual: Residual = "add"


class NeuronSpec(NamedTuple):
    """What all layers of a network have in common.

    threshold_init, leak_init : initial threshold and leak (membrane decay factor, beta).
    init_gain : initial weights have standard deviation init_gain / sqrt(fan-in).  surrogate : name
    in `lif.SURROGATES`.  reset : "soft" (the paper's) or "hard".  threshold_sharing : what shares
    one threshold.  normalization : "none", "weight_standardization" or "batch".  decay_input :
    whether synapses act scaled by (1 - leak) / (1 - its initial value).
    """

    threshold_init: float = 1.0
    leak_init: float = 0.9
    init_gain: float = 1.5
    surrogate: str = "exponential"
    reset: Reset = "soft"
    threshold_sharing: Threshold = "channel"
    normalization: Norm = "none"
    decay_input: bool = False


class SpikingLayer:
    r"""Parameters, state and gradients of one layer. Input (batch, channels, height, width).

    A linear layer sees its input flattened and answers as (batch, channels, 1, 1), so that all
    layers have the same four axes. Where several bins go together, all that comes and goes is
    (bins * batch, ...), one bin after the other.

    Attributes
    ----------
    synapses : weights (out, in / groups, kernel, kernel), biases (out,), presynaptic trace.
    leak_logit : ().
    log_theta : (1,) a layer, (out,) a channel, or (out, height, width) a neuron.
    state : LIFState of shape (batch, \*neurons), channels innermost in memory.
    mask : of dropout, (batch, \*out_shape), drawn for the sequence; None where none is.
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
        self.synapses = Synapses(
            in_shape,
            spec.channels,
            0 if spec.kind == "linear" else spec.kernel,
            spec.stride,
            spec.kernel // 2 if spec.pad < 0 else spec.pad,
            spec.groups,
            neuron.normalization,
            neuron.init_gain,
            generator,
            dtype,
        )
        self.in_shape = self.synapses.in_shape
        self.surrogate = SURROGATES[neuron.surrogate]
        high, wide = self.synapses.out_plane
        self.neurons = (spec.channels, high, wide)
        self.out_shape = (spec.channels, high // spec.pool, wide // spec.pool)
        shared = {"layer": (1, 1, 1), "channel": (spec.channels, 1, 1), "neuron": self.neurons}
        self._theta_shape = shared[neuron.threshold_sharing]
        thresholds = (
            self._theta_shape if neuron.threshold_sharing == "neuron" else self._theta_shape[:1]
        )
        self.log_theta = torch.full(thresholds, math.log(neuron.threshold_init), dtype=dtype)
        logit = math.log(neuron.leak_init / (LEAK_MAX - neuron.leak_init))
        self.leak_logit = torch.tensor(logit, dtype=dtype)
        self._batch = 0
        self.fused = neuron.reset == "soft" and neuron.threshold_sharing != "neuron"
        self.refresh()
        self.reset_state(1)

    @property
    def weight(self) -> Tensor:
        """The synapses' weights."""
        return self.synapses.weight

    @property
    def bias(self) -> Tensor:
        """The synapses' biases."""
        return self.synapses.bias

    @property
    def trace(self) -> Tensor:
        """The synapses' presynaptic trace."""
        return self.synapses.trace

    def parameters(self) -> dict[str, Tensor]:
        """The tensors by name that a file of weights holds."""
        named = self.synapses.parameters()
        return {**named, "log_theta": self.log_theta, "leak_logit": self.leak_logit}

    def to(self, device: torch.device) -> None:
        """Move parameters; the state is reset."""
        self.synapses.to(device)
        self.log_theta, self.leak_logit = self.log_theta.to(device), self.leak_logit.to(device)
        self._batch = 0
        if hasattr(self, "_sums"):
            self._sums.fill(0.0)
        self.refresh()
        self.reset_state(1)

    def refresh(self) -> None:
        """Recompute leak, theta and synapses from their parameters, after those moved."""
        self.leak = LEAK_MAX * torch.sigmoid(self.leak_logit)
        self.theta = torch.exp(self.log_theta).view(1, *self._theta_shape)
        self.synapses.refresh(decay_input_gain(self.leak, self.neuron))
        # A number in Python where there is a CPU to ask for it; a GPU would have to be waited for.
        self.leak_value: float | Tensor = self.leak
        if self.leak.device.type == "cpu":
            self.leak_value = float(self.leak)
            if self.fused:
                number = NUMPY[self.leak.dtype]
                self._number = number
                self._leak_number = number(self.leak_value)
                row = self.theta.expand(1, self.neurons[0], 1, 1).flatten()
                self._theta_row = row.repeat(self.neurons[2]).numpy()

    def reset_state(self, batch: int) -> None:
        """Put the neurons at rest and clear the presynaptic trace."""
        dtype, device = self.log_theta.dtype, self.log_theta.device
        self.synapses.reset_state(batch)
        if self._batch == batch:
            for tensor in self.state:
                tensor.zero_()
        else:
            shape = (batch, *self.neurons)
            self.state: LIFState = LIFState.zeros(shape, dtype, device, self.neuron.reset)
            self._delta: Tensor | None = None
            self._out: Tensor | None = None
            self._many: LIFState | None = None
            self._batch = batch
        self.mask: Tensor | None = None
        self._states = self.state
        self._on_kernels = self.fused and self.state.v.device.type == "cpu"
        if self._on_kernels:
            self._rows = self._state_rows = _rows_of(self.state)
            self._trace_biases = np.zeros(1, self._number)
            if not hasattr(self, "_sums"):
                length = self.neurons[2] * self.neurons[0]
                self._sums = np.zeros((3, length), NUMPY[dtype])

    def forward(
        self, x: Tensor, traces: Traces, *, constant: bool = False, extra: Tensor | None = None
    ) -> Tensor:
        r"""One bin: x (batch, in...) to pooled spikes (batch, \*out_shape); or several, one after
        the other: (bins * batch, in...) to (bins * batch, \*out_shape).

        constant : x is the same in every bin.  extra : current from elsewhere, (batch, \*neurons).
        """
        bins = x.shape[0] // self._batch
        current = self.synapses.forward(x, self.leak_value, traces, constant)
        if extra is not None:
            current = current + extra
        self._advance(current, traces, bins)
        s = self._pooled(self._states.spikes)
        if self.spec.dropout and self.mask is not None and traces != "none":
            s = self._masked(s)
        return s

    def _advance(self, current: Tensor, traces: Traces, bins: int) -> None:
        """The neurons' state, so many bins on; `_states` is then what it was after each of them."""
        fused = self._on_kernels and traces != "none"
        many = None if bins == 1 else self._room(bins)
        self._states = self.state if many is None else many
        if self._on_kernels:
            self._state_rows = self._rows if many is None else _rows_of(many)
        if fused:
            self._trace_biases = self._next_trace_biases(traces, bins)
            kernels.advance(self._number)(
                *self._rows, kernels.rows(current), self._theta_row, self._leak_number,
                self._number(traces == "stop"), bins, None if many is None else self._state_rows,
            )  # fmt: skip
            return
        for j in range(bins):
            now = current if len(current) == self._batch else current[self._places(j)]
            self._advance_one(now, traces)
            for kept, of_bin in zip(many or (), self.state, strict=False):
                kept[self._places(j)].copy_(of_bin)

    def _advance_one(self, current: Tensor, traces: Traces) -> None:
        """One bin on, where the kernel for learning is not for use."""
        if self._on_kernels:
            kernels.advance_untraced(self._number)(
                *self._rows[:2], kernels.rows(current), self._theta_row, self._leak_number
            )
        else:
            lif_step_(self.state, current, self.leak, self.theta, traces, self.neuron.reset)

    def _places(self, j: int) -> slice:
        """Where the samples of bin j are, of those that go together."""
        return slice(j * self._batch, (j + 1) * self._batch)

    def _next_trace_biases(self, traces: Traces, bins: int) -> NDArray[Any]:
        """The bias's trace in each of the next bins, the same for all neurons."""
        trace_bias, found = float(self._trace_biases[-1]), []
        carried = float(self._leak_number) if traces == "stop" else 0.0
        for _ in range(bins):
            trace_bias = carried * trace_bias + 1.0
            found.append(trace_bias)
        return np.array(found, self._number)

    def _room(self, bins: int) -> LIFState:
        r"""Tensors for the states of so many bins, (bins * batch, \*neurons)."""
        size, state = bins * self._batch, self.state
        if self._many is None or len(self._many.v) < size:
            shape = (size, *self.neurons)
            made = LIFState.zeros(shape, state.v.dtype, state.v.device, self.neuron.reset)
            if state.trace_bias.dim() == 0:  # the same for all neurons, but not in all bins
                made = made._replace(trace_bias=state.v.new_zeros(size, 1, 1, 1))
            self._many = made
        return LIFState(*(tensor[:size] for tensor in self._many))

    def _masked(self, s: Tensor) -> Tensor:
        assert self.mask is not None
        if s.shape[0] == self._batch:
            return s * self.mask
        of_bins: Tensor = s.unflatten(0, (-1, self._batch)) * self.mask
        return of_bins.flatten(0, 1)

    def _pooled(self, s: Tensor) -> Tensor:
        by = self.spec.pool
        if by > 1 and self.spec.pooling == "max":
            s, self._chosen = functional.max_pool2d(s, by, return_indices=True)
        elif by > 1:
            s = self._averaged(s)
        return s

    def _averaged(self, s: Tensor) -> Tensor:
        by = self.spec.pool
        if not self._on_kernels:
            return functional.avg_pool2d(s, by)
        if self._out is None or self._out.shape[0] != s.shape[0]:
            channels, high, wide = self.out_shape
            self._out = s.new_empty(s.shape[0], high, wide, channels).permute(0, 3, 1, 2)
            self._out_row = kernels.rows(self._out)
        channels, high, _ = self.neurons
        mean = self._number(1 / by**2)
        kernels.pool()(self._state_rows[1], self._out_row, high, by, channels, mean)
        return self._out

    def backward(
        self, g: Tensor, grads: dict[str, Tensor], need_input: bool, *, apart: bool = False
    ) -> Tensor | None:
        r"""The same bins' error: g (batch, \*out_shape) adds to `grads`, and goes on downwards.

        What it adds is whole once `flush_pending` was called.

        apart : g are several errors of the one sample of the last bin, (errors, \*out_shape), and
            `grads` have a sum for each of them, (errors, ...), whole at once.

        Returns the error of the layer's input, (batch, \*in_shape), or None if not needed.
        """
        if not grads and not need_input:
            return None
        if apart:
            return self.synapses.backward_apart(self.errors_apart(g, grads), grads, need_input)
        return self.synapses.backward(self.error(g, grads), grads, need_input)

    def error(self, g: Tensor, grads: dict[str, Tensor]) -> Tensor:
        r"""Error of the input current, (batch, \*neurons); biases, thresholds, leak add theirs."""
        if self.spec.dropout and self.mask is not None:
            g = self._masked(g)
        if not self._on_kernels:
            return self._error_by_torch(g, grads)
        by = self.spec.pool
        if self.spec.pooling == "max":
            g, by = self._unpool(g), 1
        number = self._number
        if self._delta is None or self._delta.shape[0] != g.shape[0]:
            self._delta = torch.empty_like(self._states.v)
            self._delta_row = kernels.rows(self._delta)
        v, _, trace_theta, trace_leak = self._state_rows
        kernels.backward(number, self.neuron.surrogate)(
            kernels.rows(g), v, trace_theta, trace_leak, self._trace_biases, self._theta_row,
            self.neurons[1], by, self.neurons[0], number(1 / by**2), self._delta_row, self._sums,
        )  # fmt: skip
        return self._delta

    def errors_apart(self, g: Tensor, sums: dict[str, Tensor]) -> Tensor:
        r"""`error` for several errors of one sample: g (errors, \*out_shape), each to its sums."""
        if self.spec.dropout and self.mask is not None:
            g = g * self.mask
        state, (channels, high, wide) = self.state, self.neurons
        delta = self._apart(g, self.surrogate(state.v - self.theta)[0])
        # Row by row of memory, all sums over a channel's neurons are one product.
        rows = delta.view(len(g), channels, high * wide).transpose(0, 1)
        trace_bias = state.trace_bias
        if self._on_kernels:  # which keep it as a number
            trace_bias = torch.full_like(self.leak, float(self._trace_biases[-1]))
        traces = (trace_bias.expand_as(state.v), state.trace_theta - 1.0, state.trace_leak)
        columns = torch.stack([one.reshape(channels, -1) for one in traces], 2)
        bias, theta, leak = (rows @ columns).permute(2, 1, 0)
        if "bias" in sums:
            sums["bias"].add_(bias)
        if "leak_logit" in sums:
            sums["leak_logit"].add_(leak.sum(1))
        if "log_theta" in sums and self.neuron.threshold_sharing == "neuron":
            sums["log_theta"].addcmul_(delta, traces[1])
        elif "log_theta" in sums:
            sums["log_theta"].add_(theta.sum_to_size(len(g), *self.log_theta.shape))
        return delta

    def _apart(self, g: Tensor, phi: Tensor) -> Tensor:
        r"""Errors of pooled spikes, (errors, \*out_shape), times phi, (\*neurons): row by row."""
        by, (channels, high, wide) = self.spec.pool, self.out_shape
        if by == 1 or self.spec.pooling == "max" or self.neurons[1:] != (high * by, wide * by):
            return self._unpool(g).contiguous() * phi.contiguous()
        cells = phi.reshape(channels, high, by, wide, by)
        found = cells * (g / by**2).contiguous()[:, :, :, None, :, None]
        return found.view(len(g), *self.neurons)

    def _error_by_torch(self, g: Tensor, grads: dict[str, Tensor]) -> Tensor:
        state = self._states
        delta = self._unpool(g) * self.surrogate(state.v - self.theta)
        if "bias" in grads:
            grads["bias"].add_((delta * state.trace_bias).sum((0, 2, 3)))
        if "log_theta" in grads:
            gathered = delta * (state.trace_theta - 1.0)
            theta = grads["log_theta"]
            theta.add_(gathered.sum_to_size(1, *self._theta_shape).view_as(theta))
        if "leak_logit" in grads:
            grads["leak_logit"].add_((delta * state.trace_leak).sum())
        return delta

    def flush_pending(self, grads: dict[str, Tensor]) -> None:
        """Add to `grads` what was gathered on the way: sums of the kernels, a constant input's."""
        self.synapses.flush_pending(grads)
        if not self._on_kernels:
            return
        of_channels = torch.from_numpy(self._sums).view(3, -1, self.neurons[0]).sum(1)
        if "bias" in grads:
            grads["bias"].add_(of_channels[0])
        if "log_theta" in grads:
            theta = grads["log_theta"]
            theta.add_(of_channels[1].sum_to_size(theta.shape))
        if "leak_logit" in grads:
            grads["leak_logit"].add_(of_channels[2].sum())
        self._sums.fill(0.0)

    def finish_grads(self, grads: dict[str, Tensor]) -> None:
        """Turn gathered gradients of synapses, theta and leak into those of their parameters.

        Called once an update; the chain rule is linear, so that it may wait until then.
        """
        of_gain = self.synapses.finish_grads(grads, of_leak="leak_logit" in grads)
        if of_gain is not None:  # dgain/dleak
            grads["leak_logit"].sub_(of_gain / (1.0 - self.neuron.leak_init))
        if "log_theta" in grads:  # dtheta/dlog_theta = theta
            grads["log_theta"].mul_(self.theta.view_as(grads["log_theta"]))
        if "leak_logit" in grads:  # dleak/dlogit = leak (1 - leak / LEAK_MAX)
            grads["leak_logit"].mul_(self.leak * (1.0 - self.leak / LEAK_MAX))

    def state_bytes(self) -> int:
        """Bytes of neuron states and presynaptic trace."""
        held = (*self.state, self.trace)
        return sum(t.numel() * t.element_size() for t in held)

    def _unpool(self, g: Tensor) -> Tensor:
        r"""Error of the pooled spikes to error of the spikes, (batch, \*neurons)."""
        pool, (_, high, wide) = self.spec.pool, self.neurons
        if pool == 1:
            return g
        if self.spec.pooling == "max":
            chosen = self._chosen.expand_as(g)
            return functional.max_unpool2d(g, chosen, [pool, pool], output_size=[high, wide])
        g = functional.interpolate(g, scale_factor=float(pool)).div_(pool**2)
        if g.shape[2:] != (high, wide):  # rows that the pooling left out carry no error
            g = functional.pad(g, (0, wide - g.shape[3], 0, high - g.shape[2]))
        return g


def decay_input_gain(leak: Tensor, neuron: NeuronSpec) -> Tensor | None:
    """What synapses act scaled by: 1 at the start; None where leaks have no gain."""
    return (1.0 - leak) / (1.0 - neuron.leak_init) if neuron.decay_input else None


def _rows_of(state: LIFState) -> tuple[NDArray[Any], ...]:
    """Membranes, spikes and the two traces as the kernels take them."""
    return tuple(kernels.rows(tensor) for tensor in state[:4])
