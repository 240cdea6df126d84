"""Fits the intervals of a label file to a recording: their unit of time and where time starts.

The unit is the one that the user or the header states. Else fractions mean seconds, and of whole
numbers exactly one unit has to fit: every interval lies at least by half within the recording, and
the last ends after the first `LEAST_REACH` of it. Times are the recording's own where that fits,
else they count from its first event.

Guarantees:

- What was inferred is a note; what evidence does not decide is refused with the option that does.
- A unit that only the header states is doubted where it makes every interval shorter than
  `SHORT_US`, and another one fits.
- Intervals outside are refused with the line of the first. They are left out, and counted in a
  note, where the user says so, and where the recording is damaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from streamstop.errors import UsageError
from streamstop.events.label_table import UNITS_US, LabelTable
from streamstop.events.labels import LabelInterval

LEAST_REACH = 0.02
"""Labels that end before this fraction of the recording fit every smaller unit, too."""

SHORT_US = 20_000
"""Intervals shorter than this are doubted where another unit fits."""

SHIFT_NOTE_US = 10_000
"""An earlier first event makes no difference between the two ways to count time."""

_UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}


class FittedLabels(NamedTuple):
    """Label intervals in a recording's own time, and what was inferred, a line each."""

    intervals: list[LabelInterval]
    notes: tuple[str, ...]


class _Reading(NamedTuple):
    """One way to read the times of a file: a unit, and what is added to them."""

    unit: str
    shift_us: int
    intervals: list[LabelInterval]
    inside: list[bool]
    reach: float

    @property
    def fits(self) -> bool:
        return all(self.inside)

    @property
    def surely(self) -> bool:
        return self.fits and self.reach >= LEAST_REACH


def fit_labels(
    table: LabelTable, first_us: int, last_us: int, *, damaged: bool = False
) -> FittedLabels:
    """The intervals of a label file in a recording's own time.

    Parameters
    ----------
    table : LabelTable
        As read; its unit is not EVENTS.
    first_us, last_us : int
        Times of the recording's first and last event.
    damaged : bool
        Part of the recording is lost, so that labels of that part may lie outside.

    Returns
    -------
    FittedLabels

    Raises
    ------
    UsageError
        If no unit fits, or several do, or an interval lies outside.
    """
    units = [table.unit] if table.unit else ["s"] if table.has_fractions else list(UNITS_US)
    readings = [one for unit in units for one in _readings(table, unit, first_us, last_us)]
    fitting = [one for one in readings if one.fits]
    if table.unit or table.has_fractions:
        chosen = fitting[0] if fitting else None
        if not table.options.unit:
            _doubt(table, chosen or readings[0], first_us, last_us)
    else:
        fitting = [one for one in readings if one.surely]
        if len({one.unit for one in fitting}) > 1 or (
            not fitting and any(one.fits for one in readings)
        ):
            raise UsageError(_no_unit(table, readings, first_us, last_us))
        chosen = fitting[0] if fitting else None
    if chosen is None:
        chosen = max(readings, key=lambda one: sum(one.inside))  # the first of equals
        if not any(chosen.inside) or not (damaged or table.options.outside):
            raise UsageError(_outside(table, chosen, first_us, last_us))
    return FittedLabels(
        [one for one, fits in zip(chosen.intervals, chosen.inside, strict=True) if fits],
        _notes(table, chosen, readings, damaged),
    )


def from_event_times(
    table: LabelTable, times: Sequence[int], count: int, *, damaged: bool = False
) -> FittedLabels:
    """The intervals of a label file that counts events, in the recording's own time.

    Parameters
    ----------
    table : LabelTable
        As read; its unit is EVENTS.
    times : sequence of int
        Time of the event of each start and of each end, in us, in the order of the rows; for the
        end of the recording, the time after its last event.
    count : int
        Number of the recording's events.
    damaged : bool
        Part of the recording is lost, so that its events cannot be counted.

    Raises
    ------
    UsageError
        If an interval lies outside or holds no time, or the recording is damaged.
    """
    if damaged:
        raise UsageError(
            "the labels count events, and part of the recording is lost, so that its events cannot "
            f"be counted; give the labels as times: {table.path}"
        )
    intervals = []
    outside = 0
    for i, row in enumerate(table.rows):
        if table.has_fractions or row.start < 0 or row.end > count:
            if table.options.outside and not table.has_fractions:
                outside += 1
                continue
            raise UsageError(
                f"the labels do not fit the recording: {row.shown} counts events, of which the "
                f"recording has {count}, from 0 on; are they of another recording? {table.path}"
            )
        start_us, end_us = times[2 * i], times[2 * i + 1]
        if start_us >= end_us:
            raise UsageError(
                f"{row.shown} counts events, and all of these have the same time, {start_us} us: "
                f"{table.path}"
            )
        intervals.append(LabelInterval(start_us, end_us, row.name, row.line))
    if not intervals:
        raise UsageError(f"no labelled interval lies within the recording: {table.path}")
    note = "label times read as numbers of events, counted from 0"
    dropped = (_dropped(outside, "outside=drop"),) if outside else ()
    return FittedLabels(intervals, (*table.notes, note, *dropped))


def _readings(table: LabelTable, unit: str, first_us: int, last_us: int) -> list[_Reading]:
    """Times read in a unit: as the recording's own, and from its first event."""
    found = []
    for shift_us in (0, first_us) if first_us else (0,):
        intervals = table.intervals(unit, shift_us)
        inside = [
            one.start_us < one.end_us
            and 2 * (min(one.end_us, last_us + 1) - max(one.start_us, first_us))
            >= one.end_us - one.start_us
            for one in intervals
        ]
        reach = (intervals[-1].end_us - first_us) / max(last_us - first_us, 1)
        found.append(_Reading(unit, shift_us, intervals, inside, reach))
    return found


def _doubt(table: LabelTable, chosen: _Reading, first_us: int, last_us: int) -> None:
    """Refuse a unit that the header states, or fractions suggest, where another one fits better."""
    longest_us = max(one.end_us - one.start_us for one in chosen.intervals)
    if chosen.fits and longest_us >= SHORT_US:
        return
    others = [
        one
        for unit in UNITS_US
        if unit != chosen.unit
        for one in _readings(table, unit, first_us, last_us)
        if one.surely
    ]
    units = list(dict.fromkeys(one.unit for one in others))
    if not units or chosen.surely:
        return
    why = "is what the header states" if table.unit else "is what fractions mean"
    now = (
        f"as {_UNIT_NAMES[chosen.unit]}, which {why}, no interval is longer than {longest_us} us"
        if chosen.fits
        else f"as {_UNIT_NAMES[chosen.unit]}, which {why}, they do not fit the recording"
    )
    keep = f", or {table.options.advice(f'unit={chosen.unit}')} if they are right as they stand"
    raise UsageError(
        f"are the label times {_UNIT_NAMES[units[0]]}? {now}; as {_UNIT_NAMES[units[0]]} all of "
        f"them lie within its {_seconds(last_us - first_us)}. The first is {table.rows[0].shown}. "
        f"Give {table.options.advice(f'unit={units[0]}')}{keep if chosen.fits else ''}: "
        f"{table.path}"
    )


def _no_unit(table: LabelTable, readings: Sequence[_Reading], first_us: int, last_us: int) -> str:
    units = list(dict.fromkeys(one.unit for one in readings if one.fits))
    words = " and ".join(_UNIT_NAMES[one] for one in units)
    are = "fits" if len(units) == 1 else "fit"
    early = "" if any(one.surely for one in readings) else ", all near its start"
    return (
        f"the unit of the label times is not stated, and {words} {are} the recording of "
        f"{_seconds(last_us - first_us)}{early}; the first is {table.rows[0].shown}. Give "
        f"{table.options.advice(f'unit={units[-1]}')} (one of {', '.join(UNITS_US)}), or name the "
        f"unit in the header, as in start_{units[-1]}: {table.path}"
    )


def _outside(table: LabelTable, chosen: _Reading, first_us: int, last_us: int) -> str:
    """The message about the first interval outside, as the best reading has it."""
    at = chosen.inside.index(False)
    one, row = chosen.intervals[at], table.rows[at]
    many = len(table.rows)
    count = many - sum(chosen.inside)
    clock = "counted from its first event" if chosen.shift_us else "in its own time"
    read = f"read as {_UNIT_NAMES[chosen.unit]} {clock}"
    where = f"{one.start_us} to {one.end_us} us"
    events = f"events from {first_us} to {last_us} us ({_seconds(last_us - first_us)} long)"
    if count == many:
        return (
            f"the labels do not fit the recording: {many} intervals, the first of them "
            f"{row.shown}, and none lies within its {events}, neither in its own time nor counted "
            "from its first event"
            f"{'' if table.unit or table.has_fractions else ', in any unit'}; are they of another "
            f"recording, or in another unit ({table.options.advice('unit=')}...)? {table.path}"
        )
    return (
        f"the labels do not fit the recording: {row.shown} lies outside it, by more than half; "
        f"{read} "
        f"it is {where}, and the recording has {events}. {count} of {many} intervals lie outside; "
        f"correct them, or give {table.options.advice('outside=drop')} to leave them out: "
        f"{table.path}"
    )


def _notes(
    table: LabelTable, chosen: _Reading, readings: Sequence[_Reading], damaged: bool
) -> tuple[str, ...]:
    notes = list(table.notes)
    both = all(one.fits for one in readings if one.unit == chosen.unit)
    unit = f"label times read as {_UNIT_NAMES[chosen.unit]}"
    inferred = not table.unit
    if chosen.shift_us and (inferred or abs(chosen.shift_us) >= SHIFT_NOTE_US):
        notes.append(f"{unit}, counted from the recording's first event")
    elif both and abs(readings[-1].shift_us) >= SHIFT_NOTE_US:
        own = "the recording's own clock (counted from its first event they would fit, too)"
        notes.append(f"{unit} of {own}")
    elif inferred:
        notes.append(f"{unit} of the recording's own clock")
    if inferred:
        notes[-1] += ", by their fractions" if table.has_fractions else ", the only unit that fits"
    outside = len(chosen.inside) - sum(chosen.inside)
    if outside:
        notes.append(_dropped(outside, "outside=drop" if table.options.outside else "damage"))
    return tuple(notes)


def _dropped(count: int, why: str) -> str:
    text = "1 labelled interval" if count == 1 else f"{count} labelled intervals"
    cause = "the recording is damaged" if why == "damage" else "as outside=drop asks"
    return f"{text} outside the recording left out: {cause}"


def _seconds(duration_us: int) -> str:
    return f"{duration_us / 1e6:.6g} s"
