"""Whether memory stands still: resident memory after 1,000 and after 100,000 steps of learning.

Three streams of synthetic bins in segments of 50: the learner with one update a segment, the
learner with an update every step and a shadow that decides, and the whole pipeline, from a file
written for the occasion to its report, with baselines and both readouts. Beside them, what
backpropagation through time holds as the sequence grows. Each part, the writing of the file too,
runs in a process of its own, and the one that starts them stays small: a process begins with the
peak of its parent as its own. Writes docs/results/memory.md.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
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
from provenance import ROOT, provenance

from streamstop.stop.layers import LayerSpec
from streamstop.stop.learner import LearnerSpec, StopLearner
from streamstop.stop.network import Network, NetworkSpec
from streamstop.stop.reference import bptt_grads

EARLY, BINS, CLASSES, DENSITY = 1_000, 50, 11, 0.06
CHANNELS = {"learner": (32, 64), "shadow": (8, 16), "pipeline": (8, 16)}
SAID = {
    "learner": "the learner, one update a segment",
    "shadow": "the learner, an update every step, a shadow decides",
    "pipeline": "`streamstop run`: file, bins, learner, both readouts, baselines, run folder",
}
BIN_US, BIN_EVENTS = 10_000, 30


def rss_mb() -> float:
    """Resident memory now, garbage collected, in MB (10^6 bytes)."""
    gc.collect()
    return float(psutil.Process().memory_info().rss / 1e6)


def spec_of(channels: tuple[int, ...]) -> NetworkSpec:
    """Convolutions 3x3 on 2x32x32, each pooled by 2, under a linear readout."""
    return NetworkSpec((2, 32, 32), tuple(LayerSpec("conv", c, pool=2) for c in channels), CLASSES)


def run_learner(name: str, steps: int) -> dict[str, Any]:
    """The learner alone, through as many segments as it takes; a fresh bin every step."""
    learner = StopLearner(
        spec_of(CHANNELS[name]), LearnerSpec(update="step" if name == "shadow" else "segment")
    )
    draw = torch.Generator().manual_seed(0)
    found: dict[str, Any] = {}
    done = 0
    while done < steps:
        label = int(torch.randint(CLASSES, (), generator=draw))
        learner.begin_segment()
        for _ in range(BINS):
            x = (torch.rand(1, 2, 32, 32, generator=draw) < DENSITY).float()
            learner.predict(x, will_learn=True)
            learner.learn(label)
            done += 1
            if done in (EARLY, steps):
                found[str(done)] = [rss_mb(), learner.state_bytes()]
        learner.learn_rates(learner.decide().rates, label)
        learner.end_segment()
    return found


def write_stream(steps: int, path: Path) -> None:
    """An AEDAT4 recording of noise at `path`, and its CSV: a label every `BINS` bins."""
    from streamstop.events import SensorSize, make_events
    from streamstop.sources.aedat4_writer import write_aedat4

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
    from streamstop import pipeline
    from streamstop.config import load_config

    found: dict[str, Any] = {}
    state: list[StopLearner] = []
    build = pipeline.build_learner

    def build_and_keep(*args: Any, **more: Any) -> StopLearner:
        state.append(build(*args, **more))
        return state[-1]

    def look(now: pipeline.Progress) -> None:
        if now.bin in (EARLY, steps - 1):
            found[str(now.bin)] = [rss_mb(), state[0].state_bytes()]

    pipeline.build_learner = build_and_keep
    sets = {
        "source.uri": str(stream),
        "source.labels": str(stream.with_suffix(".csv")),
        "binning.bin_us": BIN_US,
        "network.channels": list(CHANNELS["pipeline"]),
        "run.out": str(stream.parent),
    }
    result = pipeline.run(
        load_config(sets=[f"{key}={json.dumps(value)}" for key, value in sets.items()]),
        progress=look,
    )
    assert result.summary["bins"] == steps, result.summary["bins"]
    assert result.summary["segments"] == steps // BINS, result.summary["segments"]
    found[str(steps)] = found.pop(str(steps - 1))
    return found


def run_bptt(bins: int) -> dict[str, Any]:
    """Peak of resident memory that unrolling `bins` bins adds, in MB."""
    network = Network(spec_of(CHANNELS["learner"]), 0)
    x = (torch.rand(bins, 1, 2, 32, 32) < DENSITY).float()
    bptt_grads(network, x[:2], torch.tensor([3]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bptt_grads(network, x, torch.tensor([3]))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"mb": (after - before) * 1024 / 1e6}


def apart(part: str, number: int, stream: Path | None = None) -> dict[str, Any]:
    """One measurement in a process of its own."""
    print(part, number, file=sys.stderr)
    command = [sys.executable, __file__, "--part", part, "--steps", str(number)]
    command += ["--stream", str(stream)] if stream is not None else []
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def report(steps: int) -> str:
    """Measure all and write the page."""
    lines = [
        "# Memory of a long run",
        "",
        *provenance("memory.py", "streamstop", "torch", "numpy"),
        f"- seed 0, one thread; synthetic bins 2x32x32, segments of {BINS} bins, {CLASSES} "
        "classes; each line in a process of its own",
        "",
        f"| | channels | RSS after {EARLY:,} steps | after {steps:,} | grown by | "
        "learner's state | the same |",
        "|---|---|---|---|---|---|---|",
    ]
    for part, channels in CHANNELS.items():
        with tempfile.TemporaryDirectory() as folder:
            stream = Path(folder) / "noise.aedat4" if part == "pipeline" else None
            if stream is not None:
                apart("stream", steps, stream)
            found = apart(part, steps, stream)
        (early, state), (late, state_late) = found[str(EARLY)], found[str(steps)]
        cells = [SAID[part], "-".join(map(str, channels)), f"{early:.1f} MB", f"{late:.1f} MB"]
        cells += [f"{late - early:+.1f} MB", f"{state_late:,} bytes"]
        cells += ["yes" if state == state_late else f"no, {state:,} before"]
        lines.append(f"| {' | '.join(cells)} |")
    lengths = (10, 20, 50, 100, 200)
    held = [f"{apart('bptt', bins)['mb']:.0f} MB" for bins in lengths]
    network = Network(spec_of(CHANNELS["learner"]), 0)
    lines += [
        "",
        f"Neurons and traces of the {'-'.join(map(str, CHANNELS['learner']))} network take "
        f"{network.state_bytes() / 1e6:.2f} MB at any length. What backpropagation through time "
        "(the same network, unrolled) adds to the peak of resident memory for one sequence of T "
        "bins:",
        "",
        f"| T = {' | '.join(map(str, lengths))} |",
        "|---" * len(lengths) + "|",
        f"| {' | '.join(held)} |",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, print, write; or one part alone, for the process that asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "memory.md")
    parser.add_argument("--part", choices=[*CHANNELS, "stream", "bptt"], help=argparse.SUPPRESS)
    parser.add_argument("--stream", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.part == "bptt":
        print(json.dumps(run_bptt(options.steps)))
    elif options.part == "stream":
        write_stream(options.steps, options.stream)
        print("{}")
    elif options.part == "pipeline":
        print(json.dumps(run_pipeline(options.steps, options.stream)))
    elif options.part:
        print(json.dumps(run_learner(options.part, options.steps)))
    else:
        page = report(options.steps)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(page)
        print(page)


if __name__ == "__main__":
    main()
