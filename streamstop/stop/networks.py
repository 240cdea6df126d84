"""The networks by name: one readable table, from which every recipe and command builds.

What a network then costs is for `cost` to say.

Shapes are the paper's where it gives them. Numbers are channels of a 3x3 convolution, "P" pools the
spikes of the layer before it by 2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from streamstop.errors import UsageError
from streamstop.stop.layers import LayerSpec, NeuronSpec
from streamstop.stop.network import NetworkSpec

if TYPE_CHECKING:
    from streamstop.config import NetworkConfig


@dataclass(frozen=True)
class Architecture:
    """A named network, before it is told its input and its classes.

    layers : from the input upwards.  global_average : under the readout.
    note : where the shape is from.
    """

    layers: tuple[LayerSpec, ...]
    global_average: bool
    note: str


def _plain(*shape: int | str) -> tuple[LayerSpec, ...]:
    """Convolutions from numbers, pooling from "P"."""
    layers: list[LayerSpec] = []
    for item in shape:
        if isinstance(item, int):
            layers.append(LayerSpec("conv", item))
        else:
            layers[-1] = layers[-1]._replace(pool=2)
    return tuple(layers)


def _lenet5() -> tuple[LayerSpec, ...]:
    first = LayerSpec("conv", 6, kernel=5, pool=2)
    second = LayerSpec("conv", 16, kernel=5, pool=2, pad=0)
    return first, second, LayerSpec("linear", 120), LayerSpec("linear", 84)


def _resnet18() -> tuple[LayerSpec, ...]:
    layers = [LayerSpec("conv", 64)]
    for channels, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [LayerSpec("block", channels, stride=stride), LayerSpec("block", channels)]
    return tuple(layers)


ARCHITECTURES = {
    "compact": Architecture(
        _plain(32, "P", 64, "P"), False, "two convolutions: the default for streams"
    ),
    "lenet5": Architecture(_lenet5(), False, "LeCun et al. 1998, spiking; the paper's MNIST"),
    "vgg11": Architecture(
        _plain(64, "P", 128, "P", 256, 256, "P", 512, 512, "P", 512, 512, "P"),
        True,
        "the paper's CIFAR-10, DVS-Gesture and DVS-CIFAR10",
    ),
    "resnet18": Architecture(_resnet18(), True, "the paper's CIFAR-100; spikes added"),
}
"""Every network that has a name."""


def named_network(
    name: str,
    input_shape: tuple[int, int, int],
    classes: int,
    neuron: NeuronSpec | None = None,
    channels: tuple[int, ...] = (),
    hidden: int = 0,
) -> NetworkSpec:
    """The network called `name` for inputs of one shape and a number of classes.

    input_shape : (channels, height, width).
    channels : of "compact" only: one pooled convolution each, in place of the table's.
    hidden : neurons of a linear layer put on top, below the readout; 0 for none.

    Raises UsageError for an unknown name, an input too small for the network's kernels and
    pooling, or `channels` of a network whose channels are given by its name.
    """
    if name not in ARCHITECTURES:
        raise UsageError(f"no network is called {name!r}; there are {', '.join(ARCHITECTURES)}")
    made = ARCHITECTURES[name]
    if channels:
        if name != "compact":
            raise UsageError(
                f"{name} has channels of its own: network.channels = {list(channels)} is for "
                "network.name = compact alone"
            )
        layers = tuple(LayerSpec("conv", c, pool=2) for c in channels)
        made = replace(made, layers=layers)
    layers = made.layers + ((LayerSpec("linear", hidden),) if hidden else ())
    sides = list(input_shape[1:])
    for layer in layers:
        if layer.kind != "linear":
            pad = layer.kernel // 2 if layer.pad < 0 else layer.pad
            sides = [
                ((n + 2 * pad - layer.kernel) // layer.stride + 1) // layer.pool for n in sides
            ]
    if min(sides) < 1:
        raise UsageError(
            f"{name} needs a larger input than {input_shape[1]}x{input_shape[2]}: "
            "its kernels and pooling leave nothing of it"
        )
    return NetworkSpec(input_shape, layers, classes, neuron or NeuronSpec(), made.global_average)


def configured_network(
    config: NetworkConfig, input_shape: tuple[int, int, int], classes: int
) -> NetworkSpec:
    """The network that a recipe's [network] section describes; raises as `named_network` does."""
    neuron = NeuronSpec(
        theta=config.theta,
        leak=config.leak,
        gain=config.gain,
        surrogate=config.surrogate,
        reset=config.reset,
        threshold=config.threshold,
        norm=config.norm,
    )
    return named_network(config.name, input_shape, classes, neuron, config.channels, config.hidden)
