"""Sample pictures of a run, from its samples.json: events, a network input, wrong predictions.

The file is optional. Its content, with all grids as lists of rows (`[y][x]`)::

    {"event_picture": {"on": [[...]], "off": [[...]], "sensor": [width, height], "events": int,
                       "duration_us": int, "recording": str},
     "network_input": {"on": [[...]], "off": [[...]], "bin_us": int, "label": str or null},
     "errors": [{"segment": int, "label": str, "prediction": str, "on": [[...]], "off": [[...]]}]}

Each of the three may be missing or null; so may the facts beside the grids of the first two.

Guarantees:
- Bounded: at most MAX_ERRORS errors, grids of at most MAX_SIDE x MAX_SIDE (errors: MAX_ERROR_SIDE).
- Anything else in the file raises ValueError, TypeError or KeyError.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamstop.pipeline.summary_file import number

MAX_BYTES = 1 << 20
MAX_ERRORS = 6
MAX_SIDE = 64
MAX_ERROR_SIDE = 32

Grid = tuple[tuple[float, ...], ...]
"""Rows of values, none negative."""


@dataclass(frozen=True, slots=True)
class Picture:
    """ON and OFF values by cell, of the same shape."""

    on: Grid
    off: Grid

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.on[0])

    @property
    def height(self) -> int:
        """Number of rows."""
        return len(self.on)


@dataclass(frozen=True, slots=True)
class EventPicture:
    """Events of the source by (pooled) pixel. Facts that the file does not have are None."""

    picture: Picture
    sensor: tuple[int, int] | None
    events: float | None
    duration_us: float | None
    recording: str


@dataclass(frozen=True, slots=True)
class NetworkInput:
    """One bin as the network receives it."""

    picture: Picture
    bin_us: float | None
    label: str


@dataclass(frozen=True, slots=True)
class SampleError:
    """A segment that was predicted wrongly."""

    segment: int
    label: str
    prediction: str
    picture: Picture


@dataclass(frozen=True, slots=True)
class Samples:
    """The sample pictures of a run.

    problem : why the file could not be read; empty where it could, or where there is none.
    """

    event_picture: EventPicture | None = None
    network_input: NetworkInput | None = None
    errors: tuple[SampleError, ...] = ()
    problem: str = ""


def load_samples(path: Path) -> Samples:
    """Read a samples.json; empty without one, with `problem` where it cannot be read.

    The pictures illustrate a report, so that a damaged file costs only them.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise ValueError(f"longer than {MAX_BYTES:,} bytes")
        return parse_samples(json.loads(raw))
    except FileNotFoundError:
        return Samples()
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        return Samples(problem=f"{type(error).__name__}: {error}")


def parse_samples(content: Mapping[str, Any]) -> Samples:
    """The samples of a parsed samples.json.

    Raises ValueError, TypeError or KeyError where it has another shape.
    """
    if not isinstance(content, Mapping):
        raise ValueError("not a JSON object")
    events, bin_ = content.get("event_picture"), content.get("network_input")
    errors = content.get("errors") or ()
    if len(errors) > MAX_ERRORS:
        raise ValueError(f"more than {MAX_ERRORS} errors")
    return Samples(
        None if events is None else _event_picture(events),
        None if bin_ is None else _network_input(bin_),
        tuple(
            SampleError(
                int(one["segment"]),
                str(one["label"]),
                str(one["prediction"]),
                _picture(one, MAX_ERROR_SIDE),
            )
            for one in errors
        ),
    )


def _event_picture(table: Mapping[str, Any]) -> EventPicture:
    sensor = table.get("sensor")
    return EventPicture(
        _picture(table, MAX_SIDE),
        None if sensor is None else (int(sensor[0]), int(sensor[1])),
        number(table.get("events")),
        number(table.get("duration_us")),
        str(table.get("recording") or ""),
    )


def _network_input(table: Mapping[str, Any]) -> NetworkInput:
    return NetworkInput(
        _picture(table, MAX_SIDE), number(table.get("bin_us")), str(table.get("label") or "")
    )


def _picture(table: Mapping[str, Any], side: int) -> Picture:
    on, off = _grid(table["on"], side), _grid(table["off"], side)
    if len(on) != len(off) or len(on[0]) != len(off[0]):
        raise ValueError("the ON and the OFF grid differ in shape")
    return Picture(on, off)


def _grid(rows: Any, side: int) -> Grid:
    if not isinstance(rows, list) or not 0 < len(rows) <= side:
        raise ValueError(f"a grid does not have 1 to {side} rows")
    if any(not isinstance(row, list) or not 0 < len(row) <= side for row in rows):
        raise ValueError(f"a grid does not have 1 to {side} columns")
    grid = tuple(tuple(_value(value) for value in row) for row in rows)
    if any(len(row) != len(grid[0]) for row in grid):
        raise ValueError("the rows of a grid differ in length")
    return grid


def _value(value: Any) -> float:
    found = number(value)
    if found is None or found < 0:
        raise ValueError(f"a value of a grid is not a finite number >= 0: {value!r:.40}")
    return found
