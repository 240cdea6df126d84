"""Names of the columns of a table of events in other software, orders, and units of time."""

from __future__ import annotations

import re
from collections.abc import Sequence

from streamstop.errors import SourceError

NAMES = {
    "t": ("t", "ts", "time", "times", "timestamp", "timestamps", "event_timestamp", "time_stamp"),
    "x": ("x", "xs", "x_coordinate", "x_pos", "col", "column"),
    "y": ("y", "ys", "y_coordinate", "y_pos", "row"),
    "p": ("p", "ps", "pol", "pols", "polarity", "polarities", "event_polarity", "on"),
}
"""Names of the four columns in other software, in lower case and without a unit."""

UNITS_US = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
"""Microseconds per unit of time."""

_UNIT_WORDS = {
    **dict.fromkeys(("s", "sec", "secs", "seconds"), "s"),
    **dict.fromkeys(("ms", "msec", "milliseconds"), "ms"),
    **dict.fromkeys(("us", "usec", "µs", "μs", "microseconds"), "us"),
    **dict.fromkeys(("ns", "nsec", "nanoseconds"), "ns"),
}
_WITH_UNIT = re.compile(r"(.+?)[ _]*(?:_|[(\[])[ _]*([a-zµμ]+)[)\]]?")

SKIP = "-"
"""Stands in an order for a column that holds nothing that is read."""


def split_unit(name: str) -> tuple[str, str]:
    """A column's name in lower case without its unit, and the unit, "" without one.

    Examples
    --------
    >>> split_unit("timestamp_us"), split_unit("Time [s]"), split_unit("x_pos")
    (('timestamp', 'us'), ('time', 's'), ('x_pos', ''))
    """
    plain = name.strip().lower()
    found = _WITH_UNIT.fullmatch(plain)
    if found and found[2] in _UNIT_WORDS:
        return found[1], _UNIT_WORDS[found[2]]
    return plain, ""


def find_columns(names: Sequence[str]) -> dict[str, str] | None:
    """Which of `names` are t, x, y and p; None where one of them is missing.

    Examples
    --------
    >>> find_columns(["Timestamp_us", "x", "y", "pol", "id"])
    {'t': 'Timestamp_us', 'x': 'x', 'y': 'y', 'p': 'pol'}
    """
    plain = {split_unit(name)[0]: name for name in reversed(names)}
    found = {
        column: next((plain[name] for name in known if name in plain), None)
        for column, known in NAMES.items()
    }
    complete = {column: name for column, name in found.items() if name is not None}
    return complete if len(complete) == len(NAMES) else None


def column_order(order: str, path: str) -> str:
    """Check that `order` holds t, x, y and p once each, and return it.

    Raises
    ------
    SourceError
        If it does not.
    """
    if sorted(order.replace(SKIP, "")) != sorted("txyp"):
        raise SourceError(
            f"columns are given as the letters t, x, y, p in some order, with {SKIP} for a column "
            f"to leave out, not {order!r}: {path}"
        )
    return order


def time_unit(unit: str, path: str) -> str:
    """Check that `unit` is one of UNITS_US, and return it.

    Raises
    ------
    SourceError
        If it is not.
    """
    if unit not in UNITS_US:
        raise SourceError(f"the unit is one of {', '.join(UNITS_US)}, not {unit!r}: {path}")
    return unit
