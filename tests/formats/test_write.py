"""Every writer's file is read back as it was given, compressed or not, and by others too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import Whole, random_events, same
from helpers.optional import faery

from streamstop.errors import UsageError
from streamstop.events.packet import Events, SensorSize, make_events
from streamstop.formats.base import read_packets
from streamstop.formats.detect import open_recording
from streamstop.formats.write import BY_SUFFIX, HDF5, WRITERS, format_of, write_recording

SENSOR = SensorSize(128, 128)
EVENTS = random_events(150_000)
SUFFIXES = {"aedat4": ".aedat4", "aedat3": ".aedat", "aedat2": ".aedat", "evt3": ".raw",
            "evt2": ".raw", "dat": ".dat", "npz": ".npz", "npy": ".npy", "csv": ".csv",
            "bin": ".bin", "dsec": ".h5", "metavision-hdf5": ".hdf5"}  # fmt: skip
TELL_SENSOR = set(WRITERS) - {"npy", "bin"}
TELL_SIMULATED = set(WRITERS) - {"npy", "bin"}


@pytest.fixture(autouse=True)
def libraries(request: pytest.FixtureRequest) -> None:
    """HDF5 is an extra."""
    callspec = getattr(request.node, "callspec", None)
    if callspec is not None and callspec.params.get("format") in HDF5:
        pytest.importorskip("h5py")


@pytest.mark.parametrize("format", WRITERS)
@pytest.mark.parametrize("packing", ["", ".gz", ".zst", ".xz"])
def test_what_is_written_is_read_back(tmp_path: Path, format: str, packing: str) -> None:
    if packing and format == "npz":
        pytest.skip("an .npz is compressed already, and is no stream")
    if packing and format in HDF5:
        with pytest.raises(UsageError, match="HDF5 is compressed inside"):
            write_recording(tmp_path / f"rec.h5{packing}", EVENTS, SENSOR, format=format)
        return
    events = EVENTS if not packing else EVENTS[:20_000]
    path = tmp_path / f"rec{SUFFIXES[format]}{packing}"
    written = write_recording(path, events, SENSOR, format=format, simulated=True)
    assert written == len(events)
    recording = open_recording(str(path))
    whole = Whole(read_packets(recording))
    assert same(whole.events, events)
    assert not whole.damage
    assert not whole.dropped
    assert recording.sensor == (SENSOR if format in TELL_SENSOR else None)
    assert recording.simulated == (format in TELL_SIMULATED)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("format", WRITERS)
def test_how_packets_are_cut_changes_no_byte(tmp_path: Path, format: str) -> None:
    made = []
    for cuts in ([], [1, 2, 777, 70_000], list(range(5_000, 150_000, 9_999))):
        path = tmp_path / f"{len(cuts)}"
        write_recording(path, iter(np.split(EVENTS, cuts)), SENSOR, format=format)
        made.append(path.read_bytes())
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize("format", WRITERS)
def test_an_event_off_the_sensor_leaves_no_file(tmp_path: Path, format: str) -> None:
    path = tmp_path / "rec"
    path.write_bytes(b"before")
    with pytest.raises(UsageError, match=r"outside the sensor of 100x100"):
        write_recording(path, EVENTS, SensorSize(100, 100), format=format)
    assert path.read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("format", ["aedat4", "evt3", "evt2", "dat", "csv"])
def test_faery_reads_it_too(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"rec{SUFFIXES[format]}"
    events = EVENTS[:50_000]
    write_recording(path, events, SENSOR, format=format)
    read = faery.events_stream_from_file(str(path)).to_array()
    assert len(read) == len(events)
    for ours, theirs in (("t", "t"), ("x", "x"), ("y", "y"), ("p", "on")):
        assert np.array_equal(read[theirs].astype(np.int64), events[ours].astype(np.int64)), ours


@pytest.mark.parametrize("format", WRITERS)
def test_no_event_at_all_is_a_recording(tmp_path: Path, format: str) -> None:
    if format == "bin":
        pytest.skip("an empty .bin is an empty file, which is refused")
    path = tmp_path / f"rec{SUFFIXES[format]}"
    assert write_recording(path, EVENTS[:0], SENSOR, format=format) == 0
    assert len(Whole(read_packets(open_recording(str(path)))).events) == 0


def test_numpy_loads_an_npy_as_it_is(tmp_path: Path) -> None:
    write_recording(tmp_path / "rec.npy", iter(np.split(EVENTS, [1, 70_000])), SENSOR)
    loaded = np.load(tmp_path / "rec.npy", allow_pickle=False)
    assert loaded.dtype == EVENTS.dtype
    assert same(loaded, EVENTS)


def test_a_simulated_csv_says_so_in_a_comment(tmp_path: Path) -> None:
    write_recording(tmp_path / "a.csv", EVENTS[:100], SENSOR, simulated=True)
    write_recording(tmp_path / "b.csv", EVENTS[:100], SENSOR)
    comment, _, rest = (tmp_path / "a.csv").read_text().partition("\n")
    assert comment == "# source: streamstop-simulate"
    assert rest == (tmp_path / "b.csv").read_text()


@pytest.mark.parametrize("unit", ["", "s", "ms", "us", "ns"])
@pytest.mark.parametrize("columns", ["", "xypt", "ptyx"])
def test_text_in_any_order_and_unit_is_read_back(tmp_path: Path, columns: str, unit: str) -> None:
    events = EVENTS[:20_000].copy()
    events["t"] += 1_700_000_000_000_000  # as a camera's clock counts, to the microsecond
    path = tmp_path / "rec.txt"
    write_recording(path, events, SENSOR, columns=columns, unit=unit, simulated=True)
    recording = open_recording(str(path))
    assert same(Whole(read_packets(recording)).events, events)
    assert (recording.sensor, recording.simulated, recording.notes) == (SENSOR, True, ())


def test_columns_and_units_are_as_they_are_asked_for(tmp_path: Path) -> None:
    events = make_events([1_000_045, -7], [3, 4], [5, 6], [True, False])
    path = tmp_path / "rec.csv"
    for columns, unit, lines in (
        ("xypt", "us", ["x@128,y@128,on,t", "3,5,1,1000045", "4,6,0,-7"]),
        ("txyp", "s", ["%geometry:128,128", "t_s,x,y,on", "1.000045,3,5,1", "-0.000007,4,6,0"]),
        ("", "ms", ["%geometry:128,128", "t_ms,x,y,on", "1000.045,3,5,1", "-0.007,4,6,0"]),
        ("", "ns", ["%geometry:128,128", "t_ns,x,y,on", "1000045000,3,5,1", "-7000,4,6,0"]),
    ):
        write_recording(path, events, SENSOR, columns=columns, unit=unit)
        assert path.read_text().splitlines() == lines
    for wrong, message in (
        ({"columns": "xyt"}, "in some order"),
        ({"unit": "h"}, "the unit is one of"),
        ({"columns": "xypt", "format": "npz"}, "--columns is for text"),
        ({"unit": "s", "format": "bin"}, "--unit is for text"),
    ):
        with pytest.raises(UsageError, match=message):
            write_recording(tmp_path / "no.csv", events, SENSOR, **wrong)
    assert not (tmp_path / "no.csv").exists()


def test_the_bit_of_on_is_for_aedat2_alone(tmp_path: Path) -> None:
    path = tmp_path / "rec.aedat"
    write_recording(path, EVENTS, SENSOR, format="aedat2", on_bit=1)
    swapped = Whole(open_recording(str(path)).packets()).events
    assert np.array_equal(swapped["p"], ~EVENTS["p"])
    assert np.array_equal(swapped["t"], EVENTS["t"])
    with pytest.raises(UsageError, match=r"AEDAT 2\.0's option, and this is aedat4"):
        write_recording(tmp_path / "rec.aedat4", EVENTS, SENSOR, on_bit=1)
    assert not (tmp_path / "rec.aedat4").exists()


def test_packets_are_not_gathered(tmp_path: Path) -> None:
    """Each is asked for when the one before is written: a live source can be one."""
    held: list[int] = []

    def packets() -> Iterator[Events]:
        for part in np.split(EVENTS, 50):
            held.append(1)
            yield part

    path = tmp_path / "rec.csv"
    source = packets()
    next(source)
    assert write_recording(path, source, SENSOR) == len(EVENTS) - len(EVENTS) // 50
    assert len(held) == 50


def test_names_tell_formats() -> None:
    assert {format_of(f"a/rec{suffix}.gz") for suffix in BY_SUFFIX} == set(BY_SUFFIX.values())
    assert format_of("x.aedat", "aedat2") == "aedat2"
    for path, format, message in (
        ("x.aedat", "", "aedat2 or aedat3"),
        ("x", "", "does not tell"),
        ("x.csv", "es", "'es' cannot be written"),
    ):
        with pytest.raises(UsageError, match=message):
            format_of(path, format)


def test_bin_refuses_what_its_23_bits_cannot_say(tmp_path: Path) -> None:
    late = EVENTS[:10].copy()
    late["t"][5:] += 1 << 22
    with pytest.raises(UsageError, match="event 5 at t"):
        write_recording(tmp_path / "a.bin", late, SENSOR)
    late["t"] += 1 << 23
    with pytest.raises(UsageError, match="event 0 at t"):
        write_recording(tmp_path / "a.bin", late, SENSOR)
    long = EVENTS.copy()
    long["t"] *= 3  # 22 s, two wraps
    write_recording(tmp_path / "a.bin", long, SENSOR)
    assert same(Whole(open_recording(str(tmp_path / "a.bin")).packets()).events, long)
