"""The prequential evaluation of one stream: which segment a bin belongs to, and what follows."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch import Tensor

from streamstop.errors import UsageError
from streamstop.evaluation.baselines import Baseline
from streamstop.evaluation.drift import EVENT_RATE, FIRING_RATE, DriftMonitor, DriftResponse
from streamstop.evaluation.held_out import HeldOutEvaluation
from streamstop.evaluation.prequential import Learner, PrequentialProtocol, ScoredSegment
from streamstop.events.binning import Bin
from streamstop.events.labels import LabelTrack, Segment
from streamstop.learning.learner import StopLearner
from streamstop.scenarios.scenario import Domain, Schedule, domain_at

FAR_US = 1 << 62
"""End of a segment that has none yet."""


class SegmentListener(Protocol):
    """What is informed of segments as they are scored and closed."""

    def scored(self, segments: Sequence[ScoredSegment]) -> None:
        """These segments were scored, in this order."""

    def closed(self, number: int, end_us: int) -> None:
        """The stream has left its `number`-th segment, counted from 0, at `end_us`."""


class PrequentialEvaluator:
    """Prequential (test-then-train) evaluation of a learner on a stream of bins.

    For each bin: find its segment, predict, score what can be scored, and only then learn. A
    segment is scored on predictions made by weights that its own label has not touched.

    Parameters
    ----------
    learner : Learner
        Predicts and learns; a `StopLearner` or one of your own.
    labels : LabelTrack or None
        Of the stream; None: the learner only predicts. One without segments, whose `segments` is a
        list, is filled by `teach`.
    untrained : StopLearner or None
        The same network with nothing trained below its readouts, the comparison that counts. By
        default a `StopLearner`'s `untrained_copy`; a learner of your own has none.
    baselines : mapping of str to Baseline, optional
        Baselines of your own, beside those that every evaluation has.
    decision : {"auto", "linear", "lda"}
        The readout whose prediction is the headline; "auto": the one with the better record so far.
    delay_us : int or None
        Labels arrive so long after their segment began; None: right after each bin.
    at_first : {"lda", "linear"}
        What "auto" takes between equals.
    learns : bool
        False: the learner only predicts.
    transform : callable, optional
        A bin as the learner's input, (1, 2, height, width); log(1 + count) in float32 by default.
    schedule : Schedule, optional
        Tasks or domains of the stream.
    domain_from : {"lighting", "user", "folder", "recording"}
        How domains follow from names of recordings, where the schedule has none.
    reinitialize : callable or None
        Called where a new task begins and the learner is to forget the ones before.
    memory_us : int
        Between segments the prediction follows the last bins, with this time constant; 0: all bins
        since the last segment began.
    taught_us : int
        What is taught without an end is cut into segments of this length; 0: one segment.

    Attributes
    ----------
    response : DriftResponse or None
        What is done at a drift alarm.
    held_out : HeldOutEvaluation or None
        Tests on held-out segments.
    listener : SegmentListener or None
        Is informed of segments.
    around_step : callable
        Makes the context in which a bin passes through the network, to measure it.

    Raises
    ------
    UsageError
        If the labels name a class that the learner has no output for.

    Examples
    --------
    >>> import streamstop as ss
    >>> events = ss.make_events([5, 15, 25, 35], [0, 3, 0, 3], [0, 3, 0, 3], [1, 0, 1, 0])
    >>> labels = ss.LabelTrack(("left", "right"), [ss.Segment(0, 20, 0), ss.Segment(20, 40, 1)])
    >>> learner = ss.build_learner(labels.classes, input_shape=(2, 4, 4))
    >>> evaluator = ss.PrequentialEvaluator(learner, labels)
    >>> grid = {"bin_us": 10, "height": 4, "width": 4, "origin_us": 0}
    >>> for one in ss.iter_bins(events, ss.SensorSize(4, 4), **grid):
    ...     _ = evaluator.step(one)
    >>> evaluator.close()
    >>> evaluator.segments, sorted(evaluator.accuracies())[:3]
    (2, ['frozen_features_lda', 'frozen_features_linear', 'headline'])
    """

    def __init__(
        self,
        learner: Learner,
        labels: LabelTrack | None,
        *,
        untrained: StopLearner | None = None,
        baselines: Mapping[str, Baseline] | None = None,
        decision: str = "auto",
        delay_us: int | None = None,
        at_first: str = "lda",
        learns: bool = True,
        transform: Callable[[Bin], Tensor] | None = None,
        schedule: Schedule | None = None,
        domain_from: Domain = "lighting",
        reinitialize: Callable[[], None] | None = None,
        memory_us: int = 0,
        taught_us: int = 0,
    ) -> None:
        if untrained is None and isinstance(learner, StopLearner):
            untrained = learner.untrained_copy()
        self.test = PrequentialProtocol(
            learner,
            untrained,
            learner.class_names,
            decision,
            delay_us,
            baselines=baselines,
            at_first=at_first,
            learns=learns,
        )
        self.labels = labels
        self.response: DriftResponse | None = None
        self.held_out: HeldOutEvaluation | None = None
        self.drift = DriftMonitor()
        self.listener: SegmentListener | None = None
        self.around_step: Callable[[Bin], AbstractContextManager[None]] = lambda _: nullcontext()
        self.bins = 0
        self.segments = 0
        self.prediction = ""
        self.predictions: Counter[str] = Counter()
        self.end_us = self.clock_us = 0
        self._transform = transform or log_input
        self._schedule = schedule or Schedule((), ())
        self._domain_from: Domain = domain_from
        self._reinitialize = reinitialize
        self._classes = learner.class_names
        self.outputs = output_indices(labels.classes if labels else (), self._classes)
        self._track: Sequence[Segment] = labels.segments if labels is not None else ()
        self._begun = -1
        self._ended = 0
        self._teachable = isinstance(self._track, list) and not self._track
        self._taught: int | None = None
        self._memory_us, self._taught_us = memory_us, taught_us

    def begin(self) -> None:
        """Before the first bin: test on held-out segments, if there are any."""
        if self.held_out is not None:
            self.held_out.evaluate_before()

    def step(self, one: Bin) -> str:
        """Take in one bin: predict, score what can be scored, learn.

        Parameters
        ----------
        one : Bin
            The next bin of the stream.

        Returns
        -------
        str
            The class predicted for this bin.
        """
        if one.reset:
            if self.test.segment is not None:
                self.end_segment()
                self._taught = None  # nobody said what comes after the gap
            self.test.learner.reset_state()
        width_us = one.end_us - one.start_us
        self.end_us, self.clock_us = one.end_us, one.clock_us + width_us
        self._find_segment(one)
        x = self._transform(one)
        with self.around_step(one):
            if self.test.segment is not None:
                index, scored = self.test.step(x, one.counts, one.clock_us, one.events)
            else:
                learner = self.test.learner
                if self._memory_us and isinstance(learner, StopLearner):
                    learner.fade(math.exp(-width_us / self._memory_us))
                prediction = learner.predict(x, trace=False)
                index, scored = self.test.current_prediction(prediction.log_probs).index, []
        self.bins += 1
        self._score(scored)
        self.prediction = self._classes[index]
        self.predictions[self.prediction] += 1
        segment = self.test.segment
        if segment is not None and self.clock_us + width_us > segment.end_us:
            self.end_segment()
        elif segment is not None and self._is_full(segment):
            self.end_segment()  # the next bin begins another one of the same class
        return self.prediction

    def teach(self, name: str) -> None:
        """From the next bin on the stream shows this class; "" ends it.

        The bins until the end are a segment, predicted by weights from before its beginning, and
        is appended to the label track.

        Parameters
        ----------
        name : str
            One of the learner's classes, or "".

        Raises
        ------
        UsageError
            If there is no such class, or the evaluation has a label track of its own.
        DivergedError
            If learning diverged in the segment that ends here.
        """
        if not self.teachable:
            raise UsageError("the stream has labels of its own; nothing else can be taught in it")
        (index,) = output_indices([name], self._classes) if name else (None,)
        self.end_segment()
        self._taught = index

    @property
    def teachable(self) -> bool:
        """Whether `teach` may be called: the label track was empty, and is a list."""
        return self._teachable

    def past_segments(self, most: int) -> list[Segment]:
        """The last segments that have begun, at most so many; labels are indices of the track."""
        begun = self._begun + 1
        return list(self._track[max(begun - most, 0) : begun])

    @property
    def class_names(self) -> tuple[str, ...]:
        """A name for each output."""
        return self._classes

    @property
    def taught(self) -> str:
        """The class that is being taught, "" for none."""
        return "" if self._taught is None else self._classes[self._taught]

    def rename_class(self, old: str, new: str) -> None:
        """Give an output another name.

        Raises
        ------
        UsageError
            If there is no output of the old name, or one of the new.
        """
        if old not in self._classes or new in self._classes:
            raise UsageError(f"class {old!r} cannot be called {new!r}")
        names = tuple(new if one == old else one for one in self._classes)
        self._classes = self.test.scores.classes = names
        if isinstance(self.test.learner, StopLearner):
            self.test.learner.class_names = names
        self.predictions[new] = self.predictions.pop(old, 0)

    def accuracy(self) -> dict[str, float | None]:
        """Scores of the headline prediction so far: accuracy, balanced accuracy, kappas.

        Empty before the first scored segment.
        """
        scores = self.test.scores
        return scores.accuracy() if scores.tallies else {}

    def accuracies(self) -> dict[str, float | None]:
        """Accuracy so far, over all scored segments: the headline, each readout, each baseline."""
        return {name: one.accuracy for name, one in self.test.scores.tallies.items()}

    def close(self) -> None:
        """The stream is over: close the open segment; labels still on their way are given up."""
        self.end_segment()
        self.finish()

    def end_segment(self) -> None:
        """Close the open segment, if there is one; raises DivergedError."""
        if self.test.segment is None:
            return
        if self._taught is not None:
            self.test.close_segment_at(self.clock_us)
            assert isinstance(self._track, list)
            self._track.append(self.test.segment)
            self._begun += 1
        self._score(self.test.end_segment(self.clock_us))
        if self.listener is not None:
            self.listener.closed(self._ended, self.end_us)
        self._ended += 1

    def diverged(self) -> None:
        """The learner has diverged: score what was decided before."""
        self._score(self.test.undelivered)

    def finish(self, *, diverged: bool = False) -> None:
        """The stream is over: labels on their way are given up, the last task is tested."""
        self._score(self.test.close(self.clock_us))
        if not diverged and self.held_out is not None:
            self.held_out.finish(self._begun)

    def _find_segment(self, one: Bin) -> None:
        """Open the segment that holds the whole bin, unless it or a later one was open before."""
        if self.test.segment is not None:
            return
        if self.test.learns_late:  # before a segment opens, in which weights do not move
            self._score(self.test.score_arrived(one.clock_us))
        if self._taught is not None:
            self.test.begin_segment(Segment(one.clock_us, FAR_US, self._taught))
            return
        i = bisect_right(self._track, one.clock_us, key=lambda s: s.start_us) - 1
        if i > self._begun and self.clock_us <= self._track[i].end_us:
            if self.held_out is not None:
                self.held_out.advance_to(i)
            if i and self._reinitialize is not None and self._is_new_task(i):
                self._reinitialize()
            segment = self._track[i]
            self.test.begin_segment(segment._replace(label=self.outputs[segment.label]))
            self._begun = i

    def _is_full(self, segment: Segment) -> bool:
        length_us = self.clock_us - segment.start_us
        return self._taught is not None and 0 < self._taught_us <= length_us

    def _is_new_task(self, segment: int) -> bool:
        began = max(self._begun, 0)
        return any(began < one.first <= segment for one in self._schedule.spans)

    def _score(self, segments: Sequence[ScoredSegment]) -> None:
        self.segments += len(segments)
        for v in segments:
            nth = bisect_right(self._track, v.segment.start_us, key=lambda s: s.start_us) - 1
            by = self._domain_from
            domain = domain_at(self._schedule, by, nth, v.segment.recording)
            if domain is not None:
                self.test.scores.domains.add(domain, nth, v.segment.label, v.predictions)
            rates = {EVENT_RATE: math.log1p(v.events / max(v.bins, 1))}
            if len(v.rates):
                rates[FIRING_RATE] = float(v.rates.mean())
            wrong = v.predictions["headline"] != v.segment.label
            alarms = self.drift.update(v.index, wrong, rates)
            if self.response is not None:
                self.response.on_alarms(alarms)
        if segments and self.listener is not None:
            self.listener.scored(segments)


def log_input(one: Bin) -> Tensor:
    """log(1 + count) of a bin, float32, shape (1, 2, height, width)."""
    return torch.log1p(torch.from_numpy(one.counts)[None].to(torch.float32))


def output_indices(labels: Sequence[str], outputs: Sequence[str]) -> list[int]:
    """The output of each class that the labels name.

    >>> output_indices(["b"], ["a", "b"])
    [1]

    Raises UsageError where there is none of that name.
    """
    missing = [name for name in labels if name not in outputs]
    if missing:
        raise UsageError(
            f"the labels name {', '.join(missing[:8])}, and the learner's outputs are "
            f"{', '.join(outputs[:8])}; build it with the classes of the labels"
        )
    return [list(outputs).index(name) for name in labels]
