"""The figure and its gestures: what the classes promise about space and time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streamstop.errors import UsageError
from streamstop.events.packet import Events
from streamstop.simulation import gestures
from streamstop.simulation.figure import bend_arm, paint_figure
from streamstop.simulation.gestures import (
    GESTURES,
    LIGHTINGS,
    Lighting,
    Subject,
    film,
    render,
    simulate_gesture,
)
from streamstop.simulation.motions import Performance, pose_at

TURNS = [("right_arm_clockwise", "right_arm_counter_clockwise")]
TURNS += [("left_arm_clockwise", "left_arm_counter_clockwise")]


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject.draw(3)


@pytest.fixture
def still_lamp(monkeypatch: pytest.MonkeyPatch) -> str:
    """A lighting whose sensor has no noise, so that only movement makes events."""
    quiet = replace(LIGHTINGS["lab"].params, shot_noise_hz=0.0, leak_hz=0.0, hot_fraction=0.0)
    monkeypatch.setitem(
        gestures.LIGHTINGS, "still", Lighting(100.0, 0.02, 0.0, 0.0, 0.0, replace(quiet))
    )
    return "still"


def one_turn(gesture: str, subject: Subject, lighting: str, phase: float) -> Events:
    """Events of the second of two turns of a body that does not sway, one turn a second."""
    body = replace(subject, build=replace(subject.build, pace_hz=1.0, sway_px=0.0))
    occasion = Performance(phase=phase)
    poses = (pose_at(gesture, body.build, k * 0.002, occasion) for k in range(1001))
    events = film(poses, body, lighting, seed=1)
    return events[events["t"] >= 1_000_000]


def counts(events: Events, cell_px: int = 4) -> np.ndarray:
    n = 128 // cell_px
    at = (events["p"].astype(int) * n + events["y"] // cell_px) * n + events["x"] // cell_px
    return np.bincount(at, minlength=2 * n * n).reshape(2, n, n)


@pytest.mark.parametrize(("clockwise", "counter"), TURNS)
def test_a_counter_clockwise_turn_is_the_clockwise_one_backwards(
    subject: Subject, clockwise: str, counter: str
) -> None:
    occasion = Performance.draw(9)
    for t_s in (0.0, 0.3, 1.7, 2.9):
        backwards = render(clockwise, subject, -t_s, occasion)
        assert np.array_equal(render(counter, subject, t_s, occasion), backwards)
    assert not np.array_equal(
        render(counter, subject, 0.3, occasion), render(clockwise, subject, 0.3, occasion)
    )


def test_counts_over_whole_turns_are_the_same_but_their_order_is_not(
    subject: Subject, still_lamp: str
) -> None:
    clockwise, counter = TURNS[0]
    one = one_turn(clockwise, subject, still_lamp, phase=0.15)
    later = one_turn(clockwise, subject, still_lamp, phase=0.4)
    other = one_turn(counter, subject, still_lamp, phase=0.15)
    ours, again, theirs = counts(one), counts(later), counts(other)
    assert ours.sum() > 2_000
    for polarity in range(2):
        assert theirs[polarity].sum() == pytest.approx(ours[polarity].sum(), rel=0.03)
    # Cell by cell the directions differ hardly more than two turns of one direction do, whose
    # pixels met the arm with another remainder under their thresholds.
    assert np.abs(ours - theirs).sum() < 2 * np.abs(ours - again).sum() < 0.2 * ours.sum()

    def angles(events: Events) -> np.ndarray:
        """Direction in which the arm is seen from the turn's middle, in ten parts of the turn."""
        middle = events["x"].mean(), events["y"].mean()
        part = (events["t"] - 1_000_000) // 100_000
        parts = [events[part == k] for k in range(10)]
        x = np.array([e["x"].mean() for e in parts]) - middle[0]
        y = np.array([e["y"].mean() for e in parts]) - middle[1]
        return np.unwrap(np.arctan2(y, x))

    # y points down, so that growing angles are clockwise as the camera sees it.
    assert angles(one)[-1] - angles(one)[0] > 4
    assert angles(other)[-1] - angles(other)[0] < -4


def test_starting_phases_of_occasions_are_uniform() -> None:
    phases = np.array([Performance.draw(seed).phase for seed in range(400)])
    assert np.all(np.abs(np.histogram(phases, 8, (0, 1))[0] - 50) < 30)


@pytest.mark.parametrize("gesture", GESTURES)
def test_movement_is_where_the_gesture_is_and_smooth(gesture: str, subject: Subject) -> None:
    occasion = Performance.draw(5)
    poses = [pose_at(gesture, subject.build, k * 0.01, occasion).joints for k in range(200)]
    wrists = np.array(poses)[:, [4, 7]]
    speed = np.abs(np.diff(wrists, axis=0)).max() * 100
    assert speed < 400, "no hand jumps: pixels a second"
    assert wrists.min() > 2
    assert wrists.max() < 126
    travel = np.ptp(wrists, axis=0).max(axis=1)
    if gesture.startswith("right"):
        assert travel[0] > 5 * travel[1]
        assert wrists[:, 0, 0].mean() < 64 < wrists[:, 1, 0].mean()
    elif gesture.startswith("left"):
        assert travel[1] > 5 * travel[0]
    elif gesture != "other_gestures":
        assert travel.min() > 2


def test_subjects_differ_and_an_arm_turns_about_once_a_second() -> None:
    paces = [Subject.draw(seed).build.pace_hz for seed in range(40)]
    assert min(paces) > 0.8
    assert max(paces) < 1.3
    assert np.std(paces) > 0.08
    first, second = (render("air_drums", Subject.draw(seed), 0.0) for seed in (0, 1))
    assert np.abs(first - second).mean() > 0.02


def test_links_keep_their_lengths_and_a_far_hand_stays_attached() -> None:
    for target in ((60.0, 30.0), (30.0, 70.0), (300.0, 40.0), (50.5, 50.0)):
        elbow, wrist = bend_arm((50.0, 50.0), target, 20.0, 18.0, 1.0)
        assert np.linalg.norm(elbow - (50.0, 50.0)) == pytest.approx(20.0)
        assert np.linalg.norm(wrist - elbow) == pytest.approx(18.0)


def test_edges_are_soft_so_that_a_small_movement_is_a_small_change(subject: Subject) -> None:
    pose = pose_at("air_guitar", subject.build, 0.0, Performance())
    moved = pose._replace(joints=pose.joints + 0.05)
    change = np.abs(paint_figure(moved, subject.look) - paint_figure(pose, subject.look))
    assert 0 < change.max() < 0.08


def test_lamps_flicker_at_their_rate() -> None:
    lamp = LIGHTINGS["fluorescent"]
    grey = np.full((128, 128), 0.4)
    # A sine of 100 Hz seen every millisecond reaches 0.951 of its height.
    mean = np.array([lamp.apply(grey, k * 0.001).mean() for k in range(1000)])
    spectrum = np.abs(np.fft.rfft(mean - mean.mean()))
    assert int(spectrum.argmax()) == lamp.flicker_hz
    assert np.ptp(mean) / mean.mean() == pytest.approx(1.9 * lamp.flicker, rel=0.01)


def test_the_same_seed_gives_the_same_events_and_another_does_not(subject: Subject) -> None:
    one, again, other = (
        simulate_gesture("arm_roll", subject, "led", 300_000, seed) for seed in (4, 4, 5)
    )
    assert len(one) > 300
    assert np.all(np.diff(one["t"]) >= 0)
    assert 0 <= one["t"][0] <= one["t"][-1] <= 300_000
    assert np.array_equal(one, again)
    assert not np.array_equal(one[:300], other[:300])


def test_an_unknown_gesture_is_refused_by_name(subject: Subject) -> None:
    with pytest.raises(UsageError, match="moonwalk"):
        render("moonwalk", subject, 0.0)
