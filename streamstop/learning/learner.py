"""The online learner: a network, its optimiser, two readouts, and the order in which they act.

For every bin `predict` comes first; `learn` follows when the bin's label is known. For every
segment `predict_segment` answers before the segment's label has touched what answers:

* `update="segment"`: gradients are summed over the segment and move the weights once, at its end
  (as in the paper, Eq. 17-27 summed over T); the network that learns may also predict.
* `update="step"`: weights move every `update_interval` bins, within the segment. An evaluation copy
  with the weights of the segment's beginning runs beside it and predicts. So it does where dropout
  silences part of the network that learns.
* `ema_decay > 0`: the copy's weights are an exponential moving average over past segments' ends.
* `late`: a label may come when its segment is over. Instead of `learn` the bins see `await_label`,
  and `learn_late` says the label; weights move then, or at the end of the segment that is open.

The second readout, streaming LDA on the inference network's firing rates, learns once per segment.

Guarantees:

- State is bounded: it does not grow with the number of bins (but for rule "bptt", a control).
- No autograd graph lives from one bin to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, Self, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from streamstop.config.aliases import SCHEMA
from streamstop.config.sections import NetworkConfig
from streamstop.errors import DivergedError, SourceError, UsageError
from streamstop.learning.class_weighting import class_lr_scale, class_rows, scale_moves
from streamstop.learning.late import Late, LateLabels, Losses, SegmentSums
from streamstop.learning.lda import StreamingLDA, Vector
from streamstop.learning.network_section import network_from_config, network_section
from streamstop.learning.optimizer import make_optimizer, scale_learning_rates
from streamstop.learning.pretrained import INFERENCE, LEARNER, UNNAMED, Pretrained, lda_tensors
from streamstop.learning.weights import save_weights
from streamstop.stop import bptt
from streamstop.stop.losses import Loss, LossClasses
from streamstop.stop.network import Network, NetworkSpec, Rule, letters_of, pooled_rates

P = ParamSpec("P")
T = TypeVar("T")

RUNAWAY = 1e6
"""A parameter as large as this has run away, though it may stay finite for long."""

UPDATES = ("segment", "step")


@dataclass(frozen=True)
class LearnerSpec:
    """How a network learns.

    Parameters
    ----------
    trainable : tuple of str
        What the rule moves: "weights" (and biases), "thresholds", "leaks". The readout always
        learns.
    rule : {"stop", "ottt", "sltt", "bptt"}
        As in `Network`. "bptt" keeps the bins of a segment, whose length its memory grows with: a
        control, which moves the weights once per segment.
    loss : Loss
        Of the readout, each bin or at the segment's end.
    lr, lr_threshold, lr_leak, lr_readout : float
        Adam's steps; normalised ones, because the scale of STOP's gradients falls from layer to
        layer with the temporal terms that it drops.
    betas : tuple of float
        Adam's decay rates.
    update : {"segment", "step"}
        When weights move.
    update_interval : int
        Bins per update, with update "step".
    ema_decay : float
        Of the moving average that predicts, per segment; 0 lets the weights themselves predict.
    loss_classes : {"all", "seen", "recent"}
        Which classes the loss compares: all; those that a label has named by now, that of this
        segment too (a masked softmax); or those named in this segment or in one of the
        `recent_segments` before it (the labels trick of Zeno et al., arXiv 1803.10123, with a
        window for a batch). With these two the linear readout predicts only classes that it had
        seen when the segment began, if any. A loss of one class alone teaches nothing.
    recent_segments : int
        See `loss_classes`.
    class_lr_decay : float
        A class's row of the readout moves at n ** -class_lr_decay times its rate after n segments
        of the class; 0: all alike; 1: as a running mean would.
    other_class_lr_scale : float
        Fraction of its rate at which the row of another class than the segment's moves.
    shrinkage : float
        Of the LDA readout.
    predict_while_training : bool
        Predict with weights that the segment's own label moves. Never an honest score.
    late : {"off", "readout", "last", "all"}
        What learns from a label that comes when its segment is over: nothing, the readout, the
        readout and the last hidden layer, or all that is trainable. See `StopLearner.learn_late`.

    Raises
    ------
    UsageError
        If a choice is none of those there are, or late labels are to be learned by BPTT.
    """

    trainable: tuple[str, ...] = ("weights", "thresholds", "leaks")
    rule: Rule = "stop"
    loss: Loss = field(default_factory=Loss)
    lr: float = 3e-4
    lr_threshold: float = 3e-4
    lr_leak: float = 3e-4
    lr_readout: float = 1e-2
    betas: tuple[float, float] = (0.5, 0.99)
    update: str = "segment"
    update_interval: int = 1
    ema_decay: float = 0.0
    loss_classes: LossClasses = "all"
    recent_segments: int = 10
    class_lr_decay: float = 0.0
    other_class_lr_scale: float = 1.0
    shrinkage: float = 0.1
    predict_while_training: bool = False
    late: Late = "off"

    def __post_init__(self) -> None:
        letters_of(self.trainable)
        for name, value, allowed in (
            ("rule", self.rule, get_args(Rule)),
            ("update", self.update, UPDATES),
            ("loss_classes", self.loss_classes, get_args(LossClasses)),
            ("late", self.late, get_args(Late)),
        ):
            if value not in allowed:
                raise UsageError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
        if self.update_interval < 1:
            raise UsageError(f"update_interval must be at least 1, not {self.update_interval}")
        if self.rule == "bptt" and self.late != "off":
            raise UsageError(
                f'learner.late = "{self.late}" learns from sums that are made bin by bin, and '
                'learner.rule = "bptt" makes none; set learner.late = "off", or another rule'
            )


def _no_grad_flush_denormals(method: Callable[P, T]) -> Callable[P, T]:
    """No autograd; and numbers too small to be normal are zero while the method runs.

    After hundreds of silent bins traces fall below 1e-38, where processors are 20 times slower.
    """

    @wraps(method)
    def quickly(*args: P.args, **kwargs: P.kwargs) -> T:
        torch.set_flush_denormal(True)
        try:
            with torch.no_grad():
                return method(*args, **kwargs)
        finally:
            torch.set_flush_denormal(False)

    return quickly


class Prediction(NamedTuple):
    """What the linear readout predicts of one bin: log-probabilities, shape (classes,)."""

    log_probs: NDArray[np.float64]


class SegmentPrediction(NamedTuple):
    """What each readout predicts of a whole segment.

    Attributes
    ----------
    linear, lda : ndarray of shape (classes,)
        Scores; the largest is the prediction. `lda` is None for a learner without that readout.
    rates : ndarray of shape (features,)
        What the LDA readout sees: square roots of pooled firing rates.
    """

    linear: Vector
    lda: Vector | None
    rates: Vector


class StopLearner:
    """Predict, then learn, bin by bin, with bounded state.

    Parameters
    ----------
    network : NetworkSpec
        What the network is; see `build_network`.
    spec : LearnerSpec, optional
        How it learns.
    seed : int
        Draws the initial weights.
    dtype : torch.dtype
        What it computes with.
    class_names : sequence of str, optional
        A name for each output; they are saved with the weights.

    Attributes
    ----------
    inference_network : Network
        The network that predicts, which may be `network` itself.
    bins_traced, bins_with_error, bins_awaited, updates : int
        Bins taken in with traces, bins that an error went back through, bins that one for every
        label went back through because theirs was to come, and how often the weights moved.
    counts : ndarray of shape (classes,)
        Segments of each class that the linear readout learned from.

    Raises
    ------
    UsageError
        If the settings exclude each other.

    Examples
    --------
    >>> import torch
    >>> from streamstop.stop.architectures import build_network
    >>> learner = StopLearner(build_network("compact", (2, 8, 8), classes=3, channels=(4,)))
    >>> learner.begin_segment()
    >>> learner.predict(torch.ones(1, 2, 8, 8), trace=True).log_probs.shape
    (3,)
    >>> learner.learn(1)
    >>> prediction = learner.predict_segment()
    >>> loss = learner.end_segment()
    >>> learner.update_lda(prediction.rates, 1)
    >>> learner.counts.tolist(), learner.updates
    ([0, 1, 0], 1)
    """

    def __init__(
        self,
        network: NetworkSpec,
        spec: LearnerSpec | None = None,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        class_names: Sequence[str] = (),
    ) -> None:
        self.spec = spec = spec or LearnerSpec()
        names = tuple(class_names) or tuple(map(UNNAMED.format, range(network.classes)))
        if len(names) != network.classes or len(set(names)) < len(names):
            raise UsageError(
                f"class_names must hold {network.classes} different names, one per output, not "
                f"{len(names)}: {', '.join(names[:8])}"
            )
        self.class_names = names
        self._seed = seed
        self.network = Network(
            network, seed, learn=letters_of(spec.trainable), rule=spec.rule, dtype=dtype
        )
        self.dtype = dtype
        self._shape = (1, *network.input_shape)
        if network.neuron.normalization == "batch":
            raise UsageError(
                'network.normalization = "batch" has no meaning in a stream, which has no batch: '
                'take "weight_standardization", or start from the folded weights of a training'
            )
        if spec.rule == "bptt" and spec.update == "step":
            raise UsageError(
                'learner.rule = "bptt" needs whole segments: learner.update must be "segment"'
            )
        apart = (
            spec.update == "step"
            or spec.ema_decay > 0
            or any(one.dropout for one in network.layers)
        )
        self._has_copy = apart and not spec.predict_while_training
        self.inference_network = (
            Network(network, seed, learn="", dtype=dtype) if self._has_copy else self.network
        )
        self.bins_traced = self.bins_with_error = self.bins_awaited = self.updates = 0
        self._number = 0  # of the segment, never one twice
        self._reset_learning()

    def _reset_learning(self) -> None:
        """What is kept from segment to segment, as it is before the first one."""
        classes = self.network.spec.classes
        self.lda = StreamingLDA(classes, self.spec.shrinkage)
        self.counts = np.zeros(classes, dtype=np.int64)
        self.last_segment = np.zeros(
            classes, dtype=np.int64
        )  # the number of its latest segment, from 1
        self._optimizer = make_optimizer(self.network, self.spec)
        self._since_update = self.ema_updates = 0
        self._late = LateLabels(self.network, self.spec.late, self.spec.loss_classes == "all")
        self._in_segment = False
        self._reset_segment()

    def reinitialize(self) -> None:
        """Forget all that was learned: the initial weights of the seed, and no class seen."""
        drawn = Network(self.network.spec, self._seed, learn="", dtype=self.dtype).parameters()
        self.network.load_parameters(drawn)
        self.network.zero_grads()
        if self._has_copy:
            self.inference_network.load_parameters(drawn)
        self._reset_learning()
        self.begin_segment()

    def mark_classes_seen(self, classes: Sequence[int]) -> None:
        """Weights were put in that know these classes already."""
        self.counts[list(classes)] = 1

    def _reset_segment(self) -> None:
        self._bins: float = 0
        self._learned = 0
        self._losses = 0
        self._since_update = 0
        self._loss = 0.0
        self._votes = np.zeros(self.network.spec.classes)
        self._spikes: list[Tensor] = []
        self._logits: Tensor | None = None
        self._traced = False
        self._label: int | None = None
        self._loss_now = self.spec.loss
        self._allowed = self._seen_mask()
        self._target: Tensor | None = None
        self._segment_bins: list[Tensor] = []
        self._learned_since = 0
        self._number += 1
        self._sums: SegmentSums | None = None

    def _seen_mask(self) -> NDArray[np.bool_] | None:
        """The classes that the linear readout may decide for, (classes,); None: all."""
        known = self.counts > 0
        return known if self.spec.loss_classes != "all" and known.any() else None

    def begin_segment(self) -> None:
        """Start an unrelated piece of stream: neurons at rest, nothing gathered."""
        self.network.reset_state()
        if self._has_copy:
            self.inference_network.reset_state()
        self._reset_segment()
        self._in_segment = True

    def begin_window(self) -> None:
        """Start new statistics while the neurons go on as they are (unlabelled streams)."""
        self._reset_segment()

    def fade(self, keep: float) -> None:
        """Let what was gathered since the segment began count only a fraction `keep` from now on.

        Called before each bin it makes votes and firing rates running means of the last bins, for
        a stream without segments.
        """
        self._bins *= keep
        self._votes *= keep
        for total in self._spikes:
            total.mul_(keep)

    def reset_state(self) -> None:
        """Put the neurons at rest within a segment, after a jump in time."""
        self.network.reset_state()
        if self._has_copy:
            self.inference_network.reset_state()

    @_no_grad_flush_denormals
    def predict(self, x: Tensor, *, trace: bool) -> Prediction:
        """Take in one bin and predict, before its label is looked at.

        Parameters
        ----------
        x : Tensor of shape (1, polarities, height, width)
            One bin, of the learner's dtype; a sequence goes in bin by bin.
        trace : bool
            Whether `learn` may follow; traces advance only then.

        Returns
        -------
        Prediction

        Raises
        ------
        UsageError
            If `x` is of another shape or dtype.
        DivergedError
            If the readout is no longer finite.
        """
        if tuple(x.shape) != self._shape or x.dtype != self.dtype:
            raise UsageError(
                f"predict takes one bin of shape {self._shape} and {self.dtype}, not "
                f"{tuple(x.shape)} and {x.dtype}; a sequence goes in bin by bin, counts as "
                f"torch.log1p(counts)[None].to({self.dtype})"
            )
        logits = self._logits = self.network.forward(x, traces=trace)
        self._traced = trace
        self.bins_traced += trace
        if trace and self.spec.rule == "bptt":
            self._segment_bins.append(x)
        if self._has_copy:
            logits = self.inference_network.forward(x, traces=False)
        log_probabilities = functional.log_softmax(logits, 1)[0].double().numpy()
        if not np.isfinite(log_probabilities).all():
            raise DivergedError(
                f"the readout is no longer finite after {self.updates} updates; "
                "the scores up to here are kept; lower [learner] lr and lr_readout"
            )
        if self._allowed is not None:
            log_probabilities[~self._allowed] = -np.inf
            log_probabilities -= np.logaddexp.reduce(log_probabilities)
        self._votes += log_probabilities
        self._bins += 1
        spikes = self.inference_network.spikes()
        if not self._spikes:
            self._spikes = [torch.zeros_like(s) for s in spikes]
        for total, s in zip(self._spikes, spikes, strict=True):
            total.add_(s)
        return Prediction(log_probabilities)

    @_no_grad_flush_denormals
    def learn(self, label: int) -> None:
        """Learn the label of the bin just predicted.

        Parameters
        ----------
        label : int
            The bin's class, from 0.

        Raises
        ------
        UsageError
            If no `predict(x, trace=True)` came before, or there is no such class.
        """
        logits = self._traced_logits("learn")
        self._check_label(label)
        if self._sums is not None:
            raise UsageError(
                "learn: bins of this segment await their label already; learn_late says it, for "
                "all of them"
            )
        if not self._learned:
            self._learned_since = len(self._segment_bins) - 1
        if label != self._label:
            self._label = label
            self._register_label(label)
            classes = logits.shape[1]
            self._target = self._loss_now.target(torch.tensor([label]), classes, self.dtype)
        self._learned += 1
        if self.spec.rule != "bptt" and self.spec.loss.applies_to(last=False):
            self._backward_bin()
            if self.spec.update == "step" and self._since_update >= self.spec.update_interval:
                self._optimizer_step()

    def _traced_logits(self, what: str) -> Tensor:
        """The logits of the bin just predicted; raises UsageError where it cannot be learned."""
        if self._logits is None or not self._traced:
            raise UsageError(
                f"{what} follows predict(x, trace=True): without traces nothing learns"
            )
        return self._logits

    def _check_label(self, label: int) -> None:
        if not 0 <= label < self.network.spec.classes:
            raise UsageError(
                f"label {label!r}: the network has the classes 0 to {self.network.spec.classes - 1}"
            )

    @property
    def learns_late(self) -> bool:
        """Whether labels teach that come when their segment is over."""
        return self.spec.late != "off"

    @_no_grad_flush_denormals
    def await_label(self) -> int:
        """Gather what the bin just predicted would teach under each label, which is to come.

        Returns
        -------
        int
            The number of the segment, for `learn_late`.

        Raises
        ------
        UsageError
            If late labels are off, no `predict(x, trace=True)` came before, or a bin of the
            segment was learned.
        """
        if not self.learns_late:
            raise UsageError(
                'await_label: learner.late is "off"; set "readout", "last" or "all" for labels '
                "that come when their segment is over"
            )
        logits = self._traced_logits("await_label")
        if self._learned:
            raise UsageError("await_label: the label of this segment is here, and was learned")
        if self._sums is None:
            self._sums = self._late.begin(self._number, self._losses_by_label())
        if self.spec.loss.applies_to(last=False):
            self._sums.add(logits)
            self.bins_awaited += 1
        return self._number

    def learn_late(self, label: int, segment: int | None = None) -> bool:
        """Learn the label of a segment whose bins awaited it.

        Weights, thresholds and leaks move once, by the mean over its bins: at once, or, while a
        segment is open, when that one ends. So nothing changes within a segment.

        Parameters
        ----------
        label : int
            The segment's class, from 0.
        segment : int, optional
            From `await_label`; by default the segment that is open, or the last one that waits.

        Returns
        -------
        bool
            Whether it teaches; False if the segment waits for no label, or no longer: only the
            latest `late.MAX_KEPT` segments are kept.

        Raises
        ------
        UsageError
            If late labels are off or there is no such class.
        DivergedError
            As `end_segment`.
        """
        if not self.learns_late:
            raise UsageError('learn_late: learner.late is "off"; set "readout", "last" or "all"')
        self._check_label(label)
        opened = None if self._sums is None else self._number
        if segment is None:
            segment = self._late.latest() if opened is None else opened
        if segment is not None and segment == opened:
            self._label = label
            return True
        if segment is None or not self._late.label(segment, label):
            return False
        if not self._in_segment:
            self._check_sane(self._learn_arrived())
        return True

    def _losses_by_label(self) -> Losses:
        """The loss under each label that the open segment may get."""
        every = range(self.network.spec.classes)
        if self.spec.loss_classes == "all":
            return [(self.spec.loss, every)]
        sets: dict[tuple[int, ...], list[int]] = {}
        for label in every:
            sets.setdefault(self._compared(label), []).append(label)
        return [(replace(self.spec.loss, classes=kept), of) for kept, of in sets.items()]

    def _close_sums(self, sums: SegmentSums) -> float | None:
        """The open segment is over: learn its label if that is here, else let it wait."""
        if not self.spec.loss.applies_to(last=False):
            assert self._logits is not None
            sums.add(self._logits)
            self.bins_awaited += 1
        sums.finish()
        self._sums = None
        if self._label is not None:
            return self._learn_sums(sums, self._label)
        self._late.keep(sums)
        return None

    def _learn_arrived(self) -> float | None:
        """Learn the late labels that are here; the mean loss of the last of them."""
        loss = None
        arrived, self._late.arrived = self._late.arrived, []
        for sums, label in arrived:
            loss = self._learn_sums(sums, label)
        self._late.give_up_oldest()
        return loss

    @_no_grad_flush_denormals
    def _learn_sums(self, sums: SegmentSums, label: int) -> float:
        """Move what learns by what a segment teaches under this label; its mean loss."""
        taught = sums.of(label)
        self._register_label(label)
        own = self.network.grads
        parameters = self.network.parameters()
        for name, grad in own.items():
            if name in taught.grads:
                grad.copy_(taught.grads[name]).div_(taught.losses)
            else:  # it does not move, not even by what Adam remembers
                parameters[name].grad = None
        self._late.release(sums)
        self._move_weights(label)
        for name, grad in own.items():
            parameters[name].grad = grad
        if self._has_copy:
            self._update_ema()
        return taught.loss / taught.losses

    def _register_label(self, label: int) -> None:
        """Count the segment's label, and let the loss compare the classes that go with it."""
        if self.spec.loss_classes != "all":
            self._loss_now = replace(self.spec.loss, classes=self._compared(label))
        self.counts[label] += 1
        self.last_segment[label] = self.last_segment.max() + 1

    def _compared(self, label: int) -> tuple[int, ...]:
        """The classes, seen or recent, that the loss of a segment compares whose label this is."""
        among = self.counts > 0
        if self.spec.loss_classes == "recent":
            among &= self.last_segment > self.last_segment.max() - self.spec.recent_segments
        among[label] = True
        return tuple(np.flatnonzero(among).tolist())

    def _backward_bin(self) -> None:
        """Send the error of the last bin down."""
        assert self._logits is not None and self._target is not None
        loss, error = self._loss_now.loss_and_grad(self._logits, self._target)
        self._loss += float(loss)
        self._losses += 1
        self.network.backward(error)
        self.bins_with_error += 1
        self._since_update += 1

    def _backward_bptt(self) -> None:
        """Backpropagate through all bins of the segment."""
        labels = torch.tensor([self._label])
        loss, _, found = bptt.loss_and_grads(
            self.network, self._segment_bins, labels, self._loss_now, since=self._learned_since
        )
        self._loss += float(loss)
        self.bins_with_error += len(self._segment_bins)
        for name, grad in self.network.grads.items():
            if name in found:
                grad.add_(found[name])
        losses = self._learned if self.spec.loss.applies_to(last=False) else 1
        self._losses += losses
        self._since_update += losses

    def predict_segment(self) -> SegmentPrediction:
        """Predict the segment from the bins since it began, with both readouts."""
        rates = self.firing_rates()
        return SegmentPrediction(self._votes / max(self._bins, 1), self.lda.scores(rates), rates)

    def end_segment(self) -> float | None:
        """Close the segment: move what waits to be moved. Mean loss, None if none learned.

        Late labels that came meanwhile are learned too; without a loss of its own, it is theirs.

        Raises DivergedError where the loss is not finite, or a parameter is beyond RUNAWAY.
        """
        with torch.no_grad():
            if self._learned and self.spec.rule == "bptt":
                self._backward_bptt()
            elif self._learned and not self.spec.loss.applies_to(last=False):
                self._backward_bin()
        loss = self._loss / self._losses if self._losses else None
        if self._since_update:
            self._optimizer_step()
        if self._has_copy and self._learned:
            self._update_ema()
        self._in_segment = False
        if self._sums is not None:
            with torch.no_grad():
                loss = self._close_sums(self._sums)
        arrived = self._learn_arrived()
        loss = arrived if loss is None else loss
        self._check_sane(loss)
        return loss

    def _check_sane(self, loss: float | None) -> None:
        """Raise DivergedError where the loss is not finite, or a parameter is beyond RUNAWAY."""
        sane = all(bool((p.abs() < RUNAWAY).all()) for p in self.network.parameters().values())
        if (loss is not None and not np.isfinite(loss)) or not sane:
            raise DivergedError(
                f"loss {loss} after {self.updates} updates: parameters beyond {RUNAWAY:g} or not "
                "finite; the scores up to here are kept; lower [learner] lr and lr_readout"
            )

    def scale_learning_rates(self, factor: float) -> None:
        """Learn at `factor` times the configured rates from now on; 1: as configured."""
        scale_learning_rates(self._optimizer, factor)

    def update_lda(self, rates: Vector, label: int) -> None:
        """Learn the firing rates of one segment, from `predict_segment`, and its label."""
        self.lda.learn(rates, label)

    def _optimizer_step(self) -> None:
        # Those of BPTT are of the parameters already.
        through_time = self.spec.rule == "bptt"
        grads = self.network.grads if through_time else self.network.finish_grads()
        for grad in grads.values():
            grad.div_(self._since_update)
        self._move_weights(self._label)
        self._since_update = 0

    def _move_weights(self, label: int | None) -> None:
        """One step of the optimiser along the gradients; they are zero then."""
        weigh = self.spec.class_lr_decay or self.spec.other_class_lr_scale < 1.0
        rows = class_rows(self.network) if weigh else []
        before = [row.clone() for row in rows]
        self._optimizer.step()
        if rows:
            scale = class_lr_scale(
                self.counts, label, self.spec.class_lr_decay, self.spec.other_class_lr_scale
            )
            scale_moves(rows, before, scale)
        self.network.zero_grads()
        self.network.refresh()
        self.updates += 1

    def _update_ema(self) -> None:
        """Move the deciding weights: all the way, or as a slow average that starts as a mean."""
        self.ema_updates += 1
        keep = min(self.spec.ema_decay, 1 - 1 / self.ema_updates)
        fast = self.network.parameters()
        for name, value in self.inference_network.parameters().items():
            value.mul_(keep).add_(fast[name], alpha=1 - keep)
        self.inference_network.refresh()

    def firing_rates(self) -> Vector:
        """Square roots of the pooled firing rates since the segment began, as a vector."""
        if not self._spikes:
            return np.zeros(0)
        rates = [total / max(self._bins, 1) for total in self._spikes]
        return np.asarray(pooled_rates(rates)[0].sqrt().double().numpy())

    @property
    def num_rate_features(self) -> int:
        """How many firing rates the LDA readout sees."""
        return pooled_rates(self.inference_network.spikes()).shape[1]

    def layer_statistics(self) -> dict[str, dict[str, float]]:
        """Of each layer: firing rate (spikes per neuron and bin since the segment began),
        mean and standard deviation of the thresholds, and the leak.
        """
        network = self.network
        return {
            name: {
                "firing_rate": float(total.mean()) / max(self._bins, 1),
                "threshold": float(layer.theta.mean()),
                "threshold_sd": float(layer.theta.std(correction=0)),
                "leak": float(layer.leak),
            }
            for name, layer, total in zip(
                network.layer_names, network.layers, self._spikes, strict=False
            )
        }

    def untrained_copy(self) -> StopLearner:
        """The same network as it is now, whose hidden layers never learn: the fair comparison.

        Its two readouts begin as this one's and learn as they do.
        """
        spec = replace(self.spec, trainable=())
        copy = StopLearner(
            self.network.spec, spec, self._seed, self.dtype, class_names=self.class_names
        )
        copy.network.load_parameters(self.network.parameters())
        copy.inference_network.load_parameters(self.inference_network.parameters())
        if self.lda.counts.any():
            copy.lda.load(self.lda)
        copy.counts[:] = self.counts
        return copy

    def state_tensors(self) -> dict[str, Tensor]:
        """All that predicts and is learned, by name: network, evaluation copy, LDA, counts."""
        found = dict(self.network.parameters())
        if self._has_copy:
            copy = self.inference_network.parameters()
            found |= {f"{INFERENCE}{name}": value for name, value in copy.items()}
        if self.lda.counts.any():
            found |= lda_tensors(self.lda)
        found[f"{LEARNER}counts"] = torch.from_numpy(self.counts.copy())
        found[f"{LEARNER}last_segment"] = torch.from_numpy(self.last_segment.copy())
        found[f"{LEARNER}ema_updates"] = torch.tensor(self.ema_updates)
        return found

    def describe(self) -> dict[str, Any]:
        """What a weights file states of a learner, plain data."""
        return {
            "schema": SCHEMA,
            "input": list(self.network.spec.input_shape),
            "classes": list(self.class_names),
            "learner": asdict(self.spec),
            "dtype": str(self.dtype).removeprefix("torch."),
        }

    def save(self, path: str | Path, *, input_transform: str = "log1p") -> None:
        """Write all that predicts and is learned to a safetensors file.

        The optimiser's moments are not in it: what goes on learning from the file starts Adam
        again.

        Parameters
        ----------
        path : str or Path
            The file; it appears when complete and replaces what was there.
        input_transform : {"log1p", "none"}
            What was done to counts before they came in, for a run that begins with the file.

        Raises
        ------
        UsageError
            If no [network] section can describe the network.
        """
        section = network_section(self.network.spec, input_transform)
        save_weights(Path(path), self.state_tensors(), self.describe() | {"network": section})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """A learner that predicts as the one that was saved, to the bit, and goes on learning.

        Parameters
        ----------
        path : str or Path
            Written by `save`, or a run's `weights.safetensors`, or a training's.

        Raises
        ------
        SourceError
            If the file cannot be read, is damaged, or does not describe what it holds.

        Examples
        --------
        >>> import tempfile
        >>> from streamstop.stop.architectures import build_network
        >>> learner = StopLearner(build_network("compact", (2, 8, 8), classes=3, channels=(4,)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     learner.save(f"{folder}/learner.safetensors")
        ...     StopLearner.load(f"{folder}/learner.safetensors").class_names
        ('output 0', 'output 1', 'output 2')
        """
        saved = Pretrained.from_file(str(path))
        section = NetworkConfig(**saved.network)
        try:
            network = network_from_config(section, saved.input_shape, len(saved.classes))
            spec = _spec_from(dict(saved.learner or {}))
            dtype = torch.float64 if saved.dtype == "float64" else torch.float32
            learner = cls(network, spec, 0, dtype, saved.classes)
        except (TypeError, ValueError, UsageError) as error:
            raise SourceError(
                f"the file does not describe a learner ({type(error).__name__}: {error}): {path}"
            ) from error
        saved.load_into(learner, 10.0)
        return learner

    def state_bytes(self) -> int:
        """Bytes of all that the learner carries through the stream, the same from the first bin on.

        Parameters and what they become, gradients, the optimiser's moments, neurons and traces,
        spike sums, and means and covariance of LDA, whether or not they were needed
        yet, and two counts per class. With late labels also the sums of the open segment and of
        all that may wait. Under rule "bptt" the bins of the segment so far come on top, and grow.
        """
        networks = [self.network, self.inference_network] if self._has_copy else [self.network]
        grads = sum(_bytes(g) for g in self.network.grads.values())
        held = 3 * grads  # the gradient itself, and Adam's first and second moments
        held += sum(_bytes(x) for x in self._segment_bins)
        held += self.network.pending_bytes() + self.counts.nbytes + self.last_segment.nbytes
        for one in networks:
            held += sum(_bytes(p) for p in one.parameters().values())
            held += one.state_bytes() + one.derived_bytes()
        held += sum(_bytes(s) for s in self.inference_network.spikes())
        if self.learns_late:
            held += self._late.state_bytes()
        return held + self.lda.state_bytes(self.num_rate_features)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _spec_from(saved: dict[str, Any]) -> LearnerSpec:
    """The `LearnerSpec` that `asdict` made plain data of; raises TypeError and UsageError."""
    known = {one.name for one in fields(LearnerSpec)}
    given = {key: value for key, value in saved.items() if key in known}
    for key in ("trainable", "betas"):
        if key in given:
            given[key] = tuple(given[key])
    if "loss" in given:
        loss = dict(given["loss"])
        given["loss"] = Loss(**loss | {"classes": tuple(loss.get("classes", ()))})
    return LearnerSpec(**given)
