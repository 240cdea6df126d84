"""Drift: detectors over the stream of errors, and, unlabelled, over the rate of events.

Detectors are river's, in their own settings; each alarm is one that the detector raised by itself,
at the segment that it was told of. Memory is bounded: alarms beyond MAX_ALARMS are counted.

The error stream is 1 for a segment decided wrong, 0 for one decided right. Errors that become fewer
are no drift to be warned of: a learner that learns makes them so. Where a detector cannot tell the
two apart (ADWIN, KSWIN), an alarm counts if the mean of the errors lately is above that before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from river import drift

MAX_ALARMS = 256
"""Further alarms are counted, not listed."""

LATELY = 30
"""Segments that are lately, where more errors are told from fewer."""

ERROR_DETECTORS: dict[str, Callable[[], Any]] = {
    "ADWIN": lambda: drift.ADWIN(),
    "Page-Hinkley": lambda: drift.PageHinkley(mode="up"),
    "HDDM-A": lambda: drift.binary.HDDMA(),
    "HDDM-W": lambda: drift.binary.HDDMW(),
    "KSWIN": lambda: drift.KSWIN(seed=0),
}
"""Over 0 for a segment decided right and 1 for one decided wrong."""

RATE_DETECTORS: dict[str, Callable[[], Any]] = {"ADWIN": lambda: drift.ADWIN()}
"""Over the logarithm of events per bin, which no label is needed for."""


class Alarm(NamedTuple):
    """A detector's alarm: at which segment, by which detector, over which signal."""

    segment: int
    detector: str
    signal: str


class DriftMonitor:
    """Watches one stream of segments.

    Attributes
    ----------
    alarms : the first MAX_ALARMS.  count : of all.
    """

    def __init__(self) -> None:
        self.alarms: list[Alarm] = []
        self.count = 0
        self._of_error = {name: make() for name, make in ERROR_DETECTORS.items()}
        self._of_rate = {name: make() for name, make in RATE_DETECTORS.items()}
        self._errors: deque[float] = deque(maxlen=2 * LATELY)

    def update(self, segment: int, wrong: bool, rate: float) -> list[Alarm]:
        """Take in one decided segment; the alarms that it raised.

        rate : logarithm of events per bin.
        """
        self._errors.append(float(wrong))
        raised = []
        for name, detector in self._of_error.items():
            detector.update(int(wrong))
            if detector.drift_detected and self._more_errors:
                raised.append(Alarm(segment, name, "errors"))
        for name, detector in self._of_rate.items():
            detector.update(rate)
            if detector.drift_detected:
                raised.append(Alarm(segment, name, "event rate"))
        self.count += len(raised)
        self.alarms += raised[: MAX_ALARMS - len(self.alarms)]
        return raised

    @property
    def _more_errors(self) -> bool:
        lately = list(self._errors)[-LATELY:]
        before = list(self._errors)[:-LATELY]
        if not before:
            return False
        return sum(lately) / len(lately) > sum(before) / len(before)

    def as_dict(self) -> dict[str, Any]:
        """What summary.json says."""
        return {"alarms": [one._asdict() for one in self.alarms], "count": self.count}
