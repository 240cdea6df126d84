"""Run folders with made-up figures, for tests only: every name in them says TEST DATA.

The figures agree with each other (scores, confusion and curves come from one list of made-up
predictions), so that a test can check one against the other. They measure nothing.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

BASELINES = ("no_change", "majority", "initial_network", "softmax_counts", "lda_counts")
DECIDERS = ("headline", "linear", "lda", *BASELINES)
FINAL = {
    "headline": 0.98,
    "linear": 0.88,
    "lda": 0.985,
    "no_change": 0.15,
    "majority": 0.17,
    "initial_network": 0.35,
    "softmax_counts": 0.78,
    "lda_counts": 0.95,
}
SPEED_OF_LEARNING = {"linear": 60.0, "softmax_counts": 60.0}
OBJECTS = ("box", "cutter", "mouse", "mug", "pencil", "phone", "scissors")
LAYERS = ("conv1", "conv2", "conv3")


def write_fake_run(
    folder: Path,
    *,
    segments: int = 257,
    classes: tuple[str, ...] = OBJECTS,
    labelled: bool = True,
    simulated: bool = False,
    status: str = "complete",
    layers: tuple[str, ...] = LAYERS,
    final: dict[str, float] | None = None,
    overrides: dict[str, Any] | None = None,
    samples: dict[str, Any] | None = None,
    seed: int = 0,
) -> Path:
    """Write a run folder; give its path. `overrides` replaces keys of the summary.

    samples : content of its samples.json, if any.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    labels = rng.integers(0, len(classes), segments)
    decisions = _decisions(rng, labels, len(classes), FINAL | (final or {}))
    summary = _summary(labels, decisions, classes, simulated, status, layers)
    if not labelled:
        counts = rng.multinomial(551, rng.dirichlet(np.ones(len(classes))))
        summary |= {
            "accuracy": None,
            "accuracy_by_readout": None,
            "baselines": None,
            "confusion": [],
            "per_class": [],
            "predictions": {name: int(n) for name, n in zip(classes, counts, strict=True)},
        }
    summary |= overrides or {}
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    if samples is not None:
        (folder / "samples.json").write_text(json.dumps(samples), encoding="utf-8")
    (folder / "config.toml").write_text(
        '# TEST DATA\nname = "test-data"\n\n[binning]\nbin_us = 10000\nheight = 32\nwidth = 32\n'
        '\n[readout]\ndecide = "auto"\n',
        encoding="utf-8",
    )
    _write_metrics(folder / "metrics.jsonl", rng, labels, decisions, labelled, layers)
    if labelled:
        _write_segments(folder / "segments.csv", labels, decisions, classes)
    return folder


def fake_samples(errors: int = 3, side: int = 32, error_side: int = 16) -> dict[str, Any]:
    """Made-up content of a samples.json."""
    rng = np.random.default_rng(0)

    def grids(n: int) -> dict[str, list[list[int]]]:
        return {key: rng.poisson(0.4, (n, n)).tolist() for key in ("on", "off")}

    return {
        "event_picture": {
            **grids(side),
            "sensor": [346, 260],
            "events": 12_345,
            "duration_us": 80_000,
            "recording": "TEST recording.aedat4",
        },
        "network_input": {**grids(side), "bin_us": 10_000, "label": "TEST mug"},
        "errors": [
            {"segment": 7 + i, "label": "TEST box", "prediction": "TEST mug", **grids(error_side)}
            for i in range(errors)
        ],
    }


def fake_scenario(
    segments: int = 257,
    *,
    spans: int = 2,
    alarms: int = 4,
    tasks: int = 2,
    seed: int = 0,
) -> dict[str, Any]:
    """Made-up tables of a changing stream: `overrides` for `write_fake_run`."""
    rng = np.random.default_rng(seed)
    firsts = [i * segments // spans for i in range(spans)]
    lasts = [first - 1 for first in firsts[1:]] + [segments - 1]
    names = [f"TEST domain {i}" for i in range(spans)]
    detectors, signals = ("ADWIN", "Page-Hinkley", "KSWIN"), ("errors", "event rate", "firing rate")
    makers = ("headline", *BASELINES, "frozen_features_lda")
    return {
        "scenario": {
            "name": "corrupted",
            "domain": None,
            "spans": [list(one) for one in zip(firsts, lasts, names, strict=True)],
            "drifts": firsts[1:],
            "spans_in_all": spans,
            "held_out": 10 * tasks,
        },
        "drift": {
            "alarms": [
                {
                    "segment": int((i + 1) * segments / (alarms + 1)),
                    "detector": detectors[i % 3],
                    "signal": signals[i // 3 % 3],
                }
                for i in range(alarms)
            ],
            "count": alarms,
            "watched": [[detector, signal] for signal in signals for detector in detectors],
            "responses": 0,
        },
        "per_domain": [
            {
                "domain": name,
                "segments": last - first + 1,
                "first": first,
                **{maker: round(float(rng.random()), 3) for maker in makers},
            }
            for first, last, name in zip(firsts, lasts, names, strict=True)
        ],
        "continual": {
            "tasks": [f"TEST task {i}" for i in range(tasks)],
            "taught": list(range(tasks)),
            "makers": {
                maker: {
                    "before": rng.random(tasks).round(3).tolist(),
                    "r": rng.random((tasks, tasks)).round(3).tolist(),
                    "average_accuracy": 0.5 + 0.01 * k,
                    "backward_transfer": -0.125,
                    "forward_transfer": 0.25,
                    "forgetting": 0.0625,
                }
                for k, maker in enumerate(makers)
            },
        },
        "operations": {
            "executions": 50 * segments,
            "activation_sparsity": 0.9375,
            "connection_sparsity": 0.0,
            "synaptic_operations": {
                "effective_macs": 123_456.0,
                "effective_acs": 65_432.0,
                "dense": 2_345_678,
            },
            "membrane_updates": 4_321.0,
            "footprint_bytes": 1_500_000,
            "learning_operations": {"total": 7_654_321.0},
        },
    }


def _decisions(
    rng: np.random.Generator, labels: np.ndarray, classes: int, final: dict[str, float]
) -> dict[str, np.ndarray]:
    hard = rng.random(len(labels))  # Shared, so that all err on the same segments.
    out = {}
    for name in DECIDERS:
        reach = 1 - np.exp(-np.arange(len(labels)) / SPEED_OF_LEARNING.get(name, 9.0))
        skill = final[name] * reach if final[name] > 0.2 else np.full(len(labels), final[name])
        luck = 0.6 * hard + 0.4 * rng.random(len(labels))
        wrong = (labels + rng.integers(1, max(2, classes), len(labels))) % classes
        out[name] = np.where(luck < skill, labels, wrong)
    return out


def _share(right: np.ndarray) -> dict[str, float]:
    return {
        "segment": float(right.mean()),
        "segment_last_third": float(right[-(len(right) // 3) :].mean()),
    }


def _summary(
    labels: np.ndarray,
    decisions: dict[str, np.ndarray],
    classes: tuple[str, ...],
    simulated: bool,
    status: str,
    layers: tuple[str, ...],
) -> dict[str, Any]:
    n = len(classes)
    confusion = np.zeros((n, n), dtype=int)
    np.add.at(confusion, (labels, decisions["headline"]), 1)
    scores = {name: _share(values == labels) for name, values in decisions.items()}
    hits, support, claims = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    return {
        "schema": 2,
        "name": "test-data",
        "command": "streamstop run --source TEST-DATA --set segments.length_us=500000 --seed 0",
        "status": status,
        "source": "TEST-DATA/objects",
        "data": "simulated" if simulated else "real",
        "seed": 0,
        "protocol": {
            "update": "segment",
            "arrival": "immediate",
            "evaluation": "prequential",
            "decision": "auto",
        },
        "n_segments": len(labels),
        "n_bins": len(labels) * 50,
        "classes": list(classes),
        "accuracy": scores["headline"]
        | {"bin": 0.87, "balanced": 0.94, "kappa": 0.93, "kappa_m": 0.91, "kappa_t_bin": -3.2},
        "accuracy_by_readout": {k: scores[k] for k in ("linear", "lda")},
        "baselines": {k: scores[k] for k in BASELINES},
        "confusion": confusion.tolist(),
        "per_class": [
            {
                "class": name,
                "segments": int(support[i]),
                "recall": float(hits[i] / support[i]) if support[i] else None,
                "precision": float(hits[i] / claims[i]) if claims[i] else None,
            }
            for i, name in enumerate(classes)
        ],
        "ledger": {
            "received": 4_321_000,
            "binned": 4_318_100,
            "dropped": {},
            "rejected": {"late": 2_400, "out_of_range": 500},
            "pending": 0,
            "damage": [],
            "jumps": 0,
        },
        "speed": {
            "events_per_s": 612_345.0,
            "real_time_factor": 13.24,
            "step_ms_p50": 0.68,
            "step_ms_p99": 1.42,
            "wall_s": 9.7,
            "stream_s": 128.5,
        },
        "memory": {
            "learner_state_bytes": 1_843_200,
            "rss_start_mb": 402.5,
            "rss_end_mb": 405.1,
            "rss_peak_mb": 431.0,
        },
        "network": {
            "name": "small",
            "input": [2, 32, 32],
            "layers": [
                {"name": name, "shape": [32 << i, 32 >> i, 32 >> i], "parameters": 608 << (4 * i)}
                for i, name in enumerate(layers[:4])
            ],
            "parameters": 94_208,
        },
        "versions": {
            "streamstop": "0.1.0",
            "python": "3.11.7",
            "torch": "2.13.0",
            "numpy": "2.4.6",
            "river": "0.26.1",
            "platform": "TEST-DATA-x86_64",
        },
    }


def _write_metrics(
    path: Path,
    rng: np.random.Generator,
    labels: np.ndarray,
    decisions: dict[str, np.ndarray],
    labelled: bool,
    layers: tuple[str, ...],
) -> None:
    right = {name: np.cumsum(values == labels) for name, values in decisions.items()}
    with path.open("w", encoding="utf-8") as file:
        for i in range(len(labels)):
            accuracy: dict[str, float] = {}
            if labelled:
                low = max(0, i - 49)
                before = right["headline"][low - 1] if low else 0
                accuracy = {
                    "segment": right["headline"][i] / (i + 1),
                    "segment_windowed": (right["headline"][i] - before) / (i + 1 - low),
                } | {k: right[k][i] / (i + 1) for k in DECIDERS if k != "headline"}
            gone = 1 - np.exp(-i / 80)
            record = {
                "bin": (i + 1) * 50 - 1 if labelled else (i + 1) * 100 - 1,
                "t_us": 1_633_953_690_975_950 + (i + 1) * (500_000 if labelled else 1_000_000),
                "segment": i if labelled else None,
                "accuracy": {k: round(float(v), 5) for k, v in accuracy.items()},
                "loss": round(float(0.3 + 1.7 * np.exp(-i / 60) + 0.1 * rng.random()), 5),
                "events": int(rng.integers(9_000, 24_000)),
                "layers": {
                    name: {
                        "firing_rate": round(float(0.05 + 0.03 * k + 0.01 * rng.random()), 5),
                        "threshold": round(float(1 + (0.12 - 0.07 * k) * gone), 5),
                        "threshold_sd": round(float(0.03 * gone), 5),
                        "leak": round(float(0.9 - 0.02 * k * gone), 5),
                    }
                    for k, name in enumerate(layers)
                },
            }
            file.write(json.dumps(record) + "\n")


def _write_segments(
    path: Path, labels: np.ndarray, decisions: dict[str, np.ndarray], classes: tuple[str, ...]
) -> None:
    columns = (
        "headline",
        "linear",
        "lda",
        "initial_network",
        "no_change",
        "majority",
        "softmax_counts",
        "lda_counts",
    )
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(
            ["segment", "start_us", "end_us", "recording", "label", *columns, "bins", "events"]
        )
        for i, label in enumerate(labels):
            made = [classes[decisions[name][i]] for name in columns]
            rows.writerow(
                [i, i * 500_000, (i + 1) * 500_000, "TEST-DATA", classes[label], *made, 50, 16_000]
            )
