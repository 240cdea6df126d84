"""What the AEDAT 3.1 and 2.0 writers leave, taken apart with struct alone."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import Whole, random_events, same

from streamstop.errors import UsageError
from streamstop.events.packet import Events, SensorSize, make_events
from streamstop.formats.aedat.aedat2_writer import write_aedat2
from streamstop.formats.aedat.aedat3_writer import write_aedat3
from streamstop.formats.base import read_packets
from streamstop.formats.detect import open_recording

DVS128 = SensorSize(128, 128)
Row = tuple[int, int, int, bool]


def unpacked_3(content: bytes) -> tuple[list[bytes], list[list[Row]]]:
    """Header lines and the events of every packet."""
    header, body = content.split(b"#!END-HEADER\r\n", 1)
    packets, at = [], 0
    while at < len(body):
        kind, _, size, time_at, overflow, capacity, number, valid = struct.unpack_from(
            "<hhiiiiii", body, at
        )
        assert (kind, size, time_at) == (1, 8, 4)
        assert capacity == number == valid > 0
        at += 28
        rows = []
        for data, time in struct.iter_unpack("<Ii", body[at : at + 8 * number]):
            assert data & 1
            x, y, on = data >> 17, data >> 2 & 0x7FFF, data >> 1 & 1
            rows.append((time + overflow * (1 << 31), x, y, bool(on)))
        packets.append(rows)
        at += 8 * number
    return header.split(b"\r\n"), packets


def unpacked_2(content: bytes) -> tuple[list[bytes], list[tuple[int, int, int, int]]]:
    """Header lines, and the rows t modulo 2**32, x, y, lowest address bit."""
    lines = []
    while content.startswith(b"#"):
        line, content = content.split(b"\r\n", 1)
        lines.append(line)
    rows = [
        (time, 127 - (address >> 1 & 0x7F), 127 - (address >> 8 & 0x7F), address & 1)
        for address, time in struct.iter_unpack(">II", content)
    ]
    return lines, rows


@pytest.mark.parametrize("sensor", [DVS128, SensorSize(346, 260), SensorSize(32768, 32768)])
def test_aedat3_says_every_event(tmp_path: Path, sensor: SensorSize) -> None:
    events = random_events(1_000, width=sensor.width, height=sensor.height)
    events["x"][7], events["y"][7] = sensor.width - 1, sensor.height - 1
    path = tmp_path / "a.aedat"
    assert write_aedat3(path, events, sensor, packet_events=300) == 1_000
    lines, packets = unpacked_3(path.read_bytes())
    assert lines[:2] == [b"#!AER-DAT3.1", b"#Format: RAW"]
    assert [len(rows) for rows in packets] == [300, 300, 300, 100]
    assert [row for rows in packets for row in rows] == events.tolist()
    recording = open_recording(str(path))
    assert recording.sensor == sensor
    assert not recording.simulated
    assert same(Whole(recording.packets()).events, events)


def test_an_aedat3_packet_spans_no_wrap(tmp_path: Path) -> None:
    t = np.concatenate([wraps * (1 << 31) + np.arange(-40, 40) for wraps in (1, 2, 5)])
    events = make_events(t, t % 128, t % 100, t % 2 == 0)
    write_aedat3(tmp_path / "a.aedat", events, DVS128)
    packets = unpacked_3((tmp_path / "a.aedat").read_bytes())[1]
    assert [{row[0] >> 31 for row in rows} for rows in packets] == [{0}, {1}, {2}, {4}, {5}]
    assert [row for rows in packets for row in rows] == events.tolist()


@pytest.mark.parametrize("on_bit", [0, 1])
def test_aedat2_says_every_event(tmp_path: Path, on_bit: int) -> None:
    events = random_events(500, start_us=(1 << 32) - 10_000)
    assert events["t"][-1] > 1 << 32
    path = tmp_path / "a.aedat"
    write_aedat2(path, events, DVS128, on_bit=on_bit)
    lines, rows = unpacked_2(path.read_bytes())
    assert lines[0] == b"#!AER-DAT2.0"
    assert rows == [
        (t % (1 << 32), x, y, on_bit if on else 1 - on_bit) for t, x, y, on in events.tolist()
    ]
    read = Whole(read_packets(open_recording(str(path)))).events
    if on_bit:
        read["p"] = ~read["p"]
    assert same(read, events)


@pytest.mark.parametrize("write", [write_aedat3, write_aedat2])
@pytest.mark.parametrize("simulated", [False, True])
def test_a_file_says_whether_a_camera_made_it(
    tmp_path: Path, write: Callable[..., int], simulated: bool
) -> None:
    path = tmp_path / "a.aedat.gz"
    plain = tmp_path / "a.aedat"
    events = random_events(3_000)
    write(plain, events, DVS128, simulated=simulated)
    path.write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
    for one in (plain, path):
        recording = open_recording(str(one))
        assert recording.simulated == simulated
        assert same(Whole(read_packets(recording)).events, events)


def late(events: Events, at: int, t: int) -> Events:
    events["t"][at] = t
    return events


@pytest.mark.parametrize("cut", [[], [50], [49, 50, 51]])
@pytest.mark.parametrize(
    ("write", "t", "start_us"),
    [
        (write_aedat3, -1, 1000),
        (write_aedat3, 1 << 52, 1000),
        (write_aedat3, (1 << 31) - 1, 1 << 31),
        (write_aedat2, (1 << 31) + 1_000_000, 1000),
        (write_aedat2, -(1 << 31), 1000),
    ],
)
def test_a_time_that_cannot_be_represented_leaves_no_file(
    tmp_path: Path, cut: list[int], write: Callable[..., int], t: int, start_us: int
) -> None:
    events = late(random_events(100, start_us=start_us), 50, t)
    with pytest.raises(UsageError, match=rf"event 50 at t = {t} us.*nothing was written"):
        write(tmp_path / "a.aedat", np.split(events, cut), DVS128)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("first", [1_633_953_690_975_950, (1 << 52) - 1_000_000])
def test_aedat3_times_may_count_from_1970(tmp_path: Path, first: int) -> None:
    events = random_events(5000, start_us=first)
    write_aedat3(tmp_path / "a.aedat", events, DVS128)
    assert same(Whole(open_recording(str(tmp_path / "a.aedat")).packets()).events, events)


def test_times_may_go_back_within_a_wrap(tmp_path: Path) -> None:
    events = make_events([900, 100, 800, 0], [1, 2, 3, 4], [5, 6, 7, 8], [True, False, True, True])
    for write in (write_aedat3, write_aedat2):
        write(tmp_path / "a.aedat", events, DVS128)
        assert same(Whole(open_recording(str(tmp_path / "a.aedat")).packets()).events, events)


@pytest.mark.parametrize("first", [-1, 1 << 32])
def test_aedat2_begins_within_32_bits(tmp_path: Path, first: int) -> None:
    with pytest.raises(UsageError, match="event 0"):
        write_aedat2(tmp_path / "a", make_events([first], [0], [0], [True]), DVS128)


def test_options_out_of_range(tmp_path: Path) -> None:
    events = random_events(10)
    for packet_events in (0, -1, 1 << 21):
        with pytest.raises(UsageError, match="packet_events"):
            write_aedat3(tmp_path / "a", events, DVS128, packet_events=packet_events)
    with pytest.raises(UsageError, match="on_bit"):
        write_aedat2(tmp_path / "a", events, DVS128, on_bit=2)
    with pytest.raises(UsageError, match="32767"):
        write_aedat3(tmp_path / "a", events, SensorSize(32769, 10))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", [write_aedat3, write_aedat2])
def test_a_source_that_fails_leaves_what_stood_there(
    tmp_path: Path, write: Callable[..., int]
) -> None:
    def failing() -> Iterator[Events]:
        yield random_events(5_000)
        raise RuntimeError("unplugged")

    path = tmp_path / "a.aedat"
    path.write_bytes(b"before")
    with pytest.raises(RuntimeError, match="unplugged"):
        write(path, failing(), DVS128)
    assert path.read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 1
