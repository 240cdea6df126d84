"""HDF5: every layout, compressed by plugins too, damage that costs its chunk, nothing followed."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
import zlib
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.event_files import FIELDS, Whole, random_events, same
from helpers.optional import h5py, hdf5plugin

from streamstop.errors import SourceError
from streamstop.events.packet import Events, SensorSize
from streamstop.formats.base import read_packets
from streamstop.formats.detect import open_recording
from streamstop.formats.hdf5 import reader as hdf5
from streamstop.formats.hdf5.reader import Hdf5Recording

EVENTS = random_events(150_000, width=640, height=480)
CHUNK = 10_000


def dsec(path: Path, **options: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name in FIELDS:
            column = EVENTS[name].astype(np.uint32 if name == "t" else EVENTS[name].dtype)
            file.create_dataset(f"events/{name}", data=column, chunks=(CHUNK,), **options)
        file["ms_to_idx"] = np.arange(10)
        file["t_offset"] = 50_000_000_000
    return path


def moved() -> np.ndarray:
    events = EVENTS.copy()
    events["t"] += 50_000_000_000
    return events


@pytest.mark.parametrize(
    "options",
    [{}, {"compression": "gzip"}, {**hdf5plugin.Blosc(cname="zstd")}, {**hdf5plugin.Zstd()}],
    ids=["plain", "gzip", "blosc", "zstd"],
)
def test_dsec(tmp_path: Path, options: dict[str, Any]) -> None:
    recording = open_recording(str(dsec(tmp_path / "events.h5", **options)))
    assert recording.format == "hdf5"
    assert recording.sensor is None
    whole = Whole(read_packets(recording))
    assert same(whole.events, moved())
    assert not whole.damage
    assert max(len(packet.events) for packet in whole.packets) <= 1 << 16


def test_metavision(tmp_path: Path) -> None:
    metavision(tmp_path / "rec.hdf5")
    recording = open_recording(str(tmp_path / "rec.hdf5"))
    assert recording.sensor == SensorSize(640, 480)
    assert same(Whole(recording.packets()).events, EVENTS)


@pytest.mark.parametrize("layout", ["rpg", "mvsec"])
def test_times_in_seconds_are_inferred_or_stated(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "rec.h5"
    with h5py.File(path, "w") as file:
        if layout == "rpg":
            for name in FIELDS:
                column = EVENTS["t"] / 1e6 if name == "t" else EVENTS[name]
                file[f"events/{name}s"] = column
            file.attrs["sensor_resolution"] = (480, 640)
        else:
            columns = [EVENTS["x"], EVENTS["y"], EVENTS["t"] / 1e6, EVENTS["p"] * 2.0 - 1.0]
            file["davis/left/events"] = np.stack(columns, 1)
    for options in ({}, {"unit": "s"}):
        recording = open_recording(str(path), options)
        assert recording.sensor == (SensorSize(640, 480) if layout == "rpg" else None)
        assert same(Whole(recording.packets()).events, EVENTS)
    assert "seconds" in open_recording(str(path)).notes[0]


def test_reading_goes_on_from_any_packet(tmp_path: Path) -> None:
    recording = Hdf5Recording(str(dsec(tmp_path / "events.h5")))
    packets = list(recording.packets())
    assert len(packets) > 2
    for i, packet in enumerate(packets):
        rest = Whole(recording.packets(packet.cursor))
        assert same(rest.events, Whole(packets[i + 1 :]).events)


def test_a_damaged_chunk_costs_itself(tmp_path: Path) -> None:
    path = dsec(tmp_path / "events.h5", compression="gzip", fletcher32=True)
    with h5py.File(path) as file:
        place = file["events/x"].id.get_chunk_info(5)
    content = bytearray(path.read_bytes())
    content[place.byte_offset + place.size // 2] ^= 0xFF
    path.write_bytes(content)
    whole = Whole(read_packets(open_recording(str(path))))
    kept = np.delete(moved(), slice(5 * CHUNK, 6 * CHUNK))
    assert same(whole.events, kept)
    (damage,) = whole.damage
    assert damage.offset == place.byte_offset
    assert damage.lost_bytes == CHUNK * (4 + 2 + 2 + 1)
    assert damage.lost_us == int(kept["t"][5 * CHUNK] - kept["t"][5 * CHUNK - 1])


def test_columns_of_different_lengths(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "rec.h5", "w") as file:
        for name in FIELDS:
            file[f"events/{name}"] = EVENTS[name][: 90 if name == "p" else 100]
    whole = Whole(open_recording(str(tmp_path / "rec.h5")).packets())
    assert same(whole.events, EVENTS[:90])
    assert "claim 100 rows, but hold only 90" in whole.damage[0].reason
    assert whole.damage[0].lost_bytes == 10 * (8 + 2 + 2 + 1)


def metavision(path: Path, events: Events = EVENTS) -> Path:
    table = np.zeros(len(events), [("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")])
    for name in FIELDS:
        table[name] = events[name]
    with h5py.File(path, "w") as file:
        file.create_dataset("CD/events", data=table, chunks=(1 << 14,), compression="gzip")
        file.attrs["geometry"] = "640x480"
    return path


def test_an_attribute_that_crashes_libhdf5_costs_the_sensor_only(tmp_path: Path) -> None:
    """One byte, the kind of its text, ends a process that reads it with HDF5 2.0."""
    path = metavision(tmp_path / "rec.h5")
    content = bytearray(path.read_bytes())
    at = content.index(b"\x19\x01\x01\0", content.index(b"geometry"))
    content[at + 1] = 0x9F
    path.write_bytes(content)
    recording = open_recording(str(path))
    assert recording.sensor in (None, SensorSize(640, 480))
    whole = Whole(recording.packets())
    assert same(whole.events, EVENTS)
    assert not whole.damage


def test_an_attribute_that_libhdf5_never_finishes_costs_the_sensor_only(tmp_path: Path) -> None:
    """One byte, the length of its text in the heap, keeps HDF5 2.0 busy for good."""
    path = metavision(tmp_path / "rec.h5")
    content = bytearray(path.read_bytes())
    at = content.index(b"GCOL") + 24
    assert content[at] == len("640x480")
    content[at] = 0
    path.write_bytes(content)
    begin = time.monotonic()
    recording = open_recording(str(path))
    whole = Whole(recording.packets())
    assert recording.sensor in (None, SensorSize(640, 480))
    assert same(whole.events, EVENTS)
    assert time.monotonic() - begin < 20  # 1 s of processor time, on a machine that may be busy


def test_a_process_that_dies_once_costs_nothing(tmp_path: Path) -> None:
    recording = open_recording(str(metavision(tmp_path / "rec.h5")))
    got = []
    for packet in recording.packets():
        got.append(packet)
        assert hdf5._process._running is not None
        hdf5._process._running.kill()
        hdf5._process._running.wait()
    assert len(got) > 2
    assert same(Whole(got).events, EVENTS)
    assert not Whole(got).damage


def test_where_it_dies_again_the_rest_is_reported_as_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = open_recording(str(dsec(tmp_path / "events.h5")))
    ask = hdf5._process.ask

    def dies(request: dict[str, Any]) -> Any:
        if request["rows"] and request["rows"][1] > 70_000:
            raise hdf5._DiedError("signal 11")
        return ask(request)

    monkeypatch.setattr(hdf5._process, "ask", dies)
    packets = list(recording.packets())
    whole = Whole(packets)
    assert same(whole.events, moved()[:70_000])
    (damage,) = whole.damage
    assert damage.lost_bytes == 80_000 * (4 + 2 + 2 + 1)
    assert "signal 11" in damage.reason
    for i, packet in enumerate(packets):
        rest = Whole(recording.packets(packet.cursor))
        assert same(rest.events, Whole(packets[i + 1 :]).events)


def test_two_recordings_are_read_in_turns(tmp_path: Path) -> None:
    other = random_events(140_000, seed=5, width=640, height=480)
    one = open_recording(str(dsec(tmp_path / "one.h5")))
    two = open_recording(str(metavision(tmp_path / "two.h5", other)))
    turns = list(zip_longest(one.packets(), two.packets()))
    assert same(Whole(pair[0] for pair in turns if pair[0]).events, moved())
    assert same(Whole(pair[1] for pair in turns if pair[1]).events, other)


def test_a_replaced_file_is_read_again(tmp_path: Path) -> None:
    path = metavision(tmp_path / "rec.h5")
    assert same(Whole(open_recording(str(path)).packets()).events, EVENTS)
    path.unlink()
    other = random_events(20_000, seed=5, width=640, height=480)
    metavision(path, other)
    assert same(Whole(open_recording(str(path)).packets()).events, other)


def test_a_fork_reads_with_a_process_of_its_own(tmp_path: Path) -> None:
    path = metavision(tmp_path / "rec.h5")
    recording = open_recording(str(path))
    packets = recording.packets()
    first = next(packets)
    child = os.fork()
    if not child:
        whole = Whole(open_recording(str(path)).packets())
        os._exit(0 if same(whole.events, EVENTS) else 1)
    rest = Whole(packets).events
    assert os.waitpid(child, 0)[1] == 0
    assert same(np.concatenate([first.events, rest]), EVENTS)


def test_rows_that_were_never_written_take_no_time(tmp_path: Path) -> None:
    path = tmp_path / "rec.h5"
    with h5py.File(path, "w") as file:
        for name in FIELDS:
            column = file.create_dataset(f"events/{name}", (1 << 40,), "<i8", chunks=(CHUNK,))
            column[:CHUNK] = EVENTS[name][:CHUNK]
    whole = Whole(open_recording(str(path)).packets())
    assert same(whole.events, EVENTS[:CHUNK])
    (damage,) = whole.damage
    assert damage.lost_bytes == ((1 << 40) - CHUNK) * 4 * 8


def test_a_chunk_that_unpacks_to_half_a_gigabyte(tmp_path: Path) -> None:
    path = dsec(tmp_path / "events.h5", compression="gzip")
    packer = zlib.compressobj(1)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(512)) + packer.flush()
    with h5py.File(path, "r+") as file:
        file["events/x"].id.write_direct_chunk((3 * CHUNK,), bomb)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    hdf5._process.close()
    whole = Whole(open_recording(str(path)).packets())
    hdf5._process.close()
    assert same(whole.events, np.delete(moved(), slice(3 * CHUNK, 4 * CHUNK)))
    assert len(whole.damage) == 1
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert most <= max(before, 450 << 10)


def test_without_h5py_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = dsec(tmp_path / "events.h5")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "h5py.py").write_text("raise ImportError('not there')")
    monkeypatch.syspath_prepend(tmp_path / "none")
    hdf5._process.close()
    with pytest.raises(SourceError, match=r"pip install 'streamstop\[hdf5\]'"):
        open_recording(str(path))
    monkeypatch.undo()
    assert open_recording(str(path)).format == "hdf5"


def test_metavisions_codec_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rec.h5"
    with h5py.File(path, "w") as file:
        kind = [("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")]
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((100,))
        plan.set_filter(0x8ECF, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple((1000,))
        group = file.create_group("CD")
        h5py.h5d.create(group.id, b"events", h5py.h5t.py_create(np.dtype(kind)), space, dcpl=plan)
    with pytest.raises(SourceError, match="Metavision's ECF codec, which is not installed"):
        open_recording(str(path))


def test_other_files_are_not_opened(tmp_path: Path) -> None:
    other = dsec(tmp_path / "other.h5")
    kinds = {
        "external": lambda file: h5py.ExternalLink(str(other), "/events"),
        "soft": lambda file: h5py.SoftLink("/CD"),
    }
    for kind, link in kinds.items():
        path = tmp_path / f"{kind}.h5"
        with h5py.File(path, "w") as file:
            file["events"] = link(file)
        with pytest.raises(SourceError, match="links are not followed"):
            open_recording(str(path))
    path = tmp_path / "virtual.h5"
    with h5py.File(path, "w") as file:
        for name in FIELDS:
            layout = h5py.VirtualLayout((100,), EVENTS[name].dtype)
            layout[:] = h5py.VirtualSource(str(other), f"events/{name}", (len(EVENTS),))[:100]
            file.create_virtual_dataset(f"events/{name}", layout)
    with pytest.raises(SourceError, match="is stored in another file"):
        open_recording(str(path))


def test_huge_chunks_and_strange_contents_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rec.h5"
    with h5py.File(path, "w") as file:
        for name in FIELDS:
            file.create_dataset(f"events/{name}", (1 << 40,), "<i8", chunks=(1 << 26,))
    with pytest.raises(SourceError, match="chunks of"):
        open_recording(str(path))
    with h5py.File(path, "w") as file:
        file["frames"] = np.zeros((3, 4, 4))
    with pytest.raises(SourceError, match="none of the known layouts; it holds frames"):
        open_recording(str(path))
    with h5py.File(path, "w") as file:
        for name in FIELDS:
            file[f"events/{name}"] = ["a", "b"]
    with pytest.raises(SourceError, match="not numbers"):
        open_recording(str(path))


def test_a_packed_file_is_to_be_unpacked(tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "events.h5.gz"
    path.write_bytes(gzip.compress(dsec(tmp_path / "events.h5").read_bytes(), 1))
    with pytest.raises(SourceError, match="unpack it"):
        open_recording(str(path))


MUTATE = """
import json, random, resource, sys
from streamstop.errors import StreamstopError
from streamstop.formats.hdf5.reader import Hdf5Recording
content = open(sys.argv[1], "rb").read()
draw, out = random.Random(1), sys.argv[1] + ".m"
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
seen = {"read": 0, "refused": 0}
for _ in range(int(sys.argv[2])):
    damaged = bytearray(content)
    for _ in range(draw.choice((1, 1, 4, 20))):
        damaged[draw.randrange(len(damaged))] = draw.randrange(256)
    if draw.random() < 0.2:
        del damaged[draw.randrange(len(damaged)):]
    open(out, "wb").write(damaged)
    try:
        for packet in Hdf5Recording(out).packets():
            assert len(packet.events) <= 65536
        seen["read"] += 1
    except StreamstopError:
        seen["refused"] += 1
print(json.dumps(seen))
"""


def test_mutations_end_in_our_own_errors(tmp_path: Path) -> None:
    path = tmp_path / "small.h5"
    with h5py.File(path, "w") as file:
        for name in FIELDS:
            file.create_dataset(
                f"events/{name}", data=EVENTS[name][:2000], chunks=(500,), compression="gzip"
            )
    command = [sys.executable, "-c", MUTATE, str(path), "300"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout)
    assert sum(seen.values()) == 300
    assert min(seen.values()) > 20


def columns_in(path: Path, *groups: str, shape: tuple[int, ...] = (-1,)) -> Path:
    with h5py.File(path, "w") as file:
        for i, group in enumerate(groups):
            for name in FIELDS:
                column = (EVENTS[name] + (i if name == "x" else 0)).astype(np.int64)
                file[f"{group}/{name}"] = column.reshape(shape)
    return path


def test_one_group_with_events_is_found_wherever_it_is(tmp_path: Path) -> None:
    recording = open_recording(str(columns_in(tmp_path / "rec.h5", "some/where/left")))
    assert same(Whole(recording.packets()).events, EVENTS)
    assert "'some/where/left'" in recording.notes[0]


def test_of_several_groups_one_is_chosen(tmp_path: Path) -> None:
    path = columns_in(tmp_path / "rec.h5", "prophesee/left", "prophesee/right")
    with pytest.raises(SourceError, match=r"prophesee/left, prophesee/right; .*\?group="):
        open_recording(str(path))
    right = Whole(open_recording(str(path), {"group": "prophesee/right"}).packets()).events
    assert (right["x"] == EVENTS["x"] + 1).all()
    with pytest.raises(SourceError, match=r"'elsewhere' holds no events .*prophesee/left"):
        open_recording(str(path), {"group": "elsewhere"})


def test_a_second_camera_is_said_where_the_usual_one_is_read(tmp_path: Path) -> None:
    path = columns_in(tmp_path / "rec.h5", "events", "other")
    recording = open_recording(str(path))
    assert same(Whole(recording.packets()).events, EVENTS)
    assert "also in other (?group=)" in recording.notes[0]


@pytest.mark.parametrize("shape", [(-1, 1), (1, -1)])
def test_columns_of_two_dimensions(tmp_path: Path, shape: tuple[int, ...]) -> None:
    recording = open_recording(str(columns_in(tmp_path / "rec.h5", "events", shape=shape)))
    packets = list(recording.packets())
    assert same(Whole(packets).events, EVENTS)
    for packet in packets:
        assert same(Whole(recording.packets(packet.cursor)).events, EVENTS[packet.cursor.event :])


def test_a_file_written_anew_is_read_anew(tmp_path: Path) -> None:
    """libhdf5 shares what it holds of a file among its handles, also with other options."""
    for times, unit in ((EVENTS["t"], "us"), (EVENTS["t"] / 1e6, "s")):
        with h5py.File(tmp_path / "rec.h5", "w") as file:
            file["events"] = np.stack([times, *(EVENTS[name] for name in "xyp")], axis=1)
        recording = open_recording(str(tmp_path / "rec.h5"), {"columns": "txyp", "unit": unit})
        assert same(Whole(recording.packets()).events, EVENTS)


def test_rows_that_are_no_events_are_damage(tmp_path: Path) -> None:
    path = columns_in(tmp_path / "rec.h5", "events")
    with h5py.File(path, "r+") as file:
        file["events/p"][1234] = 7
    whole = Whole(open_recording(str(path)).packets())
    assert same(whole.events, np.delete(EVENTS, 1234))
    (damage,) = whole.damage
    assert damage.offset == 1234
    assert "polarity 7 is none of 0, 1" in damage.reason
