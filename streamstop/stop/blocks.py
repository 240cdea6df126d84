"""A residual block of spiking layers, under the same interface as one layer.

Two convolutions with neurons, and a way round them: the input's spikes themselves, or, where shape
changes, those of a 1x1 convolution with neurons of its own. The two ways' spikes are added
(Fang et al., "Deep residual learning in spiking neural networks", NeurIPS 2021), so that errors and
spikes pass a block unhindered; a sum of spikes may be 2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from streamstop.stop.layers import LayerSpec, NeuronSpec, SpikingLayer
from streamstop.stop.lif import Traces


class ResidualBlock:
    """spikes(conv(spikes(conv(x)))) + way(x); parameters are named "a.weight", "b.weight", ...

    spec : `channels` and `stride` of the block; kernel 3.
    """

    def __init__(
        self,
        spec: LayerSpec,
        in_shape: tuple[int, int, int],
        neuron: NeuronSpec,
        generator: torch.Generator,
        dtype: torch.dtype,
    ) -> None:
        first = LayerSpec("conv", spec.channels, stride=spec.stride)
        if spec._replace(kind="conv") != first:
            raise ValueError(f"a block has channels and a stride, nothing else: {spec}")
        self.spec = spec
        self.in_shape = in_shape
        self.parts = {"a": SpikingLayer(first, in_shape, neuron, generator, dtype)}
        self.out_shape = self.parts["a"].out_shape
        second = LayerSpec("conv", spec.channels)
        self.parts["b"] = SpikingLayer(second, self.out_shape, neuron, generator, dtype)
        if in_shape != self.out_shape:
            way = LayerSpec("conv", spec.channels, kernel=1, stride=spec.stride)
            self.parts["way"] = SpikingLayer(way, in_shape, neuron, generator, dtype)

    def forward(self, x: Tensor, traces: Traces) -> Tensor:
        """One bin: x (batch, \\*in_shape) to summed spikes (batch, \\*out_shape)."""
        inner = self.parts["b"].forward(self.parts["a"].forward(x, traces), traces)
        way = self.parts.get("way")
        return inner + (x if way is None else way.forward(x, traces))

    def backward(
        self, g: Tensor, grads: dict[str, dict[str, Tensor]], need_input: bool
    ) -> Tensor | None:
        """The same bin's error g (batch, \\*out_shape), down both ways."""
        middle = self.parts["b"].backward(g, grads["b"], True)
        assert middle is not None
        down = self.parts["a"].backward(middle, grads["a"], need_input)
        way = self.parts.get("way")
        round_it = g if way is None else way.backward(g, grads["way"], need_input)
        return None if down is None or round_it is None else down + round_it
