"""Logs a run in progress: rows of segments.csv, lines of metrics.jsonl, progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from streamstop.evaluation.evaluator import PrequentialEvaluator
from streamstop.evaluation.prequential import ScoredSegment
from streamstop.events.bin_stream import BinStream
from streamstop.events.binning import Bin
from streamstop.learning.learner import StopLearner
from streamstop.pipeline.emitter import Emitter
from streamstop.pipeline.folder import RunFolder
from streamstop.pipeline.profiler import RunProfiler
from streamstop.pipeline.publisher import SnapshotPublisher
from streamstop.pipeline.samples import SamplePictures

LINE_EVERY = 100
"""Bins per line of metrics.jsonl, in a stream without labels."""


class Progress(NamedTuple):
    """The state of a run that the terminal shows."""

    segment: int
    segments: int | None
    bin: int
    events: int
    stream_us: int
    wall_s: float
    accuracy: float | None
    prediction: str


class RunLogger:
    """Writes a run's segments.csv and metrics.jsonl, and reports progress.

    Parameters
    ----------
    folder : RunFolder
        Where to write.
    bins : BinStream
        The bins of the run, with its ledger.
    evaluator : PrequentialEvaluator
        Scores and predictions.
    learner : StopLearner
        Its statistics are logged.
    meters : RunProfiler
        Wall time and memory.
    pictures : SamplePictures
        Keeps what samples.json shows.
    progress : callable or None
        Called about once per bin with a `Progress`.
    publisher : SnapshotPublisher, optional
        Makes snapshots for views.
    emitter : Emitter, optional
        Sends predictions on.
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
        publisher: SnapshotPublisher | None = None,
        emitter: Emitter | None = None,
    ) -> None:
        self._folder = folder
        self._bins = bins
        self._evaluator = evaluator
        self._learner = learner
        self._meters = meters
        self._pictures = pictures
        self._progress = progress
        self._publisher = publisher
        self._emitter = emitter

    def bin(self, one: Bin) -> None:
        """Log after a bin: its prediction, without labels a line of metrics every LINE_EVERY bins,
        the progress.
        """
        evaluator = self._evaluator
        segment = evaluator.test.segment
        label = None if segment is None else evaluator.test.scores.classes[segment.label]
        self._log_prediction(label or "")
        self._pictures.bin(one, label, "" if segment is None else segment.recording)
        if evaluator.labels is None and evaluator.bins % LINE_EVERY == 0:
            self._line(None, evaluator.end_us)
            self._learner.begin_window()
        if self._progress is not None:
            self._progress(self._now())
        if self._publisher is not None:
            self._publisher.bin(one)

    def _log_prediction(self, label: str) -> None:
        evaluator = self._evaluator
        last = evaluator.test.prediction
        assert last is not None
        name, p = evaluator.prediction, float(last.probabilities[last.index])
        self._folder.log_prediction(evaluator.clock_us, name, p, last.readout)
        if self._emitter is not None:
            self._emitter.send(evaluator.clock_us, name, p, last.readout, label)

    def save_weights(self, about: Mapping[str, Any]) -> None:
        """Write what has been learned so far; the end of the run writes over it."""
        self._folder.save_weights(self._learner.state_tensors(), about)

    def scored(self, segments: Sequence[ScoredSegment]) -> None:
        """Write one row per segment."""
        self._pictures.scored(segments)
        classes = self._evaluator.test.scores.classes
        for v in segments:
            row: dict[str, Any] = {
                "segment": v.index,
                "start_us": v.segment.start_us,
                "end_us": v.segment.end_us,
                "recording": v.segment.recording,
                "label": classes[v.segment.label],
                "bins": v.bins,
                "events": v.events,
            }
            for name, predicted in v.predictions.items():
                row[name] = "" if predicted is None else classes[predicted]
            self._folder.log_segment(row)
            if self._publisher is not None:
                self._publisher.scored(v.segment.label, v.predictions["headline"])

    def closed(self, number: int, end_us: int) -> None:
        """Write a line of metrics."""
        self._line(number, end_us)

    def finish(self) -> None:
        """Write the last line of a stream without labels."""
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
