"""Label files: those beside a recording, found by their name, and those of `--labels`.

A file `rec_labels.csv` holds the labels of `rec.aedat4` by its name, whatever its columns are
called; `rec.csv` does where its first line is the documented one, since it may be anything else.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

from streamstop.errors import StreamstopError, UsageError
from streamstop.events.label_table import EVENTS, LabelOptions, LabelTable, read_label_table
from streamstop.events.label_times import FittedLabels, fit_labels, from_event_times
from streamstop.events.labels import is_label_csv, label_names
from streamstop.formats.base import Recording, read_packets, read_start
from streamstop.formats.byte_reader import STDIN, SUFFIXES
from streamstop.sources.segmentation import RecordingScan
from streamstop.sources.uri import uri_parts

OPTION_PREFIX = "label_"
"""Of a folder's options for the label files in it: `?label_unit=s`."""


def plain_name(path: str | Path) -> Path:
    """The path without the suffix of a compression: `rec.raw` for `rec.raw.zst`."""
    plain = Path(path)
    return plain.with_suffix("") if plain.suffix.lower() in SUFFIXES else plain


def label_file_beside(path: str) -> str | None:
    """The label file of the recording's name, as `labels.label_names` has it; None without one."""
    if path in ("", STDIN):
        return None
    for one in label_names(plain_name(path)):
        with suppress(StreamstopError, OSError):
            if one.is_file() and holds_labels(one):
                return str(one)
    return None


def holds_labels(path: Path) -> bool:
    """Whether a file that may be a recording's labels by its name holds labels."""
    if is_label_csv(read_start(str(path), 1 << 10)):
        return True
    if not path.stem.endswith("_labels"):
        return False
    with suppress(StreamstopError):
        read_label_table(path)
        return True
    return False


def split_label_uri(uri: str) -> tuple[str, LabelOptions]:
    """The path of a label file and its options, from `labels.csv?unit=s&columns=start,end,class`.

    Raises
    ------
    UsageError
        If an option is unknown.
    """
    path, options = uri_parts(uri)
    try:
        return path, LabelOptions.parse(options)
    except UsageError as error:
        raise UsageError(f"{error}: {uri}") from None


def pop_label_options(options: dict[str, str], uri: str) -> LabelOptions:
    """The label options of a folder's URI; removes them from `options`.

    Raises
    ------
    UsageError
        If one is unknown.
    """
    keys = [key for key in options if key.startswith(OPTION_PREFIX)]
    own = {key.removeprefix(OPTION_PREFIX): options.pop(key) for key in keys}
    try:
        return LabelOptions.parse(own, of_folder=True)
    except UsageError as error:
        raise UsageError(f"{error}: {uri}") from None


def fit_recording(table: LabelTable, recording: Recording, found: RecordingScan) -> FittedLabels:
    """The intervals of a label file in the time of a recording that was scanned.

    Raises
    ------
    UsageError
        If they do not fit.
    """
    damaged = bool(found.damage)
    if table.unit != EVENTS:
        return fit_labels(table, found.first_us, found.last_us, damaged=damaged)
    numbers = [int(value) for row in table.rows for value in row[:2]]
    times = event_times(recording, numbers, found)
    return from_event_times(table, times, found.events, damaged=damaged)


def event_times(recording: Recording, numbers: Iterable[int], found: RecordingScan) -> list[int]:
    """The time of events by their number, counted from 0: the latest time up to that event.

    A number past the last event gives the time after it.
    """
    asked = np.array(list(numbers), np.int64)
    times = np.full(len(asked), found.last_us + 1, np.int64)
    first, latest_us = 0, found.first_us
    for packet in read_packets(recording):
        count = len(packet.events)
        if count:
            latest = np.maximum(np.maximum.accumulate(packet.events["t"]), latest_us)
            here = (asked >= first) & (asked < first + count)
            times[here] = latest[asked[here] - first]
            first, latest_us = first + count, int(latest[-1])
    return [int(one) for one in times]
