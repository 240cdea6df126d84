"""The learner: a network, its optimiser, two readouts, and the order in which they may act.

For every bin `predict` comes first; `learn` follows when the bin's label is known. For every
segment `decide` answers before the segment's label has touched what decides:

* `update="segment"`: gradients gather over the segment and move the weights once, at its end
  (as in the paper, Eq. 17-27 summed over T); the network that learns may also decide.
* `update="step"`: weights move every `every` bins, within the segment. A shadow network with the
  weights of the segment's beginning runs beside it and decides. So it does where dropout silences
  part of the network that learns.
* `slow > 0`: the shadow's weights are an exponential average over past segments' ends.

The second readout, streaming LDA on the deciding network's firing rates, learns once a segment.

`among`, `cool` and `others` fight the first one's forgetting and keep nothing of the stream but a
count a class: they say which classes the loss compares, and how far which class's row may move.
`naive=True` lets the network that is being trained decide: a dishonest score, to compare with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import NamedTuple, ParamSpec, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from streamstop.errors import DivergedError, UsageError
from streamstop.learning.lda import StreamingLDA, Vector
from streamstop.stop import bptt
from streamstop.stop.losses import Loss, LossClasses
from streamstop.stop.network import Network, NetworkSpec, Rule, letters_of, pooled_rates

P = ParamSpec("P")
T = TypeVar("T")

RUNAWAY = 1e6
"""A parameter as large as this has run away, though it may stay finite for long."""


@dataclass(frozen=True)
class LearnerSpec:
    """How a network learns.

    learn : letters of what STOP moves: "w" weights and biases, "t" thresholds, "l" leaks.
        The readout always learns.
    rule : as in `Network`. "bptt" keeps the bins of a segment, whose length its memory grows with:
        a control, which moves the weights once a segment.
    loss : of the readout, each bin or at the segment's end.
    lr, lr_threshold, lr_leak, lr_readout : Adam's steps; normalised ones, because the scale of
        STOP's gradients falls from layer to layer with the temporal terms that it drops.
    betas : Adam's decay rates.
    update : "segment" or "step"; every : bins an update, with "step".
    slow : decay of the average that decides, in segments; 0 lets the weights themselves decide.
    among : which classes the loss compares: "all"; "seen", those that a label has named by now,
        that of this segment too (a masked softmax); "present", those named in this segment or in
        one of the `present` taught before it (the labels trick of Zeno et al., arXiv 1803.10123,
        with a window for a batch). With these two the linear readout decides among the classes
        that it knew when the segment began, if any. A loss of one class alone teaches nothing.
    present : see `among`.
    cool : a class's row of the readout moves at n^-cool times its rate once n segments of the class
        were taught; 0: all alike; 1: as a running mean would.
    others : share of its rate at which the row of another class than the segment's moves.
    shrinkage : of the discriminant readout.
    naive : decide with weights that the segment's own label moves. Never honest.
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


def _of_a_bin(method: Callable[P, T]) -> Callable[P, T]:
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
    """What the learner says of one bin: log probabilities (classes,) of its linear readout."""

    linear: NDArray[np.float64]


class Decision(NamedTuple):
    """What each readout makes of a whole segment: scores of shape (classes,)."""

    linear: Vector
    lda: Vector
    rates: Vector


class StopLearner:
    """Predict, then learn, bin by bin; bounded state, no autograd.

    Parameters
    ----------
    network : what the network is.
    spec : how it learns.
    seed : draws the initial weights.

    Attributes
    ----------
    decider : the network that answers, which may be `network` itself.
    traced, taught, updates : bins taken in with traces, bins that an error went back through, and
        how often the weights moved.
    counts : segments of each class that the linear readout learned from, (classes,).
    """

    def __init__(
        self,
        network: NetworkSpec,
        spec: LearnerSpec,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.spec = spec
        self._seed = seed
        self.network = Network(
            network, seed, learn=letters_of(spec.trainable), rule=spec.rule, dtype=dtype
        )
        self.dtype = dtype
        if network.neuron.normalization == "batch":
            raise UsageError(
                'network.normalization = "batch" has no meaning in a stream, which has no batch: '
                "take "
                '"weight", or start from the folded weights that a training leaves'
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
        self._shadowed = apart and not spec.predict_while_training
        self.decider = (
            Network(network, seed, learn="", dtype=dtype) if self._shadowed else self.network
        )
        self.traced = self.taught = self.updates = 0
        self._start()

    def _start(self) -> None:
        """What is kept from segment to segment, as it is before the first one."""
        classes = self.network.spec.classes
        self.lda = StreamingLDA(classes, self.spec.shrinkage)
        self.counts = np.zeros(classes, dtype=np.int64)
        self._last = np.zeros(classes, dtype=np.int64)  # the number of its latest segment, from 1
        self._optimizer = self._make_optimizer()
        self._since_update = self._follows = 0
        self._begin()

    def start_over(self) -> None:
        """Forget all that was learned: the weights as drawn from the seed, and nothing known."""
        drawn = Network(self.network.spec, self._seed, learn="", dtype=self.dtype).parameters()
        self.network.load_parameters(drawn)
        self.network.zero_grads()
        if self._shadowed:
            self.decider.load_parameters(drawn)
        self._start()
        self.begin_segment()

    def knows(self, classes: Sequence[int]) -> None:
        """Weights were put in that know these classes already."""
        self.counts[list(classes)] = 1

    def _make_optimizer(self) -> torch.optim.Adam:
        rates = {"log_theta": self.spec.lr_threshold, "leak_logit": self.spec.lr_leak}
        grads, groups = self.network.grads, []
        for name, value in self.network.parameters().items():
            if name not in grads:
                continue
            value.grad = grads[name]
            layer, _, kind = name.rpartition(".")
            rate = self.spec.lr_readout if layer == "readout" else rates.get(kind, self.spec.lr)
            groups.append({"params": [value], "lr": rate})
        return torch.optim.Adam(groups, betas=self.spec.betas, fused=True)

    def _begin(self) -> None:
        self._bins = 0
        self._learned = 0
        self._losses = 0
        self._since_update = 0
        self._loss = 0.0
        self._votes = np.zeros(self.network.spec.classes)
        self._spikes: list[Tensor] = []
        self._logits: Tensor | None = None
        self._label: int | None = None
        self._loss_now = self.spec.loss
        self._sayable = self._known()
        self._target: Tensor | None = None
        self._kept: list[Tensor] = []
        self._taught_since = 0

    def _known(self) -> NDArray[np.bool_] | None:
        """The classes that the linear readout may decide for, (classes,); None: all."""
        known = self.counts > 0
        return known if self.spec.loss_classes != "all" and known.any() else None

    def begin_segment(self) -> None:
        """Start an unrelated piece of stream: neurons at rest, nothing gathered."""
        self.network.reset_state()
        if self._shadowed:
            self.decider.reset_state()
        self._begin()

    def begin_window(self) -> None:
        """Start new statistics while the neurons go on as they are (unlabelled streams)."""
        self._begin()

    def reset_state(self) -> None:
        """Put the neurons at rest within a segment, after a jump in time."""
        self.network.reset_state()
        if self._shadowed:
            self.decider.reset_state()

    @_of_a_bin
    def predict(self, x: Tensor, *, will_learn: bool) -> Prediction:
        """Take in one bin and say what it shows, before its label is looked at.

        x : (1, polarities, height, width), encoded counts.
        will_learn : whether `learn` may follow; traces advance only then.

        Raises DivergedError where the readout is no longer finite.
        """
        said = self._logits = self.network.forward(x, traces=will_learn)
        self.traced += will_learn
        if will_learn and self.spec.rule == "bptt":
            self._kept.append(x)
        if self._shadowed:
            said = self.decider.forward(x, traces=False)
        log_probabilities = functional.log_softmax(said, 1)[0].double().numpy()
        if not np.isfinite(log_probabilities).all():
            raise DivergedError(
                f"the readout is no longer finite after {self.updates} updates; "
                "the scores up to here are kept; lower [learner] lr and lr_readout"
            )
        if self._sayable is not None:
            log_probabilities[~self._sayable] = -np.inf
            log_probabilities -= np.logaddexp.reduce(log_probabilities)
        self._votes += log_probabilities
        self._bins += 1
        spikes = self.decider.spikes()
        if not self._spikes:
            self._spikes = [torch.zeros_like(s) for s in spikes]
        for total, s in zip(self._spikes, spikes, strict=True):
            total.add_(s)
        return Prediction(log_probabilities)

    @_of_a_bin
    def learn(self, label: int) -> None:
        """Learn the label of the bin just predicted."""
        assert self._logits is not None, "predict(will_learn=True) comes first"
        if not self._learned:
            self._taught_since = len(self._kept) - 1
        if label != self._label:
            self._label = label
            self._meet(label)
            classes = self._logits.shape[1]
            self._target = self._loss_now.target(torch.tensor([label]), classes, self.dtype)
        self._learned += 1
        if self.spec.rule != "bptt" and self.spec.loss.speaks(last=False):
            self._deliver()
            if self.spec.update == "step" and self._since_update >= self.spec.update_interval:
                self._update()

    def _meet(self, label: int) -> None:
        """Count the segment's label; the loss compares the classes that `among` says."""
        self.counts[label] += 1
        self._last[label] = now = self._last.max() + 1
        if self.spec.loss_classes == "all":
            return
        among = self.counts > 0
        if self.spec.loss_classes == "recent":
            among &= self._last >= now - self.spec.recent_segments
        self._loss_now = replace(self.spec.loss, classes=tuple(np.flatnonzero(among).tolist()))

    def _deliver(self) -> None:
        """Send the error of the last bin down."""
        assert self._logits is not None and self._target is not None
        loss, error = self._loss_now.error(self._logits, self._target)
        self._loss += float(loss)
        self._losses += 1
        self.network.backward(error)
        self.taught += 1
        self._since_update += 1

    def _deliver_through_time(self) -> None:
        """Backpropagate through all bins of the segment."""
        labels = torch.tensor([self._label])
        loss, _, found = bptt.loss_and_grads(
            self.network, self._kept, labels, self._loss_now, since=self._taught_since
        )
        self._loss += float(loss)
        self.taught += len(self._kept)
        for name, grad in self.network.grads.items():
            if name in found:
                grad.add_(found[name])
        losses = self._learned if self.spec.loss.speaks(last=False) else 1
        self._losses += losses
        self._since_update += losses

    def decide(self) -> Decision:
        """Both readouts' verdicts on the bins predicted since the segment began."""
        rates = self.rates_vector()
        return Decision(self._votes / max(self._bins, 1), self.lda.scores(rates), rates)

    def end_segment(self) -> float | None:
        """Close the segment: move what waits to be moved. Mean loss, None if none learned.

        Raises DivergedError where the loss is not finite, or a parameter is beyond RUNAWAY.
        """
        with torch.no_grad():
            if self._learned and self.spec.rule == "bptt":
                self._deliver_through_time()
            elif self._learned and not self.spec.loss.speaks(last=False):
                self._deliver()
        loss = self._loss / self._losses if self._losses else None
        if self._since_update:
            self._update()
        if self._shadowed and self._learned:
            self._follow()
        sane = all(bool((p.abs() < RUNAWAY).all()) for p in self.network.parameters().values())
        if (loss is not None and not np.isfinite(loss)) or not sane:
            raise DivergedError(
                f"loss {loss} after {self.updates} updates: parameters beyond {RUNAWAY:g} or not "
                "finite; the scores up to here are kept; lower [learner] lr and lr_readout"
            )
        return loss

    def scale_rates(self, factor: float) -> None:
        """Learn at `factor` times the configured rates from now on; 1: as configured."""
        for group in self._optimizer.param_groups:
            group["lr"] = factor * group.setdefault("configured", group["lr"])

    def learn_rates(self, rates: Vector, label: int) -> None:
        """Give the discriminant readout the firing rates of one segment and its label."""
        self.lda.learn(rates, label)

    def _update(self) -> None:
        # Those of BPTT are of the parameters already.
        through_time = self.spec.rule == "bptt"
        grads = self.network.grads if through_time else self.network.finish_grads()
        for grad in grads.values():
            grad.div_(self._since_update)
        rows = (
            self._rows() if self.spec.class_lr_decay or self.spec.other_class_lr_scale < 1.0 else []
        )
        before = [row.clone() for row in rows]
        self._optimizer.step()
        if rows:
            pace = torch.from_numpy(self._pace()).to(self.dtype)
            for row, old in zip(rows, before, strict=True):
                row.copy_(torch.lerp(old, row, pace.view(-1, *[1] * (row.ndim - 1))))
        self.network.zero_grads()
        self.network.refresh()
        self._since_update = 0
        self.updates += 1

    def _rows(self) -> list[Tensor]:
        """The readout's parameters that have a row a class."""
        classes = self.network.spec.classes
        every = self.network.readout.parameters().values()
        return [value for value in every if value.ndim and len(value) == classes]

    def _pace(self) -> Vector:
        """The share of its step that each class's row takes, (classes,)."""
        pace = np.maximum(self.counts, 1).astype(np.float64) ** -self.spec.class_lr_decay
        pace[np.arange(len(pace)) != self._label] *= self.spec.other_class_lr_scale
        return pace

    def _follow(self) -> None:
        """Move the deciding weights: all the way, or as a slow average that starts as a mean."""
        self._follows += 1
        keep = min(self.spec.ema_decay, 1 - 1 / self._follows)
        fast = self.network.parameters()
        for name, value in self.decider.parameters().items():
            value.mul_(keep).add_(fast[name], alpha=1 - keep)
        self.decider.refresh()

    def rates_vector(self) -> Vector:
        """Square roots of the pooled firing rates since the segment began, as a vector."""
        if not self._spikes:
            return np.zeros(0)
        rates = [total / max(self._bins, 1) for total in self._spikes]
        return np.asarray(pooled_rates(rates)[0].sqrt().double().numpy())

    @property
    def rate_features(self) -> int:
        """How many firing rates the discriminant readout sees."""
        return pooled_rates(self.decider.spikes()).shape[1]

    def layer_statistics(self) -> dict[str, dict[str, float]]:
        """Of each layer: firing rate (spikes per neuron and bin since the segment began),
        mean and standard deviation of the thresholds, and the leak."""
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

    def state_bytes(self) -> int:
        """Bytes of all that the learner carries through the stream, the same from the first bin on.

        Parameters and what they become, gradients, the optimiser's moments, neurons and traces,
        spike sums, and the discriminant's means and covariance, whether or not they were needed
        yet, and two counts a class. Under rule "bptt" the bins of the segment so far come on top,
        and grow.
        """
        networks = [self.network, self.decider] if self._shadowed else [self.network]
        grads = sum(_bytes(g) for g in self.network.grads.values())
        held = 3 * grads  # the gradient itself, and Adam's first and second moments
        held += sum(_bytes(x) for x in self._kept)
        held += self.network.pending_bytes() + self.counts.nbytes + self._last.nbytes
        for one in networks:
            held += sum(_bytes(p) for p in one.parameters().values())
            held += one.state_bytes() + one.derived_bytes()
        held += sum(_bytes(s) for s in self.decider.spikes())
        return held + self.lda.state_bytes(self.rate_features)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
