"""Makes snapshots of a run for its views, at most ten times per second of wall time."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from streamstop.events.binning import Bin
from streamstop.pipeline.build import RunParts
from streamstop.pipeline.snapshot import (
    MAX_CLASSES,
    MAX_HISTORY,
    MAX_LABELS,
    MAX_SIDE,
    LayerState,
    ShownLabel,
    Snapshot,
)
from streamstop.pipeline.teaching import Teacher
from streamstop.sources.base import stated_origin

EVERY_S = 0.1
DECAY_US = 50_000
"""Time constant with which events fade from the picture."""
_RATE_BINS = 20
_FULL, _FULL_SHARE = 3.0, 0.9
"""Full brightness: so many events of a cell, or more where the busiest cells hold more."""


class SnapshotPublisher:
    """Puts snapshots where views find them.

    Parameters
    ----------
    parts : RunParts
        Of the run.
    run_dir : Path
        Its folder.
    put : callable
        Takes each snapshot.
    teacher : Teacher or None
        Of a stream that is taught.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(
        self,
        parts: RunParts,
        run_dir: Path,
        put: Callable[[Snapshot], None],
        teacher: Teacher | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parts, self._run_dir, self._put, self._teacher = parts, run_dir, put, teacher
        self._clock = clock
        self._due_s = -math.inf
        self._number = 0
        self._picture: np.ndarray | None = None
        self._zero_us: int | None = None  # where the stream begins, in the time of the labels
        self._rates: deque[tuple[int, int]] = deque(maxlen=_RATE_BINS)
        self._history: deque[float] = deque(maxlen=MAX_HISTORY)
        self._scored = self._alarmed = 0
        self._alarms: deque[int] = deque(maxlen=MAX_HISTORY)
        self._confusion = np.zeros((MAX_CLASSES, MAX_CLASSES), np.int64)

    def bin(self, one: Bin) -> None:
        """After a bin; makes a snapshot if one is due."""
        width_us = one.end_us - one.start_us
        if self._zero_us is None:
            self._zero_us = one.clock_us
        seen = _shrunk(one.counts)
        fade = math.exp(-width_us / DECAY_US)
        self._picture = seen if self._picture is None else self._picture * fade + seen
        self._rates.append((one.events, width_us))
        if self._clock() >= self._due_s:
            self.publish("paused" if self._teacher and self._teacher.paused else "running")

    def scored(self, label: int, predicted: int | None) -> None:
        """After a segment was scored."""
        windowed = self._parts.evaluator.test.scores.compute()["segment_windowed"]
        self._history.append(0.0 if windowed is None else windowed)
        self._scored += 1
        if predicted is not None and max(label, predicted) < MAX_CLASSES:
            self._confusion[label, predicted] += 1

    def publish(self, state: str) -> None:
        """Make a snapshot now."""
        self._due_s = self._clock() + EVERY_S
        self._number += 1
        self._put(self._snapshot(state))

    def _snapshot(self, state: str) -> Snapshot:
        parts, teacher = self._parts, self._teacher
        evaluator, source, bins = parts.evaluator, parts.stream.source, parts.bins
        test, ledger = evaluator.test, bins.ledger.as_dict()
        names = evaluator.class_names
        taught = tuple(int(n) for n in parts.learner.counts)
        last = test.prediction
        events, passed_us = (
            (sum(column) for column in zip(*self._rates, strict=True)) if (self._rates) else (0, 0)
        )
        best, best_accuracy = self._best_baseline()
        step, latency = parts.meters.step_ms(), parts.meters.latency_ms()
        labels: list[ShownLabel] = []
        if evaluator.labels is not None:
            labels = (
                [
                    ShownLabel(names[evaluator.outputs[one.label]], one.start_us, one.end_us)
                    for one in evaluator.past_segments(MAX_LABELS)
                ]
                if teacher is None
                else list(teacher.labels)
            )
        segment = test.segment
        if segment is not None:
            labels.append(ShownLabel(names[segment.label], segment.start_us))
        return Snapshot(
            number=self._number,
            state=state,
            source=source.name,
            sensor=(source.sensor.width, source.sensor.height),
            live=source.live,
            simulated=stated_origin(source),
            stream_us=bins.duration_us,
            wall_s=parts.meters.wall_s,
            picture=_bytes(self._picture),
            prediction=evaluator.prediction if any(taught) or parts.trained else "",
            readout=last.readout if last is not None else "",
            classes=names,
            probabilities=tuple(round(float(p), 4) for p in last.probabilities) if last else (),
            taught=taught,
            label=names[segment.label] if segment is not None else evaluator.taught,
            teachable=evaluator.teachable,
            learning=not (parts.config.learner.frozen or (teacher and teacher.paused)),
            accuracy=self._history[-1] if self._history else None,
            baseline=best,
            baseline_accuracy=best_accuracy,
            history=tuple(round(one, 4) for one in self._history),
            alarms=self._alarms_shown(),
            segments=evaluator.segments,
            confusion=tuple(
                tuple(row) for row in self._confusion[: len(names), : len(names)].tolist()
            ),
            layers=tuple(
                LayerState(name, one["firing_rate"], one["threshold"], one["leak"])
                for name, one in parts.learner.layer_statistics().items()
            ),
            events_hz=events / (passed_us / 1e6) if passed_us else 0.0,
            received=ledger["received"],
            binned=ledger["binned"],
            pending=ledger["pending"],
            dropped=ledger["dropped"],
            rejected=ledger["rejected"],
            step_ms=_both(step),
            latency_ms=_both(latency),
            queue=getattr(source, "waiting_events", 0),
            queue_capacity=getattr(source, "capacity", 0),
            memory_mb=parts.meters.rss_end / 1e6,
            labels=tuple(_since(self._zero_us or 0, one) for one in labels[-MAX_LABELS:]),
            message=teacher.message if teacher is not None else "",
            run_dir=str(self._run_dir),
        )

    def _best_baseline(self) -> tuple[str, float | None]:
        """The baseline of highest accuracy so far."""
        own = ("headline", "linear", "lda")
        found = {
            name: one for name, one in self._parts.evaluator.accuracies().items() if name not in own
        }
        known = {name: one for name, one in found.items() if one is not None}
        if not known:
            return "", None
        best = max(known, key=lambda name: known[name])
        return best, known[best]

    def _alarms_shown(self) -> tuple[int, ...]:
        """Drift alarms of the error stream, as indices into the history."""
        alarms = [one.segment for one in self._parts.evaluator.drift.alarms]
        first = self._scored - len(self._history)
        return tuple(sorted({one - first for one in alarms if one >= first}))


def _since(zero_us: int, one: ShownLabel) -> ShownLabel:
    """A label in stream time."""
    end_us = one.end_us - zero_us if one.end_us >= 0 else one.end_us
    return replace(one, start_us=one.start_us - zero_us, end_us=end_us)


def _both(pair: tuple[float | None, float | None]) -> tuple[float, float] | None:
    return None if pair[0] is None or pair[1] is None else (pair[0], pair[1])


def _shrunk(counts: np.ndarray) -> np.ndarray:
    """Counts in at most MAX_SIDE rows and columns, float32, shape (2, rows, columns)."""
    step = -(-max(counts.shape[1:]) // MAX_SIDE)
    if step == 1:
        return counts.astype(np.float32)
    rows, columns = (-(-side // step) * step for side in counts.shape[1:])
    padded = np.zeros((2, rows, columns), np.float32)
    padded[:, : counts.shape[1], : counts.shape[2]] = counts
    cells = padded.reshape(2, rows // step, step, columns // step, step)
    return np.asarray(cells.sum((2, 4)))


def _bytes(picture: np.ndarray | None) -> np.ndarray:
    if picture is None:
        return np.zeros((2, 1, 1), np.uint8)
    lit = picture[picture > _FULL / 10]
    full = max(_FULL, float(np.quantile(lit, _FULL_SHARE))) if len(lit) else _FULL
    return np.minimum(picture * (255 / full), 255).astype(np.uint8)
