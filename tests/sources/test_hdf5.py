"""HDF5: every layout, compressed by plugins too, damage that costs its chunk, nothing followed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest

from streamstop.errors import SourceError
from streamstop.events import SensorSize
from streamstop.sources.hdf5 import Hdf5Recording
from streamstop.sources.recognise import open_recording
from streamstop.sources.recording import read_packets
from tests.event_files import FIELDS, Whole, random_events, same

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
    table = np.zeros(len(EVENTS), [("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")])
    for name in FIELDS:
        table[name] = EVENTS[name]
    with h5py.File(tmp_path / "rec.hdf5", "w") as file:
        file.create_dataset("CD/events", data=table, chunks=(1 << 14,), compression="gzip")
        file.attrs["geometry"] = "640x480"
    recording = open_recording(str(tmp_path / "rec.hdf5"))
    assert recording.sensor == SensorSize(640, 480)
    assert same(Whole(recording.packets()).events, EVENTS)


@pytest.mark.parametrize("layout", ["rpg", "mvsec"])
def test_times_in_seconds_are_read_when_said_so(tmp_path: Path, layout: str) -> None:
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
    with pytest.raises(SourceError, match=r"\?unit=s"):
        open_recording(str(path))
    recording = open_recording(str(path), {"unit": "s"})
    assert recording.sensor == (SensorSize(640, 480) if layout == "rpg" else None)
    assert same(Whole(recording.packets()).events, EVENTS)


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
    assert damage.offset == 5 * CHUNK
    assert damage.lost_bytes == CHUNK * (4 + 2 + 2 + 1)
    assert damage.lost_us == int(kept["t"][5 * CHUNK] - kept["t"][5 * CHUNK - 1])


def test_columns_of_different_lengths(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "rec.h5", "w") as file:
        for name in FIELDS:
            file[f"events/{name}"] = EVENTS[name][: 90 if name == "p" else 100]
    whole = Whole(open_recording(str(tmp_path / "rec.h5")).packets())
    assert same(whole.events, EVENTS[:90])
    assert "10 rows are not whole" in whole.damage[0].reason


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
    with pytest.raises(SourceError, match="lies in another file"):
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
    with pytest.raises(SourceError, match="no numbers"):
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
from streamstop.sources.hdf5 import Hdf5Recording
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
