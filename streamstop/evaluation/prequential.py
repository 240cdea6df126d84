"""Test, then train: the order in which predictions, labels, scores and updates may happen.

A segment is scored only on predictions by weights that its own label has not touched; every rival
answers before it learns. Labels arrive "concurrent" (each bin's label right after the bin was
predicted; the segment is decided at its end, by weights from before its beginning) or "delayed"
(`delay_us` after the segment began: it is scored then, on what was predicted until then, and only
what follows is learned; a label later than its segment's end still teaches those that keep the
segment's features: the discriminant readout and the baselines).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

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
"""Decided segments that may wait for a late label; the oldest is given up, and counted, beyond."""


class Learner(Protocol):
    """What can be evaluated: it predicts bin by bin, then learns. `StopLearner` is one.

    `check_learner` tests another one.

    Attributes
    ----------
    class_names : tuple of str
        A name for each output.
    """

    @property
    def class_names(self) -> tuple[str, ...]: ...

    def begin_segment(self) -> None:
        """Start an unrelated piece of stream."""

    def reset_state(self) -> None:
        """Time has jumped: forget the state of the moment, nothing that was learned."""

    def predict(self, x: Tensor, *, trace: bool) -> Prediction:
        """Take in one bin, x of shape (1, 2, height, width); log-probabilities, (classes,).

        trace : whether `learn` may follow.
        """
        ...

    def learn(self, label: int) -> None:
        """Learn the label of the bin just predicted."""

    def predict_segment(self) -> SegmentPrediction:
        """What was seen since the segment began; `lda` may be None."""
        ...

    def end_segment(self) -> float | None:
        """Close the segment; its mean loss, None if there is none."""

    def update_lda(self, rates: Vector, label: int) -> None:
        """Learn from the `rates` of a segment that `predict_segment` returned."""

    def state_bytes(self) -> int:
        """Bytes that it carries through the stream."""
        ...


@dataclass(frozen=True, slots=True)
class ScoredSegment:
    """One decided segment, and all that is needed to score and learn it when its label arrives."""

    index: int
    segment: Segment
    arrival_us: int
    predictions: dict[str, int | None]
    rates: Vector
    frozen_rates: Vector
    counts: Vector
    bins: int
    events: int


class PrequentialProtocol:
    """The learner, its frozen twin and the baselines, led through a labelled stream.

    Parameters
    ----------
    learner : predicts and learns.
    frozen : the same initial network, its hidden layers never to learn (`learn=""`). It makes three
        baselines: "initial_network", whose linear readout keeps its initial weights; and what the
        two readouts would score had STOP trained nothing below them, "frozen_features_linear" and
        "frozen_features_lda". A pretrained LDA, unchanged, is "initial_lda".
    decide : "linear", "lda", or "auto": the readout with the better record so far.
    at_first : the readout that "auto" takes between equals: "lda", or "linear" where the network is
        pretrained and its linear readout knows something from the start.
    learns : False leaves the learner as it is, whatever labels come: it only predicts, by its
        linear readout, or by a trained discriminant if that is to decide. An LDA readout that
        knows nothing, and those that would repeat it, "initial_network" and "initial_lda", say
        nothing then. The other rivals learn as ever.

    Attributes
    ----------
    decides : `decide`; but "linear" where nothing learns, unless a trained discriminant was asked
        to: "auto" goes by a record, and keeping one is learning.
    """

    __test__ = False  # not a test case, whatever its name says

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
        self.unscored = 0
        self.undelivered: list[ScoredSegment] = []
        self._as_drawn = frozen.network.readout.clone() if frozen is not None else None
        self._lda_as_trained = None
        if frozen is not None and frozen.lda.counts.any():
            self._lda_as_trained = frozen.lda.coefficients()
        stays = decide == "lda" and self._lda_as_trained is not None
        self.decides = decide if learns or stays else "linear"
        self._at_first = at_first
        self._learns = learns
        self._delay_us = delay_us
        self.baselines = make_baselines(len(classes)) | dict(baselines or {})
        self._waiting: deque[ScoredSegment] = deque()
        self._segment: Segment | None = None
        self._index = -1

    @property
    def segment(self) -> Segment | None:
        """The open segment."""
        return self._segment

    def begin_segment(self, segment: Segment) -> None:
        """Open a segment: neurons at rest."""
        self._segment = segment
        self._index += 1
        self._counts: NDArray[np.int64] | None = None
        self._bins = self._events = 0
        self._frozen_votes = np.zeros(len(self.scores.classes))
        self._decided = False
        self.learner.begin_segment()
        if self.frozen is not None and self._as_drawn is not None:
            self.frozen.begin_segment()
            self._as_drawn.reset_state(1)

    def step(
        self, x: Tensor, counts: NDArray[np.int32], clock_us: int, events: int | None = None
    ) -> tuple[int, list[ScoredSegment]]:
        """One bin of the open segment: predict, score, then learn.

        x : encoded counts, (1, 2, height, width).  counts : (2, height, width).
        clock_us : where the bin begins, in the time that labels speak of.
        events : in the bin, where that is not the sum of counts.
        Returns the class predicted for this bin, and the segments scored meanwhile.
        """
        segment = self._segment
        assert segment is not None, "begin_segment() comes first"
        scored = self._settle(clock_us)
        concurrent = self._delay_us is None
        label_is_here = concurrent or clock_us >= segment.start_us + (self._delay_us or 0)
        if label_is_here and not concurrent and not self._decided and self._bins:
            scored += self._close_decision(clock_us)
        # Traces know no label: they run from the segment's beginning where one may come in time.
        in_time = concurrent or (self._delay_us or 0) < segment.end_us - segment.start_us
        prediction = self.learner.predict(x, trace=in_time and self._learns)
        if self.frozen is not None and self._as_drawn is not None:
            self.frozen.predict(x, trace=in_time)
            # Features of the inference network: where it learns dropout may silence some.
            logits = self._as_drawn.forward(self.frozen.inference_network.features, "none")
            self._frozen_votes += functional.log_softmax(logits, 1)[0].double().numpy()
        total = counts.astype(np.int64)
        self._counts = total if self._counts is None else self._counts + total
        self._events += int(total.sum()) if events is None else events
        self._bins += 1
        index = self.current_prediction(prediction.log_probs)
        if concurrent or not label_is_here:
            self.scores.update_bin(segment.label, index)
        if label_is_here:
            if self._learns:
                self.learner.learn(segment.label)
            if self.frozen is not None:
                self.frozen.learn(segment.label)
        return index, scored

    def current_prediction(self, linear: NDArray[np.float64]) -> int:
        """The class of the moment: of this bin by the linear readout, or of the rates so far."""
        if self.active_readout() == "linear":
            return int(linear.argmax())
        prediction = self.learner.predict_segment()
        return int(linear.argmax() if prediction.lda is None else prediction.lda.argmax())

    def end_segment(self, now_us: int) -> list[ScoredSegment]:
        """Close the open segment; returns the segments scored by it.

        Raises DivergedError, with those segments left in `undelivered`.
        """
        scored: list[ScoredSegment] = []
        if self._bins and not self._decided:
            scored = self._close_decision(now_us)
        self._segment = None
        self.undelivered = scored
        self.loss = self.learner.end_segment()
        if self.frozen is not None:
            self.frozen.end_segment()
        self.undelivered = []
        return scored

    def close(self, now_us: int) -> list[ScoredSegment]:
        """The stream is over: labels still on their way never arrived."""
        scored = self._settle(now_us)
        self.unscored += len(self._waiting)
        self._waiting.clear()
        return scored

    def active_readout(self) -> str:
        """The readout that decides now."""
        if self.decides != "auto":
            return self.decides
        tallies = self.scores.tallies
        if tallies and "lda" not in tallies:
            return "linear"
        lead = tallies["linear"].hits - tallies["lda"].hits if tallies else 0
        if not lead:
            return self._at_first
        return "linear" if lead > 0 else "lda"

    def _close_decision(self, now_us: int) -> list[ScoredSegment]:
        """Every rival answers for the open segment; then its label may be looked at."""
        segment = self._segment
        assert segment is not None and self._counts is not None
        decision = self.learner.predict_segment()
        frozen = self.frozen.predict_segment() if self.frozen is not None else None
        x = log_counts(self._counts)
        arrival_us = now_us if self._delay_us is None else segment.start_us + self._delay_us
        predictions: dict[str, int | None] = {
            "linear": int(decision.linear.argmax()),
        }
        if decision.lda is not None:
            predictions["lda"] = int(decision.lda.argmax())
        if frozen is not None and frozen.lda is not None:
            predictions["initial_network"] = int(self._frozen_votes.argmax())
            predictions["frozen_features_linear"] = int(frozen.linear.argmax())
            predictions["frozen_features_lda"] = int(frozen.lda.argmax())
        if frozen is not None and self._learns and self._lda_as_trained is not None:
            weight, bias = self._lda_as_trained
            predictions["initial_lda"] = int((weight @ frozen.rates + bias).argmax())
        if not self._learns:
            predictions.pop("initial_network", None)
            if self._lda_as_trained is None:
                predictions.pop("lda", None)
        predictions |= {name: one.predict(x) for name, one in self.baselines.items()}
        readout = self.active_readout()
        predictions["headline"] = predictions[readout if readout in predictions else "linear"]
        self._decided = True
        if len(self._waiting) == MAX_WAITING:
            self._waiting.popleft()
            self.unscored += 1
        self._waiting.append(
            ScoredSegment(
                self._index,
                segment,
                arrival_us,
                predictions,
                decision.rates,
                decision.rates[:0] if frozen is None else frozen.rates,
                x,
                self._bins,
                self._events,
            )
        )
        return self._settle(now_us)

    def _settle(self, now_us: int) -> list[ScoredSegment]:
        """Score and learn the segments whose label has arrived by now."""
        scored = []
        while self._waiting and self._waiting[0].arrival_us <= now_us:
            verdict = self._waiting.popleft()
            label = verdict.segment.label
            self.scores.update_segment(label, verdict.predictions)
            if self._learns:
                self.learner.update_lda(verdict.rates, label)
            if self.frozen is not None:
                self.frozen.update_lda(verdict.frozen_rates, label)
            for one in self.baselines.values():
                one.learn(verdict.counts, label)
            scored.append(verdict)
        return scored
