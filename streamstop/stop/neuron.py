"""The leaky integrate-and-fire neuron of STOP: membrane, spike, surrogate, eligibility traces.

Gao, Zhou, Lin, Tian, Liu, Shi: "STOP: Spatiotemporal Orthogonal Propagation", arXiv 2411.11082.
One time bin of one population, with a soft reset whose path is detached from the gradient::

    u[t] = leak * (u[t-1] - theta * s[t-1]) + I[t]          membrane potential
    s[t] = 1 where u[t] >= theta, else 0                    spike
    e_theta[t] = leak * (e_theta[t-1] - s[t-1])             du/dtheta through the reset (Eq. 26)
    e_leak[t]  = leak * e_leak[t-1] + u[t-1] - theta * s[t-1]               du/dleak  (Eq. 30)
    e_bias[t]  = leak * e_bias[t-1] + 1                                     du/dbias

`leak` is the membrane decay factor (beta elsewhere): 0.9 keeps 90 % of the potential per bin.

With a hard reset to zero, detached too, u[t] = leak * u[t-1] * (1 - s[t-1]) + I[t]: every trace
decays with leak * (1 - s[t-1]), the threshold acts on the spike alone, and what the leak multiplies
is u[t-1] * (1 - s[t-1]).

All of it runs forward in time; nothing needs autograd.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from streamstop.stop._kernels import channels_last
from streamstop.stop.traces import Traces

Reset = Literal["soft", "hard"]


def _sigmoid(v: Tensor) -> Tensor:
    s = v.mul_(4.0).sigmoid_()
    return s.mul(4.0).mul_(1.0 - s)


SURROGATES: dict[str, Callable[[Tensor], Tensor]] = {
    "exponential": lambda v: v.abs_().neg_().exp_(),
    "triangle": lambda v: v.abs_().neg_().add_(1.0).clamp_(min=0.0),
    "sigmoid": _sigmoid,
    "arctan": lambda v: v.mul_(math.pi).square_().add_(1.0).reciprocal_(),
    "rectangle": lambda v: v.abs_().lt_(0.5),
}
"""Surrogate derivatives phi(u - theta) of the spike, the paper's first (Eq. 3). All are 1 at their
peak, u = theta, but for the rectangle's, which is 1 wherever it is not 0; each consumes its
argument."""


class LIFState(NamedTuple):
    r"""State of one population: tensors of shape (batch, \*neurons), none of them with a time axis.

    v : membrane potential (u above).  spikes : of the last bin (s above), 0 or 1.
    trace_theta, trace_leak : eligibility traces of threshold and leak (e_theta, e_leak).
    trace_bias : that of the bias (e_bias); with a soft reset it is the same number for every
        neuron, shape ().
    """

    v: Tensor
    spikes: Tensor
    trace_theta: Tensor
    trace_leak: Tensor
    trace_bias: Tensor

    @classmethod
    def zeros(
        cls, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, reset: Reset
    ) -> LIFState:
        r"""A population at rest, `shape` = (batch, \*neurons)."""
        v, spikes, trace_theta, trace_leak = (
            channels_last(torch.empty(shape, dtype=dtype, device=device)).zero_() for _ in range(4)
        )
        trace_bias = torch.zeros(() if reset == "soft" else shape, dtype=dtype, device=device)
        return cls(v, spikes, trace_theta, trace_leak, trace_bias)


def lif_step_(
    state: LIFState,
    current: Tensor,
    leak: Tensor,
    theta: Tensor,
    traces: Traces = "stop",
    reset: Reset = "soft",
) -> None:
    r"""Advance a population by one bin, in place: the equations at the head of this module.

    Parameters
    ----------
    state : of the bin before; becomes that of this bin.
    current : input current I[t] = W x[t] + b, shape (batch, \*neurons).
    leak : membrane decay factor in (0, 1), shape ().
    theta : threshold, positive, broadcastable to `current`.
    traces : which eligibility traces advance; with "none" they stay as they are.
    reset : "soft" (the paper's) or "hard".
    """
    v, spikes, trace_theta, trace_leak, trace_bias = state
    if reset == "soft":
        if traces == "stop":
            trace_theta.sub_(spikes).mul_(leak)
        v.addcmul_(spikes, theta.expand_as(spikes), value=-1.0)
    else:
        kept = 1.0 - spikes
        v.mul_(kept)
        if traces == "stop":
            trace_leak.mul_(kept)
            trace_bias.mul_(kept)
    if traces == "stop":
        trace_leak.mul_(leak).add_(v)
        trace_bias.mul_(leak).add_(1.0)
    elif traces == "sltt":
        trace_leak.copy_(v)
        trace_bias.fill_(1.0)
    v.mul_(leak).add_(current)
    torch.ge(v, theta, out=spikes)
