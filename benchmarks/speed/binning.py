"""Speed of binning: streamstop, np.bincount, tonic's ToFrame and aestream's reader.

Every contender gets the same seeded stream and one thread. The table gives its best and its median
of several turns; turns alternate between contenders, so that a busy machine slows all of them.
Contenders whose bins are accessible are first compared with ours. Contenders do different amounts
of work; the page lists which. Writes docs/results/binning.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks._shared.provenance import cpu, installed
from streamstop.events.binning import Binner, pixel_to_cell_map
from streamstop.events.packet import MAX_PACKET_EVENTS, Events, SensorSize, make_events

ROOT = Path(__file__).resolve().parents[2]
DVS128, DAVIS346 = SensorSize(128, 128), SensorSize(346, 260)


class Case(NamedTuple):
    """One input: where events fall, how many a second, and what they are binned to."""

    sensor: SensorSize
    height: int
    width: int
    bin_us: int
    rate_hz: float
    scene: str


CASES = [
    Case(DVS128, 32, 32, 5_000, 1e6, "uniform"),
    Case(DVS128, 32, 32, 5_000, 10e6, "uniform"),
    Case(DVS128, 32, 32, 10_000, 10e6, "edge"),
    Case(DAVIS346, 32, 32, 10_000, 10e6, "uniform"),
    Case(DAVIS346, 65, 86, 5_000, 10e6, "uniform"),
    Case(DAVIS346, 65, 86, 10_000, 10e6, "edge"),
]


def stream(case: Case, n: int) -> Events:
    """`n` seeded events in order of time: all over the sensor, or on an edge that moves across."""
    rng = np.random.default_rng(0)
    t = np.sort(rng.integers(0, int(n / case.rate_hz * 1e6), n))
    x = rng.integers(0, case.sensor.width, n)
    if case.scene == "edge":
        x = (t // 2_000 + np.abs(rng.normal(0, 3, n)).astype(np.int64)) % case.sensor.width
    return make_events(t, x, rng.integers(0, case.sensor.height, n), rng.integers(0, 2, n))


def packets(events: Events) -> list[Events]:
    """The stream as a source would cut it."""
    return [events[i : i + MAX_PACKET_EVENTS] for i in range(0, len(events), MAX_PACKET_EVENTS)]


def binner_of(case: Case, reorder_us: int = 0) -> Binner:
    """The contender, set up as the pipeline would."""
    return Binner(
        case.sensor,
        bin_us=case.bin_us,
        height=case.height,
        width=case.width,
        origin_us=0,
        reorder_window_us=reorder_us,
    )


def streamstop_bins(case: Case, cut: list[Events], reorder_us: int = 0) -> int:
    """Everything the pipeline gets: bins, order and range checked, the ledger kept."""
    binner = binner_of(case, reorder_us)
    events = sum(b.events for packet in cut for b in binner.push(packet))
    return events + sum(b.events for b in binner.flush())


def numpy_bins(case: Case, cut: list[Events]) -> list[np.ndarray]:
    """The same bins in vector operations, packet by packet: range, order, cell, window, bincount.

    What numpy alone would do for the binner on a stream that is in order.
    """
    columns, rows = pixel_to_cell_map(case.sensor, case.height, case.width, "letterbox")
    rows = rows * case.width
    plane, size = case.height * case.width, 2 * case.height * case.width
    done: list[np.ndarray] = []
    first, open_bin, now = 0, np.zeros(size, np.int64), 0
    for packet in cut:
        t, x, y = packet["t"], packet["x"], packet["y"]
        good = (x < case.sensor.width) & (y < case.sensor.height)
        good &= t >= np.maximum(np.maximum.accumulate(t), now)
        if not good.all():
            t, x, y, packet = t[good], x[good], y[good], packet[good]
        now = int(t[-1])
        window = t // case.bin_us - first
        cell = window * size + rows[y] + columns[x] + packet["p"] * np.int64(plane)
        counts = np.bincount(cell, minlength=(int(window[-1]) + 1) * size).reshape(-1, size)
        counts[0] += open_bin
        done += [c.astype(np.int32) for c in counts[:-1]]
        open_bin = counts[-1]
        first += len(counts) - 1
    return [*done, open_bin.astype(np.int32)]


def tonic_bins(case: Case, events: Any) -> Any:
    """ToFrame at the sensor's own resolution: it pools nothing."""
    from tonic.transforms import ToFrame

    frames = ToFrame(sensor_size=(*case.sensor, 2), time_window=case.bin_us, overlap=0)
    return frames(events)


def aestream_reads(case: Case, path: str) -> float:
    """Read a .dat file of the stream to its end as images: no windows, no polarity, no pooling."""
    import aestream

    file_input: Any = aestream.FileInput  # its type stubs lag behind it
    total = 0.0
    with file_input(path, tuple(case.sensor), ignore_time=True) as source:
        while source.is_streaming():
            total += float(source.read().sum())
        return total + float(source.read().sum())


def write_dat(events: Events, sensor: SensorSize, path: Path) -> None:
    """Prophesee DAT, the one format that aestream reads exactly."""
    words = np.empty((len(events), 2), "<u4")
    words[:, 0] = events["t"]
    words[:, 1] = events["x"].astype("<u4") | events["y"].astype("<u4") << 14
    words[:, 1] |= events["p"].astype("<u4") << 28
    header = f"% Version 2\n% Width {sensor.width}\n% Height {sensor.height}\n"
    path.write_bytes(header.encode() + bytes([0x0C, 8]) + words.tobytes())


def check_equal(case: Case, cut: list[Events]) -> None:
    """Ours and numpy's bins, whole arrays, before the clock starts."""
    binner = binner_of(case)
    ours = [b.counts.ravel() for packet in cut for b in binner.push(packet)]
    ours += [b.counts.ravel() for b in binner.flush()]
    theirs = numpy_bins(case, cut)
    if len(ours) != len(theirs) or not all(map(np.array_equal, ours, theirs)):
        raise SystemExit(f"the bins of streamstop and numpy differ on {case}")


def measure(
    contenders: dict[str, tuple[Callable[[], Any], int]], turns: int
) -> dict[str, tuple[float, float]]:
    """Best and median Mev/s of each contender; `contenders` maps name to (call, events)."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(turns):
        for name, (call, _) in contenders.items():
            begun = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - begun)
    return {
        name: (n / min(seconds[name]) / 1e6, n / statistics.median(seconds[name]) / 1e6)
        for name, (_, n) in contenders.items()
    }


def run_case(case: Case, n: int, turns: int, folder: Path) -> dict[str, tuple[float, float]]:
    """All contenders on one case. The slow ones get a quarter of the stream or less."""
    events = stream(case, n)
    cut = packets(events)
    check_equal(case, cut)
    columns, rows = pixel_to_cell_map(case.sensor, case.height, case.width, "letterbox")
    cell = rows[events["y"]] * case.width + columns[events["x"]]
    cell += events["p"] * np.int64(case.height * case.width)
    cells = [cell[i : i + MAX_PACKET_EVENTS] for i in range(0, n, MAX_PACKET_EVENTS)]
    size = 2 * case.height * case.width
    contenders: dict[str, tuple[Callable[[], Any], int]] = {
        "streamstop": (lambda: streamstop_bins(case, cut), n),
        "streamstop, reorder 10 ms": (lambda: streamstop_bins(case, cut, 10_000), n),
        "np.bincount alone": (lambda: [np.bincount(c, minlength=size) for c in cells], n),
        "numpy, whole job": (lambda: numpy_bins(case, cut), n),
    }
    some = events[: n // 16]
    if installed("tonic"):
        columns_of_tonic = np.dtype([("x", "i8"), ("y", "i8"), ("t", "i8"), ("p", "i8")])
        for_tonic = np.empty(len(some), columns_of_tonic)
        for name in ("x", "y", "t", "p"):
            for_tonic[name] = some[name]
        contenders["tonic ToFrame"] = (lambda: tonic_bins(case, for_tonic), len(some))
    if installed("aestream"):
        quarter = events[: n // 4]
        path = folder / "stream.dat"
        write_dat(quarter, case.sensor, path)
        contenders["aestream read"] = (lambda: aestream_reads(case, str(path)), len(quarter))
    return measure(contenders, turns)


def start_up() -> dict[str, float]:
    """Seconds in a fresh process: to the first bin, and of it the import of numba."""
    whole = (
        "from streamstop.events.binning import Binner; from streamstop.events.packet import *\n"
        "list(Binner(SensorSize(4, 4)).push(make_events([0, 10_000], [0, 0], [0, 0], [1, 1])))\n"
    )
    return {
        "from `import streamstop.events.binning` to the first bin, compiling included": seconds_of(
            whole
        ),
        "of it, the import of numba": seconds_of("import numba\n"),
    }


def seconds_of(script: str) -> float:
    """Best of four fresh processes that have numpy already."""
    timed = (
        "import time, numpy; begun = time.perf_counter()\n"
        f"{script}print(time.perf_counter() - begun)"
    )
    command = [sys.executable, "-c", timed]
    return min(
        float(subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout)
        for _ in range(4)
    )


def report(command: str, n: int, turns: int, results: Any, starts: dict[str, float]) -> str:
    """The page: what was run, on what, what came out, and what each contender does."""
    names = list(results[0][1])
    packages = ["streamstop", "numpy", "numba", "tonic", "aestream"]
    versions = ", ".join(f"{p} {installed(p) or 'not installed'}" for p in packages)
    lines = [
        "# Binning speed",
        "",
        "Written by `benchmarks/speed/binning.py`; do not edit.",
        "",
        f"- command: `{command}`",
        f"- versions: Python {platform.python_version()}, {versions}",
        f"- cpu: {cpu()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}; "
        "one thread each (aestream reads in a thread of its own besides)",
        f"- input: {n:,} synthetic events per case (seed 0), packets of {MAX_PACKET_EVENTS:,}; "
        f"{turns} turns in rotation",
        "",
        "Million events per second, best turn (median in brackets):",
        "",
        "| sensor → grid | window | rate | scene | " + " | ".join(names) + " |",
        "|---" * (4 + len(names)) + "|",
    ]
    for case, speeds in results:
        cells = " | ".join(f"{best:.0f} ({middle:.0f})" for best, middle in speeds.values())
        lines.append(
            f"| {case.sensor} → {case.width}x{case.height} | {case.bin_us / 1000:g} ms "
            f"| {case.rate_hz / 1e6:g} Mev/s | {case.scene} | {cells} |"
        )
    lines += [
        "",
        "What each one does:",
        "",
        "- **streamstop**: `Binner.push` on arrays of `EVENT_DTYPE`: range and order checked, "
        "pooled, cut into windows, a fresh tensor per window, the ledger kept.",
        "- **np.bincount alone**: one call per packet on cell indices that are ready made: "
        "no decoding, no checks, no windows.",
        "- **numpy, whole job**: the same bins as streamstop (compared before timing) in vector "
        "operations, for a stream in order.",
        "- **tonic ToFrame**: windows at the sensor's own resolution, no pooling; "
        f"{n // 16:,} events.",
        "- **aestream read**: images without polarity or windows from a .dat file in the page "
        f"cache, decoding included; {n // 4:,} events.",
        "",
        "Start-up in a fresh process:",
        "",
        *(f"- {name}: {seconds:.2f} s" for name, seconds in starts.items()),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Run all cases, print the page, write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=4_000_000, help="events per case")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "binning.md")
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            print(case, file=sys.stderr)
            results.append((case, run_case(case, options.events, options.turns, Path(folder))))
    starts = start_up()
    command = " ".join(["python", "-m", "benchmarks.speed.binning", *sys.argv[1:]])
    page = report(command, options.events, options.turns, results, starts)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
