"""Drift detectors over streams whose drift is known."""

from __future__ import annotations

import numpy as np
import torch

from streamstop.evaluation.drift import (
    ERROR_DETECTORS,
    EVENT_RATE,
    MAX_ALARMS,
    DriftAlarm,
    DriftMonitor,
    DriftResponse,
    OnDrift,
)
from streamstop.learning.learner import LearnerSpec, StopLearner
from streamstop.stop.layer import LayerSpec
from streamstop.stop.network import NetworkSpec


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


def test_a_rise_that_is_soon_learned_away_is_found() -> None:
    adwin = 0
    for seed in range(10):
        stretches = ((0.1, 500), (0.7, 20), (0.35, 60), (0.15, 100))
        found = alarms(bernoulli(seed, *stretches)).alarms
        own = {one.detector for one in found if 500 <= one.segment < 600}
        assert own >= {"HDDM-A", "HDDM-W", "KSWIN"}
        adwin += "ADWIN" in own
    assert adwin >= 9


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
    assert ["KSWIN", "errors"] in monitor.as_dict()["watched"]


NETWORK = NetworkSpec((2, 4, 4), (LayerSpec("conv", 4),), 2)
ALARM = DriftAlarm(7, "ADWIN", "errors")
OTHERS = [DriftAlarm(7, "HDDM-A", "errors"), DriftAlarm(7, "ADWIN", "event rate")]


def steps(
    response: DriftResponse, alarms: list[list[DriftAlarm]], learner: StopLearner
) -> list[float]:
    """How far one weight of the readout moves by each of the first steps, an alarm list before."""
    moves = []
    for one in alarms:
        response.on_alarms(one)
        weight = learner.network.parameters()["readout.bias"]
        before = weight.clone()
        learner.begin_segment()
        learner.predict(torch.ones(1, 2, 4, 4), trace=True)
        learner.learn(0)
        learner.end_segment()
        moves.append(float((weight - before).abs().max()))
    return moves


def test_a_boost_lasts_so_many_segments_and_ends() -> None:
    def moves(on_drift: OnDrift) -> list[float]:
        learner = StopLearner(NETWORK, LearnerSpec())
        response = DriftResponse(learner, on_drift, boost=3.0, segments=2)
        found = steps(response, [OTHERS, [ALARM], [], [], [ALARM], [ALARM], [], []], learner)
        assert response.count == (3 if on_drift == "boost" else 0)
        rates = [group["lr"] for group in learner._optimizer.param_groups]
        assert max(rates) == LearnerSpec().lr_readout
        return found

    plain, boosted = moves("none"), moves("boost")
    # Adam's step is nearly the rate at first, whatever the gradient.
    ratios = [b / a for a, b in zip(plain, boosted, strict=True)]
    assert ratios[0] == 1.0
    assert all(2.0 < one < 3.5 for one in (ratios[1], ratios[2], ratios[4], ratios[5], ratios[6]))
    assert all(one < 1.2 for one in (ratios[3], ratios[7]))


def test_a_reset_readout_knows_what_came_after_alone() -> None:
    draw = np.random.default_rng(0)
    x, labels = draw.normal(size=(60, 5)), draw.integers(0, 2, 60).tolist()
    learner, late = StopLearner(NETWORK, LearnerSpec()), StopLearner(NETWORK, LearnerSpec())
    response = DriftResponse(learner, "reset-readout", detector="hddm-a")
    for i in range(60):
        if i == 30:
            response.on_alarms([DriftAlarm(30, "HDDM-A", "errors")])
            assert not learner.lda.counts.any()
            assert np.array_equal(learner.lda.scores(x[0]), np.zeros(2))
        learner.update_lda(x[i], labels[i])
        if i >= 30:
            late.update_lda(x[i], labels[i])
    assert np.allclose(learner.lda.scores(x[0]), late.lda.scores(x[0]))


def test_a_share_that_is_kept_lets_means_move_the_faster() -> None:
    learner = StopLearner(NETWORK, LearnerSpec())
    for value in (0.0, 1.0) * 10:
        learner.update_lda(np.array([value, 0.5]), 1)
    DriftResponse(learner, "reset-readout", keep=0.1).on_alarms([ALARM])
    learner.update_lda(np.array([2.0, 0.5]), 1)
    # Ten samples of each, counted as two in all, and one of 2.
    assert np.allclose(learner.lda.means[1], [(2 * 0.5 + 2.0) / 3, 0.5])
