"""Ten gigabytes of events through `streamstop run`: does memory stay constant?

A generator writes Prophesee DAT, 8 bytes per event, to the program's standard input; nothing is
stored. The program's resident memory is sampled ten times per second. It measures memory and the
event ledger, not learning: the events are noise.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

from benchmarks._shared.provenance import ROOT, provenance

SENSOR = (640, 480)
BLOCK = 1 << 20
RATE_HZ = 20_000_000
SETTLED = 0.25
"""The share of the stream after which memory should stand still."""

GENERATE = "--generate"


def generate(events: int) -> None:
    """Write so many events to standard output."""
    out = sys.stdout.buffer
    out.write(b"% Data file containing CD events.\n% Version 2\n")
    out.write(f"% Width {SENSOR[0]}\n% Height {SENSOR[1]}\n".encode() + bytes((0x0C, 8)))
    draw = np.random.default_rng(0)
    words = np.empty((BLOCK, 2), "<u4")
    x, y = draw.integers(0, SENSOR[0], BLOCK), draw.integers(0, SENSOR[1], BLOCK)
    words[:, 1] = x | y << 14 | draw.integers(0, 2, BLOCK) << 28
    steps = np.arange(BLOCK) * 1_000_000 // RATE_HZ
    length_us = BLOCK * 1_000_000 // RATE_HZ
    written = 0
    while written < events:
        n = min(BLOCK, events - written)
        words[:, 0] = (steps + written // BLOCK * length_us) & 0xFFFFFFFF
        out.write(words[:n].tobytes())
        written += n


def main() -> None:
    """Run the program on generated events, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=10.0)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "volume.md")
    parser.add_argument(GENERATE, type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.generate:
        generate(options.generate)
        return
    events = int(options.gigabytes * 1e9) // 8
    with tempfile.TemporaryDirectory() as folder:
        summary, seen, seconds = run(events, folder)
    ledger = summary["ledger"]
    settled = [rss for share, rss in seen if share >= SETTLED]
    lines = [
        "# Ten gigabytes of events",
        "",
        *provenance("benchmarks.speed.volume", "streamstop", "torch", "numpy", "numba"),
        f"- {events:,} generated events ({options.gigabytes:g} GB of DAT, sensor "
        f"{SENSOR[0]}x{SENSOR[1]}, {RATE_HZ / 1e6:g} Mev/s of their own time) through standard "
        "input; bins of 50 ms, `compact`, no labels",
        "",
        "| received | binned | difference | seconds | Mev/s | RSS at "
        f"{SETTLED:.0%} of the stream | RSS at the end | highest between |",
        "|---|---|---|---|---|---|---|---|",
        f"| {ledger['received']:,} | {ledger['binned']:,} | {ledger['received'] - events:,} | "
        f"{seconds:.0f} | {events / seconds / 1e6:.1f} | {settled[0] / 1e6:.1f} MB | "
        f"{settled[-1] / 1e6:.1f} MB | {max(settled) / 1e6:.1f} MB |",
        "",
        "RSS is resident memory of the program, most of it Python, torch and what they load.",
    ]
    options.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def run(events: int, folder: str) -> tuple[dict, list[tuple[float, int]], float]:
    """Summary of the run; resident memory by the share of time passed; seconds."""
    maker = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.speed.volume", GENERATE, str(events)],
        stdout=subprocess.PIPE,
    )
    began_s = time.monotonic()
    command = [
        sys.executable,
        "-m",
        "streamstop",
        "run",
        "--source",
        "-",
        "--json",
        "--out",
        folder,
    ]
    program = subprocess.Popen(command, stdin=maker.stdout, stdout=subprocess.PIPE)
    assert maker.stdout is not None
    maker.stdout.close()
    looked: list[tuple[float, int]] = []

    def look() -> None:
        process = psutil.Process(program.pid)
        while program.poll() is None:
            try:
                looked.append((time.monotonic() - began_s, process.memory_info().rss))
            except psutil.NoSuchProcess:
                return
            time.sleep(0.1)

    watcher = threading.Thread(target=look)
    watcher.start()
    output, _ = program.communicate()
    watcher.join()
    seconds = time.monotonic() - began_s
    last_s = looked[-1][0]
    # Of a process that is ending nothing is resident any more.
    alive = [(at / last_s, rss) for at, rss in looked if rss > 1 << 20]
    return json.loads(output), alive[:-1], seconds


if __name__ == "__main__":
    main()
