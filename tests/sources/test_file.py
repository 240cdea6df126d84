from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.event_files import Whole, aedat2_bytes, bin_bytes, random_events, same

from streamstop.errors import DamageError, SourceError, UsageError
from streamstop.events.packet import SensorSize
from streamstop.formats.aedat.aedat4_writer import write_aedat4
from streamstop.sources.base import Source
from streamstop.sources.open import open_source

EVENTS = random_events(1000, start_us=50_000)
FIRST, LAST = int(EVENTS["t"][0]), int(EVENTS["t"][-1])
HEADER = "class,startTime_usec,endTime_usec\n"


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "rec.aedat"
    path.write_bytes(aedat2_bytes(EVENTS))
    return path


def labelled(path: Path, text: str, **options: int) -> Source:
    csv = path.with_name("labels.csv")
    csv.write_text(HEADER + text)
    return open_source(str(path), labels=str(csv), **options)  # type: ignore[arg-type]


def test_a_file_is_a_stream_in_its_own_time(recording: Path) -> None:
    with open_source(str(recording)) as source:
        whole = Whole(source)
    assert same(whole.events, EVENTS)
    assert (source.name, source.format) == (str(recording), "aedat2")
    assert source.sensor == SensorSize(128, 128)
    assert source.labels is None
    assert source.origin_us is None
    assert not source.live
    assert not source.simulated


@pytest.mark.parametrize("shift", [0, FIRST])
def test_labels_in_own_or_relative_time(recording: Path, shift: int) -> None:
    source = labelled(recording, f"b,{5000 + shift},{9000 + shift}\na,{shift},{4000 + shift}\n")
    track = source.labels
    assert track is not None
    assert track.classes == ("a", "b")
    assert [one[:3] for one in track] == [
        (FIRST, FIRST + 4000, 0),
        (FIRST + 5000, FIRST + 9000, 1),
    ]
    assert [one.recording_us for one in track] == [0, 5000]
    assert same(Whole(source).events, EVENTS)


def test_a_length_cuts_the_labelled_intervals(recording: Path) -> None:
    track = labelled(recording, "a,0,4500\nb,5000,9000\n", length_us=2000).labels
    assert track is not None
    assert [one.start_us - FIRST for one in track] == [0, 2000, 5000, 7000]
    assert {one.end_us - one.start_us for one in track} == {2000}
    with pytest.raises(UsageError, match="no segment is left"):
        labelled(recording, "a,0,4500\n", length_us=5000)


def test_a_limit_ends_the_stream_and_counts_the_rest(recording: Path) -> None:
    source = labelled(recording, "a,0,4500\nb,5000,9000\nc,10000,12000\n", limit=2)
    whole = Whole(source)
    assert source.labels is not None
    assert len(source.labels) == 2
    assert whole.events["t"][-1] < FIRST + 9000
    assert len(whole.events) + whole.dropped["segment_limit"] == 1000
    assert whole.packets[-1].until_us == FIRST + 9000


def test_labels_of_another_recording(recording: Path) -> None:
    with pytest.raises(UsageError, match=r"do not fit the recording.*labels\.csv"):
        labelled(recording, "a,0,4500\nb,5000000,9000000\n")


def test_an_interval_before_the_recording_is_named_by_its_line(recording: Path) -> None:
    text = f"a,{FIRST - 9000},{FIRST + 2000}\nb,{FIRST + 5000},{FIRST + 9000}\n"
    with pytest.raises(UsageError, match=r"line 2 \(a,.*1 of 2 intervals.*\?outside=drop"):
        labelled(recording, text)
    source = open_source(str(recording), labels=f"{recording.with_name('labels.csv')}?outside=drop")
    assert source.labels is not None
    assert [one[:2] for one in source.labels] == [(FIRST + 5000, FIRST + 9000)]
    assert source.notes[-1].startswith("1 labelled interval outside the recording left out")


def test_options_of_a_label_file(recording: Path) -> None:
    csv = recording.with_name("mine.txt")
    csv.write_text("0.001 0.004 me wave\n0.005 0.009 me clap\n")
    with pytest.raises(UsageError, match=r"no header.*--labels FILE\?columns=start,end,class"):
        open_source(str(recording), labels=str(csv))
    source = open_source(str(recording), labels=f"{csv}?columns=start,end,-,class&unit=s")
    assert source.labels is not None
    assert source.labels.classes == ("clap", "wave")
    assert [one.recording_us for one in source.labels] == [1000, 5000]
    with pytest.raises(UsageError, match=r"takes no option 'colums'.*mine\.txt"):
        open_source(str(recording), labels=f"{csv}?colums=start,end,-,class")


@pytest.mark.parametrize("packet_events", [7, 10_000])
def test_labels_that_count_events_hold_those_events(
    recording: Path, monkeypatch: pytest.MonkeyPatch, packet_events: int
) -> None:
    monkeypatch.setattr("streamstop.formats.fixed_records.MAX_PACKET_EVENTS", packet_events)
    csv = recording.with_name("labels.csv")
    csv.write_text("class,startTime_ev,endTime_ev\n0,0,250\n1,250,600\n0,700,1000\n")
    source = open_source(str(recording), labels=str(csv))
    assert source.labels is not None
    t = EVENTS["t"]
    expected = [(t[0], t[250]), (t[250], t[600]), (t[700], LAST + 1)]
    assert [one[:2] for one in source.labels] == expected
    csv.write_text("class,startTime_ev,endTime_ev\n0,0,1001\n")
    with pytest.raises(UsageError, match=r"line 2 .* of which the recording has 1000"):
        open_source(str(recording), labels=str(csv))
    recording.write_bytes(recording.read_bytes()[:-3])
    with pytest.raises(UsageError, match="part of the recording is lost"):
        open_source(str(recording), labels=str(csv))


def test_labels_beyond_a_cut_are_left_out_with_the_lost_part(recording: Path) -> None:
    whole = recording.read_bytes()
    recording.write_bytes(whole[: len(whole) // 2 + 3])
    half = int(EVENTS["t"][500])
    source = labelled(recording, f"a,{FIRST},{half - 2000}\nb,{half + 2000},{LAST}\n")
    assert source.labels is not None
    assert source.labels.classes == ("a",)
    assert source.notes[-1].endswith("the recording is damaged")


def test_the_files_sensor_is_not_overruled(tmp_path: Path) -> None:
    path = tmp_path / "rec.aedat4"
    write_aedat4(path, EVENTS, SensorSize(128, 128))
    assert open_source(str(path), sensor=SensorSize(128, 128)).sensor == (128, 128)
    with pytest.raises(UsageError, match=r"sensor is 128x128, not 346x260"):
        open_source(f"{path}?sensor=346x260")


def test_a_wrong_sensor_for_a_file_that_does_not_say(tmp_path: Path) -> None:
    path = tmp_path / "rec.bin"
    path.write_bytes(bin_bytes(EVENTS))
    assert open_source(f"{path}?sensor=200x180").sensor == (200, 180)
    with pytest.raises(UsageError, match=r"outside the sensor of 34x34.*columns go up to 127"):
        open_source(str(path), sensor=SensorSize(34, 34))


def test_strict_stops_at_the_damage_after_what_lies_before(recording: Path) -> None:
    recording.write_bytes(recording.read_bytes()[:-3])
    whole = Whole(open_source(str(recording)))
    assert same(whole.events, EVENTS[:-1])
    assert len(whole.damage) == 1
    with pytest.raises(DamageError, match=r"5 bytes lost.*rec\.aedat$"):
        Whole(open_source(str(recording), strict=True))


def test_a_file_that_goes_away_is_the_sources_error(recording: Path) -> None:
    source = open_source(str(recording))
    recording.unlink()
    with pytest.raises(SourceError, match="No such file"):
        Whole(source)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_no_permission(recording: Path) -> None:
    recording.chmod(0)
    with pytest.raises(SourceError, match="Permission denied"):
        open_source(str(recording))
