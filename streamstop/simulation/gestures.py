"""The eleven classes of the DVS-Gesture set, performed by a figure in front of a simulated sensor.

Guarantees:

- The same events for the same subject, lighting and seed.
- Subjects differ in build, pace, reach and manner.
- A counter-clockwise turn of an arm is exactly the time reversal of the clockwise one, so that
  event counts over whole turns cannot tell the two apart.

Does not:

- Promise that a learner trained here recognises the real gestures: the classes share their names
  and the idea of each movement, no more.

The real set: Amir et al. (2017), A low power, fully event-based gesture recognition system.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streamstop.events.packet import Events, SensorSize, empty_events
from streamstop.simulation.figure import Floats, Look, Pose, paint_figure
from streamstop.simulation.motions import Build, Performance, pose_at
from streamstop.simulation.pixel import DvsPixelModel, PixelParams

SENSOR = SensorSize(128, 128)
STEP_US = 2_000
"""Time between frames: the fastest hand moves less than half a pixel in it."""

GESTURES: tuple[str, ...] = (
    "hand_clapping",
    "right_hand_wave",
    "left_hand_wave",
    "right_arm_clockwise",
    "right_arm_counter_clockwise",
    "left_arm_clockwise",
    "left_arm_counter_clockwise",
    "arm_roll",
    "air_drums",
    "air_guitar",
    "other_gestures",
)
"""Names of classes 1 to 11; clockwise as the camera sees it."""


@dataclass(frozen=True)
class Subject:
    """A person: build, appearance and movement.

    Attributes
    ----------
    build
        Proportions, place in the picture, pace and manner.
    look
        Radii and reflectances, including the backdrop.
    """

    build: Build
    look: Look

    @classmethod
    def draw(cls, seed: int) -> Subject:
        """The subject that belongs to `seed`."""
        draw = np.random.Generator(np.random.Philox(key=[seed, 2]))
        scale = draw.uniform(0.9, 1.08)
        build = Build(
            centre_px=(64.0 + draw.uniform(-5, 5), 50.0 + draw.uniform(-4, 4)),
            shoulder_px=14.5 * scale * draw.uniform(0.92, 1.08),
            upper_px=20.0 * scale * draw.uniform(0.92, 1.08),
            fore_px=19.0 * scale * draw.uniform(0.92, 1.08),
            torso_px=80.0 * scale * draw.uniform(0.95, 1.08),
            neck_px=19.0 * scale * draw.uniform(0.92, 1.08),
            pace_hz=draw.uniform(0.85, 1.25),
            reach=draw.uniform(0.82, 1.12),
            slant=draw.uniform(-0.3, 0.3),
            flatness=draw.uniform(0.8, 1.15),
            lift_px=draw.uniform(-5, 5),
            sway_px=draw.uniform(0.2, 0.7),
            sway_hz=draw.uniform(0.2, 0.4),
        )
        height, width = SENSOR.height, SENSOR.width
        ground = draw.uniform(0.30, 0.42)
        grain = _blur(draw.uniform(-1, 1, (height, width)), 3)
        look = Look(
            head_px=9.0 * scale * draw.uniform(0.92, 1.1),
            torso_px=13.0 * scale * draw.uniform(0.9, 1.15),
            limb_px=4.6 * scale * draw.uniform(0.88, 1.15),
            skin=draw.uniform(0.62, 0.75),
            hair=draw.uniform(0.12, 0.3),
            cloth=draw.uniform(0.14, 0.24),
            texture=1.0 + 0.18 * _blur(draw.uniform(-1, 1, (5, 12)), 0),
            backdrop=ground * (1.0 + 0.25 * grain),
        )
        return cls(build, look)


@dataclass(frozen=True, slots=True)
class Lighting:
    """Light on the scene, and the sensor settings that go with it.

    Attributes
    ----------
    level
        Luminance of a white surface; 100 is full light for the pixel model.
    veil
        Stray light, as a fraction of white; it reduces contrast.
    slope
        Relative change of light from the left to the right of the picture.
    flicker, flicker_hz
        Relative depth and rate of the lamp's flicker.
    params
        The pixels.
    """

    level: float
    veil: float
    slope: float
    flicker: float
    flicker_hz: float
    params: PixelParams

    def apply(self, reflectance: Floats, t_s: float) -> Floats:
        """Luminance of a scene at time `t_s`."""
        lamp = 1.0 + self.flicker * round(float(np.sin(2 * np.pi * self.flicker_hz * t_s)), 9)
        across = 1.0 + self.slope * (np.arange(reflectance.shape[1]) / reflectance.shape[1] - 0.5)
        return np.asarray((reflectance + self.veil) * (self.level * lamp * across), np.float64)


_PIXELS = PixelParams(
    theta_on=0.48,
    theta_off=0.48,
    mismatch=0.03,
    cutoff_hz=300.0,
    refractory_us=1_000,
    shot_noise_hz=0.012,
    leak_hz=0.006,
    hot_fraction=0.0001,
    hot_hz=8.0,
)

LIGHTINGS: dict[str, Lighting] = {
    "lab": Lighting(100.0, 0.02, 0.1, 0.0, 0.0, _PIXELS),
    "natural": Lighting(80.0, 0.04, 0.6, 0.0, 0.0, _PIXELS),
    "led": Lighting(
        30.0, 0.03, -0.4, 0.0, 0.0, replace(_PIXELS, cutoff_hz=200.0, shot_noise_hz=0.03)
    ),
    "fluorescent": Lighting(
        45.0, 0.03, 0.3, 0.03, 100.0, replace(_PIXELS, cutoff_hz=200.0, shot_noise_hz=0.02)
    ),
}
"""The lightings of the DVS-Gesture set, by name."""


def render(
    gesture: str, subject: Subject, t_s: float, performance: Performance | None = None
) -> Floats:
    """Reflectance of the scene `t_s` seconds into a gesture, shape (128, 128).

    `performance` is one occasion of a gesture (phase, pace, wobble); None takes the standard one.
    A time may be negative, and a counter-clockwise turn at t is the clockwise one at -t.
    """
    pose = pose_at(gesture, subject.build, t_s, performance or Performance())
    return paint_figure(pose, subject.look)


def simulate_gesture(
    gesture: str, subject: Subject, lighting: str, duration_us: int, seed: int
) -> Events:
    """Events of one gesture, times from 0 to `duration_us`.

    Parameters
    ----------
    gesture
        A name of `GESTURES`.
    subject
        Who performs it.
    lighting
        A name of `LIGHTINGS`.
    duration_us
        Length of the recording.
    seed
        Draws the occasion (phase, pace, wobble) and the sensor with its noise.
    """
    performance = Performance.draw(seed)
    poses = (
        pose_at(gesture, subject.build, t_us * 1e-6, performance)
        for t_us in range(0, duration_us + 1, STEP_US)
    )
    return film(poses, subject, lighting, seed)


def film(poses: Iterator[Pose], subject: Subject, lighting: str, seed: int) -> Events:
    """Events of a sequence of poses, one every `STEP_US`, the first at time 0."""
    light = LIGHTINGS[lighting]
    sensor = DvsPixelModel(SENSOR, light.params, seed)
    parts = [empty_events()]
    for index, pose in enumerate(poses):
        t_us = index * STEP_US
        luminance = light.apply(paint_figure(pose, subject.look), t_us * 1e-6)
        parts.append(sensor.step(luminance, t_us))
    return np.concatenate(parts)


def _blur(values: NDArray[np.float64], passes: int) -> Floats:
    """Average with the neighbours along both axes `passes` times, scaled to a maximum of 1."""
    for _ in range(passes):
        for axis in range(2):
            values = (np.roll(values, 1, axis) + 2 * values + np.roll(values, -1, axis)) / 4
    return np.asarray(values / np.abs(values).max(), np.float64)
