from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import Whole, random_events, same
from helpers.optional import faery

from streamstop.errors import SourceError, UsageError
from streamstop.events.packet import Events, make_events
from streamstop.formats.detect import open_recording
from streamstop.formats.prophesee.dat import DatRecording
from streamstop.formats.prophesee.evt import EvtRecording


def test_evt3_has_the_times_its_words_say(data_dir: Path) -> None:
    """By the format, a time is the 12 bits of the last TIME_HIGH, then the 12 of the last TIME_LOW.

    `evt3.npy` agrees in x, y and p; its times go ahead by 4096 us more at each turn of TIME_LOW.
    """
    content = (data_dir / "formats" / "evt3.raw").read_bytes()
    start = content.rindex(b"\n", 0, content.index(b"system_ID 48\n") + 13) + 1
    times, high, low = [], 0, 0
    for word in np.frombuffer(content[start:], "<u2").tolist():
        kind, value = word >> 12, word & 0xFFF
        if kind == 0x8:
            high = value
        elif kind == 0x6:
            low = value
        elif kind == 0x2:
            times.append(high << 12 | low)
    truth = np.load(data_dir / "formats" / "evt3.npy")
    expected = make_events(times, truth["x"], truth["y"], truth["p"])
    ours = Whole(EvtRecording(str(data_dir / "formats" / "evt3.raw")).packets()).events
    assert same(ours, expected)
    ahead = truth["t"] - ours["t"]
    assert set(np.unique(np.diff(ahead)).tolist()) == {0, 4096}


def test_evt2_agrees_with_its_words(data_dir: Path) -> None:
    content = (data_dir / "formats" / "evt2.raw").read_bytes()
    start = content.index(b"% evt 2.0\n") + len(b"% evt 2.0\n")
    words = np.frombuffer(content[start:], "<u4").astype(np.int64)
    kind = words >> 28
    last_high = np.maximum.accumulate(np.where(kind == 8, np.arange(len(words)), 0))
    t = (words[last_high] & 0xFFFFFFF) << 6 | words >> 22 & 0x3F
    on = kind <= 1
    expected = make_events(t, words >> 11 & 0x7FF, words & 0x7FF, kind == 1)[on]
    ours = Whole(EvtRecording(str(data_dir / "formats" / "evt2.raw")).packets()).events
    assert same(ours, expected)


def test_dat_agrees_with_its_words(data_dir: Path) -> None:
    content = (data_dir / "formats" / "ncars.dat").read_bytes()
    start = content.rindex(b"\n", 0, 100) + 1 + 2
    t, data = np.frombuffer(content[start:], "<u4").reshape(-1, 2).T.astype(np.int64)
    expected = make_events(t, data & 0x3FFF, data >> 14 & 0x3FFF, data >> 28)
    assert same(
        Whole(DatRecording(str(data_dir / "formats" / "ncars.dat")).packets()).events, expected
    )


def test_dat_as_faery_writes_it(tmp_path: Path) -> None:
    events = np.zeros(1000, faery.EVENTS_DTYPE)
    events["t"] = np.arange(1000) * 7
    events["x"], events["y"], events["on"] = np.arange(1000) % 304, np.arange(1000) % 240, True
    faery.events_stream_from_array(events, (304, 240)).to_file(tmp_path / "rec.dat")
    recording = DatRecording(str(tmp_path / "rec.dat"))
    read = Whole(recording.packets()).events
    assert recording.sensor == (304, 240)
    assert np.array_equal(read["x"], events["x"])
    assert np.array_equal(read["t"], events["t"])


def test_dat_of_triggers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rec.dat").write_bytes(b"% Version 2\n\x0e\x08" + bytes(16))
    with pytest.raises(SourceError, match="0x0e"):
        DatRecording(str(tmp_path / "rec.dat"))


def atis_dat(events: Events, header: bytes) -> bytes:
    """Version 1: x in 9 bits, y in 8, polarity in one."""
    words = np.empty((len(events), 2), "<u4")
    words[:, 0] = events["t"]
    words[:, 1] = events["x"] | events["y"].astype("<u4") << 9 | events["p"].astype("<u4") << 17
    return header + b"\x00\x08" + words.tobytes()


HEAD = b"% Data file containing CD events.\n"


@pytest.mark.parametrize("line", [b"", b"% Version 1\n", b"% Version 0\n"])
def test_version_1_has_the_layout_of_the_atis(tmp_path: Path, line: bytes) -> None:
    events = random_events(3000, width=304, height=240)
    (tmp_path / "rec.dat").write_bytes(atis_dat(events, HEAD + line))
    recording = DatRecording(str(tmp_path / "rec.dat"))
    assert (recording.sensor, recording.sensor_inferred) == ((304, 240), True)
    assert ["read as version 1" in one for one in recording.notes] == [True] * (not line)
    packets = list(recording.packets())
    assert same(Whole(packets).events, events)


def test_without_a_version_line_version_2_is_told_too(tmp_path: Path) -> None:
    content = dat([k * 7 for k in range(2000)])
    (tmp_path / "rec.dat").write_bytes(content.replace(b"% Version 2\n", HEAD))
    recording = DatRecording(str(tmp_path / "rec.dat"))
    assert "read as version 2" in recording.notes[0]
    (tmp_path / "with.dat").write_bytes(content)
    with_line = DatRecording(str(tmp_path / "with.dat"))
    assert not with_line.notes
    assert same(Whole(recording.packets()).events, Whole(with_line.packets()).events)


def test_events_of_either_version_need_the_option(tmp_path: Path) -> None:
    """Rows below 16 and OFF alone: x and y differ by version, and both are on a sensor."""
    words = np.array([(k, (k % 100) | (k % 3) << 14) for k in range(100)], "<u4")
    path = tmp_path / "rec.dat"
    path.write_bytes(HEAD + b"\x00\x08" + words.tobytes())
    with pytest.raises(SourceError, match=r"\?version=1 or \?version=2"):
        DatRecording(str(path))
    first = Whole(open_recording(str(path), {"version": "1"}).packets()).events
    second = Whole(open_recording(str(path), {"version": "2"}).packets()).events
    assert first["y"].tolist() == [(k % 3) << 5 for k in range(100)]
    assert second["y"].tolist() == [k % 3 for k in range(100)]
    with pytest.raises(UsageError, match="versions 1 and 2"):
        DatRecording(str(path), version="3")


def test_a_version_line_that_the_events_contradict_is_refused(tmp_path: Path) -> None:
    events = random_events(3000, width=304, height=240)
    path = tmp_path / "rec.dat"
    path.write_bytes(atis_dat(events, HEAD + b"% Version 2\n"))
    with pytest.raises(SourceError, match="says version 2, but"):
        DatRecording(str(path))
    assert same(Whole(DatRecording(str(path), version="1").packets()).events, events)


def test_an_atis_file_is_the_same_in_both_versions(data_dir: Path) -> None:
    folder = data_dir / "field" / "07-atis-dat-v1"
    if not folder.is_dir():
        pytest.skip(f"no files of the ATIS here: {folder}")
    one, two = (
        Whole(DatRecording(str(folder / f"version{k}_td.dat")).packets()).events for k in (1, 2)
    )
    assert len(one) == 5000
    assert same(one, two)


def dat(times: list[int]) -> bytes:
    words = [word for k, t in enumerate(times) for word in (t % (1 << 32), k | 7 << 14 | 1 << 28)]
    return b"% Version 2\n\x0c\x08" + np.array(words, "<u4").tobytes()


def test_dat_wraps_twice_and_steps_back(tmp_path: Path) -> None:
    """Also before zero, and with a packet's end anywhere."""
    times = [5, -7, 5] + [k << 30 for k in range(1, 11)] + [(10 << 30) - 3]
    (tmp_path / "rec.dat").write_bytes(dat(times))
    recording = DatRecording(str(tmp_path / "rec.dat"))
    whole = Whole(recording.packets())
    assert whole.events["t"].tolist() == times
    assert whole.events["x"].tolist() == list(range(len(times)))
    assert set(whole.events["y"].tolist()) == {7}
    assert whole.events["p"].all()


def test_dat_goes_on_from_any_packet_and_tells_a_cut(tmp_path: Path) -> None:
    times = [k * 50_000 for k in range(150_000)]
    (tmp_path / "rec.dat.gz").write_bytes(gzip.compress(dat(times) + bytes(5), 1))
    recording = DatRecording(str(tmp_path / "rec.dat.gz"))
    whole = Whole(recording.packets())
    assert whole.events["t"].tolist() == times
    assert [one.lost_bytes for one in whole.damage] == [5]
    assert len(whole.packets[-1].events) == 0
    for packet in whole.packets:
        rest = Whole(recording.packets(packet.cursor))
        assert same(rest.events, whole.events[packet.cursor.event :])
