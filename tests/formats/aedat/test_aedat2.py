from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import Whole, aedat2_bytes, davis_bytes, random_events, same
from hypothesis import given, settings
from hypothesis import strategies as st

from streamstop.errors import SourceError, UsageError
from streamstop.events.packet import Cursor, SensorSize, make_events
from streamstop.formats.aedat.aedat2 import AedatRecording
from streamstop.formats.detect import open_recording
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
    x, y = 127 - (address >> 1 & 0x7F), 127 - (address >> 8 & 0x7F)
    expected = make_events(time, x, y, address & 1 == 0)
    assert same(Whole(AedatRecording(str(data_dir / name)).packets()).events, expected)


def test_tonic_agrees_on_the_raw_columns(data_dir: Path) -> None:
    """tonic reads header and raw columns right; only its readers on top of these are broken."""
    io = pytest.importorskip("tonic.io")
    path = str(data_dir / "dvs128-objects" / "pencil.aedat")
    header = io.read_aedat_header_from_file(path)
    raw = io.get_aer_events_from_file(path, header[0], header[1])
    ours = Whole(AedatRecording(path).packets()).events
    assert np.array_equal(raw["timeStamp"], ours["t"])
    assert np.array_equal(127 - (raw["address"] >> 8 & 0x7F), ours["y"])


def test_on_is_jaers(tmp_path: Path) -> None:
    path = tmp_path / "rec.aedat"
    path.write_bytes(b"#!AER-DAT2.0\r\n")
    record(path, 3 << 8 | 10 << 1 | 0, 7)
    record(path, 3 << 8 | 10 << 1 | 1, 8)
    events = Whole(AedatRecording(str(path)).packets()).events
    assert events.tolist() == [(7, 117, 124, True), (8, 117, 124, False)]


def test_version_1_has_16_bit_addresses(tmp_path: Path) -> None:
    path = tmp_path / "rec.dat"
    path.write_bytes(b"#!AER-DAT1.0\r\n# x\r\n")
    record(path, 127 << 8 | 127 << 1, 0xFFFFFFFF, version=1)
    recording = AedatRecording(str(path))
    assert recording.format == "aedat1"
    assert Whole(recording.packets()).events.tolist() == [(0xFFFFFFFF, 0, 0, True)]


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
    ("chip", "size"),
    [
        ("davis.DAVIS240C", (240, 180)),
        ("davis.Davis346B", (346, 260)),
        ("davis.Davis640", (640, 480)),
        ("retina.DVS128", (128, 128)),
    ],
)
def test_the_chip_in_the_header_tells_the_sensor(
    tmp_path: Path, chip: str, size: tuple[int, int]
) -> None:
    path = tmp_path / "rec.aedat"
    line = f"# AEChip: eu.seebetter.ini.chips.{chip}\r\n"
    events = random_events(500, width=size[0], height=size[1])
    named = aedat2_bytes(events, line) if size[0] == 128 else davis_bytes(events, line, *size)
    path.write_bytes(named)
    recording = AedatRecording(str(path))
    assert (recording.sensor, recording.sensor_inferred, recording.notes) == (size, False, ())
    assert same(Whole(recording.packets()).events, events)


@pytest.mark.parametrize("size", [(240, 180), (346, 260), (640, 480)])
def test_a_davis_without_a_name_is_told_by_its_addresses(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    events = random_events(20_000, width=size[0], height=size[1])
    path = tmp_path / "rec.aedat.gz"
    path.write_bytes(gzip.compress(davis_bytes(events, "# x\r\n", *size), 1))
    recording = AedatRecording(str(path))
    assert (recording.sensor, recording.sensor_inferred) == (size, True)
    assert f"DAVIS{size[0]}'s" in recording.notes[0]
    assert same(Whole(recording.packets()).events, events)


def test_the_dvs128_without_a_name_is_told_by_its_addresses(tmp_path: Path) -> None:
    path = tmp_path / "rec.aedat"
    path.write_bytes(aedat2_bytes(random_events(50)))
    recording = AedatRecording(str(path))
    assert (recording.sensor, recording.sensor_inferred) == ((128, 128), True)
    assert "DVS128's" in recording.notes[0]


def test_frames_and_imu_samples_tell_a_davis_too(tmp_path: Path) -> None:
    """A recording of mostly frames, whose pixels reach into the corners."""
    path = tmp_path / "rec.aedat"
    path.write_bytes(b"#!AER-DAT2.0\r\n")
    for k in range(500):
        record(path, 1 << 31 | (k % 180) << 22 | (k % 240) << 12 | 1 << 10 | k, k)
        record(path, 1 << 31 | 3 << 10 | 0x7FFFFFFF, k)
    record(path, 9 << 22 | 5 << 12 | 1 << 11, 501)
    recording = AedatRecording(str(path))
    assert recording.sensor == (240, 180)
    assert Whole(recording.packets()).events.tolist() == [(501, 234, 170, True)]


def test_a_corner_of_a_davis_does_not_decide_which(tmp_path: Path) -> None:
    events = random_events(2000, width=100, height=100)
    events["x"] += 246  # jAER counts columns from the right, so the addresses stay below 100
    events["y"] += 160
    path = tmp_path / "rec.aedat"
    path.write_bytes(davis_bytes(events))
    with pytest.raises(SourceError, match=r"\?chip=DAVIS240, \?chip=DAVIS346"):
        AedatRecording(str(path))
    for recording in (
        AedatRecording(str(path), chip="Davis346"),
        AedatRecording(str(path), sensor=SensorSize(346, 260)),
    ):
        assert recording.sensor == (346, 260)
        assert same(Whole(recording.packets()).events, events)
    with pytest.raises(UsageError, match="beyond the 90x90 given"):
        AedatRecording(str(path), sensor=SensorSize(90, 90))


@pytest.mark.parametrize("content", [bytes(800), random_events(500).tobytes()])
def test_addresses_that_do_not_decide_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rec.aedat"
    path.write_bytes(b"#!AER-DAT2.0\r\n" + content)
    with pytest.raises(SourceError, match=r"\?chip=DVS128, \?chip=DAVIS346"):
        AedatRecording(str(path))
    assert AedatRecording(str(path), chip="DVS128").sensor == (128, 128)


def test_a_header_that_names_another_chip_than_the_addresses_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rec.aedat"
    wide = random_events(2000, width=346, height=260)
    path.write_bytes(davis_bytes(wide, "# AEChip: DVS128\r\n"))
    with pytest.raises(SourceError, match="the addresses are a DAVIS's, with columns up to 345"):
        AedatRecording(str(path))
    assert same(Whole(AedatRecording(str(path), chip="DAVIS346").packets()).events, wide)
    path.write_bytes(davis_bytes(wide, "# AEChip: DAVIS240C\r\n"))
    with pytest.raises(SourceError, match=r"give \?chip="):
        AedatRecording(str(path))
    path.write_bytes(aedat2_bytes(random_events(2000), "# AEChip: DAVIS240C\r\n"))
    with pytest.raises(SourceError, match="the addresses are a DVS128's"):
        AedatRecording(str(path))


def test_a_size_that_is_not_the_chips_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rec.aedat"
    path.write_bytes(aedat2_bytes(random_events(50)))
    with pytest.raises(UsageError, match="128x128 pixels, not 346x260"):
        AedatRecording(str(path), sensor=SensorSize(346, 260))
    with pytest.raises(UsageError, match="leave one of the two out"):
        AedatRecording(str(path), chip="DVS128", sensor=SensorSize(346, 260))
    with pytest.raises(UsageError, match="known: DVS128, DAVIS128, DAVIS240, DAVIS346"):
        AedatRecording(str(path), chip="DVS127")


def test_without_events_nothing_is_said_of_the_sensor(tmp_path: Path) -> None:
    path = tmp_path / "rec.aedat"
    path.write_bytes(b"#!AER-DAT2.0\r\n# x\r\n")
    recording = AedatRecording(str(path))
    assert (recording.sensor, recording.notes) == (None, ())
    assert not len(Whole(recording.packets()).events)


def test_v2es_file_is_what_v2e_wrote(data_dir: Path) -> None:
    folder = data_dir / "field" / "01-v2e-aedat2"
    if not folder.is_dir():
        pytest.skip(f"no files of v2e here: {folder}")
    truth = np.load(folder / "truth.npy")
    path = str(folder / "v2e-346x260.aedat")
    for sensor in (None, SensorSize(346, 260)):
        recording = open_recording(path, sensor=sensor)
        assert recording.sensor == (346, 260)
        assert same(Whole(recording.packets()).events, truth)


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
