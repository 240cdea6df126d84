"""The view for no terminal: a line of JSON per second of the stream.

Guarantees:

- It asks nothing of the run: what a run does, and its results, are the same without it.
- A line is short, whatever the run: neither the picture nor the confusions are in it.
"""

from __future__ import annotations

import json
from typing import Any, TextIO

from streamstop.pipeline.snapshot import Snapshot
from streamstop.sources.base import Source

EVERY_US = 1_000_000
"""Stream time per line."""


class JsonLines:
    """Writes snapshots as lines of JSON; a `streamstop.pipeline.run.Viewer`.

    Parameters
    ----------
    out : text file
        Where lines go. Where it cannot be written to any more, the run goes on without lines.
    every_us : int
        A line for the first snapshot in each such span of stream time, in us, and for each change
        of the run's state.
    """

    commands = None

    def __init__(self, out: TextIO, every_us: int = EVERY_US) -> None:
        self._out: TextIO | None = out
        self._every_us = every_us
        self._last = ("", -1)

    def show(self, snapshot: Snapshot) -> None:
        """Write a line, if one is due."""
        now = (snapshot.state, snapshot.stream_us // self._every_us)
        if now == self._last:
            return
        self._last = now
        self._write(line(snapshot))

    def opened(self, source: Source) -> None:
        """Write a line for each thing that had to be inferred about the source."""
        for note in source.notes:
            self._write({"note": note})

    def _write(self, content: dict[str, Any]) -> None:
        if self._out is None:
            return
        try:
            print(json.dumps(content), file=self._out, flush=True)
        except (OSError, ValueError):  # nobody reads any more, or it is closed
            self._out = None


def line(snapshot: Snapshot) -> dict[str, Any]:
    """What a line says of a snapshot; None where something is not known.

    Times are in seconds of the stream (`stream_s`) or of the clock (`wall_s`), and in ms.
    """
    probabilities = dict(zip(snapshot.classes, snapshot.probabilities, strict=False))
    step, latency = snapshot.step_ms or (None, None), snapshot.latency_ms or (None, None)
    return {
        "state": snapshot.state,
        "stream_s": round(snapshot.stream_us / 1e6, 3),
        "wall_s": round(snapshot.wall_s, 3),
        "simulated": snapshot.simulated,
        "events_hz": round(snapshot.events_hz),
        "prediction": snapshot.prediction or None,
        "probability": probabilities.get(snapshot.prediction),
        "label": snapshot.label or None,
        "segments": snapshot.segments,
        "accuracy": _rounded(snapshot.accuracy),
        "baseline": snapshot.baseline or None,
        "baseline_accuracy": _rounded(snapshot.baseline_accuracy),
        "firing_rates": {one.name: round(one.firing_rate, 4) for one in snapshot.layers},
        "received": snapshot.received,
        "binned": snapshot.binned,
        "dropped": snapshot.dropped,
        "rejected": snapshot.rejected,
        "step_ms_p50": _rounded(step[0]),
        "step_ms_p99": _rounded(step[1]),
        "latency_ms_p50": _rounded(latency[0]),
        "latency_ms_p99": _rounded(latency[1]),
        "memory_mb": round(snapshot.memory_mb),
        "message": snapshot.message or None,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
