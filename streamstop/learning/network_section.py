"""A network as a recipe's [network] section, and the other way round."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from streamstop.config.sections import NetworkConfig
from streamstop.errors import UsageError
from streamstop.stop.architectures import ARCHITECTURES, CUSTOM, build_network
from streamstop.stop.layer import LayerSpec, NeuronSpec
from streamstop.stop.network import NetworkSpec


def network_from_config(
    config: NetworkConfig, input_shape: tuple[int, int, int], classes: int
) -> NetworkSpec:
    """The network that a [network] section describes.

    Parameters
    ----------
    config : NetworkConfig
        The section.
    input_shape : tuple of int
        (polarities, height, width).
    classes : int
        Outputs of the readout.

    Raises
    ------
    UsageError
        As `build_network` does.
    """
    neuron = NeuronSpec(
        threshold_init=config.threshold_init,
        leak_init=config.leak_init,
        init_gain=config.init_gain,
        surrogate=config.surrogate,
        reset=config.reset,
        threshold_sharing=config.threshold_sharing,
        normalization=config.normalization,
        decay_input=config.decay_input,
    )
    return build_network(
        config.architecture,
        input_shape,
        classes,
        neuron,
        config.channels,
        config.hidden,
        config.layers,
        config.readout,
        config.readout_leak_init,
    )


def network_section(spec: NetworkSpec, input_transform: str = "log1p") -> dict[str, Any]:
    """The [network] section that describes `spec`, plain data.

    Raises
    ------
    UsageError
        If no section can: layers of one's own under a global average.

    Examples
    --------
    >>> spec = build_network("vgg11", (2, 48, 48), 10)
    >>> network_section(spec)["architecture"]
    'vgg11'
    """
    for name in (*ARCHITECTURES, CUSTOM):
        found = asdict(NetworkConfig()) | spec.neuron._asdict()
        found |= {
            "architecture": name,
            "layers": tuple(map(layer_text, spec.layers)) if name == CUSTOM else (),
            "readout": spec.readout,
            "readout_leak_init": spec.readout_leak_init,
            "input_transform": input_transform,
        }
        try:
            same = network_from_config(NetworkConfig(**found), spec.input_shape, spec.classes)
        except UsageError:
            continue
        if same == spec:
            return found
    raise UsageError(
        "no [network] section describes this network: layers of one's own stand under a global "
        "average; leave global_average out"
    )


def layer_text(layer: LayerSpec) -> str:
    """A layer as `network.layers` has it.

    Examples
    --------
    >>> layer_text(LayerSpec("conv", 32, kernel=5, pool=2))
    'conv 32 kernel 5 pool 2'
    """
    plain = LayerSpec(layer.kind, layer.channels)
    words = [layer.kind, str(layer.channels)]
    for key, value in layer._asdict().items():
        if key in ("kind", "channels", "pooling") or value == getattr(plain, key):
            continue
        word = "maxpool" if key == "pool" and layer.pooling == "max" else key
        words += [word, str(value)]
    return " ".join(words)
