"""The figure's movements: for each gesture, the joints as a function of time.

Guarantees:

- Every movement is a smooth function of time, defined before and after time 0.
- A counter-clockwise turn at time t has exactly the joints of the clockwise turn at time -t,
  including sway and wobble.

Does not:

- Model muscles: arms are two links bent to reach a point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np

from streamstop.errors import UsageError
from streamstop.simulation.figure import Pose, bend_arm

Point = tuple[float, float]

OTHERS = 5
"""The movements from which "other_gestures" is drawn."""


@dataclass(frozen=True, slots=True)
class Build:
    """A subject's proportions in pixels and manner of moving.

    Attributes
    ----------
    centre_px
        Position between the shoulders.
    shoulder_px
        Half the shoulders' width.
    pace_hz
        Turns of an arm per second.
    reach
        Size of movements, 1 is average.
    slant
        Tilt of circles, radians.
    flatness
        Height of a circle over its width.
    lift_px
        How much higher or lower than usual the hands are held.
    sway_px, sway_hz
        Movement of the whole body while standing.
    low_px
        How much lower than usual the hands work or wave.
    out_px
        How much further out a hand waves.
    turn
        Size of an arm's turns, in addition to reach.
    uneven
        How much more the right hand claps than the left, -1 to 1.
    rise
        How much the hands rise when they part, as a fraction of the way.
    """

    centre_px: Point
    shoulder_px: float
    upper_px: float
    fore_px: float
    torso_px: float
    neck_px: float
    pace_hz: float
    reach: float
    slant: float
    flatness: float
    lift_px: float
    sway_px: float
    sway_hz: float
    low_px: float = 0.0
    out_px: float = 0.0
    turn: float = 1.0
    uneven: float = 0.0
    rise: float = 0.0


@dataclass(frozen=True, slots=True)
class Performance:
    """One occasion of a gesture.

    Attributes
    ----------
    phase
        Where the movement starts, in turns.
    pace, reach
        Relative to the subject.
    shift_px
        Position of the hands, relative to the subject's usual one.
    wobble
        Phases of the slow changes of pace, reach and sway, in turns.
    unsteady
        Size of the changes of pace and reach; 0 is a machine, 1 a person.
    kind
        Which of the `OTHERS` this is.
    """

    phase: float = 0.0
    pace: float = 1.0
    reach: float = 1.0
    shift_px: Point = (0.0, 0.0)
    wobble: tuple[float, float, float] = (0.0, 0.0, 0.0)
    unsteady: float = 0.0
    kind: int = 0

    @classmethod
    def draw(cls, seed: int) -> Performance:
        """The occasion that belongs to `seed`; every phase is equally likely."""
        draw = np.random.Generator(np.random.Philox(key=[seed, 3]))
        a, b, c = draw.random(3)
        return cls(
            phase=draw.random(),
            pace=draw.uniform(0.95, 1.05),
            reach=draw.uniform(0.92, 1.08),
            shift_px=(draw.uniform(-1.5, 1.5), draw.uniform(-1.5, 1.5)),
            wobble=(a, b, c),
            unsteady=1.0,
            kind=int(draw.integers(OTHERS)),
        )


@dataclass(frozen=True, slots=True)
class _Moment:
    """The inputs of a movement at one time: turns at the arm's pace, size, body and hands."""

    build: Build
    turns: float
    reach: float
    neck: Point
    shift_px: Point
    kind: int

    def wave(self, per_turn: float, ahead: float = 0.0) -> float:
        """A sine with `per_turn` periods per turn, advanced by the fraction `ahead` of a period."""
        return sin(2 * pi * (per_turn * self.turns + ahead))

    def hand(self, x: float, y: float) -> Point:
        """A position relative to the neck, with the subject's and the occasion's offset."""
        lift = self.build.lift_px + self.shift_px[1]
        return self.neck[0] + self.shift_px[0] + x, self.neck[1] - lift + y

    def shoulder(self, side: float) -> Point:
        return self.neck[0] + side * self.build.shoulder_px, self.neck[1]

    def resting(self, side: float) -> Point:
        """Position of the hand of a hanging arm."""
        length = 0.97 * (self.build.upper_px + self.build.fore_px)
        shoulder = self.shoulder(side)
        return shoulder[0] + side * 0.18 * length, shoulder[1] + 0.98 * length


@dataclass(slots=True)
class _Hands:
    """The result of a movement: the hands' targets, their nearness, movement of head and body.

    raised : for each arm, whether it is held up, with the elbow below it, or hangs with the elbow
    outside.
    """

    right: Point
    left: Point
    nearness: tuple[float, float] = (1.0, 1.0)
    raised: tuple[bool, bool] = (False, False)
    head: Point = (0.0, 0.0)
    lean_px: float = 0.0


def pose_at(gesture: str, build: Build, t_s: float, performance: Performance) -> Pose:
    """The figure's joints `t_s` seconds into a gesture; raises `UsageError` for an unknown name."""
    backwards = gesture.endswith("_counter_clockwise")
    name = gesture.replace("_counter_clockwise", "_clockwise")
    if name not in _MOTIONS:
        raise UsageError(f"There is no gesture {gesture!r}; there are {', '.join(_MOTIONS)}.")
    t = -t_s if backwards else t_s
    pace, reach, sway = performance.wobble
    unsteady = performance.unsteady
    hz = build.pace_hz * performance.pace
    moment = _Moment(
        build=build,
        turns=performance.phase + hz * t + 0.03 * unsteady * sin(2 * pi * (0.31 * t + pace)),
        reach=build.reach
        * performance.reach
        * (1 + 0.06 * unsteady * sin(2 * pi * (0.23 * t + reach))),
        neck=(
            build.centre_px[0] + build.sway_px * sin(2 * pi * (build.sway_hz * t + sway)),
            build.centre_px[1] + 0.4 * build.sway_px * sin(2 * pi * (0.7 * t + sway)),
        ),
        shift_px=performance.shift_px,
        kind=performance.kind,
    )
    return _assemble(moment, _MOTIONS[name](moment))


def resting_pose(build: Build) -> Pose:
    """The figure standing still, arms down."""
    moment = _Moment(build, 0.0, 1.0, build.centre_px, (0.0, 0.0), 0)
    return _assemble(moment, _Hands(moment.resting(-1), moment.resting(1)))


def _assemble(moment: _Moment, hands: _Hands) -> Pose:
    build, lean = moment.build, hands.lean_px
    neck = (moment.neck[0] + lean, moment.neck[1])
    joints = np.zeros((8, 2))
    joints[0] = neck[0] + 0.4 * lean + hands.head[0], neck[1] - build.neck_px + hands.head[1]
    joints[1] = moment.build.centre_px[0], neck[1] + build.torso_px
    arms = ((2, -1.0, hands.right, hands.raised[0]), (5, 1.0, hands.left, hands.raised[1]))
    for row, side, target, raised in arms:
        shoulder = (neck[0] + side * build.shoulder_px, neck[1])
        reach = (target[0] + lean, target[1])
        bend = side if raised else -side
        elbow, wrist = bend_arm(shoulder, reach, build.upper_px, build.fore_px, bend)
        joints[row], joints[row + 1], joints[row + 2] = shoulder, elbow, wrist
    return Pose(joints, np.array(hands.nearness))


def _clap(m: _Moment) -> _Hands:
    apart = 3.0 + 9.0 * m.reach * (1 + m.wave(1.7))
    right, left = apart * (1.0 + m.build.uneven), apart * (1.0 - m.build.uneven)
    rise, y = m.build.rise, 20 + m.build.low_px
    return _Hands(m.hand(-right, y - rise * right), m.hand(left, y - rise * left), (1.15, 1.1))


def _wave(m: _Moment, side: float) -> _Hands:
    swing = 0.75 * m.reach * m.wave(1.6)
    root = m.hand(side * (m.build.shoulder_px + 8 + m.build.out_px), 10 + m.build.low_px)
    length = 1.02 * m.build.fore_px
    target = (root[0] + length * (side * 0.25 + sin(swing)), root[1] - length * cos(swing))
    return _one_arm(m, side, target)


def _turn(m: _Moment, side: float) -> _Hands:
    angle = 2 * pi * m.turns
    radius = 14.5 * m.reach * m.build.turn
    x, y = radius * cos(angle), radius * m.build.flatness * sin(angle)
    lean = side * m.build.slant
    middle = m.hand(side * (m.build.shoulder_px + 20), 4)
    target = (
        middle[0] + x * cos(lean) - y * sin(lean),
        middle[1] + x * sin(lean) + y * cos(lean),
    )
    return _one_arm(m, side, target)


def _one_arm(m: _Moment, side: float, target: Point) -> _Hands:
    if side < 0:
        return _Hands(target, m.resting(1), (1.1, 1.0), (True, False))
    return _Hands(m.resting(-1), target, (1.0, 1.1), (False, True))


def _roll(m: _Moment) -> _Hands:
    radius = 9.0 * m.reach
    up, near = radius * m.wave(1.5), 0.12 * m.wave(1.5, 0.25)
    y = 20 + m.build.low_px
    return _Hands(m.hand(5, y + up), m.hand(-5, y - up), (1.1 + near, 1.1 - near))


def _drums(m: _Moment) -> _Hands:
    def stroke(ahead: float) -> float:
        rise = m.wave(1.5, ahead)
        # Hands rise slowly and fall fast: the square keeps them low for less of the time.
        return 26 + m.build.low_px - 10 * m.reach * (rise + 0.35 * rise * rise)

    return _Hands(m.hand(-17, stroke(0.0)), m.hand(17, stroke(0.5)), (1.15, 1.1))


def _guitar(m: _Moment) -> _Hands:
    strum = 9.0 * m.reach * m.wave(2.0)
    slide = 2.5 * m.wave(0.5)
    low = m.build.low_px
    right = m.hand(-6 + 0.3 * strum, 36 + low + strum)
    left = m.hand(30 + slide, 14 + low - slide)
    return _Hands(right, left, (1.15, 1.0), (False, True))


def _other(m: _Moment) -> _Hands:
    """One of five: jumping jack, head and shoulders, both hands overhead, boxing, leaning."""
    up = 0.5 + 0.5 * m.wave(0.8)
    hips = m.build.shoulder_px + 6
    if m.kind == 0:
        x, y = hips + 12 * sin(pi * up), 36 - 66 * up
        return _Hands(m.hand(-x, y), m.hand(x, y), raised=(True, True))
    if m.kind == 1:
        nod = (3.5 * m.reach * m.wave(1.0), 2.0 * m.wave(2.0))
        shrug = 4 * up
        return _Hands(m.hand(-hips - 3, 30 - shrug), m.hand(hips + 3, 30 - shrug), head=nod)
    if m.kind == 2:
        x = 9 * m.reach * m.wave(1.5)
        return _Hands(m.hand(-15 + x, -26), m.hand(15 + x, -26), raised=(True, True))
    if m.kind == 3:
        punch, guard = m.wave(1.4), m.wave(1.4, 0.5)
        right = m.hand(-6 - 14 * m.reach * max(punch, 0) ** 2, 8)
        left = m.hand(6 + 14 * m.reach * max(guard, 0) ** 2, 8)
        return _Hands(right, left, (1.15 + 0.25 * max(punch, 0), 1.15 + 0.25 * max(guard, 0)))
    return _Hands(m.resting(-1), m.resting(1), lean_px=8 * m.reach * m.wave(0.8))


_MOTIONS: dict[str, Callable[[_Moment], _Hands]] = {
    "hand_clapping": _clap,
    "right_hand_wave": lambda m: _wave(m, -1.0),
    "left_hand_wave": lambda m: _wave(m, 1.0),
    "right_arm_clockwise": lambda m: _turn(m, -1.0),
    "left_arm_clockwise": lambda m: _turn(m, 1.0),
    "arm_roll": _roll,
    "air_drums": _drums,
    "air_guitar": _guitar,
    "other_gestures": _other,
}
