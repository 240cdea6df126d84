"""Records a live run: what was received, written as it comes to an AEDAT4 file.

Guarantees:

- Everything received is in the file, in the order in which it was taken from the ring or dropped
  there. What the run took is in one stream of events, what it did not in another, which a reader
  of the file leaves out unless asked (`?stream=all`).
- A run from the file repeats the live run: the same events and, between them, the same marks, which
  are the moments at which the clock found that time had passed without events.
- The file can be read up to the last packet written, whenever the process ends, by any reader of
  AEDAT4: marks are triggers in a stream of their own.
- Recording never stops a run: at the size limit, or when the disk is full, recording ends, with the
  reason in `full`.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping
from pathlib import Path

from streamstop.events.packet import Events, SensorSize, empty_events
from streamstop.formats.aedat.aedat4 import RECORDER_MODULE
from streamstop.formats.aedat.aedat4_writer import (
    compressed,
    description,
    event_packet,
    file_header,
    packet_table,
)

PACKET_EVENTS = 1 << 14
FLUSH_S = 1.0
"""Events are on the disk after this long, however few they are."""

MAX_LINES = 1 << 16
"""A longer recording has no table of packets, which would grow with it; readers do not need it."""

_EVENTS, _MARKS, _NOT_TAKEN = 0, 1, 2  # ids of the streams
_COMPRESSION, _LEVEL = "zstd", 1
_RISING_EDGE = 1  # of an external signal, in DV's numbering of trigger types


class StreamRecorder:
    """Writes events and marks to an AEDAT4 file; close it at the end.

    Parameters
    ----------
    path
        The new file.
    sensor
        Size in pixels.
    max_bytes
        Size limit of the file.
    simulated
        Marks the events as made by no camera; None, as of unknown origin.
    info
        Further attributes for the header, by name.

    Attributes
    ----------
    events
        Number of events written, or waiting for the next packet.
    not_taken
        How many of these the run did not take.
    not_recorded
        Number of events that came after recording had ended.
    full
        Why recording ended early; "" if it did not.
    """

    def __init__(
        self,
        path: str | Path,
        sensor: SensorSize,
        *,
        max_bytes: int = 1 << 62,
        simulated: bool | None = False,
        info: Mapping[str, str] | None = None,
    ) -> None:
        self.events = self.not_taken = 0
        self.not_recorded = 0
        self.full = ""
        self._max_bytes = max_bytes
        self._xml = description(
            sensor, _COMPRESSION, info or {}, simulated=simulated, marks_by=RECORDER_MODULE
        ).encode()
        self._lines: list[tuple[int, ...]] = []
        self._packet, self._filled = empty_events(PACKET_EVENTS), 0
        self._stream = _EVENTS  # that the packet belongs to
        self._written_s = time.monotonic()
        self._file = Path(path).open("wb", buffering=0)  # noqa: SIM115  # `close` closes it
        self._file.write(file_header(_COMPRESSION, -1, self._xml))
        self._end = self._file.tell()

    def write(self, events: Events, *, taken: bool = True) -> None:
        """Record events, in the order in which they came, and whether the run took them."""
        stream = _EVENTS if taken else _NOT_TAKEN
        if stream != self._stream:
            self._flush()
            self._stream = stream
        done = 0
        while done < len(events) and not self.full:
            n = min(PACKET_EVENTS - self._filled, len(events) - done)
            self._packet[self._filled : self._filled + n] = events[done : done + n]
            self._filled, done = self._filled + n, done + n
            self._count(n)
            if self._filled == PACKET_EVENTS:
                self._flush()
        self.not_recorded += len(events) - done
        if time.monotonic() - self._written_s > FLUSH_S:
            self._flush()

    def mark(self, until_us: int) -> None:
        """Record that time has reached `until_us` with no more events before it."""
        self._flush()
        self._put(_MARKS, _trigger_packet(until_us), 1, until_us, until_us)

    def close(self) -> None:
        """Write the events that wait, and the table of packets."""
        if self._file.closed:
            return
        self._flush()
        table = compressed(packet_table(self._lines), _COMPRESSION, _LEVEL)
        try:
            self._file.seek(self._end)
            self._file.truncate()  # remove a packet that did not fit on the disk
            if len(self._lines) <= MAX_LINES and self._file.write(table) == len(table):
                self._file.seek(0)
                self._file.write(file_header(_COMPRESSION, self._end, self._xml))
        except OSError as error:
            self.full = self.full or f"writing failed: {error.strerror}"
        finally:
            self._file.close()

    def _flush(self) -> None:
        if self._filled:
            part, self._filled = self._packet[: self._filled], 0
            first_us, last_us = int(part["t"][0]), int(part["t"][-1])
            if not self._put(self._stream, event_packet(part), len(part), first_us, last_us):
                self._count(-len(part))
                self.not_recorded += len(part)

    def _count(self, events: int) -> None:
        self.events += events
        self.not_taken += events if self._stream == _NOT_TAKEN else 0

    def _put(self, stream: int, content: bytes, count: int, first_us: int, last_us: int) -> bool:
        """Write a packet completely or not at all; whether it was written."""
        self._written_s = time.monotonic()
        if self.full:
            return False
        block = compressed(content, _COMPRESSION, _LEVEL)
        packet = struct.pack("<ii", stream, len(block)) + block
        if self._end + len(packet) > self._max_bytes:
            self.full = f"it reached the {self._max_bytes} bytes allowed"
            return False
        try:
            self._file.seek(self._end)
            written = self._file.write(packet)
        except OSError as error:
            self.full = f"writing failed: {error.strerror}"
            return False
        if written < len(packet):
            self.full = "the disk is full"
            return False
        if len(self._lines) <= MAX_LINES:
            self._lines.append((0, stream, len(block), self._end + 8, count, first_us, last_us))
        self._end += len(packet)
        return True


def _trigger_packet(t_us: int) -> bytes:
    """A TriggerPacket flatbuffer of one trigger, with its length prefix."""
    body = struct.pack("<I4s", 16, b"TRIG")
    body += struct.pack("<3H2x", 6, 8, 4)  # vtable at 12
    body += struct.pack("<iII", 8, 4, 1)  # table at 20, then the length of the vector
    body += struct.pack("<I", 16)  # its one row is at 48
    body += struct.pack("<4H", 8, 16, 8, 4)  # vtable of a trigger at 36
    body += bytes(4)
    body += struct.pack("<ib3xq", 12, _RISING_EDGE, t_us)
    return struct.pack("<I", len(body)) + body
