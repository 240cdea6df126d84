"""From any recording to any format that is written, in bounded memory.

What the source could not read, or what lies outside its sensor, is counted, not written; the new
file stands under its name only when it is whole.
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
from streamstop.sources.base import Source
from streamstop.sources.open import open_source

Progress = Callable[[int, int], None]
"""Told now and then: events read so far, and the latest time in us."""


@dataclass
class Conversion:
    """What came of a conversion.

    source, out : what was read and what was written.  format, out_format : short names.
    sensor : pixels.  simulated : True where no camera made these events.
    read, written : events.
    dropped : events that were read and not written, or not handed over by the source, by cause.
    damage, damage_count : stretches that could not be read; the first of them, and how many.
    out_bytes : size of the new file; 0 of standard output.
    """

    source: str
    out: str
    format: str
    out_format: str
    sensor: SensorSize
    simulated: bool
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
    progress: Progress | None = None,
) -> Conversion:
    """Read a recording, or a live source until it ends, and write it anew.

    Parameters
    ----------
    source_uri : what `streamstop.sources.open.open_source` takes.
    out : the new file; "-" for standard output, which stays as far as it was written.
    format : of the new file, a key of `streamstop.formats.write.WRITERS`; "" as its name says.
    sensor : pixels of the sensor, where the source does not say.
    strict : stop at the first damage; nothing is written then.
    overwrite : allow `out` to exist.
    duration_s : of a live source, end after so long; 0: when it ends, or at Ctrl-C, which keeps what
        was received.
    on_bit : of AEDAT 2.0 alone, the address bit of an ON event in the new file; see
        `streamstop.formats.aedat.aedat2_writer.write_aedat2`.
    from_zero : times count from the first event that is written.
    progress : called once a packet; it must be quick.

    Raises
    ------
    SourceError, DamageError
        As the source does.
    UsageError
        If `out` exists, its format is not known or cannot say these events.
    """
    out_format = format_of(out, format)
    if out == STDOUT:
        if sys.stdout.isatty():
            raise UsageError(f"standard output is a terminal; send it on, as in `... | cat`: {out}")
    elif Path(out).exists() and not overwrite:
        raise UsageError(f"it exists already; give another name, or --force: {out}")
    elif not Path(out).parent.is_dir():
        raise UsageError(f"its folder does not exist: {out}")
    with open_source(source_uri, sensor=sensor, strict=strict, seconds=duration_s) as source:
        done = Conversion(
            source_uri, out, source.format, out_format, source.sensor, source.simulated
        )
        on_sensor = _on_sensor(source, done, progress)
        done.written = write_recording(
            out,
            _from_zero(on_sensor) if from_zero else on_sensor,
            source.sensor,
            format=out_format,
            simulated=source.simulated,
            on_bit=on_bit,
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
    """The source's events that lie on its sensor; all else is noted in `done`."""
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
