"""Drift detectors over streams whose drift is known."""

from __future__ import annotations

import numpy as np

from streamstop.prequential.drift import ERROR_DETECTORS, EVENT_RATE, MAX_ALARMS, DriftMonitor


def alarms(errors: list[bool], rates: list[float] | None = None) -> DriftMonitor:
    monitor = DriftMonitor()
    for i, wrong in enumerate(errors):
        monitor.update(i, wrong, {EVENT_RATE: rates[i]} if rates else {})
    return monitor


def bernoulli(seed: int, *stretches: tuple[float, int]) -> list[bool]:
    draw = np.random.default_rng(seed)
    return [bool(draw.random() < p) for p, n in stretches for _ in range(n)]


def test_a_sudden_rise_of_errors_is_found_by_adwin_within_60_segments() -> None:
    delays, false = [], 0
    for seed in range(10):
        found = alarms(bernoulli(seed, (0.05, 500), (0.6, 200))).alarms
        own = [one.segment for one in found if one.detector == "ADWIN" and one.signal == "errors"]
        false += sum(at < 500 for at in own)
        delays.append(min(at for at in own if at >= 500) - 500)
    assert max(delays) <= 60
    assert false <= 5  # one in a thousand segments


def test_every_detector_finds_a_great_rise() -> None:
    found = alarms(bernoulli(1, (0.05, 500), (0.9, 300))).alarms
    assert {one.detector for one in found if one.segment >= 500} >= set(ERROR_DETECTORS) - {
        "Page-Hinkley"  # its usual threshold of 50 wants more than 300 segments
    }


def test_errors_that_become_fewer_are_no_alarm() -> None:
    for seed in range(5):
        found = alarms(bernoulli(seed, (0.9, 300), (0.05, 300))).alarms
        assert not [one for one in found if one.signal == "errors" and one.segment >= 300]


def test_the_rate_of_events_needs_no_label() -> None:
    draw = np.random.default_rng(0)
    rates = [*draw.normal(3.0, 0.1, 300), *draw.normal(4.0, 0.1, 100)]
    found = alarms([False] * 400, rates).alarms
    assert {one.signal for one in found} == {"event rate"}
    assert 300 <= found[0].segment <= 360


def test_alarms_are_listed_up_to_a_bound() -> None:
    stretches = [(0.0, 50), (1.0, 50)] * 100
    monitor = alarms(bernoulli(0, *stretches))
    assert len(monitor.alarms) == MAX_ALARMS < monitor.count
