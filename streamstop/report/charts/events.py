"""A picture of a recording: its events by pixel, ON and OFF in two colours.

It shows a slice from the middle, long enough to show the scene and short enough not to smear it.
The caption states what is shown. The slice needs a second reading of the file; of standard input
the whole recording is shown.

Guarantees:
- Bounded memory.
- A few hot pixels do not darken the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from streamstop.errors import UsageError
from streamstop.events.packet import SensorSize
from streamstop.report.formatting import NBSP, duration, plural, printable, whole
from streamstop.tools.event_statistics import MAX_SIDE, PixelCounts
from streamstop.tools.inspection import RecordingInfo, packets_of

ON_COLOUR, OFF_COLOUR = (0, 114, 178), (213, 94, 0)
"""Okabe and Ito's blue and vermilion: distinct for every kind of colour vision, and in grey."""

PAPER, INK, FADED = (255, 255, 255), (30, 30, 30), (110, 110, 110)

EVENTS_PER_PIXEL = 0.2
LEAST_EVENTS = 400
"""Size of the slice: enough events to draw the edges once."""

_SIDE = 800
_FONT = 16
_MARGIN = 12


@dataclass(frozen=True)
class Slice:
    """The events of a picture.

    pixels : counts of OFF and ON events, shape (2, height, width).
    whole : whether it shows the whole recording.
    """

    pixels: NDArray[np.uint32]
    events: int
    first_us: int
    length_us: int
    whole: bool


def write_picture(path: str | Path, found: RecordingInfo) -> Slice:
    """Write a PNG of a recording that was inspected; return the slice that it shows.

    The file is written as a whole and replaces an existing one.

    Raises
    ------
    UsageError
        If no event lies on the sensor.
    SourceError
        If the recording cannot be read again.
    """
    if not found.pixels.any():
        raise UsageError(f"{found.refusal or 'no event to draw'}: {found.path}")
    shown = middle(found)
    save_picture(path, draw(shown, _caption(found, shown)), "PNG", optimize=True)
    return shown


def save_picture(path: str | Path, picture: Image.Image, kind: str, **options: Any) -> None:
    """Save a picture; the file is written as a whole and replaces an existing one."""
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        picture.save(partial, kind, **options)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def middle(found: RecordingInfo) -> Slice:
    """The slice around the middle event; the whole recording if it is short or standard input."""
    width, height = found.sensor or (0, 0)
    wanted = max(round(EVENTS_PER_PIXEL * width * height), LEAST_EVENTS)
    first = (found.events - wanted) // 2
    everything = Slice(
        filled(found.pixels, found.sensor),
        found.events,
        found.t_start_us or 0,
        found.duration_us,
        whole=True,
    )
    if found.path.startswith("-") or found.events <= 1.5 * wanted:
        return everything
    counted, begun_us, ended_us, passed = PixelCounts(), 0, 0, 0
    for packet in packets_of(found.path, found.sensor):
        part = packet.events[max(first - passed, 0) : max(first + wanted - passed, 0)]
        passed += len(packet.events)
        if len(part):
            begun_us = int(part["t"][0]) if not ended_us else begun_us
            ended_us = max(int(part["t"].max()), ended_us)
            counted.add(part)
        if passed >= first + wanted:
            break
    cut = filled(counted.of(found.sensor), found.sensor)
    return Slice(cut, wanted, begun_us, ended_us - begun_us, False) if cut.any() else everything


def filled(pixels: NDArray[np.uint32], sensor: SensorSize | None) -> NDArray[np.uint32]:
    """The grid extended to the sensor size (bounded), with zeros where no event was."""
    width, height = sensor or (1, 1)
    missing = (
        max(min(side, MAX_SIDE) - has, 0)
        for side, has in zip((height, width), pixels.shape[1:], strict=True)
    )
    return np.pad(pixels, ((0, 0), *((0, more) for more in missing)))


def draw(shown: Slice, caption: tuple[str, str]) -> Image.Image:
    """The picture of a slice with its caption below."""
    height, width = shown.pixels.shape[1:]
    scale = max(1, round(_SIDE / max(width, height)))
    scene = Image.fromarray(tones(shown.pixels)).resize(
        (width * scale, height * scale), Image.Resampling.NEAREST
    )
    return captioned(scene, caption)


def captioned(scene: Image.Image, caption: Sequence[str]) -> Image.Image:
    """A picture with lines of text and the meaning of the colours below."""
    font = ImageFont.load_default(_FONT)
    room = max(scene.width, 360) - 2 * _MARGIN
    lines = [line for text in caption for line in folded(text, font, room)]
    step = round(_FONT * 1.4)
    frame = Image.new(
        "RGB",
        (room + 2 * _MARGIN, scene.height + 2 * _MARGIN + step * (len(lines) + 1)),
        PAPER,
    )
    frame.paste(scene, ((frame.width - scene.width) // 2, 0))
    pen = ImageDraw.Draw(frame)
    pen.line([(0, scene.height), (frame.width, scene.height)], fill=(200, 200, 200))
    top = scene.height + _MARGIN
    for line in lines:
        pen.text((_MARGIN, top), line, fill=INK, font=font)
        top += step
    at = _MARGIN
    for name, colour in (("ON (brighter)", ON_COLOUR), ("OFF (darker)", OFF_COLOUR)):
        pen.rectangle([at, top + 3, at + 12, top + 15], fill=colour)
        pen.text((at + 18, top), name, fill=FADED, font=font)
        at += 18 + round(font.getlength(name)) + 20
    return frame


def tones(pixels: NDArray[np.uint32], full: float | None = None) -> NDArray[np.uint8]:
    """Colours by pixel, shape (height, width, 3), uint8: hue by polarity, depth by count.

    full : events of a pixel with the full tone. None: the 98th percentile of the active pixels, so
        that hot pixels do not darken the rest.
    """
    off, on = pixels.astype(np.float64)
    total = off + on
    full = full or full_tone(total)
    # A single event must be visible, so tones start well away from the paper.
    depth = np.where(total > 0, 0.35 + 0.65 * np.minimum(total / full, 1.0), 0.0)[..., None]
    fraction = np.divide(on, total, out=np.zeros_like(on), where=total > 0)[..., None]
    hue = fraction * np.array(ON_COLOUR) + (1 - fraction) * np.array(OFF_COLOUR)
    blended: NDArray[np.uint8] = np.rint(PAPER + depth * (hue - PAPER)).astype(np.uint8)
    return blended


def full_tone(total: NDArray[Any]) -> float:
    """The 98th percentile of the active pixels; 1 without any."""
    return max(float(np.percentile(total[total > 0], 98)), 1.0) if total.any() else 1.0


def facts_of(found: RecordingInfo) -> str:
    """Name, format and sensor of a recording, and whether it is simulated."""
    name = printable(Path(found.path.partition("?")[0]).name or found.path)
    if len(name) > 48:
        name = f"{name[:24]}\N{HORIZONTAL ELLIPSIS}{name[-20:]}"
    facts = f"{name}, {found.format_name}, {found.sensor}"
    return f"{facts}, simulated" if found.simulated else facts


def _caption(found: RecordingInfo, shown: Slice) -> tuple[str, str]:
    facts = facts_of(found)
    took = duration(shown.length_us / 1e6)
    if shown.whole:
        return facts, f"all {plural(shown.events, 'event')}, {took}"
    after = duration((shown.first_us - (found.t_start_us or 0)) / 1e6)
    return facts, (
        f"{whole(shown.events)} of {plural(found.events, 'event')}: {took} from the middle, "
        f"{after} after the beginning of {duration(found.duration_us / 1e6)}"
    )


def folded(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: int) -> list[str]:
    """Lines of text that fit a width in pixels, broken between words."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer.replace(NBSP, " ")) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return [line.replace(NBSP, " ") for line in lines]
