"""A letter F, as the programs of each format write it, comes out with row 0 at the top.

Addresses are laid out by hand from what the writing programs do: jAER counts rows from the bottom
and columns from the right, iniVation's and Prophesee's programs count rows from the top.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import Whole
from helpers.optional import dv_processing

from streamstop.formats.detect import open_recording

F = ["#####", "#....", "####.", "#....", "#....", "#...."]
"""Neither its own mirror image nor that of any turn of it."""

LEFT, TOP = 11, 5
PIXELS = [
    (LEFT + column, TOP + row)
    for row, line in enumerate(F)
    for column, sign in enumerate(line)
    if sign == "#"
]
"""Columns from the left and rows from the top of what is seen, all ON."""

Lay = Callable[[int, int, int], bytes]


def dvs128(column: int, row: int, t: int) -> bytes:
    """jAER's DVS128.Extractor: x = 127 - bits 1 to 7 rightwards, y = bits 8 to 14 upwards."""
    return struct.pack(">II", (127 - row) << 8 | (127 - column) << 1, t)


def davis346(column: int, row: int, t: int) -> bytes:
    """jAER's DavisBaseCamera: x = 345 - bits 12 to 21 rightwards, y = bits 22 to 30 upwards."""
    return struct.pack(">II", (259 - row) << 22 | (345 - column) << 12 | 1 << 11, t)


def dat_1(column: int, row: int, t: int) -> bytes:
    return struct.pack("<II", t, 1 << 17 | row << 9 | column)


def dat_2(column: int, row: int, t: int) -> bytes:
    return struct.pack("<II", t, 1 << 28 | row << 14 | column)


def evt2(column: int, row: int, t: int) -> bytes:
    return struct.pack("<II", 8 << 28, 1 << 28 | t << 22 | column << 11 | row)


def nmnist(column: int, row: int, t: int) -> bytes:
    return bytes((column, row)) + (1 << 23 | t).to_bytes(3, "big")


def aedat3(pixels: Sequence[tuple[int, int]]) -> bytes:
    """As caer writes it: by libcaer's polarity.h, (0, 0) is the upper left corner."""
    head = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n"
    n = len(pixels)
    rows = [struct.pack("<II", x << 17 | y << 2 | 3, t) for t, (x, y) in enumerate(pixels)]
    return head + struct.pack("<HHIIIIII", 1, 0, 8, 4, 0, n, n, n) + b"".join(rows)


def records(head: bytes, lay: Lay) -> bytes:
    return head + b"".join(lay(x, y, t) for t, (x, y) in enumerate(PIXELS))


def seen(path: Path) -> list[str]:
    """The picture that the events make, row 0 first, cut out where the letter was."""
    events = Whole(open_recording(str(path)).packets()).events
    picture = np.full((512, 512), ".")
    picture[events["y"], events["x"]] = "#"
    assert events["p"].all()
    assert np.count_nonzero(picture == "#") == len(PIXELS)
    cut = picture[TOP : TOP + len(F), LEFT : LEFT + len(F[0])]
    return ["".join(row) for row in cut]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dvs128.aedat", records(b"#!AER-DAT2.0\r\n# AEChip: DVS128\r\n", dvs128)),
        ("davis.aedat", records(b"#!AER-DAT2.0\r\n# AEChip: Davis346B\r\n", davis346)),
        ("old.dat", records(b"#!AER-DAT1.0\r\n", lambda *event: dvs128(*event)[2:])),
        ("caer.aedat", aedat3(PIXELS)),
        ("atis.dat", records(b"% Version 1\n\x00\x08", dat_1)),
        ("prophesee.dat", records(b"% Version 2\n\x00\x08", dat_2)),
        ("prophesee.raw", records(b"% evt 2.0\n", evt2)),
        ("nmnist.bin", records(b"", nmnist)),
    ],
)
def test_row_0_is_the_top(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert seen(path) == F


def test_row_0_is_the_top_in_what_dv_writes(tmp_path: Path) -> None:
    path = tmp_path / "rec.aedat4"
    dv = dv_processing
    writer = dv.io.MonoCameraWriter(
        str(path), dv.io.MonoCameraWriter.EventOnlyConfig("DVS128", (128, 128))
    )
    store = dv.EventStore()
    for t, (x, y) in enumerate(PIXELS):
        store.push_back(t, x, y, True)
    writer.writeEvents(store)
    del writer
    assert seen(path) == F


def test_a_mug_stands_on_its_foot(data_dir: Path) -> None:
    """Recorded with jAER: it is wider at its rim, above, than at its foot, below."""
    path = data_dir / "dvs128-objects" / "mug.aedat"
    if not path.is_file():
        pytest.skip(f"no mug here: {path}")
    events = Whole(open_recording(str(path)).packets()).events
    spread = []
    for half in (events[events["y"] < 64], events[events["y"] >= 64]):
        near = half[np.abs(half["y"].astype(int) - 64) < 40]
        spread.append(float(np.std(near["x"].astype(float))))
    rim, foot = spread
    assert rim > foot
