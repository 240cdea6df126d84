"""Small float64 networks with everything set to uneven values, and their gradients by both ways."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from streamstop.stop import bptt
from streamstop.stop.batch_gradients import batch_gradients
from streamstop.stop.layer import LEAK_MAX, LayerSpec, NeuronSpec, Threshold
from streamstop.stop.losses import Loss
from streamstop.stop.network import Network, NetworkSpec, Rule
from streamstop.stop.neuron import Reset
from streamstop.stop.readouts import Readout, ReadoutKind

CLASSES = 5


class Case(NamedTuple):
    """A network and an input: what `build` and `inputs` need."""

    shape: tuple[int, int, int]
    layers: tuple[LayerSpec, ...]
    leak: float = 0.9
    surrogate: str = "exponential"
    bins: int = 12
    batch: int = 3
    reset: Reset = "soft"
    threshold: Threshold = "channel"
    norm: str = "none"
    average: bool = False
    readout: ReadoutKind = "linear"
    readout_leak: float = 0.9
    rule: Rule = "stop"
    learn: str = "wtl"
    leak_gain: bool = False


def build(case: Case, seed: int = 0) -> Network:
    """A float64 network: per-channel thresholds, biases and leaks all different, no zero."""
    neuron = NeuronSpec(
        leak_init=case.leak,
        init_gain=2.0,
        surrogate=case.surrogate,
        reset=case.reset,
        threshold_sharing=case.threshold,
        normalization=case.norm,
        decay_input=case.leak_gain,
    )
    spec = NetworkSpec(
        case.shape,
        case.layers,
        CLASSES,
        neuron,
        case.average,
        case.readout,
        case.readout_leak,
    )
    network = Network(spec, seed, learn=case.learn, rule=case.rule, dtype=torch.float64)
    draw = torch.Generator().manual_seed(seed + 1000)
    readout = network.readout
    spiking = [] if isinstance(readout, Readout) else [readout.layer]
    for i, layer in enumerate([*network.layers, *spiking]):
        channels = len(layer.bias)
        layer.bias.copy_(0.2 * torch.rand(channels, generator=draw, dtype=torch.float64) + 0.05)
        spread = torch.rand(layer.log_theta.shape, generator=draw, dtype=torch.float64)
        layer.log_theta.copy_(spread * 0.8 - 0.6)  # thresholds from 0.55 to 1.2
        leak = min(case.leak * (1 - 0.05 * i), 0.98)
        layer.leak_logit.fill_(torch.logit(torch.tensor(leak / LEAK_MAX, dtype=torch.float64)))
    if isinstance(readout, Readout):
        shape = readout.weight.shape
        readout.weight.copy_(torch.randn(shape, generator=draw, dtype=torch.float64))
        readout.bias.copy_(torch.randn(shape[0], generator=draw, dtype=torch.float64))
    for name, value in network.parameters().items():
        if name.endswith(".scale"):
            value.copy_(0.5 + torch.rand(value.shape, generator=draw, dtype=torch.float64))
    network.refresh()
    return network


def inputs(case: Case, seed: int = 0, density: float = 0.3) -> tuple[Tensor, Tensor]:
    """Sparse counts (bins, batch, polarities, height, width) and labels (batch,)."""
    draw = torch.Generator().manual_seed(seed)
    size = (case.bins, case.batch, *case.shape)
    hit = torch.rand(size, generator=draw, dtype=torch.float64) < density
    x = hit * (1.0 + torch.rand(size, generator=draw, dtype=torch.float64))
    return x, torch.randint(CLASSES, (case.batch,), generator=draw)


def stop_grads(
    network: Network, x: Tensor, labels: Tensor, settled: bool = True
) -> dict[str, Tensor]:
    """Gradients of the cross-entropy summed over bins and batch, by the STOP rule."""
    network.reset_state(x.shape[1])
    network.zero_grads()
    target = functional.one_hot(labels, CLASSES).to(x.dtype)
    for now in x:
        logits = network.forward(now)
        network.backward(logits.softmax(1) - target)
    grads = network.finish_grads() if settled else network.grads
    return {name: grad.clone() for name, grad in grads.items()}


def by_rule(
    network: Network, x: Tensor, labels: Tensor, loss: Loss | None = None, *, constant: bool = False
) -> dict[str, Tensor]:
    """Settled gradients of one batch of sequences, by whichever rule the network follows."""
    batch_gradients(network, x, labels, loss or Loss(), constant=constant)
    return {name: grad.clone() for name, grad in network.grads.items()}


def same_as_bptt(network: Network, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """The rule's gradients, all of them held against backpropagation through time, to 1e-10."""
    ours = by_rule(network, x, labels)
    exact = only(bptt.grads(network, x, labels), ours)
    for name, grad in ours.items():
        torch.testing.assert_close(grad, exact[name], rtol=1e-10, atol=1e-10, msg=name)
    return ours


def only(grads: dict[str, Tensor], like: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those of `grads` that `like` has too."""
    return {name: grads[name] for name in like}


def worst(one: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, float]:
    """Per parameter, the largest difference as a share of the largest entry of `other`."""
    assert one.keys() == other.keys()
    return {k: float((one[k] - other[k]).abs().max() / other[k].abs().max()) for k in one}


def cosine(one: Tensor, other: Tensor) -> float:
    """Cosine of the angle between two tensors taken as vectors."""
    return float(functional.cosine_similarity(one.flatten(), other.flatten(), dim=0))
