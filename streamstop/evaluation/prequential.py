"""The prequential (test-then-train) protocol: the order of predictions, labels, scores and updates.

Labels arrive in one of two ways:

- immediate: the label of a bin comes right after the bin was predicted. The segment is predicted
  at its end, by weights from before its beginning.
- delayed: the label of a segment comes `delay_us` after the segment began. The segment is scored
  then, on what was predicted until then, and only the bins that follow are learned. A label that
  comes with the end of its segment or later trains what keeps the features of the segment, the LDA
  readout and the baselines; and, with `learner.late`, the network: it moves when the segment that
  is open then has ended, or at once where none is open.

Guarantees:

- A segment is scored only on predictions by weights that its own label has not changed.
- Late labels change no weights that predict while a segment is open.
- The learner and every baseline predict before they learn.
- Memory is bounded: at most MAX_WAITING segments wait for their label.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from streamstop.evaluation.baselines import Baseline, log_counts, make_baselines
from streamstop.evaluation.metrics import StreamMetrics
from streamstop.events.labels import Segment
from streamstop.learning.lda import Vector
from streamstop.learning.learner import Prediction, SegmentPrediction, StopLearner

MAX_WAITING = 256
"""Segments that may wait for a late label; beyond, the oldest is given up and counted."""


class Learner(Protocol):
    """What can be evaluated: it predicts bin by bin, then learns. `StopLearner` is one.

    `check_learner` tests another one.

    Attributes
    ----------
    class_names : tuple of str
        A name for each output.
    """

    @property
    def class_names(self) -> tuple[str, ...]:
        """A name for each output."""
        ...

    def begin_segment(self) -> None:
        """Start a segment: reset all state within a segment."""

    def reset_state(self) -> None:
        """Reset the state after a jump in time; keep what was learned."""

    def predict(self, x: Tensor, *, trace: bool) -> Prediction:
        """Process one bin and predict its class.

        Parameters
        ----------
        x : Tensor of shape (1, 2, height, width)
            The network's input.
        trace : bool
            Whether `learn` may follow.

        Returns
        -------
        Prediction
            Log-probabilities, (classes,).
        """
        ...

    def learn(self, label: int) -> None:
        """Learn the label of the bin that was just predicted."""

    def predict_segment(self) -> SegmentPrediction:
        """Predict the open segment from its bins so far; `lda` may be None."""
        ...

    def end_segment(self) -> float | None:
        """Close the segment; its mean loss, None if there is none."""

    def update_lda(self, rates: Vector, label: int) -> None:
        """Learn from the `rates` of a segment that `predict_segment` returned."""

    def state_bytes(self) -> int:
        """Bytes of state that is kept from bin to bin."""
        ...


@runtime_checkable
class LateLearner(Learner, Protocol):
    """A learner that labels teach which come when their segment is over. `StopLearner` is one."""

    @property
    def learns_late(self) -> bool:
        """Whether they do."""
        ...

    def await_label(self) -> int:
        """The label of the bin just predicted is to come; the number of its segment."""
        ...

    def learn_late(self, label: int, segment: int | None = None) -> bool:
        """Learn the label of that segment, whose bins awaited it; False if it was given up."""
        ...


@dataclass(frozen=True, slots=True)
class BinPrediction:
    """The headline prediction of one bin.

    Attributes
    ----------
    index
        The class.
    probabilities
        Of every class, shape (classes,).
    readout
        "linear" or "lda".
    """

    index: int
    probabilities: NDArray[np.float64]
    readout: str


@dataclass(frozen=True, slots=True)
class ScoredSegment:
    """One predicted segment, with what is needed to score and learn it when its label arrives.

    awaited : the numbers of the segment in the learner and in the frozen copy, whose bins await
        their label; None where they do not.
    """

    index: int
    segment: Segment
    arrival_us: int
    predictions: dict[str, int | None]
    rates: Vector
    frozen_rates: Vector
    counts: Vector
    bins: int
    events: int
    awaited: tuple[int | None, int | None] = (None, None)


class PrequentialProtocol:
    """Runs the learner, a frozen copy and the baselines through a labelled stream.

    Parameters
    ----------
    learner : Learner
        Predicts and learns.
    frozen : StopLearner or None
        The same initial network, whose hidden layers never learn; None: no such baselines. It makes
        three baselines:
        "initial_network", whose linear readout keeps its initial weights; and what the two readouts
        would score had STOP trained nothing below them, "frozen_features_linear" and
        "frozen_features_lda". A pretrained LDA, unchanged, is "initial_lda".
    classes : tuple of str
        Names of the classes, in index order.
    decide : {"auto", "linear", "lda"}
        The readout of the headline prediction; "auto": the more accurate one so far.
    delay_us : int or None
        From the beginning of a segment to its label; None: labels are immediate.
    baselines : mapping of str to Baseline, optional
        Further baselines by name, beside `make_baselines`.
    at_first : {"lda", "linear"}
        The readout that "auto" takes on a tie: "linear" where a pretrained linear readout is good
        from the start.
    learns : bool
        False: the learner only predicts, by its linear readout, or by a pretrained LDA if that is
        to make the headline prediction. An empty LDA readout then predicts nothing, nor do the
        baselines that would repeat the learner, "initial_network" and "initial_lda". The other
        baselines learn as usual.

    Attributes
    ----------
    decides : str
        `decide`; but "linear" where nothing learns, unless a pretrained LDA was asked for: "auto"
        compares scores, and that is learning.
    scores : StreamMetrics
        The scores so far.
    loss : float or None
        Mean loss of the last segment.
    prediction : BinPrediction or None
        Of the last bin.
    unscored : int
        Segments that were given up because too many waited for their label.
    unlearned : int
        Segments that taught the learner's network nothing though it learns from late labels: their
        label came after too many other segments, with the stream's end, or within the segment but
        after its last bin began.
    undelivered : list of ScoredSegment
        Segments that were scored when learning diverged.
    """

    def __init__(
        self,
        learner: Learner,
        frozen: StopLearner | None,
        classes: tuple[str, ...],
        decide: str = "auto",
        delay_us: int | None = None,
        *,
        baselines: Mapping[str, Baseline] | None = None,
        at_first: str = "lda",
        learns: bool = True,
    ) -> None:
        self.learner = learner
        self.frozen = frozen
        self.scores = StreamMetrics(classes)
        self.loss: float | None = None
        self.prediction: BinPrediction | None = None
        self.unscored = self.unlearned = 0
        self.undelivered: list[ScoredSegment] = []
        self._initial_readout = frozen.network.readout.clone() if frozen is not None else None
        self._initial_lda = None
        if frozen is not None and frozen.lda.counts.any():
            self._initial_lda = frozen.lda.coefficients()
        stays = decide == "lda" and self._initial_lda is not None
        self.decides = decide if learns or stays else "linear"
        self._at_first = at_first
        self._learns = learns
        self._delay_us = delay_us
        self.baselines = make_baselines(len(classes)) | dict(baselines or {})
        self._waiting: deque[ScoredSegment] = deque()
        self._segment: Segment | None = None
        self._index = -1
        late = delay_us is not None
        self._late = _late_of(learner) if learns and late else None
        self._late_frozen = _late_of(frozen) if late else None
        self._closed = False

    @property
    def learns_late(self) -> bool:
        """Whether labels teach the learner's network that come when their segment is over."""
        return self._late is not None

    @property
    def segment(self) -> Segment | None:
        """The open segment, or None."""
        return self._segment

    def begin_segment(self, segment: Segment) -> None:
        """Open a segment: membrane potentials and traces are reset."""
        self._segment = segment
        self._index += 1
        self._counts: NDArray[np.int64] | None = None
        self._bins = self._events = 0
        self._frozen_votes = np.zeros(len(self.scores.classes))
        self._predicted = self._taught = False
        self._awaited: tuple[int | None, int | None] = (None, None)
        self.learner.begin_segment()
        if self.frozen is not None and self._initial_readout is not None:
            self.frozen.begin_segment()
            self._initial_readout.reset_state(1)

    def step(
        self, x: Tensor, counts: NDArray[np.int32], clock_us: int, events: int | None = None
    ) -> tuple[int, list[ScoredSegment]]:
        """One bin of the open segment: predict, score, then learn.

        Parameters
        ----------
        x : Tensor of shape (1, 2, height, width)
            The network's input.
        counts : ndarray of shape (2, height, width)
            Event counts of the bin.
        clock_us : int
            Start of the bin, in the time of the labels.
        events : int, optional
            Events in the bin, where that is not the sum of `counts`.

        Returns
        -------
        predicted : int
            The class predicted for this bin.
        scored : list of ScoredSegment
            Segments whose labels arrived.
        """
        segment = self._segment
        assert segment is not None, "begin_segment() comes first"
        scored = self._score_arrived(clock_us)
        immediate = self._delay_us is None
        label_is_here = immediate or clock_us >= segment.start_us + (self._delay_us or 0)
        if label_is_here and not immediate and not self._predicted and self._bins:
            scored += self._predict_open_segment(clock_us)
        # Traces need no label: they run from the start of a segment whose label may come in time.
        in_time = immediate or (self._delay_us or 0) < segment.end_us - segment.start_us
        trace = (in_time and self._learns) or self._late is not None
        prediction = self.learner.predict(x, trace=trace)
        if self.frozen is not None and self._initial_readout is not None:
            self.frozen.predict(x, trace=in_time or self._late_frozen is not None)
            # Features of the inference network: dropout may silence some in the one that learns.
            logits = self._initial_readout.forward(self.frozen.inference_network.features, "none")
            self._frozen_votes += functional.log_softmax(logits, 1)[0].double().numpy()
        total = counts.astype(np.int64)
        self._counts = total if self._counts is None else self._counts + total
        self._events += int(total.sum()) if events is None else events
        self._bins += 1
        predicted = self.current_prediction(prediction.log_probs).index
        if immediate or not label_is_here:
            self.scores.update_bin(segment.label, predicted)
        if label_is_here:
            if self._learns:
                self.learner.learn(segment.label)
            if self.frozen is not None:
                self.frozen.learn(segment.label)
            self._taught = True
        elif not in_time:
            late, frozen = self._late, self._late_frozen
            self._awaited = (
                None if late is None else late.await_label(),
                None if frozen is None else frozen.await_label(),
            )
        return predicted, scored

    def current_prediction(self, linear: NDArray[np.float64]) -> BinPrediction:
        """The prediction now: by the linear readout, or by LDA from the rates so far.

        Parameters
        ----------
        linear : ndarray of shape (classes,)
            Log-probabilities of the linear readout.
        """
        readout, log_probs = "linear", linear
        if self.active_readout() != "linear":
            scores = self.learner.predict_segment().lda
            if scores is not None:
                readout, log_probs = "lda", scores - scores.max()
        probabilities = np.exp(log_probs)
        probabilities /= probabilities.sum()
        self.prediction = BinPrediction(int(log_probs.argmax()), probabilities, readout)
        return self.prediction

    def close_segment_at(self, end_us: int) -> None:
        """Give the open segment its end, where it was opened without one."""
        assert self._segment is not None
        self._segment = self._segment._replace(end_us=end_us)

    def end_segment(self, now_us: int) -> list[ScoredSegment]:
        """Close the open segment; returns the segments that were scored.

        Raises
        ------
        DivergedError
            Learning diverged; the scored segments are in `undelivered`.
        """
        scored: list[ScoredSegment] = []
        if self._bins and not self._predicted:
            scored = self._predict_open_segment(now_us)
        if self._late is not None and self._bins and not self._taught and self._awaited[0] is None:
            self.unlearned += 1  # it ended before a bin that its label in time was for
        self._segment = None
        self.undelivered = scored
        self.loss = self.learner.end_segment()
        if self.frozen is not None:
            self.frozen.end_segment()
        self.undelivered = []
        return scored

    def close(self, now_us: int) -> list[ScoredSegment]:
        """End the stream; returns the last scored segments. Labels not yet due are given up, and
        those that come now move no weights, which nobody is left to predict with.
        """
        self._closed = True
        scored = self._score_arrived(now_us)
        self.unscored += len(self._waiting)
        self._waiting.clear()
        return scored

    def score_arrived(self, now_us: int) -> list[ScoredSegment]:
        """Between segments: score and learn the segments whose label has arrived by now.

        Raises
        ------
        DivergedError
            Learning diverged; the scored segments are in `undelivered`.
        """
        return self._score_arrived(now_us)

    def active_readout(self) -> str:
        """The readout that makes the headline prediction now, "linear" or "lda"."""
        if self.decides != "auto":
            return self.decides
        tallies = self.scores.tallies
        if tallies and "lda" not in tallies:
            return "linear"
        lead = tallies["linear"].hits - tallies["lda"].hits if tallies else 0
        if not lead:
            return self._at_first
        return "linear" if lead > 0 else "lda"

    def _predict_open_segment(self, now_us: int) -> list[ScoredSegment]:
        """Every prediction for the open segment is made; after that its label may be used."""
        segment = self._segment
        assert segment is not None and self._counts is not None
        own = self.learner.predict_segment()
        frozen = self.frozen.predict_segment() if self.frozen is not None else None
        x = log_counts(self._counts)
        arrival_us = now_us if self._delay_us is None else segment.start_us + self._delay_us
        predictions: dict[str, int | None] = {
            "linear": int(own.linear.argmax()),
        }
        if own.lda is not None:
            predictions["lda"] = int(own.lda.argmax())
        if frozen is not None and frozen.lda is not None:
            predictions["initial_network"] = int(self._frozen_votes.argmax())
            predictions["frozen_features_linear"] = int(frozen.linear.argmax())
            predictions["frozen_features_lda"] = int(frozen.lda.argmax())
        if frozen is not None and self._learns and self._initial_lda is not None:
            weight, bias = self._initial_lda
            predictions["initial_lda"] = int((weight @ frozen.rates + bias).argmax())
        if not self._learns:
            predictions.pop("initial_network", None)
            if self._initial_lda is None:
                predictions.pop("lda", None)
        predictions |= {name: one.predict(x) for name, one in self.baselines.items()}
        readout = self.active_readout()
        predictions["headline"] = predictions[readout if readout in predictions else "linear"]
        self._predicted = True
        if len(self._waiting) == MAX_WAITING:
            self._waiting.popleft()
            self.unscored += 1
        self._waiting.append(
            ScoredSegment(
                self._index,
                segment,
                arrival_us,
                predictions,
                own.rates,
                own.rates[:0] if frozen is None else frozen.rates,
                x,
                self._bins,
                self._events,
                self._awaited,
            )
        )
        return self._score_arrived(now_us)

    def _score_arrived(self, now_us: int) -> list[ScoredSegment]:
        """Score and learn the segments whose label has arrived by now."""
        scored: list[ScoredSegment] = []
        self.undelivered = scored
        while self._waiting and self._waiting[0].arrival_us <= now_us:
            one = self._waiting.popleft()
            label = one.segment.label
            self.scores.update_segment(label, one.predictions)
            if self._learns:
                self.learner.update_lda(one.rates, label)
            if self.frozen is not None:
                self.frozen.update_lda(one.frozen_rates, label)
            for baseline in self.baselines.values():
                baseline.learn(one.counts, label)
            scored.append(one)
            self._learn_late(*one.awaited, label)
        self.undelivered = []
        return scored

    def _learn_late(self, number: int | None, of_frozen: int | None, label: int) -> None:
        """The label is here of a segment whose bins awaited it, if they did."""
        late, frozen = self._late, self._late_frozen
        if late is not None and number is not None:
            self.unlearned += self._closed or not late.learn_late(label, number)
        if frozen is not None and of_frozen is not None and not self._closed:
            frozen.learn_late(label, of_frozen)


def _late_of(learner: Learner | None) -> LateLearner | None:
    """The learner, if late labels teach it."""
    return learner if isinstance(learner, LateLearner) and learner.learns_late else None
