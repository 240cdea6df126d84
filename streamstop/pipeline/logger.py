"""What a run writes while it goes on: a row per segment, a line of metrics, the progress shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from streamstop.evaluation.evaluator import PrequentialEvaluator
from streamstop.evaluation.prequential import ScoredSegment
from streamstop.events.bin_stream import BinStream
from streamstop.events.binning import Bin
from streamstop.learning.learner import StopLearner
from streamstop.pipeline.folder import RunFolder
from streamstop.pipeline.profiler import RunProfiler
from streamstop.pipeline.samples import SamplePictures

LINE_EVERY = 100
"""Bins between two lines of metrics.jsonl where there are no segments."""


class Progress(NamedTuple):
    """How far a run is: what the terminal view shows."""

    segment: int
    segments: int | None
    bin: int
    events: int
    stream_us: int
    wall_s: float
    accuracy: float | None
    decision: str


class RunLogger:
    """Writes a run's segments.csv and metrics.jsonl, and reports progress.

    Parameters
    ----------
    folder : RunFolder
        Where to write.
    bins, evaluator, learner, meters, pictures
        What to write of.
    progress : callable or None
        Called about once per bin with a `Progress`.
    """

    def __init__(
        self,
        folder: RunFolder,
        bins: BinStream,
        evaluator: PrequentialEvaluator,
        learner: StopLearner,
        meters: RunProfiler,
        pictures: SamplePictures,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self._folder = folder
        self._bins = bins
        self._evaluator = evaluator
        self._learner = learner
        self._meters = meters
        self._pictures = pictures
        self._progress = progress

    def bin(self, one: Bin) -> None:
        """A bin is through: without labels a line every LINE_EVERY bins; then the progress."""
        evaluator = self._evaluator
        segment = evaluator.test.segment
        label = None if segment is None else evaluator.test.scores.classes[segment.label]
        self._pictures.bin(one, label, "" if segment is None else segment.recording)
        if evaluator.labels is None and evaluator.bins % LINE_EVERY == 0:
            self._line(None, evaluator.end_us)
            self._learner.begin_window()
        if self._progress is not None:
            self._progress(self._now())

    def scored(self, verdicts: Sequence[ScoredSegment]) -> None:
        """Write a row for each segment."""
        self._pictures.scored(verdicts)
        classes = self._evaluator.test.scores.classes
        for v in verdicts:
            row: dict[str, Any] = {
                "segment": v.index,
                "start_us": v.segment.start_us,
                "end_us": v.segment.end_us,
                "recording": v.segment.recording,
                "label": classes[v.segment.label],
                "bins": v.bins,
                "events": v.events,
            }
            for maker, said in v.predictions.items():
                row[maker] = "" if said is None else classes[said]
            self._folder.log_segment(row)

    def closed(self, number: int, end_us: int) -> None:
        """Write a line of metrics."""
        self._line(number, end_us)

    def finish(self) -> None:
        """The stream is over."""
        evaluator = self._evaluator
        if evaluator.labels is None and evaluator.bins % LINE_EVERY:
            self._line(None, evaluator.end_us)

    def _line(self, segment: int | None, end_us: int) -> None:
        self._meters.sample()
        test = self._evaluator.test
        self._folder.log_metrics(
            {
                "bin": self._evaluator.bins,
                "t_us": end_us,
                "segment": segment,
                "accuracy": test.scores.compute(),
                "loss": test.loss if segment is not None else None,
                "events": self._bins.binner.binned,
                "layers": self._learner.layer_statistics(),
            }
        )

    def _now(self) -> Progress:
        evaluator = self._evaluator
        return Progress(
            evaluator.segments,
            len(evaluator.labels) if evaluator.labels is not None else None,
            evaluator.bins,
            self._bins.ledger.received,
            self._bins.duration_us,
            self._meters.wall_s,
            evaluator.test.scores.compute()["segment_windowed"],
            evaluator.prediction,
        )
