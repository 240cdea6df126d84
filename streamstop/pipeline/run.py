"""One run: source -> bins -> predict -> score -> learn -> run folder.

Read `run` for the order of things, `streamstop.evaluation.evaluator` for what happens to a bin.

Guarantees:

- Each bin goes once through the network and is gone; nothing grows with the length of the stream.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from streamstop.config.bundled import bundled_path
from streamstop.config.recipe import to_toml
from streamstop.config.sections import TAUGHT_CLASSES, Config
from streamstop.config.uri_paths import uri_stem
from streamstop.errors import DamageError, DivergedError, SourceError, UsageError
from streamstop.events.ledger import EventLedger
from streamstop.pipeline.build import RunParts, build_run, record, warm_up
from streamstop.pipeline.commands import (
    Asked,
    CommandFeed,
    CommandInbox,
    Script,
    is_label_stream,
    open_commands,
)
from streamstop.pipeline.configure import absolute_paths
from streamstop.pipeline.emitter import Emitter
from streamstop.pipeline.folder import RunFolder, write_text
from streamstop.pipeline.logger import Progress as Progress
from streamstop.pipeline.logger import RunLogger
from streamstop.pipeline.publisher import SnapshotPublisher
from streamstop.pipeline.samples import SamplePictures
from streamstop.pipeline.snapshot import Command, Snapshot
from streamstop.pipeline.summary import RunRecord, build_summary
from streamstop.pipeline.teaching import Teacher
from streamstop.pipeline.unscored import why_unscored
from streamstop.scenarios.stream import ScenarioStream, open_stream
from streamstop.sources.base import Source
from streamstop.sources.live.registry import is_live

RECORDING = "recording.aedat4"
"""In a live run's folder: what the source sent, to run again."""

EXIT_CODES = {
    "complete": 0,
    "overloaded": 0,
    "unscored": 2,
    "damaged": 4,
    "diverged": 5,
    "interrupted": 130,
}

TOO_SLOW = ("overload", "ring_overflow", "at_stop")
"""Causes of dropped events of a live source that a faster learner would have taken."""

MANY_DROPPED = 0.1
"""A live run that dropped a larger fraction of its events is overloaded."""


@dataclass(frozen=True)
class RunResult:
    """What a run ends with: summary.json's content, its folder, the exit code."""

    summary: dict[str, Any]
    run_dir: Path
    exit_code: int


class Viewer(Protocol):
    """What watches a run and may command it: a view, or several."""

    @property
    def commands(self) -> CommandFeed | None:
        """What it asks of the run; None: it only watches."""
        ...

    def show(self, snapshot: Snapshot) -> None:
        """Take the newest snapshot; it must be quick."""


def run(
    config: Config,
    *,
    command: str = "",
    progress: Callable[[Progress], None] | None = None,
    stream: ScenarioStream | None = None,
    opened: Callable[[Source], None] | None = None,
    viewer: Viewer | None = None,
    emit: str = "",
    script: Sequence[tuple[int, Command]] = (),
) -> RunResult:
    """Stream the configured source once through a STOP learner; leave a run folder behind.

    Parameters
    ----------
    config : Config
        The run's settings.
    command : str
        What the user typed, for the report.
    progress : callable, optional
        Called about once per bin; it must be quick.
    stream : ScenarioStream, optional
        The configured source, where it is open already; the run closes it.
    opened : callable, optional
        Called once with the opened source, before anything is read for the run.
    viewer : Viewer, optional
        Watches the run, and may teach it where the stream has no labels, if it has commands.
    emit : str
        Where each prediction is sent: "udp://HOST:PORT", or "-" for standard output.
    script : sequence of (int, Command)
        What is asked of the run at given bins; see `streamstop.pipeline.commands.Script`.

    Notes
    -----
    A KeyboardInterrupt ends the stream early, not the run: what was done is summed up.

    Raises
    ------
    SourceError, UsageError
        Nothing was run; where a folder is left, it is an unfinished one.
    """
    torch.set_num_threads(config.run.num_threads)
    uri = config.source.uri or str(bundled_path("recordings/gestures"))
    if is_live(uri) or config.source.speed:
        warm_up(config)
    asked = viewer.commands if viewer is not None else None
    feeds = [] if asked is None else [asked]
    if script:
        feeds.append(Script(script))
    if is_label_stream(config.source.labels):
        feeds.append(open_commands(config.source.labels))
        config = replace(config, source=replace(config.source, labels=""))
    if feeds and not config.labels.classes:
        config = replace(config, labels=replace(config.labels, classes=str(TAUGHT_CLASSES)))
    inbox = CommandInbox(*feeds)
    emitter = Emitter(emit) if emit else None
    stream = open_stream(config, uri) if stream is None else stream
    if config.labels.arrival == "delayed" and not config.labels.delay_us:
        raise UsageError(
            'labels.arrival = "delayed" needs labels.delay_us, from the beginning of a segment to '
            "the arrival of its label: say how long, in us"
        )
    if opened is not None:
        opened(stream.source)
    with stream.source:
        parts = build_run(config, stream)
        name = config.run.name or uri_stem(uri) or "run"
        with RunFolder(
            Path(config.run.output_dir), name, to_toml(absolute_paths(config))
        ) as folder:
            recorder = record(stream.source, config, folder.path / RECORDING)
            grid = (config.binning.height, config.binning.width)
            pictures = SamplePictures(parts.transform, stream.source.sensor, grid, parts.classes)
            teacher = None
            if parts.evaluator.teachable:
                teacher = Teacher(parts.evaluator, inbox, folder.path)
            publisher = None
            if viewer is not None:
                publisher = SnapshotPublisher(parts, folder.path, viewer.show, teacher)
            logger = RunLogger(
                folder,
                parts.bins,
                parts.evaluator,
                parts.learner,
                parts.meters,
                pictures,
                progress,
                publisher,
                emitter,
            )
            with inbox, teacher or nullcontext(), emitter or nullcontext():
                status, message = _stream(parts, logger, teacher or Asked(inbox), publisher)
            summary = build_summary(
                RunRecord(parts, name, command, status, message, recorder, RECORDING)
            )
            tensors = parts.learner.state_tensors() if status != "diverged" else None
            write_text(folder.path / "samples.json", json.dumps(pictures.as_dict()) + "\n")
            folder.finalize(summary, tensors, parts.about())
    return RunResult(summary, folder.path, EXIT_CODES[status])


def _stream(
    parts: RunParts,
    logger: RunLogger,
    asked: Teacher | Asked,
    publisher: SnapshotPublisher | None,
) -> tuple[str, str]:
    """Run to the end of the source; returns how it ended, a key of EXIT_CODES, and why."""
    evaluator, bins, source = parts.evaluator, parts.bins, parts.stream.source
    evaluator.listener, evaluator.around_step = logger, parts.measured
    status, message = "complete", ""
    parts.meters.start()
    evaluator.begin()
    if publisher is not None:
        publisher.publish("waiting")
    try:
        with _interrupts_wait() as interrupted:

            def stop_if_interrupted() -> None:
                if interrupted:
                    raise KeyboardInterrupt

            bins.after_packet = stop_if_interrupted  # where no event comes, no bin does
            for one in bins:
                asked.apply()
                evaluator.step(one)
                logger.bin(one)
                stop_if_interrupted()
                if asked.save:
                    asked.save = False
                    logger.save_weights(parts.about())
                if asked.ended:
                    message = "ended from the view"
                    break
            evaluator.end_segment()
    except KeyboardInterrupt:
        status, message = "interrupted", "stopped by Ctrl-C"
    except DivergedError as error:
        status, message = "diverged", str(error)
        evaluator.diverged()
    except DamageError as error:
        status, message = "damaged", str(error)
    except SourceError as error:
        if not bins.ledger.received:
            raise
        status, message = "damaged", str(error)
        for one in bins.rest():  # it broke off: what came before is a stream
            evaluator.step(one)
            logger.bin(one)
        evaluator.end_segment()
    evaluator.finish(diverged=status == "diverged")
    parts.meters.stop()
    logger.finish()
    if publisher is not None:
        publisher.publish("ended")
    if status == "complete" and bins.ledger.damage_count and not source.live:
        status = "damaged"  # what a live source loses is counted, and nobody can repair it
    if why := why_unscored(parts):
        ended_early = bool(message) or (source.live and parts.config.source.duration_s > 0)
        if status == "complete" and not ended_early:  # by the user, who may have wanted no more
            status = "unscored"
        message = "; ".join(filter(None, (message, why)))
    if status == "complete" and source.live and _dropped(bins.ledger) > MANY_DROPPED:
        status = "overloaded"
        lost = f"{100 * _dropped(bins.ledger):.0f} % of the events were dropped"
        message = "; ".join(filter(None, (message, lost)))
    return status, message


def _dropped(ledger: EventLedger) -> float:
    """The fraction of the events that the learner was too slow to take."""
    lost = sum(ledger.dropped[cause] for cause in TOO_SLOW)
    return lost / ledger.received if ledger.received else 0.0


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
