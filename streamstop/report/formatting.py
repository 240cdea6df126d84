"""Numbers and names for reading: percentages, rates, durations, counts with their nouns.

Guarantees:
- A rounded percentage is 100 % or 0 % only where the figure is exactly that.
"""

from __future__ import annotations

NBSP = "\N{NO-BREAK SPACE}"
NONE = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"


def percent(value: float | None) -> str:
    """A fraction as a percentage with one decimal.

    >>> [percent(v).replace(NBSP, " ") for v in (0.9533, 1.0, 0.99999, 0.00001, None)]
    ['95.3 %', '100 %', '>99.9 %', '<0.1 %', '–']
    """
    if value is None:
        return NONE
    if value in (0.0, 1.0):
        return f"{value * 100:.0f}{NBSP}%"
    if 0.9995 <= value < 1:
        return f">99.9{NBSP}%"
    if 0 < value < 0.0005:
        return f"<0.1{NBSP}%"
    return f"{value * 100:.1f}{NBSP}%"


def points(value: float | None) -> str:
    """A difference of fractions in percentage points, with its sign.

    >>> points(0.0134), points(-0.0134), points(0.0)
    ('+1.3', '−1.3', '0.0')
    """
    if value is None:
        return NONE
    text = f"{value * 100:+.1f}"
    return text[1:] if float(text) == 0 else text.replace("-", MINUS)


def p_value(p: float | None) -> str:
    """A p-value.

    >>> p_value(0.2345), p_value(0.00001), p_value(None)
    ('0.23', '<0.001', '–')
    """
    if p is None:
        return NONE
    return "<0.001" if p < 0.001 else f"{p:.2g}"


def p_equals(p: float) -> str:
    """A p-value with its letter.

    >>> p_equals(0.04), p_equals(0.00001)
    ('p = 0.04', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p_value(p)}"


def whole(value: int | float | None) -> str:
    """A whole number with separators.

    >>> whole(1234567), whole(None)
    ('1,234,567', '–')
    """
    return NONE if value is None else f"{value:,.0f}"


def figure(value: float | None) -> str:
    """A figure with three significant digits.

    >>> [figure(v) for v in (1234.5, 12.34, 0.01234, 0.0, -0.5, None)]
    ['1,234', '12.3', '0.0123', '0', '−0.5', '–']
    """
    if value is None:
        return NONE
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return text.replace("-", MINUS)


def with_unit(value: float | None, unit: str) -> str:
    """A figure and its unit; a dash without a figure.

    >>> with_unit(13.24, "\N{MULTIPLICATION SIGN}"), with_unit(None, "ms")
    ('13.2×', '–')
    """
    if value is None:
        return NONE
    return figure(value) + (unit if unit == TIMES else f"{NBSP}{unit}")


def rate(value: float | None) -> str:
    """Events per second.

    >>> [rate(v).replace(NBSP, " ") for v in (950.0, 51_200.0, 2_340_000.0, None)]
    ['950 ev/s', '51.2 kev/s', '2.34 Mev/s', '–']
    """
    if value is None:
        return NONE
    for size, unit in ((1e6, "Mev/s"), (1e3, "kev/s")):
        if value >= size:
            return f"{value / size:.3g}{NBSP}{unit}"
    return f"{value:.3g}{NBSP}ev/s"


def duration(seconds: float | None) -> str:
    """A length of time.

    >>> [duration(v).replace(NBSP, " ") for v in (0.0134, 0.9999, 12.34, 128.5, 7384.0, None)]
    ['13.4 ms', '1 s', '12.3 s', '2 min 8 s', '2 h 3 min', '–']
    """
    if seconds is None:
        return NONE
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g}{NBSP}ms"
    if seconds < 120:
        return f"{seconds:.3g}{NBSP}s"
    if seconds < 7200:
        return f"{seconds // 60:.0f}{NBSP}min {seconds % 60:.0f}{NBSP}s"
    return f"{seconds // 3600:.0f}{NBSP}h {seconds % 3600 // 60:.0f}{NBSP}min"


def megabytes(value: float | None, *, size: float = 1.0) -> str:
    """Memory in MB; `size` : MB per unit of `value`.

    >>> megabytes(412.34).replace(NBSP, " "), megabytes(151_552, size=1e-6).replace(NBSP, " ")
    ('412 MB', '0.152 MB')
    """
    return NONE if value is None else f"{figure(value * size)}{NBSP}MB"


def printable(text: str) -> str:
    r"""A name from a file without control characters, which could steer a terminal.

    >>> printable("mug\x1b[2J")
    'mug�[2J'
    """
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    >>> plural(1, "segment"), plural(2570, "segment"), plural(2, "class")
    ('1 segment', '2,570 segments', '2 classes')
    """
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}{'es' if noun.endswith('s') else 's'}"


def shorten(text: str, length: int) -> str:
    """A name cut to `length` characters, with an ellipsis where it was cut.

    >>> shorten("right hand clockwise", 11)
    'right hand…'
    """
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
