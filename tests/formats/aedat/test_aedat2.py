from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import Whole, aedat2_bytes, random_events, same
from hypothesis import given, settings
from hypothesis import strategies as st

from streamstop.errors import SourceError
from streamstop.events.packet import Cursor, SensorSize, make_events
from streamstop.formats.aedat.aedat2 import AedatRecording
from streamstop.formats.fixed_records import unwrap


def record(path: Path, address: int, time: int, version: int = 2) -> None:
    with path.open("ab") as file:
        file.write(struct.pack(">II" if version == 2 else ">HI", address, time))


@pytest.mark.parametrize("name", ["dvs128-objects/mug.aedat", "formats/mnist_0_scale04_0001.aedat"])
def test_agrees_with_the_layout_read_naively(data_dir: Path, name: str) -> None:
    content = (data_dir / name).read_bytes()
    at = 0
    while content[at : at + 1] == b"#":
        at = content.index(b"\r\n", at) + 2
    address, time = np.frombuffer(content[at:], ">u4").reshape(-1, 2).T.astype(np.int64)
    expected = make_events(time, 127 - (address >> 1 & 0x7F), address >> 8 & 0x7F, address & 1 == 0)
    assert same(Whole(AedatRecording(str(data_dir / name)).packets()).events, expected)


def test_tonic_agrees_on_the_raw_columns(data_dir: Path) -> None:
    """tonic reads header and raw columns right; only its readers on top of these are broken."""
    io = pytest.importorskip("tonic.io")
    path = str(data_dir / "dvs128-objects" / "pencil.aedat")
    header = io.read_aedat_header_from_file(path)
    raw = io.get_aer_events_from_file(path, header[0], header[1])
    ours = Whole(AedatRecording(path).packets()).events
    assert np.array_equal(raw["timeStamp"], ours["t"])
    assert np.array_equal(raw["address"] >> 8 & 0x7F, ours["y"])


def test_on_is_jaers(tmp_path: Path) -> None:
    path = tmp_path / "rec.aedat"
    path.write_bytes(b"#!AER-DAT2.0\r\n")
    record(path, 3 << 8 | 10 << 1 | 0, 7)
    record(path, 3 << 8 | 10 << 1 | 1, 8)
    events = Whole(AedatRecording(str(path)).packets()).events
    assert events.tolist() == [(7, 117, 3, True), (8, 117, 3, False)]


def test_version_1_has_16_bit_addresses(tmp_path: Path) -> None:
    path = tmp_path / "rec.dat"
    path.write_bytes(b"#!AER-DAT1.0\r\n# x\r\n")
    record(path, 127 << 8 | 127 << 1, 0xFFFFFFFF, version=1)
    recording = AedatRecording(str(path))
    assert recording.format == "aedat1"
    assert Whole(recording.packets()).events.tolist() == [(0xFFFFFFFF, 0, 127, True)]


def test_the_clock_may_wrap_twice(tmp_path: Path) -> None:
    events = random_events(5000)
    events["t"] = 2**32 - 10**9 + np.arange(5000) * 1_800_000  # 9000 s, two wraps
    path = tmp_path / "rec.aedat"
    path.write_bytes(aedat2_bytes(events))
    read = Whole(AedatRecording(str(path)).packets()).events
    assert int(events["t"][-1]) > 3 * 2**32 - 2**31
    assert same(read, events)


@settings(deadline=None)
@given(start=st.integers(0, 255), steps=st.lists(st.integers(-127, 127), min_size=1, max_size=50))
def test_any_walk_of_small_steps_is_unwrapped(start: int, steps: list[int]) -> None:
    times = start + np.cumsum([0, *steps])
    assert np.array_equal(unwrap(times % 256, 8, None), times)
    assert np.array_equal(unwrap(times[1:] % 256, 8, int(times[0])), times[1:])


@pytest.mark.parametrize(
    ("chip", "size"), [("DAVIS240C", (240, 180)), ("Davis346B", (346, 260)), ("DVS128", (128, 128))]
)
def test_the_chip_in_the_header_tells_the_sensor(
    tmp_path: Path, chip: str, size: tuple[int, int]
) -> None:
    path = tmp_path / "rec.aedat"
    path.write_bytes(aedat2_bytes(random_events(5), f"# AEChip: eu.seebetter.ini.chips.{chip}\r\n"))
    assert AedatRecording(str(path)).sensor == size


def test_a_davis_frame_is_no_event_and_a_trigger_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "rec.aedat"
    path.write_bytes(b"#!AER-DAT2.0\r\n# AEChip: eu.seebetter.ini.chips.davis.DAVIS240C\r\n")
    record(path, 5 << 22 | 9 << 12 | 1 << 11, 100)
    record(path, 1 << 31 | 5 << 22, 101)
    record(path, 1 << 10, 102)
    record(path, 179 << 22 | 239 << 12, 103)
    whole = Whole(AedatRecording(str(path)).packets())
    assert whole.events.tolist() == [(100, 230, 174, True), (103, 0, 0, False)]
    assert whole.dropped == {"special": 1}


def test_a_davis_address_beyond_the_sensor_is_out_of_range(tmp_path: Path) -> None:
    path = tmp_path / "rec.aedat"
    path.write_bytes(b"#!AER-DAT2.0\r\n# AEChip: DAVIS240C\r\n")
    record(path, 200 << 22 | 300 << 12, 0)
    event = Whole(AedatRecording(str(path)).packets()).events[0]
    assert event["x"] >= 240
    assert event["y"] >= 180


def test_a_special_event_of_the_dvs128_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "rec.aedat"
    path.write_bytes(b"#!AER-DAT2.0\r\n")
    record(path, 0x8000, 1)
    record(path, 0x0100, 2)
    whole = Whole(AedatRecording(str(path)).packets())
    assert whole.events["t"].tolist() == [2]
    assert whole.dropped == {"special": 1}


def test_an_unknown_chip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rec.aedat"
    path.write_bytes(aedat2_bytes(random_events(5), "# AEChip: ch.unizh.cochlea.AMS1c\r\n"))
    with pytest.raises(SourceError, match="AMS1c"):
        AedatRecording(str(path))


def test_events_that_begin_like_a_header_line_are_events(tmp_path: Path) -> None:
    """0x23 is '#', and the first byte of a 16-bit address may be just that."""
    path = tmp_path / "rec.dat"
    path.write_bytes(b"#!AER-DAT1.0\r\n# x\r\n")
    record(path, 0x2342, 17, version=1)
    record(path, 0x0D0A, 18, version=1)
    assert Whole(AedatRecording(str(path)).packets()).events["t"].tolist() == [17, 18]


def test_reading_goes_on_from_any_packet(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamstop.formats.fixed_records.MAX_PACKET_EVENTS", 1000)
    recording = AedatRecording(str(data_dir / "formats" / "mnist_0_scale04_0001.aedat"))
    packets = list(recording.packets())
    events = Whole(packets).events
    assert len(packets) == 16
    for packet in packets[::5]:
        rest = Whole(recording.packets(packet.cursor)).events
        assert same(rest, events[packet.cursor.event :])
    assert recording.sensor == SensorSize(128, 128)
    assert same(Whole(recording.packets(Cursor())).events, events)


@pytest.mark.parametrize("lost", range(1, 8))
def test_a_cut_off_event_is_damage_and_costs_itself(tmp_path: Path, lost: int) -> None:
    events = random_events(100)
    path = tmp_path / "rec.aedat"
    content = aedat2_bytes(events)
    path.write_bytes(content[:-lost])
    whole = Whole(AedatRecording(str(path)).packets())
    assert same(whole.events, events[:-1])
    assert [(one.offset, one.lost_bytes) for one in whole.damage] == [(len(content) - 8, 8 - lost)]
