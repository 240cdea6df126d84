from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import Whole, bin_bytes, random_events, same

from streamstop.formats.plain.nmnist import BinRecording
from streamstop.sources.file import FileSource


@pytest.mark.parametrize("name", ["formats/nmnist.bin", "formats/ncaltech101.bin"])
def test_agrees_with_tonic(data_dir: Path, name: str) -> None:
    io = pytest.importorskip("tonic.io")
    theirs = io.read_mnist_file(str(data_dir / name), dtype=io.events_struct)
    assert same(Whole(BinRecording(str(data_dir / name)).packets()).events, theirs)


def test_the_clock_may_wrap_twice(tmp_path: Path) -> None:
    events = random_events(4000, width=34, height=34)
    events["t"] = 2**23 - 5000 + np.arange(4000) * 4500  # 18 s
    path = tmp_path / "rec.bin"
    path.write_bytes(bin_bytes(events))
    assert int(events["t"][-1]) > 2 * 2**23
    assert same(Whole(BinRecording(str(path)).packets()).events, events)


def test_reading_goes_on_from_any_packet_after_a_wrap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamstop.formats.fixed_records.MAX_PACKET_EVENTS", 100)
    events = random_events(1000, width=34, height=34)
    events["t"] = np.arange(1000) * 50_000  # 50 s, five wraps
    path = tmp_path / "rec.bin"
    path.write_bytes(bin_bytes(events))
    recording = BinRecording(str(path))
    for packet in list(recording.packets()):
        rest = Whole(recording.packets(packet.cursor)).events
        assert same(rest, events[packet.cursor.event :])


@pytest.mark.parametrize(
    ("width", "height", "sensor"),
    [(34, 34, (34, 34)), (35, 30, (128, 128)), (151, 173, (240, 180)), (240, 200, (304, 240))],
)
def test_the_sensor_is_the_smallest_usual_one(
    tmp_path: Path, width: int, height: int, sensor: tuple[int, int]
) -> None:
    path = tmp_path / "rec.bin"
    path.write_bytes(bin_bytes(random_events(5000, width=width, height=height)))
    assert FileSource("rec.bin", BinRecording(str(path))).sensor == sensor


def test_one_damaged_coordinate_does_not_change_the_sensor(tmp_path: Path) -> None:
    events = random_events(5000, width=34, height=34)
    events["x"][77] = 255
    path = tmp_path / "rec.bin"
    path.write_bytes(bin_bytes(events))
    assert FileSource("rec.bin", BinRecording(str(path))).sensor == (34, 34)


@pytest.mark.parametrize("lost", range(1, 5))
def test_a_cut_off_event_is_damage_and_costs_itself(tmp_path: Path, lost: int) -> None:
    events = random_events(100, width=34, height=34)
    path = tmp_path / "rec.bin"
    path.write_bytes(bin_bytes(events)[:-lost])
    whole = Whole(BinRecording(str(path)).packets())
    assert same(whole.events, events[:-1])
    assert [(one.offset, one.lost_bytes) for one in whole.damage] == [(495, 5 - lost)]
