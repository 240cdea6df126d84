from __future__ import annotations

import gc
import struct
import time
import weakref
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from helpers.event_files import FIELDS, Whole, random_events, same
from helpers.optional import faery
from hypothesis import given, settings
from hypothesis import strategies as st

from streamstop.errors import SourceError, UsageError
from streamstop.events.packet import EVENT_DTYPE, MAX_PACKET_EVENTS, SensorSize, make_events
from streamstop.formats.aedat.aedat4 import Aedat4Recording, Unpacker
from streamstop.formats.aedat.aedat4_writer import write_aedat4

SENSOR = SensorSize(128, 128)
COMPRESSIONS = ("none", "lz4", "zstd")


def by_faery(path: Path) -> np.ndarray:
    blocks = list(faery.events_stream_from_file(path))
    events = np.concatenate(blocks)
    return make_events(events["t"], events["x"], events["y"], events["on"])


@pytest.mark.parametrize(
    "name",
    ["formats/davis346.aedat4", "formats/davis346-short.aedat4", "formats/dvxplorer.aedat4"]
    + [f"hand-wave/2024_06_20_{clock}.aedat4" for clock in ("15_59_41", "15_59_52", "16_00_03")],
)
def test_agrees_with_faery_on_real_recordings(data_dir: Path, name: str) -> None:
    whole = Whole(Aedat4Recording(str(data_dir / name)).packets())
    assert same(whole.events, by_faery(data_dir / name))
    assert whole.damage == []


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_what_is_written_is_read_back_by_us_and_by_faery(tmp_path: Path, compression: str) -> None:
    events, path = random_events(5000), tmp_path / "rec.aedat4"
    written = write_aedat4(path, events, SENSOR, compression=compression, packet_events=700)
    recording = Aedat4Recording(str(path))
    whole = Whole(recording.packets())
    assert written == 5000
    assert same(whole.events, events)
    assert [len(packet.events) for packet in whole.packets] == [700] * 7 + [100]
    assert recording.sensor == SENSOR
    assert not recording.simulated
    assert same(by_faery(path), events)
    assert faery.events_stream_from_file(path).dimensions() == tuple(SENSOR)


def test_the_table_of_packets_is_what_faery_expects(tmp_path: Path) -> None:
    aedat = pytest.importorskip("faery.extension").aedat
    events, path = random_events(1000), tmp_path / "rec.aedat4"
    write_aedat4(path, events, SENSOR, packet_events=300)
    lines = aedat.Decoder(path).file_data_definitions()
    assert [line.elements_count for line in lines] == [300, 300, 300, 100]
    assert [line.start_t for line in lines] == events["t"][::300].tolist()
    for line in lines:
        stream, size = struct.unpack("<ii", path.read_bytes()[line.byte_offset - 8 :][:8])
        assert (stream, size) == (line.track_id, line.size)


def test_aestream_reads_lz4(tmp_path: Path) -> None:
    aestream = pytest.importorskip("aestream")
    events, path = random_events(5000), tmp_path / "rec.aedat4"
    write_aedat4(path, events, SENSOR, compression="lz4")
    read = aestream.FileInput(str(path), tuple(SENSOR)).load()
    for theirs, ours in zip(("timestamp", "x", "y", "polarity"), FIELDS, strict=True):
        assert np.array_equal(np.asarray(read[theirs]).astype(int), events[ours].astype(int))


@pytest.mark.parametrize("compression", [None, ("lz4", 1), ("zstd", 3)])
def test_what_faery_writes_is_read(
    tmp_path: Path, compression: tuple[Literal["lz4", "zstd"], int] | None
) -> None:
    events, path = random_events(50_000), tmp_path / "rec.aedat4"
    theirs = np.zeros(len(events), faery.EVENTS_DTYPE)
    for name, field in zip(theirs.dtype.names, FIELDS, strict=True):
        theirs[name] = events[field]
    stream = faery.events_stream_from_array(theirs, tuple(SENSOR))
    stream.to_file(path, compression=compression)
    whole = Whole(Aedat4Recording(str(path)).packets())
    assert same(whole.events, events)
    assert whole.damage == []


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_the_same_events_give_the_same_file_however_they_are_cut(
    tmp_path: Path, compression: str
) -> None:
    events = random_events(2000)
    paths = [tmp_path / f"{i}.aedat4" for i in range(3)]
    write_aedat4(paths[0], events, SENSOR, compression=compression, packet_events=512)
    parts = np.split(events, [1, 511, 513, 1999])
    write_aedat4(paths[1], iter(parts), SENSOR, compression=compression, packet_events=512)
    noisy = events.copy()
    noisy.view(np.uint8).reshape(-1, EVENT_DTYPE.itemsize)[:, 13:] = 255  # padding bytes
    write_aedat4(paths[2], noisy, SENSOR, compression=compression, packet_events=512)
    assert len({path.read_bytes() for path in paths}) == 1


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(-(2**62), 2**62),
            st.integers(0, 345),
            st.integers(0, 259),
            st.booleans(),
        ),
        max_size=40,
    ),
    compression=st.sampled_from(COMPRESSIONS),
    packet_events=st.integers(1, 50),
)
def test_any_events_survive_the_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[int, int, int, bool]],
    compression: str,
    packet_events: int,
) -> None:
    events = make_events(*(zip(*rows, strict=True) if rows else ([], [], [], [])))
    path = tmp_path_factory.mktemp("round") / "rec.aedat4"
    write_aedat4(
        path, events, SensorSize(346, 260), compression=compression, packet_events=packet_events
    )
    assert same(Whole(Aedat4Recording(str(path)).packets()).events, events)


def test_a_recording_says_that_it_is_simulated(tmp_path: Path) -> None:
    path = tmp_path / "rec.aedat4"
    write_aedat4(path, random_events(10), SENSOR, simulated=True)
    assert Aedat4Recording(str(path)).simulated
    write_aedat4(path, random_events(10), SENSOR, info={"source": '<DVS> & "co"'})
    assert not Aedat4Recording(str(path)).simulated


def test_a_recording_of_unknown_origin_says_so_and_others_do_not(tmp_path: Path) -> None:
    path = tmp_path / "rec.aedat4"
    for simulated in (None, True, False):
        write_aedat4(path, random_events(10), SENSOR, simulated=simulated)
        recording = Aedat4Recording(str(path))
        assert recording.simulated is bool(simulated)
        assert recording.origin_known is (simulated is not None)


def test_an_event_outside_the_sensor_leaves_no_file(tmp_path: Path) -> None:
    events = random_events(300, width=128)
    events["x"][200] = 128
    with pytest.raises(UsageError, match=r"event 200 .* outside the sensor of 128x128"):
        write_aedat4(tmp_path / "rec.aedat4", events, SENSOR, packet_events=50)
    assert list(tmp_path.iterdir()) == []


def test_packets_are_bounded_and_can_be_entered_in_the_middle(tmp_path: Path) -> None:
    events, path = random_events(3 * MAX_PACKET_EVENTS), tmp_path / "rec.aedat4"
    write_aedat4(path, events, SENSOR, compression="lz4", packet_events=5 * MAX_PACKET_EVENTS // 2)
    recording = Aedat4Recording(str(path))
    packets = list(recording.packets())
    assert max(len(packet.events) for packet in packets) == MAX_PACKET_EVENTS
    for packet in packets:
        rest = Whole(recording.packets(packet.cursor))
        assert same(rest.events, events[packet.cursor.event :])
        if rest.packets:
            assert rest.packets[-1].cursor == packets[-1].cursor


def test_a_polarity_byte_of_any_value_is_one_bool(tmp_path: Path) -> None:
    path = tmp_path / "rec.aedat4"
    write_aedat4(path, random_events(8), SENSOR, compression="none")
    content = bytearray(path.read_bytes())
    first = content.index(b"EVTS", content.index(b"</dv>")) - 8 + 32
    content[first + 12 : first + 12 + 16 * 4 : 16] = bytes((0, 1, 2, 255))
    path.write_bytes(content)
    polarity = Whole(Aedat4Recording(str(path)).packets()).events["p"][:4]
    assert polarity.view(np.uint8).tolist() == [0, 1, 1, 1]


def test_a_negative_coordinate_becomes_a_large_one(tmp_path: Path) -> None:
    path = tmp_path / "rec.aedat4"
    write_aedat4(path, random_events(8), SENSOR, compression="none")
    content = bytearray(path.read_bytes())
    first = content.index(b"EVTS", content.index(b"</dv>")) - 8 + 32
    content[first + 8 : first + 10] = struct.pack("<h", -1)
    path.write_bytes(content)
    assert Whole(Aedat4Recording(str(path)).packets()).events["x"][0] == 65535


def two_streams(path: Path) -> None:
    """A file of two event streams, 0 and 1, made from one by renaming its second packet."""
    write_aedat4(path, random_events(20), SENSOR, compression="none", packet_events=10)
    content = path.read_bytes()
    xml = content[content.index(b"<dv") : content.index(b"</dv>") + 6]
    node = xml[xml.index(b'<node name="0"') : xml.index(b"</node>\n</node>\n</node>")]
    node += b"</node>\n</node>\n"
    second = node.replace(b'name="0"', b'name="1"').replace(b"outInfo/0/", b"outInfo/1/")
    padding = b" " * (-len(second) % 8)
    new = xml.replace(node, node + second + padding)
    grown = len(new) - len(xml)
    content = content.replace(xml, new)
    content = bytearray(content)
    (header,) = struct.unpack_from("<I", content, 14)
    struct.pack_into("<I", content, 14, header + grown)
    at = content.index(b"<dv") - 4
    struct.pack_into("<I", content, at, len(new))
    struct.pack_into("<q", content, 14 + 32, -1)
    packet = 14 + 4 + header + grown
    (size,) = struct.unpack_from("<i", content, packet + 4)
    struct.pack_into("<i", content, packet + 8 + size, 1)
    end = packet + 2 * (8 + size)
    path.write_bytes(content[:end])


def test_events_of_another_stream_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "rec.aedat4"
    two_streams(path)
    events = random_events(20)
    first = Whole(Aedat4Recording(str(path)).packets())
    second = Whole(Aedat4Recording(str(path), stream="1").packets())
    assert same(first.events, events[:10])
    assert same(second.events, events[10:])
    assert first.dropped == second.dropped == {"other_stream": 10}
    assert first.damage == second.damage == []
    with pytest.raises(SourceError, match="no event stream 2; the header names 0 EVTS, 1 EVTS"):
        Aedat4Recording(str(path), stream="2")


@pytest.mark.parametrize("wrong", [{"compression": "gzip"}, {"packet_events": 0}])
def test_options_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        write_aedat4(tmp_path / "rec.aedat4", random_events(1), SENSOR, **wrong)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", [100, 1 << 21])
@pytest.mark.parametrize(
    ("compression", "start"), [("none", b"\0" * 8 + b"EVTS"), ("lz4", b"\x04\x22\x4d\x18")]
)
def test_false_starts_cost_time_in_proportion(
    tmp_path: Path, compression: str, start: bytes, length: int
) -> None:
    """Read each to the end that it claims, the longer ones would take 400 GB of reading."""
    path = tmp_path / "rec.aedat4"
    events = random_events(1000)
    write_aedat4(path, events, SENSOR, compression=compression)
    false = struct.pack("<ii", 0, length) + start
    content = bytearray(path.read_bytes() + false * (4_000_000 // len(false)))
    struct.pack_into("<q", content, 14 + 32, -1)
    path.write_bytes(content)
    began = time.process_time()
    whole = Whole(Aedat4Recording(str(path)).packets())
    assert time.process_time() - began < 5
    assert same(whole.events, events)
    assert sum(one.lost_bytes for one in whole.damage) > 3_900_000


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_what_unpacks_goes_with_the_reading(compression: str) -> None:
    """It holds memory that the collector of cycles does not see, so it must be in none."""
    gc.disable()
    try:
        unpack = Unpacker(compression)
        gone = weakref.ref(unpack)
        del unpack
        assert gone() is None
    finally:
        gc.enable()
