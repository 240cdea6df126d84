"""The leaky integrate-and-fire neuron of STOP: membrane, spike, surrogate, eligibility traces.

Gao, Zhou, Lin, Tian, Liu, Shi: "STOP: Spatiotemporal Orthogonal Propagation", arXiv 2411.11082.
One step of one population, with a soft reset whose path is detached::

    u[t] = leak * (u[t-1] - theta * s[t-1]) + I[t]          membrane potential
    s[t] = 1 where u[t] >= theta, else 0                    spike
    e_theta[t] = leak * (e_theta[t-1] - s[t-1])             du/dtheta through the reset (Eq. 26)
    e_leak[t]  = leak * e_leak[t-1] + u[t-1] - theta * s[t-1]               du/dleak  (Eq. 30)
    e_bias[t]  = leak * e_bias[t-1] + 1                                     du/dbias

Everything here is forward in time; nothing needs autograd.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

SURROGATES: dict[str, Callable[[Tensor], Tensor]] = {
    "exponential": lambda v: v.abs_().neg_().exp_(),
    "triangle": lambda v: v.abs_().neg_().add_(1.0).clamp_(min=0.0),
}
"""Surrogate derivatives phi(u - theta) of the spike (Eq. 3); each consumes its argument."""


class LIFState(NamedTuple):
    """State of one population: tensors of shape (batch, \\*neurons), and no time axis anywhere.

    u : membrane potential.  s : spikes of the last step, 0 or 1.
    e_theta, e_leak : eligibility traces of threshold and leak.
    e_bias : trace of the bias, the same number for every neuron, shape ().
    """

    u: Tensor
    s: Tensor
    e_theta: Tensor
    e_leak: Tensor
    e_bias: Tensor

    @classmethod
    def rest(cls, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> LIFState:
        """A population at rest: all zeros, `shape` = (batch, \\*neurons)."""
        u, s, e_theta, e_leak = (torch.zeros(shape, dtype=dtype, device=device) for _ in range(4))
        return cls(u, s, e_theta, e_leak, torch.zeros((), dtype=dtype, device=device))

    def reset_(self) -> None:
        """Return to rest, in place."""
        for tensor in self:
            tensor.zero_()


def lif_step_(state: LIFState, current: Tensor, leak: Tensor, theta: Tensor, traces: bool) -> None:
    """Advance a population by one bin, in place.

    current : input current W x[t] + b, shape (batch, \\*neurons).
    leak : scalar in (0, 1).  theta : positive, broadcastable to `current`.
    traces : whether the eligibility traces advance too (they are of use to a learner only).
    """
    u, s, e_theta, e_leak, e_bias = state
    if traces:
        e_theta.sub_(s).mul_(leak)
    u.addcmul_(s, theta.expand_as(s), value=-1.0)
    if traces:
        e_leak.mul_(leak).add_(u)
        e_bias.mul_(leak).add_(1.0)
    u.mul_(leak).add_(current)
    torch.ge(u, theta, out=s)
