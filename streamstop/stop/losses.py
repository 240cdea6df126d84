"""Losses of a readout's logits, with their derivatives.

A loss applies to every bin, or to the last bin of the window alone. In the second case the error
goes down through the last bin only; what earlier bins did is in the traces. A leaky readout
integrates the window by itself; a linear or spiking one does not.

Guarantees:

- Exact derivatives with respect to each sample's logits.
- A loss of every kind depends on the target alone beside the logits, and its derivative is a
  function of the logits minus the target: affine in the label (`streamstop.learning.late`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from streamstop.errors import UsageError

LossKind = Literal["ce", "half_mse", "mean_ce_mse"]
LossTime = Literal["step", "end"]
LossClasses = Literal["all", "seen", "recent"]


@dataclass(frozen=True)
class Loss:
    """A loss of logits (batch, classes).

    kind : "ce", cross-entropy of their softmax; "half_mse", half the squared distance from the
        target; "mean_ce_mse", the mean of the two.
    timing : "step", every bin; or "end", the last bin of the window alone.
    label_smoothing : fraction of each label that is spread evenly over all classes.
    classes : classes, in order, that it compares: those alone are in the softmax and in the
        distance, and the other logits have no error. (): all.
    """

    kind: LossKind = "ce"
    timing: LossTime = "step"
    label_smoothing: float = 0.0
    classes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        chosen = (("kind", self.kind, LossKind), ("timing", self.timing, LossTime))
        for name, value, allowed in chosen:
            if value not in get_args(allowed):
                listed = ", ".join(get_args(allowed))
                raise UsageError(f"a loss's {name} must be one of {listed}, not {value!r}")

    def target(self, labels: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
        """Target (batch, classes) of labels (batch,), each of them among `self.classes`."""
        hot = functional.one_hot(labels, classes).to(dtype).mul_(1.0 - self.label_smoothing)
        if self.classes:
            hot[:, list(self.classes)] += self.label_smoothing / len(self.classes)
            return hot
        return hot.add_(self.label_smoothing / classes)

    def applies_to(self, last: bool) -> bool:
        """Whether there is a loss in a bin; last : it is the window's last."""
        return last or self.timing == "step"

    def loss_and_grad(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The loss summed over the batch, (), and its derivative by the logits."""
        return self._loss_and_grad(logits, target, each=False)

    def losses_and_grads(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of one sample's logits, (1, classes), for each of the targets, (targets,
        classes): (targets,), and the derivatives, (targets, classes).
        """
        return self._loss_and_grad(logits, targets, each=True)

    def _loss_and_grad(self, logits: Tensor, target: Tensor, each: bool) -> tuple[Tensor, Tensor]:
        if not self.classes:
            return self._of_all(logits, target, each)
        kept = list(self.classes)
        loss, of_kept = self._of_all(logits[:, kept], target[:, kept], each)
        error = torch.zeros_like(target)
        error[:, kept] = of_kept
        return loss, error

    def _of_all(self, logits: Tensor, target: Tensor, each: bool) -> tuple[Tensor, Tensor]:
        if self.kind == "half_mse":
            return _squares(logits, target, each)
        log_probabilities = functional.log_softmax(logits, 1)
        loss = -_summed(target * log_probabilities, each)
        error = log_probabilities.detach().exp() - target
        if self.kind == "mean_ce_mse":
            squares, away = _squares(logits, target, each)
            return (loss + squares) / 2, error.add_(away).div_(2.0)
        return loss, error


def _squares(logits: Tensor, target: Tensor, each: bool) -> tuple[Tensor, Tensor]:
    away = logits - target
    return 0.5 * _summed(away.square(), each), away


def _summed(of_classes: Tensor, each: bool) -> Tensor:
    return of_classes.sum(1) if each else of_classes.sum()
