"""Drift: detectors over the stream of errors and, unlabelled, over rates; and what is done then.

Detectors are river's, in their own settings but for ADWIN: it looks after each segment, not after
every 32, as segments are rare; over errors its delta is 0.05, with which it raised no false alarm
in 100,000 simulated segments and misses less that is soon learned away (benchmarks/drift.py). Each
alarm is one that the detector raised by itself, at the segment that it was told of. Memory is
bounded: alarms beyond MAX_ALARMS are counted.

The error stream is 1 for a segment decided wrong, 0 for one decided right. Errors that become fewer
are no drift to be warned of: a learner that learns makes them so. Where a detector cannot tell the
two apart (ADWIN, KSWIN), an alarm counts if the mean of what the detector keeps has risen by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from river import drift

from streamstop.learning.learner import StopLearner

MAX_ALARMS = 256
"""Further alarms are counted, not listed."""

ERROR_DETECTORS: dict[str, Callable[[], Any]] = {
    "ADWIN": lambda: drift.ADWIN(delta=0.05, clock=1),
    "Page-Hinkley": lambda: drift.PageHinkley(mode="up"),
    "HDDM-A": lambda: drift.binary.HDDMA(),
    "HDDM-W": lambda: drift.binary.HDDMW(),
    "KSWIN": lambda: drift.KSWIN(seed=0),
}
"""Over 0 for a segment decided right and 1 for one decided wrong."""

RATE_DETECTORS: dict[str, Callable[[], Any]] = {
    "ADWIN": lambda: drift.ADWIN(clock=1),
    "Page-Hinkley": lambda: drift.PageHinkley(),
    "KSWIN": lambda: drift.KSWIN(seed=0),
}
"""Over what no label is needed for, in either direction."""

EVENT_RATE, FIRING_RATE = "event rate", "firing rate"
RATES = (EVENT_RATE, FIRING_RATE)
"""Of a segment: the logarithm of events per bin; the root of the firing rate, mean over neurons."""


class DriftAlarm(NamedTuple):
    """A detector's alarm: at which segment, by which detector, over which signal."""

    segment: int
    detector: str
    signal: str


class DriftMonitor:
    """Watches one stream of segments.

    Parameters
    ----------
    detectors : names of those that watch the errors; rates are watched by all of theirs.

    Attributes
    ----------
    alarms : the first MAX_ALARMS.  count : of all.
    """

    def __init__(self, detectors: Sequence[str] = tuple(ERROR_DETECTORS)) -> None:
        self.alarms: list[DriftAlarm] = []
        self.count = 0
        self._of_error = {name: ERROR_DETECTORS[name]() for name in detectors}
        self._of_rates = {
            signal: {name: make() for name, make in RATE_DETECTORS.items()} for signal in RATES
        }

    def update(self, segment: int, wrong: bool, rates: Mapping[str, float]) -> list[DriftAlarm]:
        """Take in one decided segment; the alarms that it raised.

        rates : by names of RATES; one may be missing.
        """
        raised = []
        for name, detector in self._of_error.items():
            before = _mean(detector)
            detector.update(int(wrong))
            if detector.drift_detected and (before is None or (_mean(detector) or 0.0) > before):
                raised.append(DriftAlarm(segment, name, "errors"))
        for signal, rate in rates.items():
            for name, detector in self._of_rates[signal].items():
                detector.update(rate)
                if detector.drift_detected:
                    raised.append(DriftAlarm(segment, name, signal))
        self.count += len(raised)
        self.alarms += raised[: MAX_ALARMS - len(self.alarms)]
        return raised

    def as_dict(self) -> dict[str, Any]:
        """What summary.json says."""
        watched = [(name, "errors") for name in self._of_error]
        watched += [(name, signal) for signal, own in self._of_rates.items() for name in own]
        return {
            "alarms": [one._asdict() for one in self.alarms],
            "count": self.count,
            "watched": [list(one) for one in watched],
        }


def _mean(detector: Any) -> float | None:
    """The mean of what a detector keeps, if it looks both ways; None if it sees rises alone."""
    if isinstance(detector, drift.ADWIN):
        return float(detector.estimation)
    if isinstance(detector, drift.KSWIN):
        return float(sum(detector.window) / max(len(detector.window), 1))
    return None


OnDrift = Literal["none", "boost", "reset-readout"]


class DriftResponse:
    """What a learner does where one detector sees more errors.

    Parameters
    ----------
    learner : that learns.
    on_drift : nothing; learn at `boost` times the rates for `segments` segments, counted anew by
        each alarm; or let the discriminant readout keep a share `keep` of its statistics.
    detector : the one that is listened to, over errors; its name in small letters.

    Attributes
    ----------
    count : responses so far.
    """

    def __init__(
        self,
        learner: StopLearner,
        on_drift: OnDrift = "none",
        *,
        detector: str = "adwin",
        boost: float = 5.0,
        segments: int = 30,
        keep: float = 0.0,
    ) -> None:
        self.count = 0
        self._learner = learner
        self._on_drift = on_drift
        self._detector = detector
        self._boost, self._segments, self._keep = boost, segments, keep
        self._left = 0

    def on_alarms(self, alarms: Sequence[DriftAlarm]) -> None:
        """Respond to the alarms that one segment raised, if any."""
        if self._left:
            self._left -= 1
            if not self._left:
                self._learner.scale_learning_rates(1.0)
        heard = any(
            one.signal == "errors" and one.detector.lower() == self._detector for one in alarms
        )
        if not heard or self._on_drift == "none":
            return
        self.count += 1
        if self._on_drift == "boost":
            self._left = self._segments
            self._learner.scale_learning_rates(self._boost)
        else:
            self._learner.lda.decay(self._keep)
