r"""Learning from a label that comes when its segment is over, without keeping the segment.

The error of a bin's logits z under cross-entropy is affine in the label c, and so is that of the
other losses (`streamstop.stop.losses`); with label smoothing s over the K classes compared::

    error_c[t] = f(z[t]) - s / K - (1 - s) onehot(c)        f(z) = softmax(z) for cross-entropy

What STOP adds up is linear in the error: delta_l[t] is, through the backward path of that bin,
which does not depend on the label, and the traces know nothing of labels (Eq. 11-27). The gradient
of a whole segment is therefore known for every label it may get, when it ends::

    dW(c) = sum_t delta_l(error_c[t]) (x) trace_l[t]        biases, thresholds, leaks alike

One sum per class is kept (`Network.sums_apart`), and the label that comes picks one. The readout
needs but two: a class's row of it sees the error of that class alone, which asks of the label only
whether it is this class (f(z[t]) above may have to know which classes are compared; where that
depends on the label, there is one sum per class here too)::

    dW(c), row k = sum_t (f(z[t])_k - s / K) trace[t]                 if k is not c
                   sum_t (f(z[t])_k - s / K - (1 - s)) trace[t]       if k is c

Guarantees:

- The gradient of the label that comes is that of learning with this label known from the start, to
  rounding, for every parameter that `late` names.
- Memory does not depend on the length of a segment: at most 1 + MAX_KEPT sets of sums.

Does not:

- Know the label's effect on weights within the segment: with late labels they move between
  segments only, whatever `update` says of labels in time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from streamstop.stop.losses import Loss
from streamstop.stop.network import Network

Late = Literal["off", "readout", "last", "all"]
"""What learns from labels that come after their segment: nothing; the readout; it and the last
hidden layer (of a residual network the last block); or all layers."""

MAX_KEPT = 2
"""Segments that are over and keep their sums until their label comes; the oldest is given up."""

Losses = Sequence[tuple[Loss, Sequence[int]]]
"""Losses, and the labels under which each of them applies; every class is in one of them."""


class Gradient(NamedTuple):
    """What a segment teaches under one label: gradients by parameter name, summed over `losses`
    bins, and the sum of their losses.
    """

    grads: dict[str, Tensor]
    loss: float
    losses: int


class SegmentSums:
    """What one segment would teach, for each label that it may get.

    Parameters
    ----------
    network : the network that learns, batch 1.
    late : what learns.
    shared : whether one loss applies under every label, as it does where it compares all classes.
    device : of the sums; that of the network by default, "meta" only to count bytes.
    """

    def __init__(
        self, network: Network, late: Late, shared: bool, device: str | None = None
    ) -> None:
        self.network = network
        gained = network.spec.readout == "spiking" and network.spec.neuron.decay_input
        shared = shared and not gained  # a leak's gradient is made of all rows there
        classes = network.spec.classes
        stages = {"readout": 0, "last": 1}.get(late, len(network.stages))
        parameters = network.readout.parameters()
        rows = [k for k, v in parameters.items() if shared and v.ndim and len(v) == classes]
        self._apart = network.sums_apart(classes, stages=stages, without=rows, device=device)
        two = network.sums_apart(2, stages=0, device=device)["readout"]
        self._rows = {key: sums for key, sums in two.items() if key in rows}
        self._losses = network.features.new_zeros(classes, device=device)
        self.begin(0, ())

    def begin(self, number: int, losses: Losses) -> None:
        """Start segment `number`, whose bins have these losses."""
        self.number, self._loss_of = number, tuple(losses)
        self.bins = 0
        self.finished = False
        for one in self._tensors():
            one.zero_()

    def add(self, logits: Tensor) -> None:
        """One bin more, the last that went through the network, with its logits (1, classes)."""
        self.bins += 1
        classes = logits.shape[1]
        errors = logits.new_zeros(classes, classes)
        for loss, labels in self._loss_of:
            place = torch.tensor(list(labels))
            targets = loss.target(place, classes, logits.dtype)
            values, errors[place] = loss.losses_and_grads(logits, targets)
            self._losses[place] += values
        if any(self._apart.values()):
            self.network.backward(errors, self._apart)
        if self._rows:
            of_label = errors.diagonal()
            of_others = errors.roll(-1, 0).diagonal()  # each class's where the next is the label
            two = torch.stack([of_others, of_label])
            self.network.readout.backward(two, self._rows, need_input=False, apart=True)

    def finish(self) -> None:
        """The segment is over: turn the sums into gradients of the parameters as they are now.

        Only then may the weights move.
        """
        if not self.finished:
            self.network.finish_sums(self._apart)
            for i in range(2 if self._rows else 0):
                self.network.readout.finish_grads({key: two[i] for key, two in self._rows.items()})
            self.finished = True

    def of(self, label: int) -> Gradient:
        """What the segment teaches if this is its label; `finish` came before."""
        grads = {
            f"{name}.{key}": one[label]
            for name, sums in self._apart.items()
            for key, one in sums.items()
        }
        for key, (of_others, of_label) in self._rows.items():
            grads[f"readout.{key}"] = of_others.clone()
            grads[f"readout.{key}"][label] = of_label[label]
        return Gradient(grads, float(self._losses[label]), self.bins)

    def state_bytes(self) -> int:
        """Bytes of the sums."""
        return sum(one.numel() * one.element_size() for one in self._tensors())

    def _tensors(self) -> Iterator[Tensor]:
        for sums in (*self._apart.values(), self._rows):
            yield from sums.values()
        yield self._losses


class LateLabels:
    """The sums of the open segment, and of those that are over and wait for a label.

    Parameters
    ----------
    network, late, shared : as of `SegmentSums`.

    Attributes
    ----------
    arrived : segments whose label is here, with it, in the order of arrival.
    """

    def __init__(self, network: Network, late: Late, shared: bool) -> None:
        self._make = partial(SegmentSums, network, late, shared)
        self._free: list[SegmentSums] = []
        self._waiting: list[SegmentSums] = []
        self.arrived: list[tuple[SegmentSums, int]] = []

    def begin(self, number: int, losses: Losses) -> SegmentSums:
        """The sums of segment `number`, all zero."""
        sums = self._free.pop() if self._free else self._make()
        sums.begin(number, losses)
        return sums

    def keep(self, sums: SegmentSums) -> None:
        """Its segment is over, and has no label yet."""
        self._waiting.append(sums)

    def give_up_oldest(self) -> None:
        """Keep no more than MAX_KEPT that wait."""
        while len(self._waiting) > MAX_KEPT:
            self._free.append(self._waiting.pop(0))

    def label(self, number: int, label: int) -> bool:
        """The label of segment `number` is here; False where its sums are no longer kept."""
        for sums in self._waiting:
            if sums.number == number:
                self._waiting.remove(sums)
                self.arrived.append((sums, label))
                return True
        return False

    def latest(self) -> int | None:
        """The segment that ended last of those that wait."""
        return self._waiting[-1].number if self._waiting else None

    def release(self, sums: SegmentSums) -> None:
        """It has taught what it could."""
        self._free.append(sums)

    def state_bytes(self) -> int:
        """Bytes of all sums that may be kept, whether or not they are."""
        return (1 + MAX_KEPT) * self._make(device="meta").state_bytes()
