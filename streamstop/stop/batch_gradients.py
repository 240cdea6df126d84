"""Gradients of a batch of whole sequences, by whichever rule the network follows.

The forward rules take one bin at a time, or a few at once, and keep nothing of earlier bins;
backpropagation through time keeps them all, and is here for comparison.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from streamstop.stop import bptt
from streamstop.stop.losses import Loss
from streamstop.stop.network import Network


@torch.no_grad()
def batch_gradients(
    network: Network,
    bins: Iterable[Tensor],
    labels: Tensor,
    loss: Loss,
    *,
    constant: bool = False,
    sample_offset: int = 0,
    batch_size: int | None = None,
    steps_per_forward: int = 1,
) -> tuple[Tensor, Tensor]:
    """Learn from one batch, its neurons at rest before.

    bins : tensors (batch, channels, height, width), one per step.  labels : (batch,).
    constant : every bin is the same.  sample_offset, batch_size : as in `Network.reset_state`.
    steps_per_forward : so many bins go through the network at once; memory grows with it, and
        gradients are the same to rounding.

    Returns the loss summed over samples and steps, (), and the logits to predict by, (batch,
    classes): summed over the steps that the loss applies to. The finished gradients, sums likewise,
    are in `network.grads`, in place of what was there.
    """
    network.reset_state(len(labels), sample_offset=sample_offset, batch_size=batch_size)
    network.zero_grads()
    if network.rule == "bptt":
        return _through_time(network, bins, labels, loss, constant)
    target = None
    total, votes = torch.zeros(()), torch.zeros(())
    # Where the loss applies to the last bin alone, that bin goes alone.
    for x, last in chunk_bins(bins, steps_per_forward, apart=loss.timing == "end"):
        logits = network.forward(x, constant=constant)
        count = len(logits) // len(labels)
        if target is None:
            target = loss.target(labels, logits.shape[1], logits.dtype)
            total, votes = logits.new_zeros(()), torch.zeros_like(target)
        if loss.applies_to(last):
            votes += logits if count == 1 else logits.unflatten(0, (count, -1)).sum(0)
            wanted = target if count == 1 else target.repeat(count, 1)
            value, error = loss.loss_and_grad(logits, wanted)
            total += value
            network.backward(error)
    network.finish_grads()
    return total, votes


def _through_time(
    network: Network, bins: Iterable[Tensor], labels: Tensor, loss: Loss, constant: bool
) -> tuple[Tensor, Tensor]:
    network.draw_masks()
    total, all_logits, found = bptt.loss_and_grads(network, bins, labels, loss, constant=constant)
    for name, grad in network.grads.items():
        if name in found:
            grad.copy_(found[name])
    return total, torch.stack(all_logits).sum(0) if loss.applies_to(last=False) else all_logits[-1]


def chunk_bins(
    bins: Iterable[Tensor], steps_per_forward: int, *, apart: bool = False
) -> Iterator[tuple[Tensor, bool]]:
    """So many bins as one tensor, fewer at the end, and whether the last is among them.

    apart : the last is to be alone.
    """
    waiting: list[Tensor] = []
    for x in bins:
        if len(waiting) == steps_per_forward:
            yield _stacked(waiting), False
            waiting = []
        waiting.append(x)
    if apart and len(waiting) > 1:
        yield _stacked(waiting[:-1]), False
        waiting = waiting[-1:]
    if waiting:
        yield _stacked(waiting), True


def _stacked(bins: list[Tensor]) -> Tensor:
    return bins[0] if len(bins) == 1 else torch.cat(bins)
