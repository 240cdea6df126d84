"""Synapses: from the spikes of one layer to the input current of the next, and their gradients.

A convolution or a linear map, its normalisation, and the presynaptic trace (Eq. 20)::

    current = W x[t] + b        trace[t] = leak * trace[t-1] + x[t]        dW += delta (x) trace

The trace decays with the leak of the neurons that the synapses feed. Where the input is the same in
every bin (a static image as constant current), the trace is that image times a number: current and
weight gradient are then computed once per sequence, exactly.

Errors travel within their own bin, and weights do not change between two updates. Where a batch is
small and weights are many, traces and errors of up to MAX_PENDING samples are therefore collected
and multiplied in one product, which writes the gradient once. The stream's length does not matter.

A layer may scale what its synapses do by a number, its gain, which follows its leak (`layer`).
Gradients are summed for the scaled weights and biases; `finish_grads` turns them into those of the
plain ones and of the gain.

With `norm="weight_standardization"` the synapses are scaled standardised weights (Brock et al.,
ICLR 2021): each output's weights minus their mean, over their standard deviation, times gain /
sqrt(fan-in). It looks at weights, never at data, and so is allowed online. Batch normalisation is
in `batch_norm`.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from streamstop.stop._kernels import channels_last
from streamstop.stop._products import (
    Geometry,
    SparseProduct,
    add_gradients,
    add_gradients_apart,
    multiply,
    multiply_in,
)
from streamstop.stop.batch_norm import BatchNorm
from streamstop.stop.traces import Traces, decay_and_add

Norm = Literal["none", "weight_standardization", "batch"]

MAX_PENDING = 8
"""Samples whose traces and errors are collected for one product with the weight gradient."""


class Synapses:
    r"""Weights, their normalisation, and the trace of what comes in.

    Parameters
    ----------
    in_shape : (channels, height, width) of the input.
    channels, kernel, stride, pad, groups : of the convolution; kernel 0 means linear: the input is
        taken as one vector, and the output has a plane of 1x1.
    gain : initial weights have standard deviation gain / sqrt(fan-in).

    Attributes
    ----------
    weight : (out, in / groups, kernel, kernel), channels innermost in memory.  bias : (out,).
    normalisation : BatchNorm with norm="batch", else None.
    trace : (batch, \*in_shape), of the last bin.
    compute : dtype in which the products are computed; None for that of the weights.
    seen : where `watched`, the last input, not copied.
    """

    def __init__(
        self,
        in_shape: tuple[int, int, int],
        channels: int,
        kernel: int,
        stride: int,
        pad: int,
        groups: int,
        norm: Norm,
        gain: float,
        generator: torch.Generator,
        dtype: torch.dtype,
    ) -> None:
        self.linear = kernel == 0
        if self.linear:
            in_shape, kernel, stride, pad = (math.prod(in_shape), 1, 1), 1, 1, 0
        self.geometry = Geometry(in_shape, kernel, stride, pad, groups, self.linear)
        self.in_shape = in_shape
        self.kernel, self.stride, self.pad, self.groups = kernel, stride, pad, groups
        self.norm = norm
        self.compute: torch.dtype | None = None
        self.watched = False
        self.seen: Tensor | None = None
        self._cleared: Tensor | None = None
        self._scaled: Tensor | None = None
        self._sparse: SparseProduct | None = None
        shape = (channels, in_shape[0] // groups, kernel, kernel)
        self.size = gain / math.sqrt(math.prod(shape[1:]))
        weight = torch.randn(shape, generator=generator, dtype=torch.float64)
        self.weight = channels_last((weight * self.size).to(dtype))
        self.bias = torch.zeros(channels, dtype=dtype)
        self.normalisation = BatchNorm(channels, dtype) if norm == "batch" else None
        self.reset_state(1)
        self.refresh()

    @property
    def out_plane(self) -> tuple[int, int]:
        """Rows and columns of the output."""
        return self.geometry.out_plane

    def parameters(self) -> dict[str, Tensor]:
        """The tensors by name, running statistics among them, which no gradient moves."""
        named = {"weight": self.weight, "bias": self.bias}
        return named | (self.normalisation.parameters() if self.normalisation else {})

    def to(self, device: torch.device) -> None:
        """Move parameters; the state is reset."""
        self.weight, self.bias = self.weight.to(device), self.bias.to(device)
        if self.normalisation is not None:
            self.normalisation.to(device)
        self._cleared = None
        self.reset_state(1)
        self.refresh()

    def refresh(self, gain: Tensor | None = None) -> None:
        """Recompute what the weights become, after they moved.

        gain : what scales weights and biases, (); None for 1.
        """
        self.used, self.shift = self.weight, self.bias
        if self._sparse is not None:
            self._sparse.refresh()
        if self.norm == "weight_standardization":
            self.used = standardised(self.weight, self.size)
        elif self.normalisation is not None:
            self.used, self.shift = self.folded()
            self.normalisation.gain = gain
        self._gain = gain
        if gain is not None:
            self._ungained = self.used
            if self._scaled is None or self._scaled.device != self.used.device:
                self._scaled = torch.empty_like(self.used)
            self.used = torch.mul(self.used, gain, out=self._scaled)
            self.shift = self.shift * gain

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weights and biases that do what these do with running statistics, without any; the gain
        is not in them.
        """
        assert self.normalisation is not None
        return self.normalisation.folded(self.weight, self.bias)

    def reset_state(self, batch: int) -> None:
        """Clear the trace."""
        if self._cleared is None or len(self._cleared) != batch:
            self._cleared = channels_last(self.bias.new_empty(batch, *self.in_shape))
            self._deferred_traces: Tensor | None = None
            self._kept_bins: Tensor | None = None
            self._sparse = None
        self.trace = self._traces = self._cleared.zero_()
        self._batch = batch
        self._current: Tensor | None = None
        self._gathered: Tensor | None = None
        self._factors: list[Tensor | float] = [0.0]
        # One sample of few channels is a stream's bin: mostly zeros, and not worth a dense product.
        sparse = (
            batch == 1
            and self.geometry.fits_sparse
            and self.normalisation is None
            and self.trace.device.type == "cpu"
            and self.compute is None
        )
        self._sparse = (self._sparse or SparseProduct(self.geometry)) if sparse else None
        passing = math.prod(self.in_shape) + self._outputs()
        self._max_deferred = MAX_PENDING // batch if self.weight.numel() > passing else 1
        self._num_deferred = 0
        if self.normalisation is not None:
            self.normalisation.reset_state()

    def forward(self, x: Tensor, leak: float | Tensor, traces: Traces, constant: bool) -> Tensor:
        r"""Current (batch, out, \*out_plane) of the input x (batch, ...); of several bins at once,
        (bins * batch, ...), if so many are in x.

        leak : of the neurons that are fed.  constant : x is that of the bin before, if there was
        one since `reset_state`; the current is then that of one bin.
        """
        if self.watched:
            self.seen = x
        bins = x.shape[0] // self._batch
        if constant:
            return self._forward_constant(x[: self._batch], leak, traces, bins)
        x = x.reshape(x.shape[0], *self.in_shape)
        if traces == "stop" and bins > 1:
            self._trace_all(x, leak)
        elif traces == "stop":
            decay_and_add(self.trace, leak, x, self.trace)
            self._traces = self.trace
        elif traces == "sltt":
            self._traces, self.trace = x, x[-self._batch :]
        if self.normalisation is not None and traces != "none":
            made = self._product(x, self.weight, None)
            carried = leak if traces == "stop" else 0.0
            return self.normalisation.forward(made, self.bias, carried, bins)
        return self._product(x, self.used, self.shift)

    def _trace_all(self, x: Tensor, leak: float | Tensor) -> None:
        """The traces of several bins; the last of them is the one that decays further."""
        if self._kept_bins is None or len(self._kept_bins) < len(x):
            self._kept_bins = channels_last(torch.empty_like(x))
        self._traces = self._kept_bins[: len(x)]
        for now, trace in zip(x.split(self._batch), self._traces.split(self._batch), strict=True):
            decay_and_add(self.trace, leak, now, trace)
            self.trace = trace

    def _forward_constant(
        self, x: Tensor, leak: float | Tensor, traces: Traces, bins: int
    ) -> Tensor:
        if self._current is None:
            self.trace = self._traces = x.reshape(x.shape[0], *self.in_shape)
            if self.normalisation is not None and traces != "none":
                made = self._product(self.trace, self.weight, None)
                made = self.normalisation.forward(made, self.bias, 0.0)
            else:
                made = self._product(self.trace, self.used, self.shift)
            self._current = channels_last(made)
        if traces != "none":
            factors, factor = [], self._factors[-1]
            for _ in range(bins):
                factor = factor * leak + 1.0 if traces == "stop" else 1.0
                factors.append(factor)
            self._factors = factors
        return self._current

    def _product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.compute is not None:
            return multiply_in(self.compute, self.geometry, x, weight, bias)
        if self._sparse is not None and bias is not None:
            return self._sparse.forward(x, weight, bias)
        return multiply(self.geometry, x, weight, bias)

    def backward(self, delta: Tensor, grads: dict[str, Tensor], need_input: bool) -> Tensor | None:
        r"""The same bins' error of the current, (batch, out, \*out_plane), adds to `grads`.

        The bias's own gradient is the neurons' to give: it has their trace.
        Returns the error of the input, (batch, \*in_shape), or None if it is not needed.
        """
        learns = "weight" in grads
        if self._current is not None:
            if learns:
                self._gather(delta)
            return None
        weight = self.used
        if self.normalisation is not None:
            delta, weight = self.normalisation.backward(delta, grads), self.weight
        if learns and self._sparse is not None and not need_input:
            self._sparse.add_weight_gradient(delta, self._traces, grads["weight"])
            return None
        if learns and self._max_deferred > 1 and delta.shape[0] == self._batch:
            self._defer(delta, grads)
            learns = False
        return self._errors(delta, self._traces, weight, grads if learns else {}, need_input)

    def backward_apart(
        self, delta: Tensor, sums: dict[str, Tensor], need_input: bool
    ) -> Tensor | None:
        r"""Several errors of the last bin's one sample, (errors, out, \*out_plane): each adds to
        `sums` of its own, (errors, ...). Neither batch normalisation nor constant input.
        """
        assert self.normalisation is None and self._current is None
        weights = sums.get("weight")
        return add_gradients_apart(self.geometry, delta, self.trace, self.used, weights, need_input)

    def _defer(self, delta: Tensor, grads: dict[str, Tensor]) -> None:
        """Keep this bin's trace and error; apply all that are kept once there is no room."""
        batch = len(delta)
        if self._deferred_traces is None:
            room = self._max_deferred * batch
            self._deferred_traces = channels_last(self.trace.new_zeros(room, *self.trace.shape[1:]))
            self._deferred_deltas = channels_last(delta.new_zeros(room, *delta.shape[1:]))
        place = slice(self._num_deferred * batch, (self._num_deferred + 1) * batch)
        self._deferred_traces[place].copy_(self.trace)
        self._deferred_deltas[place].copy_(delta)
        self._num_deferred += 1
        if self._num_deferred == self._max_deferred:
            self._apply_deferred(grads)

    def _apply_deferred(self, grads: dict[str, Tensor]) -> None:
        """Add the weight gradient of all that is deferred."""
        if self._num_deferred and self._deferred_traces is not None:
            end = self._num_deferred * len(self.trace)
            self._errors(
                self._deferred_deltas[:end],
                self._deferred_traces[:end],
                self.used,
                grads,
                need_input=False,
            )
        self._num_deferred = 0

    def derived_bytes(self) -> int:
        """Bytes of what the weights become, where that is not the weights themselves."""
        made = [] if self.used is self.weight else [self.used, self.shift]
        if self._gain is not None and self._ungained is not self.weight:
            made.append(self._ungained)
        return sum(t.numel() * t.element_size() for t in made if t is not self.bias)

    def pending_bytes(self) -> int:
        """Bytes of what may be deferred, whether or not anything is."""
        if self._max_deferred <= 1:
            return 0
        numbers = (
            self._max_deferred * len(self.trace) * (math.prod(self.in_shape) + self._outputs())
        )
        return numbers * self.weight.element_size()

    def _outputs(self) -> int:
        return len(self.bias) * math.prod(self.out_plane)

    def _gather(self, delta: Tensor) -> None:
        """Sum the errors of a constant input: the rest is linear in them, and is computed once."""
        for of_bin, factor in zip(delta.split(self._batch), self._factors, strict=True):
            if self._gathered is None:
                self._gathered = of_bin * factor
            elif isinstance(factor, float):
                self._gathered.add_(of_bin, alpha=factor)
            else:
                self._gathered.addcmul_(of_bin, factor)

    def _errors(
        self,
        delta: Tensor,
        trace: Tensor,
        weight: Tensor,
        grads: dict[str, Tensor],
        need_input: bool,
    ) -> Tensor | None:
        """Weight gradient into `grads`, if it is there; error of the input, if needed."""
        sums = grads.get("weight")
        return add_gradients(self.geometry, delta, trace, weight, sums, need_input, self.compute)

    def flush_pending(self, grads: dict[str, Tensor]) -> None:
        """Add what a constant input left to be computed once, and what is deferred."""
        if self._gathered is not None and "weight" in grads:
            gathered = self._gathered
            if self.normalisation is not None:
                gathered = self.normalisation.backward(gathered, grads)
            self._errors(gathered, self.trace, self.used, grads, need_input=False)
        self._gathered = None
        self._apply_deferred(grads)

    def finish_grads(self, grads: dict[str, Tensor], of_leak: bool = False) -> Tensor | None:
        """Turn the gradients of what weights and biases become into theirs.

        Returns that of the gain, (), if a leak that learns wants it, and there is one.
        """
        of_gain = None
        if self._gain is not None and "weight" in grads:
            scaled = {"weight": self._ungained, "bias": self.bias}
            if self.normalisation is not None:  # its weights are behind the normalisation
                scaled = {"scale": self.normalisation.scale, "bias": self.bias}
            if of_leak:
                parts = [torch.sum(grads[key] * value) for key, value in scaled.items()]
                of_gain = parts[0] + parts[1]
            for key in scaled:
                grads[key].mul_(self._gain)
        if "weight" in grads and self.norm == "weight_standardization":
            grads["weight"].copy_(standardised_grad(self.weight, self.size, grads["weight"]))
        return of_gain


def standardised(weight: Tensor, size: float) -> Tensor:
    """Weights (out, ...) with mean 0 and standard deviation `size` over each output's inputs."""
    centred = weight - weight.mean((1, 2, 3), keepdim=True)
    return centred * (size / centred.square().mean((1, 2, 3), keepdim=True).sqrt().add(1e-6))


def standardised_grad(weight: Tensor, size: float, grad: Tensor) -> Tensor:
    """Gradient of the weights, given `grad` of `standardised(weight, size)`."""
    over = (1, 2, 3)
    centred = weight - weight.mean(over, keepdim=True)
    deviation = centred.square().mean(over, keepdim=True).sqrt()
    divisor = deviation + 1e-6
    spread = (deviation * divisor).clamp_(min=1e-12)  # of one input, 0: there is no direction
    along = (grad * centred).mean(over, keepdim=True) / spread
    full = (grad - centred * along) * (size / divisor)
    return full - full.mean(over, keepdim=True)
