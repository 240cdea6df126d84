"""Converts a recording, or a live source, to another file format.

Guarantees:
- Bounded memory.
- Events that the source could not read, or that lie outside its sensor, are counted, not written.
- The new file appears under its name only when it is complete.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from streamstop.errors import UsageError
from streamstop.events.ledger import MAX_DAMAGE_LISTED
from streamstop.events.packet import Damage, Events, SensorSize
from streamstop.formats._writing import STDOUT
from streamstop.formats.write import format_of, write_recording
from streamstop.sources.base import Source, stated_origin
from streamstop.sources.open import open_source

Progress = Callable[[int, int], None]
"""Called with the number of events read so far, and the latest time in us."""


@dataclass
class Conversion:
    """The result of a conversion.

    Attributes
    ----------
    source, out : what was read and what was written.
    format, out_format : their formats, short names.
    sensor : width and height in pixels.
    simulated : whether the source says that no camera recorded these events.
    notes : what the source's reader inferred because the file does not say it.
    read, written : numbers of events.
    dropped : events that were read and not written, or dropped by the source, by cause.
    damage, damage_count : the first damaged places that could not be read, and how many in all.
    out_bytes : size of the new file; 0 for standard output.
    """

    source: str
    out: str
    format: str
    out_format: str
    sensor: SensorSize
    simulated: bool
    notes: tuple[str, ...] = ()
    read: int = 0
    written: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    damage: list[Damage] = field(default_factory=list)
    damage_count: int = 0
    out_bytes: int = 0


def convert(
    source_uri: str,
    out: str,
    *,
    format: str = "",
    sensor: SensorSize | None = None,
    strict: bool = False,
    overwrite: bool = False,
    duration_s: float = 0.0,
    on_bit: int = 0,
    from_zero: bool = False,
    columns: str = "",
    unit: str = "",
    progress: Progress | None = None,
) -> Conversion:
    """Read a recording, or a live source until it ends, and write it to a new file.

    Parameters
    ----------
    source_uri : what `streamstop.sources.open.open_source` takes.
    out : the new file; "-" for standard output.
    format : of the new file, a key of `streamstop.formats.write.WRITERS`; "" to take it from
        the name of `out`.
    sensor : width and height in pixels, if the source does not give them.
    strict : stop at the first damage; then nothing is written.
    overwrite : replace `out` if it exists.
    duration_s : of a live source, seconds to record; 0: until it ends, or until Ctrl-C, which
        keeps what was received.
    on_bit : AEDAT 2.0 only, the address bit of an ON event in the new file; see
        `streamstop.formats.aedat.aedat2_writer.write_aedat2`.
    from_zero : shift times so that the first event is at 0.
    columns, unit : text only, order of the columns and unit of the times; see
        `streamstop.formats.plain.writers.write_csv`.
    progress : called once per packet; it must be fast.

    Raises
    ------
    SourceError, DamageError
        As the source raises them.
    UsageError
        If `out` exists, or its format is unknown or cannot store these events.
    """
    out_format = format_of(out, format)
    if out == STDOUT:
        if sys.stdout.isatty():
            raise UsageError(f"standard output is a terminal; pipe it, as in `... | cat`: {out}")
    elif Path(out).exists() and not overwrite:
        raise UsageError(f"the file exists already; give another name, or --force: {out}")
    elif not Path(out).parent.is_dir():
        raise UsageError(f"its folder does not exist: {out}")
    with open_source(source_uri, sensor=sensor, strict=strict, seconds=duration_s) as source:
        done = Conversion(
            *(source_uri, out, source.format, out_format, source.sensor, source.simulated),
            notes=tuple(source.notes),
        )
        on_sensor = _on_sensor(source, done, progress)
        done.written = write_recording(
            out,
            _from_zero(on_sensor) if from_zero else on_sensor,
            source.sensor,
            format=out_format,
            simulated=stated_origin(source),
            on_bit=on_bit,
            columns=columns,
            unit=unit,
        )
    done.out_bytes = Path(out).stat().st_size if out != STDOUT else 0
    return done


def _from_zero(packets: Iterator[Events]) -> Iterator[Events]:
    first_us: np.int64 | None = None
    for events in packets:
        first_us = events["t"][0] if first_us is None else first_us
        moved = events.copy()
        moved["t"] -= first_us
        yield moved


def _on_sensor(source: Source, done: Conversion, progress: Progress | None) -> Iterator[Events]:
    """Yield the source's events that lie on its sensor; count everything else in `done`."""
    width, height = source.sensor
    try:
        for packet in source:
            done.dropped.update(packet.dropped)
            done.damage_count += len(packet.damage)
            done.damage += packet.damage[: MAX_DAMAGE_LISTED - len(done.damage)]
            events = packet.events
            done.read += len(events)
            inside = (events["x"] < width) & (events["y"] < height)
            if not inside.all():
                done.dropped["out_of_range"] += len(events) - int(np.count_nonzero(inside))
                events = events[inside]
            if len(events):
                yield events
                if progress is not None:
                    progress(done.read, int(events["t"][-1]))
    except KeyboardInterrupt:
        if not source.live:
            raise
