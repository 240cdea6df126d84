"""A feed-forward spiking network with a memoryless linear readout, one bin at a time.

`forward` takes one bin through the network and answers with logits; `backward` takes the error of
those logits back through space in the same bin and adds to the gradients (Eq. 11, 16). Between
bins there are only the layers' states: their size is fixed, whatever the length of the stream.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from streamstop.stop.blocks import ResidualBlock
from streamstop.stop.layers import LayerSpec, NeuronSpec, SpikingLayer
from streamstop.stop.lif import Traces

Stage = SpikingLayer | ResidualBlock

LETTERS = {"weight": "w", "bias": "w", "log_theta": "t", "leak_logit": "l"}
"""Which letter of `learn` moves which parameter."""


@dataclass(frozen=True)
class NetworkSpec:
    """What a network is.

    input_shape : (polarities, height, width) of a bin.
    layers : from the input upwards.
    classes : outputs of the readout.
    neuron : what all layers have in common.
    global_average : whether the readout sees each channel's mean over the plane.
    """

    input_shape: tuple[int, int, int]
    layers: tuple[LayerSpec, ...]
    classes: int
    neuron: NeuronSpec = field(default_factory=NeuronSpec)
    global_average: bool = False


class Network:
    """Spiking layers under a linear readout of the last layer's (pooled) spikes of the same bin.

    Parameters
    ----------
    learn : letters of what gathers gradients: weights (and biases), thresholds, leaks. The readout
        always does.
    rule : "stop", or "sltt": the same without traces through time, for comparison. OTTT (Xiao et
        al., NeurIPS 2022) is "stop" with learn="w".

    Attributes
    ----------
    stages : layers and blocks from the input upwards.
    readout_weight : (classes, features); readout_bias : (classes,).
    features : what the readout saw of the last bin, (batch, features).
    grads : gradients by parameter name, summed over bins and batch until `zero_grads`.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        seed: int,
        *,
        learn: str = "wtl",
        rule: Traces = "stop",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.spec = spec
        self.rule = rule
        generator = torch.Generator().manual_seed(seed)
        self.stages: list[Stage] = []
        self._named: dict[str, SpikingLayer] = {}
        shape = spec.input_shape
        for i, layer in enumerate(spec.layers, start=1):
            if layer.kind == "block":
                block = ResidualBlock(layer, shape, spec.neuron, generator, dtype)
                self._named |= {f"block{i}.{k}": part for k, part in block.parts.items()}
                self.stages.append(block)
            else:
                single = SpikingLayer(layer, shape, spec.neuron, generator, dtype)
                self._named[f"{layer.kind}{i}"] = single
                self.stages.append(single)
            shape = self.stages[-1].out_shape
        self._plane = shape[1] * shape[2] if spec.global_average else 1
        size = (spec.classes, math.prod(shape) // self._plane)
        weight = torch.randn(size, generator=generator, dtype=torch.float64) / math.sqrt(size[1])
        self.readout_weight = (0.1 * weight).to(dtype)
        self.readout_bias = torch.zeros(spec.classes, dtype=dtype)
        self.features = torch.zeros(1, size[1], dtype=dtype)
        self._layer_grads = {
            name: {
                key: torch.zeros_like(value)
                for key, value in one.parameters().items()
                if LETTERS[key] in learn
            }
            for name, one in self._named.items()
        }
        self._readout_grads = {
            "weight": torch.zeros_like(self.readout_weight),
            "bias": torch.zeros_like(self.readout_bias),
        }

    @property
    def names(self) -> list[str]:
        """Names of the spiking layers, e.g. "conv1", "block2.a", "linear3"."""
        return list(self._named)

    @property
    def layers(self) -> list[SpikingLayer]:
        """The spiking layers, those inside blocks too, in the order of their names."""
        return list(self._named.values())

    def parameters(self) -> dict[str, Tensor]:
        """Every parameter by its name, e.g. "conv1.weight"; the tensors themselves, not copies."""
        named = {
            f"{name}.{key}": value
            for name, layer in self._named.items()
            for key, value in layer.parameters().items()
        }
        named["readout.weight"] = self.readout_weight
        named["readout.bias"] = self.readout_bias
        return named

    @property
    def grads(self) -> dict[str, Tensor]:
        """The gradient sums by parameter name; parameters that do not learn are absent."""
        every = {**self._layer_grads, "readout": self._readout_grads}
        return {f"{name}.{k}": v for name, layer in every.items() for k, v in layer.items()}

    def settle(self) -> dict[str, Tensor]:
        """The gathered gradients, made those of the parameters: once, before an update."""
        for name, layer in self._named.items():
            layer.settle(self._layer_grads[name])
        return self.grads

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
        """Take up parameters that moved: recompute leaks, thresholds and synapses."""
        for layer in self._named.values():
            layer.refresh()

    def rest(self, batch: int = 1) -> None:
        """Put all neurons at rest, before an unrelated piece of stream begins."""
        for layer in self._named.values():
            layer.rest(batch)

    def forward(self, x: Tensor, traces: bool = True) -> Tensor:
        """One bin x, (batch, polarities, height, width), to logits (batch, classes)."""
        kept: Traces = self.rule if traces else "none"
        for stage in self.stages:
            x = stage.forward(x, kept)
        self.features = x.mean((2, 3)) if self.spec.global_average else x.flatten(1)
        return functional.linear(self.features, self.readout_weight, self.readout_bias)

    def backward(self, error: Tensor) -> None:
        """Add this bin's gradients, given error = dloss/dlogits of shape (batch, classes)."""
        self._readout_grads["weight"].addmm_(error.T, self.features)
        self._readout_grads["bias"].add_(error.sum(0))
        if not any(self._layer_grads.values()):
            return  # the readout alone learns
        g: Tensor | None = error @ self.readout_weight / self._plane
        if self.spec.global_average:  # each neuron of a channel has the same share in its mean
            assert g is not None
            g = g[:, :, None, None].expand(-1, *self.stages[-1].out_shape)
        for i in range(len(self.stages) - 1, -1, -1):
            assert g is not None
            stage = self.stages[i]
            g = self._backward(i, stage, g.reshape(-1, *stage.out_shape))

    def _backward(self, i: int, stage: Stage, g: Tensor) -> Tensor | None:
        if isinstance(stage, ResidualBlock):
            name = f"block{i + 1}"
            grads = {part: self._layer_grads[f"{name}.{part}"] for part in stage.parts}
            return stage.backward(g, grads, need_input=i > 0)
        return stage.backward(g, self._layer_grads[f"{stage.spec.kind}{i + 1}"], need_input=i > 0)

    def state_bytes(self) -> int:
        """Bytes of neuron states and traces: no function of time."""
        tensors = [t for layer in self._named.values() for t in (*layer.state, layer.trace)]
        return sum(t.numel() * t.element_size() for t in tensors)

    def spikes(self) -> list[Tensor]:
        """Each layer's spikes of the last bin, (batch, \\*neurons)."""
        return [layer.state.s for layer in self._named.values()]


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
