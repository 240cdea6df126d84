"""Letters several lines high, of half blocks, for a prediction that is seen from across a room."""

from __future__ import annotations

_ROWS, _COLUMNS = 7, 5
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

_BLOCKS = " ▀▄█"


def large(text: str, scale: int = 1) -> list[str] | None:
    r"""The text in lines of equal length; None where it has a letter that is not here.

    Parameters
    ----------
    text : str
        Upper and lower case look alike.
    scale : int
        Columns per pixel; a letter is `6 * scale` columns wide and `3.5 * scale` lines high.

    >>> print("\n".join(line.rstrip() for line in large("hi")))
    █   █  ▀█▀
    █▄▄▄█   █
    █   █   █
    ▀   ▀  ▀▀▀
    """
    glyphs = [_GLYPHS.get(letter) for letter in text.lower()]
    if not glyphs or None in glyphs:
        return None
    columns: list[int] = []
    for glyph in glyphs:
        assert glyph is not None
        columns += [*bytes.fromhex(glyph), 0]
    columns.pop()
    rows = [[column >> row & 1 for column in columns for _ in range(scale)] for row in range(_ROWS)]
    pixels = [row for row in rows for _ in range(scale)]
    if len(pixels) % 2:
        pixels.append([0] * len(pixels[0]))
    pairs = zip(pixels[::2], pixels[1::2], strict=True)
    return ["".join(_BLOCKS[a + 2 * b] for a, b in zip(*pair, strict=True)) for pair in pairs]


def largest(text: str, width: int, height: int) -> list[str] | None:
    """The largest letters that fit; None where none do."""
    for scale in (3, 2, 1):
        lines = large(text, scale)
        if lines is not None and len(lines[0]) <= width and len(lines) <= height:
            return lines
    return None
