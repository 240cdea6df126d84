"""Decides what the numbers of a table of events mean: order of columns, unit of time, polarity.

A table of numbers seldom says what its columns are. `find_layout` decides by evidence from rows of
several places of the file, and refuses where evidence does not decide:

- t never steps back; p holds one or two values; x and y are whole and below a sensor's size.
- x comes before y, unless y before x fits a much smaller common sensor.
- Times with a fraction are seconds. Whole numbers are microseconds where duration and rate are
  those of an event camera, nanoseconds where they would be years.
- Polarity is {0, 1}, {-1, 1} (-1 perhaps wrapped to unsigned), {1, 2} or {0, 255}.

Guarantees:

- What was inferred is in `TableLayout.notes`, a line each.
- A refusal names the option that settles it.
- No value wraps into a valid range: a coordinate that does not fit becomes 65535, which every
  sensor rejects; a row whose time is not finite, whose pixel has a fraction or whose polarity is
  none of the table's two values is left out and counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamstop.errors import NoEventsError, SourceError
from streamstop.events.packet import COMMON_SENSORS, Events, SensorSize, make_events
from streamstop.formats.columns import UNITS_US, column_order, split_unit, time_unit

OPTIONS = ("columns", "unit", "on")
"""Keys after `?` in the URI of every table."""

SAMPLE_ROWS = 1 << 14
"""Rows that are looked at, from several places of the file."""

MAX_TIME = 1 << 62
"""Later times are clipped to this, which is too late for any stream."""

_OUTSIDE = 0xFFFF
_MAX_COORDINATE = 1 << 12
_RARE = 0.01
"""Fraction of rows that may break a rule: they may be damaged."""
_MANY = 200
"""Fewer rows than this have no rate that tells a unit."""

_WRAPPED = tuple((1 << bits) - 1 for bits in (16, 32, 64))  # -1 in an unsigned type
_PAIRS = ((0, 1), (-1, 1), (1, 2), (0, 255), *((one, 1) for one in _WRAPPED))
"""Pairs of OFF and ON that are understood."""

_YEAR_US = 365.25 * 86_400e6
_LATEST_US = 230 * _YEAR_US
"""The year 2200: no epoch time lies after it."""


class TableOptions(NamedTuple):
    """What a URI states about a table; "" where it is to be inferred.

    Attributes
    ----------
    columns
        Order of the columns, e.g. "xypt"; "-" for one to leave out.
    unit
        Unit of its times, a key of UNITS_US.
    on
        Polarity values that mean ON, separated by commas; all others mean OFF.
    """

    columns: str = ""
    unit: str = ""
    on: str = ""

    def checked(self, path: str) -> TableOptions:
        """The options; SourceError if one of them is none."""
        if self.columns:
            column_order(self.columns, path)
        if self.unit:
            time_unit(self.unit, path)
        if self.on:
            self._values(path)
        return self

    def on_values(self) -> tuple[float, ...] | None:
        """The values that mean ON; None where they are to be inferred."""
        return self._values("") if self.on else None

    def _values(self, path: str) -> tuple[float, ...]:
        try:
            values = tuple(float(one) for one in self.on.split(","))
            return tuple(int(one) if one.is_integer() else one for one in values)
        except ValueError:
            raise SourceError(
                f"on is a list of numbers, the polarity values that mean ON, as in ?on=1,3, not "
                f"{self.on!r}: {path}"
            ) from None


class Rows(NamedTuple):
    """Rows decoded from a table.

    Attributes
    ----------
    events
        Events of the good rows, shape (n,).
    bad
        Indices of the rows that are no events, shape (m,).
    reason
        What is wrong with the first of them; "" without any.
    """

    events: Events
    bad: NDArray[np.int64]
    reason: str


_NONE_BAD = np.zeros(0, np.int64)


class TableLayout(NamedTuple):
    """What the columns of a table mean.

    Attributes
    ----------
    order
        Position of t, x, y and p among its columns.
    unit
        Unit of its times, a key of UNITS_US.
    off, on
        Polarity values; `off` is None where every other value means OFF.
    notes
        What was inferred, a line each.
    """

    order: tuple[int, int, int, int]
    unit: str = "us"
    off: tuple[float, ...] | None = (0,)
    on: tuple[float, ...] = (1,)
    notes: tuple[str, ...] = ()

    def rows(self, t: NDArray[Any], x: NDArray[Any], y: NDArray[Any], p: NDArray[Any]) -> Rows:
        """Events from four numeric columns of equal length, shape (n,).

        Times are rounded to the nearest microsecond, nanoseconds down to whole ones.
        """
        on = p if p.dtype.kind == "b" else _is_any(p, self.on)
        bad = None
        if p.dtype.kind != "b" and self.off is not None:
            known = on | _is_any(p, self.off)
            bad = None if known.all() else ~known
        for column in (t, x, y):
            if column.dtype.kind == "f":
                whole = np.isfinite(column)
                if column is not t:
                    whole &= column == np.floor(column)
                if not whole.all():
                    bad = ~whole if bad is None else bad | ~whole
        if bad is None:
            times = times_us(t, self.unit)
            return Rows(make_events(times, _coordinate(x), _coordinate(y), on), _NONE_BAD, "")
        where = np.flatnonzero(bad)
        t, x, y, on, value = t[~bad], x[~bad], y[~bad], on[~bad], p[where[0]]
        events = make_events(times_us(t, self.unit), _coordinate(x), _coordinate(y), on)
        reason = "no whole pixel or no finite time"
        if self.off is not None and not (_is_any(value, self.on) | _is_any(value, self.off)):
            states = ", ".join(_number(one) for one in (*self.off, *self.on))
            reason = f"polarity {_number(value)} is none of {states}"
        return Rows(events, where, reason)


def times_us(t: NDArray[Any], unit: str) -> NDArray[np.int64]:
    """Times of a column in whole microseconds, shape (n,), without wrapping.

    Examples
    --------
    >>> times_us(np.array([0.0038115]), "s").tolist(), times_us(np.array([1999]), "ns").tolist()
    ([3812], [1])
    """
    if t.dtype.kind == "f":
        scaled = np.rint(t.astype(np.float64) * UNITS_US[unit])
        return np.asarray(scaled.clip(-MAX_TIME, MAX_TIME).astype(np.int64))
    if t.dtype.kind == "u" and t.dtype.itemsize == 8:
        t = np.minimum(t, np.uint64(MAX_TIME))
    t = t.astype(np.int64)
    if unit == "ns":
        return np.asarray(t // 1000)
    if unit == "us":
        return np.asarray(t)
    scale = int(UNITS_US[unit])
    return np.asarray(t.clip(-(MAX_TIME // scale), MAX_TIME // scale) * scale)


def find_layout(
    sample: Sequence[NDArray[Any]],
    rows: int | None,
    options: TableOptions,
    path: str,
    *,
    names: Mapping[str, str] | None = None,
    unit: str = "",
    sensor: SensorSize | None = None,
    whole: bool = True,
) -> TableLayout:
    """What the columns of a table mean.

    Parameters
    ----------
    sample
        One array per column, shape (n,), of rows from several places of the file, in file order.
    rows
        Number of rows of the whole file, perhaps estimated; None where it is unknown.
    options
        What the user states; it is not doubted.
    path
        The file, for messages.
    names
        Names of the columns t, x, y and p, where the table has names; `sample` is then in this
        order.
    unit
        Unit that the format defines; "" if it does not.
    sensor
        Size in pixels, where the file contains it.
    whole
        Whether the sample is from all of the file; False: from its start alone.

    Returns
    -------
    TableLayout

    Raises
    ------
    SourceError
        If evidence does not decide; the message names the option that does.
    """
    options.checked(path)
    notes: list[str] = []
    if names is not None:
        order: tuple[int, ...] = (0, 1, 2, 3)
        unit = options.unit or unit or split_unit(names["t"])[1]
    else:
        unit = options.unit or unit
        letters = options.columns
        if letters:
            if len(letters) != len(sample):
                raise NoEventsError(
                    f"?columns={letters} names {len(letters)} columns, and the table has "
                    f"{len(sample)} (- stands for one to leave out): {path}"
                )
            order = tuple(letters.index(one) for one in "txyp")
        else:
            order = _find_order(sample, options, sensor, path)
            letters = ", ".join(_letters(order))
            notes.append(f"columns read as {letters}, inferred from their values")
    t, x, y, p = (sample[at] for at in order)
    _refuse_fractions(x, y, names is not None, path)
    inferred = unit or _find_unit(t, x, y, rows, whole, path)
    if not unit and (inferred != "us" or notes):
        text = f"times read as {_UNIT_NAMES[inferred]}"
        notes = [f"{notes[0]}; {text}"] if notes else [f"{text}, inferred from their values"]
    off, on, how = _find_polarity(p, options, names is not None, path)
    notes += [how] if how else []
    return TableLayout((order[0], order[1], order[2], order[3]), inferred, off, on, tuple(notes))


_UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}


def _letters(order: Sequence[int]) -> list[str]:
    letters = ["-"] * (max(order) + 1)
    for letter, at in zip("txyp", order, strict=True):
        letters[at] = letter
    return letters


def _find_order(
    sample: Sequence[NDArray[Any]], options: TableOptions, sensor: SensorSize | None, path: str
) -> tuple[int, ...]:
    """Positions of t, x, y and p in a table of four columns without names."""
    if len(sample) != 4:
        raise NoEventsError(
            f"the table has {len(sample)} columns without names, and events have four; give their "
            f"order with ?columns=, - for each to leave out, as in ?columns=txyp-: {path}"
        )
    if not len(sample[0]):
        return (0, 1, 2, 3)
    times = [at for at, one in enumerate(sample) if _may_be_time(one)]
    states = [at for at, one in enumerate(sample) if _may_be_polarity(one, options)]
    pixels = [at for at, one in enumerate(sample) if _may_be_coordinate(one)]
    fitting = [
        one
        for one in permutations(range(4))
        if one[0] in times
        and one[3] in states
        and one[1] < one[2]
        and {one[1], one[2]} <= set(pixels)
    ]
    if len(fitting) == 1:
        return _x_before_y(sample, fitting[0], sensor, path)
    lacks = [
        what
        for found, what in (
            (times, "times, which never step back"),
            (states, "polarity, with one or two values"),
            (pixels[1:], "pixels, two of whole numbers below a sensor's size"),
        )
        if not found
    ]
    why = f"no columns look like {' or '.join(lacks)}" if lacks else "several orders fit"
    best = _best(sample, options)
    raise NoEventsError(
        f"the table's columns have no names and {why}; give their order with ?columns=, "
        f"which may be ?columns={best}: {path}"
    )


def _best(sample: Sequence[NDArray[Any]], options: TableOptions) -> str:
    """The order that breaks the fewest rules."""

    def faults(order: Sequence[int]) -> float:
        t, x, y, p = (sample[at] for at in order)
        return (
            (not _may_be_time(t))
            + (not _may_be_polarity(p, options))
            + (not _may_be_coordinate(x))
            + (not _may_be_coordinate(y))
            + 0.1 * (order[1] > order[2])
            + 0.01 * (tuple(order) != (0, 1, 2, 3))
            # of several that fit, the column of largest values is the time
            - 0.05 * (_span(t) == max(map(_span, sample)))
        )

    return "".join(_letters(min(permutations(range(4)), key=faults)))


def _span(column: NDArray[Any]) -> float:
    finite = column[np.isfinite(column)] if column.dtype.kind == "f" else column
    return float(finite.max()) - float(finite.min()) if len(finite) else 0.0


def _may_be_time(column: NDArray[Any]) -> bool:
    if column.dtype.kind == "b":
        return False
    finite = column[np.isfinite(column)] if column.dtype.kind == "f" else column
    if not len(finite) or len(column) - len(finite) > _RARE * len(column):
        return False
    back = np.count_nonzero(finite[1:] < finite[:-1])
    grows = len(finite) == 1 or finite[-1] > finite[0]
    return bool(grows and back <= _RARE * len(column) and finite.max() > 0)


def _may_be_polarity(column: NDArray[Any], options: TableOptions) -> bool:
    values = _common_values(column)
    if options.on:
        return len(values) <= 8
    return any(set(values) <= set(pair) for pair in _PAIRS) or set(values) == {1, 255}


def _may_be_coordinate(column: NDArray[Any]) -> bool:
    if column.dtype.kind == "b":
        return False
    inside = (column >= 0) & (column < _MAX_COORDINATE)
    if column.dtype.kind == "f":
        inside &= column == np.floor(column)
    return bool(np.count_nonzero(~inside) <= _RARE * len(column))


def _common_values(column: NDArray[Any]) -> list[float]:
    """Values of a column except rare ones; at most 17."""
    values, counts = np.unique(column, return_counts=True)
    if len(values) > 17:
        keep = counts > _RARE * len(column)
        values = values[keep] if keep.sum() == 2 else values[:17]
    elif len(values) > 2:
        keep = counts > _RARE * len(column)
        values = values[keep] if keep.sum() >= 1 else values
    return [one.item() for one in values]


def _x_before_y(
    sample: Sequence[NDArray[Any]],
    order: tuple[int, ...],
    sensor: SensorSize | None,
    path: str,
) -> tuple[int, ...]:
    """The order with x before y, unless the values say the contrary."""
    t, first, second, p = order
    width, height = (_extent(sample[at]) for at in (first, second))
    swapped = (t, second, first, p)
    if sensor is not None:
        fits = width <= sensor.width and height <= sensor.height
        turned = height <= sensor.width and width <= sensor.height
        return swapped if turned and not fits else order
    straight, turned_size = smallest_sensor(width, height), smallest_sensor(height, width)
    if turned_size is None or straight == turned_size or height <= width:
        return order
    if straight is not None and _pixels(straight) <= _pixels(turned_size):
        return order
    a, b = "".join(_letters(order)), "".join(_letters(swapped))
    raise NoEventsError(
        f"the table's columns have no names, and its pixels go up to {width - 1} and "
        f"{height - 1}: a sensor of {turned_size} if y comes before x (?columns={b}), a larger one "
        f"if x comes before y (?columns={a}); give one of them: {path}"
    )


def smallest_sensor(width: int, height: int) -> SensorSize | None:
    """The smallest common sensor that holds so many columns and rows; None if none does."""
    return next(
        (one for one in COMMON_SENSORS if width <= one.width and height <= one.height), None
    )


def _pixels(sensor: SensorSize) -> int:
    return sensor.width * sensor.height


def _extent(column: NDArray[Any]) -> int:
    """One more than the largest coordinate that is not rare."""
    inside = column[(column >= 0) & (column < _OUTSIDE)].astype(np.int64)
    if not len(inside):
        return 0
    counts = np.bincount(inside)
    beyond = np.cumsum(counts[::-1])[::-1]
    return int(np.flatnonzero(beyond * 1000 > len(inside))[-1]) + 1


def _refuse_fractions(x: NDArray[Any], y: NDArray[Any], named: bool, path: str) -> None:
    for name, column in (("x", x), ("y", y)):
        if column.dtype.kind == "f" and len(column):
            cut = np.isfinite(column) & (column != np.floor(column))
            if cut.sum() > _RARE * len(column):
                other = "" if named else ", or give the order of the columns (?columns=)"
                raise NoEventsError(
                    f"{name} has fractions of pixels, the first {column[cut.argmax()]}: these are "
                    "rectified or simulated points, not pixels of a sensor. Round them when the "
                    f"table is made{other}: {path}"
                )


def _find_unit(
    t: NDArray[Any], x: NDArray[Any], y: NDArray[Any], rows: int | None, whole: bool, path: str
) -> str:
    """The unit of time, by fractions, duration and rate."""
    if t.dtype.kind == "f":
        t = t[np.isfinite(t)]
    if not len(t):
        return "us"
    fractions = t.dtype.kind == "f" and bool((t != np.floor(t)).any())
    usual = "s" if fractions else "us"
    rare = int(_RARE * len(t))  # times at either end may be damaged
    ordered = np.sort(t)
    first, last = float(ordered[rare]), float(ordered[-1 - rare])
    span = last - first
    if not span:
        return usual
    count = len(t) if rows is None else rows
    if rows is not None and not whole:
        span *= rows / len(t)
    many = len(t) >= _MANY
    pixels = len(np.unique(_coordinate(x).astype(np.int64) << 16 | _coordinate(y)))
    if count > len(t):
        pixels = max(pixels, min(_extent(x) * _extent(y), count))

    def fits(unit: str) -> bool:
        scale = UNITS_US[unit]
        if max(abs(first), abs(last)) * scale > _LATEST_US or span * scale > _YEAR_US:
            return False
        return not many or _plausible(span * scale, count, pixels, ended=rows is not None)

    whole_us = usual == "us" and many and not (ordered % 1000).any()  # or ns, of a clock in us
    if fits(usual) and not (whole_us and fits("ns")):
        return usual
    if not fractions and max(span, last / 10) > _YEAR_US and (fits("ns") or not many):
        return "ns"
    best = min(
        (one for one in UNITS_US if one != usual),
        key=lambda one: (
            not fits(one),
            abs(math.log(max(_hz(span * UNITS_US[one], count, pixels), 1e-300))),
        ),
    )
    raise NoEventsError(
        f"the unit of its times is not stated, and as {_UNIT_NAMES[usual]} they span "
        f"{_duration(span * UNITS_US[usual])} with {count:,} events; as {_UNIT_NAMES[best]} "
        f"{_duration(span * UNITS_US[best])}. Give ?unit={best}, or ?unit={usual} if that is "
        f"right: {path}"
    )


def _hz(span_us: float, events: int, pixels: int) -> float:
    """Events per second and pixel."""
    return max(events, 1) / max(pixels, 1) / (max(span_us, 1.0) / 1e6)


def _plausible(span_us: float, events: int, pixels: int, *, ended: bool) -> bool:
    """Whether an event camera gives so many events in this time, at so many pixels.

    ended : whether the recording is not longer than this.
    """
    if span_us < 10_000 and ended:
        return False
    hz = _hz(span_us, events, pixels)
    if span_us < 1e6 and ended:
        return hz <= 200
    return 0.1 <= hz <= 2000


def _duration(us: float) -> str:
    for size, unit in ((_YEAR_US, "years"), (86_400e6, "days"), (3_600e6, "hours"), (1e6, "s")):
        if us >= 2 * size:
            return f"{us / size:,.1f} {unit}"
    return f"{us / 1000:,.3g} ms"


def _find_polarity(
    p: NDArray[Any], options: TableOptions, named: bool, path: str
) -> tuple[tuple[float, ...] | None, tuple[float, ...], str]:
    """Values of OFF (None: all others) and ON, and a note where they are unusual."""
    stated = options.on_values()
    if stated is not None:
        return None, stated, ""
    if p.dtype.kind == "b" or not len(p):
        return (0,), (1,), ""
    values = _common_values(p)
    if values == [0] or values == [1]:
        name = "OFF" if values == [0] else "ON"
        only = f"every polarity looked at is {_number(values[0])}, read as {name}"
        # -1 may follow, and is then OFF
        return (0, -1, *_WRAPPED), (1,), only if len(p) >= _MANY else ""
    if values == [1, 255] and p.dtype.itemsize == 1:
        return (255,), (1,), "polarity read as 255 (-1 in 8 bits) for OFF and 1 for ON"
    if p.dtype != np.uint8 or values != [255]:
        for off, on in _PAIRS:
            if set(values) <= {off, on}:
                usual = (off, on) in ((0, 1), (-1, 1))
                note = f"polarity read as {_number(off)} for OFF and {_number(on)} for ON"
                return (off,), (on,), "" if usual else note
    shown = ", ".join(_number(one) for one in values[:6]) + (", ..." if len(values) > 6 else "")
    other = "" if named else ", or give the order of the columns if this is another (?columns=)"
    raise NoEventsError(
        f"polarity holds the values {shown}, and which of them mean ON is not known; state it "
        f"with ?on=, as in ?on={_number(values[-1])}{other}: {path}"
    )


def _is_any(column: NDArray[Any], values: Sequence[float]) -> NDArray[np.bool_]:
    found = column == values[0]
    for one in values[1:]:
        found = found | (column == one)
    return np.asarray(found)


def _number(value: Any) -> str:
    small = abs(float(value)) < 1e6 or not np.isfinite(value)
    return f"{float(value):g}" if small else f"{int(value)}"


def _coordinate(column: NDArray[Any]) -> NDArray[np.uint16]:
    if column.dtype == np.uint16:
        return np.asarray(column)
    inside = (column >= 0) & (column < _OUTSIDE)  # false for NaN too
    return np.where(inside, column, _OUTSIDE).astype(np.uint16)
