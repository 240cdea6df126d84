"""MATLAB files, written by scipy (version 5) and h5py (7.3): columns, structs, damage, refusals."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from helpers.event_files import Whole, random_events, same
from helpers.optional import h5py

from streamstop.errors import SourceError
from streamstop.events.packet import Events
from streamstop.formats.base import Recording, read_packets
from streamstop.formats.detect import open_recording

EVENTS = random_events(150_000, width=240, height=180)
FEW = EVENTS[:3000]


def columns(events: Events, kind: str = "f8", off: int = 0) -> dict[str, Any]:
    """ASL-DVS: columns of doubles, (n, 1)."""
    values = {"ts": events["t"], "x": events["x"], "y": events["y"], "pol": events["p"] + off}
    return {name: one.astype(kind).reshape(-1, 1) for name, one in values.items()}


def saved(path: Path, compressed: bool = True, **variables: Any) -> Recording:
    scipy.io.savemat(path, variables, do_compression=compressed)
    return open_recording(str(path))


@pytest.mark.parametrize("compressed", [True, False], ids=["packed", "plain"])
@pytest.mark.parametrize("kind", ["f8", "u4", "i8"])
def test_asl_dvs(tmp_path: Path, kind: str, compressed: bool) -> None:
    recording = saved(tmp_path / "rec.mat", compressed, **columns(EVENTS, kind))
    assert recording.format == "mat"
    packets = list(read_packets(recording))
    whole = Whole(packets)
    assert same(whole.events, EVENTS)
    assert not whole.damage
    for i, packet in enumerate(packets):
        rest = Whole(recording.packets(packet.cursor))
        assert same(rest.events, Whole(packets[i + 1 :]).events)


def test_a_struct_of_n_caltech101s_tools_counts_from_one(tmp_path: Path) -> None:
    """TD.x, TD.y, TD.p, TD.ts: rows, the first pixel is 1 and polarity is 1 and 2."""
    struct = {name: one.T for name, one in columns(FEW, off=1).items()}
    struct["p"] = struct.pop("pol")
    struct["x"], struct["y"] = struct["x"] + 1, struct["y"] + 1
    recording = saved(tmp_path / "rec.mat", TD=struct, about=np.arange(4), name="text")
    assert same(Whole(recording.packets()).events, FEW)
    assert "events read from the struct 'TD'" in recording.notes
    assert any("pixels counted from 1" in note for note in recording.notes)
    as_written = open_recording(str(tmp_path / "rec.mat"), {"first": "0"})
    moved = Whole(as_written.packets()).events
    assert np.array_equal(moved["x"], FEW["x"] + 1)
    with pytest.raises(SourceError, match="first is 0 or 1"):
        open_recording(str(tmp_path / "rec.mat"), {"first": "2"})


def test_pixels_that_happen_not_to_reach_the_border_stay_where_they_are(tmp_path: Path) -> None:
    events = FEW.copy()
    events["x"] += 1
    events["y"] += 1
    recording = saved(tmp_path / "rec.mat", **columns(events))
    assert same(Whole(recording.packets()).events, events)


def test_times_in_seconds_are_inferred(tmp_path: Path) -> None:
    values = columns(FEW)
    values["ts"] = values["ts"] / 1e6
    recording = saved(tmp_path / "rec.mat", **values)
    assert same(Whole(recording.packets()).events, FEW)
    assert any("seconds" in note for note in recording.notes)


def test_of_several_structs_one_is_asked_for(tmp_path: Path) -> None:
    two = {"left": columns(FEW), "right": columns(EVENTS[3000:6000])}
    with pytest.raises(SourceError, match=r"'left', 'right'; choose with \?group=right"):
        saved(tmp_path / "rec.mat", **two)
    recording = open_recording(str(tmp_path / "rec.mat"), {"group": "right"})
    assert same(Whole(recording.packets()).events, EVENTS[3000:6000])
    with pytest.raises(SourceError, match="its 'middle' holds no events"):
        open_recording(str(tmp_path / "rec.mat"), {"group": "middle"})


@pytest.mark.parametrize("compressed", [True, False], ids=["packed", "plain"])
def test_a_matrix_of_four_columns(tmp_path: Path, compressed: bool) -> None:
    table = np.column_stack([FEW[name].astype("f8") for name in "xytp"])
    recording = saved(tmp_path / "rec.mat", compressed, events=table, other=np.zeros((2, 2)))
    assert same(Whole(recording.packets()).events, FEW)
    assert any("events read from 'events'" in note for note in recording.notes)


def test_nothing_but_numbers_is_looked_at(tmp_path: Path) -> None:
    """Cells, texts, sparse and complex arrays, arrays of structs, nested ones: passed over."""
    import scipy.sparse

    cell = np.empty((1, 2), object)
    cell[0, 0], cell[0, 1] = np.zeros(3), "text"
    recording = saved(
        tmp_path / "rec.mat",
        a=cell,
        b="text",
        c=scipy.sparse.csc_array(np.eye(3)),
        d=np.ones(3) * 1j,
        e=np.array([(1, 2), (3, 4)], [("t", "O"), ("x", "O")]),
        f={"deep": {"deeper": columns(FEW)}},
    )
    assert same(Whole(recording.packets()).events, FEW)
    assert "events read from the struct 'f.deep.deeper'" in recording.notes


def test_the_other_byte_order(tmp_path: Path) -> None:
    """A small file laid out by hand, big-endian, numbers stored in smaller types."""
    import struct

    def element(kind: int, content: bytes) -> bytes:
        return struct.pack(">II", kind, len(content)) + content + bytes(-len(content) % 8)

    content = b"MATLAB 5.0 MAT-file".ljust(124) + b"\1\0MI"
    values = {"t": [5, 9, 300], "x": [1, 2, 3], "y": [4, 5, 6], "p": [0, 1, 1]}
    for name, column in values.items():
        head = element(6, struct.pack(">II", 6, 0)) + element(5, struct.pack(">ii", 3, 1))
        short = struct.pack(">HH4s", 1, 1, name.encode())
        kind, code = (4, ">3H") if name == "t" else (2, ">3B")
        content += element(14, head + short + element(kind, struct.pack(code, *column)))
    (tmp_path / "rec.mat").write_bytes(content)
    got = Whole(open_recording(str(tmp_path / "rec.mat")).packets()).events
    assert {name: got[name].tolist() for name in "txy"} == {n: values[n] for n in "txy"}
    assert got["p"].tolist() == [False, True, True]


@pytest.mark.parametrize("compressed", [True, False], ids=["packed", "plain"])
def test_a_file_cut_off_keeps_the_rows_that_are_whole(tmp_path: Path, compressed: bool) -> None:
    saved(tmp_path / "rec.mat", compressed, **columns(EVENTS))
    content = (tmp_path / "rec.mat").read_bytes()
    (tmp_path / "rec.mat").write_bytes(content[:-4000])
    whole = Whole(open_recording(str(tmp_path / "rec.mat")).packets())
    assert len(whole.events) > 60_000
    assert same(whole.events, EVENTS[: len(whole.events)])
    assert len(whole.damage) == 1


def test_a_flipped_byte_in_a_compressed_column_is_reported(tmp_path: Path) -> None:
    saved(tmp_path / "rec.mat", **columns(EVENTS))
    content = bytearray((tmp_path / "rec.mat").read_bytes())
    content[len(content) * 9 // 10] ^= 0x55
    (tmp_path / "rec.mat").write_bytes(content)
    assert Whole(open_recording(str(tmp_path / "rec.mat")).packets()).damage


def test_columns_of_different_lengths(tmp_path: Path) -> None:
    values = columns(FEW)
    values["pol"] = values["pol"][:-10]
    whole = Whole(saved(tmp_path / "rec.mat", **values).packets())
    assert same(whole.events, FEW[:-10])
    assert "claim 3000 rows, but hold only 2990" in whole.damage[0].reason


def test_what_holds_no_events_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="its arrays of numbers are frames, fps"):
        saved(tmp_path / "rec.mat", frames=np.zeros((5, 4, 3)), fps=np.array([30.0]))
    with pytest.raises(SourceError, match="'x' is 2x3, not one column"):
        saved(tmp_path / "rec.mat", t=[1.0], x=np.zeros((2, 3)), y=[1.0], p=[1.0])
    (tmp_path / "old.mat").write_bytes(bytes(30))
    with pytest.raises(SourceError, match=r"MATLAB .mat of version 4.*save\(\.\.\., '-v7'\)"):
        open_recording(str(tmp_path / "old.mat"))
    (tmp_path / "rec.mat.gz").write_bytes(gzip.compress((tmp_path / "rec.mat").read_bytes()))
    with pytest.raises(SourceError, match="unpack it"):
        open_recording(str(tmp_path / "rec.mat.gz"))


@pytest.mark.parametrize("shape", [(1, -1), (-1, 1)])
def test_version_7_3_is_hdf5(tmp_path: Path, shape: tuple[int, int]) -> None:
    """MATLAB's own writer puts 512 bytes before HDF5, and a column of n numbers is (1, n)."""
    path = tmp_path / "rec.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, one in columns(FEW).items():
            data = one.reshape(shape)
            file.create_dataset(name, data=data, chunks=True, compression="gzip")
    content = path.read_bytes()
    head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    path.write_bytes(head + content[len(head) :])
    recording = open_recording(str(path))
    assert same(Whole(recording.packets()).events, FEW)


def test_numbers_that_are_none_are_refused_with_a_reason(tmp_path: Path) -> None:
    values = columns(FEW)
    values["pol"][::3] = np.nan
    with pytest.raises(SourceError, match=r"polarity holds the values .*nan.*\?on="):
        saved(tmp_path / "rec.mat", **values)
    values = columns(FEW)
    values["x"][5] = 1e300
    whole = Whole(saved(tmp_path / "rec.mat", **values).packets())
    assert whole.events["x"][5] == 65535  # outside any sensor, and so rejected
