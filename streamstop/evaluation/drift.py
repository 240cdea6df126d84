"""Drift detectors over errors and, without labels, over rates; and the response to an alarm.

The detectors are river's, with their default settings but for ADWIN. It checks after each segment,
not after every 32, because segments are rare. Over errors its delta is 0.05: it raised no false
alarm in 100,000 simulated segments, and misses fewer short drifts (benchmarks/studies/drift.py).

The error of a segment is 1 for a wrong headline prediction, 0 for a correct one. Fewer errors are
no drift: learning causes them. Where a detector does not distinguish a rise from a fall (ADWIN,
KSWIN), an alarm counts only if the mean of the values that the detector keeps has risen.

Guarantees:

- Each alarm is the detector's own, at the segment after which it was raised.
- Memory is bounded: alarms beyond MAX_ALARMS are only counted.
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
"""Over errors: 0 for a segment predicted correctly, 1 for a wrong one."""

RATE_DETECTORS: dict[str, Callable[[], Any]] = {
    "ADWIN": lambda: drift.ADWIN(clock=1),
    "Page-Hinkley": lambda: drift.PageHinkley(),
    "KSWIN": lambda: drift.KSWIN(seed=0),
}
"""Over rates, which need no labels; in both directions."""

EVENT_RATE, FIRING_RATE = "event rate", "firing rate"
RATES = (EVENT_RATE, FIRING_RATE)
"""Of a segment: log(1 + events per bin); mean over neurons of the square root of firing rates."""


class DriftAlarm(NamedTuple):
    """An alarm: the segment, the detector, and the signal it watches."""

    segment: int
    detector: str
    signal: str


class DriftMonitor:
    """Runs all detectors over one stream of segments.

    Parameters
    ----------
    detectors : sequence of str
        Names of the detectors over errors; rates have all of RATE_DETECTORS.

    Attributes
    ----------
    alarms : list of DriftAlarm
        The first MAX_ALARMS.
    count : int
        Number of all alarms.
    """

    def __init__(self, detectors: Sequence[str] = tuple(ERROR_DETECTORS)) -> None:
        self.alarms: list[DriftAlarm] = []
        self.count = 0
        self._of_error = {name: ERROR_DETECTORS[name]() for name in detectors}
        self._of_rates = {
            signal: {name: make() for name, make in RATE_DETECTORS.items()} for signal in RATES
        }

    def update(self, segment: int, wrong: bool, rates: Mapping[str, float]) -> list[DriftAlarm]:
        """Update the detectors with one predicted segment; returns the alarms it raised.

        Parameters
        ----------
        segment : int
            Number of the segment.
        wrong : bool
            Whether the headline prediction was wrong.
        rates : mapping of str to float
            By names of RATES; one may be missing.
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
        """The entry in summary.json."""
        watched = [(name, "errors") for name in self._of_error]
        watched += [(name, signal) for signal, own in self._of_rates.items() for name in own]
        return {
            "alarms": [one._asdict() for one in self.alarms],
            "count": self.count,
            "watched": [list(one) for one in watched],
        }


def _mean(detector: Any) -> float | None:
    """The mean that a two-sided detector keeps; None for a detector of rises alone."""
    if isinstance(detector, drift.ADWIN):
        return float(detector.estimation)
    if isinstance(detector, drift.KSWIN):
        return float(sum(detector.window) / max(len(detector.window), 1))
    return None


OnDrift = Literal["none", "boost", "reset-readout"]


class DriftResponse:
    """What the learner does when a detector over errors raises an alarm.

    Parameters
    ----------
    learner : StopLearner
        The learner.
    response : {"none", "boost", "reset-readout"}
        Nothing; learning rates times `boost` for `segments` segments from the latest alarm; or the
        LDA readout keeps a fraction `keep` of its statistics.
    detector : str
        The detector over errors that counts, its name in lower case.

    Attributes
    ----------
    count : int
        Responses so far.
    """

    def __init__(
        self,
        learner: StopLearner,
        response: OnDrift = "none",
        *,
        detector: str = "adwin",
        boost: float = 5.0,
        segments: int = 30,
        keep: float = 0.0,
    ) -> None:
        self.count = 0
        self._learner = learner
        self._response = response
        self._detector = detector
        self._boost, self._segments, self._keep = boost, segments, keep
        self._left = 0

    def on_alarms(self, alarms: Sequence[DriftAlarm]) -> None:
        """Respond to the alarms that one segment raised; call it for every segment."""
        if self._left:
            self._left -= 1
            if not self._left:
                self._learner.scale_learning_rates(1.0)
        alarmed = any(
            one.signal == "errors" and one.detector.lower() == self._detector for one in alarms
        )
        if not alarmed or self._response == "none":
            return
        self.count += 1
        if self._response == "boost":
            self._left = self._segments
            self._learner.scale_learning_rates(self._boost)
        else:
            self._learner.lda.decay(self._keep)
