"""Reads N-MNIST's .bin: five bytes per event, no header; N-Caltech101 and others use it too.

Bytes: x, y, then 24 bits big-endian, with the polarity on top (1 is ON) and the time in us in the
other 23. The time wraps every 8.4 s; wraps are undone. The format has no magic number and does not
contain the sensor, so a file is detected by its name alone, and its sensor is taken to be the
smallest common one that holds its events unless the caller gives it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from streamstop.events.packet import Cursor, Packet, SensorSize
from streamstop.formats.fixed_records import Columns, record_packets


class BinRecording:
    """An N-MNIST .bin file; see `streamstop.formats.base.Recording`."""

    format = "nmnist"
    notes: Sequence[str] = ()
    sensor_inferred = False
    simulated = False

    def __init__(self, path: str) -> None:
        self.path = path
        self.sensor: SensorSize | None = None

    def packets(self, start: Cursor | None = None) -> Iterator[Packet]:
        """Packets from `start` on; see `Recording.packets`."""
        return record_packets(
            self.path, start, header_bytes=0, record_bytes=5, time_bits=23, decode=_decode
        )


def _decode(block: bytes) -> Columns:
    raw = np.frombuffer(block, np.uint8).reshape(-1, 5)
    high, middle, low = (raw[:, column].astype(np.int64) for column in (2, 3, 4))
    return Columns((high & 0x7F) << 16 | middle << 8 | low, raw[:, 0], raw[:, 1], high >> 7)
