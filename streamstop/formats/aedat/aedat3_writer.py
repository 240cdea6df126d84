"""Writes AEDAT 3.1, the format of DVS-Gesture.

Guarantees:

- `streamstop.formats` reads back exactly the events that were written.
- The same events give the same bytes, however they are split into packets.
- The file appears under its name only when it is complete.

Does not:

- Sort events.
- Write times that step back over a wrap of the 31 bits, which other readers do not expect.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from streamstop.errors import UsageError
from streamstop.events.packet import Events, SensorSize
from streamstop.formats._writing import atomic_file, iter_chunks, raise_on_outside, repacketize
from streamstop.formats.aedat.aedat3 import HEAD, MAX_CAPACITY, POLARITY, SENSORS
from streamstop.formats.base import SIMULATED_SOURCE

PACKET_EVENTS = 1 << 12
_TIME_BITS = 31


def write_aedat3(
    path: str | Path,
    packets: Events | Iterable[Events],
    sensor: SensorSize,
    *,
    simulated: bool = False,
    packet_events: int = PACKET_EVENTS,
) -> int:
    """Write events to an AEDAT 3.1 file.

    Parameters
    ----------
    path
        File to write; it appears when complete and replaces an older one.
    packets
        An array of EVENT_DTYPE, shape (n,), or an iterable of such arrays.
    sensor
        Size in pixels, up to 32768x32768.
    simulated
        Marks the events as made by no camera.
    packet_events
        Maximum number of events per packet of the file; a packet never spans a wrap of the
        time.

    Returns
    -------
    count : int
        Number of events written.

    Raises
    ------
    UsageError
        If an event lies outside the sensor, a time is negative, 2**52 us or later, or steps back
        over a multiple of 2**31 us, or `packet_events` is out of range. No file is left then.
    """
    if max(sensor) > 1 << 15:
        raise UsageError(f"AEDAT 3.1 holds coordinates up to 32767, and the sensor is {sensor}")
    if not 0 < packet_events <= MAX_CAPACITY:
        raise UsageError(f"packet_events = {packet_events} is out of range, 1 to {MAX_CAPACITY}")
    name = next((name for name, size in SENSORS.items() if size == sensor), "streamstop")
    lines = ["#!AER-DAT3.1", "#Format: RAW", f"#Source 1: {name}", f"#Size: {sensor}"]
    lines += [f"#{SIMULATED_SOURCE}"] if simulated else []
    header = "\r\n".join([*lines, "#!END-HEADER", ""]).encode()

    def write(file: BinaryIO) -> int:
        file.write(header)
        written = last = 0
        for events in repacketize(iter_chunks(packets), packet_events):
            raise_on_outside(events, sensor, written)
            t = events["t"]
            wrong = (t < 0) | (t >= 1 << 52)
            if wrong.any():
                at = int(wrong.argmax())
                raise UsageError(
                    f"event {written + at} at t = {t[at]} us: AEDAT 3.1 holds times from 0 to "
                    "2**52 us; nothing was written"
                )
            overflow = t >> _TIME_BITS
            steps = np.diff(overflow)
            if overflow[0] < last or (steps < 0).any():
                at = 0 if overflow[0] < last else int((steps < 0).argmax()) + 1
                raise UsageError(
                    f"event {written + at} at t = {t[at]} us steps back over a multiple of 2**31 "
                    "us, which AEDAT 3.1 cannot represent; nothing was written"
                )
            last = int(overflow[-1])
            for part in np.split(events, np.flatnonzero(steps) + 1):
                file.write(_packet(part))
            written += len(events)
        return written

    return atomic_file(path, write)


def _packet(events: Events) -> bytes:
    n, overflow = len(events), int(events["t"][0]) >> _TIME_BITS
    words = np.empty((n, 2), "<u4")
    words[:, 0] = events["x"].astype("<u4") << 17 | events["y"].astype("<u4") << 2
    words[:, 0] |= events["p"].astype("<u4") << 1 | 1
    words[:, 1] = events["t"] & ((1 << _TIME_BITS) - 1)
    return HEAD.pack(POLARITY, 1, 8, 4, overflow, n, n, n) + words.tobytes()
