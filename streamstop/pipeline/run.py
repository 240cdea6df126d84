"""The one loop: source -> binner -> predict -> score -> learn -> ledger -> run folder.

Read `run` for the order of things, `Pass` for what happens to a bin. Each bin goes once through the
network and is gone; nothing here grows with the length of the stream.
"""

from __future__ import annotations

import math
import signal
import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from streamstop.config.bundled import bundled_path
from streamstop.config.recipe import UNLABELLED_CLASSES, Config, to_toml
from streamstop.config.uri_paths import replaced, stem
from streamstop.errors import DamageError, DivergedError, SourceError, UsageError
from streamstop.evaluation.drift import EVENT_RATE, FIRING_RATE, DriftMonitor, DriftResponse
from streamstop.evaluation.held_out import Examination
from streamstop.evaluation.neurobench import Operations
from streamstop.evaluation.prequential import TestThenTrain, Verdict
from streamstop.events.binning import Bin, Binner
from streamstop.events.labels import Segment
from streamstop.events.ledger import Ledger
from streamstop.events.packet import SensorSize, make_events
from streamstop.learning.factory import build_learner, frozen, output_names, trained_network
from streamstop.pipeline.folder import RunFolder
from streamstop.pipeline.profiler import Meters
from streamstop.pipeline.summary import summarise, versions
from streamstop.scenarios.domains import domain_at
from streamstop.scenarios.stream import World, open_world
from streamstop.sources.base import Source
from streamstop.sources.live.registry import is_live
from streamstop.sources.live.source import LiveSource

if TYPE_CHECKING:
    from streamstop.sources.live.recorder import StreamRecorder

LINE_EVERY = 100
"""Bins between two lines of metrics.jsonl where there are no segments."""

RECORDING = "recording.aedat4"
"""In a live run's folder: what the source sent, to run again."""

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
    """What a run ends with: summary.json's content, its folder, the exit code."""

    summary: dict[str, Any]
    run_dir: Path
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
    SourceError, UsageError : nothing was run; where a folder is left, it is an unfinished one.
    """
    torch.set_num_threads(config.run.threads)
    uri = config.source.uri or str(bundled_path("recordings/gestures"))
    if is_live(uri) or config.source.speed:
        _warm_up(config)
    world = open_world(config, uri)
    if config.labels.arrival == "delayed" and not config.labels.delay_us:
        raise UsageError(
            'labels.arrival = "delayed" needs labels.delay_us, from the beginning of a segment to '
            "the arrival of its label: say how long, in us"
        )
    with world.source:
        work = Pass(config, world, progress)
        name = config.run.name or stem(uri) or "run"
        with RunFolder(Path(config.run.out), name, to_toml(_findable(config))) as folder:
            status = work.stream(folder)
            summary = summarise(work, name=name, command=command, status=status)
            parameters = work.learner.network.parameters() if status != "diverged" else None
            folder.finish(summary, parameters, work.about())
    return RunResult(summary, folder.path, EXIT_CODES[status])


class Pass:
    """One pass over one source."""

    def __init__(
        self, config: Config, world: World, progress: Callable[[Progress], None] | None
    ) -> None:
        self.config = config
        self.world = world
        self.source = source = world.source
        self.progress = progress
        self.binner = self._make_binner(source)
        self.ledger = Ledger(self.binner)
        self.meters = Meters()
        track = source.labels
        self.trained = trained_network(config)
        self.classes = output_names(config, track, self.trained)
        named = track.classes if track is not None else ()
        self._outputs = [self.classes.index(name) for name in named]
        self.labelled = track is not None
        still = config.learner.frozen
        self.learner = build_learner(frozen(config) if still else config, len(self.classes))
        twin = build_learner(config, len(self.classes), learn="")
        if self.trained is not None:
            self.trained.give(self.learner, config.readout.prior)
            self.trained.give(twin, config.readout.prior)
        self.operations = Operations(self.learner)
        self.predictions: Counter[str] = Counter()
        self.test = TestThenTrain(
            self.learner,
            twin,
            self.classes,
            decide=config.readout.decide,
            delay_us=config.labels.delay_us if config.labels.arrival == "delayed" else None,
            trained=self.trained is not None,
            learns=not still,
        )
        self.examination = Examination(
            world, self.test, self._make_binner, self._encoded, self._outputs
        )
        d = config.drift
        self.drift = DriftMonitor()
        self.response = DriftResponse(
            self.learner,
            "none" if still else d.on_drift,
            detector=d.detector,
            boost=d.boost,
            segments=d.segments,
            keep=d.keep,
        )
        self._track: Sequence[Segment] = track.segments if track is not None else ()
        self._begun = -1
        self.message = ""
        self.bins = 0
        self.segments = 0
        self._ended = 0
        self._said = ""
        self._arrived_s: float | None = None
        self._tee: StreamRecorder | None = None
        self._first_us: int | None = None
        self._now_us = self._clock_us = 0

    def stream(self, folder: RunFolder) -> str:
        """Run to the end of the source; returns how it ended, a key of EXIT_CODES."""
        self.folder = folder
        self._record()
        status = "complete"
        self.meters.start()
        self.examination.before()
        try:
            with _interrupts_wait() as interrupted:
                for one in self._all_bins():
                    self._bin(one)
                    if interrupted:
                        raise KeyboardInterrupt
                self._end_segment()
        except KeyboardInterrupt:
            status, self.message = "interrupted", "stopped by Ctrl-C"
        except DivergedError as error:
            status, self.message = "diverged", str(error)
            self._write(self.test.undelivered)
        except DamageError as error:
            status, self.message = "damaged", str(error)
        except SourceError as error:
            if not self.ledger.received:
                raise
            status, self.message = "damaged", str(error)
            for one in self.binner.flush():  # it broke off: what came before is a stream
                self._bin(one)
            self._end_segment()
        self._write(self.test.finish(self._clock_us))
        if status != "diverged":
            self.examination.end(self._begun)
        self.meters.stop()
        if not self.labelled and self.bins % LINE_EVERY:
            self._line(None, self._now_us)
        if status == "complete" and self.ledger.damage_count and not self.source.live:
            status = "damaged"  # what a live source loses is counted, and nobody can mend it
        return status

    def _make_binner(self, source: Source) -> Binner:
        settings = asdict(self.config.binning)
        return Binner(source.sensor, **settings, origin_us=source.origin_us)

    def _encoded(self, one: Bin) -> Tensor:
        """A bin as the network takes it, (1, 2, height, width)."""
        x = torch.from_numpy(one.counts)[None].to(self.learner.dtype)
        return torch.log1p(x) if self.config.network.encoding == "log" else x

    def about(self) -> dict[str, Any]:
        """What its weights file says of the network, so that another run can begin with it."""
        return {
            "network": asdict(self.config.network),
            "input": list(self.learner.network.spec.input_shape),
            "classes": list(self.classes),
            "encoding": self.config.network.encoding,
            "bin_us": self.config.binning.bin_us,
            "binning": asdict(self.config.binning),
            "versions": versions(),
        }

    def _all_bins(self) -> Iterator[Bin]:
        """Every bin of the source, each packet's events entered in the ledger first."""
        came_s: float | None = None
        for packet in self.source:
            self.ledger.take(packet)
            for one in self.binner.push(packet.events):
                # The packet that closes a bin may hold events of it, or only later ones.
                within = packet.events["t"][0] < one.clock_us + self.binner.bin_us
                self._arrived_s = packet.arrived_s if within else came_s
                yield one
            came_s = packet.arrived_s if len(packet.events) else came_s
            if packet.until_us is not None:
                self._arrived_s = came_s
                yield from self.binner.advance(packet.until_us)
        self._arrived_s = None
        yield from self.binner.flush()

    def _record(self) -> None:
        """Have a live source write down what it hands over, beside the run's results."""
        wanted = self.config.source
        if isinstance(self.source, LiveSource) and wanted.record:
            from streamstop.sources.live.recorder import StreamRecorder

            self._tee = StreamRecorder(
                self.folder.path / RECORDING,
                self.source.sensor,
                max_bytes=wanted.record_mb * 1_000_000,
                simulated=self.source.simulated,
            )
            self.source.recorder = self._tee

    def recording(self) -> dict[str, Any] | None:
        """What was recorded of a live source, for the summary; None where nothing was."""
        if self._tee is None:
            return None
        return {
            "file": RECORDING,
            "events": self._tee.events,
            "events_not_recorded": self._tee.not_recorded,
            "ended_early": self._tee.full,
        }

    @property
    def stream_us(self) -> int:
        """Stream time that went through the network."""
        return self._now_us - (self._first_us or 0)

    def _bin(self, one: Bin) -> None:
        if one.reset:
            self._end_segment()
            self.learner.reset_state()
        self._first_us = one.start_us if self._first_us is None else self._first_us
        self._now_us, self._clock_us = one.end_us, one.clock_us + self.binner.bin_us
        self._find_segment(one)
        x = self._encoded(one)
        with self.meters.step():
            if self.test.segment is not None:
                said, scored = self.test.bin(x, one.counts, one.clock_us, one.events)
            else:
                prediction = self.learner.predict(x, will_learn=False)
                said, scored = self.test.say(prediction.linear), []
        if self._arrived_s is not None and one.events:
            self.meters.answered(self._arrived_s)
        self.operations.bin()
        self.bins += 1
        self._write(scored)
        self._said = self.classes[said]
        self.predictions[self._said] += 1
        segment = self.test.segment
        if segment is not None and self._clock_us + self.binner.bin_us > segment.end_us:
            self._end_segment()
        if not self.labelled and self.bins % LINE_EVERY == 0:
            self._line(None, one.end_us)
            self.learner.begin_window()
        if self.progress is not None:
            self._tell()

    def _find_segment(self, one: Bin) -> None:
        """Open the segment that holds the whole bin, unless it or a later one was open before."""
        if self.test.segment is not None:
            return
        i = bisect_right(self._track, one.clock_us, key=lambda s: s.start_us) - 1
        if i > self._begun and self._clock_us <= self._track[i].end_us:
            self.examination.come_to(i)
            if i and self._begins_anew(i):
                self._start_over()
            segment = self._track[i]
            self.test.begin(segment._replace(label=self._outputs[segment.label]))
            self._begun = i

    def _begins_anew(self, segment: int) -> bool:
        if self.config.learner.reset == "none" or self.config.learner.frozen:
            return False
        began = max(self._begun, 0)
        return any(began < one.first <= segment for one in self.world.course.spans)

    def _start_over(self) -> None:
        """Back to the weights that the run began with."""
        self.learner.start_over()
        if self.trained is not None:
            self.trained.give(self.learner, self.config.readout.prior)

    def _end_segment(self) -> None:
        if self.test.segment is None:
            return
        verdicts = self.test.end(self._clock_us)
        self._write(verdicts)
        self._line(self._ended, self._now_us)
        self._ended += 1

    def _write(self, verdicts: list[Verdict]) -> None:
        self.segments += len(verdicts)
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
            wrong = v.said["decided"] != v.segment.label
            nth = bisect_right(self._track, v.segment.start_us, key=lambda s: s.start_us) - 1
            by = self.config.scenario.domain
            domain = domain_at(self.world.course, by, nth, v.segment.recording)
            if domain is not None:
                self.test.scores.domains.add(domain, nth, v.segment.label, v.said)
            rates = {EVENT_RATE: math.log1p(v.events / max(v.bins, 1))}
            if len(v.rates):
                rates[FIRING_RATE] = float(v.rates.mean())
            self.response.after(self.drift.update(v.index, wrong, rates))
            for maker, said in v.said.items():
                row[maker] = "" if said is None else self.classes[said]
            self.folder.segment(row)

    def _line(self, segment: int | None, now_us: int) -> None:
        self.meters.sample()
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


def _findable(config: Config) -> Config:
    """The configuration with its paths made absolute: a run folder may be read from anywhere."""
    named = config.source
    labels = str(Path(named.labels).resolve()) if named.labels else ""
    weights = config.learner.weights and str(Path(config.learner.weights).resolve())
    return replace(
        config,
        source=replace(named, uri=replaced(named.uri, Path.resolve), labels=labels),
        learner=replace(config.learner, weights=weights),
    )


@contextmanager
def _interrupts_wait() -> Iterator[list[int]]:
    """Ctrl-C waits for the bin in work: half a bin would be in no account. A second one does not.

    Yields a list that is empty until then. Outside the main thread nothing changes.
    """
    seen: list[int] = []

    def note(number: int, _: object) -> None:
        seen.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    if threading.current_thread() is not threading.main_thread():
        yield seen
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)


def _warm_up(config: Config) -> None:
    """Compile what a bin needs, on one that nobody sees: in a live run the first would wait."""
    b = config.binning
    binner = Binner(SensorSize(1, 1), bin_us=1, height=b.height, width=b.width)
    list(binner.push(make_events([0], [0], [0], [True])))
    learner = build_learner(config, UNLABELLED_CLASSES)
    operations = Operations(learner)
    learner.begin_segment()
    for will_learn in (True, False):
        learner.predict(
            torch.zeros(1, 2, b.height, b.width, dtype=learner.dtype), will_learn=will_learn
        )
        if will_learn:
            learner.learn(0)
        operations.bin()
    learner.end_segment()
