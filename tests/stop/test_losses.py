"""Losses: the values of torch's own, exact derivatives, and the classes that they compare."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from streamstop.stop.losses import Loss

CLASSES = 5

LOSSES = [
    Loss(kind, timing, label_smoothing)  # type: ignore[arg-type]
    for kind in ("ce", "half_mse", "mean_ce_mse")
    for timing, label_smoothing in (("step", 0.0), ("end", 0.1))
]


def drawn(loss: Loss, batch: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, labels among the loss's classes, and its target."""
    draw = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn((batch, CLASSES), generator=draw, dtype=torch.float64)
    among = torch.tensor(loss.classes or range(CLASSES))
    labels = among[torch.randint(len(among), (batch,), generator=draw)]
    return logits, labels, loss.target(labels, CLASSES, torch.float64)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_values_are_torch_s_and_derivatives_autograd_s(loss: Loss) -> None:
    logits, labels, target = drawn(loss)
    logits.requires_grad_()
    torch.testing.assert_close(target.sum(1), torch.ones(6, dtype=torch.float64))
    assert torch.equal(target.argmax(1), labels)
    entropy = functional.cross_entropy(
        logits, labels, reduction="sum", label_smoothing=loss.label_smoothing
    )
    squares = functional.mse_loss(logits, target, reduction="sum") / 2
    means = {"ce": entropy, "half_mse": squares, "mean_ce_mse": (entropy + squares) / 2}
    (slope,) = torch.autograd.grad(means[loss.kind], [logits])
    value, gradient = loss.loss_and_grad(logits.detach(), target)
    torch.testing.assert_close(value, means[loss.kind].detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient, slope, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["ce", "half_mse", "mean_ce_mse"])
def test_classes_that_are_not_compared_have_no_part_and_no_gradient(kind: str) -> None:
    loss = Loss(kind, label_smoothing=0.2, classes=(0, 2, 3))  # type: ignore[arg-type]
    logits, _, target = drawn(loss)
    assert not target[:, [1, 4]].any()
    torch.testing.assert_close(target.sum(1), torch.ones(6, dtype=torch.float64))
    value, gradient = loss.loss_and_grad(logits, target)
    assert not gradient[:, [1, 4]].any() and bool(gradient[:, [0, 2, 3]].all())
    logits[:, [1, 4]] += 100.0
    again, same = loss.loss_and_grad(logits, target)
    assert torch.equal(value, again) and torch.equal(gradient, same)


def test_smoothing_is_spread_over_all_classes_or_over_those_compared() -> None:
    label = torch.tensor([2])
    over_all = Loss(label_smoothing=0.5).target(label, 5, torch.float64)
    torch.testing.assert_close(over_all, torch.tensor([[0.1, 0.1, 0.6, 0.1, 0.1]]).double())
    among = Loss(label_smoothing=0.5, classes=(1, 2)).target(label, 5, torch.float64)
    torch.testing.assert_close(among, torch.tensor([[0.0, 0.25, 0.75, 0.0, 0.0]]).double())


def test_a_loss_at_the_end_applies_to_the_last_bin_alone() -> None:
    step, end = Loss(timing="step"), Loss(timing="end")
    assert [step.applies_to(last) for last in (False, True)] == [True, True]
    assert [end.applies_to(last) for last in (False, True)] == [False, True]


def test_sums_are_over_the_batch() -> None:
    loss = Loss("mean_ce_mse")
    logits, _, target = drawn(loss)
    parts = [loss.loss_and_grad(logits[i : i + 1], target[i : i + 1]) for i in range(6)]
    value, gradient = loss.loss_and_grad(logits, target)
    torch.testing.assert_close(sum(part for part, _ in parts), value)
    torch.testing.assert_close(torch.cat([part for _, part in parts]), gradient)
