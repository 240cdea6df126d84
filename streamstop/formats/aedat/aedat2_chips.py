"""The chips of AEDAT 1.0 and 2.0: their sensors and address layouts, and which one a file is of.

Nothing but the header's `AEChip` line names the chip, and some programs write none (v2e). The
addresses then tell the layout: jAER's DVS128 uses bits 0 to 14, bit 15 marks a special event; its
DAVIS chips use bits 10 to 30 for events, and all bits only for frames and IMU samples, which bit 31
marks. Among DAVIS chips, the size follows from how far the addresses reach.

The layouts are those of jAER's `ch.unizh.ini.jaer.chip.retina.DVS128` and
`eu.seebetter.ini.chips.DavisChip`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamstop.events.packet import SensorSize
from streamstop.formats.byte_reader import STDIN, open_bytes

Addresses = NDArray[np.uint32]


class Chip(NamedTuple):
    """A chip: its name, its sensor, and whether its addresses have the DAVIS's layout."""

    name: str
    sensor: SensorSize
    is_davis: bool


DVS128 = Chip("DVS128", SensorSize(128, 128), False)
CHIPS = (
    DVS128,
    Chip("DAVIS128", SensorSize(128, 128), True),
    Chip("DAVIS240", SensorSize(240, 180), True),
    Chip("DAVIS346", SensorSize(346, 260), True),
    Chip("DAVIS640", SensorSize(640, 480), True),
)
_ALSO = {
    "TMPDIFF128": "DVS128",
    "DVS240": "DAVIS240",
    "SBRET10": "DAVIS240",
    "SBRET20": "DAVIS240",
}
"""Other names that jAER's headers hold, each with the chip's name here."""

_USUAL = CHIPS[2:]
"""DAVIS chips that are inferred, by size; the DAVIS128 has to be named."""

_PLACES = 16
_PLACE_RECORDS = 1024
_LEAST_PIPE_RECORDS = 64
_FITS = 0.9
_FILLS = 0.9
_STRAY = 1000
"""One address in so many may be damage, and counts for nothing."""


class Layouts(NamedTuple):
    """What a sample of addresses shows.

    Attributes
    ----------
    records
        Number of addresses looked at.
    is_davis
        Whether they have the DAVIS's layout; None where they do not decide.
    x, y
        Raw coordinates by the DAVIS's layout, each shape (n,), where they have it.
    """

    records: int
    is_davis: bool | None
    x: Addresses
    y: Addresses

    def outside(self, sensor: SensorSize) -> int:
        """Number of raw coordinates that a sensor of the DAVIS's layout does not hold."""
        return int(np.count_nonzero((self.x >= sensor.width) | (self.y >= sensor.height)))


def chip_named(name: str) -> Chip | None:
    """The chip of a name such as `eu.seebetter.ini.chips.davis.Davis346B`; None if unknown."""
    upper = name.upper()
    known = {**{one.name: one.name for one in CHIPS}, **_ALSO}
    found = next((chip for part, chip in known.items() if part in upper), None)
    return next((one for one in CHIPS if one.name == found), None)


def sample_addresses(path: str, header_bytes: int, address_bytes: int) -> list[Addresses]:
    """Addresses from several places of the file, in blocks; from its start where it cannot seek.

    From a pipe no more is waited for than a few records.
    """
    record = np.dtype([("address", f">u{address_bytes}"), ("time", ">u4")])
    size = record.itemsize
    with open_bytes(path) as data:
        total = data.size if data.seekable else None
        if total is None:
            least = size * _LEAST_PIPE_RECORDS if path == STDIN else 0
            block = data.read_ready(header_bytes, least, size * _PLACE_RECORDS * _PLACES)
            blocks = [
                block[at : at + size * _PLACE_RECORDS]
                for at in range(0, len(block), size * _PLACE_RECORDS)
            ]
        else:
            last = max((total - header_bytes) // size - _PLACE_RECORDS, 0)
            places = sorted({last * k // (_PLACES - 1) for k in range(_PLACES)})
            blocks = [
                data.read_at(header_bytes + size * place, size * _PLACE_RECORDS) for place in places
            ]
    arrays = (np.frombuffer(one, record, len(one) // size) for one in blocks)
    return [one["address"].astype(np.uint32) for one in arrays if len(one)]


def layouts_of(blocks: Sequence[Addresses]) -> Layouts:
    """The layout that a sample of 32-bit addresses has.

    Every block votes, so that damage in one place does not decide; an address that fits both
    layouts counts for neither.
    """
    votes: list[tuple[bool, Addresses]] = []
    for block in blocks:
        dvs128 = block & 0x7FFF0000 == 0
        davis = (block >> 31 == 1) | (block & 0x3FF == 0)
        telling = len(block) - int(np.count_nonzero(dvs128 & davis))
        for is_davis, fits, other in ((False, dvs128, davis), (True, davis, dvs128)):
            if telling and np.count_nonzero(fits & ~other) >= _FITS * telling:
                votes.append((is_davis, block))
    of_davis = [block for is_davis, block in votes if is_davis]
    records = sum(map(len, blocks))
    nothing = np.zeros(0, np.uint32)
    if not votes or _FITS > len(of_davis) / len(votes) > 1 - _FITS:
        return Layouts(records, None, nothing, nothing)
    if not of_davis:
        return Layouts(records, False, nothing, nothing)
    all_of = np.concatenate(of_davis)
    kind = all_of >> 10 & 3
    # Events, and the pixels of frames; neither external inputs nor IMU samples.
    placed = all_of[np.where(all_of >> 31 == 1, kind != 3, kind & 1 == 0)]
    return Layouts(records, True, placed >> 12 & 0x3FF, placed >> 22 & 0x1FF)


def infer_davis(found: Layouts) -> Chip | None:
    """The DAVIS chip whose sensor the coordinates fit; None where they do not decide.

    A DAVIS240 must be nearly filled: a corner of a DAVIS346 would look the same.
    """
    for chip in _USUAL:
        if found.outside(chip.sensor) * _STRAY > len(found.x):
            continue
        if chip is not _USUAL[0]:
            return chip
        sides = ((found.x, chip.sensor.width), (found.y, chip.sensor.height))
        return chip if all(_reach(one, side) >= _FILLS * side for one, side in sides) else None
    return None


def _reach(raw: Addresses, side: int) -> int:
    inside = raw[raw < side]
    return int(inside.max()) + 1 if len(inside) else 0
