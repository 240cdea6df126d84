"""The networks by name, and the text from which layers are built.

Shapes are the paper's where it gives them. A layer is written the same way here and in a recipe's
`network.layers`::

    conv 32 kernel 5 stride 2 pad 0 groups 2 pool 2 dropout 0.2    3x3 and same size by default
    conv 32 maxpool 2                                              the maximum, not the average
    linear 120
    block 128 stride 2 residual membrane                           two convolutions, a shortcut
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from streamstop.errors import UsageError
from streamstop.stop.layer import LayerSpec, NeuronSpec, Residual
from streamstop.stop.network import NetworkSpec
from streamstop.stop.readouts import ReadoutKind


@dataclass(frozen=True)
class Architecture:
    """A named network, before its input and its classes are known.

    layers : from the input upwards, as text.  global_average : under the readout.
    note : where the shape is from.
    """

    layers: tuple[str, ...]
    global_average: bool
    note: str


def _table(text: str) -> tuple[str, ...]:
    return tuple(text.split(" / "))


ARCHITECTURES = {
    "compact": Architecture(
        _table("conv 32 pool 2 / conv 64 pool 2"),
        False,
        "two convolutions: the default for streams",
    ),
    "lenet5": Architecture(
        _table("conv 6 kernel 5 pool 2 / conv 16 kernel 5 pad 0 pool 2 / linear 120 / linear 84"),
        False,
        "LeCun et al. 1998, spiking; the paper's MNIST",
    ),
    "vgg11": Architecture(
        _table(
            "conv 64 pool 2 / conv 128 pool 2 / conv 256 / conv 256 pool 2 / "
            "conv 512 / conv 512 pool 2 / conv 512 / conv 512 pool 2"
        ),
        True,
        "the paper's CIFAR-10, DVS-Gesture and DVS-CIFAR10",
    ),
    "resnet18": Architecture(
        _table(
            "conv 64 / block 64 / block 64 / block 128 stride 2 / block 128 / "
            "block 256 stride 2 / block 256 / block 512 stride 2 / block 512"
        ),
        True,
        "the paper's CIFAR-100; spikes added",
    ),
}
"""Every network that has a name."""

CUSTOM = "custom"
"""The name of a network whose layers a recipe lists."""

_WHOLE = {"kernel": 1, "stride": 1, "pad": 0, "groups": 1, "pool": 1, "maxpool": 1}
"""Words that an integer follows, and its least value."""

_ALLOWED = {
    "conv": ("kernel", "stride", "pad", "groups", "pool", "maxpool", "dropout"),
    "linear": ("dropout",),
    "block": ("stride", "dropout", "residual"),
}


def parse_layer_spec(text: str) -> LayerSpec:
    """A layer from its text, as at the head of this module.

    Raises UsageError where it is not understood.

    >>> parse_layer_spec("conv 32 kernel 5 pool 2").kernel
    5
    """
    words = text.split()

    def refuse(why: str) -> UsageError:
        return UsageError(
            f"a layer {text!r}: {why}. Write such as 'conv 32 kernel 5 pool 2', 'linear 120' or "
            "'block 128 stride 2'"
        )

    kind = words[0] if words else ""
    if kind not in _ALLOWED:
        raise refuse(f"it must begin with {', '.join(_ALLOWED)}")
    if len(words) < 2 or not _is_whole(words[1], 1):
        raise refuse(f"its channels, 1 to {MAX_CHANNELS}, come second")
    if len(words) % 2:
        raise refuse(f"{words[-1]!r} has no value")
    options = [_current_words(*pair) for pair in zip(words[2::2], words[3::2], strict=True)]
    keys = ["pool" if word == "maxpool" else word for word, _ in options]
    repeated = [key for key in keys if keys.count(key) > 1]
    if repeated:
        raise refuse(f"{repeated[0]} comes twice")
    made = LayerSpec(kind, int(words[1]))
    for word, value in options:
        if word not in _ALLOWED[kind]:
            raise refuse(f"{word!r} is not for a {kind}; {', '.join(_ALLOWED[kind])} are")
        if word == "residual":
            if value not in ("add", "membrane"):
                raise refuse("residual is add or membrane")
            made = made._replace(residual=cast(Residual, value))
        elif word == "dropout":
            if not re.fullmatch(r"0?\.[0-9]{1,6}|0", value):
                raise refuse("dropout is a fraction below 1, such as 0.2")
            made = made._replace(dropout=float(value))
        elif not _is_whole(value, _WHOLE[word]):
            raise refuse(f"{word} is a whole number, {_WHOLE[word]} to {MAX_CHANNELS}")
        elif word == "maxpool":
            made = made._replace(pool=int(value), pooling="max")
        else:
            whole: dict[str, Any] = {word: int(value)}
            made = made._replace(**whole)
    if made.kernel % 2 == 0:
        raise refuse("a kernel is odd")
    return made


def _current_words(word: str, value: str) -> tuple[str, str]:
    """`join spikes`, as layers were written up to schema 1, as `residual add`."""
    if word != "join":
        return word, value
    return "residual", "add" if value == "spikes" else value


MAX_CHANNELS = 1 << 16
"""More is taken for a typing error."""


def _is_whole(text: str, least: int) -> bool:
    # Digits of other scripts, and superscripts, pass for digits where Python is asked.
    return re.fullmatch("[0-9]{1,6}", text) is not None and least <= int(text) <= MAX_CHANNELS


def build_network(
    name: str,
    input_shape: tuple[int, int, int],
    classes: int,
    neuron: NeuronSpec | None = None,
    channels: tuple[int, ...] = (),
    hidden: int = 0,
    layers: Sequence[str] = (),
    readout: ReadoutKind = "linear",
    readout_leak: float = 0.9,
) -> NetworkSpec:
    """The network called `name` for inputs of one shape and a number of classes.

    input_shape : (channels, height, width).
    channels : of "compact" only: one pooled convolution each, in place of the table's.
    hidden : neurons of a linear layer put on top, below the readout; 0 for none.
    layers : of "custom" only: all of them, in words.
    readout, readout_leak : as in `NetworkSpec`.

    Raises UsageError for an unknown name, an input too small for the network's kernels and
    pooling, layers that are not understood, or layers or `channels` of a network whose own are
    given by its name.
    """
    if name not in (*ARCHITECTURES, CUSTOM):
        known = ", ".join((*ARCHITECTURES, CUSTOM))
        raise UsageError(f"no network is called {name!r}; there are {known}")
    if bool(layers) != (name == CUSTOM):
        raise UsageError(
            f"network.layers lists the layers of network.architecture = {CUSTOM}; here the name is "
            f"{name} "
            f"and {len(layers)} layers are listed"
        )
    made = ARCHITECTURES.get(name, Architecture(tuple(layers), False, "a recipe's own"))
    if channels:
        if name != "compact":
            raise UsageError(
                f"{name} has channels of its own: network.channels = {list(channels)} is for "
                "network.architecture = compact alone"
            )
        made = replace(made, layers=tuple(f"conv {c} pool 2" for c in channels))
    specs = tuple(parse_layer_spec(text) for text in made.layers)
    specs += (LayerSpec("linear", hidden),) if hidden else ()
    deep = [i for i, one in enumerate(specs) if one.kind == "linear"]
    if deep and any(one.kind != "linear" for one in specs[deep[0] :]):
        raise UsageError("a linear layer has no plane: no conv or block can stand above it")
    sides = list(input_shape[1:])
    for layer in specs:
        if layer.kind != "linear":
            pad = layer.kernel // 2 if layer.pad < 0 else layer.pad
            sides = [
                ((n + 2 * pad - layer.kernel) // layer.stride + 1) // layer.pool for n in sides
            ]
        if min(sides) < 1:  # though padding above might make a plane of nothing again
            raise UsageError(
                f"{name} needs a larger input than {input_shape[1]}x{input_shape[2]}: "
                "its kernels and pooling leave nothing of it"
            )
    below = input_shape[0]
    for layer in specs:
        if below % layer.groups or layer.channels % layer.groups:
            raise UsageError(
                f"groups {layer.groups} must divide both the {below} channels below a layer and "
                f"its own {layer.channels}"
            )
        below = layer.channels
    return NetworkSpec(
        input_shape,
        specs,
        classes,
        neuron or NeuronSpec(),
        made.global_average,
        readout,
        readout_leak,
    )
