"""Writes AEDAT4 files: one event stream and the table of packets.

Guarantees:

- `streamstop.formats.aedat.aedat4`, faery and, for LZ4, aestream read back exactly the events that
  were written.
- The same events and the same library versions give the same bytes.
- The file appears under its name only when it is complete.

Does not:

- Sort: events keep the order given.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO
from xml.sax.saxutils import escape, quoteattr

import lz4.frame
import numpy as np
import zstandard

from streamstop.errors import UsageError
from streamstop.events.packet import EVENT_DTYPE, Events, SensorSize
from streamstop.formats._writing import atomic_file, iter_chunks, raise_on_outside, repacketize
from streamstop.formats.aedat.aedat4 import COMPRESSIONS, MAGIC, MAX_BLOCK_BYTES
from streamstop.formats.base import SIMULATED_SOURCE, UNKNOWN_SOURCE

DEFAULT_PACKET_EVENTS = 1 << 14

# One row of the table of packets: a flatbuffer table whose vtable all rows share.
_TABLE_LINE = np.dtype(
    {
        "names": ["to_vtable", "stream", "size", "offset", "events", "first_us", "last_us"],
        "formats": ["<i4", "<i4", "<i4", "<i8", "<i8", "<i8", "<i8"],
        "offsets": [0, 4, 8, 16, 24, 32, 40],
        "itemsize": 48,
    }
)


def write_aedat4(
    path: str | Path,
    events: Events | Iterable[Events],
    sensor: SensorSize,
    *,
    compression: str = "zstd",
    packet_events: int = DEFAULT_PACKET_EVENTS,
    zstd_level: int = 12,
    simulated: bool | None = False,
    info: Mapping[str, str] | None = None,
) -> int:
    """Write events to an AEDAT4 file.

    Parameters
    ----------
    path
        File to write; it appears when complete and replaces an older one.
    events
        An array of EVENT_DTYPE, shape (n,), or an iterable of such arrays. How they are split
        does not change the file.
    sensor
        Size in pixels.
    compression
        "zstd", "lz4" or "none".
    packet_events
        Events per packet of the file.
    zstd_level
        Effort of zstd, 1 to 22.
    simulated
        Marks the events as made by no camera; every report of this file then says so.
    info
        Further attributes for the header, by name, beside `source`.

    Returns
    -------
    count : int
        Number of events written.

    Raises
    ------
    UsageError
        If an event lies outside the sensor, or an option is unknown or out of range. No file is
        left then.
    """
    if compression not in COMPRESSIONS:
        raise UsageError(f"compression {compression!r} is not one of {', '.join(COMPRESSIONS)}")
    if not 0 < packet_events <= MAX_BLOCK_BYTES // (2 * EVENT_DTYPE.itemsize):
        raise UsageError(f"packet_events = {packet_events} is out of range")
    if not 1 <= zstd_level <= 22:
        raise UsageError(f"zstd_level = {zstd_level} is out of range, 1 to 22")
    if not (0 < sensor.width <= 1 << 15 and 0 < sensor.height <= 1 << 15):
        raise UsageError(f"sensor {sensor} is out of range for AEDAT4, whose coordinates are int16")
    xml = description(sensor, compression, info or {}, simulated=simulated).encode()

    def write(file: BinaryIO) -> int:
        file.write(file_header(compression, -1, xml))
        lines: list[tuple[int, ...]] = []
        written = 0
        for packet in repacketize(iter_chunks(events), packet_events):
            raise_on_outside(packet, sensor, written)
            block = compressed(event_packet(packet), compression, zstd_level)
            first_us, last_us = int(packet["t"][0]), int(packet["t"][-1])
            lines.append((0, 0, len(block), file.tell() + 8, len(packet), first_us, last_us))
            file.write(struct.pack("<ii", 0, len(block)) + block)
            written += len(packet)
        table_offset = file.tell()
        file.write(compressed(packet_table(lines), compression, zstd_level))
        file.seek(0)
        file.write(file_header(compression, table_offset, xml))
        return written

    return atomic_file(path, write)


def compressed(block: bytes, compression: str, zstd_level: int) -> bytes:
    """The content of a packet as it is stored in the file."""
    if compression == "lz4":
        return bytes(lz4.frame.compress(block, compression_level=9, content_checksum=True))
    if compression == "zstd":
        return zstandard.ZstdCompressor(level=zstd_level, write_checksum=True).compress(block)
    return block


# The three flatbuffers are laid out by hand. Offsets count from the buffer's first byte, its length
# prefix included, and 8-byte values lie on multiples of 8, as flatbuffers' own writer aligns them.


def file_header(compression: str, table_offset: int, xml: bytes) -> bytes:
    """The first line and the IOHeader.

    Parameters
    ----------
    table_offset
        Offset of the table of packets, -1 for none.
    """
    body = struct.pack("<I4s", 20, b"IOHE")
    body += struct.pack("<5H2x", 10, 20, 4, 8, 16)  # vtable at 12
    body += struct.pack("<iiqI", 12, COMPRESSIONS[compression], table_offset, 4)  # table at 24
    body += struct.pack("<I", len(xml)) + xml + b"\0"
    body += b"\0" * (-(len(body) + 4) % 8)
    return MAGIC + struct.pack("<I", len(body)) + body


def event_packet(events: Events) -> bytes:
    """An EventPacket flatbuffer with its length prefix."""
    body = struct.pack("<I4s", 16, b"EVTS")
    body += struct.pack("<3H2x", 6, 8, 4)  # vtable at 12
    body += struct.pack("<iII", 8, 4, len(events))  # table at 20, then the length of the vector
    body += events.tobytes()
    return struct.pack("<I", len(body)) + body


def packet_table(lines: list[tuple[int, ...]]) -> bytes:
    """The table of packets; rows have the order of `_TABLE_LINE`'s fields."""
    n = len(lines)
    vtable = 32 + 4 * n + -(32 + 4 * n) % 8
    first = vtable + 16
    # Column by column into zeros: otherwise the gaps between fields hold old memory.
    table = np.zeros(n, _TABLE_LINE)
    for name, column in zip(_TABLE_LINE.names or (), zip(*lines, strict=True), strict=False):
        table[name] = column
    at = first + _TABLE_LINE.itemsize * np.arange(n)
    table["to_vtable"] = at - vtable
    body = struct.pack("<I4s", 16, b"FTAB")
    body += struct.pack("<3H2x", 6, 8, 4)  # vtable at 12
    body += struct.pack("<iII", 8, 4, n)  # table at 20, then the length of the vector
    body += (at - (32 + 4 * np.arange(n))).astype("<u4").tobytes()
    body += b"\0" * (vtable - 4 - len(body))
    body += struct.pack("<7H2x", 14, 48, 16, 4, 24, 32, 40)
    body += table.tobytes()
    return struct.pack("<I", len(body)) + body


def description(
    sensor: SensorSize,
    compression: str,
    info: Mapping[str, str],
    *,
    simulated: bool | None,
    marks_by: str = "",
) -> str:
    """The XML of a header: an event stream; those of a recorder, if `marks_by` names it.

    A recorder has a stream of triggers, its marks, and one of the events that no run has taken.

    Parameters
    ----------
    info
        Attributes of the event stream beside `source`, which tells whether a camera made the
        events.
    """
    made_by = {True: SIMULATED_SOURCE, False: "streamstop", None: UNKNOWN_SOURCE}[simulated]
    attributes = {"source": made_by, **info}

    def attribute(key: str, value: object, kind: str = "string") -> str:
        return f"<attr key={quoteattr(key)} type={quoteattr(kind)}>{escape(str(value))}</attr>"

    def events(stream: int, name: str) -> tuple[str, ...]:
        return (
            f'<node name="{stream}" path="/mainloop/Recorder/outInfo/{stream}/">',
            attribute("compression", compression.upper()),
            attribute("originalModuleName", "streamstop"),
            attribute("originalOutputName", name),
            attribute("typeDescription", "Array of events (polarity ON/OFF)."),
            attribute("typeIdentifier", "EVTS"),
            f'<node name="info" path="/mainloop/Recorder/outInfo/{stream}/info/">',
            attribute("sizeX", sensor.width, "int"),
            attribute("sizeY", sensor.height, "int"),
            *(attribute(key, value) for key, value in sorted(attributes.items())),
            "</node>",
            "</node>",
        )

    return "\n".join(
        (
            '<dv version="2.0">',
            '<node name="outInfo" path="/mainloop/Recorder/outInfo/">',
            *events(0, "events"),
            *(
                (
                    '<node name="1" path="/mainloop/Recorder/outInfo/1/">',
                    attribute("compression", compression.upper()),
                    attribute("originalModuleName", marks_by),
                    attribute("originalOutputName", "marks"),
                    attribute("typeDescription", "Time that passed without events."),
                    attribute("typeIdentifier", "TRIG"),
                    '<node name="info" path="/mainloop/Recorder/outInfo/1/info/">',
                    attribute("source", "streamstop"),
                    "</node>",
                    "</node>",
                    *events(2, "not_taken"),
                )
                if marks_by
                else ()
            ),
            "</node>",
            "</dv>",
            "",
        )
    )
