"""Pictures of a recording over time: windows side by side, or the frames of an animated GIF.

Each picture shows the events of one window of time, ON and OFF in two colours; the windows are
equally far apart. Captions state the time and length of a window and what lies between two.

Guarantees:
- Bounded memory: at most MAX_FRAMES pictures of bounded size.
- A second reading of the file, and no more.

Does not:
- Show an event whose time lies before a window that was passed already.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from streamstop.errors import UsageError
from streamstop.report.charts.events import (
    EVENTS_PER_PIXEL,
    FADED,
    INK,
    LEAST_EVENTS,
    OFF_COLOUR,
    ON_COLOUR,
    PAPER,
    captioned,
    facts_of,
    filled,
    full_tone,
    save_picture,
    tones,
)
from streamstop.report.formatting import NBSP, duration, plural
from streamstop.tools.event_statistics import PixelCounts
from streamstop.tools.inspection import RecordingInfo, packets_of

MAX_FRAMES = 500
MAX_WINDOWS = 16
DEFAULT_FRAMES = 100
DEFAULT_FRAME_US = 33_000

_STRIP_SIDE = 360
_FILM_SIDE = 480
_MOST_SIDE = 640
_FULL = 3
"""Events of a pixel that have the full tone in every frame, so that frames do not flicker."""

_FASTEST_MS = 20
"""Browsers show frames of a GIF no faster."""

_SPREAD_MS = 60
"""Time of a frame where time is left out between two."""


class EventWindow(NamedTuple):
    """The events of one window of time.

    pixels : counts of OFF and ON events, shape (2, height, width); of blocks of pixels where the
        sensor has more than 640 columns or rows.
    begin_us : begin of the window, after the first event.
    """

    pixels: NDArray[np.uint32]
    begin_us: int
    events: int


def write_strip(
    path: str | Path, found: RecordingInfo, windows: int, window_us: int | None = None
) -> None:
    """Write a PNG of several windows side by side.

    Parameters
    ----------
    path
        File to write; it is written as a whole and replaces an existing one.
    found
        A recording that was inspected.
    windows
        Number of windows, at most MAX_WINDOWS.
    window_us
        Length of a window; None: long enough to draw the edges once at the mean rate.

    Raises
    ------
    UsageError
        If there is no event to draw, or the recording is standard input.
    SourceError
        If the recording cannot be read again.
    """
    _check(found, windows, MAX_WINDOWS, "--windows")
    apart = -(-(found.duration_us + 1) // windows)
    length = min(window_us or _telling_us(found), apart)
    begins = [k * apart + (apart - length) // 2 for k in range(windows)]
    shown = list(_windows(found, begins, length))
    full = full_tone(np.concatenate([one.pixels.sum(0).ravel() for one in shown]))
    height, width = shown[0].pixels.shape[1:]
    size = _scaled(width, height, _STRIP_SIDE)
    font = ImageFont.load_default(14)
    strip = Image.new("RGB", (windows * (size[0] + 8) - 8, size[1] + 24), PAPER)
    pen = ImageDraw.Draw(strip)
    for k, one in enumerate(shown):
        at = k * (size[0] + 8)
        picture = Image.fromarray(tones(one.pixels, full))
        strip.paste(picture.resize(size, Image.Resampling.NEAREST), (at, 0))
        pen.rectangle([at, 0, at + size[0] - 1, size[1] - 1], outline=(200, 200, 200))
        text = f"{_time(one.begin_us)}: {plural(one.events, 'event')}".replace(NBSP, " ")
        pen.text((at + 4, size[1] + 4), text, fill=INK, font=font)
    what = (
        f"{windows} windows of {duration(length / 1e6)}, one every {duration(apart / 1e6)}, of "
        f"{duration(found.duration_us / 1e6)}; their times count from the first event"
    )
    save_picture(path, captioned(strip, (facts_of(found), what)), "PNG", optimize=True)


def write_film(
    path: str | Path, found: RecordingInfo, window_us: int | None = None, frames: int | None = None
) -> int:
    """Write an animated GIF; return the number of its frames.

    Where the recording holds more windows than frames, the frames are spread over it.

    Parameters
    ----------
    path, found
        As for `write_strip`.
    window_us
        Length of the window that a frame shows; None: DEFAULT_FRAME_US.
    frames
        At most so many, and no more than MAX_FRAMES; None: DEFAULT_FRAMES.

    Raises
    ------
    UsageError, SourceError
        As `write_strip`.
    """
    frames = DEFAULT_FRAMES if frames is None else frames
    _check(found, frames, MAX_FRAMES, "--frames")
    length = window_us or DEFAULT_FRAME_US
    count = min(-(-(found.duration_us + 1) // length), frames)
    apart = max(-(-(found.duration_us + 1) // count), length)
    lines = [facts_of(found), f"frames of {duration(length / 1e6)}"]
    if apart > length:
        lines[1] += f", one every {duration(apart / 1e6)}"
    shown = _windows(found, [k * apart for k in range(count)], length)
    pictures = (_frame(one, lines) for one in shown)
    first = next(pictures)
    took = max(round(length / 1000), _FASTEST_MS) if apart == length else _SPREAD_MS
    options = {"save_all": True, "append_images": pictures, "duration": took, "loop": 0}
    save_picture(path, first, "GIF", **options, optimize=False, disposal=1)
    return count


def _check(found: RecordingInfo, count: int, most: int, option: str) -> None:
    if not found.pixels.any():
        raise UsageError(f"{found.refusal or 'no event to draw'}: {found.path}")
    if found.path.startswith("-"):
        raise UsageError(
            "standard input can be read only once, and this needs a second pass; save it to a "
            f"file first: {found.path}"
        )
    if not 1 <= count <= most:
        raise UsageError(f"{option} is between 1 and {most}, not {count}")


def _telling_us(found: RecordingInfo) -> int:
    """How long a window is at the mean rate that draws the edges once."""
    width, height = found.sensor or (1, 1)
    wanted = max(EVENTS_PER_PIXEL * width * height, LEAST_EVENTS)
    return max(int(found.duration_us * min(wanted / max(found.events, 1), 1.0)), 1)


def _windows(found: RecordingInfo, begins: list[int], length_us: int) -> Iterator[EventWindow]:
    """The windows [begin, begin + length_us) in order, read from the file once."""
    first_us = found.t_start_us or 0
    at, counted, events = 0, PixelCounts(), 0

    def window() -> EventWindow:
        pixels = filled(counted.of(found.sensor), found.sensor)
        return EventWindow(_reduced(pixels), begins[at], events)

    for packet in packets_of(found.path, found.sensor):
        since = packet.events["t"] - first_us
        while at < len(begins) and len(since):
            inside = (since >= begins[at]) & (since < begins[at] + length_us)
            if inside.any():
                part = packet.events[inside]
                counted.add(part)
                events += len(part)
            if int(since.max()) < begins[at] + length_us:
                break
            yield window()
            at, counted, events = at + 1, PixelCounts(), 0
        if at == len(begins):
            return
    while at < len(begins):
        yield window()
        at, counted, events = at + 1, PixelCounts(), 0


def _reduced(pixels: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Counts of blocks of pixels, where there are more than a picture shows."""
    block = -(-max(pixels.shape[1:]) // _MOST_SIDE)
    if block == 1:
        return pixels
    height, width = (-(-side // block) for side in pixels.shape[1:])
    missing = [(0, height * block - pixels.shape[1]), (0, width * block - pixels.shape[2])]
    blocks = np.pad(pixels, [(0, 0), *missing]).reshape(2, height, block, width, block)
    return np.asarray(blocks.sum((2, 4), dtype=np.uint32))


def _scaled(width: int, height: int, side: int) -> tuple[int, int]:
    scale = max(round(side / max(width, height)), 1)
    return width * scale, height * scale


def _frame(one: EventWindow, lines: list[str]) -> Image.Image:
    """A frame with its caption, in a palette of a few colours."""
    height, width = one.pixels.shape[1:]
    off, on = one.pixels.astype(np.int64)
    tone = np.minimum(off + on, _FULL)
    hue = np.sign(on - off) + 1
    indices = np.where(tone > 0, 1 + hue * _FULL + tone - 1, 0).astype(np.uint8)
    scene = Image.fromarray(indices).resize(
        _scaled(width, height, _FILM_SIDE), Image.Resampling.NEAREST
    )
    font = ImageFont.load_default(14)
    frame = Image.new("P", (max(scene.width, 340), scene.height + 62), 0)
    frame.putpalette(_palette())
    frame.paste(scene, ((frame.width - scene.width) // 2, 0))
    pen = ImageDraw.Draw(frame)
    pen.fontmode = "1"
    ink, faded = len(_COLOURS) - 2, len(_COLOURS) - 1
    pen.line([(0, scene.height), (frame.width, scene.height)], fill=faded)
    texts = [f"{_time(one.begin_us)}: {plural(one.events, 'event')}, {lines[1]}", lines[0]]
    for row, text in enumerate(texts):
        top = scene.height + 6 + 18 * row
        pen.text((8, top), text.replace(NBSP, " "), fill=ink, font=font)
    at = 8
    for name, colour in (("ON (brighter)", 3 * _FULL), ("OFF (darker)", _FULL)):
        top = scene.height + 44
        pen.rectangle([at, top, at + 10, top + 10], fill=colour)
        pen.text((at + 15, top - 3), name, fill=faded, font=font)
        at += 130
    return frame


def _tinted(colour: tuple[int, int, int], tone: int) -> tuple[int, int, int]:
    depth = 0.35 + 0.65 * (tone + 1) / _FULL
    red, green, blue = (round(p + depth * (c - p)) for p, c in zip(PAPER, colour, strict=True))
    return red, green, blue


_BOTH = tuple((a + b) // 2 for a, b in zip(ON_COLOUR, OFF_COLOUR, strict=True))
_COLOURS = (
    PAPER,
    *(
        _tinted((hue[0], hue[1], hue[2]), tone)
        for hue in (OFF_COLOUR, _BOTH, ON_COLOUR)
        for tone in range(_FULL)
    ),
    INK,
    FADED,
)
"""Palette of a frame: paper; OFF, as many of both, ON in _FULL tones each; text."""


def _palette() -> list[int]:
    return [value for colour in _COLOURS for value in colour]


def _time(us: int) -> str:
    return f"{us / 1e6:.3f}{NBSP}s"
