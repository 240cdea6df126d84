"""Numbered attacks on the readers: none hangs, crashes or takes memory for what a file only claims.

Each says what is wrong with the file and what is still read from it.
"""

from __future__ import annotations

import io
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import numpy as np
import pytest
import zstandard
from helpers.capped import read_capped
from helpers.event_files import Whole, aedat2_bytes, random_events, same

from streamstop.errors import SourceError
from streamstop.events.packet import EVENT_DTYPE, SensorSize, make_events
from streamstop.formats.aedat.aedat4 import Aedat4Recording
from streamstop.formats.aedat.aedat4_writer import write_aedat4
from streamstop.sources.open import open_source

EVENTS = random_events(1000)
PER_PACKET = 100
COMPRESSIONS = ("none", "lz4", "zstd")
TABLE_OFFSET_AT = 14 + 32


def aedat4(tmp_path: Path, compression: str = "lz4") -> tuple[Path, bytearray, list[int]]:
    """A file of ten packets, its content, and where its packets and then its table begin."""
    path = tmp_path / "rec.aedat4"
    write_aedat4(
        path, EVENTS, SensorSize(128, 128), compression=compression, packet_events=PER_PACKET
    )
    content = bytearray(path.read_bytes())
    (length,) = struct.unpack_from("<I", content, 14)
    starts = [18 + length]
    for _ in range(10):
        (size,) = struct.unpack_from("<i", content, starts[-1] + 4)
        starts.append(starts[-1] + 8 + size)
    return path, content, starts


def read(path: Path, content: bytes) -> Whole:
    path.write_bytes(content)
    return Whole(Aedat4Recording(str(path)).packets())


def without(*packets: int) -> np.ndarray:
    lost = [i for k in packets for i in range(k * PER_PACKET, (k + 1) * PER_PACKET)]
    return np.delete(EVENTS, lost)


def test_01_header_length_says_4_gb(tmp_path: Path) -> None:
    path, content, _ = aedat4(tmp_path)
    struct.pack_into("<I", content, 14, 0xFFFFFFFF)
    path.write_bytes(content)
    answer = read_capped(path)
    assert answer["error"] == "SourceError"
    assert "more than the 4194304 allowed" in answer["message"]


@pytest.mark.parametrize("at", range(18, 66, 4))
@pytest.mark.parametrize("value", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_02_header_offsets_point_anywhere(tmp_path: Path, at: int, value: int) -> None:
    path, content, _ = aedat4(tmp_path)
    struct.pack_into("<I", content, at, value)
    try:
        whole = read(path, content)
    except SourceError as error:
        assert str(error).endswith(str(path))
    else:
        assert same(whole.events, EVENTS) or whole.damage


def test_03_header_xml_explodes(tmp_path: Path) -> None:
    path, content, _ = aedat4(tmp_path)
    xml = content[content.index(b"<dv") : content.index(b"</dv>") + 6]
    levels = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))
    bomb = f'<!DOCTYPE dv [<!ENTITY a0 "lol">{levels}]><dv>&a9;</dv>'.encode()
    content[content.index(xml) : content.index(xml) + len(xml)] = bomb.ljust(len(xml))[: len(xml)]
    path.write_bytes(content)
    answer = read_capped(path)
    assert answer["error"] == "SourceError"
    assert "declarations" in answer["message"]


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("size", [-1, 0, 1, 50, 0x7FFFFFFF, -0x80000000])
def test_04_a_packets_size_lies(tmp_path: Path, compression: str, size: int) -> None:
    path, content, starts = aedat4(tmp_path, compression)
    struct.pack_into("<i", content, starts[4] + 4, size)
    whole = read(path, content)
    assert same(whole.events, without(4))
    assert [(one.offset, one.lost_bytes) for one in whole.damage] == [
        (starts[4], starts[5] - starts[4])
    ]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_05_a_packets_size_takes_in_the_next(tmp_path: Path, compression: str) -> None:
    """Packet 4 is then itself and junk, which has swallowed packet 5; no other is lost."""
    path, content, starts = aedat4(tmp_path, compression)
    struct.pack_into("<i", content, starts[4] + 4, starts[6] - starts[4] - 8)
    whole = read(path, content)
    assert same(whole.events, without(4, 5))
    assert [(one.offset, one.lost_bytes) for one in whole.damage] == [
        (starts[4], starts[6] - starts[4])
    ]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_06_a_packet_is_of_no_known_stream(tmp_path: Path, compression: str) -> None:
    path, content, starts = aedat4(tmp_path, compression)
    struct.pack_into("<i", content, starts[4], 77)
    whole = read(path, content)
    assert same(whole.events, without(4))
    assert len(whole.damage) == 1


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_07_a_flipped_bit_costs_its_packet(tmp_path: Path, compression: str) -> None:
    path, content, starts = aedat4(tmp_path, compression)
    draw = random.Random(7)
    for _ in range(60):
        k = draw.randrange(10)
        at = draw.randrange(starts[k] + 8, starts[k + 1])
        damaged = bytearray(content)
        damaged[at] ^= 1 << draw.randrange(8)
        whole = read(path, damaged)
        # A few bits of a frame's header say nothing of its content.
        assert same(whole.events, without(k)) or same(whole.events, EVENTS)
        assert len(whole.damage) == (len(whole.events) < len(EVENTS))


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_08_cut_off_anywhere_keeps_what_lies_before(tmp_path: Path, compression: str) -> None:
    path, content, starts = aedat4(tmp_path, compression)
    places = [starts[0], starts[3], starts[3] + 3, starts[3] + 8, starts[3] + 9, starts[4] - 1]
    places += [starts[9] + 20, starts[10] - 1, starts[10]]
    for end in places:
        whole = read(path, content[:end])
        kept = sum(start <= end for start in starts[1:])
        assert same(whole.events, EVENTS[: kept * PER_PACKET]), end
        assert len(whole.damage) == (end < starts[10]), end
    whole = read(path, content[:-1])
    assert same(whole.events, EVENTS)


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_09_a_packet_unpacks_to_a_gigabyte(tmp_path: Path, compression: str) -> None:
    path, content, starts = aedat4(tmp_path, compression)
    zeros = bytes(1 << 30)
    bomb = lz4.frame.compress(zeros) if compression == "lz4" else zstandard.compress(zeros)
    del zeros
    packet = struct.pack("<ii", 0, len(bomb)) + bomb
    content[starts[4] : starts[4]] = packet
    struct.pack_into("<q", content, TABLE_OFFSET_AT, starts[10] + len(packet))
    path.write_bytes(content)
    answer = read_capped(path)
    assert answer["events"] == 1000
    assert [(at, lost) for at, lost, _ in answer["damage"]] == [(starts[4], len(packet))]
    assert "134217728 bytes allowed" in answer["damage"][0][2]


@pytest.mark.parametrize("at", [0, 4, 8, 12, 14, 16, 20, 24, 28])
@pytest.mark.parametrize("value", [0, 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_10_offsets_in_a_packet_point_anywhere(tmp_path: Path, at: int, value: int) -> None:
    """One number of packet 4's flatbuffer is wrong: the other packets are read."""
    path, content, starts = aedat4(tmp_path, "none")
    struct.pack_into("<I", content, starts[4] + 8 + at, value)
    whole = read(path, content)
    kept = whole.events[~np.isin(whole.events["t"], EVENTS["t"][400:500])]
    others = without(4)
    assert np.isin(others["t"], kept["t"]).all()
    assert len(whole.events) <= 1000 + PER_PACKET


@pytest.mark.parametrize("table", [-1, 0, 5, 1 << 40, -(1 << 62)])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_11_the_table_is_elsewhere_by_the_header(
    tmp_path: Path, compression: str, table: int
) -> None:
    path, content, _ = aedat4(tmp_path, compression)
    struct.pack_into("<q", content, TABLE_OFFSET_AT, table)
    assert same(read(path, content).events, EVENTS)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_12_forty_mutations_lose_what_they_touch(tmp_path: Path, compression: str) -> None:
    path, content, starts = aedat4(tmp_path, compression)
    draw = random.Random(12)
    for _ in range(40):
        damaged, touched = bytearray(content), set()
        for _ in range(draw.choice((1, 3, 30))):
            at = draw.randrange(starts[0], starts[10])
            damaged[at] = draw.randrange(256)
            touched.add(sum(start <= at for start in starts) - 1)
        whole = read(path, damaged)
        assert set(without(*touched).tolist()) <= set(whole.events.tolist()), whole.damage
        assert len(whole.damage) <= len(touched) + 1


def test_13_junk_between_packets_is_passed_over(tmp_path: Path) -> None:
    path, content, starts = aedat4(tmp_path, "zstd")
    junk = random.Random(13).randbytes(3_000_000)
    content[starts[5] : starts[5]] = junk
    struct.pack_into("<q", content, TABLE_OFFSET_AT, starts[10] + len(junk))
    path.write_bytes(content)
    answer = read_capped(path)
    assert answer["events"] == 1000
    assert [one[:2] for one in answer["damage"]] == [[starts[5], len(junk)]]


def test_14_only_magic_repeated(tmp_path: Path) -> None:
    """Every four bytes look like a packet's start."""
    path, content, starts = aedat4(tmp_path, "lz4")
    path.write_bytes(content[: starts[2]] + b"\x04\x22\x4d\x18" * 500_000)
    answer = read_capped(path)
    assert answer["events"] == 200
    assert len(answer["damage"]) == 1


def test_15_aedat_header_without_end(tmp_path: Path) -> None:
    path = tmp_path / "rec.aedat"
    path.write_bytes(b"#!AER-DAT2.0\r\n" + b"# " + b"a" * (4 << 20))
    answer = read_capped(path)
    assert answer["error"] == "SourceError"
    assert "header longer" in answer["message"]


def test_16_npy_header_promises_a_terabyte(tmp_path: Path) -> None:
    path = tmp_path / "rec.npy"
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": EVENT_DTYPE.descr, "fortran_order": False, "shape": (1 << 36,)}
    )
    path.write_bytes(file.getvalue() + bytes(1600))
    answer = read_capped(path)
    assert answer["events"] == 100
    assert "ends too early" in answer["damage"][0][2]


def test_17_npz_unpacks_to_gigabytes(tmp_path: Path) -> None:
    """A quarter of a gigabyte from a quarter of a megabyte: it is read in blocks."""
    path = tmp_path / "rec.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in "txyp":
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                head = {"descr": "|u1", "fortran_order": False, "shape": (1 << 26,)}
                np.lib.format.write_array_header_1_0(file, head)
                for _ in range(64):
                    file.write(bytes(1 << 20))
    answer = read_capped(path)
    assert answer["events"] == 1 << 26


def test_18_npy_rows_of_a_megabyte(tmp_path: Path) -> None:
    path = tmp_path / "rec.npy"
    np.save(
        path, np.zeros(1, [("t", "i8"), ("x", "i8"), ("y", "i8"), ("p", "i8"), ("z", "V1048576")])
    )
    answer = read_capped(path)
    assert answer["error"] == "NoEventsError"


def test_19_csv_of_one_endless_line(tmp_path: Path) -> None:
    path = tmp_path / "rec.csv"
    path.write_bytes(b"t,x,y,p\n1,2,3,1\n" + b"7" * (64 << 20))
    answer = read_capped(path)
    assert answer["events"] == 1
    assert sum(lost for _, lost, _ in answer["damage"]) >= 64 << 20


def test_20_a_time_far_ahead_in_a_folder(tmp_path: Path) -> None:
    """One damaged time: what comes after it is in a piece that never ends, and is counted."""
    events = random_events(1000)
    events["t"][500] += 2**30
    (tmp_path / "a.aedat").write_bytes(aedat2_bytes(events))
    answer = read_capped(tmp_path, length_us=5000)
    assert answer["error"] == ""
    assert answer["events"] == 500
    answer = read_capped(tmp_path, length_us=100)
    assert answer["error"] == "UsageError"
    assert "are its times damaged" in answer["message"]


@pytest.mark.parametrize("make", [lambda d: d.randbytes(5000), lambda _: b"\xff" * 5000])
@pytest.mark.parametrize(
    "magic",
    [
        b"#!AER-DAT4.0\r\n",
        b"#!AER-DAT2.0\r\n",
        b"\x93NUMPY\x01\x00",
        b"PK\x03\x04",
        b"t,x,y,p\n",
        b"% evt 3.0\n",
        b"% evt 2.0\n",
        b"% Version 2\n\x00\x08",
        b"Event Stream\x02\x00\x00\x01",
    ],
)
def test_21_junk_after_any_magic(
    tmp_path: Path, magic: bytes, make: Callable[[random.Random], bytes]
) -> None:
    """Whatever is read of it, only our own errors come out."""
    suffix = {b"PK": "npz", b"t,": "csv"}.get(magic[:2], "x")
    path = tmp_path / f"rec.{suffix}"
    path.write_bytes(magic + make(random.Random(21)))
    answer = read_capped(path)
    assert answer["error"] in ("", "SourceError")


def test_22_a_folder_of_hostile_names(tmp_path: Path) -> None:
    events = make_events([0, 5, 9], [1, 2, 3], [1, 2, 3], [True] * 3)
    for name in ("a\nb", "<script>", "ü", "%s{0}", "-rf"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rec.aedat").write_bytes(aedat2_bytes(events))
    labels = open_source(str(tmp_path)).labels
    assert labels is not None
    assert sorted(labels.classes) == sorted(("a\nb", "<script>", "ü", "%s{0}", "-rf"))
