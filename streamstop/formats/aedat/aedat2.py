"""Reads AEDAT 1.0 and 2.0, jAER's formats: header lines, then address and time of each event.

Numbers are big-endian. AEDAT 1.0 has 16-bit addresses, 2.0 has 32-bit ones; the time has 32 bits of
microseconds, whose wraps are undone. Without a chip in the header the sensor is the DVS128; DAVIS
chips are read where the header names one. AEDAT 3.1 is another format: `aedat3`.

Polarity is jAER's: on the DVS128 the lowest address bit is 0 for ON, so ON = 1 - (a & 1). Common
loaders of CIFAR10-DVS take ON = a & 1, which swaps the two.

DVS128: x = 127 - ((a >> 1) & 0x7f), y = (a >> 8) & 0x7f; any higher bit marks a special event.
DAVIS: x = width - 1 - ((a >> 12) & 0x3ff), y = height - 1 - ((a >> 22) & 0x1ff), ON = bit 11; bit
10 marks a special event, bit 31 a frame or IMU sample. Special events are counted as dropped;
frames and IMU samples are no events and are skipped, as frames are in AEDAT4.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from streamstop.errors import SourceError
from streamstop.events.packet import Cursor, Packet, SensorSize
from streamstop.formats.base import SIMULATED_SOURCE, read_head
from streamstop.formats.fixed_records import Columns, record_packets

MAX_HEADER_BYTES = 1 << 20

_MAGIC = re.compile(rb"#!AER-DAT([12])\.0\r?\n")
_CHIP = re.compile(rb"^# *AEChip: *(\S+)", re.MULTILINE)
# A header line holds no control characters, which the binary events after it nearly always do.
_LINE = re.compile(rb"#[^\x00-\x08\x0a-\x1f]*\r?\n")
_DAVIS = {"DAVIS240": SensorSize(240, 180), "DAVIS346": SensorSize(346, 260)}
_DVS128 = SensorSize(128, 128)


def _header_end(start: bytes) -> int:
    at = 0
    while line := _LINE.match(start, at):
        at = line.end()
    return at


def _holds_header(start: bytes) -> bool:
    """Whether the lines of the header are followed by something that is no header line."""
    rest = start[_header_end(start) :]
    return bool(rest) and (rest[:1] != b"#" or b"\n" in rest)


class AedatRecording:
    """An AEDAT 1.0 or 2.0 file; see `streamstop.formats.base.Recording`.

    Raises
    ------
    SourceError
        If the header cannot be read or names an unknown chip.
    """

    notes: Sequence[str] = ()

    def __init__(self, path: str) -> None:
        self.path = path
        start = read_head(path, MAX_HEADER_BYTES, _holds_header)
        version = _MAGIC.match(start)
        if version is None:
            raise SourceError(f"not an AEDAT 1.0 or 2.0 file, by its first line: {path}")
        self.format = f"aedat{int(version[1])}"
        self._header_bytes = _header_end(start)
        rest = start[self._header_bytes :]
        if len(start) == MAX_HEADER_BYTES and (
            not rest or (rest[:1] == b"#" and b"\n" not in rest)
        ):
            raise SourceError(f"header longer than the {MAX_HEADER_BYTES} bytes allowed: {path}")
        self._address_bytes = 2 * int(version[1])
        self.simulated = SIMULATED_SOURCE.encode() in start[: self._header_bytes]
        self.sensor = _DVS128
        chip = _CHIP.search(start, 0, self._header_bytes)
        name = chip[1].decode(errors="replace") if chip else "DVS128"
        self._is_davis = "DVS128" not in name and "Tmpdiff128" not in name
        if self._is_davis:
            found = [size for davis, size in _DAVIS.items() if davis in name.upper()]
            if not found or self._address_bytes != 4:
                raise SourceError(
                    f"the header names the chip {name!r}; supported are DVS128, "
                    f"{' and '.join(_DAVIS)}: {path}"
                )
            self.sensor = found[0]

    def packets(self, start: Cursor | None = None) -> Iterator[Packet]:
        """Packets from `start` on; see `Recording.packets`."""
        return record_packets(
            self.path,
            start,
            header_bytes=self._header_bytes,
            record_bytes=self._address_bytes + 4,
            time_bits=32,
            decode=self._decode,
        )

    def _decode(self, block: bytes) -> Columns:
        record = np.dtype([("address", f">u{self._address_bytes}"), ("time", ">u4")])
        raw = np.frombuffer(block, record)
        address = raw["address"].astype(np.uint32)
        if self._is_davis:
            width, height = self.sensor
            # Beyond the sensor these wrap to large numbers, which are rejected as out of range.
            x, y = width - 1 - ((address >> 12) & 0x3FF), height - 1 - ((address >> 22) & 0x1FF)
            on = (address >> 11) & 1
            event = address >> 31 == 0
            special = event & (address & 0x400 != 0)
        else:
            x, y = 127 - ((address >> 1) & 0x7F), (address >> 8) & 0x7F
            on = 1 - (address & 1)
            event = np.ones(len(address), np.bool_)
            special = address > 0x7FFF
        keep = event & ~special
        count = int(np.count_nonzero(special))
        return Columns(
            raw["time"],
            x,
            y,
            on,
            None if keep.all() else keep,
            {"special": count} if count else {},
        )
