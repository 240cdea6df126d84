"""Recording a live run: events and marks come back in order, whatever ends the recording."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import FIELDS, Whole, random_events, same
from helpers.optional import dv_processing, faery

from streamstop.events.binning import Binner
from streamstop.events.packet import SensorSize
from streamstop.formats.aedat.aedat4 import Aedat4Recording
from streamstop.formats.base import read_packets
from streamstop.sources.live.recorder import PACKET_EVENTS, StreamRecorder

SENSOR = SensorSize(128, 128)
EVENTS = random_events(50_000)
CUTS = [10, 400, 20_000, 40_000]


def recorded(path: Path, close: bool = True) -> StreamRecorder:
    """Events in five parts, two marks after each."""
    recorder = StreamRecorder(path, SENSOR, info={"camera": "a <test>"})
    for part in np.split(EVENTS, CUTS):
        recorder.write(part)
        recorder.mark(int(part["t"][-1]) + 1)
        recorder.mark(int(part["t"][-1]) + 2)
    if close:
        recorder.close()
    return recorder


def test_events_and_marks_come_back_in_order(tmp_path: Path) -> None:
    recorder = recorded(tmp_path / "a.aedat4")
    assert (recorder.events, recorder.not_recorded, recorder.full) == (50_000, 0, "")
    recording = Aedat4Recording(str(tmp_path / "a.aedat4"))
    assert recording.sensor == SENSOR
    assert not recording.simulated
    whole = Whole(read_packets(recording))
    assert same(whole.events, EVENTS)
    assert not whole.damage
    passed, marks = 0, []
    for packet in whole.packets:
        passed += len(packet.events)
        if packet.until_us is not None:
            marks.append((passed, packet.until_us))
    ends = [*CUTS, 50_000]
    assert marks == [(n, int(EVENTS["t"][n - 1]) + k) for n in ends for k in (1, 2)]


def test_other_readers_find_the_events(tmp_path: Path) -> None:
    path = str(tmp_path / "a.aedat4")
    recorded(Path(path))
    read = faery.events_stream_from_file(path).to_array()
    assert np.array_equal(read["t"], EVENTS["t"].astype(np.uint64))
    assert np.array_equal(read["on"], EVENTS["p"])
    reader = dv_processing.io.MonoCameraRecording(path)
    parts = []
    while (batch := reader.getNextEventBatch()) is not None:
        parts.append(batch.numpy())
    theirs = np.concatenate(parts)
    for ours, name in zip(FIELDS, ("timestamp", "x", "y", "polarity"), strict=True):
        assert np.array_equal(theirs[name].astype(np.int64), EVENTS[ours].astype(np.int64)), name


def test_what_the_run_did_not_take_is_kept_beside_it(tmp_path: Path) -> None:
    path = str(tmp_path / "a.aedat4")
    recorder = StreamRecorder(path, SENSOR)
    parts = np.split(EVENTS, CUTS)
    for i, part in enumerate(parts):
        recorder.write(part, taken=i % 2 == 0)
    recorder.mark(int(EVENTS["t"][-1]) + 1)
    recorder.close()
    dropped = len(parts[1]) + len(parts[3])
    assert (recorder.events, recorder.not_taken, recorder.not_recorded) == (50_000, dropped, 0)
    plain = Whole(read_packets(Aedat4Recording(path)))
    assert same(plain.events, np.concatenate(parts[::2]))
    assert plain.dropped == {"other_stream": dropped} and not plain.damage
    other = Whole(read_packets(Aedat4Recording(path, stream="2")))
    assert same(other.events, np.concatenate(parts[1::2]))
    everything = Whole(read_packets(Aedat4Recording(path, stream="all")))
    assert same(everything.events, EVENTS)
    assert not everything.dropped
    assert not any(packet.until_us for packet in everything.packets)


def test_bins_are_those_of_the_live_run(tmp_path: Path) -> None:
    """The marks of the clock decide which events are late: a replay without it would differ."""
    recorder = StreamRecorder(tmp_path / "a.aedat4", SENSOR)
    live, plain = (Binner(SENSOR, bin_us=1_000, height=8, width=8) for _ in range(2))
    bins, without = [], []
    for i, part in enumerate(np.split(EVENTS[:5_000], 10)):
        recorder.write(part)
        bins += list(live.push(part))
        without += list(plain.push(part))
        if i % 3 == 0:  # ahead of the events that come next: they will be late
            until_us = int(part["t"][-1]) + 5_000
            recorder.mark(until_us)
            bins += list(live.advance(until_us))
    recorder.close()
    again = Binner(SENSOR, bin_us=1_000, height=8, width=8)
    replayed = []
    for packet in Aedat4Recording(str(tmp_path / "a.aedat4")).packets():
        replayed += list(again.push(packet.events))
        if packet.until_us is not None:
            replayed += list(again.advance(packet.until_us))
    assert live.rejected == again.rejected != plain.rejected
    assert live.rejected["late"] > 0
    assert [b.events for b in bins] == [b.events for b in replayed] != [b.events for b in without]
    assert all(np.array_equal(a.counts, b.counts) for a, b in zip(bins, replayed, strict=True))


def test_a_process_that_dies_leaves_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat4"
    recorder = recorded(path, close=False)
    recorder.write(random_events(10, start_us=10**9))  # waits for its packet
    content = path.read_bytes()
    (tmp_path / "b.aedat4").write_bytes(content)
    whole = Whole(Aedat4Recording(str(tmp_path / "b.aedat4")).packets())
    assert same(whole.events, EVENTS)
    assert not whole.damage
    (tmp_path / "c.aedat4").write_bytes(content[:-3])
    whole = Whole(Aedat4Recording(str(tmp_path / "c.aedat4")).packets())
    assert same(whole.events, EVENTS)  # the last packet is a mark
    assert len(whole.damage) == 1
    recorder.close()


def test_it_ends_at_the_bytes_allowed_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat4"
    recorder = StreamRecorder(path, SENSOR, max_bytes=100_000)
    for part in np.split(EVENTS, 10):
        recorder.write(part)
    recorder.mark(10**9)
    recorder.close()
    assert "100000 bytes allowed" in recorder.full
    assert recorder.events + recorder.not_recorded == 50_000
    assert recorder.events % PACKET_EVENTS == 0 < recorder.events < 50_000
    assert same(Whole(Aedat4Recording(str(path)).packets()).events, EVENTS[: recorder.events])


def test_a_full_disk_ends_the_recording_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.aedat4"
    recorder = StreamRecorder(path, SENSOR)
    recorder.write(EVENTS[:PACKET_EVENTS])

    class Full:
        """The file, on a disk with room for five bytes more."""

        def __init__(self, file: object) -> None:
            self._file = file

        def write(self, content: bytes) -> int:
            return int(self._file.write(content[:5]))  # type: ignore[attr-defined]

        def __getattr__(self, name: str) -> object:
            return getattr(self._file, name)

    own = recorder._file
    monkeypatch.setattr(recorder, "_file", Full(own))
    recorder.write(EVENTS[PACKET_EVENTS:])
    monkeypatch.setattr(recorder, "_file", own)
    recorder.close()
    assert recorder.full == "the disk is full"
    assert (recorder.events, recorder.not_recorded) == (PACKET_EVENTS, 50_000 - PACKET_EVENTS)
    whole = Whole(Aedat4Recording(str(path)).packets())
    assert same(whole.events, EVENTS[:PACKET_EVENTS])
    assert not whole.damage


def test_a_long_recording_has_no_table_and_needs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamstop.sources.live.recorder.MAX_LINES", 5)
    path = tmp_path / "a.aedat4"
    recorded(path)
    (table_offset,) = struct.unpack_from("<q", path.read_bytes(), 14 + 32)
    assert table_offset == -1
    whole = Whole(Aedat4Recording(str(path)).packets())
    assert same(whole.events, EVENTS)
    assert whole.damage == []
    assert len(faery.events_stream_from_file(path).to_array()) == len(EVENTS)
