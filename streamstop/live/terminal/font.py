"""Letters three lines high, of half blocks, for a prediction that is seen from across a room."""

from __future__ import annotations

_ROWS = 5
_GLYPHS = {
    "a": "010101111101101", "b": "110101110101110", "c": "011100100100011",
    "d": "110101101101110", "e": "111100110100111", "f": "111100110100100",
    "g": "011100101101011", "h": "101101111101101", "i": "111010010010111",
    "j": "001001001101010", "k": "101101110101101", "l": "100100100100111",
    "m": "101111111101101", "n": "110101101101101", "o": "010101101101010",
    "p": "110101110100100", "q": "010101101011001", "r": "110101110101101",
    "s": "011100010001110", "t": "111010010010010", "u": "101101101101111",
    "v": "101101101101010", "w": "101101111111101", "x": "101101010101101",
    "y": "101101010010010", "z": "111001010100111", "0": "010101101101010",
    "1": "010110010010111", "2": "110001010100111", "3": "110001010001110",
    "4": "101101111001001", "5": "111100110001110", "6": "011100110101010",
    "7": "111001010010010", "8": "010101010101010", "9": "010101011001110",
    " ": "000000000000000", "_": "000000000000111", "-": "000000111000000",
    "?": "110001010000010", ".": "000000000000010",
}  # fmt: skip
"""Five rows of three pixels each."""

HEIGHT = 3


def large(text: str) -> list[str] | None:
    r"""The text in HEIGHT lines; None where it has a letter that is not here.

    >>> print("\n".join(large("hi")))
    █ █ ▀█▀
    █▀█  █
    ▀ ▀ ▀▀▀
    """
    glyphs = [_GLYPHS.get(letter) for letter in text.lower()]
    if None in glyphs:
        return None
    lines = []
    for upper in range(0, _ROWS, 2):
        cells = []
        for glyph in glyphs:
            assert glyph is not None
            above, below = (
                glyph[3 * row : 3 * row + 3] if row < _ROWS else "000" for row in (upper, upper + 1)
            )
            cells.append("".join(_BLOCK[a + b] for a, b in zip(above, below, strict=True)))
        lines.append(" ".join(cells).rstrip())
    return lines


_BLOCK = {"00": " ", "10": "▀", "01": "▄", "11": "█"}
