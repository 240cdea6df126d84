"""Converts columns of numbers (names, types, ranges as other software writes them) to events.

Guarantees:

- No value wraps into a valid range: a coordinate that does not fit becomes 65535, which every
  sensor rejects; polarity is ON for anything above zero.
- Times are whole microseconds unless a unit is given; times in seconds are refused, not guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamstop.errors import SourceError
from streamstop.events.packet import Events, make_events

NAMES = {
    "t": ("t", "ts", "t_us", "time", "times", "timestamp", "timestamps"),
    "x": ("x", "xs", "x_coordinate"),
    "y": ("y", "ys", "y_coordinate"),
    "p": ("p", "ps", "pol", "polarity", "polarities", "on"),
}
"""Names of the four columns in other software, in lower case."""

UNITS_US = {"us": 1, "ms": 1_000, "s": 1_000_000}
"""Microseconds per unit of time."""

MAX_TIME = 1 << 62
"""Later times are clipped to this, which is too late for any stream."""

_OUTSIDE = 0xFFFF


def find_columns(names: Sequence[str]) -> dict[str, str] | None:
    """Which of `names` are t, x, y and p; None where one of them is missing.

    Examples
    --------
    >>> find_columns(["Timestamp", "x", "y", "pol", "id"])
    {'t': 'Timestamp', 'x': 'x', 'y': 'y', 'p': 'pol'}
    """
    lower = {name.strip().lower(): name for name in reversed(names)}
    found = {
        column: next((lower[name] for name in known if name in lower), None)
        for column, known in NAMES.items()
    }
    complete = {column: name for column, name in found.items() if name is not None}
    return complete if len(complete) == len(NAMES) else None


def column_order(order: str, path: str) -> str:
    """Check that `order` holds the letters t, x, y and p in some order, and return it.

    Raises
    ------
    SourceError
        If it does not.
    """
    if sorted(order) != sorted("txyp"):
        raise SourceError(
            f"columns are given as the letters t, x, y, p in some order, not {order!r}: {path}"
        )
    return order


def time_unit(unit: str, path: str) -> int:
    """Microseconds per unit.

    Raises
    ------
    SourceError
        If the unit is not in UNITS_US.
    """
    if unit not in UNITS_US:
        raise SourceError(f"the unit is one of {', '.join(UNITS_US)}, not {unit!r}: {path}")
    return UNITS_US[unit]


def events_from(
    t: NDArray[Any], x: NDArray[Any], y: NDArray[Any], p: NDArray[Any], unit_us: int = 1
) -> Events:
    """Events from four numeric columns of equal length.

    Parameters
    ----------
    t, x, y, p
        Columns, shape (n,).
    unit_us
        Microseconds per unit of `t`. Times in a larger unit may have a fraction; they are
        rounded to the nearest microsecond.

    Returns
    -------
    events : Events
        Array of EVENT_DTYPE, shape (n,).

    Raises
    ------
    ValueError
        If a time is not finite, or has a fraction of a microsecond where that is the unit.

    Examples
    --------
    >>> events_from(*np.array([[0.0038115], [96], [133], [0]]), unit_us=1_000_000)["t"].tolist()
    [3812]
    """
    if t.dtype.kind == "f" and not np.isfinite(t).all():
        raise ValueError("times are not finite")
    if t.dtype.kind == "f" and unit_us == 1 and not (t == np.floor(t)).all():
        raise ValueError(
            "times are not whole numbers of microseconds; if they are seconds, give ?unit=s"
        )
    if t.dtype.kind == "f":
        times = np.rint(t.astype(np.float64) * unit_us).clip(-MAX_TIME, MAX_TIME).astype(np.int64)
    else:
        limit = MAX_TIME // unit_us
        times = (
            t
            if unit_us == 1
            else t.clip(max(-limit, np.iinfo(t.dtype).min), min(limit, np.iinfo(t.dtype).max))
        ).astype(np.int64) * unit_us
    return make_events(times, _coordinate(x), _coordinate(y), p > 0)


def _coordinate(column: NDArray[Any]) -> NDArray[np.uint16]:
    inside = (column >= 0) & (column < _OUTSIDE)  # false for NaN too
    return np.where(inside, column, _OUTSIDE).astype(np.uint16)
