"""The pixels of an event camera: from luminance to events, with the flaws of real silicon.

Guarantees:

- Events are sorted by time, and the same for the same seed, however the run was interrupted.
- No two events of one pixel are closer than the refractory period.
- Between two frames a pixel's level is a straight line, so that a change over several thresholds
  gives several events at their own times.

Does not:

- Model one particular chip: no second pole, no parasitic photocurrent, no arbiter that saturates.

The pixel is that of Lichtsteiner, Posch and Delbruck (2008), A 128x128 120 dB 15 us latency
asynchronous temporal contrast vision sensor: a logarithmic photoreceptor, a differencing amplifier
that is reset at every event, two comparators. Noise and mismatch follow Hu, Liu and Delbruck
(2021), v2e: from video frames to realistic DVS events; the straight line between frames is that of
Rebecq, Gehrig and Scaramuzza (2018), ESIM: an open event camera simulator.

Levels are kept on a grid of 2^-20, because the last digit of `log` and `exp` differs between
processors, and events should not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamstop.errors import UsageError
from streamstop.events.packet import Events, SensorSize, empty_events, make_events

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_GRID = float(1 << 20)
_NEVER = np.inf


@dataclass(frozen=True, slots=True)
class PixelParams:
    """Settings of the pixel; zero switches a flaw off.

    Attributes
    ----------
    theta_on, theta_off
        Contrast thresholds, in natural log units of luminance.
    mismatch
        Standard deviation of both thresholds between pixels, in the same units.
    white
        Luminance of a white surface in full light; the scale of cutoff and noise.
    linear_below
        Luminance under which the response is linear instead of logarithmic.
    cutoff_hz
        Corner of the photoreceptor's low-pass at `white`, proportional to luminance below it; 0
        is an unlimited bandwidth.
    refractory_us
        Time after an event during which a pixel is held in reset.
    shot_noise_hz
        Noise events per pixel in the dark, both polarities together; a quarter of that at
        `white`.
    leak_hz
        ON events per pixel from the reset switch's leakage, mean over the sensor.
    leak_mismatch
        Relative standard deviation of that rate.
    hot_fraction, hot_hz
        Fraction of pixels whose leakage is far too high, and the rate of those.
    """

    theta_on: float = 0.25
    theta_off: float = 0.25
    mismatch: float = 0.03
    white: float = 100.0
    linear_below: float = 2.0
    cutoff_hz: float = 300.0
    refractory_us: int = 1_000
    shot_noise_hz: float = 0.5
    leak_hz: float = 0.1
    leak_mismatch: float = 0.2
    hot_fraction: float = 0.0002
    hot_hz: float = 20.0

    def __post_init__(self) -> None:
        """Raise `UsageError` if a value is out of range."""
        if min(self.theta_on, self.theta_off, self.white, self.linear_below) <= 0:
            raise UsageError("theta_on, theta_off, white and linear_below must be above zero.")
        flaws = (self.mismatch, self.cutoff_hz, self.refractory_us, self.shot_noise_hz)
        if min(*flaws, self.leak_hz, self.leak_mismatch, self.hot_fraction, self.hot_hz) < 0:
            raise UsageError("A rate, a spread or a duration of the pixel model is negative.")


class PixelState(NamedTuple):
    """The complete state of a `DvsPixelModel` between steps, as arrays.

    Attributes
    ----------
    level
        Photoreceptor output, natural log units, shape (height * width,).
    difference
        Change of level since the pixel's last reset, same shape and units.
    held_until_us
        End of the pixel's refractory period, same shape.
    clock
        Time in us and number of steps so far, int64, shape (2,).
    """

    level: Floats
    difference: Floats
    held_until_us: Ints
    clock: Ints


class _Noise(NamedTuple):
    """At most one noise event per pixel and step: which pixels, when, which polarity."""

    pixel: Ints
    t_us: Floats
    on: NDArray[np.bool_]


class DvsPixelModel:
    """An array of event-camera pixels.

    With l the low-passed log luminance and d its change since the pixel's last reset,

        dd/dt = dl/dt + leak * theta_on,    ON at d >= theta_on,    OFF at d <= -theta_off,

    and an event holds d at zero for `refractory_us`.

    Parameters
    ----------
    sensor
        Columns and rows.
    params
        Settings of the pixel.
    seed
        Draws thresholds, leakage and noise.

    Examples
    --------
    Luminance grows by almost e: one natural log unit, four thresholds of 0.24.

    >>> params = PixelParams(0.24, 0.24, mismatch=0, cutoff_hz=0, refractory_us=0,
    ...                      shot_noise_hz=0, leak_hz=0, hot_fraction=0)
    >>> model = DvsPixelModel(SensorSize(1, 1), params, seed=0)
    >>> len(model.step([[10.0]], 0))
    0
    >>> model.step([[27.18]], 1000)["t"].tolist()
    [240, 480, 720, 960]
    """

    def __init__(self, sensor: SensorSize, params: PixelParams, seed: int) -> None:
        self.sensor = sensor
        self.params = params
        self.seed = seed
        draw = np.random.Generator(np.random.Philox(key=[seed, 0]))
        n = sensor.width * sensor.height
        self.theta_on = _spread(draw, params.theta_on, params.mismatch, n)
        self.theta_off = _spread(draw, params.theta_off, params.mismatch, n)
        leak_hz = _spread(draw, params.leak_hz, params.leak_hz * params.leak_mismatch, n)
        self.hot = draw.random(n) < params.hot_fraction
        leak_hz[self.hot] = params.hot_hz
        self.leak_per_us = leak_hz * 1e-6 * self.theta_on
        # In a sensor that has run for long, leakage has a random phase.
        phase = np.where(leak_hz > 0, draw.random(n), 0.0) * self.theta_on
        self.state = PixelState(
            np.zeros(n), phase, np.full(n, np.iinfo(np.int64).min), np.zeros(2, np.int64)
        )

    def step(self, luminance: ArrayLike, t_us: int) -> Events:
        """Show the sensor the luminance at time `t_us`; returns the events since the step before.

        Parameters
        ----------
        luminance
            Shape (height, width), linear, not negative; `white` is a white surface.
        t_us
            Time of this frame. The first call sets the level that later ones change.

        Returns
        -------
        events : Events
            From the previous frame's time up to `t_us`, sorted by time, then row, then column.

        Raises
        ------
        UsageError
            If the frame's shape is not the sensor's, or time does not advance.
        """
        light = np.asarray(luminance, dtype=np.float64)
        if light.shape != (self.sensor.height, self.sensor.width):
            raise UsageError(
                f"A frame of shape {light.shape} was shown to a sensor of {self.sensor} pixels; "
                f"it must be ({self.sensor.height}, {self.sensor.width})."
            )
        light = light.ravel()
        before_us, steps = (int(v) for v in self.state.clock)
        clock = np.array([t_us, steps + 1], dtype=np.int64)
        if steps == 0:
            self.state = self.state._replace(level=self._log(light), clock=clock)
            return empty_events()
        if t_us <= before_us:
            raise UsageError(f"Time went from {before_us} us to {t_us} us; it must advance.")
        level = self._photoreceptor(light, t_us - before_us)
        noise = self._shot_noise(light, before_us, t_us, steps)
        difference, held, events = self._compare(level, before_us, t_us, noise)
        self.state = PixelState(level, difference, held, clock)
        return events

    def _log(self, light: Floats) -> Floats:
        """Logarithm above `linear_below`, its tangent there below, on the grid."""
        knee = self.params.linear_below
        curve = np.log(np.maximum(light, knee)) + np.minimum(light - knee, 0.0) / knee
        return np.round(curve * _GRID) / _GRID

    def _photoreceptor(self, light: Floats, dt_us: int) -> Floats:
        """First-order low-pass whose corner grows with luminance; the input is held for `dt_us`."""
        target = self._log(light)
        if self.params.cutoff_hz == 0:
            return target
        # A floor of 2 % keeps a black pixel slow instead of fixed.
        cutoff_hz = self.params.cutoff_hz * np.maximum(light / self.params.white, 0.02)
        gain = -np.expm1(-2e-6 * np.pi * cutoff_hz * dt_us)
        level = self.state.level + gain * (target - self.state.level)
        return np.asarray(np.round(level * _GRID) / _GRID)

    def _shot_noise(self, light: Floats, before_us: int, t_us: int, steps: int) -> _Noise:
        """Draw this step's noise events; the draw depends on seed and step number alone."""
        if self.params.shot_noise_hz == 0:
            return _Noise(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.bool_))
        draw = np.random.Generator(np.random.Philox(key=[self.seed, 1], counter=[0, 0, 0, steps]))
        dt_us = t_us - before_us
        rate = self.params.shot_noise_hz / (1.0 + 3.0 * light / self.params.white)
        chance = rate * (1e-6 * dt_us)
        u = draw.random(light.size)
        pixel = np.flatnonzero(u < chance)
        when = before_us + dt_us * draw.random(pixel.size)
        return _Noise(pixel, when, u[pixel] < 0.5 * chance[pixel])

    def _compare(
        self, level: Floats, before_us: int, t_us: int, noise: _Noise
    ) -> tuple[Floats, Ints, Events]:
        """The differencing amplifier and its comparators over one step."""
        slope = (level - self.state.level) / (t_us - before_us) + self.leak_per_us
        held = self.state.held_until_us.copy()
        since = np.maximum(held, before_us).astype(np.float64)
        start = np.where(held > before_us, 0.0, self.state.difference)
        end = start + slope * np.maximum(t_us - since, 0.0)

        crossing = (end >= self.theta_on) | (end <= -self.theta_off)
        crossing[noise.pixel] = True
        pixel = np.flatnonzero(crossing)
        noise_t = np.full(level.size, _NEVER)
        noise_t[noise.pixel] = noise.t_us
        noise_on = np.zeros(level.size, np.bool_)
        noise_on[noise.pixel] = noise.on

        fired: list[tuple[Floats, Ints, NDArray[np.bool_]]] = []
        while pixel.size:
            t_signal, on = self._next_crossing(pixel, start[pixel], since[pixel], slope[pixel])
            # Noise in the refractory period is lost, like everything else there.
            t_noise = np.where(noise_t[pixel] >= since[pixel], noise_t[pixel], _NEVER)
            noisy = t_noise <= t_signal
            t = np.where(noisy, t_noise, t_signal)
            on = np.where(noisy, noise_on[pixel], on)
            now = t <= t_us
            # The rest of a pixel's step, without an event, is a straight line.
            quiet = pixel[~now]
            end[quiet] = start[quiet] + slope[quiet] * np.maximum(t_us - since[quiet], 0.0)
            pixel, t, on, noisy = pixel[now], t[now], on[now], noisy[now]
            noise_t[pixel[noisy]] = _NEVER
            fired.append((t, pixel, on))
            start[pixel] = 0.0
            since[pixel] = t + self.params.refractory_us
            held[pixel] = np.ceil(since[pixel]).astype(np.int64)
            end[pixel] = 0.0
            pixel = pixel[since[pixel] < t_us]
        return end, held, _gather(fired, self.sensor.width)

    def _next_crossing(
        self, pixel: Ints, start: Floats, since: Floats, slope: Floats
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """Time at which each pixel's straight line reaches a threshold, and which of the two."""
        on = slope > 0
        distance = np.where(on, self.theta_on[pixel] - start, self.theta_off[pixel] + start)
        flat = slope == 0
        wait = np.maximum(distance, 0.0) / np.where(flat, 1.0, np.abs(slope))
        return np.where(flat, _NEVER, since + wait), on


def scanned_readout(events: Events, period_us: int) -> Events:
    """Events as a sensor reports them that is read in scans, instead of one by one.

    Every event gets the time at which its scan started; a scan lists its OFF events, then its ON
    events, row by row. Such sensors exist: Son et al. (2017), A 640x480 dynamic vision sensor with
    a 9 um pixel. Such recordings are coarser in time and far smaller on disk.

    Examples
    --------
    >>> events = make_events([10, 1990], [5, 3], [0, 0], [True, True])
    >>> scanned_readout(events, 2000)[["t", "x"]].tolist()
    [(0, 3), (0, 5)]
    """
    t = events["t"] - events["t"] % period_us
    order = np.lexsort((events["x"], events["y"], events["p"], t))
    return make_events(t[order], events["x"][order], events["y"][order], events["p"][order])


def _spread(draw: np.random.Generator, mean: float, sd: float, n: int) -> Floats:
    """Gaussian values around `mean`, never below a hundredth of it, on the grid."""
    values = np.maximum(mean + sd * draw.standard_normal(n), 0.01 * mean)
    return np.asarray(np.round(values * _GRID) / _GRID)


def _gather(fired: list[tuple[Floats, Ints, NDArray[np.bool_]]], width: int) -> Events:
    """One sorted array of the events of all passes over a step."""
    if not fired:
        return empty_events()
    t = np.concatenate([f[0] for f in fired]).astype(np.int64)
    pixel = np.concatenate([f[1] for f in fired])
    on = np.concatenate([f[2] for f in fired])
    order = np.lexsort((pixel, t))
    pixel = pixel[order]
    return make_events(t[order], pixel % width, pixel // width, on[order])
