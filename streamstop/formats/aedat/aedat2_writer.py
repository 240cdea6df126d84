"""Writes AEDAT 2.0, the format of CIFAR10-DVS.

Guarantees:

- `streamstop.formats` reads back exactly the events that were written.
- The same events give the same bytes, however they are split into packets.
- The file appears under its name only when it is complete.

Does not:

- Sort events.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from streamstop.errors import UsageError
from streamstop.events.packet import Events, SensorSize
from streamstop.formats._writing import atomic_file, iter_chunks, raise_on_far, raise_on_outside
from streamstop.formats.base import SIMULATED_SOURCE


def write_aedat2(
    path: str | Path,
    packets: Events | Iterable[Events],
    sensor: SensorSize,
    *,
    simulated: bool = False,
    on_bit: int = 0,
) -> int:
    """Write events to an AEDAT 2.0 file in the DVS128's layout.

    Parameters
    ----------
    path
        File to write; it appears when complete and replaces an older one.
    packets
        An array of EVENT_DTYPE, shape (n,), or an iterable of such arrays.
    sensor
        Size in pixels, up to 128x128.
    simulated
        Marks the events as made by no camera.
    on_bit
        The lowest address bit of an ON event. 0 is jAER's value and the one that this package
        reads. Common loaders of CIFAR10-DVS take 1 for ON, and so swap the polarities of such a
        file, as they do for the data set itself; 1 is for them, and this package then swaps the
        two.

    Returns
    -------
    count : int
        Number of events written.

    Raises
    ------
    UsageError
        If an event lies outside the sensor, the sensor is larger than 128x128, the first time is
        negative or not below 2**32 us, a time lies 2**31 us (35 minutes) or more from the one
        before, which no reader could tell from a wrap, or `on_bit` is not 0 or 1. No file is left
        then.
    """
    if on_bit not in (0, 1):
        raise UsageError(f"on_bit is 0, as in jAER, or 1, not {on_bit}")
    if max(sensor) > 128:
        raise UsageError(f"AEDAT 2.0 is written for a DVS128, and the sensor is {sensor}")
    header = b"#!AER-DAT2.0\r\n# This is a raw AE data file\r\n# AEChip: DVS128\r\n"
    header += f"# {SIMULATED_SOURCE}\r\n".encode() if simulated else b""

    def write(file: BinaryIO) -> int:
        file.write(header)
        written, last_us = 0, None
        for events in iter_chunks(packets):
            raise_on_outside(events, sensor, written)
            raise_on_far(events, last_us, written, 32, "AEDAT 2.0")
            t = events["t"]
            words = np.empty((len(t), 2), ">u4")
            bit = events["p"].astype("<u4") ^ (1 - on_bit)
            row = 127 - events["y"].astype("<u4")  # jAER counts rows from the bottom
            words[:, 0] = row << 8 | (127 - events["x"]) << 1 | bit
            words[:, 1] = t & 0xFFFFFFFF
            file.write(words.tobytes())
            written, last_us = written + len(t), int(t[-1])
        return written

    return atomic_file(path, write)
