"""Reads AEDAT 1.0 and 2.0, jAER's formats: header lines, then address and time of each event.

Numbers are big-endian. AEDAT 1.0 has 16-bit addresses, 2.0 has 32-bit ones; the time has 32 bits of
microseconds, whose wraps are undone. The chip, and with it the layout of an address, is the one
that `?chip=` or the header names. Where neither does, it is inferred from the addresses, and said
in `notes`; where they do not decide, the file is refused (`aedat2_chips`). AEDAT 3.1 is another
format: `aedat3`.

Polarity is jAER's: on the DVS128 the lowest address bit is 0 for ON, so ON = 1 - (a & 1). Common
loaders of CIFAR10-DVS take ON = a & 1, which swaps the two.

Row 0 is the top of the picture, as in every reader here. jAER counts rows from the bottom
(`net.sf.jaer.graphics.ChipCanvas`: the origin is the lower left), and columns from the right in
both layouts; so both axes are flipped.

DVS128: x = 127 - ((a >> 1) & 0x7f), y = 127 - ((a >> 8) & 0x7f); any higher bit marks a special
event. DAVIS: x = width - 1 - ((a >> 12) & 0x3ff), y = height - 1 - ((a >> 22) & 0x1ff), ON = bit
11; bit 10 marks a special event, bit 31 a frame or IMU sample. Special events are counted as
dropped; frames and IMU samples are no events and are skipped, as frames are in AEDAT4. The layouts
are those of `ch.unizh.ini.jaer.chip.retina.DVS128` and `eu.seebetter.ini.chips.DavisChip`, as
`DVS128.Extractor` and `DavisBaseCamera` read them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from streamstop.errors import SourceError, UsageError
from streamstop.events.packet import Cursor, Packet, SensorSize
from streamstop.formats.aedat.aedat2_chips import (
    CHIPS,
    DVS128,
    Addresses,
    Chip,
    Layouts,
    chip_named,
    infer_davis,
    layouts_of,
    sample_addresses,
)
from streamstop.formats.base import SIMULATED_SOURCE, read_head
from streamstop.formats.byte_reader import STDIN
from streamstop.formats.fixed_records import Columns, record_packets

MAX_HEADER_BYTES = 1 << 20

_MAGIC = re.compile(rb"#!AER-DAT([12])\.0\r?\n")
_CHIP = re.compile(rb"^# *AEChip: *(\S+)", re.MULTILINE)
# A header line holds no control characters, which the binary events after it nearly always do.
_LINE = re.compile(rb"#[^\x00-\x08\x0a-\x1f]*\r?\n")
_NAMES = ", ".join(one.name for one in CHIPS)

# From so many addresses on, and from this share outside the named sensor on, the name is wrong.
_PLAIN_RECORDS = 1000
_PLAIN_SHARE = 0.05


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

    Parameters
    ----------
    path
        The file.
    chip
        Name of the chip, which overrules the header; "" for the header's.
    sensor
        Size in pixels that the user gave: evidence where nothing names the chip.

    Raises
    ------
    SourceError
        If the header cannot be read, names an unknown chip or one that the addresses are not of, or
        names none and the addresses do not decide.
    UsageError
        If `chip` is unknown, or `sensor` is not the size of the chip.
    """

    notes: Sequence[str] = ()

    def __init__(self, path: str, chip: str = "", sensor: SensorSize | None = None) -> None:
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
        named = _CHIP.search(start, 0, self._header_bytes)
        self.sensor: SensorSize | None
        self.sensor_inferred = False
        if chip:
            self._chip = self._asked(chip)
            self._raise_on_size(chip, sensor)
        elif named is not None:
            self._chip = self._stated(named[1].decode(errors="replace"))
        else:
            self._chip = self._inferred(sensor)
            self.sensor_inferred = True
        self.sensor = self._chip.sensor if named or chip or self.notes else None

    def _raise_on_size(self, chip: str, sensor: SensorSize | None) -> None:
        if sensor not in (None, self._chip.sensor):
            raise UsageError(
                f"?chip={chip} has a sensor of {self._chip.sensor}, not {sensor}; leave one of the "
                f"two out: {self.path}"
            )

    def _asked(self, chip: str) -> Chip:
        """The chip that the user named."""
        known = chip_named(chip)
        if known is None:
            raise UsageError(f"unknown chip {chip!r} in ?chip= (known: {_NAMES}): {self.path}")
        if known.is_davis and self._address_bytes != 4:
            raise UsageError(
                f"?chip={chip}: AEDAT 1.0 has 16-bit addresses, and those of a DAVIS have 32; "
                f"it can be DVS128 only: {self.path}"
            )
        return known

    def _stated(self, name: str) -> Chip:
        """The chip that the header names, unless the addresses are plainly another's."""
        known = chip_named(name)
        if known is None or (known.is_davis and self._address_bytes != 4):
            raise SourceError(
                f"the header names the chip {name!r}, which is not read here; if its addresses "
                f"have the layout of one of {_NAMES}, give ?chip= with that name: {self.path}"
            )
        if self.path == STDIN or self._address_bytes != 4:
            return known  # a pipe may not have sent enough yet
        found = layouts_of(self._sample())
        if found.is_davis:
            placed = len(found.x)
            on_any = found.outside(CHIPS[-1].sensor) <= _PLAIN_SHARE * placed
            beyond = found.outside(known.sensor) > _PLAIN_SHARE * placed
            # Of bytes that moved in a damaged file, the coordinates are on no chip at all.
            wrong = on_any and (not known.is_davis or (beyond and placed >= _PLAIN_RECORDS))
        else:
            wrong = found.is_davis is False and known.is_davis
        if wrong:
            seen = "a DAVIS's" if found.is_davis else "a DVS128's"
            reach = _reach_of(found) if found.is_davis else ""
            raise SourceError(
                f"the header names the chip {name!r}, but the addresses are {seen}{reach}; give "
                f"?chip= with the right one of {_NAMES}: {self.path}"
            )
        return known

    def _inferred(self, sensor: SensorSize | None) -> Chip:
        """The chip that the addresses tell, with a note; the DVS128 where there are none."""
        if self._address_bytes == 2:
            self._note(DVS128, "they have 16 bits")
            return self._of_size(DVS128, sensor)
        found = layouts_of(self._sample())
        if not found.records:
            return DVS128
        if found.is_davis is None:
            raise SourceError(
                "the header has no AEChip line, and the addresses do not tell whether they have "
                "the layout of the DVS128 or of a DAVIS; give ?chip=DVS128, ?chip=DAVIS346 or "
                f"another of {_NAMES}: {self.path}"
            )
        if not found.is_davis:
            self._note(DVS128, "they use no bit above 15")
            return self._of_size(DVS128, sensor)
        chip = infer_davis(found)
        if sensor is not None:
            if found.outside(sensor) > _PLAIN_SHARE * len(found.x):
                raise UsageError(
                    f"the addresses are a DAVIS's{_reach_of(found)}, beyond the {sensor} given; "
                    f"give its true size, or ?chip= with one of {_NAMES}: {self.path}"
                )
            same = (one for one in CHIPS if one.is_davis and one.sensor == sensor)
            chip = next(same, Chip("a DAVIS", sensor, True))
            self._note(chip, "they use its bits, and the size was given")
        elif chip is None:
            raise SourceError(
                f"the header has no AEChip line, and the addresses are a DAVIS's{_reach_of(found)},"
                " which does not decide which; give ?chip=DAVIS240, ?chip=DAVIS346 or another of "
                f"{_NAMES}: {self.path}"
            )
        else:
            self._note(chip, "they use its bits and fit its size")
        return chip

    def _of_size(self, chip: Chip, sensor: SensorSize | None) -> Chip:
        if sensor not in (None, chip.sensor):
            raise UsageError(
                f"the addresses are a {chip.name}'s, which has {chip.sensor} pixels, not {sensor}; "
                f"leave the size out, or give ?chip= with one of {_NAMES}: {self.path}"
            )
        return chip

    def _note(self, chip: Chip, why: str) -> None:
        self.notes = (
            f"no AEChip line in the header; addresses read as {chip.name}'s ({chip.sensor}), since "
            f"{why}; ?chip= overrules",
        )

    def _sample(self) -> list[Addresses]:
        return sample_addresses(self.path, self._header_bytes, self._address_bytes)

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
        if self._chip.is_davis:
            width, height = self._chip.sensor
            # Beyond the sensor these wrap to large numbers, which are rejected as out of range.
            x, y = width - 1 - ((address >> 12) & 0x3FF), height - 1 - ((address >> 22) & 0x1FF)
            on = (address >> 11) & 1
            event = address >> 31 == 0
            special = event & (address & 0x400 != 0)
        else:
            x, y = 127 - ((address >> 1) & 0x7F), 127 - ((address >> 8) & 0x7F)
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


def _reach_of(found: Layouts) -> str:
    if not len(found.x):
        return ""
    return f", with columns up to {int(found.x.max())} and rows up to {int(found.y.max())}"
