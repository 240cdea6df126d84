"""Batch normalisation of an input current, step by step, for training in batches.

Each step of a batch is normalised by its own mean and variance (Ioffe and Szegedy 2015), as the
paper does between convolution and membrane::

    y_n = (y - mean(y)) / sqrt(var(y) + EPSILON)        current = scale * y_n + bias
    e_scale[t] = leak * e_scale[t-1] + y_n[t]           dscale += sum delta * e_scale

Backwards it takes mean and variance as this step's; what they were in the steps before is in the
traces, and no error goes there. Running averages stand in where nothing is learned. A stream has no
batch, so what leaves a training are plain weights and biases that `folded` makes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from streamstop.stop import _kernels as kernels

MOMENTUM = 0.1
"""How much of a step's mean and variance enters the running ones."""

EPSILON = 1e-5


class _Step(NamedTuple):
    """What one step's backward pass needs: y_n, its trace, 1 / sd, numbers per channel."""

    seen: Tensor
    trace: Tensor
    by: Tensor
    samples: float


class BatchNorm:
    """Scale, running statistics, and this step's.

    Attributes
    ----------
    scale, mean, variance : (channels,).
    gain : what scale and bias are scaled by, (); None for 1.
    all_reduce : where several processes share a batch, replaces tensors by their sums over all of
        them; None for one process.
    """

    all_reduce: Callable[[Sequence[Tensor]], None] | None = None
    gain: Tensor | None = None

    def __init__(self, channels: int, dtype: torch.dtype) -> None:
        self.scale = torch.ones(channels, dtype=dtype)
        self.mean = torch.zeros(channels, dtype=dtype)
        self.variance = torch.ones(channels, dtype=dtype)
        self._trace: Tensor | None = None
        self.reset_state()

    def parameters(self) -> dict[str, Tensor]:
        """The tensors by name; no gradient moves the running statistics."""
        return {"scale": self.scale, "mean": self.mean, "variance": self.variance}

    def to(self, device: torch.device) -> None:
        """Move parameters."""
        for name, value in self.parameters().items():
            setattr(self, name, value.to(device))
        self._trace = None
        self.reset_state()

    def reset_state(self) -> None:
        """Forget the steps before."""
        self._steps: list[_Step] = []
        self._rested = True

    def folded(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (channels, ...) and biases that do the same with running statistics."""
        by = self.scale / (self.variance + EPSILON).sqrt()
        return weight * by.view(-1, 1, 1, 1), bias - self.mean * by

    def forward(self, y: Tensor, bias: Tensor, leak: float | Tensor, steps: int = 1) -> Tensor:
        """The current of y (batch, channels, height, width), which is consumed.

        leak : of the trace; 0 for one that remembers nothing.  steps : that y holds one after the
        other, (steps * batch, ...), each normalised by its own mean and variance.
        """
        self._steps = []
        if steps == 1:
            return self._step(y, bias, leak)
        parts = [self._step(part, bias, leak, keep=True) for part in y.chunk(steps)]
        return torch.cat(parts)

    def _step(self, y: Tensor, bias: Tensor, leak: float | Tensor, *, keep: bool = False) -> Tensor:
        """The current of one step; keep : its trace must outlive the next one's."""
        fast = y.device.type == "cpu"
        y = kernels.channels_last(y)  # as rows it is then the same memory
        if fast:
            variance, mean = _moments(y)
        else:
            variance, mean = torch.var_mean(y, (0, 2, 3), correction=0)
        count = float(y.numel() // y.shape[1])
        if self.all_reduce is not None:
            variance, mean, count = self._joint(variance, mean, count)
        self.mean.lerp_(mean, MOMENTUM)
        self.variance.lerp_(variance, MOMENTUM)
        by = (variance + EPSILON).rsqrt_()
        if self._trace is None or self._trace.shape != y.shape:
            self._trace = torch.zeros_like(y)
        elif self._rested:
            self._trace.zero_()
        elif keep and self._steps:
            self._trace = self._trace.clone()
        self._rested = False
        self._steps.append(_Step(y, self._trace, by, count))
        if not fast:
            y.sub_(_over(mean)).mul_(_over(by))
            self._trace.mul_(leak).add_(y)
            return torch.addcmul(_over(self._gained(bias)), y, _over(self._gained(self.scale)))
        current = torch.empty_like(y)
        plane = kernels.rows(y)
        scale, bias = self._gained(self.scale), self._gained(bias)
        rows = (_row(one, y) for one in (mean, by, scale, bias))
        kept = plane.dtype.type(float(leak))
        kernels.normalise()(plane, *rows, kept, kernels.rows(self._trace), kernels.rows(current))
        return current

    def _gained(self, of_channels: Tensor) -> Tensor:
        return of_channels if self.gain is None else of_channels * self.gain

    def _joint(self, variance: Tensor, mean: Tensor, count: float) -> tuple[Tensor, Tensor, float]:
        """Moments of the whole batch, from those of this process's shard."""
        assert self.all_reduce is not None
        counts = mean.new_tensor([count], dtype=torch.float64)
        first, second = mean.double(), variance.double() + mean.double().square()
        sums = torch.cat([counts, first * counts, second * counts])
        self.all_reduce([sums])
        first, second = (sums[1:] / sums[0]).chunk(2)
        variance = (second - first.square()).clamp_(min=0.0)
        return variance.to(mean.dtype), first.to(mean.dtype), float(sums[0])

    def backward(self, delta: Tensor, grads: dict[str, Tensor]) -> Tensor:
        """Error of the current to that of y; the scale's adds to `grads`."""
        steps = self._steps
        if len(steps) == 1:
            return self._back(steps[0], delta, grads)
        parts = delta.chunk(len(steps))
        return torch.cat([self._back(*one, grads) for one in zip(steps, parts, strict=True)])

    def _back(self, step: _Step, delta: Tensor, grads: dict[str, Tensor]) -> Tensor:
        if delta.device.type != "cpu":
            over = (0, 2, 3)
            sums = [delta.sum(over), (delta * step.seen).sum(over), (delta * step.trace).sum(over)]
        else:
            plane = kernels.rows(delta)
            made = np.zeros((3, plane.shape[1]), plane.dtype)
            seen = kernels.rows(step.seen)
            kernels.normalised_sums()(plane, seen, kernels.rows(step.trace), made)
            sums = list(torch.from_numpy(made).view(3, -1, delta.shape[1]).sum(1))
        if "scale" in grads:
            grads["scale"].add_(sums[2])
        if self.all_reduce is not None:  # the scale's sum is one of the gradients, and joins later
            self.all_reduce(sums[:2])
        mean, along = sums[0] / step.samples, sums[1] / step.samples
        by = self._gained(self.scale) * step.by
        if delta.device.type != "cpu":
            return (delta - _over(mean)).addcmul_(step.seen, _over(along), value=-1).mul_(_over(by))
        out = torch.empty_like(step.seen)
        of_rows = (_row(one, delta) for one in (mean, along, by))
        kernels.normalised_error()(plane, seen, *of_rows, kernels.rows(out))
        return out


def _over(of_channels: Tensor) -> Tensor:
    return of_channels.view(1, -1, 1, 1)


def _row(of_channels: Tensor, like: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.floating]]:
    made: np.ndarray[tuple[int, ...], np.dtype[np.floating]]
    made = of_channels.repeat(like.shape[3]).numpy()
    return made


def _moments(y: Tensor) -> tuple[Tensor, Tensor]:
    """Variance and mean of each channel, in one pass."""
    plane = kernels.rows(y)
    sums = np.zeros((2, plane.shape[1]), plane.dtype)
    kernels.moments()(plane, sums)
    of_channels = torch.from_numpy(sums).double().view(2, -1, y.shape[1]).sum(1)
    of_channels /= y.numel() // y.shape[1]
    mean = of_channels[0]
    variance = (of_channels[1] - mean.square()).clamp_(min=0.0)
    return variance.to(y.dtype), mean.to(y.dtype)
