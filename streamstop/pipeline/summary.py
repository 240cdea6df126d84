"""Builds the content of summary.json at the end of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from streamstop.config.aliases import SCHEMA
from streamstop.config.sections import Config
from streamstop.pipeline.build import RunParts
from streamstop.pipeline.environment import versions
from streamstop.scenarios.scenario import BY_DOMAIN, UNORDERED
from streamstop.sources.base import Source, stated_origin
from streamstop.sources.label_files import label_file_beside
from streamstop.sources.live.recorder import StreamRecorder
from streamstop.sources.open import uri_parts

READOUTS = ("linear", "lda")
LOSS_AT = {"step": "in every bin", "end": "in a segment's last bin"}
BASELINES = (
    *("no_change", "majority", "initial_network", "softmax_counts", "lda_counts"),
    *("frozen_features_linear", "frozen_features_lda", "initial_lda"),
)


DATA = {True: "simulated", False: "real", None: "unknown"}
"""summary.json's `data`, by what the source states of its origin."""

MAX_SPANS = 1024
"""Further spans and drifts of the stream are counted, not listed."""

MAX_SPANS_IN_PROTOCOL = 12

MAX_HOT_PIXELS = 1024
"""Further masked pixels are counted, not listed."""


@dataclass(frozen=True)
class RunRecord:
    """A run that has ended.

    Attributes
    ----------
    parts : RunParts
        What the run was made of.
    name, command : str
        Name of the run, and what the user typed.
    status, message : str
        How it ended, and why.
    recorder : StreamRecorder or None
        What recorded a live source.
    recording : str
        Name of that recording.
    """

    parts: RunParts
    name: str
    command: str
    status: str
    message: str
    recorder: StreamRecorder | None = None
    recording: str = ""


def build_summary(record: RunRecord) -> dict[str, Any]:
    """The content of summary.json, plain data."""
    parts = record.parts
    config, evaluator, source = parts.config, parts.evaluator, parts.stream.source
    test, scores, meters = evaluator.test, evaluator.test.scores, parts.meters
    labelled = evaluator.labels is not None
    responses = evaluator.response.count if evaluator.response is not None else 0
    by_scenario = config.scenario.name not in UNORDERED
    scored = bool(scores.tallies)
    tallies = {key: tally.as_dict() for key, tally in scores.tallies.items()}
    wall, stream = meters.wall_s, parts.bins.duration_us / 1e6
    p50, p99 = meters.step_ms()
    latency_p50, latency_p99 = meters.latency_ms()
    network = parts.learner.network
    layers = [
        {"name": name, "shape": list(layer.neurons), "parameters": _size(layer.parameters())}
        for name, layer in zip(network.layer_names, network.layers, strict=True)
    ]
    return {
        "schema": SCHEMA,
        "name": record.name,
        "command": record.command,
        "status": record.status,
        "message": record.message,
        "source": source.name if config.source.uri else "bundled: recordings/gestures",
        "format": source.format,
        "sensor": list(source.sensor),
        "data": DATA[stated_origin(source)],
        "seed": config.run.seed,
        "protocol": {
            "update": config.learner.update,
            "update_interval": config.learner.update_interval,
            "rule": config.learner.rule,
            "trainable": list(config.learner.trainable),
            "loss": f"{config.learner.loss}, {LOSS_AT[config.learner.loss_at]}",
            "arrival": config.labels.arrival,
            "delay_us": config.labels.delay_us,
            **({"late": config.learner.late} if test.learns_late else {}),
            "evaluation": "prequential" if labelled else "none: no labels",
            "decision": test.decides,
            **({"frozen": True} if config.learner.frozen else {}),
            "order": config.scenario.name if by_scenario else config.segments.order,
            "length_us": config.segments.length_us,
            "bin_us": config.binning.bin_us,
            **_of_the_stream(parts),
        },
        "n_segments": evaluator.segments,
        "segments_unscored": len(source.labels or ()) - evaluator.segments,
        **({"segments_unlearned": test.unlearned} if test.learns_late else {}),
        "labels_beside": _labels_beside(config, source, labelled),
        "n_bins": evaluator.bins,
        "classes": list(parts.evaluator.class_names),
        "accuracy": scores.accuracy() if scored else None,
        "accuracy_by_readout": _those(tallies, READOUTS) if scored else None,
        "baselines": _those(tallies, BASELINES) if scored else None,
        "confusion": scores.confusion.tolist() if scored else [],
        "per_class": scores.per_class() if scored else [],
        "per_domain": scores.domains.as_list() if scored else [],
        "predictions": dict(evaluator.predictions),
        "ledger": parts.bins.ledger.as_dict(),
        "hot_pixels": _hot_pixels(parts),
        "recording": _recording(record),
        "corruptions": list(config.scenario.corruptions),
        "scenario": _scenario(parts),
        "continual": evaluator.held_out.as_dict() if evaluator.held_out else None,
        "drift": {**evaluator.drift.as_dict(), "responses": responses} if scored else None,
        "speed": {
            "events_per_s": parts.bins.binner.binned / wall if wall else None,
            "real_time_factor": stream / wall if wall else None,
            "step_ms_p50": p50,
            "step_ms_p99": p99,
            "latency_ms_p50": latency_p50,
            "latency_ms_p99": latency_p99,
            "wall_s": wall,
            "stream_s": stream,
        },
        "memory": {
            "learner_state_bytes": parts.learner.state_bytes(),
            "rss_start_mb": meters.rss_start / 1e6,
            "rss_end_mb": meters.rss_end / 1e6,
            "rss_peak_mb": meters.rss_peak / 1e6,
        },
        "operations": parts.operations.as_dict(),
        "network": {
            "name": config.network.architecture,
            "input": list(network.spec.input_shape),
            "layers": layers,
            "parameters": _size(network.parameters()),
        },
        "weights": (
            None if parts.trained is None else parts.trained.as_dict(config.readout.lda_prior_count)
        ),
        "versions": versions(),
    }


def _recording(record: RunRecord) -> dict[str, Any] | None:
    """The recording of a live source; None where nothing was recorded."""
    recorder = record.recorder
    if recorder is None:
        return None
    return {
        "file": record.recording,
        "events": recorder.events,
        "events_not_taken": recorder.not_taken,
        "events_not_recorded": recorder.not_recorded,
        "ended_early": recorder.full,
    }


def _hot_pixels(parts: RunParts) -> dict[str, Any] | None:
    """The masked pixels, as (x, y, time from which on in us); None where hot pixels are kept."""
    if parts.config.binning.hot_pixels == "keep":
        return None
    masked = parts.bins.binner.masked_pixels
    return {
        "masked": len(masked),
        "pixels": [[one.x, one.y, one.from_us] for one in masked[:MAX_HOT_PIXELS]],
    }


def _labels_beside(config: Config, source: Source, labelled: bool) -> str | None:
    """A label file next to the recording of a run that used no labels."""
    if labelled or source.live:
        return None
    return label_file_beside(uri_parts(config.source.uri)[0])


def _scenario(parts: RunParts) -> dict[str, Any]:
    """The schedule of the stream: spans as (first segment, last segment, name), and true drifts."""
    schedule, wanted = parts.stream.schedule, parts.config.scenario
    return {
        "name": wanted.name,
        "domain": wanted.domain_from if wanted.name in BY_DOMAIN else None,
        "spans": [list(one) for one in schedule.spans[:MAX_SPANS]],
        "drifts": list(schedule.drifts[:MAX_SPANS]),
        "spans_in_all": len(schedule.spans),
        "held_out": sum(len(tasks) for _, tasks in parts.stream.tests),
    }


def _of_the_stream(parts: RunParts) -> dict[str, str]:
    """Properties of the stream as text: notes of the source, corruptions, schedule, alarms."""
    drift = parts.evaluator.drift
    found = {
        "recordings": "; ".join(parts.stream.source.notes),
        "corruptions": "; ".join(parts.config.scenario.corruptions),
        "scenario": "" if parts.config.scenario.name == "none" else parts.config.scenario.name,
        "spans": parts.stream.schedule.in_words(MAX_SPANS_IN_PROTOCOL),
        "drift_alarms": "; ".join(
            f"segment {one.segment} ({one.detector}, {one.signal})" for one in drift.alarms[:8]
        ),
    }
    if drift.count > 8:
        found["drift_alarms"] += f"; {drift.count - 8} more in summary.json"
    return {key: text for key, text in found.items() if text}


def _those(tallies: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The scores of these names, where there are any; in a frozen run some predict nothing."""
    return {name: tallies[name] for name in names if name in tallies}


def _size(parameters: dict[str, Any]) -> int:
    return sum(int(value.numel()) for value in parameters.values())
