"""The people and lightings of the simulated gesture set, seen by a sensor with a DVS128's flaws.

Guarantees:

- Performers differ in build, place, pace, clothing, hands and the manner of each gesture, and are
  the same for the same seed.
- Lightings differ in level, contrast, noise, bandwidth and flicker of the lamps.

Contrasts, thresholds, noise and pace were chosen so that rate, polarity and intervals of events are
close to those of three real recordings (`docs/results/realism.md`).

Does not:

- Match other recordings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from streamstop.errors import UsageError
from streamstop.events.packet import Events
from streamstop.simulation.fast_sensor import FastSensor, Frame, ReadoutParams, paint_figure_fast
from streamstop.simulation.figure import Pose
from streamstop.simulation.gestures import SENSOR, Lighting, Subject
from streamstop.simulation.motions import Build, Performance
from streamstop.simulation.pixel import PixelParams

STEP_US = 2_000
"""Time between frames."""

HAND_OVER_US = 100_000
"""Approximate length of the parts in which events are returned."""

READOUT = ReadoutParams(twice=0.42, rebound=0.36, rebound_us=420.0, returns=0.45, returns_us=850.0)
"""Fractions and times as in the real recordings, which have more intervals of 0 and 1 us between ON
events of a pixel, and more OFF events 200 to 700 us after ON events, than a scene can cause."""

_PIXELS = PixelParams(
    theta_on=0.32,
    theta_off=0.275,
    mismatch=0.05,
    cutoff_hz=200.0,
    refractory_us=500,
    shot_noise_hz=0.12,
    leak_hz=0.01,
    hot_fraction=0.0004,
    hot_hz=6.0,
)

LIGHTING_NAMES = ("fluorescent", "fluorescent_led", "lab", "led", "natural")
"""As in the file names of the real set."""


def set_lighting(name: str, mains_hz: int = 60) -> Lighting:
    """One of the set's lightings.

    Parameters
    ----------
    mains_hz
        50 or 60; fluorescent lamps flicker at twice that.

    Raises
    ------
    UsageError
        For an unknown lighting or mains frequency.
    """
    if mains_hz not in (50, 60):
        raise UsageError(f"mains_hz = {mains_hz} is not 50 or 60")
    hum = 2.0 * mains_hz
    lightings = {
        "fluorescent": Lighting(45.0, 0.03, 0.3, 0.10, hum, _pixels(180.0, 0.11)),
        "fluorescent_led": Lighting(70.0, 0.03, -0.2, 0.05, hum, _pixels(190.0, 0.10)),
        "lab": Lighting(100.0, 0.02, 0.1, 0.01, hum, _pixels(220.0, 0.08)),
        "led": Lighting(35.0, 0.02, -0.4, 0.0, 0.0, _pixels(180.0, 0.12)),
        "natural": Lighting(85.0, 0.06, 0.6, 0.0, 0.0, _pixels(220.0, 0.08)),
    }
    if name not in lightings:
        raise UsageError(f"lighting {name!r} is not one of {', '.join(LIGHTING_NAMES)}")
    return lightings[name]


def _pixels(cutoff_hz: float, shot_noise_hz: float) -> PixelParams:
    return replace(_PIXELS, cutoff_hz=cutoff_hz, shot_noise_hz=shot_noise_hz)


@dataclass(frozen=True)
class Performer:
    """A person of the set.

    Attributes
    ----------
    subject
        Build and look, with more variation than `Subject.draw`.
    hands
        Size of the hands, 1 as in the bundled recordings.
    fingers
        Number of spread fingers on each hand.
    loose_px, loose
        Variation between occasions of a gesture in place, and in size.
    """

    subject: Subject
    hands: float
    fingers: int
    loose_px: float
    loose: float

    @classmethod
    def draw(cls, seed: int) -> Performer:
        """The performer that belongs to `seed`."""
        plain = Subject.draw(seed)
        draw = np.random.Generator(np.random.Philox(key=[seed, 8]))
        size = draw.uniform(0.85, 1.15)
        build, look = plain.build, plain.look
        build = replace(
            build,
            centre_px=(66.0 + draw.uniform(-8, 8), 59.0 + draw.uniform(-8, 7)),
            shoulder_px=build.shoulder_px * size,
            upper_px=build.upper_px * size * 0.95,
            fore_px=build.fore_px * size,
            neck_px=build.neck_px * size * 0.75,
            pace_hz=draw.uniform(1.0, 1.9),
            reach=draw.uniform(0.75, 1.15),
            sway_px=draw.uniform(1.0, 3.5),
        )
        ground = draw.uniform(0.08, 0.32)
        look = look._replace(
            head_px=look.head_px * size,
            torso_px=look.torso_px * size,
            limb_px=look.limb_px * size * 0.95,
            skin=draw.uniform(0.5, 0.85),
            cloth=draw.uniform(0.06, 0.36),
            texture=1.0 + 2.6 * (look.texture - 1.0),
            backdrop=look.backdrop * (ground / look.backdrop.mean()),
        )
        return cls(
            Subject(build, look),
            hands=draw.uniform(0.9, 1.9),
            fingers=int(draw.choice([0, 3, 4, 4])),
            loose_px=draw.uniform(3, 8),
            loose=draw.uniform(0.08, 0.25),
        )

    def occasion(self, seed: int) -> tuple[Build, Performance]:
        """One occasion of a gesture: the build with this occasion's manner, and the performance."""
        plain = Performance.draw(seed)
        draw = np.random.Generator(np.random.Philox(key=[seed, 9]))
        x, y = draw.uniform(-self.loose_px, self.loose_px, 2)
        build = replace(
            self.subject.build,
            low_px=draw.uniform(-4, 16),
            out_px=draw.uniform(0, 24),
            turn=draw.uniform(1.0, 1.7),
            uneven=draw.uniform(-0.3, 0.9) * float(draw.random() < 0.6),
            rise=draw.uniform(0.0, 1.0),
        )
        performance = replace(
            plain,
            pace=draw.uniform(1 - self.loose, 1 + self.loose),
            reach=draw.uniform(1 - self.loose, 1 + self.loose),
            shift_px=(float(x), float(y)),
        )
        return build, performance


def film_poses(
    poses: Iterable[Pose], performer: Performer, light: Lighting, camera: int, noise: int
) -> Iterator[Events]:
    """Events of poses, one every `STEP_US`, the first at time 0, in parts of about HAND_OVER_US.

    Parameters
    ----------
    camera, noise
        Seeds of the sensor and of the randomness in the recording.
    """
    across = 1.0 + light.slope * (np.arange(SENSOR.width) / SENSOR.width - 0.5)
    sensor = FastSensor(
        SENSOR, light.params, READOUT, camera, noise, veil=light.veil, across=across
    )
    look = performer.subject.look

    def frames() -> Iterator[Frame]:
        for index, pose in enumerate(poses):
            turn = 2 * np.pi * light.flicker_hz * index * STEP_US * 1e-6
            picture = paint_figure_fast(
                pose, look, hands=performer.hands, fingers=performer.fingers
            )
            yield Frame(picture, light.level * (1.0 + light.flicker * float(np.sin(turn))))

    return sensor.film(frames(), STEP_US, HAND_OVER_US)
