"""The pixel model: each flaw by itself against its parameter, and the promises of the module."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streamstop.errors import UsageError
from streamstop.events.packet import Events, SensorSize
from streamstop.simulation.pixel import DvsPixelModel, PixelParams, PixelState, scanned_readout

SENSOR = SensorSize(64, 48)
PIXELS = SENSOR.width * SENSOR.height
IDEAL = PixelParams(
    theta_on=0.2,
    theta_off=0.3,
    mismatch=0.0,
    linear_below=0.5,
    cutoff_hz=0.0,
    refractory_us=0,
    shot_noise_hz=0.0,
    leak_hz=0.0,
    hot_fraction=0.0,
)


def show(model: DvsPixelModel, value: float, t_us: int) -> Events:
    return model.step(np.full((model.sensor.height, model.sensor.width), value), t_us)


def moving_stripes(model: DvsPixelModel, steps: int, start: int = 0) -> Events:
    """Sine stripes drifting to the right over the sensor, a frame a millisecond."""
    x = np.arange(model.sensor.width)
    frames = (
        np.tile(30 + 25 * np.sin(0.3 * x - 0.15 * k), (model.sensor.height, 1))
        for k in range(start, steps)
    )
    return np.concatenate([model.step(f, 1000 * k) for k, f in enumerate(frames, start)])


@pytest.mark.parametrize("change", [0.1, 0.5, 1.1, 2.3, -0.1, -0.5, -1.1, -2.3])
def test_a_contrast_step_gives_one_event_per_threshold(change: float) -> None:
    model = DvsPixelModel(SENSOR, IDEAL, seed=0)
    assert len(show(model, 20.0, 0)) == 0
    events = show(model, 20.0 * float(np.exp(change)), 1000)
    theta = 0.2 if change > 0 else 0.3
    each = np.bincount(events["y"].astype(int) * 64 + events["x"], minlength=PIXELS)
    assert np.all(each == int(abs(change) / theta))
    assert np.all(events["p"] == (change > 0))


def test_event_times_lie_on_the_straight_line_between_frames() -> None:
    model = DvsPixelModel(SensorSize(1, 1), IDEAL, seed=0)
    show(model, 20.0, 5_000)
    events = show(model, 20.0 * float(np.exp(0.8001)), 9_000)
    assert events["t"].tolist() == [5_999, 6_999, 7_999, 8_999]


def test_what_is_left_under_the_threshold_counts_in_the_next_step() -> None:
    model = DvsPixelModel(SensorSize(1, 1), IDEAL, seed=0)
    show(model, 20.0, 0)
    counts = [len(show(model, 20.0 * float(np.exp(0.15 * k)), 1000 * k)) for k in range(1, 9)]
    assert counts == [0, 1, 1, 1, 0, 1, 1, 1]


def test_luminance_near_zero_is_linear_not_logarithmic() -> None:
    params = replace(IDEAL, linear_below=10.0)
    model = DvsPixelModel(SensorSize(1, 1), params, seed=0)
    show(model, 0.0, 0)
    # From 0 to the knee the line gains exactly 1; a logarithm would have gained without bound.
    assert len(show(model, 10.01, 1000)) == 5
    assert len(show(model, 10.0 * float(np.exp(0.41)), 2000)) == 2


def test_thresholds_scatter_as_asked() -> None:
    model = DvsPixelModel(SensorSize(200, 200), replace(IDEAL, mismatch=0.03), seed=1)
    for theta, mean in ((model.theta_on, 0.2), (model.theta_off, 0.3)):
        assert abs(theta.mean() - mean) < 4 * 0.03 / 200
        assert abs(theta.std() / 0.03 - 1) < 0.02
    assert abs(np.corrcoef(model.theta_on, model.theta_off)[0, 1]) < 0.02
    model = DvsPixelModel(SENSOR, replace(IDEAL, mismatch=0.5), seed=1)
    assert model.theta_on.min() > 0


def test_mismatch_spreads_the_times_of_one_edge() -> None:
    model = DvsPixelModel(SENSOR, replace(IDEAL, mismatch=0.03), seed=1)
    show(model, 20.0, 0)
    events = show(model, 20.0 * float(np.exp(0.3)), 30_000)
    first = events["t"][events["t"] < 29_000]
    assert abs(np.mean(first) - 20_000) < 300
    assert abs(np.std(first) / 3_000 - 1) < 0.1


@pytest.mark.parametrize("refractory_us", [300, 1_000, 7_500])
def test_no_pixel_fires_within_its_refractory_period(refractory_us: int) -> None:
    params = replace(IDEAL, refractory_us=refractory_us, shot_noise_hz=200.0, mismatch=0.03)
    model = DvsPixelModel(SENSOR, params, seed=3)
    events = moving_stripes(model, 100)
    pixel = events["y"].astype(int) * 64 + events["x"]
    order = np.lexsort((events["t"], pixel))
    gaps = np.diff(events["t"][order])[np.diff(pixel[order]) == 0]
    assert len(gaps) > 5_000
    assert refractory_us <= gaps.min() < refractory_us + 100


def test_a_change_during_the_refractory_period_is_lost() -> None:
    model = DvsPixelModel(SensorSize(1, 1), replace(IDEAL, refractory_us=10_000), seed=0)
    show(model, 20.0, 0)
    assert len(show(model, 20.0 * float(np.exp(2.0)), 1_000)) == 1
    assert len(show(model, 20.0 * float(np.exp(2.0)), 50_000)) == 0
    assert len(show(model, 20.0 * float(np.exp(2.21)), 51_000)) == 1


def test_leak_events_are_on_and_come_at_their_rate() -> None:
    model = DvsPixelModel(SENSOR, replace(IDEAL, leak_hz=2.0, leak_mismatch=0.2), seed=5)
    events = np.concatenate([show(model, 20.0, 2_000 * k) for k in range(2_501)])
    assert events["p"].all()
    each = np.bincount(events["y"].astype(int) * 64 + events["x"], minlength=PIXELS) / 5.0
    assert abs(each.mean() - 2.0) < 0.03
    # Rates scatter by 20 %; counting whole events in 5 s adds about 0.08 Hz.
    assert 0.36 < each.std() < 0.48
    # Long running before we look: no burst of all pixels at one time.
    per_100_ms = np.bincount(events["t"] // 100_000)[:50]
    assert per_100_ms.max() < 1.3 * per_100_ms.mean()


@pytest.mark.parametrize(("light", "share"), [(0.0, 1.0), (20.0, 1 / 1.6), (100.0, 0.25)])
def test_shot_noise_falls_with_light(light: float, share: float) -> None:
    model = DvsPixelModel(SENSOR, replace(IDEAL, shot_noise_hz=5.0), seed=7)
    events = np.concatenate([show(model, light, 2_000 * k) for k in range(1_001)])
    expected = 5.0 * share * PIXELS * 2.0
    assert abs(len(events) - expected) < 5 * np.sqrt(expected)
    assert abs(np.mean(events["p"]) - 0.5) < 2.5 / np.sqrt(len(events))
    each = np.bincount(events["y"].astype(int) * 64 + events["x"], minlength=PIXELS)
    assert abs(each.var() / each.mean() - 1) < 0.1  # Poisson


def test_hot_pixels_fire_at_their_rate_and_are_as_many_as_asked() -> None:
    params = replace(IDEAL, hot_fraction=0.01, hot_hz=50.0)
    model = DvsPixelModel(SENSOR, params, seed=2)
    events = np.concatenate([show(model, 20.0, 2_000 * k) for k in range(501)])
    pixel = events["y"].astype(int) * 64 + events["x"]
    hot, each = np.unique(pixel, return_counts=True)
    assert hot.tolist() == np.flatnonzero(model.hot).tolist()
    assert abs(len(hot) - 0.01 * PIXELS) < 5 * np.sqrt(0.01 * PIXELS)
    assert set(each.tolist()) <= {49, 50, 51}


def test_a_bandwidth_limited_pixel_answers_later_the_darker_it_is() -> None:
    def delay_us(light: float, cutoff_hz: float) -> int:
        model = DvsPixelModel(SensorSize(1, 1), replace(IDEAL, cutoff_hz=cutoff_hz), seed=0)
        show(model, light, 0)
        events = [show(model, light * 1.5, 10 * k) for k in range(1, 10_000)]
        return int(np.concatenate(events)["t"][0])

    fast, bright, dim = delay_us(60.0, 0.0), delay_us(60.0, 100.0), delay_us(15.0, 100.0)
    assert fast <= 10
    # 0.2 of 0.405 log units are reached after -ln(1 - 0.493) = 0.68 time constants.
    assert bright == pytest.approx(0.68 * 1e6 / (2 * np.pi * 100.0 * 0.9), rel=0.03)
    assert dim == pytest.approx(4 * bright, rel=0.03)


def test_events_are_sorted_and_hang_on_the_seed_alone() -> None:
    params = PixelParams(shot_noise_hz=5.0, leak_hz=1.0, hot_fraction=0.01)
    one, again, other = (
        moving_stripes(DvsPixelModel(SENSOR, params, seed), 60) for seed in (1, 1, 2)
    )
    assert len(one) > 3_000
    assert np.all(np.diff(one["t"]) >= 0)
    assert np.array_equal(one, again)
    assert not np.array_equal(one[: len(other)], other[: len(one)])


def test_a_saved_state_goes_on_as_if_never_stopped() -> None:
    params = PixelParams(shot_noise_hz=5.0, leak_hz=1.0)
    whole = moving_stripes(DvsPixelModel(SENSOR, params, 1), 60)
    first = DvsPixelModel(SENSOR, params, 1)
    head = moving_stripes(first, 31)
    second = DvsPixelModel(SENSOR, params, 1)
    second.state = PixelState(*(array.copy() for array in first.state))
    assert np.array_equal(whole, np.concatenate([head, moving_stripes(second, 60, 31)]))


def test_a_scanned_readout_keeps_every_event_in_its_scan() -> None:
    events = moving_stripes(DvsPixelModel(SENSOR, IDEAL, 1), 60)
    read = scanned_readout(events, 2_000)
    assert len(read) == len(events)
    assert not np.any(read["t"] % 2_000)
    assert np.all(np.diff(read["t"]) >= 0)
    for scan in (4_000, 40_000):
        was = events[(events["t"] >= scan) & (events["t"] < scan + 2_000)]
        now = read[read["t"] == scan]
        fields = ["p", "y", "x"]
        assert np.array_equal(np.sort(was[fields], order=fields), now[fields])


def test_refusals_say_what_is_wrong() -> None:
    model = DvsPixelModel(SENSOR, IDEAL, 0)
    with pytest.raises(UsageError, match="64x48"):
        model.step(np.ones((64, 48)), 0)
    show(model, 1.0, 10)
    with pytest.raises(UsageError, match="10 us"):
        show(model, 1.0, 10)
    with pytest.raises(UsageError, match="above zero"):
        PixelParams(theta_on=0.0)
    with pytest.raises(UsageError, match="negative"):
        PixelParams(leak_hz=-1.0)
