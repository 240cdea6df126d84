"""The event picture of the terminal view, in half blocks: two pixels per character.

ON is orange and OFF is blue, which colour-blind people tell apart; where both came, the colour lies
between them. Without colours ON is a solid block and OFF a shaded one.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

ON, OFF = (255, 158, 27), (64, 140, 255)
_LEVELS, _TONES = 14, 6
"""Brightness and colour are shown in so many steps: a terminal has to be sent fewer colours."""
_CONTRAST = 2.0
"""A cell has the colour of ON or OFF where it has three times as many of these."""
_FAINT = 0.4
"""Without colours, what is darker than this is left out."""


class EventPicture(Widget):
    """Shows the picture of a snapshot, as large as the room allows, centred."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._picture: NDArray[np.uint8] = np.zeros((2, 1, 1), np.uint8)
        self._lines: list[list[Segment]] = []
        self._for: tuple[int, int] = (0, 0)

    def show(self, picture: NDArray[np.uint8]) -> None:
        """Replace the picture: shape (2, rows, columns), OFF and ON."""
        if picture is not self._picture:
            self._picture = picture
            self._for = (0, 0)
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line of characters."""
        columns, rows = self.size
        style = self.rich_style
        if self._for != (columns, rows):
            draw = _plain_lines if self.app.no_color else _coloured_lines
            self._lines = draw(self._picture, columns, rows)
            self._for = (columns, rows)
        top = (rows - len(self._lines)) // 2
        if not top <= y < top + len(self._lines):
            return Strip.blank(columns, style)
        line = self._lines[y - top]
        left = (columns - sum(len(one.text) for one in line)) // 2
        if self.app.no_color:  # its filter wants a style everywhere
            line = [Segment(one.text, style) for one in line]
        return Strip([Segment(" " * left, style), *line]).adjust_cell_length(columns, style)


def shown_size(picture_shape: tuple[int, ...], columns: int, rows: int) -> tuple[int, int]:
    """Columns and lines that a picture of shape (2, rows, columns) takes in a room."""
    _, height, width = picture_shape
    scale = min(columns / width, 2 * rows / height)
    return max(int(width * scale), 1), max(int(height * scale) // 2, 1)


@lru_cache(maxsize=16)
def _resampling(shown: int, given: int) -> NDArray[np.float32]:
    """Weights that resample `given` pixels to `shown`: linear, or means where it shrinks."""
    centres = (np.arange(shown) + 0.5) * given / shown - 0.5
    reach = max(given / shown, 1.0)
    weights = 1 - np.abs(np.clip(centres, 0, given - 1)[:, None] - np.arange(given)) / reach
    weights = np.maximum(weights, 0)
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)


def _resampled(picture: NDArray[np.uint8], columns: int, rows: int) -> NDArray[np.float32]:
    """OFF and ON at the size of the room, 0 to 1."""
    wide, high = shown_size(picture.shape, columns, rows)
    _, height, width = picture.shape
    planes = picture.astype(np.float32) / 255
    found = _resampling(2 * high, height) @ planes @ _resampling(wide, width).T
    return np.asarray(found, np.float32)


def _coloured_lines(picture: NDArray[np.uint8], columns: int, rows: int) -> list[list[Segment]]:
    off, on = _resampled(picture, columns, rows)
    total = np.minimum(on + off, 1)
    level = np.rint(np.sqrt(total) * (_LEVELS - 1)).astype(np.int32)
    balance = _CONTRAST * (on - off) / np.maximum(on + off, 1e-6)
    tone = np.rint((np.clip(balance, -1, 1) + 1) / 2 * (_TONES - 1)).astype(np.int32)
    colour = np.where(level > 0, level * _TONES + tone, 0)
    pairs = colour[::2] * (_LEVELS * _TONES) + colour[1::2]
    lines = []
    for row in pairs:
        starts = np.flatnonzero(np.append(True, row[1:] != row[:-1])).tolist()
        codes = row[starts].tolist()
        ends = [*starts[1:], len(row)]
        lines.append(
            [
                Segment("▀" * (end - start), _style(code))
                for start, end, code in zip(starts, ends, codes, strict=True)
            ]
        )
    return lines


@lru_cache(maxsize=(_LEVELS * _TONES) ** 2)
def _style(pair: int) -> Style:
    upper, lower = (_rgb(one) for one in divmod(pair, _LEVELS * _TONES))
    return Style.parse(f"rgb({upper}) on rgb({lower})")


def _rgb(code: int) -> str:
    level, tone = divmod(code, _TONES)
    share, bright = tone / (_TONES - 1), level / (_LEVELS - 1)
    mixed = (share * on + (1 - share) * off for on, off in zip(ON, OFF, strict=True))
    return ",".join(str(round(bright * one)) for one in mixed)


def _plain_lines(picture: NDArray[np.uint8], columns: int, rows: int) -> list[list[Segment]]:
    off, on = np.sqrt(_resampled(picture, columns, rows))
    lines = []
    for y in range(0, len(on), 2):
        upper, lower = (on[row] > np.maximum(off[row], _FAINT) for row in (y, y + 1))
        shaded = np.maximum(off[y], off[y + 1]) > _FAINT
        text = np.array(list(" ▀▄█"))[upper + 2 * lower]
        text = np.where((text == " ") & shaded, "░", text)
        lines.append([Segment("".join(text.tolist()))])
    return lines
