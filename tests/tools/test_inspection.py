"""The description of a recording: counts, times, rates, pixels, damage."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.event_files import aedat2_bytes, bin_bytes, davis_bytes, random_events
from PIL import Image

from streamstop.errors import DamageError, SourceError, StreamstopError, UsageError
from streamstop.events.bin_stream import BinStream
from streamstop.events.binning import Binner
from streamstop.events.packet import Events, SensorSize, make_events
from streamstop.formats.aedat.aedat4_writer import write_aedat4
from streamstop.report.charts.events import (
    LEAST_EVENTS,
    OFF_COLOUR,
    ON_COLOUR,
    middle,
    write_picture,
)
from streamstop.sources.open import open_source
from streamstop.tools.event_statistics import (
    MAX_SERIES,
)
from streamstop.tools.inspection import LabelsInfo, RecordingInfo, inspect


def npy(tmp_path: Path, events: Events, name: str = "rec.npy") -> str:
    np.save(tmp_path / name, events)
    return str(tmp_path / name)


def at_times(*t: int) -> Events:
    n = len(t)
    return make_events(t, range(n), [0] * n, [True] * n)


def test_counts_shares_and_times(tmp_path: Path) -> None:
    events = random_events(200_000, seed=3)
    path = tmp_path / "rec.aedat"
    path.write_bytes(aedat2_bytes(events, "# AEChip: DVS128\r\n"))
    found = inspect(str(path))
    assert (found.format, found.format_name, found.compression) == ("aedat2", "AEDAT 2.0", "")
    assert (found.sensor, found.sensor_from) == (SensorSize(128, 128), "header")
    assert found.events == 200_000
    assert found.on_share == np.count_nonzero(events["p"]) / 200_000
    assert (found.t_start_us, found.t_end_us) == (events["t"][0], events["t"][-1])
    assert found.duration_us == events["t"][-1] - events["t"][0]
    assert found.mean_hz == pytest.approx(200_000 / (found.duration_us / 1e6))
    assert found.active_pixels == len(np.unique(events["y"].astype(int) * 128 + events["x"]))
    assert found.pixels[1].sum() == np.count_nonzero(events["p"])
    assert found.file_bytes == path.stat().st_size
    assert (found.time_reversals, found.wraps, found.gaps_total, found.outside) == (0, 0, 0, 0)
    assert found.damage == () and found.labels is None and found.recordings == 1
    assert sum(found.series) == 200_000 and len(found.series) <= MAX_SERIES


def test_json_is_plain_and_has_what_is_promised(tmp_path: Path) -> None:
    answer = inspect(npy(tmp_path, random_events(500, width=30, height=30))).as_json()
    again = json.loads(json.dumps(answer, allow_nan=False))
    assert again == answer
    assert answer["sensor"] == [34, 34] and answer["sensor_from"] == "inferred"
    for key in ("format", "events", "t_start_us", "t_end_us", "on_share", "damage"):
        assert key in answer
    assert answer["time_reversals"] == 0


def test_it_does_not_depend_on_how_the_file_is_cut(tmp_path: Path) -> None:
    events = random_events(3000, seed=4)
    events["t"][1000:1010] -= 500
    events["t"][2000:] += 3_000_000
    found = []
    for n in (7, 1000, 3000):
        path = tmp_path / f"{n}.aedat4"
        write_aedat4(path, events, SensorSize(128, 128), packet_events=n)
        answer = inspect(str(path)).as_json()
        found.append({k: v for k, v in answer.items() if k not in ("path", "file_bytes")})
    assert found[0] == found[1] == found[2]
    assert found[0]["time_reversals"] > 0 and found[0]["gaps"]["total"] == 1


def test_the_fullest_window_counts_from_the_first_event(tmp_path: Path) -> None:
    t = [1000, 10_999, 11_000, 11_001, 15_000, 20_999, 21_000, 2_001_000]
    found = inspect(npy(tmp_path, at_times(*t)))
    assert found.peak_10ms_hz == 400
    assert found.peak_1s_hz == 7
    assert inspect(npy(tmp_path, at_times(0, 999_999))).peak_1s_hz is None


def test_steps_back_gaps_and_duplicates(tmp_path: Path) -> None:
    events = at_times(10, 20, 15, 30, 30, 5_000_030, 5_000_029, 7_000_030)
    events["x"][4] = events["x"][3]
    found = inspect(npy(tmp_path, events))
    assert (found.time_reversals, found.largest_step_back_us) == (2, 5)
    assert found.gaps_total == 2
    assert found.gaps[0] == (30, 5_000_000)
    assert found.duplicates == 1
    assert (found.t_start_us, found.t_end_us) == (10, 7_000_030)


def test_times_at_the_ends_of_their_range_do_no_harm(tmp_path: Path) -> None:
    top = (1 << 63) - 1
    found = inspect(npy(tmp_path, at_times(0, top, -top - 1, 5)))
    assert (found.t_start_us, found.t_end_us) == (-top - 1, top)
    assert found.time_reversals == 1 and found.events == sum(found.series) == 4
    json.dumps(found.as_json(), allow_nan=False)


@pytest.mark.parametrize(("bits", "name"), [(23, "rec.bin"), (32, "rec.aedat")])
def test_wraps_are_counted(tmp_path: Path, bits: int, name: str) -> None:
    events = make_events(np.arange(12) * (1 << bits) // 4 + 100, *np.ones((2, 12)), [True] * 12)
    path = tmp_path / name
    path.write_bytes(bin_bytes(events) if bits == 23 else aedat2_bytes(events))
    found = inspect(str(path))
    assert found.wraps == 2
    assert found.duration_us == events["t"][-1] - 100


def test_events_outside_are_counted_and_take_no_memory(tmp_path: Path) -> None:
    events = random_events(5000, width=34, height=34)
    events["x"][:2], events["y"][1:3] = 65535, 40_000
    found = inspect(npy(tmp_path, events), sensor=SensorSize(34, 34))
    assert (found.outside, found.sensor_from) == (3, "asked")
    assert found.pixels.sum() == 4997
    assert found.pixels.shape == (2, 34, 34)


FAR = 32
"""What some converters multiply coordinates by, for fractions of a pixel."""


def spread(n: int, width: int, height: int, times: int = 1) -> Events:
    events = random_events(n, width=width, height=height)
    events["x"] *= times
    events["y"] *= times
    return events


@pytest.mark.parametrize(
    ("events", "query"),
    [
        (spread(5000, 30, 30), ""),
        (spread(5000, 320, 320), ""),
        (spread(5000, 1280, 900), ""),
        (spread(5000, 346, 260, FAR), "?sensor=20000x20000"),
        (spread(5000, 3000, 3000), "?sensor=3000x2990"),
        (np.concatenate([spread(5000, 30, 30), spread(2, 60_000, 60_000)]), ""),
        (spread(5000, 346, 260), "?start_us=+50000"),
    ],
)
def test_what_is_outside_is_what_a_run_rejects(tmp_path: Path, events: Events, query: str) -> None:
    """One answer for both: `outside` here, out_of_range in the ledger there."""
    uri = npy(tmp_path, np.sort(events, order="t")) + query
    found = inspect(uri)
    source = open_source(uri)
    bins = BinStream(source, Binner(source.sensor, bin_us=10_000, height=8, width=8))
    for _ in bins:
        pass
    assert found.refusal == ""
    assert found.sensor == source.sensor
    assert found.outside == bins.ledger.as_dict()["rejected"].get("out_of_range", 0)
    assert found.events == bins.ledger.received


@pytest.mark.parametrize(
    ("events", "query", "why"),
    [
        (spread(5000, 346, 260, FAR), "", r"reach 11041 x 8289.*all .* are multiples of 32"),
        (spread(5000, 346, 260, 7), "?sensor=346x260", "lie outside the sensor of 346x260"),
        (
            spread(20_000, 3000, 3000),
            "",
            r"reach 3000 x 3000, beyond any event camera known here; g",
        ),
    ],
)
def test_what_a_run_refuses_is_said(tmp_path: Path, events: Events, query: str, why: str) -> None:
    uri = npy(tmp_path, events) + query
    found = inspect(uri)
    with pytest.raises(StreamstopError, match=why) as refused:
        open_source(uri)
    assert str(refused.value).startswith(found.refusal)
    assert found.as_json()["refusal"] == found.refusal != ""
    if not query:
        assert found.sensor is None
        with pytest.raises(UsageError, match=why):
            write_picture(tmp_path / "x.png", found)


def test_where_the_sensor_is_from(tmp_path: Path) -> None:
    events = random_events(3000, width=346, height=260)
    path = tmp_path / "rec.aedat"
    path.write_bytes(davis_bytes(events))
    found = inspect(str(path))
    assert (found.sensor, found.sensor_from) == (SensorSize(346, 260), "reader")
    assert "no AEChip line" in found.notes[0] and found.as_json()["notes"] == list(found.notes)
    assert inspect(f"{path}?sensor=346x260").sensor_from == "asked"
    assert inspect(f"{path}?chip=DAVIS346").sensor_from == "asked"
    path.write_bytes(davis_bytes(events, "# AEChip: Davis346B\r\n"))
    found = inspect(str(path))
    assert (found.sensor_from, found.notes) == ("header", ())


def test_damage_is_listed_and_strict_refuses_it(tmp_path: Path) -> None:
    path = tmp_path / "rec.bin"
    path.write_bytes(bin_bytes(random_events(100)) + b"abc")
    found = inspect(str(path))
    assert found.damage_total == 1 and found.lost_bytes == 3
    (one,) = found.as_json()["damage"]
    assert (one["offset"], one["lost_bytes"]) == (500, 3) and one["reason"]
    with pytest.raises(DamageError, match="byte 500"):
        inspect(str(path), strict=True)


def test_nothing_but_damage_and_no_event_at_all(tmp_path: Path) -> None:
    broken = tmp_path / "rec.bin"
    broken.write_bytes(b"abc")
    for found in (inspect(str(broken)), inspect(npy(tmp_path, random_events(0)))):
        assert found.events == 0 and found.sensor is None and found.on_share is None
        assert (found.t_start_us, found.duration_us, found.mean_hz) == (None, 0, None)
        assert found.as_json()["active_pixel_share"] is None
        with pytest.raises(UsageError, match="no event"):
            write_picture(tmp_path / "x.png", found)
    assert inspect(str(broken)).damage_total == 1
    (tmp_path / "empty.bin").touch()
    with pytest.raises(SourceError, match="empty"):
        inspect(str(tmp_path / "empty.bin"))


def test_labels_beside_it(tmp_path: Path) -> None:
    path = npy(tmp_path, random_events(100))
    csv = tmp_path / "rec_labels.csv"
    csv.write_text("class,startTime_usec,endTime_usec\n9,0,10\n10,20,30\n9,40,50\n")
    assert inspect(path).labels == LabelsInfo(str(csv), 3, ("9", "10"))
    csv.write_text("class,startTime_usec,endTime_usec\n9,0,ten\n")
    labels = inspect(path).labels
    assert labels is not None and "line 2" in labels.error


def test_a_folder_of_labelled_recordings(tmp_path: Path) -> None:
    for name, n in (("mug", 300), ("pen", 200)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.aedat").write_bytes(aedat2_bytes(random_events(n)))
    found = inspect(str(tmp_path))
    assert (found.recordings, found.events, found.format) == (2, 500, "aedat2")
    assert found.labels is not None and found.labels.classes == ("mug", "pen")
    assert found.sensor == SensorSize(128, 128)


def test_what_is_no_recording_and_a_sensor_that_contradicts(tmp_path: Path) -> None:
    for uri in ("davis346", "udp://127.0.0.1:3333?sensor=34x34"):
        with pytest.raises(UsageError, match="live"):
            inspect(uri)
    path = tmp_path / "rec.aedat"
    path.write_bytes(aedat2_bytes(random_events(10)))
    with pytest.raises(UsageError, match="128x128"):
        inspect(str(path), sensor=SensorSize(34, 34))


def test_progress_comes_to_the_end(tmp_path: Path) -> None:
    seen: list[tuple[float | None, int]] = []
    path = tmp_path / "rec.aedat"
    path.write_bytes(aedat2_bytes(random_events(150_000)))
    inspect(str(path), progress=lambda share, events: seen.append((share, events)))
    assert seen[-1] == (1.0, 150_000)
    assert [events for _, events in seen] == sorted(events for _, events in seen)


def test_it_needs_no_torch(tmp_path: Path) -> None:
    path = npy(tmp_path, random_events(100))
    code = (
        "import sys; from streamstop.tools.inspection import inspect; inspect(sys.argv[1]); "
        "import streamstop.cli.display.inspect, streamstop.report.charts.events; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == 0


def colours(path: Path) -> set[Any]:
    with Image.open(path) as picture:
        return {colour for _, colour in picture.convert("RGB").getcolors(1 << 20) or ()}


def test_a_picture_shows_both_polarities_and_is_not_darkened_by_a_hot_pixel(tmp_path: Path) -> None:
    x, y = np.divmod(np.arange(1024), 32)
    events = make_events(np.arange(1024), x, y, x < 16)
    hot = make_events([2000] * 9000, [5] * 9000, [5] * 9000, [True] * 9000)
    for name, one in (("plain", events), ("hot", np.concatenate([events, hot]))):
        found = inspect(npy(tmp_path, one), sensor=SensorSize(34, 34))
        picture = tmp_path / f"{name}.png"
        # Everything, so that the slice is not the hot pixel's alone.
        shown = write_picture(picture, found)
        assert shown.events <= found.events
        assert not list(tmp_path.glob("*.partial"))
    assert {ON_COLOUR, OFF_COLOUR} <= colours(tmp_path / "plain.png")


def test_a_long_recording_is_shown_by_its_middle(tmp_path: Path) -> None:
    events = random_events(50_000, width=34, height=34, seed=5)
    found = inspect(npy(tmp_path, events))
    shown = middle(found)
    first = (50_000 - LEAST_EVENTS) // 2
    part = events[first : first + LEAST_EVENTS]
    assert not shown.whole and shown.events == LEAST_EVENTS
    assert shown.pixels.shape == (2, 34, 34) and shown.pixels.sum() == LEAST_EVENTS
    assert (shown.first_us, shown.length_us) == (part["t"][0], part["t"][-1] - part["t"][0])
    assert middle(inspect(npy(tmp_path, events[:500]))).whole


@pytest.mark.parametrize(
    ("name", "events", "sensor"),
    [("davis346.aedat4", 117_667, (346, 260)), ("nmnist.bin", 4325, (34, 34))],
)
def test_real_recordings(
    data_dir: Path, tmp_path: Path, name: str, events: int, sensor: tuple[int, int]
) -> None:
    found: RecordingInfo = inspect(str(data_dir / "formats" / name))
    assert (found.events, found.sensor) == (events, sensor)
    assert found.time_reversals == 0 and not found.damage
    write_picture(tmp_path / "x.png", found)
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.width >= 680 and picture.height > picture.width // 2
