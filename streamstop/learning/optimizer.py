"""Adam over a network's gradient sums, with a learning rate for each kind of parameter."""

from __future__ import annotations

from typing import Protocol

import torch

from streamstop.stop.network import Network


class Rates(Protocol):
    """Learning rates by kind of parameter, and Adam's decay rates."""

    @property
    def lr(self) -> float:
        """Of weights and biases."""
        ...

    @property
    def lr_threshold(self) -> float:
        """Of thresholds."""
        ...

    @property
    def lr_leak(self) -> float:
        """Of leaks."""
        ...

    @property
    def lr_readout(self) -> float:
        """Of the readout."""
        ...

    @property
    def betas(self) -> tuple[float, float]:
        """Adam's decay rates."""
        ...


def make_optimizer(network: Network, rates: Rates) -> torch.optim.Adam:
    """Adam over the parameters of `network` that have a gradient, each in its own group.

    Steps are normalised because the scale of STOP's gradients falls from layer to layer, with the
    temporal terms that it drops.
    """
    by_kind = {"log_theta": rates.lr_threshold, "leak_logit": rates.lr_leak}
    grads, groups = network.grads, []
    for name, value in network.parameters().items():
        if name not in grads:
            continue
        value.grad = grads[name]
        layer, _, kind = name.rpartition(".")
        rate = rates.lr_readout if layer == "readout" else by_kind.get(kind, rates.lr)
        groups.append({"params": [value], "lr": rate})
    return torch.optim.Adam(groups, betas=rates.betas, fused=True)


def scale_learning_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set the learning rates to `factor` times those that the optimizer was made with."""
    for group in optimizer.param_groups:
        group["lr"] = factor * group.setdefault("configured", group["lr"])
