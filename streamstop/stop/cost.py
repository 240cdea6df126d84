"""Cost of a network: parameters, state, and multiply-accumulates per step, layer by layer.

Convolutions and products with weights are counted as dense, zeros and padding included. What
learning does once per neuron or per input is listed apart.

Guarantees: exact counts, taken from the layers as they are built, but without memory for their
numbers, so that a network too large for this machine can be asked about.

Does not: count a neuron's own step and pooling (a few operations per neuron), or measure time.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from streamstop.stop.layer import SpikingLayer
from streamstop.stop.network import TRACES, Network, NetworkSpec, Rule
from streamstop.stop.readouts import SpikingReadout

ADAM_COPIES = 3
"""What Adam holds beside a parameter that learns: its gradient and two moments."""


class LayerCost(NamedTuple):
    """One layer, or the readout, for one sample.

    what : its synapses and pooling in words.  shape : of its pooled output.
    neurons : before pooling.  inputs : numbers that come in.
    state_bytes : neuron states and presynaptic trace.
    forward, weight_gradient, input_gradient : multiply-accumulates of a step.
    traces : of its presynaptic and eligibility traces, as far as what learns needs them.
    neuron_gradient : of its neurons' error (times the surrogate), biases, thresholds and leak.
    """

    name: str
    what: str
    shape: tuple[int, ...]
    neurons: int
    inputs: int
    parameters: int
    state_bytes: int
    forward: int
    weight_gradient: int
    input_gradient: int
    traces: int
    neuron_gradient: int


class NetworkCost(NamedTuple):
    """What a whole network costs, for one sample.

    layers : from the input upwards, the readout last.
    learning : parameters that learn.  number_bytes : bytes of one number.
    derived_bytes : of what weights become where they are standardised or have a gain.
    """

    layers: tuple[LayerCost, ...]
    learning: int
    number_bytes: int
    derived_bytes: int

    @property
    def neurons(self) -> int:
        """Spiking neurons."""
        return sum(layer.neurons for layer in self.layers)

    @property
    def parameters(self) -> int:
        """Learnable numbers, thresholds and leaks among them."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def parameter_bytes(self) -> int:
        """Bytes of the parameters alone."""
        return self.parameters * self.number_bytes

    @property
    def adam_bytes(self) -> int:
        """Bytes that stand beside the parameters that learn: gradients, Adam's moments."""
        return ADAM_COPIES * self.learning * self.number_bytes

    @property
    def state_bytes(self) -> int:
        """Bytes between two steps of the rule, whatever the number of steps."""
        return sum(layer.state_bytes for layer in self.layers)

    @property
    def forward(self) -> int:
        """Multiply-accumulates of a step forward."""
        return sum(layer.forward for layer in self.layers)

    @property
    def weight_gradient(self) -> int:
        """Multiply-accumulates of a step's weight gradients."""
        return sum(layer.weight_gradient for layer in self.layers)

    @property
    def input_gradient(self) -> int:
        """Multiply-accumulates that take the error down through space."""
        return sum(layer.input_gradient for layer in self.layers)

    @property
    def traces(self) -> int:
        """Multiply-accumulates of a step's traces."""
        return sum(layer.traces for layer in self.layers)

    @property
    def neuron_gradient(self) -> int:
        """Multiply-accumulates of a step's errors and gradients, neuron by neuron."""
        return sum(layer.neuron_gradient for layer in self.layers)

    @property
    def learning_step(self) -> int:
        """Multiply-accumulates of a step that learns, its forward pass included."""
        return self.forward + self.weight_gradient + self.input_gradient

    def unrolled_bytes(self, bins: int) -> int:
        """Bytes that backpropagation through `bins` keeps at least: of every layer and bin the
        input, the membrane potential and the spikes.
        """
        kept = sum(layer.inputs + 2 * layer.neurons for layer in self.layers if layer.neurons)
        return bins * kept * self.number_bytes


def network_cost(
    spec: NetworkSpec,
    learn: str = "wtl",
    dtype: torch.dtype = torch.float32,
    rule: Rule = "stop",
) -> NetworkCost:
    """What `spec` costs at batch 1.

    learn : letters of what STOP moves, as in `Network`; "" where the readout alone learns.
    rule : as in `Network`; only "stop" and "ottt" have traces.
    """
    if rule == "ottt":
        learn = "w" if "w" in learn else ""
    with torch.device("meta"):
        network = Network(spec, 0, learn=learn, rule=rule, dtype=dtype)
    traced = learn if TRACES[rule] == "stop" else ""
    # Only what reads the network's input has nobody below it who waits for an error.
    bottom = set(network.layer_names[:1])
    if spec.layers and spec.layers[0].kind == "block":
        bottom = {"block1.a", "block1.way", "block1.skip"}
    costs = []
    for name, layer in zip(network.layer_names, network.layers, strict=True):
        macs = layer.weight.numel() * math.prod(layer.neurons[1:])
        costs.append(
            LayerCost(
                name=name,
                what=_what(layer),
                shape=layer.out_shape[:1] if layer.spec.kind == "linear" else layer.out_shape,
                neurons=math.prod(layer.neurons),
                inputs=math.prod(layer.in_shape),
                parameters=_numbers(layer.parameters()),
                state_bytes=layer.state_bytes(),
                forward=macs,
                weight_gradient=macs if "w" in learn else 0,
                input_gradient=macs if learn and name not in bottom else 0,
                traces=_traces(layer, traced),
                neuron_gradient=math.prod(layer.neurons) * (len(learn) + 1 if learn else 0),
            )
        )
    for name, skip in network.skips.items():
        macs = skip.weight.numel() * math.prod(skip.out_plane)
        joined = [one.name for one in costs].index(f"{name.removesuffix('.skip')}.b")
        costs.insert(
            joined + 1,
            LayerCost(
                name=name,
                what=f"conv 1x1{f', stride {skip.stride}' if skip.stride > 1 else ''}",
                shape=(skip.weight.shape[0], *skip.out_plane),
                neurons=0,
                inputs=math.prod(skip.in_shape),
                parameters=_numbers(skip.parameters()),
                state_bytes=skip.trace.numel() * skip.trace.element_size(),
                forward=macs,
                weight_gradient=macs if "w" in learn else 0,
                input_gradient=macs if learn and name not in bottom else 0,
                traces=skip.trace.numel() if "w" in traced else 0,
                neuron_gradient=0,
            ),
        )
    readout = network.readout
    weight = readout.parameters()["weight"]
    # Its weights and biases always learn, whatever is below.
    letters, carries = "w" + learn.replace("w", ""), TRACES[rule] == "stop"
    if isinstance(readout, SpikingReadout):
        traces = _traces(readout.layer, letters if carries else "")
        gradient = spec.classes * (len(letters) + 1)
    else:
        leak = readout.leaky and "l" in learn
        traces = carries * (readout.leaky * weight.shape[1] + leak * spec.classes)
        gradient = spec.classes * (1 + leak)
    costs.append(
        LayerCost(
            name="readout",
            what=("average, " if spec.global_average else "") + READOUTS[spec.readout],
            shape=(spec.classes,),
            neurons=spec.classes if spec.readout == "spiking" else 0,
            inputs=weight.shape[1],
            parameters=_numbers(readout.parameters()),
            state_bytes=readout.state_bytes(),
            forward=weight.numel(),
            weight_gradient=weight.numel(),
            input_gradient=weight.numel() if learn and costs else 0,
            traces=traces,
            neuron_gradient=gradient,
        )
    )
    learning = sum(gradient.numel() for gradient in network.grads.values())
    return NetworkCost(tuple(costs), learning, weight.element_size(), network.derived_bytes())


READOUTS = {"linear": "linear", "leaky_integrator": "leaky linear", "spiking": "spiking, linear"}
"""Readouts in words."""


def _numbers(parameters: dict[str, Tensor]) -> int:
    return sum(value.numel() for value in parameters.values())


def _traces(layer: SpikingLayer, learn: str) -> int:
    """One operation a number and bin: of the input for weights, of each neuron for the rest.

    With a soft reset the trace of biases is one number for all.
    """
    eligible = ("t" in learn) + ("l" in learn) + ("w" in learn and layer.neuron.reset == "hard")
    return ("w" in learn) * math.prod(layer.in_shape) + eligible * math.prod(layer.neurons)


def _what(layer: SpikingLayer) -> str:
    spec = layer.spec
    words = ["linear"] if spec.kind == "linear" else [f"conv {spec.kernel}x{spec.kernel}"]
    words += [f"stride {spec.stride}"] if spec.stride > 1 else []
    words += [f"groups {spec.groups}"] if spec.groups > 1 else []
    words += [f"{'max ' if spec.pooling == 'max' else ''}pool {spec.pool}"] if spec.pool > 1 else []
    words += [f"dropout {spec.dropout:g}"] if spec.dropout else []
    return ", ".join(words)
