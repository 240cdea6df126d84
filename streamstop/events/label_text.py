"""Reads the text of a label file: its encoding, its rows and cells, and numbers in them.

Accepted are comma, semicolon, tab or blanks between cells, quotes, UTF-8, UTF-16 with its mark and
Windows-1252.

Does not:

- Decide what the cells mean: `streamstop.events.label_table` does.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from streamstop.errors import SourceError, UsageError
from streamstop.events.labels import CSV_COLUMNS, MAX_CSV_BYTES

Number = int | Decimal

_NUMBER = re.compile(r"[-+]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})(?:[eE][-+]?\d{1,2})?")
_LARGEST = Decimal(10) ** 18
_SEPARATORS = ("\t", ";", ",", " ")
_SHOWN = 80


class LabelText(NamedTuple):
    """The rows of a label file that are not blank.

    Attributes
    ----------
    rows
        The number of the line and its cells.
    separator
        What stands between the cells; " " for blanks of any number.
    notes
        How the text was decoded, where the file does not say it.
    """

    rows: list[tuple[int, list[str]]]
    separator: str
    notes: tuple[str, ...]

    def number(self, cell: str) -> Number | None:
        """The number in a cell, None where there is none; a whole number is an int.

        A comma stands for the point where it does not separate cells.
        """
        if self.separator != ",":
            cell = cell.replace(",", ".")
        if not _NUMBER.fullmatch(cell):
            return None
        value = Decimal(cell)
        if abs(value) >= _LARGEST:
            return None
        whole = int(value)
        return whole if whole == value else value


def shown(cells: Sequence[str]) -> str:
    """A row, for messages."""
    return repr(",".join(cells)[:_SHOWN])


def read_label_text(path: str | Path, is_header: Callable[[Sequence[str]], bool]) -> LabelText:
    """The rows of a label file.

    Comments before the first row and a spreadsheet's `sep=;` are passed over; a comment that names
    the columns is a row.

    Parameters
    ----------
    path : str or Path
        The file.
    is_header : callable
        Whether a row names the columns.

    Raises
    ------
    SourceError
        If the file cannot be read.
    UsageError
        If it is too large or no text, or a line cannot be split into cells.
    """
    text, notes = _decoded(_content(path), path)
    lines = list(io.StringIO(text, newline=""))
    first = _first_row(lines, is_header)
    if first is None:
        return LabelText([], ",", notes)
    separator = _separator(lines[first])
    rows = []
    if separator == " ":
        split = (_split(line, separator) for line in lines[first:])
        rows = [(line, cells) for line, cells in enumerate(split, start=first + 1) if cells]
        return LabelText(rows, separator, notes)
    reader = csv.reader(lines[first:], delimiter=separator)
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                rows.append((first + reader.line_num, cells))
    except csv.Error as error:
        line = first + reader.line_num
        raise UsageError(f"line {line} cannot be read as labels, {error}: {path}") from error
    return LabelText(rows, separator, notes)


def _first_row(lines: list[str], is_header: Callable[[Sequence[str]], bool]) -> int | None:
    """Index of the first row; a comment that names the columns loses its mark."""
    for i, line in enumerate(lines):
        bare = line.strip()
        if bare.startswith("#"):
            titles = bare.lstrip("# ")
            if is_header(_split(titles, _separator(titles))):
                lines[i] = titles + "\n"
                return i
        elif bare and not re.fullmatch(r"sep=.", bare):
            return i
    return None


def _separator(line: str) -> str:
    """What separates the cells of a line; blanks where nothing else does."""
    for one in _SEPARATORS:
        cells = _split(line, one)
        if len(cells) >= len(CSV_COLUMNS) and not (one == "\t" and "" in cells[:-1]):
            return one
    return "," if "," in line else " "


def _split(line: str, separator: str) -> list[str]:
    if separator == " ":
        found = re.findall(r'"([^"]*)"|(\S+)', line)
        return [quoted or plain for quoted, plain in found]
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=separator), [])]
    except csv.Error:
        return line.split(separator)


def _content(path: str | Path) -> bytes:
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_CSV_BYTES + 1)
    except OSError as error:
        raise SourceError(f"the labels cannot be opened: {error.strerror}: {path}") from error
    if len(content) > MAX_CSV_BYTES:
        raise UsageError(f"label file larger than the {MAX_CSV_BYTES} bytes allowed: {path}")
    return content


def _decoded(content: bytes, path: str | Path) -> tuple[str, tuple[str, ...]]:
    """The text of a file, and how it was decoded where that is not stated in it."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return content.decode("utf-16"), ()
        except UnicodeDecodeError as error:
            raise UsageError(f"the label file is not whole UTF-16, {error}: {path}") from None
    if b"\0" in content:
        raise UsageError(
            "the label file holds zero bytes, so it is not a text file in UTF-8; save it as CSV "
            f"in UTF-8: {path}"
        )
    try:
        return content.decode("utf-8-sig"), ()
    except UnicodeDecodeError:
        pass
    try:
        return content.decode("cp1252"), ("label file read as Windows-1252: it is not UTF-8",)
    except UnicodeDecodeError:
        return content.decode("latin-1"), ("label file read as Latin-1: it is not UTF-8",)
