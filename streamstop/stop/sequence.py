"""A batch of whole sequences through a network: the gradients, by whichever rule it follows.

The forward rules go bin by bin and keep nothing of the bins before; backpropagation through time
keeps them all, and is here to be compared with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from streamstop.stop.losses import Loss
from streamstop.stop.network import Network
from streamstop.stop.reference import bptt


@torch.no_grad()
def sequence_gradients(
    network: Network,
    bins: Iterable[Tensor],
    labels: Tensor,
    loss: Loss,
    *,
    constant: bool = False,
    first: int = 0,
    of: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Learn from one batch, its neurons at rest before.

    bins : tensors (batch, channels, height, width), one a step.  labels : (batch,).
    constant : every bin is the same.  first, of : as in `Network.rest`.

    Returns the loss summed over samples and steps, (), and the logits that decide, (batch,
    classes): summed over the steps that the loss speaks at. The settled gradients, sums likewise,
    are in `network.grads`, in place of what was there.
    """
    network.rest(len(labels), first=first, of=of)
    network.zero_grads()
    if network.rule == "bptt":
        return _through_time(network, bins, labels, loss, constant)
    target = None
    total, votes = torch.zeros(()), torch.zeros(())
    for x, last in _with_last(bins):
        logits = network.forward(x, constant=constant)
        if target is None:
            target = loss.target(labels, logits.shape[1], logits.dtype)
            total, votes = logits.new_zeros(()), torch.zeros_like(logits)
        if loss.speaks(last):
            votes += logits
            value, error = loss.error(logits, target)
            total += value
            network.backward(error)
    network.settle()
    return total, votes


def _through_time(
    network: Network, bins: Iterable[Tensor], labels: Tensor, loss: Loss, constant: bool
) -> tuple[Tensor, Tensor]:
    network.draw_masks()
    total, said, found = bptt(network, bins, labels, loss, constant=constant)
    for name, grad in network.grads.items():
        if name in found:
            grad.copy_(found[name])
    return total, torch.stack(said).sum(0) if loss.speaks(last=False) else said[-1]


def _with_last(bins: Iterable[Tensor]) -> Iterator[tuple[Tensor, bool]]:
    """Each bin, and whether it is the last."""
    before: Tensor | None = None
    for x in bins:
        if before is not None:
            yield before, False
        before = x
    if before is not None:
        yield before, True
