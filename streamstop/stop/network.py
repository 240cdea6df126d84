"""A feed-forward spiking network with a memoryless linear readout, one bin at a time.

`forward` takes one bin through the network and answers with logits; `backward` takes the error of
those logits back through space in the same bin and adds to the gradients (Eq. 11, 16). Between
bins there are only the layers' states: their size is fixed, whatever the length of the stream.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from streamstop.stop.layers import LayerSpec, SpikingLayer


@dataclass(frozen=True)
class NetworkSpec:
    """What a network is.

    input_shape : (polarities, height, width) of a bin.
    layers : from the input upwards.
    classes : outputs of the readout.
    theta, leak : initial threshold and leak of every layer.
    gain : initial weights have standard deviation gain / sqrt(fan-in).
    surrogate : name in `lif.SURROGATES`.
    """

    input_shape: tuple[int, int, int]
    layers: tuple[LayerSpec, ...]
    classes: int
    theta: float = 1.0
    leak: float = 0.9
    gain: float = 1.5
    surrogate: str = "exponential"


class Network:
    """Spiking layers under a linear readout of the last layer's (pooled) spikes of the same bin.

    Attributes
    ----------
    layers : SpikingLayers from the input upwards.
    readout_weight : (classes, features); readout_bias : (classes,).
    grads : gradients by parameter name, summed over bins and batch until `zero_grads`.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        seed: int,
        *,
        learn: str = "wtl",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.spec = spec
        generator = torch.Generator().manual_seed(seed)
        self.layers: list[SpikingLayer] = []
        shape = spec.input_shape
        for layer in spec.layers:
            self.layers.append(
                SpikingLayer(
                    layer,
                    shape,
                    theta=spec.theta,
                    leak=spec.leak,
                    gain=spec.gain,
                    surrogate=spec.surrogate,
                    generator=generator,
                    dtype=dtype,
                )
            )
            shape = self.layers[-1].out_shape
        size = (spec.classes, math.prod(shape))
        weight = torch.randn(size, generator=generator, dtype=torch.float64) / math.sqrt(size[1])
        self.readout_weight = (0.1 * weight).to(dtype)
        self.readout_bias = torch.zeros(spec.classes, dtype=dtype)
        wanted = {"weight": "w", "bias": "w", "log_theta": "t", "leak_logit": "l"}
        self._layer_grads = [
            {
                name: torch.zeros_like(value)
                for name, value in layer.parameters().items()
                if wanted[name] in learn
            }
            for layer in self.layers
        ]
        self._features = torch.zeros(1, size[1], dtype=dtype)
        self._readout_grads = [
            torch.zeros_like(self.readout_weight),
            torch.zeros_like(self.readout_bias),
        ]

    @property
    def names(self) -> list[str]:
        """Names of the layers, e.g. "conv1", "linear3"."""
        return [f"{layer.spec.kind}{i + 1}" for i, layer in enumerate(self.layers)]

    def parameters(self) -> dict[str, Tensor]:
        """Every parameter by its name, e.g. "conv1.weight"; the tensors themselves, not copies."""
        named = {
            f"{name}.{key}": value
            for name, layer in zip(self.names, self.layers, strict=True)
            for key, value in layer.parameters().items()
        }
        named["readout.weight"] = self.readout_weight
        named["readout.bias"] = self.readout_bias
        return named

    @property
    def grads(self) -> dict[str, Tensor]:
        """The gradient sums by parameter name; parameters that do not learn are absent."""
        named = {
            f"{name}.{key}": value
            for name, layer in zip(self.names, self._layer_grads, strict=True)
            for key, value in layer.items()
        }
        named["readout.weight"], named["readout.bias"] = self._readout_grads
        return named

    def zero_grads(self) -> None:
        """Forget the gradients gathered so far."""
        for grad in self.grads.values():
            grad.zero_()

    def load(self, parameters: dict[str, Tensor]) -> None:
        """Copy parameter values in by name, all of them; shapes must agree.

        Raises KeyError for a missing name and RuntimeError for a shape that does not fit.
        """
        for name, value in self.parameters().items():
            value.copy_(parameters[name])
        self.refresh()

    def refresh(self) -> None:
        """Take up parameters that moved: recompute leaks and thresholds."""
        for layer in self.layers:
            layer.refresh()

    def rest(self, batch: int = 1) -> None:
        """Put all neurons at rest, before an unrelated piece of stream begins."""
        for layer in self.layers:
            layer.rest(batch)

    def forward(self, x: Tensor, traces: bool = True) -> Tensor:
        """One bin x, (batch, polarities, height, width), to logits (batch, classes)."""
        for layer in self.layers:
            x = layer.forward(x, traces)
        self._features = x.flatten(1)
        return functional.linear(self._features, self.readout_weight, self.readout_bias)

    def backward(self, error: Tensor) -> None:
        """Add this bin's gradients, given error = dloss/dlogits of shape (batch, classes)."""
        d_weight, d_bias = self._readout_grads
        d_weight.addmm_(error.T, self._features)
        d_bias.add_(error.sum(0))
        if not any(self._layer_grads):
            return  # the readout alone learns
        top = self.layers[-1]
        g: Tensor | None = (error @ self.readout_weight).view(-1, *top.out_shape)
        for i in range(len(self.layers) - 1, -1, -1):
            assert g is not None
            grads = self._layer_grads[i]
            below = self.layers[i - 1].out_shape if i else None
            g = self.layers[i].backward(g, grads, need_input=below is not None)
            if g is not None and below is not None:
                g = g.view(-1, *below)

    def state_bytes(self) -> int:
        """Bytes of neuron states and traces: no function of time."""
        tensors = [t for layer in self.layers for t in (*layer.state, layer.trace)]
        return sum(t.numel() * t.element_size() for t in tensors)

    def spikes(self) -> list[Tensor]:
        """Each layer's spikes of the last bin, (batch, \\*neurons)."""
        return [layer.state.s for layer in self.layers]


LAYER_FEATURES = 512
"""At most so many firing rates of each layer reach the discriminant, whose covariance is square."""


def pooled_rates(rates: Sequence[Tensor]) -> Tensor:
    """Firing rates of all layers, each averaged over the finest square grid it can afford.

    rates : per layer (1, channels, height, width), spikes per bin.
    Returns a vector of at most LAYER_FEATURES numbers a layer (or one a channel, if those are
    more). Its square root has nearly constant variance where spikes are rare (Bartlett 1936), which
    is what a discriminant with one shared covariance wants.
    """
    pooled = []
    for r in rates:
        cells = max(math.isqrt(LAYER_FEATURES // r.shape[1]), 1)
        pooled.append(functional.adaptive_avg_pool2d(r, min(cells, r.shape[-1])).flatten())
    return torch.cat(pooled)
