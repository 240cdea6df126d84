"""Speed of decoding recordings: streamstop, faery, expelliarmus, aestream, dv-processing, aedat.

faery writes every file from the same events. Each contender reads it to its end as arrays of
events, in packets if it has them. Its output is first compared with what was written, field by
field; a contender with differences is listed as wrong. Then contenders take turns in one process
on one core; the table gives the best turn by CPU time of all threads. Writes
docs/results/decode.md.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import faery
import numpy as np

from benchmarks._shared.provenance import ROOT, installed, provenance
from streamstop.events.packet import Events, SensorSize, empty_events, make_events
from streamstop.formats.detect import open_recording

FIELDS = ("t", "x", "y", "p")
Reader = Callable[[str, SensorSize], Iterable[Any]]


class Case(NamedTuple):
    """One file: what it is called, how faery writes it, and where its events come from."""

    name: str
    suffix: str
    options: dict[str, Any]
    recording: str


CASES = (
    Case("DAT", ".dat", {"version": "dat2"}, "evt2.raw"),
    Case("EVT2", ".raw", {"version": "evt2"}, "evt2.raw"),
    Case("EVT3", ".raw", {"version": "evt3"}, "evt2.raw"),
    Case("AEDAT4, LZ4", ".aedat4", {"compression": ("lz4", 1)}, "davis346.aedat4"),
    Case("AEDAT4, zstd", ".aedat4", {"compression": ("zstd", 3)}, "davis346.aedat4"),
    Case("Event Stream", ".es", {}, "evt2.raw"),
)
SENSORS = {"evt2.raw": SensorSize(640, 480), "davis346.aedat4": SensorSize(346, 260)}


# How each reads: its own arrays, one after the other.


def by_streamstop(path: str, _: SensorSize) -> Iterator[Any]:
    return (packet.events for packet in open_recording(path).packets())


def by_faery(path: str, _: SensorSize) -> Iterator[Any]:
    return iter(faery.events_stream_from_file(path))


def _expelliarmus(path: str, **options: Any) -> Any:
    import expelliarmus

    encoding = "dat" if path.endswith(".dat") else Path(path).stem.split("-")[0]
    return expelliarmus.Wizard(encoding=encoding, **options)


def by_expelliarmus(path: str, _: SensorSize) -> Iterator[Any]:
    wizard = _expelliarmus(path, chunk_size=1 << 16, buff_size=1 << 16)
    wizard.set_file(path)
    yield from wizard.read_chunk()


def by_expelliarmus_whole(path: str, _: SensorSize) -> Iterator[Any]:
    yield _expelliarmus(path, buff_size=1 << 16).read(path)


def by_aestream(path: str, sensor: SensorSize) -> Iterator[Any]:
    import aestream

    yield aestream.FileInput(path, tuple(sensor)).load()


def by_dv(path: str, _: SensorSize) -> Iterator[Any]:
    import dv_processing

    recording = dv_processing.io.MonoCameraRecording(path)
    while (batch := recording.getNextEventBatch()) is not None:
        yield batch.numpy()


def by_aedat(path: str, _: SensorSize) -> Iterator[Any]:
    import aedat

    for packet in aedat.Decoder(path):
        if "events" in packet:
            yield packet["events"]


READERS: dict[str, tuple[str, Reader, tuple[str, ...]]] = {
    "streamstop": ("streamstop", by_streamstop, tuple(case.name for case in CASES)),
    "faery": ("faery", by_faery, tuple(case.name for case in CASES)),
    "expelliarmus, chunks": ("expelliarmus", by_expelliarmus, ("DAT", "EVT2", "EVT3")),
    "expelliarmus, whole": ("expelliarmus", by_expelliarmus_whole, ("DAT", "EVT2", "EVT3")),
    "aestream": ("aestream", by_aestream, ("DAT", "EVT2", "EVT3", "AEDAT4, LZ4", "AEDAT4, zstd")),
    "dv-processing": ("dv-processing", by_dv, ("AEDAT4, LZ4", "AEDAT4, zstd")),
    "aedat": ("aedat", by_aedat, ("AEDAT4, LZ4", "AEDAT4, zstd")),
}
"""Package, reader, and the formats it supports, by contender."""


def stream(case: Case, data: Path, n: int) -> tuple[Events, SensorSize, str]:
    """About `n` events in order of time, and where they come from."""
    sensor = SENSORS[case.recording]
    path = data / case.recording
    if not path.exists():
        rng = np.random.default_rng(0)
        t = np.sort(rng.integers(0, n // 5, n))
        x, y = rng.integers(0, sensor.width, n), rng.integers(0, sensor.height, n)
        return make_events(t, x, y, rng.integers(0, 2, n)), sensor, "generated, uniform, 5 Mev/s"
    parts = [packet.events for packet in open_recording(str(path)).packets()]
    once = np.concatenate([empty_events(), *parts])
    once["t"] = np.maximum.accumulate(once["t"]) - once["t"][0]
    times = max(n // len(once), 1)
    whole = np.tile(once, times)
    whole["t"] += np.repeat(np.arange(times) * (int(once["t"][-1]) + 1), len(once))
    return whole, sensor, f"{case.recording}, {times} times over"


def write(case: Case, events: Events, sensor: SensorSize, folder: Path) -> Path:
    """The file, by faery."""
    array = np.zeros(len(events), faery.EVENTS_DTYPE)
    for ours, theirs in zip(FIELDS, ("t", "x", "y", "on"), strict=True):
        array[theirs] = events[ours]
    path = folder / f"{case.options.get('version', 'rec')}-{case.name[-4:]}{case.suffix}"
    faery.events_stream_from_array(array, tuple(sensor)).to_file(
        path, zero_t0=False, **case.options
    )
    return path


def fault(read: Reader, path: Path, sensor: SensorSize, events: Events) -> str:
    """What is wrong with what a contender hands over; empty where nothing is."""
    first = 0
    wrong = dict.fromkeys(FIELDS, 0)
    try:
        for block in read(str(path), sensor):
            expected = events[first : first + len(block)]
            first += len(block)
            names = block.dtype.names
            for name in FIELDS:
                theirs = next(one for one in (name, "timestamp", "polarity", "on") if one in names)
                if name == "p":
                    theirs = next(one for one in ("p", "polarity", "on") if one in names)
                column = block[theirs][: len(expected)].astype(np.int64)
                wrong[name] += int((column != expected[name]).sum())
    except Exception as error:  # whatever a library throws
        return f"{type(error).__name__} after {first:,} events"
    if first != len(events):
        return f"{first:,} events of {len(events):,}"
    return ", ".join(f"{count:,} wrong {name}" for name, count in wrong.items() if count)


def exhaust(read: Reader, path: Path, sensor: SensorSize) -> int:
    """Read it to its end and let go of every array; events."""
    return sum(len(block) for block in read(str(path), sensor))


def run_case(
    case: Case, data: Path, n: int, turns: int, folder: Path
) -> tuple[str, dict[str, tuple[str, float]]]:
    """Where the events come from; by contender, what is wrong and the best Mev/s."""
    events, sensor, origin = stream(case, data, n)
    path = write(case, events, sensor, folder)
    readers = {
        name: read
        for name, (package, read, formats) in READERS.items()
        if case.name in formats and installed(package)
    }
    faults = {name: fault(read, path, sensor, events) for name, read in readers.items()}
    number, size = len(events), path.stat().st_size
    del events
    gc.collect()
    best = dict.fromkeys(readers, float("inf"))
    for _ in range(turns):
        for name, read in readers.items():
            if "Error" in faults[name]:
                continue
            begun = time.process_time()
            exhaust(read, path, sensor)
            best[name] = min(best[name], time.process_time() - begun)
    path.unlink()
    title = f"{number:,} events ({origin}), {size / number:.1f} bytes each"
    return title, {name: (faults[name], number / best[name] / 1e6) for name in readers}


def report(results: dict[str, tuple[str, dict[str, tuple[str, float]]]], turns: int) -> str:
    """The page."""
    lines = ["# Decoding speed", ""]
    lines += provenance(
        "benchmarks.speed.decode", "streamstop", "faery", "expelliarmus", "aestream",
        "dv-processing", "aedat", "numpy", "numba", "lz4", "zstandard",
    )  # fmt: skip
    lines += [
        f"- one process, {turns} turns in rotation, best turn by processor time, all threads "
        "counted; files written by faery, in the page cache",
        "",
        "Million events per second. **Bold**: the best of those whose output is what was written. "
        "A reader with other output is listed with what is wrong.",
        "",
    ]
    names = [name for name in READERS if any(name in one for _, one in results.values())]
    lines += [
        "| format | " + " | ".join(names) + " | ours / best other right one |",
        "|---" * (len(names) + 2) + "|",
    ]
    for format_name, (_, found) in results.items():
        right = {name: speed for name, (wrong, speed) in found.items() if not wrong}
        top = max(right.values(), default=0.0)
        cells = []
        for name in names:
            wrong, speed = found.get(name, ("", float("nan")))
            if name not in found:
                cells.append("")
            elif wrong:
                shown = f" ({speed:.0f})" if speed else ""
                cells.append(f"wrong: {wrong}{shown}")
            else:
                cells.append(f"**{speed:.0f}**" if speed == top else f"{speed:.0f}")
        others = max((right[name] for name in right if name != "streamstop"), default=0.0)
        ratio = f"{right['streamstop'] / others:.2f}" if "streamstop" in right and others else ""
        lines.append(f"| {format_name} | " + " | ".join(cells) + f" | {ratio} |")
    lines += ["", "Inputs:", ""]
    lines += [f"- {format_name}: {title}" for format_name, (title, _) in results.items()]
    return "\n".join([*lines, ""])


def main() -> None:
    """Run all cases, print the page, write it."""
    stated = os.environ.get("STREAMSTOP_TEST_DATA")
    data = Path(stated) if stated else ROOT.parent / "shared" / "data"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=6_000_000, help="events a file")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--only", default="", help="formats with this in their name")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "decode.md")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            if options.only in case.name:
                results[case.name] = run_case(
                    case, data / "formats", options.events, options.turns, Path(folder)
                )
    page = report(results, options.turns)
    print(page)
    if not options.only:
        options.out.write_text(page)


if __name__ == "__main__":
    main()
