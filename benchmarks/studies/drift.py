"""Detection of a known drift, a sudden corruption of the stream, and the value of responses to it.

    python -m benchmarks.studies.drift                 # all sections, about 25 minutes on one core
    python -m benchmarks.studies.drift --section NAME  # sections whose name contains NAME

Each stream is run once with a bundled recipe, from scratch, in the order that the seed draws; from
its middle on it is corrupted. Each detector watches the learner's errors, or a rate. Its delay ends
at its first alarm after the corruption; alarms before it are false. Detectors are those of
`streamstop.evaluation.drift`; ADWIN's delta was chosen on the simulated errors of the first
section, nothing on the streams.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from benchmarks._shared.page import spread, table, write_section
from benchmarks._shared.provenance import ROOT, provenance
from streamstop.config.bundled import bundled_path
from streamstop.evaluation.drift import ERROR_DETECTORS, RATE_DETECTORS, RATES, DriftMonitor
from streamstop.pipeline.configure import load_config
from streamstop.pipeline.run import run

DATA = Path(os.environ.get("STREAMSTOP_TEST_DATA", ROOT.parent / "shared" / "data"))
WATCHED = [(name, "errors") for name in ERROR_DETECTORS]
WATCHED += [(name, signal) for signal in RATES for name in RATE_DETECTORS]
RESPONSES = ("none", "boost", "reset-readout")
LISTENED = ("adwin", "hddm-a")
INTRO = (
    "Written by `benchmarks/studies/drift.py`, one section per run; do not edit. A delay is "
    "counted from the first corrupted segment to the detector's first alarm after it; false alarms "
    "are those in the segments before. Alarms over errors count where errors became more; over "
    "rates, in either direction, and there the learner's own learning moves the firing rate."
)


class Stream(NamedTuple):
    """A stream with a corruption: its section, its recipe, data, settings."""

    section: str
    recipe: str
    path: Path
    corruption: str
    sets: tuple[str, ...] = ()


STREAMS = (
    Stream("N-MNIST turned by 90 degrees", "nmnist", DATA / "nmnist-small", "rotate 90 at 0.5"),
    Stream("N-MNIST under noise", "nmnist", DATA / "nmnist-small", "noise 10 at 0.5"),
    Stream(
        "Simulated gestures mirrored",
        "demo",
        bundled_path("recordings/gestures"),
        "mirror at 0.5",
        ("segments.length_us=500000",),
    ),
)
SIMULATED_SECTION = "Simulated errors"
CHANGES = {
    "0.1, then 0.6 for good": ((0.1, 500), (0.6, 300)),
    "0.1, then 0.7 for 20 segments, 0.35 for 60, 0.15": (
        (0.1, 500),
        (0.7, 20),
        (0.35, 60),
        (0.15, 220),
    ),
    "0.05, then 0.4 for 20, 0.25 for 40, 0.1": ((0.05, 500), (0.4, 20), (0.25, 40), (0.1, 240)),
}
STILL = (0.05, 0.1, 0.2, 0.35, 0.5)
RESPONSE_SECTION = "What a response is worth"


def once(stream: Stream, seed: int, flags: dict[str, Any]) -> tuple[dict[str, Any], list[bool]]:
    """One run: its summary, and whether each segment was predicted right."""
    with tempfile.TemporaryDirectory() as folder:
        chosen = {
            "source.uri": str(stream.path),
            "run.seed": seed,
            "run.output_dir": folder,
            **flags,
        }
        chosen["scenario.corruptions"] = (stream.corruption,)
        done = run(load_config(stream.recipe, stream.sets, chosen))
        with (done.run_dir / "segments.csv").open(encoding="utf-8", newline="") as file:
            hits = [row["headline"] == row["label"] for row in csv.DictReader(file)]
    return done.summary, hits


def detection(stream: Stream, seeds: int) -> list[str]:
    """The section of one stream: every detector's delays and false alarms."""
    delays: dict[tuple[str, str], list[int]] = defaultdict(list)
    false: dict[tuple[str, str], int] = defaultdict(int)
    before = 0
    clean, dirty = [], []
    for seed in range(seeds):
        summary, hits = once(stream, seed, {})
        (drift,) = summary["scenario"]["drifts"]
        before += drift
        clean.append(statistics.fmean(hits[drift - 100 : drift]))
        dirty.append(statistics.fmean(hits[drift : drift + 50]))
        first: dict[tuple[str, str], int] = {}
        for alarm in summary["drift"]["alarms"]:
            key = (alarm["detector"], alarm["signal"])
            if alarm["segment"] < drift:
                false[key] += 1
            else:
                first.setdefault(key, alarm["segment"] - drift)
        for key, delay in first.items():
            delays[key].append(delay)
        print(f"{stream.section}, seed {seed}: {first}, false {dict(false)}", flush=True)
    rows = []
    for key in WATCHED:
        found = sorted(delays[key])
        shown = f"{statistics.median(found):g} ({found[0]}-{found[-1]})" if found else "-"
        rate = f"{1000 * false[key] / before:.1f}"
        rows.append((f"{key[0]}, {key[1]}", f"{len(found)} of {seeds}", shown, rate))
    return [
        *provenance("benchmarks.studies.drift", "streamstop", "river", "torch", "numpy")[2:],
        f"- recipe `{stream.recipe}`{''.join(f', {one}' for one in stream.sets)}; corruption: "
        f"{stream.corruption}; seeds 0-{seeds - 1}, {before:,} segments before it in all",
        f"- accuracy over the last 100 segments before it {spread(clean)}, over the first 50 after "
        f"it {spread(dirty)}",
        "",
        *table(
            ("found", "delay in segments, median (range)", "false alarms per 1,000 segments"), rows
        ),
    ]


def alarms_of(name: str, errors: Sequence[int]) -> list[int]:
    """The segments at which one detector sees more errors."""
    monitor = DriftMonitor([name])
    for i, wrong in enumerate(errors):
        monitor.update(i, bool(wrong), {})
    return [one.segment for one in monitor.alarms]


def simulated(seeds: int) -> list[str]:
    """The section of errors drawn independently with a known probability."""
    rows = []
    segments, learning = 2000, 60
    for name in ERROR_DETECTORS:
        false = 0
        for p in STILL:
            rate = p + (0.9 - p) * np.exp(-np.arange(segments) / learning)
            for seed in range(2 * seeds):
                draw = np.random.default_rng(seed)
                false += len(alarms_of(name, draw.random(segments) < rate))
        cells = []
        for stretches in CHANGES.values():
            delays = []
            for seed in range(8 * seeds):
                draw = np.random.default_rng(100 + seed)
                errors = np.concatenate([draw.random(n) < p for p, n in stretches])
                delays.append(
                    min((at - 500 for at in alarms_of(name, errors) if at >= 500), default=np.inf)
                )
            middle = statistics.median(delays)
            soon = sum(one <= 60 for one in delays) / len(delays)
            cells.append(f"{middle:g}, {soon:.2f}" if np.isfinite(middle) else f"-, {soon:.2f}")
        per = 1000 * false / (len(STILL) * 2 * seeds * segments)
        rows.append((name, *cells, f"{per:.2f}"))
        print(rows[-1], flush=True)
    return [
        *provenance("benchmarks.studies.drift", "streamstop", "river", "numpy")[2:],
        f"- false alarms: {len(STILL) * 2 * seeds * segments:,} segments, errors falling from 0.9 "
        f"to {', '.join(map(str, STILL))} as by learning; delays: {8 * seeds} streams a kind, "
        "the change after 500 segments",
        "",
        "Median delay, and the share of streams in which it was found within 60 segments:",
        "",
        *table((*CHANGES, "false alarms per 1,000 segments"), rows),
    ]


def responses(stream: Stream, seeds: int) -> list[str]:
    """The section of responses: accuracy after the corruption."""
    rows = []
    for response in RESPONSES:
        for detector in LISTENED if response != "none" else ("-",):
            soon, late, count = [], [], []
            flags = {"drift.response": response}
            if detector != "-":
                flags["drift.detector"] = detector
            for seed in range(seeds):
                summary, hits = once(stream, seed, flags)
                (drift,) = summary["scenario"]["drifts"]
                after = hits[drift:]
                soon.append(statistics.fmean(after[: len(after) // 2]))
                late.append(statistics.fmean(after[len(after) // 2 :]))
                count.append(summary["drift"]["responses"])
            rows.append(
                (response, detector, spread(soon), spread(late), ", ".join(map(str, count)))
            )
            print(rows[-1], flush=True)
    heads = ("heard", "first half after it", "second half", "responses, by seed")
    return [
        *provenance("benchmarks.studies.drift", "streamstop", "river", "torch", "numpy")[2:],
        f"- {stream.section}: recipe `{stream.recipe}`, {stream.corruption}; seeds 0-{seeds - 1}",
        "- `drift.response`, with its settings as they are by default: five times the rates for 30 "
        "segments; the LDA readout forgets all",
        "",
        *table(heads, rows),
    ]


def main() -> None:
    """Run the sections and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--section", default="", help="sections whose name contains this")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "drift.md")
    options = parser.parse_args()
    order = [SIMULATED_SECTION, *(one.section for one in STREAMS), RESPONSE_SECTION]

    def write(name: str, body: list[str]) -> None:
        write_section(options.out, "A known drift, found", INTRO, order, name, body)

    if options.section in SIMULATED_SECTION:
        write(SIMULATED_SECTION, simulated(options.seeds))
    for stream in STREAMS:
        if options.section not in stream.section:
            continue
        if not stream.path.exists():
            print(f"{stream.section}: not run, the data are not on this machine")
            continue
        write(stream.section, detection(stream, options.seeds))
    if options.section in RESPONSE_SECTION and STREAMS[0].path.exists():
        write(RESPONSE_SECTION, responses(STREAMS[0], options.seeds))


if __name__ == "__main__":
    main()
