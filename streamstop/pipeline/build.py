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
from streamstop.evaluation.held_out import HeldOutEvaluation
from streamstop.evaluation.neurobench import SynapticOperations
from streamstop.events.bin_stream import BinStream
from streamstop.events.binning import Bin, Binner
from streamstop.events.labels import LabelTrack
from streamstop.events.packet import SensorSize, make_events
from streamstop.learning.factory import (
    frozen_config,
    learner_from_config,
    load_pretrained,
    output_names,
)
from streamstop.learning.learner import StopLearner
from streamstop.learning.pretrained import Pretrained
from streamstop.pipeline.environment import versions
from streamstop.pipeline.profiler import RunProfiler
from streamstop.scenarios.stream import ScenarioStream
from streamstop.sources.base import Source, stated_origin
from streamstop.sources.live.recorder import StreamRecorder
from streamstop.sources.live.source import LiveSource


@dataclass(frozen=True)
class RunParts:
    """What a run is made of.

    classes : a name for each output, at the beginning.  trained : what the run begins with, None
    where the network is as initialised.
    """

    config: Config
    stream: ScenarioStream
    classes: tuple[str, ...]
    trained: Pretrained | None
    learner: StopLearner
    bins: BinStream
    transform: Callable[[Bin], Tensor]
    evaluator: PrequentialEvaluator
    operations: SynapticOperations
    meters: RunProfiler

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
            **self.learner.describe(),
            "network": asdict(config.network),
            "decision": self.evaluator.test.active_readout(),
            "bin_us": config.binning.bin_us,
            "binning": asdict(config.binning),
            "versions": versions(),
        }


def build_run(config: Config, stream: ScenarioStream) -> RunParts:
    """The parts of a run over an opened stream."""
    source, track = stream.source, stream.source.labels
    trained = load_pretrained(config)
    classes = output_names(config, track, trained)
    if track is None and config.labels.classes:
        track = LabelTrack(classes, [])  # `PrequentialEvaluator.teach` fills it
    still = config.learner.frozen
    learner = learner_from_config(frozen_config(config) if still else config, classes)
    untrained = learner_from_config(config, classes, trainable=())
    if trained is not None:
        trained.load_into(learner, config.readout.lda_prior_count)
        trained.load_into(untrained, config.readout.lda_prior_count)

    def make_binner(source: Source) -> Binner:
        return Binner(source.sensor, **asdict(config.binning), origin_us=source.origin_us)

    bins = BinStream(source, make_binner(source))

    def make_test_binner(source: Source) -> Binner:
        binner = make_binner(source)
        if source.sensor == bins.binner.sensor:
            binner.mask(bins.binner.masked_pixels)
        return binner

    def reinitialize() -> None:
        learner.reinitialize()
        if trained is not None:
            trained.load_into(learner, config.readout.lda_prior_count)

    transform = input_transform(config, learner.dtype)
    evaluator = PrequentialEvaluator(
        learner,
        track,
        untrained=untrained,
        decision=_decision(config, trained),
        delay_us=config.labels.delay_us if config.labels.arrival == "delayed" else None,
        at_first="lda" if trained is None else trained.decision or "linear",
        learns=not still,
        transform=transform,
        schedule=stream.schedule,
        domain_from=config.scenario.domain_from,
        reinitialize=(None if still or config.learner.reinitialize == "never" else reinitialize),
        memory_us=config.labels.memory_us if config.labels.classes else 0,
        taught_us=config.labels.segment_us,
    )
    evaluator.held_out = HeldOutEvaluation(
        stream, evaluator.test, make_test_binner, transform, evaluator.outputs
    )
    d = config.drift
    evaluator.response = DriftResponse(
        learner,
        "none" if still else d.response,
        detector=d.detector,
        boost=d.lr_boost,
        segments=d.boost_segments,
        keep=d.lda_keep_fraction,
    )
    return RunParts(
        config,
        stream,
        classes,
        trained,
        learner,
        bins,
        transform,
        evaluator,
        SynapticOperations(learner),
        RunProfiler(),
    )


def _decision(config: Config, trained: Pretrained | None) -> str:
    """Which readout predicts: in a frozen run by default the one that did when it was saved."""
    if config.readout.decision == "auto" and config.learner.frozen and trained is not None:
        return trained.decision or "auto"
    return config.readout.decision


def input_transform(config: Config, dtype: torch.dtype) -> Callable[[Bin], Tensor]:
    """What makes a bin the network's input, (1, 2, height, width)."""
    log = config.network.input_transform == "log1p"

    def transform(one: Bin) -> Tensor:
        x = torch.from_numpy(one.counts)[None].to(dtype)
        return torch.log1p(x) if log else x

    return transform


def record(source: Source, config: Config, path: Path) -> StreamRecorder | None:
    """Have a live source write down what it hands over, at `path`; None for any other source."""
    wanted = config.source
    if not (isinstance(source, LiveSource) and wanted.record):
        return None
    tee = StreamRecorder(
        path,
        source.sensor,
        max_bytes=wanted.record_max_mb * 1_000_000,
        simulated=stated_origin(source),
    )
    source.recorder = tee
    return tee


def warm_up(config: Config) -> None:
    """Compile what a bin needs, on one that nobody sees: in a live run the first would wait."""
    b = config.binning
    binner = Binner(
        SensorSize(1, 1),
        bin_us=1,
        height=b.height,
        width=b.width,
        hot_pixels=b.hot_pixels,
        refractory_us=b.refractory_us,
    )
    list(binner.push(make_events([0], [0], [0], [True])))
    learner = learner_from_config(config, UNLABELLED_CLASSES)
    operations = SynapticOperations(learner)
    learner.begin_segment()
    for trace in (True, False):
        learner.predict(torch.zeros(1, 2, b.height, b.width, dtype=learner.dtype), trace=trace)
        if trace:
            learner.learn(0)
        operations.bin()
    learner.end_segment()
