"""Builds the parts of one run from its configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from streamstop.config.sections import UNLABELLED_CLASSES, Config
from streamstop.evaluation.drift import DriftResponse
from streamstop.evaluation.evaluator import PrequentialEvaluator
from streamstop.evaluation.held_out import Examination
from streamstop.evaluation.neurobench import Operations
from streamstop.evaluation.prequential import TestThenTrain
from streamstop.events.bin_stream import BinStream
from streamstop.events.binning import Bin, Binner
from streamstop.events.packet import SensorSize, make_events
from streamstop.learning.factory import build_learner, frozen, output_names, trained_network
from streamstop.learning.learner import StopLearner
from streamstop.learning.pretrained import Trained
from streamstop.pipeline.environment import versions
from streamstop.pipeline.profiler import Meters
from streamstop.scenarios.stream import ScenarioStream
from streamstop.sources.base import Source
from streamstop.sources.live.recorder import StreamRecorder
from streamstop.sources.live.source import LiveSource


@dataclass(frozen=True)
class RunParts:
    """What a run is made of.

    classes : a name for each output.  trained : what the run begins with, None where the network
    is as initialised.
    """

    config: Config
    world: ScenarioStream
    classes: tuple[str, ...]
    trained: Trained | None
    learner: StopLearner
    bins: BinStream
    evaluator: PrequentialEvaluator
    operations: Operations
    meters: Meters

    @contextmanager
    def measured(self, one: Bin) -> Iterator[None]:
        """Around a bin's way through the network: its time, latency and operations are counted."""
        with self.meters.step():
            yield
        if self.bins.arrived_s is not None and one.events:
            self.meters.answered(self.bins.arrived_s)
        self.operations.bin()

    def about(self) -> dict[str, Any]:
        """What its weights file states of the network, so that another run can begin with it."""
        config = self.config
        return {
            "network": asdict(config.network),
            "input": list(self.learner.network.spec.input_shape),
            "classes": list(self.classes),
            "encoding": config.network.input_transform,
            "bin_us": config.binning.bin_us,
            "binning": asdict(config.binning),
            "versions": versions(),
        }


def build_run(config: Config, world: ScenarioStream) -> RunParts:
    """The parts of a run over an opened stream."""
    source, track = world.source, world.source.labels
    trained = trained_network(config)
    classes = output_names(config, track, trained)
    still = config.learner.frozen
    learner = build_learner(frozen(config) if still else config, len(classes))
    twin = build_learner(config, len(classes), trainable=())
    if trained is not None:
        trained.give(learner, config.readout.lda_prior_count)
        trained.give(twin, config.readout.lda_prior_count)
    test = TestThenTrain(
        learner,
        twin,
        classes,
        decide=config.readout.decision,
        delay_us=config.labels.delay_us if config.labels.arrival == "delayed" else None,
        trained=trained is not None,
        learns=not still,
    )

    def make_binner(source: Source) -> Binner:
        return Binner(source.sensor, **asdict(config.binning), origin_us=source.origin_us)

    encode = encoder(config, learner.dtype)
    outputs = [classes.index(name) for name in (track.classes if track is not None else ())]

    def begin_anew() -> None:
        learner.start_over()
        if trained is not None:
            trained.give(learner, config.readout.lda_prior_count)

    d = config.drift
    evaluator = PrequentialEvaluator(
        test,
        track,
        world,
        config.scenario,
        Examination(world, test, make_binner, encode, outputs),
        DriftResponse(
            learner,
            "none" if still else d.response,
            detector=d.detector,
            boost=d.lr_boost,
            segments=d.boost_segments,
            keep=d.lda_keep_fraction,
        ),
        encode,
        None if still or config.learner.reinitialize == "never" else begin_anew,
    )
    bins = BinStream(source, make_binner(source))
    return RunParts(
        config, world, classes, trained, learner, bins, evaluator, Operations(learner), Meters()
    )


def encoder(config: Config, dtype: torch.dtype) -> Callable[[Bin], Tensor]:
    """What makes a bin the network's input, (1, 2, height, width)."""
    log = config.network.input_transform == "log1p"

    def encode(one: Bin) -> Tensor:
        x = torch.from_numpy(one.counts)[None].to(dtype)
        return torch.log1p(x) if log else x

    return encode


def record(source: Source, config: Config, path: Path) -> StreamRecorder | None:
    """Have a live source write down what it hands over, at `path`; None for any other source."""
    wanted = config.source
    if not (isinstance(source, LiveSource) and wanted.record):
        return None
    tee = StreamRecorder(
        path,
        source.sensor,
        max_bytes=wanted.record_max_mb * 1_000_000,
        simulated=source.simulated,
    )
    source.recorder = tee
    return tee


def warm_up(config: Config) -> None:
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
