"""summary.json: what a run says of itself when it is over."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from streamstop import __version__
from streamstop.scenarios.scenario import BY_DOMAIN, UNORDERED
from streamstop.sources.label_files import label_file_beside
from streamstop.sources.open import uri_parts

if TYPE_CHECKING:
    from streamstop.pipeline.run import Pass

READOUTS = ("linear", "lda")
LOSS_AT = {"step": "in every bin", "end": "in a segment's last bin"}
RIVALS = (
    *("no_change", "majority", "frozen", "river", "lda_counts"),
    *("frozen_linear", "frozen_lda", "frozen_discriminant"),
)


MAX_SPANS = 1024
"""Further spans and drifts of the world are counted, not listed."""

SPANS_SAID = 12


def summarise(work: Pass, *, name: str, command: str, status: str) -> dict[str, Any]:
    """The content of summary.json, plain data."""
    config, scores = work.config, work.test.scores
    by_scenario = config.scenario.name not in UNORDERED
    scored = bool(scores.tallies)
    tallies = {key: tally.as_dict() for key, tally in scores.tallies.items()}
    wall, stream = work.meters.wall_s, work.stream_us / 1e6
    p50, p99 = work.meters.step_ms()
    latency_p50, latency_p99 = work.meters.latency_ms()
    network = work.learner.network
    layers = [
        {"name": name, "shape": list(layer.neurons), "parameters": _size(layer.parameters())}
        for name, layer in zip(network.names, network.layers, strict=True)
    ]
    return {
        "name": name,
        "command": command,
        "status": status,
        "message": work.message,
        "source": work.source.name if config.source.uri else "bundled: recordings/gestures",
        "format": work.source.format,
        "sensor": list(work.source.sensor),
        "data": "simulated" if work.source.simulated else "real",
        "seed": config.run.seed,
        "protocol": {
            "update": config.learner.update,
            "every": config.learner.every,
            "rule": config.learner.rule,
            "learn": config.learner.learn,
            "loss": f"{config.learner.loss}, {LOSS_AT[config.learner.loss_at]}",
            "arrival": config.labels.arrival,
            "delay_us": config.labels.delay_us,
            "evaluation": "prequential" if work.labelled else "none: no labels",
            "decide": work.test.decides,
            **({"frozen": True} if config.learner.frozen else {}),
            "order": config.scenario.name if by_scenario else config.segments.order,
            "length_us": config.segments.length_us,
            "bin_us": config.binning.bin_us,
            **_of_the_stream(work),
        },
        "segments": work.segments,
        "segments_unscored": len(work.source.labels or ()) - work.segments,
        "labels_beside": _labels_beside(work),
        "bins": work.bins,
        "classes": list(work.classes),
        "accuracy": scores.accuracy() if scored else None,
        "accuracy_by_readout": _those(tallies, READOUTS) if scored else None,
        "baselines": _those(tallies, RIVALS) if scored else None,
        "confusion": scores.confusion.tolist() if scored else [],
        "per_class": scores.per_class() if scored else [],
        "per_domain": scores.domains.as_list() if scored else [],
        "predictions": dict(work.predictions),
        "ledger": work.ledger.as_dict(),
        "recording": work.recording(),
        "corruptions": list(config.scenario.corruptions),
        "scenario": _scenario(work),
        "continual": work.examination.as_dict(),
        "drift": {**work.drift.as_dict(), "responses": work.response.count} if scored else None,
        "speed": {
            "events_per_s": work.binner.binned / wall if wall else None,
            "real_time_factor": stream / wall if wall else None,
            "step_ms_p50": p50,
            "step_ms_p99": p99,
            "latency_ms_p50": latency_p50,
            "latency_ms_p99": latency_p99,
            "wall_s": wall,
            "stream_s": stream,
        },
        "memory": {
            "learner_state_bytes": work.learner.state_bytes(),
            "rss_start_mb": work.meters.rss_start / 1e6,
            "rss_end_mb": work.meters.rss_end / 1e6,
            "rss_peak_mb": work.meters.rss_peak / 1e6,
        },
        "operations": work.operations.as_dict(),
        "network": {
            "name": config.network.name,
            "input": list(network.spec.input_shape),
            "layers": layers,
            "parameters": _size(network.parameters()),
        },
        "weights": (None if work.trained is None else work.trained.as_dict(config.readout.prior)),
        "versions": versions(),
    }


def _labels_beside(work: Pass) -> str | None:
    """The label file beside the recording of a run without labels, which nobody asked for."""
    if work.labelled or work.source.live:
        return None
    return label_file_beside(uri_parts(work.config.source.uri)[0])


def _scenario(work: Pass) -> dict[str, Any]:
    """What becomes of the world: spans as (first segment, last segment, name), and true drifts."""
    course, wanted = work.world.course, work.config.scenario
    return {
        "name": wanted.name,
        "domain": wanted.domain if wanted.name in BY_DOMAIN else None,
        "spans": [list(one) for one in course.spans[:MAX_SPANS]],
        "drifts": list(course.drifts[:MAX_SPANS]),
        "spans_in_all": len(course.spans),
        "held_out": sum(len(tasks) for _, tasks in work.world.tests),
    }


def _of_the_stream(work: Pass) -> dict[str, str]:
    """What sets it apart, in words: where it is from, what befell it, where drift was seen."""
    said = {
        "recordings": "; ".join(work.source.notes),
        "corruptions": "; ".join(work.config.scenario.corruptions),
        "scenario": "" if work.config.scenario.name == "none" else work.config.scenario.name,
        "spans": work.world.course.in_words(SPANS_SAID),
        "drift_alarms": "; ".join(
            f"segment {one.segment} ({one.detector}, {one.signal})" for one in work.drift.alarms[:8]
        ),
    }
    if work.drift.count > 8:
        said["drift_alarms"] += f"; {work.drift.count - 8} more in summary.json"
    return {key: words for key, words in said.items() if words}


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    found = {"streamstop": __version__, "python": platform.python_version()}
    for package in ("torch", "numpy", "river", "numba"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    found["platform"] = f"{platform.system()} {platform.machine()} {sys.byteorder}-endian"
    return found


def _those(tallies: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The scores of those names; in a frozen run some decide nothing."""
    return {name: tallies[name] for name in names if name in tallies}


def _size(parameters: dict[str, Any]) -> int:
    return sum(int(value.numel()) for value in parameters.values())
