"""Conversion: what was read is written, what was not is counted, and nothing half stands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import Whole, bin_bytes, random_events, same

from streamstop.errors import DamageError, UsageError
from streamstop.events.packet import SensorSize
from streamstop.formats.aedat.aedat4_writer import write_aedat4
from streamstop.formats.base import read_packets
from streamstop.formats.detect import open_recording
from streamstop.tools.convert import convert

EVENTS = random_events(20_000, width=34, height=34)


def recording(tmp_path: Path) -> Path:
    path = tmp_path / "rec.aedat4"
    write_aedat4(path, EVENTS, SensorSize(34, 34), simulated=True)
    return path


def test_there_and_back_is_the_same(tmp_path: Path) -> None:
    path = recording(tmp_path)
    seen: list[int] = []
    first = convert(str(path), str(tmp_path / "a.csv.zst"), progress=lambda n, _: seen.append(n))
    assert (first.read, first.written, first.damage_count) == (20_000, 20_000, 0)
    assert (first.format, first.out_format, first.sensor) == ("aedat4", "csv", (34, 34))
    assert first.out_bytes == (tmp_path / "a.csv.zst").stat().st_size
    assert seen[-1] == 20_000
    back = convert(str(tmp_path / "a.csv.zst"), str(tmp_path / "b.raw"), format="evt2")
    assert back.written == 20_000
    whole = Whole(read_packets(open_recording(str(tmp_path / "b.raw"))))
    assert same(whole.events, EVENTS)


def test_a_cameras_clock_is_moved_to_zero_where_a_format_cannot_say_it(tmp_path: Path) -> None:
    events = EVENTS.copy()
    events["t"] += 1_718_924_384_950_507
    path = tmp_path / "rec.aedat4"
    write_aedat4(path, events, SensorSize(34, 34), simulated=True)
    for name in ("a.dat", "a.bin"):
        with pytest.raises(UsageError, match=r"time 0, where such a file begins \(--from-zero"):
            convert(str(path), str(tmp_path / name))
    convert(str(path), str(tmp_path / "b.dat"), from_zero=True)
    whole = Whole(read_packets(open_recording(str(tmp_path / "b.dat"))))
    moved = events.copy()
    moved["t"] -= events["t"][0]
    assert same(whole.events, moved)


def test_what_is_off_the_sensor_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "rec.bin"
    events = EVENTS.copy()
    events["x"][::1000] = 200
    path.write_bytes(bin_bytes(events))
    done = convert(f"{path}?sensor=34x34", str(tmp_path / "a.npz"))
    assert done.dropped == {"out_of_range": 20}
    assert done.written == 19_980
    whole = Whole(open_recording(str(tmp_path / "a.npz")).packets())
    assert same(whole.events, events[events["x"] < 34])


def test_damage_is_told_and_strict_writes_nothing(tmp_path: Path) -> None:
    path = recording(tmp_path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    out = tmp_path / "a.csv"
    done = convert(str(path), str(out))
    assert done.damage_count == 1
    assert 0 < done.written < 20_000
    assert np.isin(Whole(open_recording(str(out)).packets()).events["t"], EVENTS["t"]).all()
    out.unlink()
    with pytest.raises(DamageError):
        convert(str(path), str(out), strict=True)
    assert not list(tmp_path.glob("a.csv*"))


def test_what_stands_is_not_overwritten_unasked(tmp_path: Path) -> None:
    path = recording(tmp_path)
    out = tmp_path / "a.csv"
    out.write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        convert(str(path), str(out))
    assert out.read_text() == "mine"
    assert convert(str(path), str(out), overwrite=True).written == 20_000
    with pytest.raises(UsageError, match="folder does not exist"):
        convert(str(path), str(tmp_path / "no" / "a.csv"))
