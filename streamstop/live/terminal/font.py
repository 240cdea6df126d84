"""Letters several lines high, of half blocks, for a prediction that is seen from across a room."""

from __future__ import annotations

_ROWS = 7
_GLYPHS = {
    "a": "7e1111117e", "b": "7f49494936", "c": "3e41414122", "d": "7f4141221c", "e": "7f49494941",
    "f": "7f09090901", "g": "3e41415132", "h": "7f0808087f", "i": "00417f4100", "j": "2040413f01",
    "k": "7f08142241", "l": "7f40404040", "m": "7f0204027f", "n": "7f0408107f", "o": "3e4141413e",
    "p": "7f09090906", "q": "3e4151215e", "r": "7f09192946", "s": "4649494931", "t": "01017f0101",
    "u": "3f4040403f", "v": "1f2040201f", "w": "7f2018207f", "x": "6314081463", "y": "0304780403",
    "z": "6151494543", "0": "3e5149453e", "1": "00427f4000", "2": "4261514946", "3": "2141454b31",
    "4": "1814127f10", "5": "2745454539", "6": "3c4a494930", "7": "0171090503", "8": "3649494936",
    "9": "064949291e", " ": "0000000000", "_": "4040404040", "-": "0008080800", "?": "0201510906",
    ".": "0000606000", "/": "2010080402", "+": "08083e0808", ":": "0000360000",
}  # fmt: skip
"""Five columns of seven pixels each; the lowest bit is the top."""

_SMALL = {
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

_BLOCKS = " ▀▄█"


def large(text: str, scale: int = 1) -> list[str] | None:
    r"""The text in lines of equal length; None where it has a letter that is not here.

    Parameters
    ----------
    text : str
        Upper and lower case look alike.
    scale : int
        Columns per pixel; a letter is `6 * scale` columns wide and `3.5 * scale` lines high. 0:
        small letters, 4 columns wide and 3 lines high.

    >>> print("\n".join(line.rstrip() for line in large("hi")))
    █   █  ▀█▀
    █▄▄▄█   █
    █   █   █
    ▀   ▀  ▀▀▀
    """
    known = _GLYPHS if scale else _SMALL
    glyphs = [known.get(letter) for letter in text.lower()]
    if not glyphs or None in glyphs:
        return None
    drawn = [_pixels(glyph, scale) for glyph in glyphs if glyph is not None]
    times = max(scale, 1)
    pixels = []
    for row in zip(*drawn, strict=True):
        line = [bit for letter in row for bit in (*letter, 0) for _ in range(times)][:-times]
        pixels += [line] * times
    if len(pixels) % 2:
        pixels.append([0] * len(pixels[0]))
    pairs = zip(pixels[::2], pixels[1::2], strict=True)
    return ["".join(_BLOCKS[a + 2 * b] for a, b in zip(*pair, strict=True)) for pair in pairs]


def _pixels(glyph: str, scale: int) -> list[list[int]]:
    """The rows of a letter."""
    if not scale:
        return [[int(bit) for bit in glyph[row : row + 3]] for row in range(0, len(glyph), 3)]
    return [[column >> row & 1 for column in bytes.fromhex(glyph)] for row in range(_ROWS)]


def largest(text: str, width: int, height: int) -> list[str] | None:
    """The largest letters that fit; None where none do."""
    for scale in (3, 2, 1, 0):
        lines = large(text, scale)
        if lines is not None and len(lines[0]) <= width and len(lines) <= height:
            return lines
    return None
