"""Writes Prophesee's EVT3, EVT2 and DAT, for programs that do not read AEDAT4.

Guarantees:

- This package and faery read back exactly the events that were written.
- The same events give the same bytes, however they are split into packets.
- The file appears under its name only when it is complete.

Does not:

- Sort: events that a format cannot represent are refused, and no file is left.
- Write vectors in EVT3.

TIME_HIGH is repeated in silences, so that every wrap can be undone, and in EVT3 the row after every
time, so that damage costs little. Times beyond a counter's range at the start of a recording are
written as `% t0`, as faery does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamstop.errors import UsageError
from streamstop.events.packet import Events, SensorSize
from streamstop.formats._writing import atomic_file, iter_chunks, reference_time
from streamstop.formats.base import SIMULATED_SOURCE

MAX_SILENCE_US = 24 * 3600 * 1_000_000
"""A longer silence would take megabytes of time words, and is more likely a damaged time."""

DAT_TIME_BITS = 32
_HIGH_EVERY_US = 1 << 16
_PIECE_WORDS = 1 << 20

Words = NDArray[Any]


class _Last(NamedTuple):
    """The state after the words written so far: count of TIME_HIGH (-1: none), time and row."""

    high: int
    t_us: int
    row: int


def write_evt3(
    path: str | Path,
    packets: Events | Iterable[Events],
    sensor: SensorSize,
    *,
    simulated: bool = False,
) -> int:
    """Write events to an EVT3 file.

    Parameters
    ----------
    path
        File to write; it appears when complete and replaces an older one.
    packets
        An array of EVENT_DTYPE, shape (n,), or an iterable of such arrays.
    sensor
        Size in pixels, up to 2048x2048.
    simulated
        Marks the events as made by no camera.

    Returns
    -------
    count : int
        Number of events written.

    Raises
    ------
    UsageError
        If an event lies outside the sensor, a time is negative or before the last one, or more than
        a day passes without an event. No file is left then.
    """
    return _write_evt(path, packets, sensor, simulated, "3.0", 24, _evt3_words)


def write_evt2(
    path: str | Path,
    packets: Events | Iterable[Events],
    sensor: SensorSize,
    *,
    simulated: bool = False,
) -> int:
    """Write events to an EVT2 file; see `write_evt3`."""
    return _write_evt(path, packets, sensor, simulated, "2.0", 34, _evt2_words)


def write_dat(
    path: str | Path,
    packets: Events | Iterable[Events],
    sensor: SensorSize,
    *,
    simulated: bool = False,
) -> int:
    """Write events to a DAT file of version 2; see `write_evt3`. Sensors up to 16384x16384.

    Raises
    ------
    UsageError
        Also if the first time is not below 2**32 us, or 35 minutes pass without an event.
    """
    _check_sensor(sensor, 1 << 14, "DAT")
    source = f"% source {SIMULATED_SOURCE}\n" if simulated else ""
    header = f"% Data file containing CD events.\n% Version 2\n{source}"
    header += f"% Width {sensor.width}\n% Height {sensor.height}\n"

    def write(file: BinaryIO) -> int:
        file.write(header.encode() + bytes((0x0C, 8)))
        written, last_us = 0, 0
        for events in iter_chunks(packets):
            longest = (1 << (DAT_TIME_BITS - 1)) - 1
            first = longest if written else (1 << DAT_TIME_BITS) - 1
            last_us = _check(events, sensor, written, last_us, first, longest, "DAT")
            words = np.empty((len(events), 2), "<u4")
            words[:, 0] = events["t"] & 0xFFFFFFFF
            words[:, 1] = events["x"] | events["y"].astype("<u4") << 14
            words[:, 1] |= events["p"].astype("<u4") << 28
            file.write(words.tobytes())
            written += len(events)
        return written

    return atomic_file(path, write)


def _write_evt(
    path: str | Path,
    packets: Events | Iterable[Events],
    sensor: SensorSize,
    simulated: bool,
    version: str,
    time_bits: int,
    words_of: Callable[[Events, int, _Last], Words],
) -> int:
    name = f"EVT{version[0]}"
    _check_sensor(sensor, 1 << 11, name)
    low_bits = 12 if version == "3.0" else 6

    def write(file: BinaryIO) -> int:
        written, t0_us, last = 0, 0, _Last(-1, 0, -1)
        for events in iter_chunks(packets):
            if not written:
                t0_us = max(int(events["t"][0]), 0) >> time_bits << time_bits
                file.write(_evt_header(version, sensor, simulated, t0_us))
                last = _Last(-1, t0_us, -1)
            longest = MAX_SILENCE_US
            first = longest if written else 1 << 62
            last_us = _check(events, sensor, written, last.t_us, first, longest, name)
            for part in _parts(events, last.t_us):
                file.write(words_of(part, t0_us, last).tobytes())
                t_us = int(part["t"][-1])
                last = _Last((t_us - t0_us) >> low_bits, t_us, int(part["y"][-1]))
            written += len(events)
            assert last.t_us == last_us
        if not written:
            file.write(_evt_header(version, sensor, simulated, 0))
        return written

    return atomic_file(path, write)


def _evt_header(version: str, sensor: SensorSize, simulated: bool, t0_us: int) -> bytes:
    lines = [
        f"% evt {version}",
        f"% format EVT{version[0]};height={sensor.height};width={sensor.width}",
        f"% geometry {sensor}",
        *([f"% t0 {t0_us}"] if t0_us else []),
        *([f"% source {SIMULATED_SOURCE}"] if simulated else []),
        "% end",
        "",
    ]
    return "\n".join(lines).encode()


def _parts(events: Events, last_us: int) -> Iterator[Events]:
    """The events in parts whose silences together need no more words than a block may have."""
    silent = np.diff(events["t"], prepend=last_us) // _HIGH_EVERY_US
    piece = np.cumsum(silent) // _PIECE_WORDS
    cuts = np.flatnonzero(np.diff(piece)) + 1
    yield from np.split(events, cuts)


def _check_sensor(sensor: SensorSize, most: int, name: str) -> None:
    if not (0 < sensor.width <= most and 0 < sensor.height <= most):
        raise UsageError(f"sensor {sensor} is out of range for {name}, at most {most}x{most}")


def _check(
    events: Events,
    sensor: SensorSize,
    written: int,
    last_us: int,
    first_silence: int,
    longest_silence: int,
    name: str,
) -> int:
    """Check that all events can be written; the last time.

    `written` events were written already, the last of them at `last_us`.
    """
    t = events["t"]
    silence = np.diff(t, prepend=last_us)
    too_long = silence > longest_silence
    too_long[0] = silence[0] > first_silence
    before = reference_time(written + int(np.argmax(too_long)))
    reasons = {
        f"outside the sensor of {sensor}": (events["x"] >= sensor.width)
        | (events["y"] >= sensor.height),
        f"earlier than the event before it; {name} cannot represent this, .aedat4 can": silence < 0,
        f"too long after {before}; {name} cannot represent this, .aedat4 can": too_long,
    }
    wrong = np.logical_or.reduce([*reasons.values()])
    if wrong.any():
        at = int(np.argmax(wrong))
        why = next(why for why, where in reasons.items() if where[at])
        raise UsageError(
            f"event {written + at} at t = {t[at]} us lies at ({events['x'][at]}, "
            f"{events['y'][at]}), {why}; nothing was written"
        )
    return int(t[-1])


def _highs(high: NDArray[np.int64], last: int, every: int) -> tuple[Words, Words]:
    """Number of TIME_HIGH before each event, and all of their counts in turn.

    Besides an event's own, one is written at each multiple of `every` and one at the count before
    it: they include the two sides of a wrap, the only place where faery detects it.
    """
    before = np.concatenate(([high[0] - 1 if last < 0 else last], high[:-1]))
    passed = before // every + (before + 1) // every
    fixed = high // every + (high + 1) // every - passed
    number = fixed + ((high > before) & (high % every != 0) & (high % every != every - 1))
    ends = np.cumsum(number)
    which = np.repeat(passed + 1, number) + np.arange(int(ends[-1]))
    which -= np.repeat(ends - number, number)
    odd = which & 1
    return number, np.minimum((which + odd) // 2 * every - odd, np.repeat(high, number))


def _place(number: Words, others: Words) -> tuple[Words, Words]:
    """Position of each TIME_HIGH, and of what follows them, event by event."""
    before = np.cumsum(number + others) - others
    ends = np.cumsum(number)
    first = np.repeat(before - number, number)
    return first + np.arange(int(ends[-1])) - np.repeat(ends - number, number), before


def _evt3_words(events: Events, t0_us: int, last: _Last) -> Words:
    t, y = events["t"] - t0_us, events["y"].astype(np.int64)
    high = t >> 12
    number, highs = _highs(high, last.high, _HIGH_EVERY_US >> 12)
    new_time = np.diff(t, prepend=last.t_us - t0_us) != 0
    new_time[0] |= last.high < 0
    new_row = new_time | (np.diff(y, prepend=last.row) != 0)
    others = 1 + new_time.astype(np.int64) + new_row
    at_highs, at = _place(number, others)
    words = np.empty(int((number + others).sum()), "<u2")
    words[at_highs] = 0x8000 | highs & 0xFFF
    words[at[new_time]] = (0x6000 | t & 0xFFF)[new_time]
    words[(at + new_time)[new_row]] = y[new_row]
    words[at + others - 1] = 0x2000 | events["x"] | events["p"].astype("<u2") << 11
    return words


def _evt2_words(events: Events, t0_us: int, last: _Last) -> Words:
    t = events["t"] - t0_us
    high = t >> 6
    number, highs = _highs(high, last.high, _HIGH_EVERY_US >> 6)
    at_highs, at = _place(number, np.ones(len(events), np.int64))
    words = np.empty(len(events) + len(highs), "<u4")
    words[at_highs] = 0x80000000 | highs & 0xFFFFFFF
    words[at] = (t & 0x3F) << 22 | events["x"].astype(np.int64) << 11 | events["y"]
    words[at] |= events["p"].astype("<u4") << 28
    return words
