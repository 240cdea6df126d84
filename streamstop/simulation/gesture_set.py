"""Makes a simulated stand-in for the DVS-Gesture set, in the layout and format of the real one.

Guarantees:

- The files of the unpacked archive: `user01_fluorescent.aedat` (AEDAT 3.1) with
  `user01_fluorescent_labels.csv` for each user and lighting, `trials_to_train.txt`,
  `trials_to_test.txt` and `gesture_mapping.csv`; and a README that says SIMULATED, as the header of
  every recording does.
- A recording depends on its user, lighting, seed and options alone, not on the order or number of
  processes; a recording that exists is kept, so that writing can be continued.

Does not:

- Promise that what works here works on the real set: people are capsules.

The real set: Amir et al. (2017), A low power, fully event-based gesture recognition system.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from streamstop.errors import UsageError
from streamstop.events.labels import CLASS_NAMES, CSV_COLUMNS
from streamstop.events.packet import Events
from streamstop.formats.aedat.aedat3_writer import write_aedat3
from streamstop.simulation.figure import Pose
from streamstop.simulation.gestures import GESTURES, SENSOR
from streamstop.simulation.motions import pose_at, resting_pose
from streamstop.simulation.performers import (
    LIGHTING_NAMES,
    STEP_US,
    Performer,
    film_poses,
    set_lighting,
)
from streamstop.simulation.recordings import Label, between
from streamstop.simulation.set_folder import Progress, claim, in_processes

GENERATOR = 1
"""Raised with every change that alters an event; a set with another value is not continued."""

MAX_USERS = 99


@dataclass(frozen=True, slots=True)
class SetOptions:
    """Settings that all recordings of a set share.

    Attributes
    ----------
    seed
        Draws everything.
    trials
        Number of times that a recording goes through the eleven gestures.
    gesture_s
        Shortest and longest gesture, seconds.
    gap_s
        The same for the unlabelled gaps between gestures: arms down, rest, arms up.
    mains_hz
        50 or 60; fluorescent lamps flicker at twice that.
    generator
        `GENERATOR`.
    """

    seed: int = 0
    trials: int = 1
    gesture_s: tuple[float, float] = (5.0, 7.0)
    gap_s: tuple[float, float] = (0.8, 2.0)
    mains_hz: int = 60
    generator: int = GENERATOR

    def __post_init__(self) -> None:
        """Raise `UsageError` if a setting is out of range."""
        if not 0 <= self.seed < 1 << 31:
            raise UsageError(f"seed = {self.seed} is out of range, 0 to {(1 << 31) - 1}")
        if not 1 <= self.trials <= 100:
            raise UsageError(f"trials = {self.trials} is out of range, 1 to 100")
        for name, (shortest, longest) in (("gesture_s", self.gesture_s), ("gap_s", self.gap_s)):
            if not 0.1 <= shortest <= longest <= 60:
                raise UsageError(
                    f"{name} = {shortest} to {longest} s is not within 0.1 to 60 s, or not in order"
                )
        set_lighting(LIGHTING_NAMES[0], self.mains_hz)


class _Plan(NamedTuple):
    """One recording of the set."""

    folder: Path
    user: int
    lighting: str
    options: SetOptions

    @property
    def path(self) -> Path:
        """Its path, named as in the real set."""
        return self.folder / f"user{self.user:02d}_{self.lighting}.aedat"


def write_gesture_set(
    out: str | Path,
    options: SetOptions | None = None,
    *,
    users: int = 29,
    lightings: int = 5,
    jobs: int = 1,
    progress: Progress | None = None,
) -> int:
    """Write the set, or the missing recordings of it.

    Parameters
    ----------
    out
        Folder to write to, created if missing.
    options
        Settings that all recordings share; None takes the defaults.
    users, lightings
        Number of subjects, and of the five lightings, in the order of their names.
    jobs
        Number of processes.

    Returns
    -------
    count : int
        Number of recordings written.

    Raises
    ------
    UsageError
        If a number is out of range, or the folder holds a set of other options, or other files.
    """
    options = options or SetOptions()
    for name, value, most in (
        ("users", users, MAX_USERS),
        ("lightings", lightings, len(LIGHTING_NAMES)),
    ):
        if not 1 <= value <= most:
            raise UsageError(f"{name} = {value} is out of range, 1 to {most}")
    folder = Path(out)
    # Without the number of users: a set may grow.
    claim(
        folder,
        "DVS-Gesture set (Amir et al. 2017), AEDAT 3.1 with label CSVs,",
        "people of capsules",
        asdict(options),
    )
    plans = [
        _Plan(folder, user, name, options)
        for user in range(1, users + 1)
        for name in LIGHTING_NAMES[:lightings]
    ]
    _write_lists(folder, plans, users)
    return in_processes(plans, [plan.path for plan in plans], write_recording, jobs, progress)


def write_recording(plan: _Plan) -> None:
    """Write one recording and its labels; it appears when it is complete."""
    parts, labels = record_user(plan.user, plan.lighting, plan.options)
    rows = [",".join(CSV_COLUMNS), *(",".join(str(v) for v in label) for label in labels)]
    path = plan.path
    path.with_name(f"{path.stem}_labels.csv").write_text("\n".join(rows) + "\n")
    write_aedat3(path, parts, SENSOR, simulated=True)


def record_user(
    user: int, lighting: str, options: SetOptions
) -> tuple[Iterator[Events], list[Label]]:
    """Events of one recording, in parts, and its labels, in the events' own times.

    The subject is the same in all recordings of a user, and the camera in all of the set.
    """
    light = set_lighting(lighting, options.mains_hz)
    person = (options.seed << 10) + user
    recording = (person << 3) + LIGHTING_NAMES.index(lighting)
    performer = Performer.draw(person)
    draw = np.random.Generator(np.random.Philox(key=[recording, 10]))
    order = [int(i) for _ in range(options.trials) for i in draw.permutation(len(GESTURES))]
    gestures = draw.uniform(*options.gesture_s, len(order))
    gaps = draw.uniform(*options.gap_s, len(order) + 1)
    # Whole steps, so that labels start and end exactly with the movements.
    lengths = [_whole_steps(s) for s in gestures]
    rests = [_whole_steps(s) for s in gaps]
    start_us = 1_000_000 * int(draw.integers(2, 60))
    labels = []
    now_us = start_us
    for gesture, length, rest in zip(order, lengths, rests, strict=False):
        now_us += rest * STEP_US
        labels.append(Label(gesture + 1, now_us, now_us + length * STEP_US))
        now_us += length * STEP_US
    poses = _poses(performer, recording, order, lengths, rests)

    def parts() -> Iterator[Events]:
        for events in film_poses(poses, performer, light, options.seed, recording):
            events["t"] += start_us
            yield events

    return parts(), labels


def _whole_steps(seconds: float) -> int:
    return round(seconds * 1e6 / STEP_US)


def _poses(
    performer: Performer, recording: int, order: list[int], lengths: list[int], rests: list[int]
) -> Iterator[Pose]:
    """The figure's pose at every step: standing, all gestures with rests between, standing."""
    standing = last = resting_pose(performer.subject.build)
    for place, (gesture, length, rest) in enumerate(zip(order, lengths, rests, strict=False)):
        build, occasion = performer.occasion((recording << 11) + place)
        name = GESTURES[gesture]
        moving = rest * 2 // 5
        yield from between(last, standing, moving)
        yield from (standing for _ in range(rest - 2 * moving))
        yield from between(standing, pose_at(name, build, 0.0, occasion), moving)
        for step in range(length):
            last = pose_at(name, build, step * STEP_US * 1e-6, occasion)
            yield last
    # Also after the last label: the recording must not end with its last event.
    yield from between(last, standing, rests[-1])


def users_to_test(users: int) -> range:
    """The last fifth of the users, 24 to 29 of the real set's 29."""
    return range(users - round(users / 5) + 1, users + 1)


def _write_lists(folder: Path, plans: Sequence[_Plan], users: int) -> None:
    names = [f"{name},{number}" for number, name in enumerate(GESTURES, start=1)]
    (folder / CLASS_NAMES).write_text("\n".join(["action,label", *names]) + "\n")
    held_out = users_to_test(users)
    for part, tested in (("train", False), ("test", True)):
        chosen = [plan for plan in plans if (plan.user in held_out) is tested]
        path = folder / f"trials_to_{part}.txt"
        path.write_text("".join(f"{plan.path.name}\n" for plan in chosen))
        if not chosen:
            path.unlink()  # readers treat an empty file as damaged
