"""Reads label files as people have them: a table of start, end (or duration) and class.

Accepted are columns in any order under the usual names, separated by comma, semicolon, tab or
blanks; UTF-8, UTF-16 with its mark, or Windows-1252; quotes; numbers such as 5000000, 5.0e6, 5.25
and, where the comma does not separate, 5,25. Without a header, three columns of which two can only
be start and end.

Guarantees:

- What the file does not say is in `LabelTable.notes`, or refused with its line and the option.
- Intervals are in order and do not overlap; each has its line, for messages.
- Class names are kept as written.

Does not:

- Decide a unit of time that the file does not state: `streamstop.events.label_times` does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise, permutations
from pathlib import Path
from typing import NamedTuple

from streamstop.errors import UsageError
from streamstop.events.label_text import LabelText, Number, read_label_text, shown
from streamstop.events.labels import CSV_COLUMNS, LabelInterval

UNITS_US = {"us": Decimal(1), "ms": Decimal(1000), "s": Decimal(1_000_000), "ns": Decimal("0.001")}
"""Microseconds per unit of time."""

EVENTS = "events"
"""Stands for a unit where times are numbers of events, counted from 0."""

ROLES = ("start", "end", "duration", "class")
"""Words of `columns`, besides "-" for a column that is not read."""

_UNIT_WORDS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("us", "usec", "µs", "μs", "microsecond", "microseconds"), "us"),
    **dict.fromkeys(("ns", "nsec", "nanosecond", "nanoseconds"), "ns"),
    **dict.fromkeys(("ev", "evt", "event", "events"), EVENTS),
}
_NAMES = {
    "start": "start begin beginning onset from t0 starttime begintime onsettime tstart tbegin "
    "timestart timebegin starttimestamp timestampstart tsstart startts tonset",
    "end": "end stop finish offset to until t1 endtime stoptime offsettime finishtime tend tstop "
    "timeend timestop endtimestamp timestampend tsend endts toffset",
    "duration": "duration dur",
    "class": "class classname label labelname gesture action activity category name classid "
    "labelid cls annotation",
}
_COLUMN_NAMES = {role: tuple(names.split()) for role, names in _NAMES.items()}
"""Names of columns in lower case, without unit, blanks and underscores; the likeliest first."""

_SHOWN = 80


@dataclass(frozen=True)
class LabelOptions:
    """What the user states about a label file; "" where it is to be inferred.

    Attributes
    ----------
    unit
        Of its times: a key of UNITS_US, or "events".
    columns
        What its columns hold, e.g. "start,end,class"; "-" for one to leave out.
    outside
        "drop" leaves out intervals outside the recording, which are refused otherwise.
    of_folder
        Whether they were given with a folder, as `?label_unit=`, not with --labels.
    """

    unit: str = ""
    columns: str = ""
    outside: str = ""
    of_folder: bool = False

    @classmethod
    def parse(cls, options: Mapping[str, str], *, of_folder: bool = False) -> LabelOptions:
        """The options of a URI.

        Raises
        ------
        UsageError
            If one is unknown or has a value that does not exist.
        """
        unknown = [key for key in options if key not in ("unit", "columns", "outside")]
        if unknown:
            raise UsageError(
                f"a label file takes no option {unknown[0]!r} (it takes unit, columns and outside)"
            )
        found = cls(**options, of_folder=of_folder)
        if found.unit not in ("", *UNITS_US, EVENTS):
            known = ", ".join((*UNITS_US, EVENTS))
            raise UsageError(f"the unit of label times is one of {known}, not {found.unit!r}")
        if found.outside not in ("", "drop"):
            raise UsageError(f"outside may be drop, for labels, not {found.outside!r}")
        if found.columns:
            _check_columns(found.columns)
        return found

    def advice(self, option: str) -> str:
        """How the user gives an option, e.g. "unit=s"."""
        return f"?label_{option} after the folder" if self.of_folder else f"--labels FILE?{option}"


def _check_columns(columns: str) -> None:
    words = [word for word in columns.split(",") if word != "-"]
    good = sorted(words) in (["class", "end", "start"], ["class", "duration", "start"])
    if not good:
        raise UsageError(
            "the columns of labels are given as start, end (or duration) and class in the order "
            f"of the file, - for one to leave out, as in start,end,class,-; not {columns!r}"
        )


class LabelRow(NamedTuple):
    """One interval as the file has it, in the file's unit."""

    start: Number
    end: Number
    name: str
    line: int

    @property
    def shown(self) -> str:
        """The row, for messages."""
        return f"line {self.line} ({self.name},{self.start},{self.end})"[:_SHOWN]


@dataclass(frozen=True)
class LabelTable:
    """The intervals of a label file.

    Attributes
    ----------
    path
        The file.
    rows
        In the order of time, without overlap.
    unit
        Of their times: a key of UNITS_US, EVENTS, or "" where the file does not state it.
    options
        What the user stated.
    notes
        What was inferred, a line each.
    """

    path: str
    rows: Sequence[LabelRow]
    unit: str = ""
    options: LabelOptions = LabelOptions()
    notes: tuple[str, ...] = ()

    @property
    def has_fractions(self) -> bool:
        """Whether a time is not a whole number."""
        return any(isinstance(value, Decimal) for row in self.rows for value in row[:2])

    def intervals(self, unit: str, shift_us: int = 0) -> list[LabelInterval]:
        """The intervals in microseconds, rounded to whole ones, `shift_us` later."""
        scale = UNITS_US[unit]
        if scale == 1 and not self.has_fractions:
            return [
                LabelInterval(int(one.start) + shift_us, int(one.end) + shift_us, *one[2:])
                for one in self.rows
            ]
        return [
            LabelInterval(
                round(one.start * scale) + shift_us, round(one.end * scale) + shift_us, *one[2:]
            )
            for one in self.rows
        ]


class _Columns(NamedTuple):
    """Positions of what is read, and the unit that the header states; `width` of the header."""

    start: int
    end: int
    name: int
    lasts: bool = False
    unit: str = ""
    width: int = 0
    notes: tuple[str, ...] = ()


Fix = Callable[[list[LabelInterval]], list[LabelInterval]]
"""Corrects known errors of a file in microseconds."""


def read_label_table(
    path: str | Path, options: LabelOptions | None = None, fix: Fix | None = None
) -> LabelTable:
    """The intervals of a label file, in time order.

    Parameters
    ----------
    path : str or Path
        The file.
    options : LabelOptions, optional
        What the user states about it.
    fix : callable, optional
        Corrects known errors of a file in microseconds, before overlaps are checked.

    Returns
    -------
    LabelTable

    Raises
    ------
    SourceError
        If the file cannot be read.
    UsageError
        If it is no table of labels, a line cannot be parsed, intervals overlap or there are none.
    """
    options = options or LabelOptions()
    text = read_label_text(path, lambda cells: _header_of(cells) is not None)
    columns, headed = _find_columns(text, options, path)
    found = [_row(text, line, cells, columns, path) for line, cells in text.rows[headed:]]
    if not found:
        raise UsageError(f"the label file holds no interval: {path}")
    unit = options.unit or columns.unit
    found.sort()
    if fix is not None and unit == "us":
        fixed = fix([LabelInterval(round(one.start), round(one.end), *one[2:]) for one in found])
        found = [LabelRow(*one) for one in fixed]
    for one, following in pairwise(found):
        if following.start < one.end:
            raise UsageError(
                f"the intervals of lines {one.line} and {following.line} overlap, from "
                f"{_with_unit(following.start, unit)} to "
                f"{_with_unit(min(one.end, following.end), unit)}: {path}"
            )
    return LabelTable(str(path), found, unit, options, (*text.notes, *columns.notes))


def read_label_csv(
    path: str | Path, options: LabelOptions | None = None, fix: Fix | None = None
) -> list[LabelInterval]:
    """The intervals of a label file whose unit of time is stated, in microseconds.

    Raises
    ------
    SourceError, UsageError
        As `read_label_table`; UsageError also where neither header nor options state a unit of
        time.
    """
    table = read_label_table(path, options, fix)
    if table.unit not in UNITS_US:
        why = "they count events" if table.unit else "the file does not state it"
        raise UsageError(
            f"the unit of the label times has to be known here, and {why}; name the columns as in "
            f"{','.join(CSV_COLUMNS)}, or give {table.options.advice('unit=us')} (or ms, s, ns): "
            f"{path}"
        )
    return table.intervals(table.unit)


def _with_unit(value: Number, unit: str) -> str:
    return f"{value} {unit}".strip() if unit != EVENTS else f"event {value}"


def _find_columns(text: LabelText, options: LabelOptions, path: str | Path) -> tuple[_Columns, int]:
    """The columns that are read, and 1 if the first row is a header, else 0."""
    if not text.rows:
        raise UsageError(f"the label file holds no interval: {path}")
    line, cells = text.rows[0]
    if options.columns:
        return _stated_columns(text, options, path)
    if all(text.number(cell) is None for cell in cells):
        found = _header_of(cells)
        if found is not None:
            return found, 1
        raise UsageError(
            f"the first line of a label file names its columns, as in {','.join(CSV_COLUMNS)} or "
            f"start_s,end_s,label; line {line} is {shown(cells)}; say what they hold with "
            f"{options.advice('columns=start,end,class')} (- for one that is not read): {path}"
        )
    return _by_values(text, options, path), 0


def _stated_columns(
    text: LabelText, options: LabelOptions, path: str | Path
) -> tuple[_Columns, int]:
    """The columns as the user gives them."""
    cells = text.rows[0][1]
    words = options.columns.split(",")
    while len(cells) > len(words) and not cells[-1]:
        cells = cells[:-1]
    if len(words) != len(cells):
        raise UsageError(
            f"columns={options.columns} names {len(words)} columns, and the label file has "
            f"{len(cells)}, the first row being {shown(cells)} (- stands for one that is not "
            f"read): {path}"
        )
    lasts = "duration" in words
    start, end = words.index("start"), words.index("duration" if lasts else "end")
    headed = text.number(cells[start]) is None
    unit = _name_and_unit(cells[start])[1] if headed else ""
    columns = _Columns(start, end, words.index("class"), lasts, unit, len(cells))
    return columns, int(headed)


def _header_of(cells: Sequence[str]) -> _Columns | None:
    """The columns that a header names; None where it is no header of labels."""
    width = len(cells)
    while width and not cells[width - 1]:
        width -= 1
    named = [_name_and_unit(cell) for cell in cells[:width]]
    of_role = {
        role: [i for name in names for i, (own, _) in enumerate(named) if own == name]
        for role, names in _COLUMN_NAMES.items()
    }
    lasts = not of_role["end"]
    ends = of_role["duration" if lasts else "end"]
    pairs = [
        (start, end)
        for start in of_role["start"]
        for end in ends
        if named[start][1] == named[end][1] or "" in (named[start][1], named[end][1])
    ]
    if not pairs or not of_role["class"]:
        return None
    start, end = min(
        pairs,
        key=lambda pair: (
            named[pair[0]][1] != named[pair[1]][1],
            not named[pair[0]][1],
            sum(pair),
        ),
    )
    name = of_role["class"][0]
    unit = named[start][1] or named[end][1]
    notes: tuple[str, ...] = ()
    if set(cells[:width]) != set(CSV_COLUMNS):
        read = ", ".join(cells[i] for i in (name, start, end))
        unread = ", ".join(cells[i] for i in range(width) if i not in (name, start, end))
        notes = (f"label columns read: {read}{'; not read: ' + unread if unread else ''}",)
    return _Columns(start, end, name, lasts, unit, width, notes)


def _name_and_unit(title: str) -> tuple[str, str]:
    """A column's name as in _COLUMN_NAMES, and its unit.

    Examples
    --------
    >>> _name_and_unit("startTime_usec"), _name_and_unit("t_end [s]"), _name_and_unit("Label")
    (('starttime', 'us'), ('tend', 's'), ('label', ''))
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", title.strip().strip("\"'")).lower()
    parts = [part for part in re.split(r"[\s_\-()\[\]/.:]+", words) if part]
    unit = _UNIT_WORDS.get(parts[-1], "") if len(parts) > 1 else ""
    return "".join(parts[:-1] if unit else parts), unit


def _by_values(text: LabelText, options: LabelOptions, path: str | Path) -> _Columns:
    """The columns of a table without a header, where only one reading is possible."""
    width = len(CSV_COLUMNS)
    tables = [
        [text.number(cell) for cell in cells]
        for _, cells in text.rows
        if len(cells) == width or not any(cells[width:])
    ]
    fitting = []
    if len(tables) == len(text.rows):
        columns = list(zip(*(row[:width] for row in tables), strict=True))
        numeric = [all(value is not None for value in column) for column in columns]
        fitting = [
            (start, end, name)
            for start, end, name in permutations(range(width))
            if numeric[start]
            and numeric[end]
            and _may_be_intervals(columns[start], columns[end])
            and (not numeric[name] or all(_may_be_class(value) for value in columns[name]))
        ]
    if len(fitting) != 1:
        line, cells = text.rows[0]
        raise UsageError(
            "the label file has no header, and its values do not tell which columns are start, "
            f"end and class; line {line} is {shown(cells)}; give "
            f"{options.advice('columns=start,end,class')} in the order of the file, or a first "
            f"line such as {','.join(CSV_COLUMNS)}: {path}"
        )
    words = dict(zip(fitting[0], ("start", "end", "class"), strict=True))
    order = ", ".join(words[at] for at in range(width))
    note = f"label columns read as {order}, inferred from their values"
    return _Columns(*fitting[0], False, "", width, (note,))


def _may_be_intervals(starts: Sequence[Number | None], ends: Sequence[Number | None]) -> bool:
    """Whether each start lies before its end, and no interval overlaps another."""
    pairs = sorted((a, b) for a, b in zip(starts, ends, strict=True) if a is not None and b)
    return (
        len(pairs) == len(starts)
        and all(a < b for a, b in pairs)
        and all(one[1] <= following[0] for one, following in pairwise(pairs))
    )


def _may_be_class(value: Number | None) -> bool:
    return isinstance(value, int) and value >= -1


def _row(
    text: LabelText, line: int, cells: list[str], columns: _Columns, path: str | Path
) -> LabelRow:
    if len(cells) != columns.width:
        extra = cells[columns.width :]
        if len(cells) < columns.width or any(extra):
            raise UsageError(
                f"line {line} has {len(cells)} columns, and the first has {columns.width}: "
                f"{shown(cells)}: {path}"
            )
    start, end = text.number(cells[columns.start]), text.number(cells[columns.end])
    if start is None or end is None:
        raise UsageError(f"line {line} is not a class and two numbers: {shown(cells)}: {path}")
    if columns.lasts:
        end = start + end
    name = cells[columns.name]
    if not name or start >= end:
        why = "ends before it begins" if name else "names no class"
        raise UsageError(f"the interval of line {line} {why}: {shown(cells)}: {path}")
    return LabelRow(start, end, name, line)
