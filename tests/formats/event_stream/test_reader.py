"""Event Stream files made byte by byte, and by faery."""

from __future__ import annotations

import lzma
import random
import struct
from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import Whole, random_events, same
from helpers.optional import faery

from streamstop.errors import SourceError
from streamstop.events.packet import make_events
from streamstop.formats.detect import open_recording
from streamstop.formats.event_stream.reader import EventStreamRecording

DVS, ATIS = 1, 2


def head(kind: int = DVS, width: int = 54, height: int = 239, version: bytes = b"\2\0\0") -> bytes:
    return b"Event Stream" + version + bytes([kind]) + struct.pack("<HH", width, height)


def event(first: int, x: int, y: int) -> bytes:
    return struct.pack("<BHH", first, x, y)


def read(path: Path, content: bytes) -> Whole:
    path.write_bytes(content)
    return Whole(EventStreamRecording(str(path)).packets())


def write_by_faery(path: Path, n: int = 150_000) -> np.ndarray:
    events = random_events(n, width=640, height=480)
    events["t"][n // 2 :] += 300_000
    array = np.zeros(n, faery.EVENTS_DTYPE)
    for ours, theirs in (("t", "t"), ("x", "x"), ("y", "y"), ("p", "on")):
        array[theirs] = events[ours]
    faery.events_stream_from_array(array, (640, 480)).to_file(path, zero_t0=False)
    return events


def test_a_real_file_is_read_as_faery_reads_it(data_dir: Path) -> None:
    path = data_dir / "formats" / "ncars.es"
    theirs = np.concatenate(list(faery.events_stream_from_file(path)))
    recording = open_recording(str(path))
    assert (recording.format, recording.sensor) == ("es", (54, 239))
    expected = make_events(theirs["t"], theirs["x"], theirs["y"], theirs["on"])
    assert same(Whole(recording.packets()).events, expected)


@pytest.mark.parametrize("packed", [False, True])
def test_what_faery_writes(tmp_path: Path, packed: bool) -> None:
    events = write_by_faery(tmp_path / "a.es")
    path = tmp_path / "a.es"
    if packed:
        path = tmp_path / "a.es.xz"
        path.write_bytes(lzma.compress((tmp_path / "a.es").read_bytes(), preset=0))
    recording = open_recording(str(path))
    whole = Whole(recording.packets())
    assert same(whole.events, events)
    assert not whole.damage
    assert recording.sensor == (640, 480)
    for packet in whole.packets:
        rest = Whole(recording.packets(packet.cursor)).events
        assert same(rest, events[packet.cursor.event :])


def test_dvs_bytes(tmp_path: Path) -> None:
    """Time since the event before in 7 bits, ones and polarity 1: 127 us more, 0: a reset."""
    content = head() + event(3 << 1 | 1, 5, 0) + b"\xff\xff\xfe\xfe\xfe" + event(126 << 1, 53, 238)
    whole = read(tmp_path / "a.es", content)
    assert whole.events.tolist() == [(3, 5, 238, True), (3 + 2 * 127 + 126, 53, 0, False)]


def test_atis_bytes(tmp_path: Path) -> None:
    """Time in 6 bits; 63 with 1 to 3 below: so many times 63 us; exposures are no events."""
    content = head(ATIS) + event(3 << 2 | 2, 5, 0) + b"\xfe\xfd\xfc"
    content += event(4 << 2 | 1, 6, 6) + event(62 << 2, 53, 238) + event(0 << 2 | 3, 6, 6)
    whole = read(tmp_path / "a.es", content)
    assert whole.events.tolist() == [(3, 5, 238, True), (3 + 3 * 63 + 4 + 62, 53, 0, False)]
    assert whole.dropped == {"exposure": 2}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (head(0), "generic"),
        (head(4), "colour"),
        (head(9), "kind 9"),
        (head(version=b"\1\0\0"), r"version 1\.0\.0"),
        (head(width=0), "0x239"),
        (head()[:18], "ends inside"),
        (head()[:13], "ends inside"),
    ],
)
def test_what_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "a.es").write_bytes(content)
    with pytest.raises(SourceError, match=says):
        EventStreamRecording(str(tmp_path / "a.es"))


def test_a_coordinate_that_cannot_be_costs_its_event(tmp_path: Path) -> None:
    content = head() + b"".join(event(2 << 1, 5 if k != 4 else 54, k) for k in range(30))
    whole = read(tmp_path / "a.es", content)
    assert whole.events["t"].tolist() == [2 * (k + 1) for k in range(30) if k != 4]
    assert [(one.offset, one.lost_bytes) for one in whole.damage] == [(20 + 4 * 5, 5)]
    assert [len(packet.events) for packet in whole.packets] == [4, 25]


@pytest.mark.parametrize("junk", [1, 3, 4, 5000])
def test_lost_and_added_bytes_are_passed_over(tmp_path: Path, junk: int) -> None:
    events = write_by_faery(tmp_path / "a.es", 20_000)
    content = (tmp_path / "a.es").read_bytes()
    middle = len(content) // 2
    added = random.Random(junk).randbytes(junk)
    whole = read(tmp_path / "a.es", content[:middle] + added + content[middle:])
    assert 19_980 < len(whole.events) <= 20_002 + junk // 500
    assert same(whole.events[:9_000], events[:9_000])
    assert np.array_equal(whole.events["x"][-9_000:], events["x"][-9_000:])
    assert sum(one.lost_bytes for one in whole.damage) >= junk - 1


def test_a_file_that_ends_inside_an_event(tmp_path: Path) -> None:
    whole = read(tmp_path / "a.es", head() + event(2, 5, 6) + b"\xff" + event(2, 5, 6)[:4])
    assert len(whole.events) == 1
    assert [(one.offset, one.lost_bytes) for one in whole.damage] == [(26, 4)]
