"""When a run tests its learner on what is held out: before the stream, and after each span of it.

It promises that a test changes nothing in the run, and that each span is tested once, as soon as
the stream goes on to another or ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from streamstop.evaluation.continual import AccuracyMatrix, HeldOut
from streamstop.evaluation.prequential import PrequentialProtocol
from streamstop.events.binning import Bin, Binner
from streamstop.learning.learner import StopLearner
from streamstop.scenarios.stream import ScenarioStream
from streamstop.sources.base import Source


class HeldOutEvaluation:
    """The tests of one run.

    Parameters
    ----------
    world : says what is held out, and after which segments there is a test.
    test : the learner, its frozen twin and its rivals.
    binner, encode, outputs : see `continual.HeldOut`.
    """

    def __init__(
        self,
        world: ScenarioStream,
        test: PrequentialProtocol,
        binner: Callable[[Source], Binner],
        encode: Callable[[Bin], Tensor],
        outputs: Sequence[int],
    ) -> None:
        self.found = AccuracyMatrix(world.tasks)
        self._test = test
        number = {name: j for j, name in enumerate(world.tasks)}
        self._held = [
            HeldOut(source, [number[name] for name in tasks], binner, encode, outputs)
            for source, tasks in world.tests
        ]
        self._spans = list(world.spans) if self._held else []

    def before(self) -> None:
        """Test what has learned nothing yet."""
        if self._spans:
            self.found.before = self._accuracies()

    def come_to(self, segment: int) -> None:
        """The stream has come to `segment`: test after the spans that lie before it."""
        while self._spans and self._spans[0].last < segment:
            self.found.add(self._spans.pop(0).name, self._accuracies())

    def end(self, segment: int) -> None:
        """The stream is over, `segment` was the last: its span is tested, whole or not."""
        self.come_to(segment)
        if self._spans and self._spans[0].first <= segment:
            self.found.add(self._spans[0].name, self._accuracies())
        self._spans = []

    def as_dict(self) -> dict[str, Any] | None:
        """What summary.json says; None where nothing was tested."""
        return self.found.as_dict() if self.found.rows else None

    def _accuracies(self) -> dict[str, Any]:
        both = {"linear": self._test.learner, "frozen_linear": self._test.frozen}
        learners = {name: one for name, one in both.items() if isinstance(one, StopLearner)}
        found: dict[str, Any] = {}
        for held in self._held:
            rows = held.test(learners, self._test.baselines, self._decide, len(self.found.tasks))
            for name, row in rows.items():
                # Sources hold tasks of their own: each knows some entries, NaN in the others.
                before = found.get(name)
                found[name] = row if before is None else np.where(np.isnan(row), before, row)
        return found

    def _decide(self, said: Mapping[str, int | None]) -> str:
        return self._test.readout()
