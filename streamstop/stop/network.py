"""A feed-forward spiking network with a readout, one time bin at a time, or a few.

`forward` takes one bin through the network and answers with logits; `backward` takes the error of
those logits back through space in the same bin and adds to the gradients (Eq. 11, 16). Between
bins there are only the layers' states: their size is fixed, whatever the length of the stream.

Where no prediction per bin is needed, as in training, several bins may go at once, stacked along
the batch. Errors travel within their own bin and weights do not change meanwhile, so logits and
gradients are the same to rounding; the products of a layer are then of all bins at once, and what
is kept for `backward` grows with their number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from streamstop.errors import UsageError
from streamstop.stop.layer import LayerSpec, NeuronSpec, SpikingLayer, Threshold
from streamstop.stop.neuron import SURROGATES, Reset
from streamstop.stop.readouts import Readout, ReadoutKind, SpikingReadout
from streamstop.stop.residual import ResidualBlock
from streamstop.stop.synapses import Norm, Synapses
from streamstop.stop.traces import Traces

Stage = SpikingLayer | ResidualBlock

Rule = Literal["stop", "ottt", "sltt", "bptt"]
"""How gradients come about: STOP; OTTT (Xiao et al., NeurIPS 2022), which is STOP on weights alone;
SLTT (Meng et al., ICCV 2023), which has no traces; backpropagation through time, by autograd."""

TRACES: dict[Rule, Traces] = {"stop": "stop", "ottt": "stop", "sltt": "sltt", "bptt": "none"}

Sums = dict[str, dict[str, Tensor]]
"""Sums of gradients by what holds a parameter and the parameter's name there."""

LETTERS = {"weight": "w", "bias": "w", "scale": "w", "log_theta": "t", "leak_logit": "l"}
"""Which letter of `learn` moves which parameter; what is not here no gradient moves."""

TRAINABLE = ("weights", "thresholds", "leaks")
"""What the rule can move below the readout, by name; the first letters are what `learn` takes."""


def letters_of(trainable: Iterable[str]) -> str:
    """The letters of `Network`'s `learn` for names of TRAINABLE.

    >>> letters_of(["weights", "leaks"])
    'wl'

    Raises UsageError where a name is none of them.
    """
    names = [trainable] if isinstance(trainable, str) else list(trainable)
    for name in names:
        if name not in TRAINABLE:
            raise UsageError(f"trainable holds {name!r}; it is a list of {', '.join(TRAINABLE)}")
    return "".join(name[0] for name in TRAINABLE if name in names)


@dataclass(frozen=True)
class NetworkSpec:
    """What a network is.

    input_shape : (polarities, height, width) of a bin.
    layers : from the input upwards.
    classes : outputs of the readout.
    neuron : what all layers have in common.
    global_average : whether the readout sees each channel's mean over the plane.
    readout : "linear", "leaky_integrator" or "spiking" (`readouts`).
    readout_leak : of the leaky one, at the start; the spiking one's is the neurons'.
    """

    input_shape: tuple[int, int, int]
    layers: tuple[LayerSpec, ...]
    classes: int
    neuron: NeuronSpec = field(default_factory=NeuronSpec)
    global_average: bool = False
    readout: ReadoutKind = "linear"
    readout_leak_init: float = 0.9


def _check(spec: NetworkSpec, learn: str, rule: str) -> None:
    """Raise UsageError where a choice is none of those there are."""
    neuron = spec.neuron
    chosen = (
        ("readout", spec.readout, get_args(ReadoutKind)),
        ("rule", rule, get_args(Rule)),
        ("surrogate", neuron.surrogate, tuple(SURROGATES)),
        ("reset", neuron.reset, get_args(Reset)),
        ("threshold_sharing", neuron.threshold_sharing, get_args(Threshold)),
        ("normalization", neuron.normalization, get_args(Norm)),
    )
    for name, value, allowed in chosen:
        if value not in allowed:
            raise UsageError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
    if not set(learn) <= set("wtl") or len(set(learn)) < len(learn):
        raise UsageError(
            f"learn holds the letters w, t and l (weights, thresholds, leaks) once each, not "
            f"{learn!r}"
        )


class Network:
    """Spiking layers under a readout of the last layer's (pooled) spikes.

    Parameters
    ----------
    learn : letters of what gathers gradients: weights (and biases), thresholds, leaks. Weights and
        biases of the readout always do.
    rule : how gradients come about. Under "bptt" `backward` is not for use: a whole sequence is
        needed, which `streamstop.stop.batch_gradients` takes.

    Attributes
    ----------
    stages : layers and blocks from the input upwards.
    readout : Readout or SpikingReadout.
    skips : synapses round blocks that add membranes, by name.
    features : what the readout saw of the last bin, (batch, features), or of the bins that went
        together, (bins * batch, features).
    grads : gradients by parameter name, summed over bins and batch until `zero_grads`.
    masks : what dropout's masks are drawn from.
    refresh_count, reset_count : how often `refresh` and `reset_state` were called.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        seed: int,
        *,
        learn: str = "wtl",
        rule: Rule = "stop",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        _check(spec, learn, rule)
        self.spec = spec
        self.rule = rule
        generator = torch.Generator().manual_seed(seed)
        self.stages: list[Stage] = []
        self._named: dict[str, SpikingLayer] = {}
        self.skips: dict[str, Synapses] = {}
        self._stage_names: list[str] = []
        shape = spec.input_shape
        for i, layer in enumerate(spec.layers, start=1):
            name = f"{layer.kind}{i}"
            self._stage_names.append(name)
            if layer.kind == "block":
                block = ResidualBlock(layer, shape, spec.neuron, generator, dtype)
                self._named |= {f"{name}.{k}": part for k, part in block.parts.items()}
                if block.shortcut is not None:
                    self.skips[f"{name}.skip"] = block.shortcut
                self.stages.append(block)
            else:
                single = SpikingLayer(layer, shape, spec.neuron, generator, dtype)
                self._named[name] = single
                self.stages.append(single)
            shape = self.stages[-1].out_shape
        self._plane = shape[1] * shape[2] if spec.global_average else 1
        features = math.prod(shape) // self._plane
        self.readout: Readout | SpikingReadout
        if spec.readout == "spiking":
            self.readout = SpikingReadout(spec.neuron, spec.classes, features, generator, dtype)
        else:
            leak = spec.readout_leak_init if spec.readout == "leaky_integrator" else None
            self.readout = Readout(leak, spec.classes, features, generator, dtype)
        self.features = torch.zeros(1, features, dtype=dtype)
        self.refresh_count = self.reset_count = 0
        self.masks = torch.Generator().manual_seed(seed)
        self._learn = "w" if rule == "ottt" and "w" in learn else "" if rule == "ottt" else learn
        leaks_alone = "l" in self._learn and "w" not in self._learn
        if spec.neuron.decay_input and leaks_alone and rule != "bptt":
            raise ValueError(
                "a leak gain's gradient is made of the weights': where leaks learn, weights must"
            )
        self._masked = any(layer.dropout for layer in spec.layers)
        self._drawn = False
        self._shard = (1, 0, 1)
        self._make_grads()

    def _make_grads(self) -> None:
        self._grads: Sums = {}
        for name, holder in self._holders().items():
            # The readout's weights and biases always learn; a skip's bias is its neurons' twice.
            letters = self._learn + ("w" if name == "readout" else "")
            self._grads[name] = {
                key: torch.zeros_like(value)
                for key, value in holder.parameters().items()
                if LETTERS.get(key, "-") in letters and (key != "bias" or name not in self.skips)
            }

    def _holders(self) -> dict[str, SpikingLayer | Synapses | Readout | SpikingReadout]:
        return {**self._named, **self.skips, "readout": self.readout}

    def synapses(self) -> dict[str, Synapses]:
        """All but a linear or leaky readout's, by the name of what holds them."""
        found = {name: layer.synapses for name, layer in self._named.items()} | self.skips
        if isinstance(self.readout, SpikingReadout):
            found["readout"] = self.readout.layer.synapses
        return found

    @property
    def layer_names(self) -> list[str]:
        """Names of the spiking layers, e.g. "conv1", "block2.a", "linear3"."""
        return list(self._named)

    @property
    def layers(self) -> list[SpikingLayer]:
        """The spiking layers, those inside blocks too, in the order of their names."""
        return list(self._named.values())

    def parameters(self) -> dict[str, Tensor]:
        """Every parameter by its name, e.g. "conv1.weight"; the tensors themselves, not copies."""
        return {
            f"{name}.{key}": value
            for name, holder in self._holders().items()
            for key, value in holder.parameters().items()
        }

    @property
    def grads(self) -> dict[str, Tensor]:
        """The gradient sums by parameter name; parameters that do not learn are absent."""
        self._flush_pending()
        return {f"{name}.{k}": v for name, grads in self._grads.items() for k, v in grads.items()}

    def _flush_pending(self) -> None:
        for name, holder in self._holders().items():
            holder.flush_pending(self._grads[name])

    def finish_grads(self) -> dict[str, Tensor]:
        """The summed gradients, turned into those of the parameters: once, before an update."""
        found = self.grads
        for name, holder in self._holders().items():
            holder.finish_grads(self._grads[name])
        return found

    def zero_grads(self) -> None:
        """Set the summed gradients to zero."""
        for grad in self.grads.values():
            grad.zero_()

    def load_parameters(self, parameters: dict[str, Tensor]) -> None:
        """Copy parameter values in by name, all of them; shapes must agree.

        Raises KeyError for a missing name and RuntimeError for a shape that does not fit.
        """
        own = self.parameters()
        for name, value in own.items():  # all of them first: nothing is half loaded
            if parameters[name].shape != value.shape:
                raise RuntimeError(
                    f"{name} is {tuple(parameters[name].shape)} here and {tuple(value.shape)} in "
                    "the network"
                )
        for name, value in own.items():
            value.copy_(parameters[name])
        self.refresh()

    def to(self, device: torch.device | str) -> None:
        """Move everything to a device; gradients and states are reset there."""
        device = torch.device(device)
        for holder in self._holders().values():
            holder.to(device)
        self._make_grads()

    @property
    def autocast(self) -> torch.dtype | None:
        """The type in which synapses multiply, where it is not that of the weights."""
        return next(iter(self._named.values())).synapses.compute if self._named else None

    @autocast.setter
    def autocast(self, dtype: torch.dtype | None) -> None:
        for synapses in (*(one.synapses for one in self.layers), *self.skips.values()):
            synapses.compute = dtype

    def sync_batch_norm(self, all_reduce: Callable[[Sequence[Tensor]], None]) -> None:
        """Normalise a batch that is divided over several processes as one; see `BatchNorm`."""
        for one in self.synapses().values():
            if one.normalisation is not None:
                one.normalisation.all_reduce = all_reduce

    def refresh(self) -> None:
        """Take up parameters that moved: recompute leaks, thresholds and synapses."""
        self.refresh_count += 1
        for holder in self._holders().values():
            holder.refresh()

    def reset_state(
        self, batch: int = 1, *, sample_offset: int = 0, batch_size: int | None = None
    ) -> None:
        """Put all neurons at rest, before an unrelated piece of stream begins.

        sample_offset, batch_size : the batch is the samples from `sample_offset` on of a larger one
            of `batch_size`, which several processes share: dropout's masks are drawn for all of it.
        """
        self.reset_count += 1
        self._flush_pending()  # what a constant input left goes with the state
        for holder in self._holders().values():
            holder.reset_state(batch)
        self._drawn = False
        self._shard = (batch, sample_offset, batch_size or batch)

    def draw_masks(self) -> None:
        """Draw dropout's masks for the sequence; `forward` does it where it begins to learn."""
        self._drawn = True
        if not self._masked:
            return
        batch, first, batch_size = self._shard
        for layer in self.layers:
            p = layer.spec.dropout
            if p:
                drawn = torch.rand((batch_size, *layer.out_shape), generator=self.masks)
                mask = (drawn >= p).to(layer.bias.dtype).div_(1.0 - p)[first : first + batch]
                layer.mask = mask.to(layer.bias.device)

    def forward(self, x: Tensor, traces: bool = True, *, constant: bool = False) -> Tensor:
        """One bin x, (batch, polarities, height, width), to logits (batch, classes); or several
        bins, one after the other, (bins * batch, ...), to the logits of each.

        traces : whether it is to be learned from; dropout's masks are for that alone.
        constant : x is that of the bins before it since `reset_state`, or the first.

        Raises ValueError where x is not whole bins of the batch that `reset_state` set.
        """
        if x.shape[0] % self._shard[0]:
            raise ValueError(f"{x.shape[0]} samples are no bins of a batch of {self._shard[0]}")
        kept = TRACES[self.rule] if traces else "none"
        if traces and not self._drawn:
            self.draw_masks()
        for i, stage in enumerate(self.stages):
            if i == 0 and isinstance(stage, SpikingLayer):
                x = stage.forward(x, kept, constant=constant)
            else:
                x = stage.forward(x, kept)
        self.features = x.mean((2, 3)) if self.spec.global_average else x.flatten(1)
        return self.readout.forward(self.features, kept)

    def backward(self, error: Tensor, apart: Sums | None = None) -> None:
        """Add the gradients of the bins of the last `forward`, given error = dloss/dlogits, (batch,
        classes) or (bins * batch, classes).

        apart : sums of `sums_apart` that are added to, not `grads`: of several errors of the last
            bin's one sample, (errors, classes), each has its own.
        """
        several, into = apart is not None, self._grads if apart is None else apart
        taught = [i for i, name in enumerate(self._stage_names) if self._learns_in(name, into)]
        g = self.readout.backward(error, into["readout"], bool(taught), apart=several)
        if g is None:
            return  # the readout alone learns
        if self.spec.global_average:  # each neuron of a channel has the same weight in its mean
            g = (g / self._plane)[:, :, None, None].expand(-1, *self.stages[-1].out_shape)
        for i in range(len(self.stages) - 1, min(taught) - 1, -1):
            assert g is not None
            stage, name = self.stages[i], self._stage_names[i]
            g = g.reshape(-1, *stage.out_shape)
            need_input = i > min(taught)
            if isinstance(stage, ResidualBlock):
                below = {k: into[f"{name}.{k}"] for k in stage.parts}
                if stage.shortcut is not None:
                    below["skip"] = into[f"{name}.skip"]
                g = stage.backward(g, below, need_input, apart=several)
            else:
                g = stage.backward(g, into[name], need_input, apart=several)

    def _learns_in(self, stage: str, grads: Sums) -> bool:
        return any(found and name.partition(".")[0] == stage for name, found in grads.items())

    def sums_apart(
        self,
        errors: int,
        *,
        stages: int,
        without: Collection[str] = (),
        device: str | None = None,
    ) -> Sums:
        """Zeros for so many errors of one sample, for `backward`: by holder and parameter,
        (errors, ...).

        stages : how many of the uppermost have them beside the readout, a residual block being one.
        without : parameters of the readout that have none.  device : the network's by default.
        """
        taught = self._stage_names[max(len(self.stages) - stages, 0) :]
        return {
            name: {
                key: grad.new_zeros((errors, *grad.shape), device=device or grad.device)
                for key, grad in grads.items()
                if (key not in without if name == "readout" else name.partition(".")[0] in taught)
            }
            for name, grads in self._grads.items()
        }

    def finish_sums(self, sums: Sums) -> None:
        """`finish_grads` for the sums of every error, with the parameters as they are now."""
        for name, holder in self._holders().items():
            errors = max((len(one) for one in sums[name].values()), default=0)
            for i in range(errors):
                holder.finish_grads({key: one[i] for key, one in sums[name].items()})

    def folded(self) -> tuple[NetworkSpec, dict[str, Tensor]]:
        """The same network without batch normalisation: what it is then, and its parameters.

        Running statistics become weights and biases, which is what a stream can use.
        """
        if self.spec.neuron.normalization != "batch":
            return self.spec, self.parameters()
        plain = replace(self.spec, neuron=self.spec.neuron._replace(normalization="none"))
        folded = {
            name: value
            for name, value in self.parameters().items()
            if name.rpartition(".")[2] not in ("scale", "mean", "variance")
        }
        for name, one in self.synapses().items():
            folded[f"{name}.weight"], folded[f"{name}.bias"] = one.folded()
        return plain, folded

    def state_bytes(self) -> int:
        """Bytes of neuron states and traces: no function of time."""
        skips = sum(s.trace.numel() * s.trace.element_size() for s in self.skips.values())
        return skips + self.readout.state_bytes() + sum(one.state_bytes() for one in self.layers)

    def derived_bytes(self) -> int:
        """Bytes of what weights become where they are standardised or have a gain."""
        return sum(one.derived_bytes() for one in self.synapses().values())

    def pending_bytes(self) -> int:
        """Bytes of what may wait for one product (`synapses`), where weights learn."""
        learning = [one.synapses for one in self.layers] + list(self.skips.values())
        return sum(one.pending_bytes() for one in learning) if "w" in self._learn else 0

    def spikes(self) -> list[Tensor]:
        r"""Each layer's spikes of the last bin, (batch, \*neurons)."""
        return [layer.state.spikes for layer in self._named.values()]


LAYER_FEATURES = 512
"""At most so many firing rates of each layer reach the LDA, whose covariance is square."""


def pooled_rates(rates: Sequence[Tensor]) -> Tensor:
    """Firing rates of all layers, each averaged over the finest square grid it can afford.

    rates : per layer (batch, channels, height, width), spikes per bin.
    Returns (batch, features), at most LAYER_FEATURES numbers per layer (or one per channel, if
    those are more). Its square root has nearly constant variance where spikes are rare (Bartlett
    1936), which suits LDA with one shared covariance.
    """
    pooled = []
    for r in rates:
        cells = max(math.isqrt(LAYER_FEATURES // r.shape[1]), 1)
        pooled.append(functional.adaptive_avg_pool2d(r, min(cells, r.shape[-1])).flatten(1))
    return torch.cat(pooled, 1)
