"""Held-out evaluation during a run: before the stream, and after each span (task or domain).

Guarantees:

- An evaluation changes nothing in the run.
- Each span is evaluated once, as soon as the stream leaves it or ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from streamstop.evaluation.continual import AccuracyMatrix, HeldOutSet
from streamstop.evaluation.prequential import PrequentialProtocol
from streamstop.events.binning import Bin, Binner
from streamstop.learning.learner import StopLearner
from streamstop.scenarios.stream import ScenarioStream
from streamstop.sources.base import Source


class HeldOutEvaluation:
    """The held-out evaluations of one run.

    Parameters
    ----------
    stream : ScenarioStream
        What is held out, and the spans of the stream.
    test : PrequentialProtocol
        The learner, the frozen copy and the baselines.
    binner, encode, outputs
        See `continual.HeldOutSet`.
    """

    def __init__(
        self,
        stream: ScenarioStream,
        test: PrequentialProtocol,
        binner: Callable[[Source], Binner],
        encode: Callable[[Bin], Tensor],
        outputs: Sequence[int],
    ) -> None:
        self.found = AccuracyMatrix(stream.tasks)
        self._test = test
        number = {name: j for j, name in enumerate(stream.tasks)}
        self._held = [
            HeldOutSet(source, [number[name] for name in tasks], binner, encode, outputs)
            for source, tasks in stream.tests
        ]
        self._spans = list(stream.spans) if self._held else []

    def evaluate_before(self) -> None:
        """Evaluate before anything is learned."""
        if self._spans:
            self.found.before = self._accuracies()

    def advance_to(self, segment: int) -> None:
        """Evaluate the spans that ended before `segment`, which the stream has reached."""
        while self._spans and self._spans[0].last < segment:
            self.found.add(self._spans.pop(0).name, self._accuracies())

    def finish(self, segment: int) -> None:
        """Evaluate the last span, complete or not; `segment` was the last of the stream."""
        self.advance_to(segment)
        if self._spans and self._spans[0].first <= segment:
            self.found.add(self._spans[0].name, self._accuracies())
        self._spans = []

    def as_dict(self) -> dict[str, Any] | None:
        """The entry in summary.json; None where nothing was evaluated."""
        return self.found.as_dict() if self.found.rows else None

    def _accuracies(self) -> dict[str, Any]:
        both = {"linear": self._test.learner, "frozen_features_linear": self._test.frozen}
        learners = {name: one for name, one in both.items() if isinstance(one, StopLearner)}
        found: dict[str, Any] = {}
        for held in self._held:
            rows = held.evaluate(
                learners, self._test.baselines, self._headline, len(self.found.tasks)
            )
            for name, row in rows.items():
                # Each source holds some of the tasks: its row is NaN for the others.
                before = found.get(name)
                found[name] = row if before is None else np.where(np.isnan(row), before, row)
        return found

    def _headline(self, predictions: Mapping[str, int | None]) -> str:
        return self._test.active_readout()
