"""The one loop: source -> binner -> predict -> score -> learn -> ledger -> run folder.

Read `run` for the order of things, `_Run` for what happens to a bin. Each bin goes once through the
network and is gone; nothing here grows with the length of the stream.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from streamstop.binning import Bin, Binner
from streamstop.bundled import bundled_path
from streamstop.config import Config, to_toml
from streamstop.errors import DamageError, DivergedError, UsageError
from streamstop.labels import LabelTrack, Segment
from streamstop.ledger import Ledger
from streamstop.meters import Meters
from streamstop.prequential.protocol import TestThenTrain, Verdict
from streamstop.report.html import write_report
from streamstop.run_folder import RunFolder
from streamstop.sources import Source, open_source
from streamstop.stop.layers import NeuronSpec
from streamstop.stop.learner import LearnerSpec, StopLearner
from streamstop.stop.networks import named_network
from streamstop.summary import summarise

UNLABELLED_CLASSES = 11
"""Outputs of a network that nothing names classes for: as many as DVS-Gesture has."""

LINE_EVERY = 100
"""Bins between two lines of metrics.jsonl where there are no segments."""

EXIT_CODES = {"complete": 0, "damaged": 4, "diverged": 5, "interrupted": 130}


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


@dataclass(frozen=True)
class RunResult:
    """What a run ends with: summary.json's content, its folder, the report, the exit code."""

    summary: dict[str, Any]
    run_dir: Path
    report: Path
    exit_code: int


def run(
    config: Config, *, command: str = "", progress: Callable[[Progress], None] | None = None
) -> RunResult:
    """Stream the configured source once through a STOP learner; leave a run folder behind.

    command : what the user typed, for the report.
    progress : called about once a bin; it must be quick.

    A KeyboardInterrupt ends the stream early, not the run: what was done is summed up.

    Raises
    ------
    SourceError, UsageError : nothing was run, no folder is left.
    """
    torch.set_num_threads(config.run.threads)
    uri = config.source.uri or str(bundled_path("recordings/gestures"))
    opened = open_source(
        uri,
        labels=config.source.labels or None,
        sensor=config.source.sensor_size,
        strict=config.source.strict,
        seed=config.run.seed,
        length_us=config.segments.length_us,
        order=config.segments.order,
        limit=config.segments.limit,
        align_us=config.binning.bin_us,
    )
    with opened as source:
        work = _Run(config, source, progress)
        name = config.run.name or Path(uri.partition("?")[0]).stem or "run"
        with RunFolder(Path(config.run.out), name, to_toml(config)) as folder:
            status = work.stream(folder)
            summary = summarise(work, name=name, command=command, status=status)
            parameters = work.learner.network.parameters() if status != "diverged" else None
            folder.finish(summary, parameters)
    return RunResult(summary, folder.path, write_report(folder.path), EXIT_CODES[status])


class _Run:
    """One pass over one source."""

    def __init__(
        self, config: Config, source: Source, progress: Callable[[Progress], None] | None
    ) -> None:
        b = config.binning
        self.config = config
        self.source = source
        self.progress = progress
        self.binner = Binner(
            source.sensor,
            bin_us=b.bin_us,
            height=b.height,
            width=b.width,
            fit=b.fit,
            values=b.values,
            reorder_us=b.reorder_us,
            gap_us=b.gap_us,
            origin_us=source.origin_us,
        )
        self.ledger = Ledger(self.binner)
        self.meters = Meters()
        track = source.labels
        self.classes = _classes(config, track)
        self.labelled = track is not None
        self.learner = build_learner(config, len(self.classes))
        self.predictions: Counter[str] = Counter()
        self.test = TestThenTrain(
            self.learner,
            build_learner(config, len(self.classes), learn=""),
            self.classes,
            decide=config.readout.decide,
            delay_us=config.labels.delay_us if config.labels.arrival == "delayed" else None,
        )
        self._segments: Iterator[Segment] = iter(track or ())
        self._next = next(self._segments, None)
        self.message = ""
        self.bins = 0
        self.segments = 0
        self.missed = 0
        self._said = ""
        self._first_us: int | None = None
        self._now_us = 0

    def stream(self, folder: RunFolder) -> str:
        """Run to the end of the source; returns how it ended, a key of EXIT_CODES."""
        self.folder = folder
        status = "complete"
        self.meters.start()
        try:
            for packet in self.source:
                self.ledger.take(packet)
                for one in self.binner.push(packet.events):
                    self._bin(one)
                if packet.until_us is not None:
                    for one in self.binner.advance(packet.until_us):
                        self._bin(one)
            for one in self.binner.flush():
                self._bin(one)
            self._end_segment()
            self._write(self.test.finish(self._now_us))
        except KeyboardInterrupt:
            status, self.message = "interrupted", "stopped by Ctrl-C"
        except DivergedError as error:
            status, self.message = "diverged", str(error)
        except DamageError as error:
            status, self.message = "damaged", str(error)
        self.meters.stop()
        if not self.labelled and self.bins % LINE_EVERY:
            self._line(None, self._now_us)
        if status == "complete" and self.ledger.damage_count:
            status = "damaged"
        return status

    @property
    def stream_us(self) -> int:
        """Stream time that went through the network."""
        return self._now_us - (self._first_us or 0)

    def _bin(self, one: Bin) -> None:
        if one.reset:
            self._end_segment()
            self.learner.reset_state()
        self._first_us = one.start_us if self._first_us is None else self._first_us
        self._now_us = one.end_us
        self._find_segment(one)
        x = torch.from_numpy(one.counts)[None].to(self.learner.dtype)
        x = torch.log1p(x) if self.config.network.encoding == "log" else x
        with self.meters.step():
            if self.test.segment is not None:
                said, scored = self.test.bin(x, one.counts, one.start_us)
            else:
                prediction = self.learner.predict(x, will_learn=False)
                said, scored = self.test.say(prediction.linear), []
        self.bins += 1
        self._write(scored)
        self._said = self.classes[said]
        self.predictions[self._said] += 1
        segment = self.test.segment
        if segment is not None and one.end_us + self.config.binning.bin_us > segment.end_us:
            self._end_segment()
        if not self.labelled and self.bins % LINE_EVERY == 0:
            self._line(None, one.end_us)
            self.learner.begin_window()
        if self.progress is not None:
            self._tell()

    def _find_segment(self, one: Bin) -> None:
        """Open the segment that holds the whole bin; pass over those that no bin fits in."""
        if self.test.segment is not None:
            return
        while self._next is not None and self._next.end_us < one.end_us:
            self._next = next(self._segments, None)
            self.missed += 1
        if self._next is not None and self._next.start_us <= one.start_us:
            self.test.begin(self._next)
            self._next = next(self._segments, None)

    def _end_segment(self) -> None:
        if self.test.segment is None:
            return
        verdicts = self.test.end(self._now_us)
        self.segments += 1
        self._write(verdicts)
        self.meters.sample()
        self._line(self.segments - 1, self._now_us)

    def _write(self, verdicts: list[Verdict]) -> None:
        for v in verdicts:
            row: dict[str, Any] = {
                "segment": v.index,
                "start_us": v.segment.start_us,
                "end_us": v.segment.end_us,
                "recording": v.segment.recording,
                "label": self.classes[v.segment.label],
                "bins": v.bins,
                "events": v.events,
            }
            for maker, said in v.said.items():
                row[maker] = "" if said is None else self.classes[said]
            self.folder.segment(row)

    def _line(self, segment: int | None, now_us: int) -> None:
        layers = self.learner.layer_statistics()
        self.folder.metrics(
            {
                "bin": self.bins,
                "t_us": now_us,
                "segment": segment,
                "accuracy": self.test.scores.running(),
                "loss": self.test.loss if segment is not None else None,
                "events": self.binner.binned,
                "layers": layers,
            }
        )

    def _tell(self) -> None:
        assert self.progress is not None
        track = self.source.labels
        self.progress(
            Progress(
                self.segments,
                len(track) if track is not None else None,
                self.bins,
                self.ledger.received,
                self.stream_us,
                self.meters.wall_s,
                self.test.scores.running()["segment_windowed"],
                self._said,
            )
        )


def build_learner(config: Config, classes: int, learn: str | None = None) -> StopLearner:
    """The learner that a configuration describes.

    learn : overrides `learner.learn`; "" for a network that is not to learn.
    """
    n, rule = config.network, config.learner
    spec = named_network(
        n.name,
        (2, config.binning.height, config.binning.width),
        classes,
        NeuronSpec(n.theta, n.leak, n.gain, n.surrogate),
        n.channels,
        n.hidden,
    )
    learning = LearnerSpec(
        learn=rule.learn if learn is None else learn,
        lr=rule.lr,
        lr_threshold=rule.lr_threshold,
        lr_leak=rule.lr_leak,
        lr_readout=rule.lr_readout,
        update=rule.update if learn is None else "segment",
        every=rule.every,
        slow=rule.slow if learn is None else 0.0,
        shrinkage=config.readout.shrinkage,
    )
    dtype = torch.float64 if rule.precision == "float64" else torch.float32
    return StopLearner(spec, learning, config.run.seed, dtype)


def _classes(config: Config, track: LabelTrack | None) -> tuple[str, ...]:
    """Names of the network's outputs: the track's, then as many more as the config asks for."""
    known = track.classes if track is not None else ()
    wanted = config.network.classes or len(known) or UNLABELLED_CLASSES
    if wanted < len(known):
        raise UsageError(
            f"network.classes = {wanted}, but the labels name {len(known)} classes: "
            f"{', '.join(known[:8])}{' ...' if len(known) > 8 else ''}"
        )
    return (*known, *(f"output {i}" for i in range(len(known), wanted)))
