"""The quick film: the same pictures and events as the slow one's, and the readout's own flaws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from streamstop.errors import UsageError
from streamstop.events.packet import Events, SensorSize
from streamstop.simulation.fast_sensor import FastSensor, Frame, ReadoutParams, paint_figure_fast
from streamstop.simulation.figure import paint_figure
from streamstop.simulation.gestures import GESTURES, LIGHTINGS, SENSOR, Subject
from streamstop.simulation.motions import Performance, pose_at
from streamstop.simulation.pixel import DvsPixelModel, PixelParams

CLEAN = PixelParams(
    theta_on=0.25, theta_off=0.25, shot_noise_hz=0, leak_hz=0, hot_fraction=0, cutoff_hz=300
)


def ramp(sensor: FastSensor, grey: list[float], step_us: int = 1000, part_us: int = 5000) -> Events:
    """Events of a uniform field that takes these greys in turn."""
    size = (sensor.sensor.height, sensor.sensor.width)
    frames = [Frame(np.full(size, one, np.float32), 100.0) for one in grey]
    return np.concatenate(list(sensor.film(frames, step_us, part_us)))


@pytest.mark.parametrize("gesture", GESTURES)
def test_it_paints_what_the_figure_paints(gesture: str) -> None:
    subject, occasion = Subject.draw(3), Performance.draw(5)
    for t_s in (0.0, 0.37):
        pose = pose_at(gesture, subject.build, t_s, occasion)
        quick = paint_figure_fast(pose, subject.look)
        assert np.abs(quick - paint_figure(pose, subject.look)).max() < 1e-3


def test_hands_grow_and_fingers_spread() -> None:
    subject = Subject.draw(3)
    pose = pose_at("right_hand_wave", subject.build, 0.0, Performance())
    plain = paint_figure_fast(pose, subject.look)
    large = paint_figure_fast(pose, subject.look, hands=1.5)
    spread = paint_figure_fast(pose, subject.look, hands=1.5, fingers=4)
    changed, more = (np.abs(one - plain) > 0.05 for one in (large, spread))
    assert 10 < np.count_nonzero(changed) < np.count_nonzero(more) < 600


def test_its_pixels_are_the_slow_ones_event_for_event() -> None:
    subject, occasion, light = Subject.draw(3), Performance.draw(5), LIGHTINGS["lab"]
    poses = [pose_at("arm_roll", subject.build, k * 0.002, occasion) for k in range(150)]
    slow = DvsPixelModel(SENSOR, CLEAN, seed=1)
    events = np.concatenate(
        [
            slow.step(light.apply(paint_figure(pose, subject.look), 0.0), 2000 * k)
            for k, pose in enumerate(poses)
        ]
    )
    across = 1.0 + light.slope * (np.arange(128) / 128 - 0.5)
    quick = FastSensor(SENSOR, CLEAN, ReadoutParams(), 1, 0, veil=light.veil, across=across)
    frames = (Frame(paint_figure_fast(pose, subject.look), light.level) for pose in poses)
    ours = np.concatenate(list(quick.film(frames, 2000, 50_000)))
    assert len(events) > 2_000
    assert len(ours) == pytest.approx(len(events), rel=0.002)

    def by_pixel(some: Events) -> np.ndarray:
        pixel = some["y"].astype(int) * 128 + some["x"]
        return np.stack([np.bincount(pixel[some["p"] == on], minlength=1 << 14) for on in (0, 1)])

    assert np.abs(by_pixel(events) - by_pixel(ours)).sum() < 0.004 * len(events)
    # Where one event more or less does not shift the rest, times agree to a few microseconds.
    same = min(len(events), len(ours), 200)
    assert np.median(np.abs(events["t"][:same] - ours["t"][:same])) <= 2


def test_noise_leakage_and_flicker_have_their_rates() -> None:
    params = replace(CLEAN, shot_noise_hz=4.0, leak_hz=2.0)
    quick = FastSensor(SensorSize(64, 64), params, ReadoutParams(), 1, 2)
    events = ramp(quick, [0.0] * 1001)
    on = np.count_nonzero(events["p"]) / 64**2
    # In the dark: half of 4 Hz each way; leakage of 2 Hz, cut short by noise events.
    assert np.count_nonzero(~events["p"]) / 64**2 == pytest.approx(2.0, abs=0.1)
    assert 2.0 + 0.7 < on < 2.0 + 2.0


def test_on_events_are_read_twice_and_swing_back_as_often_as_set() -> None:
    pixels = replace(CLEAN, cutoff_hz=0, mismatch=0)
    readout = ReadoutParams(twice=0.5, rebound=0.4, returns=0.5)
    quick = FastSensor(SensorSize(128, 128), pixels, readout, 1, 2)
    # One step by 0.3 log units up: one ON event of each pixel, and what comes after it.
    events = ramp(quick, [0.3] + [0.3 * np.exp(0.3)] * 40)
    pixel = events["y"].astype(int) * 128 + events["x"]
    order = np.lexsort((events["t"], pixel))
    of_one = np.diff(pixel[order]) == 0
    interval = np.diff(events["t"][order])[of_one]
    twice = np.count_nonzero(interval <= 1) / 128**2
    assert twice == pytest.approx(0.5, abs=0.02)
    assert np.count_nonzero(interval == 1) / np.count_nonzero(interval <= 1) == pytest.approx(
        0.67, abs=0.05
    )
    assert np.count_nonzero(~events["p"]) / 128**2 == pytest.approx(0.4, abs=0.02)
    assert np.count_nonzero(events["p"]) / 128**2 == pytest.approx(1 + 0.5 + 0.2, abs=0.03)
    swings = interval[interval > 1]
    assert swings.min() >= 198, "half of the mean, less the second reading and a rounding"
    assert np.median(swings) < 1000


def test_parts_do_not_change_the_events_and_are_in_order() -> None:
    def film(part_us: int) -> Iterator[Events]:
        params = replace(CLEAN, shot_noise_hz=50.0)
        quick = FastSensor(SensorSize(16, 16), params, ReadoutParams(0.4, 0.4, returns=0.4), 1, 2)
        grey = [0.4 + 0.3 * np.sin(0.2 * k) for k in range(300)]
        frames = (Frame(np.full((16, 16), one, np.float32), 100.0) for one in grey)
        return quick.film(frames, 1000, part_us)

    few, many = list(film(1_000_000)), list(film(2_000))
    assert len(many) > 4 * len(few)
    one = np.concatenate(few)
    assert len(one) > 1_000
    assert np.array_equal(one, np.concatenate(many))
    assert np.all(np.diff(one["t"]) >= 0)
    assert one["t"][-1] <= 299_000


def test_what_no_readout_does_is_refused() -> None:
    with pytest.raises(UsageError, match="fractions"):
        ReadoutParams(twice=1.5)
    with pytest.raises(UsageError, match="negative"):
        ReadoutParams(rebound_us=-1.0)
