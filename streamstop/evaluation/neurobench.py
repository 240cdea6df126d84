"""Counts the operations per bin: NeuroBench's measures, and the operations of learning.

NeuroBench [1]_ (definitions as in its harness, 2.3.0) measures a model by the operations of one
execution. Here, an execution is one bin through the inference network.

- A synaptic operation is one nonzero weight reached by one nonzero input. In a bin whose whole
  input to a layer is -1, 0 or 1, a layer's are accumulates (ACs), else multiply-accumulates (MACs):
  log counts and averages of spikes make MACs, spikes and their maxima ACs. "Dense" counts zeros in
  weights and inputs too. Biases and zeros of padding never count.
- Activation sparsity is the fraction of zeros among all neurons' outputs, before pooling;
  connection sparsity the fraction of zeros among weights.
- A membrane update is a neuron whose potential differs from that of the bin before; from rest,
  every neuron.
- The footprint is bytes of parameters and of the state that has to be kept from bin to bin.

Guarantees:

- Counts are exact whole numbers, however long the stream.
- Memory is one number per input and one per neuron of the network.

The operations of learning are not NeuroBench's: dense, from the shapes of the layers, as `cost` has
them.

References
----------
.. [1] Yik et al., "The NeuroBench framework for benchmarking neuromorphic computing algorithms and
   systems", Nature Communications 16:1545, 2025.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.grad import conv2d_input

from streamstop.learning.learner import StopLearner
from streamstop.stop.cost import NetworkCost, network_cost
from streamstop.stop.layer import SpikingLayer
from streamstop.stop.network import letters_of
from streamstop.stop.readouts import SpikingReadout

ADAM_OPERATIONS = 7
"""Multiply-accumulates for one parameter of an update: the gradient's mean, two of Adam's first
moment, three of the second, and the step; its root and quotient come on top."""


class Geometry(NamedTuple):
    """How weights (out, in / groups, kernel, kernel) cover an input (in, height, width)."""

    in_shape: tuple[int, int, int]
    out_plane: tuple[int, int] = (1, 1)
    stride: int = 1
    pad: int = 0
    groups: int = 1


def fan_out(weight: Tensor, where: Geometry, *, dense: bool = False) -> Tensor:
    """Number of nonzero weights that each input reaches.

    Parameters
    ----------
    weight : Tensor of shape (out, in / groups, kernel, kernel)
        The weights.
    where : Geometry
        How they cover the input.
    dense : bool
        Count zero weights too.

    Returns
    -------
    Tensor of shape (in, height, width), int64
        The counts.
    """
    out, _, kernel, _ = weight.shape
    if dense or int(torch.count_nonzero(weight)) == weight.numel():
        along = [_reached(*sides, kernel, where) for sides in zip(*_planes(where), strict=True)]
        plane = (along[0][:, None] * along[1]) * (out // where.groups)
        return plane.expand(where.in_shape).contiguous()
    reached = conv2d_input(
        (1, *where.in_shape),
        weight.ne(0).double(),
        torch.ones((1, out, *where.out_plane), dtype=torch.float64),
        stride=where.stride,
        padding=where.pad,
        groups=where.groups,
    )
    found: Tensor = reached[0].round().long()
    return found


def _planes(where: Geometry) -> tuple[tuple[int, int], tuple[int, int]]:
    return (where.in_shape[1], where.in_shape[2]), where.out_plane


def _reached(side: int, out: int, kernel: int, where: Geometry) -> Tensor:
    """Along one axis: number of pairs of output and kernel tap at each position, int64 (side,)."""
    at = (torch.arange(out)[:, None] * where.stride + torch.arange(kernel) - where.pad).flatten()
    return torch.bincount(at[(at >= 0) & (at < side)], minlength=side)


@cache
def _count_synaptic() -> Callable[..., tuple[int, bool]]:
    """(x, fan_out), both (n,): operations, and whether any input is not -1, 0 or 1."""

    def kernel(x, fan):  # type: ignore[no-untyped-def]
        total = np.int64(0)
        graded = False
        for i in range(x.shape[0]):
            v = x[i]
            total += fan[i] if v != 0 else 0
            graded |= (v != 0) & (v != 1) & (v != -1)
        return total, graded

    return _compiled(kernel)


@cache
def _count_neurons() -> Callable[..., tuple[int, int]]:
    """(u, s, past), all (n,): spikes, and potentials that are not the past ones; past = u."""

    def kernel(u, s, past):  # type: ignore[no-untyped-def]
        spikes = np.int64(0)
        updates = np.int64(0)
        for i in range(u.shape[0]):
            spikes += s[i] != 0
            updates += u[i] != past[i]
            past[i] = u[i]
        return spikes, updates

    return _compiled(kernel)


@cache
def _count_zeros() -> Callable[[NDArray[Any]], int]:
    """(weights,), (n,): those that are 0."""

    def kernel(weights):  # type: ignore[no-untyped-def]
        zeros = np.int64(0)
        for i in range(weights.shape[0]):
            zeros += weights[i] == 0
        return zeros

    return _compiled(kernel)


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    # Imported here, so that commands that run no network do not wait for it.
    import numba

    kernel: Callable[..., Any] = numba.njit(function)
    return kernel


class _InMemory:
    """A flat view of a tensor in memory order, without a copy where possible.

    Most tensors are the same object bin after bin, and finding their memory takes as long as
    counting: the view is made again only for another tensor.
    """

    def __init__(self) -> None:
        self._tensor: Tensor | None = None
        self._found: tuple[NDArray[Any], bool]

    def of(self, tensor: Tensor) -> tuple[NDArray[Any], bool]:
        """(n,), and whether channels lie innermost."""
        if tensor is self._tensor:
            return self._found
        last = tensor.dim() == 4 and not tensor.is_contiguous()
        found = (tensor.permute(0, 2, 3, 1) if last else tensor).reshape(-1)
        made = found.numpy(), last
        if found.data_ptr() == tensor.data_ptr():  # else it is a copy, which will not follow
            self._tensor, self._found = tensor, made
        return made


class _Connection:
    """One layer's synapses.

    Attributes
    ----------
    weight : Tensor
        As the products use it.
    seen : callable
        Returns the last input, (1, ...).
    dense : int
        Operations of a bin without zeros.
    zeros : int
        Zero weights.
    """

    def __init__(
        self, weight: Callable[[], Tensor], seen: Callable[[], Tensor | None], where: Geometry
    ) -> None:
        self.seen, self._weight, self._where = seen, weight, where
        self._memory = _InMemory()
        self.dense = int(fan_out(self.weight, where, dense=True).sum())
        self._whole = False
        self.refresh()

    @property
    def weight(self) -> Tensor:
        """(out, in / groups, kernel, kernel)."""
        weight = self._weight()
        return weight if weight.dim() == 4 else weight[:, :, None, None]

    def refresh(self) -> None:
        """Read the weights again."""
        weight = self.weight
        self.zeros = int(_count_zeros()(_InMemory().of(weight)[0]))
        if self.zeros or not self._whole:
            self._fan_out = fan_out(weight, self._where)
            self._laid: dict[bool, NDArray[np.int64]] = {}
        self._whole = not self.zeros

    def count(self) -> tuple[int, bool]:
        """Operations of the last bin, and whether they are multiply-accumulates."""
        seen = self.seen()
        assert seen is not None, "no bin has passed through the network since counting began"
        x, last = self._memory.of(seen)
        fan = self._laid.get(last)
        if fan is None:
            placed = self._fan_out.view(seen.shape)
            placed = placed.permute(0, 2, 3, 1) if last else placed
            fan = self._laid[last] = placed.reshape(-1).numpy()
        operations, graded = _count_synaptic()(x, fan)
        return int(operations), bool(graded)


class SynapticOperations:
    """Counts operations of a learner's inference network, and of its learning.

    Call `bin` after each `StopLearner.predict`, before the network is reset.

    Parameters
    ----------
    learner : StopLearner
        The learner.

    Attributes
    ----------
    executions : int
        Bins counted.
    macs, acs : int
        Effective synaptic operations.
    spikes : dict of str to int
        By layer.
    membrane_updates : int
        Of all neurons.
    """

    def __init__(self, learner: StopLearner) -> None:
        self.learner = learner
        self.network = network = learner.inference_network
        self.executions = self.macs = self.acs = self.membrane_updates = 0
        self._layers: dict[str, SpikingLayer] = dict(
            zip(network.layer_names, network.layers, strict=True)
        )
        self._connections: list[_Connection] = []
        for one in network.synapses().values():
            one.watched = True
            where = Geometry(one.in_shape, one.out_plane, one.stride, one.pad, one.groups)
            self._connections.append(
                _Connection(lambda one=one: one.used, lambda one=one: one.seen, where)  # type: ignore[misc]
            )
        readout = network.readout
        if isinstance(readout, SpikingReadout):
            self._layers["readout"] = readout.layer
        else:
            self._connections.append(
                _Connection(
                    lambda: readout.weight,
                    lambda: network.features,
                    Geometry((readout.weight.shape[1], 1, 1)),
                )
            )
        self.spikes = dict.fromkeys(self._layers, 0)
        self._memory = {name: (_InMemory(), _InMemory()) for name in self._layers}
        self._past = {
            name: np.zeros_like(self._memory[name][0].of(layer.state.v)[0])
            for name, layer in self._layers.items()
        }
        self._refreshed, self._rested = network.refresh_count, -1

    def bin(self) -> None:
        """Count the bin that the learner has just predicted."""
        network = self.network
        if network.refresh_count != self._refreshed:
            self._refreshed = network.refresh_count
            for connection in self._connections:
                connection.refresh()
        for connection in self._connections:
            operations, graded = connection.count()
            if graded:
                self.macs += operations
            else:
                self.acs += operations
        from_rest = network.reset_count != self._rested
        self._rested = network.reset_count
        for name, layer in self._layers.items():
            of_u, of_s = self._memory[name]
            u, s = of_u.of(layer.state.v)[0], of_s.of(layer.state.spikes)[0]
            spikes, updates = _count_neurons()(u, s, self._past[name])
            self.spikes[name] += int(spikes)
            self.membrane_updates += u.size if from_rest else int(updates)
        self.executions += 1

    def as_dict(self) -> dict[str, Any]:
        """The entry in summary.json: means per execution, None where there was none.

        Measures that do not depend on bins are of the current network.
        """
        neurons = {name: layer.state.v.numel() for name, layer in self._layers.items()}
        weights = sum(one.weight.numel() for one in self._connections)
        for one in self._connections:
            one.refresh()
        by_layer = {
            name: self._mean(self.executions * n - self.spikes[name], n)
            for name, n in neurons.items()
        }
        everyone = sum(neurons.values())
        silent = self.executions * everyone - sum(self.spikes.values())
        return {
            "executions": self.executions,
            "activation_sparsity": self._mean(silent, everyone),
            "activation_sparsity_by_layer": by_layer,
            "connection_sparsity": sum(one.zeros for one in self._connections) / weights,
            "synaptic_operations": {
                "effective_macs": self._mean(self.macs),
                "effective_acs": self._mean(self.acs),
                "dense": sum(one.dense for one in self._connections),
            },
            "membrane_updates": self._mean(self.membrane_updates),
            "footprint_bytes": self.footprint_bytes(),
            "parameters": sum(p.numel() for p in self.network.parameters().values()),
            "learning_operations": self._learning(),
        }

    def footprint_bytes(self) -> int:
        """Bytes of parameters, and of the potentials and spikes that the next bin needs."""
        held = [*self.network.parameters().values()]
        for layer in self._layers.values():
            held += [layer.state.v, layer.state.spikes]
        readout = self.network.readout
        if not isinstance(readout, SpikingReadout) and readout.leaky:
            held.append(readout.v)
        return sum(tensor.numel() * tensor.element_size() for tensor in held)

    def _learning(self) -> dict[str, Any]:
        """Dense multiply-accumulates of learning, means over executions.

        "late_gradients", with late labels only, are those of bins whose label was to come.

        "forward" is that of a network that learns apart from the inference network, or, under rule
        "bptt", the second pass through the segment.
        """
        learner, spec = self.learner, self.learner.spec
        letters = letters_of(spec.trainable)
        cost = network_cost(learner.network.spec, letters, learner.dtype, spec.rule)
        again = learner.bins_traced if learner.network is not self.network else 0
        again += learner.bins_with_error if spec.rule == "bptt" else 0
        done = {
            "forward": again * cost.forward,
            "traces": learner.bins_traced * cost.traces,
            "neuron_gradients": learner.bins_with_error * cost.neuron_gradient,
            "weight_gradients": learner.bins_with_error * cost.weight_gradient,
            "input_gradients": learner.bins_with_error * cost.input_gradient,
            "update": learner.updates * cost.learning * ADAM_OPERATIONS,
        }
        if learner.learns_late:
            done["late_gradients"] = learner.bins_awaited * _late_gradients(learner, cost)
        done["total"] = sum(done.values())
        means = {name: self._mean(count) for name, count in done.items()}
        return {**means, "bins_taught": learner.bins_with_error, "updates": learner.updates}

    def _mean(self, count: int, of: int = 1) -> float | None:
        return count / (self.executions * of) if self.executions else None


def _late_gradients(learner: StopLearner, cost: NetworkCost) -> int:
    """Dense multiply-accumulates of one bin's gradients for every label (`learning.late`)."""
    spec, network = learner.spec, learner.network.spec
    *hidden, readout = cost.layers
    last = f"{network.layers[-1].kind}{len(network.layers)}" if network.layers else ""
    if spec.late != "all":
        hidden = [one for one in hidden if spec.late == "last" and one.name.startswith(last)]
    # Below the last layer nobody waits for an error, but for the first half of a block.
    down = [one for one in hidden if spec.late == "all" or one.name.endswith(".b")]
    one_label = sum(one.weight_gradient + one.neuron_gradient for one in hidden)
    one_label += sum(one.input_gradient for one in down) + readout.neuron_gradient
    one_label += readout.input_gradient if hidden else 0
    rows = 2 if spec.loss_classes == "all" else network.classes
    return network.classes * one_label + rows * readout.weight_gradient
