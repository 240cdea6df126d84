"""Snapshots of a run that was never run, for tests of views."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from streamstop.pipeline.snapshot import LayerState, ShownLabel, Snapshot

CLASSES = ("rock", "paper", "scissors", *(f"class {i}" for i in range(4, 10)))


def a_picture(number: int, side: int = 32) -> np.ndarray:
    """A ring of events that moves: OFF on one side, ON on the other."""
    y, x = np.mgrid[0:side, 0:side] / side
    cx, cy = 0.5 + 0.25 * np.cos(number / 6), 0.5 + 0.25 * np.sin(number / 6)
    ring = np.exp(-(((np.hypot(x - cx, y - cy) - 0.18) / 0.05) ** 2))
    side_of = (x - cx) * np.cos(number / 6) + (y - cy) * np.sin(number / 6)
    noise = np.random.default_rng(number).random((2, side, side)) < 0.01
    off, on = ring * (side_of < 0), ring * (side_of >= 0)
    return (255 * np.clip(np.stack([off, on]) + 0.4 * noise, 0, 1)).astype(np.uint8)


def a_snapshot(number: int = 1, **changes: object) -> Snapshot:
    """The state of a run that is taught three classes."""
    p = np.array([0.2, 0.7, 0.1] + [0.0] * 6)
    history = tuple(float(x) for x in np.clip(0.3 + 0.02 * np.arange(40), 0, 0.97))
    one = Snapshot(
        number=number,
        state="running",
        source="udp://127.0.0.1:3333?sensor=346x260",
        sensor=(346, 260),
        live=True,
        simulated=False,
        stream_us=100_000 * number,
        wall_s=0.1 * number,
        picture=a_picture(number),
        prediction="paper",
        readout="lda",
        classes=CLASSES,
        probabilities=tuple(p.tolist()),
        taught=(6, 6, 5, 0, 0, 0, 0, 0, 0),
        accuracy=0.94,
        baseline="lda_counts",
        baseline_accuracy=0.81,
        history=history,
        alarms=(12,),
        segments=40,
        confusion=((9, 1, 0), (0, 10, 0), (1, 0, 8)),
        layers=(
            LayerState("conv 1", 0.062, 1.01, 0.5),
            LayerState("conv 2", 0.031, 0.98, 0.49),
        ),
        events_hz=183_000.0,
        received=1_830_000,
        binned=1_829_000,
        pending=500,
        dropped={"overload": 120},
        rejected={"hot_pixel": 380},
        step_ms=(0.71, 2.4),
        latency_ms=(31.0, 58.0),
        queue=1200,
        queue_capacity=4_000_000,
        memory_mb=412.0,
        labels=(ShownLabel("rock", 0, 3_000_000), ShownLabel("paper", 4_000_000)),
        run_dir="runs/20261201T000000Z-live",
    )
    return replace(one, **changes)  # type: ignore[arg-type]
