"""A faster simulation, for sets of many hours: figure and pixels in compiled loops.

Guarantees:

- The same events for the same frames, seed and machine, however they are asked for.
- Pictures like `figure.paint_figure` and pixels like `pixel.DvsPixelModel`, about ten times as
  fast, with the flaws of a DVS128's readout beside those of its pixels.

Does not:

- Give the same events on another kind of machine, or those of the bundled recordings: single
  precision is not kept on a grid here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamstop.errors import UsageError
from streamstop.events.packet import Events, SensorSize, make_events
from streamstop.simulation.figure import (
    EDGE_PX,
    HEAD,
    HIP,
    L_ELBOW,
    L_SHOULDER,
    L_WRIST,
    R_ELBOW,
    R_SHOULDER,
    R_WRIST,
    Floats,
    Look,
    Pose,
)
from streamstop.simulation.pixel import DvsPixelModel, PixelParams

Picture = NDArray[np.float32]

_OUT = 8
"""Capacity in events per pixel between two parts of the output."""


@dataclass(frozen=True, slots=True)
class ReadoutParams:
    """What a DVS128's readout adds to its pixels' events; zero switches a flaw off.

    Attributes
    ----------
    twice
        Fraction of ON events that are read twice, at the same time or a microsecond later.
    rebound, rebound_us
        Fraction of ON events whose reset overshoots and gives an OFF event, and its mean delay;
        never less than half of that.
    returns, returns_us
        Fraction of such OFF events that an ON event follows, and its delay.
    """

    twice: float = 0.0
    rebound: float = 0.0
    rebound_us: float = 400.0
    returns: float = 0.0
    returns_us: float = 900.0

    def __post_init__(self) -> None:
        """Raise `UsageError` if a fraction is not in [0, 1], or a time is negative."""
        if not all(0 <= fraction <= 1 for fraction in (self.twice, self.rebound, self.returns)):
            raise UsageError("twice, rebound and returns are fractions, from 0 to 1.")
        if min(self.rebound_us, self.returns_us) < 0:
            raise UsageError("rebound_us and returns_us must not be negative.")


@dataclass(frozen=True, slots=True)
class Frame:
    """What the sensor is shown.

    Attributes
    ----------
    reflectance
        (height, width).
    lamp
        Luminance of a white surface at this moment, in the middle of the picture.
    """

    reflectance: Picture
    lamp: float


def paint_figure_fast(pose: Pose, look: Look, *, hands: float = 1.0, fingers: int = 0) -> Picture:
    """Reflectance of the scene as in `figure.paint_figure`, with the shape of `look.backdrop`.

    Parameters
    ----------
    hands
        Size of the hands, 1 as there.
    fingers
        Number on each hand, spread; 0 as there.
    """
    from streamstop.simulation import _scene_loop

    canvas = np.asarray(look.backdrop, np.float32).copy()
    _scene_loop.paint(canvas, _capsules(pose, look, hands, fingers), look.texture, EDGE_PX)
    return canvas


def _capsules(pose: Pose, look: Look, hands: float, fingers: int) -> Floats:
    """The figure's parts from back to front; shape (parts, 8), in the loop's order of numbers."""
    joints = np.round(pose.joints * 4096.0) / 4096.0
    (hx, hy), (px, py) = joints[HEAD].tolist(), joints[HIP].tolist()
    (rx, ry), (lx, ly) = joints[R_SHOULDER].tolist(), joints[L_SHOULDER].tolist()
    nx, ny = 0.5 * (rx + lx), 0.5 * (ry + ly)
    head, torso, limb = look.head_px, look.torso_px, look.limb_px
    parts: list[tuple[float, ...]] = [
        (nx, ny, hx, hy, 0.45 * head, 0.45 * head, look.skin, -1),
        (nx, ny + 0.75 * torso, px, py, torso, 0.9 * torso, look.cloth, 0),
        (rx, ry, lx, ly, limb, limb, look.cloth, -1),
        (hx, hy - 0.45 * head, hx, hy - 0.45 * head, head, head, look.hair, -1),
        (hx, hy, hx, hy + 0.4 * head, 0.88 * head, 0.72 * head, look.skin, -1),
    ]
    arms = [(R_SHOULDER, R_ELBOW, R_WRIST, 0), (L_SHOULDER, L_ELBOW, L_WRIST, 1)]
    for shoulder, elbow, wrist, which in sorted(arms, key=lambda arm: pose.nearness[arm[3]]):
        near = round(float(pose.nearness[which]), 4)
        (ax, ay), (bx, by), (cx, cy) = (joints[row].tolist() for row in (shoulder, elbow, wrist))
        parts.append((ax, ay, bx, by, limb, 0.9 * limb, look.cloth, 1 + which))
        parts.append((bx, by, cx, cy, 0.85 * limb, 0.7 * limb * near, look.skin, 3 + which))
        qx, qy, palm = cx + 0.12 * (cx - bx), cy + 0.12 * (cy - by), 0.95 * limb * near * hands
        parts.append((qx, qy, qx, qy, palm, palm, look.skin, -1))
        angle = float(np.arctan2(cy - by, cx - bx))
        for finger in range(fingers):
            turn = angle + 0.42 * (finger - 0.5 * (fingers - 1))
            ex, ey = qx + 2.1 * palm * np.cos(turn), qy + 2.1 * palm * np.sin(turn)
            parts.append((qx, qy, ex, ey, 0.3 * palm, 0.22 * palm, look.skin, -1))
    return np.array(parts)


class FastSensor:
    """An array of event-camera pixels with the readout's flaws, shown evenly spaced frames.

    Parameters
    ----------
    sensor
        Columns and rows.
    params
        Settings of the pixels.
    readout
        What the readout adds.
    seed
        Draws thresholds and leakage, as `DvsPixelModel` does: which camera it is.
    noise_seed
        Draws noise and the readout's flaws: which recording it is.
    veil
        Stray light, as a fraction of white.
    across
        (width,), light on each column, 1 in the middle.
    """

    def __init__(
        self,
        sensor: SensorSize,
        params: PixelParams,
        readout: ReadoutParams,
        seed: int,
        noise_seed: int,
        *,
        veil: float = 0.0,
        across: Floats | None = None,
    ) -> None:
        self.sensor = sensor
        self.params = params
        slow = DvsPixelModel(sensor, params, seed)
        n = sensor.width * sensor.height
        self._veil = veil
        self._across = np.asarray(np.ones(sensor.width) if across is None else across, np.float32)
        self._cells: NDArray[np.float32] = np.zeros((8, n), np.float32)
        self._cells[:3] = slow.theta_on, slow.theta_off, slow.leak_per_us
        self._cells[4] = slow.state.difference
        self._cells[7] = -1.0
        self._held = np.full(n, np.iinfo(np.int64).min)
        self._knobs = np.array(
            [
                params.white,
                params.linear_below,
                params.cutoff_hz,
                params.refractory_us,
                params.shot_noise_hz,
                readout.twice,
                readout.rebound,
                readout.rebound_us,
                readout.returns,
                readout.returns_us,
            ]
        )
        draw = np.random.Generator(np.random.Philox(key=[noise_seed, 7]))
        self._draws = draw.integers(0, 1 << 63, 1).astype(np.uint64)
        rate = 1e-6 * params.shot_noise_hz * n
        self._noise_us = np.array([draw.exponential(1 / rate) if rate else np.inf])
        self._out = np.zeros((_OUT * n, 3), np.int64)

    def film(self, frames: Iterable[Frame], step_us: int, hand_over_us: int) -> Iterator[Events]:
        """Events of frames `step_us` apart, the first at time 0, sorted, in parts.

        Parameters
        ----------
        hand_over_us
            Approximate length of a part. It does not change the events.

        Raises
        ------
        UsageError
            If a frame gives more events than fit, which no scene does.
        """
        from streamstop.simulation import _scene_loop

        waiting: NDArray[np.int64] = np.zeros((0, 3), np.int64)
        n = t_us = 0
        for index, frame in enumerate(frames):
            before_us, t_us = t_us, index * step_us
            n = _scene_loop.expose(
                frame.reflectance.ravel(), self._veil, frame.lamp, self._across, self._cells,
                self._held, self._knobs, self._draws, self._noise_us, before_us, t_us, self._out, n,
            )  # fmt: skip
            if n == len(self._out):
                raise UsageError(f"more than {n} events at {t_us} us; choose a shorter step")
            if n > len(self._out) // 2 or t_us // hand_over_us > before_us // hand_over_us:
                waiting, n = np.concatenate([waiting, self._out[:n]]), 0
                # Events of the readout after this frame wait for the other events of that time.
                due = waiting[:, 0] < t_us
                yield self._sorted(waiting[due])
                waiting = waiting[~due]
        rest = np.concatenate([waiting, self._out[:n]])
        yield self._sorted(rest[rest[:, 0] <= t_us])

    def _sorted(self, rows: NDArray[np.int64]) -> Events:
        rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
        width = self.sensor.width
        return make_events(rows[:, 0], rows[:, 1] % width, rows[:, 1] // width, rows[:, 2] != 0)
