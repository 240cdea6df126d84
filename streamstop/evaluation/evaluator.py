"""The prequential evaluation of one stream: which segment a bin belongs to, and what follows."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from torch import Tensor

from streamstop.config.sections import ScenarioConfig
from streamstop.evaluation.drift import EVENT_RATE, FIRING_RATE, DriftMonitor, DriftResponse
from streamstop.evaluation.held_out import HeldOutEvaluation
from streamstop.evaluation.prequential import PrequentialProtocol, ScoredSegment
from streamstop.events.binning import Bin
from streamstop.events.labels import LabelTrack, Segment
from streamstop.scenarios.scenario import domain_at
from streamstop.scenarios.stream import ScenarioStream


class SegmentListener(Protocol):
    """What is told of segments as they are scored and closed."""

    def scored(self, verdicts: Sequence[ScoredSegment]) -> None:
        """These segments were scored, in this order."""

    def closed(self, number: int, end_us: int) -> None:
        """The stream has left its `number`-th segment, counted from 0, at `end_us`."""


class PrequentialEvaluator:
    """Leads a learner through a stream: opens and closes segments, watches for drift.

    Parameters
    ----------
    test : PrequentialProtocol
        The learner, the untrained network beside it, and the baselines.
    labels : LabelTrack or None
        Of the stream; None: the learner only predicts.
    world : ScenarioStream
        Spans and domains of the stream.
    scenario : ScenarioConfig
        How domains are told from names.
    examination : HeldOutEvaluation
        Tests on held-out segments.
    response : DriftResponse
        What is done at an alarm.
    encode : callable
        A bin as the network's input, (1, 2, height, width).
    begin_anew : callable or None
        Called where a new task begins and the learner is to forget the ones before.

    Attributes
    ----------
    listener : SegmentListener or None
        Is told of segments.
    around_step : callable
        Makes the context in which a bin passes through the network, to measure it.
    """

    def __init__(
        self,
        test: PrequentialProtocol,
        labels: LabelTrack | None,
        world: ScenarioStream,
        scenario: ScenarioConfig,
        examination: HeldOutEvaluation,
        response: DriftResponse,
        encode: Callable[[Bin], Tensor],
        begin_anew: Callable[[], None] | None,
    ) -> None:
        self.test = test
        self.labels = labels
        self.examination = examination
        self.response = response
        self.drift = DriftMonitor()
        self.listener: SegmentListener | None = None
        self.around_step: Callable[[Bin], AbstractContextManager[None]] = lambda _: nullcontext()
        self.bins = 0
        self.segments = 0
        self.said = ""
        self.predictions: Counter[str] = Counter()
        self.end_us = self.clock_us = 0
        self._world = world
        self._scenario = scenario
        self._encode = encode
        self._begin_anew = begin_anew
        self._classes = test.scores.classes
        self._outputs = [self._classes.index(name) for name in (labels.classes if labels else ())]
        self._track: Sequence[Segment] = labels.segments if labels is not None else ()
        self._begun = -1
        self._ended = 0

    def begin(self) -> None:
        """Before the first bin."""
        self.examination.evaluate_before()

    def bin(self, one: Bin) -> None:
        """Take in one bin: predict, score what can be scored, learn."""
        if one.reset:
            self.end_segment()
            self.test.learner.reset_state()
        width_us = one.end_us - one.start_us
        self.end_us, self.clock_us = one.end_us, one.clock_us + width_us
        self._find_segment(one)
        x = self._encode(one)
        with self.around_step(one):
            if self.test.segment is not None:
                said, scored = self.test.step(x, one.counts, one.clock_us, one.events)
            else:
                prediction = self.test.learner.predict(x, trace=False)
                said, scored = self.test.current_prediction(prediction.log_probs), []
        self.bins += 1
        self._score(scored)
        self.said = self._classes[said]
        self.predictions[self.said] += 1
        segment = self.test.segment
        if segment is not None and self.clock_us + width_us > segment.end_us:
            self.end_segment()

    def end_segment(self) -> None:
        """Close the open segment, if there is one; raises DivergedError."""
        if self.test.segment is None:
            return
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
        if not diverged:
            self.examination.finish(self._begun)

    def _find_segment(self, one: Bin) -> None:
        """Open the segment that holds the whole bin, unless it or a later one was open before."""
        if self.test.segment is not None:
            return
        i = bisect_right(self._track, one.clock_us, key=lambda s: s.start_us) - 1
        if i > self._begun and self.clock_us <= self._track[i].end_us:
            self.examination.advance_to(i)
            if i and self._begin_anew is not None and self._is_new_task(i):
                self._begin_anew()
            segment = self._track[i]
            self.test.begin_segment(segment._replace(label=self._outputs[segment.label]))
            self._begun = i

    def _is_new_task(self, segment: int) -> bool:
        began = max(self._begun, 0)
        return any(began < one.first <= segment for one in self._world.schedule.spans)

    def _score(self, verdicts: Sequence[ScoredSegment]) -> None:
        self.segments += len(verdicts)
        for v in verdicts:
            nth = bisect_right(self._track, v.segment.start_us, key=lambda s: s.start_us) - 1
            by = self._scenario.domain_from
            domain = domain_at(self._world.schedule, by, nth, v.segment.recording)
            if domain is not None:
                self.test.scores.domains.add(domain, nth, v.segment.label, v.predictions)
            rates = {EVENT_RATE: math.log1p(v.events / max(v.bins, 1))}
            if len(v.rates):
                rates[FIRING_RATE] = float(v.rates.mean())
            wrong = v.predictions["headline"] != v.segment.label
            self.response.on_alarms(self.drift.update(v.index, wrong, rates))
        if verdicts and self.listener is not None:
            self.listener.scored(verdicts)
