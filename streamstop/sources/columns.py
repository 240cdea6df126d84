"""Columns of other people's making become events: their names, types and ranges are settled here.

It promises that no value is wrapped into a range where it would look right: a coordinate that does
not fit becomes 65535, which every sensor rejects; polarity is ON for anything above zero. Times are
whole microseconds; a table in seconds is refused, not guessed at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamstop.errors import SourceError
from streamstop.events import Events, make_events

NAMES = {
    "t": ("t", "ts", "t_us", "time", "times", "timestamp", "timestamps"),
    "x": ("x", "xs", "x_coordinate"),
    "y": ("y", "ys", "y_coordinate"),
    "p": ("p", "ps", "pol", "polarity", "polarities", "on"),
}
"""What the four columns are called elsewhere, in lower case."""

_OUTSIDE = 0xFFFF


def find_columns(names: Sequence[str]) -> dict[str, str] | None:
    """Which of `names` is t, x, y and p; None where one of them is missing.

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
    """`order`, if it is the letters t, x, y and p in some order.

    Raises
    ------
    SourceError
        If it is not.
    """
    if sorted(order) != sorted("txyp"):
        raise SourceError(
            f"columns are the letters t, x, y, p in some order, not {order!r}: {path}"
        )
    return order


def events_from(t: NDArray[Any], x: NDArray[Any], y: NDArray[Any], p: NDArray[Any]) -> Events:
    """Events from four numeric columns of equal length, shape (n,).

    Raises
    ------
    ValueError
        If a time is no whole number.
    """
    if t.dtype.kind == "f" and not (np.isfinite(t) & (t == np.floor(t))).all():
        raise ValueError("times are not whole numbers of microseconds")
    return make_events(t.astype(np.int64), _coordinate(x), _coordinate(y), p > 0)


def _coordinate(column: NDArray[Any]) -> NDArray[np.uint16]:
    inside = (column >= 0) & (column < _OUTSIDE)  # false for NaN too
    return np.where(inside, column, _OUTSIDE).astype(np.uint16)
