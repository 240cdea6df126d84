"""Memory as a function of the length of the stream and of the length of a sequence.

Three sections, each of which can be run alone:

* `learner`: two learners, one with an update per segment, one with an update per step and an
  evaluation copy that predicts, over `--steps` synthetic bins: bytes of state after 10, 1,000 and
  all steps, and resident memory throughout. A million steps take about half an hour (`make soak`).
* `program`: all of `streamstop run`, from a generated file to its report.
* `peaks`: peak resident memory added by learning from one sequence of T bins, for STOP and for
  backpropagation through time in torch, snntorch, spikingjelly and norse.

Every measurement has a process of its own. Writes docs/results/memory.md and its plot. Peaks need
Linux (/proc/self/clear_refs); libraries that are not installed are left out and listed.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import psutil
import torch

from benchmarks._shared.page import table, write_section
from benchmarks._shared.provenance import ROOT, provenance
from benchmarks.speed.peers import (
    CLASSES,
    CONTENDERS,
    DENSITY,
    PEERS,
    Contender,
    one_bin,
    present,
    spec_of,
)
from streamstop.learning.learner import LearnerSpec, StopLearner
from streamstop.stop.architectures import build_network
from streamstop.stop.network import NetworkSpec

EARLY, BINS, SAMPLES = (10, 1_000), 50, 100
CHANNELS = {"learner": (32, 64), "shadow": (8, 16), "pipeline": (8, 16)}
TITLES = {
    "learner": "one update per segment",
    "shadow": "an update per step, an evaluation copy predicts",
    "pipeline": "`streamstop run`: file, bins, learner, both readouts, baselines, run folder",
}
BIN_US, BIN_EVENTS = 10_000, 30
LENGTHS, SEQUENCES = (10, 50, 100, 200, 500), 3
PLOT = ROOT / "docs" / "images" / "memory.svg"

ORDER = {
    "learner": "The learner, step after step",
    "program": "The whole program",
    "peaks": "Beside backpropagation through time",
}
INTRO = (
    "Written by `benchmarks/speed/memory.py`, one section per run; do not edit. MB are 10^6 bytes. "
    "RSS is resident memory, of which Python, torch and what they load are the most part."
)


def rss_mb() -> float:
    """Resident memory now, garbage collected, in MB (10^6 bytes)."""
    gc.collect()
    return float(psutil.Process().memory_info().rss / 1e6)


def spec_of_channels(channels: tuple[int, ...]) -> NetworkSpec:
    """Convolutions 3x3 on 2x32x32, each pooled by 2, under a linear readout."""
    return build_network("compact", (2, 32, 32), CLASSES, channels=channels)


def run_learner(name: str, steps: int) -> dict[str, Any]:
    """The learner alone, through as many segments as it takes; a fresh bin every step.

    Returns the state's bytes by step, resident memory by step, and its highest after 1,000 steps.
    """
    spec = spec_of_channels(CHANNELS[name])
    learner = StopLearner(spec, LearnerSpec(update="step" if name == "shadow" else "segment"))
    draw = torch.Generator().manual_seed(0)
    state: dict[int, int] = {}
    rss: dict[int, float] = {}
    highest, every = 0.0, max(steps // SAMPLES, 1)
    done = 0
    while done < steps:
        label = int(torch.randint(CLASSES, (), generator=draw))
        learner.begin_segment()
        for _ in range(min(BINS, steps - done)):
            learner.predict(one_bin(spec, 1, draw), trace=True)
            learner.learn(label)
            done += 1
            if done in (*EARLY, steps):
                state[done], rss[done] = learner.state_bytes(), rss_mb()
            if done % every == 0 and done >= EARLY[-1]:
                highest = max(highest, rss_mb())
        learner.update_lda(learner.predict_segment().rates, label)
        learner.end_segment()
    return {"state": state, "rss": rss, "highest": highest}


def write_stream(steps: int, path: Path) -> None:
    """An AEDAT4 recording of noise at `path`, and its CSV: a label every `BINS` bins."""
    from streamstop.events.packet import SensorSize, make_events
    from streamstop.formats.aedat.aedat4_writer import write_aedat4

    draw = np.random.default_rng(0)
    n = steps * BIN_EVENTS
    t = np.sort(draw.integers(0, steps * BIN_US, n))
    t[0], t[-1] = 0, steps * BIN_US - 1
    x, y, p = (draw.integers(0, side, n) for side in (128, 128, 2))
    events = make_events(t, x, y, p)
    write_aedat4(path, events, SensorSize(128, 128), zstd_level=1, simulated=True)
    length = BINS * BIN_US
    rows = [
        f"{label},{i * length},{(i + 1) * length}"
        for i, label in enumerate(draw.integers(0, CLASSES, steps // BINS))
    ]
    labels = "\n".join(["class,startTime_usec,endTime_usec", *rows, ""])
    path.with_suffix(".csv").write_text(labels)


def run_pipeline(steps: int, stream: Path) -> dict[str, Any]:
    """The whole program, watched through its progress callback."""
    from streamstop.pipeline import run as pipeline
    from streamstop.pipeline.configure import load_config

    state: dict[int, int] = {}
    rss: dict[int, float] = {}
    learners: list[StopLearner] = []
    build = pipeline.learner_from_config

    def build_and_keep(*args: Any, **more: Any) -> StopLearner:
        learners.append(build(*args, **more))
        return learners[-1]

    def look(now: pipeline.Progress) -> None:
        if now.bin in (EARLY[-1], steps - 1):
            state[now.bin], rss[now.bin] = learners[0].state_bytes(), rss_mb()

    pipeline.learner_from_config = build_and_keep
    sets = {
        "source.uri": str(stream),
        "source.labels": str(stream.with_suffix(".csv")),
        "binning.bin_us": BIN_US,
        "network.channels": list(CHANNELS["pipeline"]),
        "run.output_dir": str(stream.parent),
    }
    result = pipeline.run(
        load_config(sets=[f"{key}={json.dumps(value)}" for key, value in sets.items()]),
        progress=look,
    )
    assert result.summary["n_bins"] == steps, result.summary["n_bins"]
    assert result.summary["n_segments"] == steps // BINS, result.summary["n_segments"]
    state[steps], rss[steps] = state.pop(steps - 1), rss.pop(steps - 1)
    return {"state": state, "rss": rss}


def _trim() -> None:
    """Give freed memory back to the system, so that the next allocations show in full."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def run_peak(contender: Contender, bins: int) -> dict[str, Any]:
    """Peak of resident memory, in MB, above that after imports and compilation.

    A throw-away contender of the same kind goes first, through two bins: libraries are loaded and
    kernels compiled by it. Counted is then all that learning needs: parameters, gradients, Adam's
    moments, neurons, the input, and what the rule keeps of it, over some sequences.
    """
    spec = spec_of("compact", 32)
    draw = torch.Generator().manual_seed(0)
    label = torch.tensor([3])
    contender.build(spec)((one_bin(spec, 1, draw) for _ in range(2)), label)
    _trim()
    before = psutil.Process().memory_info().rss
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    sequence = contender.build(spec)
    for _ in range(SEQUENCES):
        sequence((one_bin(spec, 1, draw) for _ in range(bins)), label)
    status = Path("/proc/self/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return {"mb": (int(peak.split()[1]) * 1024 - before) / 1e6}


def apart(part: str, number: int, stream: Path | None = None) -> dict[str, Any]:
    """One measurement in a process of its own."""
    print(part, number, file=sys.stderr)
    command = [
        sys.executable,
        "-m",
        "benchmarks.speed.memory",
        "--part",
        part,
        "--steps",
        str(number),
    ]
    command += ["--stream", str(stream)] if stream is not None else []
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def learner_section(steps: int) -> list[str]:
    """State and resident memory of the learners."""
    rows = []
    for name in ("learner", "shadow"):
        found = apart(name, steps)
        state, rss = found["state"], found["rss"]
        at = [str(step) for step in (*EARLY, steps)]
        same = "the same" if len(set(state.values())) == 1 else "**not the same**"
        size = " / ".join(f"{state[k]:,}" for k in at) if "not" in same else f"{state[at[0]]:,}"
        rows.append(
            [
                TITLES[name],
                "-".join(map(str, CHANNELS[name])),
                f"{size} bytes, {same}",
                *(f"{rss[k]:.1f} MB" for k in at),
                f"{found['highest'] - rss[at[1]]:+.1f} MB",
            ]
        )
    after = [f"RSS after {step:,}" for step in (*EARLY, steps)]
    state_after = f"state after {EARLY[0]}, {EARLY[1]:,} and {steps:,} steps"
    return [
        *provenance("benchmarks.speed.memory", "streamstop", "torch", "numpy")[2:],
        f"- seed 0, one thread; synthetic bins 2x32x32, {DENSITY:.0%} ones, segments of {BINS} "
        f"bins, {CLASSES} classes; highest of {SAMPLES} samples of RSS after {EARLY[1]:,} steps",
        "",
        *table(["channels", state_after, *after, "highest since"], rows),
        "State is all that the learner carries from bin to bin: parameters, gradients, Adam's "
        "moments, neurons, traces, sums of spikes, and the LDA readout's covariance.",
    ]


def program_section(steps: int) -> list[str]:
    """Resident memory of the whole program."""
    with tempfile.TemporaryDirectory() as folder:
        stream = Path(folder) / "noise.aedat4"
        apart("stream", steps, stream)
        found = apart("pipeline", steps, stream)
    at = [str(EARLY[-1]), str(steps)]
    state, rss = found["state"], found["rss"]
    same = "the same" if len(set(state.values())) == 1 else "**not the same**"
    row = [
        TITLES["pipeline"],
        "-".join(map(str, CHANNELS["pipeline"])),
        f"{state[at[0]]:,} bytes, {same}",
        *(f"{rss[k]:.1f} MB" for k in at),
        f"{rss[at[1]] - rss[at[0]]:+.1f} MB",
    ]
    return [
        *provenance("benchmarks.speed.memory", "streamstop", "torch", "numpy")[2:],
        f"- synthetic noise, {BIN_EVENTS} events per bin of {BIN_US // 1000} ms, a label every "
        f"{BINS} bins; seed 0, one thread",
        "",
        *table(
            ["channels", "learner's state", *(f"RSS after {int(k):,}" for k in at), "grown by"],
            [row],
        ),
    ]


def peaks_section() -> list[str]:
    """Peaks by contender and length, and their plot."""
    found: dict[str, list[float]] = {}
    for i, contender in enumerate(CONTENDERS):
        # Each peer where it keeps most, and STOP in full; layouts and shares of `learn` aside.
        if contender.learn == "w" or not present(contender):
            continue
        found[contender.name] = [apart(f"peak{i}", bins)["mb"] for bins in LENGTHS]
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    PLOT.write_text(plot(found))
    absent = [p for p in PEERS if not any(name.startswith(f"{p},") for name in found)]
    rows = [[name, *(f"{mb:.1f}" for mb in held)] for name, held in found.items()]
    rows += [[library, "not installed", *[""] * (len(LENGTHS) - 1)] for library in absent]
    return [
        *provenance("benchmarks.speed.memory", "streamstop", *PEERS)[2:],
        f"- `compact` (32-64) on 2x32x32, batch 1, float32, one thread; {SEQUENCES} sequences of T "
        "bins, a fresh process each; thresholds and leaks learn where the peer can",
        "",
        "What learning adds to resident memory at its peak, in MB, above the process with all "
        "libraries loaded and kernels compiled: parameters, gradients, Adam's moments, neurons, "
        "input, and what the rule keeps of the past.",
        "",
        *table([f"T = {bins}" for bins in LENGTHS], rows),
        f"![Peak memory by length of the sequence](../{PLOT.relative_to(ROOT / 'docs')})",
    ]


def plot(found: dict[str, list[float]]) -> str:
    """Peaks over T, both axes logarithmic, as SVG that reads on light and dark pages."""
    wide, high, left, right, top, below = 820, 400, 64, 330, 24, 48
    most = max(max(held) for held in found.values())
    least = max(min(min(held) for held in found.values()), 0.1)
    lows, highs = math.floor(math.log10(least)), math.ceil(math.log10(most))

    def across(bins: float) -> float:
        span = math.log(LENGTHS[-1] / LENGTHS[0])
        return left + (wide - left - right) * math.log(bins / LENGTHS[0]) / span

    def up(mb: float) -> float:
        share = (math.log10(max(mb, 10.0**lows)) - lows) / (highs - lows)
        return high - below - (high - top - below) * share

    colours = (
        *("#0a7d5a", "#2fae87", "#6a9a1f", "#c2410c"),
        *("#2563eb", "#9333ea", "#b45309", "#be185d"),
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{wide}" height="{high}" fill="#ffffff"/>',
    ]
    for power in range(lows, highs + 1):
        y = up(10.0**power)
        lines.append(f'<path d="M{left} {y:.1f}H{wide - right}" stroke="#dddddd"/>')
        label = f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#333333">'
        lines.append(f"{label}{10.0**power:g}</text>")
    for bins in LENGTHS:
        x = across(bins)
        lines.append(
            f'<text x="{x:.1f}" y="{high - below + 20}" text-anchor="middle" '
            f'fill="#333333">{bins}</text>'
        )
    middle = (left + wide - right) / 2
    lines.append(
        f'<text x="{middle}" y="{high - 8}" text-anchor="middle" fill="#333333">'
        "T, bins in a sequence</text>"
    )
    lines.append(f'<text x="{left - 44}" y="14" fill="#333333">MB at the peak</text>')
    # Labels stand beside the lines' ends, moved apart where those meet.
    ends = sorted(found, key=lambda name: up(found[name][-1]))
    place, last = {}, -math.inf
    for name in ends:
        last = place[name] = max(up(found[name][-1]), last + 17)
    over = max(last - (high - below), 0.0)
    for i, (name, held) in enumerate(found.items()):
        colour = colours[i % len(colours)]
        points = " ".join(
            f"{across(bins):.1f},{up(mb):.1f}" for bins, mb in zip(LENGTHS, held, strict=True)
        )
        width = 3 if name.startswith("STOP") else 1.6
        lines.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
        )
        y = place[name] - over
        lines.append(
            f'<path d="M{wide - right} {up(held[-1]):.1f}L{wide - right + 14} {y:.1f}" '
            f'stroke="{colour}" fill="none"/>'
        )
        lines.append(
            f'<text x="{wide - right + 18}" y="{y + 4:.1f}" fill="{colour}">'
            f"{name}: {held[-1]:.0f} MB</text>"
        )
    return "\n".join([*lines, "</svg>", ""])


def main() -> None:
    """Run the sections asked for; or one measurement, for the process that asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--section", choices=ORDER, action="append", help="all where none is given")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "memory.md")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--stream", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.part:
        print(json.dumps(measurement(options.part, options.steps, options.stream)))
        return
    for key, name in ORDER.items():
        if options.section and key not in options.section:
            continue
        if key == "learner":
            lines = learner_section(options.steps)
        else:
            lines = program_section(options.steps) if key == "program" else peaks_section()
        print("\n".join(lines))
        write_section(options.out, "Memory", INTRO, list(ORDER.values()), name, lines)


def measurement(part: str, number: int, stream: Path | None) -> dict[str, Any]:
    """One measurement, in this process."""
    if part.startswith("peak"):
        return run_peak(CONTENDERS[int(part[4:])], number)
    if part in ("stream", "pipeline"):
        assert stream is not None
        if part == "pipeline":
            return run_pipeline(number, stream)
        write_stream(number, stream)
        return {}
    return run_learner(part, number)


if __name__ == "__main__":
    main()
