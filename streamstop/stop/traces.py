"""Presynaptic traces: which of them a rule advances, and their recurrence (Eq. 20)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Traces = Literal["none", "stop", "sltt"]
"""What advances beside the membrane: nothing (no learning), the traces of STOP, or only their
same-step part, as in SLTT (Meng et al., ICCV 2023)."""


def decay_and_add(trace: Tensor, leak: float | Tensor, x: Tensor, out: Tensor) -> None:
    """Out = leak * trace + x; out may be trace."""
    if isinstance(leak, float):
        torch.add(x, trace, alpha=leak, out=out)
    else:
        torch.addcmul(x, trace, leak, out=out)
