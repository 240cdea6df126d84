"""A residual block of spiking layers, with the interface of one layer.

Two convolutions with neurons, and a shortcut around them. Either the spikes of both paths are added
(Fang et al., "Deep residual learning in spiking neural networks", NeurIPS 2021): the shortcut is
the input's spikes themselves or, where the shape changes, those of a 1x1 convolution with neurons
of its own; a sum of spikes may be 2. Or the membrane of the second neurons takes the shortcut as
current, beside that of their convolution (Hu et al., "Advancing spiking neural networks toward deep
residual learning", 2021): the input itself, or its 1x1 convolution; the block's output then is
spikes alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from streamstop.stop.layer import LayerSpec, NeuronSpec, SpikingLayer
from streamstop.stop.synapses import Synapses
from streamstop.stop.traces import Traces


class ResidualBlock:
    """spikes(conv(spikes(conv(x)))) + shortcut(x); parameters are named "a.weight", "b.weight", ...

    Several bins may go together, (bins * batch, ...), as through a layer.

    spec : `channels`, `stride`, `dropout` and `residual` of the block; kernel 3.

    Attributes
    ----------
    parts : spiking layers "a" and "b", and "way" where spikes are added and shape changes.
    shortcut : synapses of the shortcut where membranes are added and shape changes, else None.
        Their bias is not learned: it would be a second one of the same neurons.
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
        if spec._replace(kind="conv", dropout=0.0, residual="add") != first:
            raise ValueError(f"a block has channels, a stride and a dropout, nothing else: {spec}")
        self.spec = spec
        self.in_shape = in_shape
        self.parts = {"a": SpikingLayer(first, in_shape, neuron, generator, dtype)}
        self.out_shape = self.parts["a"].out_shape
        second = LayerSpec("conv", spec.channels, dropout=spec.dropout)
        self.parts["b"] = SpikingLayer(second, self.out_shape, neuron, generator, dtype)
        self.shortcut: Synapses | None = None
        if in_shape != self.out_shape and spec.residual == "add":
            way = LayerSpec("conv", spec.channels, kernel=1, stride=spec.stride)
            self.parts["way"] = SpikingLayer(way, in_shape, neuron, generator, dtype)
        elif in_shape != self.out_shape:
            self.shortcut = Synapses(
                in_shape,
                spec.channels,
                1,
                spec.stride,
                0,
                1,
                neuron.normalization,
                neuron.init_gain,
                generator,
                dtype,
            )

    def forward(self, x: Tensor, traces: Traces) -> Tensor:
        r"""One bin: x (batch, \*in_shape) to spikes (batch, \*out_shape)."""
        a, b = self.parts["a"], self.parts["b"]
        if self.spec.residual == "membrane":
            extra = (
                x
                if self.shortcut is None
                else self.shortcut.forward(x, b.leak_value, traces, False)
            )
            return b.forward(a.forward(x, traces), traces, extra=extra)
        inner = b.forward(a.forward(x, traces), traces)
        way = self.parts.get("way")
        return inner + (x if way is None else way.forward(x, traces))

    def backward(
        self,
        g: Tensor,
        grads: dict[str, dict[str, Tensor]],
        need_input: bool,
        *,
        apart: bool = False,
    ) -> Tensor | None:
        r"""The same bin's error g (batch, \*out_shape), down both paths.

        grads : by the part's name, and "skip" for `shortcut`.  apart : as in `SpikingLayer`.
        """
        a, b = self.parts["a"], self.parts["b"]
        delta = (b.errors_apart if apart else b.error)(g, grads["b"])
        into = b.synapses.backward_apart if apart else b.synapses.backward
        middle = into(delta, grads["b"], True)
        assert middle is not None
        down = a.backward(middle, grads["a"], need_input, apart=apart)
        if self.spec.residual == "add":
            way = self.parts.get("way")
            around = g if way is None else way.backward(g, grads["way"], need_input, apart=apart)
        elif self.shortcut is None:
            around = delta
        else:
            aside = self.shortcut.backward_apart if apart else self.shortcut.backward
            around = aside(delta, grads["skip"], need_input)
        return None if down is None or around is None else down + around
