"""Online learning with spiking neural networks on event-camera streams, with honest scores.

The names below are the public Python API; each is imported when it is first used.

>>> import streamstop as ss
>>> ss.SensorSize(346, 260)
SensorSize(width=346, height=260)
"""

from __future__ import annotations

from streamstop._version import __version__ as __version__

TYPE_CHECKING = False  # as in typing, which takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any

    from streamstop.datasets.segments import SegmentDataset as SegmentDataset
    from streamstop.errors import (
        DamageError as DamageError,
    )
    from streamstop.errors import (
        DivergedError as DivergedError,
    )
    from streamstop.errors import (
        SourceError as SourceError,
    )
    from streamstop.errors import (
        StreamstopError as StreamstopError,
    )
    from streamstop.errors import (
        UsageError as UsageError,
    )
    from streamstop.evaluation.baselines import Baseline as Baseline
    from streamstop.evaluation.checks import check_learner as check_learner
    from streamstop.evaluation.evaluator import PrequentialEvaluator as PrequentialEvaluator
    from streamstop.evaluation.prequential import LateLearner as LateLearner
    from streamstop.evaluation.prequential import Learner as Learner
    from streamstop.events.bin_stream import iter_bins as iter_bins
    from streamstop.events.binning import Bin as Bin
    from streamstop.events.binning import Binner as Binner
    from streamstop.events.labels import LabelTrack as LabelTrack
    from streamstop.events.labels import Segment as Segment
    from streamstop.events.packet import EVENT_DTYPE as EVENT_DTYPE
    from streamstop.events.packet import Packet as Packet
    from streamstop.events.packet import SensorSize as SensorSize
    from streamstop.events.packet import make_events as make_events
    from streamstop.learning.factory import build_learner as build_learner
    from streamstop.learning.lda import StreamingLDA as StreamingLDA
    from streamstop.learning.learner import LearnerSpec as LearnerSpec
    from streamstop.learning.learner import StopLearner as StopLearner
    from streamstop.learning.weights import load_weights as load_weights
    from streamstop.learning.weights import save_weights as save_weights
    from streamstop.pipeline.configure import load_config as load_config
    from streamstop.pipeline.run import run as run
    from streamstop.scenarios.stream import open_stream as open_stream
    from streamstop.sources.base import Source as Source
    from streamstop.sources.checks import check_source as check_source
    from streamstop.sources.open import open_source as open_source
    from streamstop.stop.architectures import build_network as build_network
    from streamstop.stop.network import Network as Network
    from streamstop.stop.network import NetworkSpec as NetworkSpec
    from streamstop.tools.convert import convert as convert
    from streamstop.tools.inspection import inspect as inspect
    from streamstop.training.train import train as train

_PLACES = {
    "datasets.segments": "SegmentDataset",
    "errors": "DamageError DivergedError SourceError StreamstopError UsageError",
    "evaluation.baselines": "Baseline",
    "evaluation.checks": "check_learner",
    "evaluation.evaluator": "PrequentialEvaluator",
    "evaluation.prequential": "LateLearner Learner",
    "events.bin_stream": "iter_bins",
    "events.binning": "Bin Binner",
    "events.labels": "LabelTrack Segment",
    "events.packet": "EVENT_DTYPE Packet SensorSize make_events",
    "learning.factory": "build_learner",
    "learning.lda": "StreamingLDA",
    "learning.learner": "LearnerSpec StopLearner",
    "learning.weights": "load_weights save_weights",
    "pipeline.configure": "load_config",
    "pipeline.run": "run",
    "scenarios.stream": "open_stream",
    "sources.base": "Source",
    "sources.checks": "check_source",
    "sources.open": "open_source",
    "stop.architectures": "build_network",
    "stop.network": "Network NetworkSpec",
    "tools.convert": "convert",
    "tools.inspection": "inspect",
    "training.train": "train",
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names.split()}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'streamstop' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"streamstop.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
