from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import FIELDS, Whole, random_events, same
from hypothesis import given, settings
from hypothesis import strategies as st

from streamstop.errors import SourceError
from streamstop.events.packet import MAX_PACKET_EVENTS, SensorSize, make_events
from streamstop.formats.plain.npy import ArrayRecording
from streamstop.formats.plain.writers import write_npz

EVENTS = random_events(2 * MAX_PACKET_EVENTS + 10)
SENSOR = SensorSize(128, 128)


def read(path: Path, **options: str) -> np.ndarray:
    return Whole(ArrayRecording(str(path), **options).packets()).events


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(-(2**40), 2**40), st.integers(0, 127), st.integers(0, 127), st.booleans()
        ),
        max_size=30,
    )
)
def test_npz_round_trip(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int, bool]]
) -> None:
    events = make_events(*(zip(*rows, strict=True) if rows else ([], [], [], [])))
    path = tmp_path_factory.mktemp("round") / "rec.npz"
    write_npz(path, events, SENSOR)
    recording = ArrayRecording(str(path))
    assert same(Whole(recording.packets()).events, events)
    assert recording.sensor == SENSOR


def test_npz_is_written_the_same_every_time_and_marks_simulation(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        write_npz(tmp_path / name, EVENTS, SENSOR, simulated=True)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert ArrayRecording(str(tmp_path / "a.npz")).simulated
    write_npz(tmp_path / "b.npz", EVENTS, SENSOR)
    assert not ArrayRecording(str(tmp_path / "b.npz")).simulated


@pytest.mark.parametrize("names", ["t x y p", "ts x y pol", "Timestamps xs ys polarity"])
def test_npz_columns_by_their_common_names(tmp_path: Path, names: str) -> None:
    columns = {name: EVENTS[f] for name, f in zip(names.split(), FIELDS, strict=True)}
    np.savez_compressed(tmp_path / "rec.npz", other=np.zeros(3), **columns)
    assert same(read(tmp_path / "rec.npz"), EVENTS)


def test_structured_arrays_of_other_types_and_orders(tmp_path: Path, data_dir: Path) -> None:
    other = np.zeros(len(EVENTS), [("p", "i1"), ("x", "<i2"), ("timestamp", ">u8"), ("y", "<i4")])
    other["p"], other["x"], other["y"] = np.where(EVENTS["p"], 1, -1), EVENTS["x"], EVENTS["y"]
    other["timestamp"] = EVENTS["t"]
    np.save(tmp_path / "rec.npy", other)
    assert same(read(tmp_path / "rec.npy"), EVENTS)
    np.savez(tmp_path / "rec.npz", events=other, note=np.zeros(2))
    assert same(read(tmp_path / "rec.npz"), EVENTS)
    assert same(read(data_dir / "formats" / "evt3.npy"), np.load(data_dir / "formats/evt3.npy"))


@pytest.mark.parametrize("dtype", ["int64", "float64", "uint32"])
def test_a_table_of_four_columns_in_a_stated_order(tmp_path: Path, dtype: str) -> None:
    table = np.stack([EVENTS[name] for name in "xytp"], axis=1).astype(dtype)
    np.save(tmp_path / "rec.npy", table)
    assert same(read(tmp_path / "rec.npy", columns="xytp"), EVENTS)
    with pytest.raises(SourceError, match="columns are"):
        read(tmp_path / "rec.npy", columns="xyt")


def test_a_table_stored_column_by_column(tmp_path: Path) -> None:
    """As `np.array([t, x, y, p]).T` is saved."""
    np.save(tmp_path / "rec.npy", np.array([EVENTS[name].astype(int) for name in "txyp"]).T)
    recording = ArrayRecording(str(tmp_path / "rec.npy"))
    packets = list(recording.packets())
    assert same(Whole(packets).events, EVENTS)
    for packet in packets:
        assert same(Whole(recording.packets(packet.cursor)).events, EVENTS[packet.cursor.event :])


def test_coordinates_are_never_wrapped_into_the_sensor(tmp_path: Path) -> None:
    table = np.array([[0, -1, 65536, 1], [1, 70000, 3, 0]])
    np.save(tmp_path / "rec.npy", table)
    events = read(tmp_path / "rec.npy", columns="txyp")
    assert events["x"].tolist() == [65535, 65535]
    assert events["y"].tolist() == [65535, 3]


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_reading_goes_on_from_any_packet(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rec.{suffix}"
    np.save(path, EVENTS) if suffix == "npy" else write_npz(path, EVENTS, SENSOR)
    recording = ArrayRecording(str(path))
    packets = list(recording.packets())
    assert [len(packet.events) for packet in packets] == [MAX_PACKET_EVENTS] * 2 + [10]
    for packet in packets:
        assert same(Whole(recording.packets(packet.cursor)).events, EVENTS[packet.cursor.event :])


class Bomb:
    """Writes a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_pickle_is_refused_and_not_run(tmp_path: Path, suffix: str) -> None:
    path, mark = tmp_path / f"rec.{suffix}", tmp_path / "mark"
    bomb = np.array([Bomb(mark)], dtype=object)
    np.save(path, bomb) if suffix == "npy" else np.savez(path, t=bomb, x=bomb, y=bomb, p=bomb)
    with pytest.raises(SourceError, match="pickle"):
        read(path)
    assert not mark.exists()
    path.write_bytes(pickle.dumps(bomb))
    with pytest.raises(SourceError):
        read(path)
    assert not mark.exists()


def test_a_row_that_is_no_event_is_damage_and_costs_itself(tmp_path: Path) -> None:
    table = np.stack([EVENTS[name] for name in "txyp"], axis=1).astype(float)
    table[1000, 0], table[2000, 1], table[3000, 3] = np.nan, 7.5, 3
    np.save(tmp_path / "rec.npy", table)
    whole = Whole(ArrayRecording(str(tmp_path / "rec.npy")).packets())
    assert same(whole.events, np.delete(EVENTS, [1000, 2000, 3000]))
    assert [one.lost_bytes for one in whole.damage] == [3 * 32]
    assert "first is row 1000" in whole.damage[0].reason


def test_columns_of_several_values_each_are_refused(tmp_path: Path) -> None:
    columns = {name: np.zeros((5, 2), int) for name in "txyp"}
    np.savez(tmp_path / "rec.npz", **columns)
    with pytest.raises(SourceError, match="has 2 columns, not one"):
        read(tmp_path / "rec.npz")


def test_late_times_do_not_wrap(tmp_path: Path) -> None:
    times = np.array([5, 2**64 - 1], np.uint64)
    np.savez(tmp_path / "rec.npz", t=times, x=[1, 1], y=[2, 2], p=[0, 1])
    assert read(tmp_path / "rec.npz", unit="us")["t"].tolist() == [5, 1 << 62]


@pytest.mark.parametrize(
    "arrays",
    [
        {"t": np.zeros(3), "x": np.zeros(3), "y": np.zeros(3)},
        {"t": np.zeros(3), "x": np.zeros(3), "y": np.zeros(3), "p": np.zeros(4)},
        {"events": np.zeros((3, 5))},
        {"events": np.zeros(3, [("t", "i8"), ("x", "i8")])},
        {"events": np.asfortranarray(np.zeros((3, 4)))},
        {"events": np.zeros(3, [("t", "i8"), ("x", "U1"), ("y", "i8"), ("p", "?")])},
        {"t": np.zeros(3, "M8[us]"), "x": np.zeros(3), "y": np.zeros(3), "p": np.zeros(3)},
    ],
)
def test_arrays_that_are_no_events_are_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    np.savez(tmp_path / "rec.npz", **arrays)
    with pytest.raises(SourceError, match=r"rec\.npz"):
        read(tmp_path / "rec.npz")


def test_a_header_that_promises_too_much_costs_no_memory(tmp_path: Path) -> None:
    np.save(tmp_path / "rec.npy", EVENTS[:100])
    content = (tmp_path / "rec.npy").read_bytes()
    digits = b"100,), }" + b" " * 10
    assert digits in content
    (tmp_path / "rec.npy").write_bytes(content.replace(digits, b"10000000000,), }  "))
    whole = Whole(ArrayRecording(str(tmp_path / "rec.npy")).packets())
    assert same(whole.events, EVENTS[:100])
    assert [one.lost_bytes for one in whole.damage] == [16 * (10**10 - 100)]


def test_a_damaged_npz_gives_what_lies_before(tmp_path: Path) -> None:
    columns = {name: EVENTS[name] for name in FIELDS}
    np.savez(tmp_path / "rec.npz", **columns)
    with zipfile.ZipFile(tmp_path / "rec.npz") as archive:
        last = archive.getinfo("p.npy").header_offset
    content = bytearray((tmp_path / "rec.npz").read_bytes())
    content[last + 2000] ^= 0xFF  # the check sum of p is wrong now, which shows at its end
    (tmp_path / "rec.npz").write_bytes(content)
    whole = Whole(ArrayRecording(str(tmp_path / "rec.npz")).packets())
    assert len(whole.events) >= 2 * MAX_PACKET_EVENTS
    assert "CRC" in whole.damage[0].reason
