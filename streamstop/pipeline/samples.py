"""Pictures of a run, for its page: events, one network input, the latest wrong predictions."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from streamstop.evaluation.baselines import POOLED_SIDE
from streamstop.evaluation.prequential import ScoredSegment
from streamstop.events.binning import Bin
from streamstop.events.packet import SensorSize

PICTURE_US = 1_000_000
"""Stream time that the picture of events shows, from the first event on."""

MAX_SIDE = 64
MAX_ERRORS = 6


class SamplePictures:
    """Gathers what samples.json holds while a run goes on.

    Guarantees:

    - Bounded: one picture of events, one input, the latest MAX_ERRORS errors.

    Parameters
    ----------
    transform : callable
        A bin as the network's input.
    sensor : SensorSize
        Of the source.
    grid : tuple of int
        (height, width) of the bins.
    classes : sequence of str
        A name for each output.
    """

    def __init__(
        self,
        transform: Callable[[Bin], Tensor],
        sensor: SensorSize,
        grid: tuple[int, int],
        classes: Sequence[str],
    ) -> None:
        self._transform = transform
        self._sensor = sensor
        self._classes = classes
        self._counts: NDArray[np.int64] | None = None
        self._shape = grid
        self._events = self._covered_us = self._most = 0
        self._input: dict[str, Any] | None = None
        self._recording = ""
        self._errors: deque[dict[str, Any]] = deque(maxlen=MAX_ERRORS)

    def bin(self, one: Bin, label: str | None, recording: str) -> None:
        """Take in one bin, of a segment with this label and from this recording."""
        if self._covered_us >= PICTURE_US or (self._counts is None and not one.events):
            return
        counts = one.counts.astype(np.int64)
        if self._counts is None:
            self._counts, self._recording = np.zeros_like(counts), recording
        self._counts += counts
        self._events += one.events
        self._covered_us += one.end_us - one.start_us
        if one.events > self._most:
            self._most = one.events
            values = self._transform(one)[0].double().numpy()
            grids = _grids(_pooled(values, MAX_SIDE, np.maximum))
            self._input = {**grids, "bin_us": one.end_us - one.start_us, "label": label}

    def scored(self, segments: Sequence[ScoredSegment]) -> None:
        """Keep those that were predicted wrongly."""
        for one in segments:
            predicted = one.predictions["headline"]
            if predicted is None or predicted == one.segment.label:
                continue
            height, width = (min(side, POOLED_SIDE) for side in self._shape)
            counts = np.expm1(one.counts).round().reshape(2, height, width)
            self._errors.append(
                {
                    "segment": one.index,
                    "label": self._classes[one.segment.label],
                    "prediction": self._classes[predicted],
                    **_grids(counts),
                }
            )

    def as_dict(self) -> dict[str, Any]:
        """The content of samples.json, as `streamstop.report.views.samples` reads it."""
        picture = None
        if self._counts is not None:
            picture = {
                **_grids(_pooled(self._counts, MAX_SIDE, np.add)),
                "sensor": list(self._sensor),
                "events": self._events,
                "duration_us": self._covered_us,
                "recording": self._recording,
            }
        return {
            "event_picture": picture,
            "network_input": self._input,
            "errors": list(self._errors),
        }


def _pooled(values: NDArray[Any], side: int, reduce: np.ufunc) -> NDArray[Any]:
    """(2, height, width) with at most `side` rows and columns."""
    for axis in (1, 2):
        size = values.shape[axis]
        edges = np.linspace(0, size, min(size, side) + 1)[:-1].astype(np.intp)
        values = reduce.reduceat(values, edges, axis=axis)
    return values


def _grids(values: NDArray[Any]) -> dict[str, list[list[float]]]:
    """Rows of the two polarities, OFF being plane 0 and ON plane 1."""
    off, on = np.round(values.astype(np.float64), 3).tolist()
    return {"on": on, "off": off}
