"""One sequence of learning by STOP and by other libraries, for the benchmarks of time and memory.

A contender is built for a network of `streamstop.stop.architectures` and called with the bins of
one sequence and one label per sample: forward, cross-entropy at every bin, backward, one Adam step.
It returns the mean loss per bin, which shows that contenders compute the same thing. The others are
backpropagation through time by torch (`streamstop.stop.bptt`), snntorch, spikingjelly and norse.
All start from the same weights, each with its library's neuron and surrogate. Neurons leak and
reset alike, except in snntorch, whose reset does not decay. Libraries that are not installed are
left out.

"step by step" runs all layers on one bin, then on the next, as on a stream. "layer by layer" runs
each layer on all bins at once; it needs the whole sequence before its first output. "ten bins at
once" does so for ten bins at a time, whatever the length of the sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks._shared.provenance import installed
from streamstop.learning.learner import LearnerSpec, StopLearner
from streamstop.stop import bptt
from streamstop.stop.architectures import build_network
from streamstop.stop.batch_gradients import chunk_bins
from streamstop.stop.layer import NeuronSpec
from streamstop.stop.network import Network, NetworkSpec

CLASSES, DENSITY, RATE = 11, 0.06, 1e-4
PEERS = ("torch", "snntorch", "spikingjelly", "norse")
LETTERS = {"weight": "w", "bias": "w", "log_theta": "t", "leak_logit": "l"}

Sequence = Callable[[Iterable[Tensor], Tensor], float]
"""bins (batch, 2, height, width) one after the other, labels (batch,): mean loss per bin."""


class Contender(NamedTuple):
    """Who learns, and what.

    library : "streamstop" or one of PEERS.  how : in words, apart from the library.
    learn : letters: weights and biases, thresholds, leaks.  single : only batch 1.
    """

    library: str
    how: str
    learn: str
    build: Callable[[NetworkSpec], Sequence]
    single: bool = False

    @property
    def name(self) -> str:
        """As tables call it."""
        return f"{'STOP' if self.library == 'streamstop' else self.library}, {self.how}"


def spec_of(network: str, side: int, theta: float = 1.0) -> NetworkSpec:
    """A network by name on a square input of two polarities, its thresholds at `theta`."""
    return build_network(network, (2, side, side), CLASSES, NeuronSpec(threshold_init=theta))


def one_bin(spec: NetworkSpec, batch: int, draw: torch.Generator) -> Tensor:
    """A binary bin (batch, \\*input), `DENSITY` of it ones."""
    return (torch.rand(batch, *spec.input_shape, generator=draw) < DENSITY).float()


def stop_learner(spec: NetworkSpec, update: str = "segment") -> Sequence:
    """As the pipeline calls it: predict, learn, statistics of spikes, the decision's votes."""
    learner = StopLearner(spec, LearnerSpec(update=update, lr=RATE, lr_readout=RATE))

    def sequence(bins: Iterable[Tensor], labels: Tensor) -> float:
        label = int(labels[0])
        learner.begin_segment()
        for now in bins:
            learner.predict(now, trace=True)
            learner.learn(label)
        return learner.end_segment() or 0.0

    return sequence


def stop_rule(spec: NetworkSpec, learn: str, together: int = 1) -> Sequence:
    """The rule alone: what the peers do, and no more.

    together : so many bins go through the network at once, layer by layer; the gradients are the
        same.
    """
    network = Network(spec, 0, learn=learn)
    parameters = network.parameters()
    optimizer = torch.optim.Adam([parameters[name] for name in network.grads], lr=RATE)

    @torch.no_grad()
    def sequence(bins: Iterable[Tensor], labels: Tensor) -> float:
        target = functional.one_hot(labels, CLASSES).float()
        loss, steps = torch.zeros(()), 0
        network.reset_state(len(labels))
        network.zero_grads()
        for now, _ in chunk_bins(bins, together):
            log_probabilities = network.forward(now).log_softmax(1)
            count = len(log_probabilities) // len(labels)
            wanted = target if count == 1 else target.repeat(count, 1)
            loss -= (log_probabilities * wanted).sum()
            network.backward(log_probabilities.exp_().sub_(wanted))
            steps += count
        for name, grad in network.finish_grads().items():
            parameters[name].grad = grad
        optimizer.step()
        network.refresh()
        return float(loss) / (len(labels) * steps)

    return sequence


def _descent(
    parameters: Iterable[Tensor], losses: Callable[[Iterable[Tensor], Tensor], tuple[Tensor, int]]
) -> Sequence:
    """A sequence through autograd, given the summed loss of a batch and its number of bins."""
    optimizer = torch.optim.Adam([p for p in parameters if p.requires_grad], lr=RATE)

    def sequence(bins: Iterable[Tensor], labels: Tensor) -> float:
        optimizer.zero_grad()
        loss, steps = losses(bins, labels)
        loss.backward()
        optimizer.step()
        return float(loss.detach()) / (len(labels) * steps)

    return sequence


def torch_bptt(spec: NetworkSpec, learn: str) -> Sequence:
    """`streamstop.stop.bptt` in float32: the same neurons, unrolled, by autograd."""
    network = Network(spec, 0)
    leaves = {
        name: value.detach()
        .clone(memory_format=torch.contiguous_format)
        .requires_grad_(_learns(name, learn))
        for name, value in network.parameters().items()
    }

    def losses(bins: Iterable[Tensor], labels: Tensor) -> tuple[Tensor, int]:
        outputs = bptt.unroll(network, leaves, torch.stack(list(bins)))
        return _summed(outputs, labels), len(outputs)

    return _descent(leaves.values(), losses)


def _learns(name: str, learn: str) -> bool:
    layer, _, kind = name.rpartition(".")
    return layer == "readout" or LETTERS.get(kind, "w") in learn


def _summed(outputs: Iterable[Tensor], labels: Tensor) -> Tensor:
    """Cross-entropy of each bin's logits, summed over bins and batch."""
    loss = torch.zeros(())
    for logits in outputs:
        loss = loss + functional.cross_entropy(logits, labels, reduction="sum")
    return loss


class _Synapses(nn.Module):
    """Convolutions and readout with the weights that STOP starts from, and the pooling between."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        if any(one.kind != "conv" or one.pooling != "avg" for one in spec.layers):
            raise ValueError("peers are built of convolutions with average pooling only")
        network = Network(spec, 0)
        values = {name: value.detach().clone() for name, value in network.parameters().items()}
        self.leak = float(network.layers[0].leak)
        self.theta = float(network.layers[0].theta.mean())
        self.average = spec.global_average
        self.pools = [one.pool for one in spec.layers]
        self.convolutions = nn.ModuleList()
        for name, one in zip(network.layer_names, spec.layers, strict=True):
            weight = values[f"{name}.weight"]
            pad = one.kernel // 2 if one.pad < 0 else one.pad
            made = nn.Conv2d(
                weight.shape[1] * one.groups, len(weight), one.kernel, one.stride, pad,
                groups=one.groups,
            )  # fmt: skip
            made.load_state_dict({"weight": weight.contiguous(), "bias": values[f"{name}.bias"]})
            self.convolutions.append(made)
        self.readout = nn.Linear(values["readout.weight"].shape[1], spec.classes)
        self.readout.load_state_dict({k: values[f"readout.{k}"] for k in ("weight", "bias")})

    def pooled(self, i: int, spikes: Tensor) -> Tensor:
        """Layer i's spikes as the next layer sees them."""
        return functional.avg_pool2d(spikes, self.pools[i]) if self.pools[i] > 1 else spikes

    def logits(self, spikes: Tensor) -> Tensor:
        """The readout of the last layer's spikes."""
        features = spikes.mean((2, 3)) if self.average else spikes.flatten(1)
        return self.readout(features)


def snntorch_bptt(spec: NetworkSpec, learn: str) -> Sequence:
    """snntorch's `Leaky`, reset by subtraction, step by step; one threshold and leak a layer."""
    import snntorch

    net = _Synapses(spec)
    leaky: Any = snntorch.Leaky
    neurons = nn.ModuleList(
        leaky(
            beta=net.leak,
            threshold=net.theta,
            reset_mechanism="subtract",
            learn_beta="l" in learn,
            learn_threshold="t" in learn,
        )
        for _ in spec.layers
    )

    def losses(bins: Iterable[Tensor], labels: Tensor) -> tuple[Tensor, int]:
        membranes = [torch.zeros(()) for _ in neurons]  # snntorch gives them their shape
        outputs = []
        for now in bins:
            spikes = now
            for i, (convolve, neuron) in enumerate(zip(net.convolutions, neurons, strict=True)):
                spikes, membranes[i] = neuron(convolve(spikes), membranes[i])
                spikes = net.pooled(i, spikes)
            outputs.append(net.logits(spikes))
        return _summed(outputs, labels), len(outputs)

    return _descent([*net.parameters(), *neurons.parameters()], losses)


def norse_bptt(spec: NetworkSpec, learn: str) -> Sequence:
    """norse's `lif_box_feed_forward_step`, reset by subtraction; one threshold and leak a layer.

    norse scales the input by 1 - leak; its threshold is scaled alike, so that spikes are the same.
    """
    from norse.torch.functional.lif_box import (
        LIFBoxFeedForwardState,
        LIFBoxParameters,
        lif_box_feed_forward_step,
    )
    from norse.torch.functional.reset import reset_subtract

    net = _Synapses(spec)
    rate, zero = 1.0 - net.leak, torch.tensor(0.0)
    rates = [torch.tensor(rate, requires_grad="l" in learn) for _ in spec.layers]
    thetas = [torch.tensor(rate * net.theta, requires_grad="t" in learn) for _ in spec.layers]
    neurons = [
        LIFBoxParameters(
            tau_mem_inv=inverse, v_leak=zero, v_th=theta, v_reset=zero, alpha=torch.tensor(100.0),
            reset_method=reset_subtract,
        )
        for inverse, theta in zip(rates, thetas, strict=True)
    ]  # fmt: skip

    def losses(bins: Iterable[Tensor], labels: Tensor) -> tuple[Tensor, int]:
        states = [LIFBoxFeedForwardState(v=zero) for _ in neurons]
        outputs = []
        for now in bins:
            spikes = now
            for i, (convolve, neuron) in enumerate(zip(net.convolutions, neurons, strict=True)):
                spikes, states[i] = lif_box_feed_forward_step(
                    convolve(spikes), states[i], neuron, dt=1.0
                )
                spikes = net.pooled(i, spikes)
            outputs.append(net.logits(spikes))
        return _summed(outputs, labels), len(outputs)

    return _descent([*net.parameters(), *rates, *thetas], losses)


def spikingjelly_bptt(
    spec: NetworkSpec, learn: str, mode: str, channels_last: bool = False
) -> Sequence:
    """spikingjelly's `LIFNode`, or `ParametricLIFNode` where leaks learn; thresholds never do.

    mode : its step modes: "s", one bin through all layers; "m", all bins through one layer.
    channels_last : weights and input lie in memory with the channels innermost.
    """
    from spikingjelly.activation_based import functional as steps
    from spikingjelly.activation_based import neuron, surrogate

    layout = torch.channels_last if channels_last else torch.contiguous_format
    net = _Synapses(spec).to(memory_format=layout)
    kind: Any = neuron.ParametricLIFNode if "l" in learn else neuron.LIFNode
    constant = {"init_tau" if "l" in learn else "tau": 1.0 / (1.0 - net.leak)}
    neurons = nn.ModuleList(
        kind(
            decay_input=False,
            v_threshold=net.theta,
            v_reset=None,
            surrogate_function=surrogate.PiecewiseExp(),
            detach_reset=True,
            step_mode=mode,
            **constant,
        )
        for _ in spec.layers
    )

    def one_by_one(bins: Iterable[Tensor], labels: Tensor) -> tuple[Tensor, int]:
        steps.reset_net(neurons)
        outputs = []
        for now in bins:
            spikes = now
            for i, (convolve, node) in enumerate(zip(net.convolutions, neurons, strict=True)):
                spikes = net.pooled(i, node(convolve(spikes)))
            outputs.append(net.logits(spikes))
        return _summed(outputs, labels), len(outputs)

    def all_at_once(bins: Iterable[Tensor], labels: Tensor) -> tuple[Tensor, int]:
        steps.reset_net(neurons)
        x = torch.stack(list(bins))
        count, spikes = len(x), x.flatten(0, 1).contiguous(memory_format=layout)
        for i, (convolve, node) in enumerate(zip(net.convolutions, neurons, strict=True)):
            current = convolve(spikes).unflatten(0, (count, -1))
            spikes = net.pooled(i, node(current).flatten(0, 1))
        every = labels.repeat(count)
        return functional.cross_entropy(net.logits(spikes), every, reduction="sum"), count

    losses = one_by_one if mode == "s" else all_at_once
    return _descent([*net.parameters(), *neurons.parameters()], losses)


LEARNER = Contender("streamstop", "the learner", "wtl", stop_learner, single=True)
SHADOW = Contender(
    "streamstop", "the learner, an update per step and an evaluation copy", "wtl",
    lambda spec: stop_learner(spec, "step"), single=True,
)  # fmt: skip
RULE = Contender("streamstop", "the rule alone", "wtl", lambda spec: stop_rule(spec, "wtl"))
TOGETHER = Contender(
    "streamstop",
    "the rule alone, ten bins at once",
    "wtl",
    lambda spec: stop_rule(spec, "wtl", 10),
)
RULE_W = Contender("streamstop", "the rule alone", "w", lambda spec: stop_rule(spec, "w"))

_BY_STEP, _BY_LAYER = "step by step", "layer by layer"
_LAST = f"{_BY_LAYER}, channels last"
CONTENDERS = (
    LEARNER,
    RULE,
    RULE_W,
    TOGETHER,
    Contender("torch", _BY_STEP, "wtl", lambda spec: torch_bptt(spec, "wtl")),
    Contender("torch", _BY_STEP, "w", lambda spec: torch_bptt(spec, "w")),
    Contender("snntorch", _BY_STEP, "wtl", lambda spec: snntorch_bptt(spec, "wtl")),
    Contender("snntorch", _BY_STEP, "w", lambda spec: snntorch_bptt(spec, "w")),
    Contender("spikingjelly", _BY_STEP, "wl", lambda spec: spikingjelly_bptt(spec, "wl", "s")),
    Contender("spikingjelly", _BY_STEP, "w", lambda spec: spikingjelly_bptt(spec, "w", "s")),
    Contender("spikingjelly", _BY_LAYER, "wl", lambda spec: spikingjelly_bptt(spec, "wl", "m")),
    Contender("spikingjelly", _BY_LAYER, "w", lambda spec: spikingjelly_bptt(spec, "w", "m")),
    Contender("spikingjelly", _LAST, "w", lambda spec: spikingjelly_bptt(spec, "w", "m", True)),
    Contender("norse", _BY_STEP, "wtl", lambda spec: norse_bptt(spec, "wtl")),
    Contender("norse", _BY_STEP, "w", lambda spec: norse_bptt(spec, "w")),
)
"""All that can take part, STOP first."""


def present(contender: Contender) -> bool:
    """Whether its library is installed."""
    return bool(installed(contender.library))
