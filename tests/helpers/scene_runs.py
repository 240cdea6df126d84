"""Runs over a source in memory: two classes, left and right half of the picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamstop.events.labels import LabelTrack, Segment
from streamstop.events.packet import Events, Packet, SensorSize, make_events
from streamstop.pipeline.configure import load_config
from streamstop.pipeline.run import RunResult, run
from streamstop.scenarios import stream as world

BIN_US = 10_000
SEGMENT_US = 100_000
SMALL = [
    "binning.bin_us=10000",
    "binning.height=16",
    "binning.width=16",
    "network.channels=[6]",
    "readout.decision=auto",
]


class Recorded:
    """A source in memory: events of two classes (left and right half), cut as a test likes."""

    name = format = "memory"
    sensor = SensorSize(16, 16)
    live = False
    simulated = True
    origin_us = 0
    notes = ()

    def __init__(self, packets: Sequence[Packet], labels: LabelTrack | None) -> None:
        self.packets = packets
        self.labels = labels

    def __iter__(self) -> Iterator[Packet]:
        yield from self.packets

    def __enter__(self) -> Recorded:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def scene(segments: int = 12, seed: int = 0) -> tuple[Events, list[int]]:
    rng = np.random.default_rng(seed)
    labels = [int(v) for v in rng.integers(2, size=segments)]
    columns = []
    for i, label in enumerate(labels):
        t = np.sort(rng.integers(i * SEGMENT_US, (i + 1) * SEGMENT_US, 400))
        x = rng.integers(0, 10, 400) + 6 * label
        columns.append((t, x, rng.integers(0, 16, 400), rng.random(400) < 0.5))
    t, x, y, p = (np.concatenate(c) for c in zip(*columns, strict=True))
    return make_events(t, x, y, p), labels


def track(labels: Sequence[int]) -> LabelTrack:
    spans = [(i * SEGMENT_US, (i + 1) * SEGMENT_US, v) for i, v in enumerate(labels)]
    return LabelTrack(("left", "right"), [Segment(*span) for span in spans])


def cut(events: Events, at: Sequence[int], end_us: int) -> list[Packet]:
    parts = np.split(events, sorted(at))
    return [Packet(part) for part in parts] + [Packet(events[:0], until_us=end_us)]


def go(
    monkeypatch: pytest.MonkeyPatch,
    out: Path,
    packets: Sequence[Packet],
    labels: LabelTrack | None,
    *sets: str,
    **options: Any,
) -> RunResult:
    monkeypatch.setattr(world, "open_source", lambda *_, **__: Recorded(packets, labels))
    overrides = {"source.uri": "memory", "run.output_dir": str(out)}
    return run(load_config(None, [*SMALL, *sets], overrides), **options)


def left(result: RunResult, *names: str) -> list[bytes]:
    return [(result.run_dir / name).read_bytes() for name in names]
