"""The inner loops of the simulated sets: paint capsules, step pixels; compiled on first use.

Guarantees:

- The pictures of `figure.paint_figure` to one part in a thousand, and the pixel of
  `pixel.DvsPixelModel` in single precision, with two more flaws of the readout.
- The same events for the same seed on one machine.

Does not:

- Give the same last digit on another machine.
- Check its input: `streamstop.simulation.fast_sensor` is the only caller.

Importing this module imports numba.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

ROW = 8
"""Numbers per capsule: ax, ay, bx, by, radius at a and at b, reflectance, row of its texture."""

THETA_ON, THETA_OFF, LEAK_PER_US, LEVEL, DIFFERENCE, LOG, GAIN, SEEN = range(8)
"""Rows of `cells`: thresholds, leakage, state; then the last light and its level."""

(
    WHITE,
    LINEAR_BELOW,
    CUTOFF_HZ,
    REFRACTORY_US,
    SHOT_NOISE_HZ,
    TWICE,
    REBOUND,
    REBOUND_US,
    RETURN,
    RETURN_US,
) = range(10)
"""Indices into `knobs`."""

_UNIT = 1.0 / (1 << 53)


@numba.njit(error_model="numpy")
def paint(canvas: Any, capsules: Any, textures: Any, edge_px: float) -> None:
    """Paint capsules over the canvas, one after the other.

    canvas : (height, width) float32, in and out.
    capsules : (n, ROW) float64; the row of a texture is -1 where there is none.
    textures : (rows, points) float64, relative brightness.
    """
    height, width = canvas.shape
    points = textures.shape[1]
    for k in range(capsules.shape[0]):
        ax, ay, bx, by = capsules[k, 0], capsules[k, 1], capsules[k, 2], capsules[k, 3]
        radius, taper = capsules[k, 4], capsules[k, 5] - capsules[k, 4]
        value, row = capsules[k, 6], int(capsules[k, 7])
        reach = max(radius, radius + taper) + edge_px
        left, right = max(int(min(ax, bx) - reach), 0), min(int(max(ax, bx) + reach) + 2, width)
        top, bottom = max(int(min(ay, by) - reach), 0), min(int(max(ay, by) + reach) + 2, height)
        dx, dy = bx - ax, by - ay
        squared = dx * dx + dy * dy
        for y in range(top, bottom):
            for x in range(left, right):
                px, py = x - ax, y - ay
                along = 0.0
                if squared > 1e-12:
                    along = min(max((px * dx + py * dy) / squared, 0.0), 1.0)
                off_x, off_y = px - along * dx, py - along * dy
                distance = np.sqrt(off_x * off_x + off_y * off_y) - radius - taper * along
                cover = min(max(0.5 - distance / edge_px, 0.0), 1.0)
                if cover > 0.0:
                    colour = value
                    if row >= 0:
                        place = along * (points - 1)
                        lower = min(int(place), points - 2)
                        fraction = place - lower
                        colour = value * (
                            textures[row, lower] * (1.0 - fraction)
                            + textures[row, lower + 1] * fraction
                        )
                    canvas[y, x] += cover * (colour - canvas[y, x])


@numba.njit(error_model="numpy")
def uniform(draws: Any) -> float:
    """A number in [0, 1): splitmix64 on the counter in `draws`, (1,) uint64."""
    draws[0] += np.uint64(0x9E3779B97F4A7C15)
    z = draws[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return float((z >> np.uint64(11)) * _UNIT)


@numba.njit(error_model="numpy")
def wait(mean: float, draws: Any) -> float:
    """An exponentially distributed time."""
    return float(-mean * np.log(1.0 - uniform(draws)))


@numba.njit(error_model="numpy")
def put(t: float, pixel: int, on: bool, out: Any, n: int) -> int:
    """Write one event, unless `out` is full; returns the number of events written."""
    if n < out.shape[0]:
        out[n, 0], out[n, 1], out[n, 2] = np.int64(t), pixel, on
        n += 1
    return n


@numba.njit(error_model="numpy")
def report(
    t: float, pixel: int, on: bool, held: Any, knobs: Any, draws: Any, out: Any, n: int
) -> int:
    """Write an event and what the readout adds to it; returns the number of events written.

    An ON event may be read twice, and its reset may overshoot: an OFF event soon after, and
    perhaps an ON event after that.
    """
    n = put(t, pixel, on, out, n)
    if on:
        if uniform(draws) < knobs[TWICE]:
            # Two of three such pairs are 1 us apart, the others have equal times.
            n = put(t + (uniform(draws) < 0.67), pixel, True, out, n)
        if uniform(draws) < knobs[REBOUND]:
            t += 0.5 * knobs[REBOUND_US] + wait(0.5 * knobs[REBOUND_US], draws)
            n = put(t, pixel, False, out, n)
            if uniform(draws) < knobs[RETURN]:
                t += 0.5 * knobs[RETURN_US] + wait(0.5 * knobs[RETURN_US], draws)
                n = put(t, pixel, True, out, n)
    held[pixel] = np.int64(np.ceil(t + knobs[REFRACTORY_US]))
    return n


@numba.njit(error_model="numpy")
def expose(
    reflectance: Any,
    veil: float,
    lamp: float,
    across: Any,
    cells: Any,
    held: Any,
    knobs: Any,
    draws: Any,
    noise_us: Any,
    before_us: int,
    t_us: int,
    out: Any,
    n: int,
) -> int:
    """Show the sensor one frame; returns the number of events in `out`.

    reflectance : (pixels,) float32.
    veil, lamp, across : luminance is (reflectance + veil) * lamp * across; across is (width,)
        float32.
    cells : (8, pixels) float32, rows as named above.
    held : (pixels,) int64, when each pixel may fire again.
    noise_us : (1,) float64, when the next noise event is due.
    out : (size, 3) int64: t, pixel, ON.
    before_us : time of the frame before; equal to t_us for the first, which sets the level.
    """
    pixels, width = reflectance.shape[0], across.shape[0]
    knee = knobs[LINEAR_BELOW]
    log_lamp = np.log(lamp)
    dt = float(t_us - before_us)
    for pixel in range(pixels):
        column = across[pixel % width]
        grey = reflectance[pixel]
        if grey != cells[SEEN, pixel]:
            cells[SEEN, pixel] = grey
            light = (grey + veil) * column
            cells[LOG, pixel] = np.log(light)
            # The lamp's flicker is ignored here: it changes the corner by a few per cent.
            bright = max(light * lamp / knobs[WHITE], 0.02)
            corner = 2e-6 * np.pi * knobs[CUTOFF_HZ] * bright * dt
            cells[GAIN, pixel] = 1.0 - np.exp(-corner) if knobs[CUTOFF_HZ] > 0.0 else 1.0
        target = cells[LOG, pixel] + log_lamp
        if target < np.log(knee):
            target = np.log(knee) + np.exp(target) / knee - 1.0
        if dt == 0.0:
            cells[LEVEL, pixel] = target
            cells[SEEN, pixel] = -1.0
            continue
        level = cells[LEVEL, pixel]
        change = cells[GAIN, pixel] * (target - level)
        cells[LEVEL, pixel] = level + change
        slope = change / dt + cells[LEAK_PER_US, pixel]
        start = cells[DIFFERENCE, pixel]
        since = float(before_us)
        if held[pixel] > before_us:
            since, start = float(held[pixel]), 0.0
        while since < t_us:
            end = start + slope * (t_us - since)
            if end >= cells[THETA_ON, pixel]:
                since += max(cells[THETA_ON, pixel] - start, 0.0) / slope
                n = report(since, pixel, True, held, knobs, draws, out, n)
            elif end <= -cells[THETA_OFF, pixel]:
                since += max(cells[THETA_OFF, pixel] + start, 0.0) / -slope
                n = report(since, pixel, False, held, knobs, draws, out, n)
            else:
                start = end
                break
            since, start = float(held[pixel]), 0.0
        cells[DIFFERENCE, pixel] = start
    rate = 1e-6 * knobs[SHOT_NOISE_HZ] * pixels
    while rate > 0.0 and dt > 0.0 and noise_us[0] < t_us:
        pixel = int(uniform(draws) * pixels)
        bright = (reflectance[pixel] + veil) * across[pixel % width] * lamp / knobs[WHITE]
        on = uniform(draws) < 0.5
        if uniform(draws) < 1.0 / (1.0 + 3.0 * bright) and held[pixel] <= noise_us[0]:
            n = report(noise_us[0], pixel, on, held, knobs, draws, out, n)
            cells[DIFFERENCE, pixel] = 0.0
        noise_us[0] += wait(1.0 / rate, draws)
    return n
