"""Recordings in the style of the DVS-Gesture set: one person, one lighting, all eleven gestures.

Guarantees:

- The gestures follow one another in an order drawn from the seed, with short unlabelled gaps
  between them, in which the arms come down and go up again.
- One sensor records everything, so that its state carries over.
- Labels are in the events' own times.

Does not:

- Have the length of the real recordings: these are made to be small.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from streamstop.events.packet import Events
from streamstop.simulation.figure import Pose
from streamstop.simulation.gestures import GESTURES, STEP_US, Subject, film
from streamstop.simulation.motions import Performance, pose_at, resting_pose
from streamstop.simulation.pixel import scanned_readout


class Label(NamedTuple):
    """One gesture: its class from 1 to 11 and its times in the recording, microseconds."""

    number: int
    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What to record.

    Attributes
    ----------
    user
        Number of the subject.
    lighting
        A name of `LIGHTINGS`.
    seed
        Draws everything; the same user has the same body under every lighting.
    gesture_us, gap_us
        Length of each gesture, and of the gaps before, between and after.
    scan_us
        Period of the sensor's readout.
    """

    user: int
    lighting: str
    seed: int
    gesture_us: int = 3_000_000
    gap_us: int = 300_000
    scan_us: int = 2_000

    @property
    def name(self) -> str:
        """Name of the recording, in the style of the DVS-Gesture set, marked as simulated."""
        return f"simulated_user{self.user:02d}_{self.lighting}"

    @property
    def seeds(self) -> tuple[int, int]:
        """Seed of the subject and seed of the recording."""
        lighting = sum(ord(letter) << (7 * i) for i, letter in enumerate(self.lighting[:4]))
        return self.seed * 1000 + self.user, (self.seed * 1000 + self.user << 28) + lighting


def record(plan: Plan, until_us: int | None = None) -> tuple[Events, list[Label]]:
    """Events and labels of one recording; its clock starts at a whole second drawn from the seed.

    Parameters
    ----------
    plan
        What to record.
    until_us
        End of filming, counted from the recording's start; the labels are complete.
    """
    subject_seed, seed = plan.seeds
    subject = Subject.draw(subject_seed)
    draw = np.random.Generator(np.random.Philox(key=[seed, 4]))
    order = [int(i) for i in draw.permutation(len(GESTURES))]
    start_us = 1_000_000 * int(draw.integers(2, 60))

    frames = None if until_us is None else until_us // STEP_US + 1
    poses = islice(_poses(plan, subject, order, seed), frames)
    events = film(poses, subject, plan.lighting, seed)
    events["t"] += start_us
    labels = []
    for place, gesture in enumerate(order):
        begin_us = start_us + place * (plan.gap_us + plan.gesture_us) + plan.gap_us
        labels.append(Label(gesture + 1, begin_us, begin_us + plan.gesture_us))
    return scanned_readout(events, plan.scan_us), labels


def _poses(plan: Plan, subject: Subject, order: list[int], seed: int) -> Iterator[Pose]:
    """The figure's pose at every step, from standing still through all gestures and back."""
    rest = last = resting_pose(subject.build)
    gap, length = plan.gap_us // STEP_US, plan.gesture_us // STEP_US
    for gesture in order:
        occasion = Performance.draw((seed << 4) + gesture)
        first = pose_at(GESTURES[gesture], subject.build, 0.0, occasion)
        yield from between(last, first, gap)
        for step in range(length):
            last = pose_at(GESTURES[gesture], subject.build, step * STEP_US * 1e-6, occasion)
            yield last
    # Also after the last label: the recording must not end with its last event.
    yield from between(last, rest, gap)


def between(one: Pose, other: Pose, steps: int) -> Iterator[Pose]:
    """Interpolate from one pose to another, slow at both ends."""
    for step in range(steps):
        fraction = step / steps
        yield one.blend(other, fraction * fraction * (3 - 2 * fraction))
