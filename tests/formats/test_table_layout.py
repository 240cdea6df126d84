"""Tables without names are read right or refused: order, unit and polarity by evidence."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import Whole, same
from helpers.optional import h5py

from streamstop.errors import SourceError
from streamstop.events.packet import Events, make_events
from streamstop.formats.columns import find_columns
from streamstop.formats.detect import open_recording
from streamstop.formats.table_layout import TableLayout, TableOptions, find_layout

ORDERS = ["".join(one) for one in itertools.permutations("txyp")]
CAMERAS = {
    "davis346": (5000, 346, 260, 1_000_000, 0),
    "vga, long running": (20_000, 640, 480, 3_000_000, 57_000_000_000),
    "davis240, few": (1000, 240, 180, 500_000, 0),
    "epoch": (20_000, 346, 260, 5_000_000, 1_500_000_000_000_000),
}
"""Events, columns, rows, duration in us, time of the first event."""


def a_recording(camera: str) -> Events:
    """A blob that wanders, and noise everywhere."""
    n, width, height, span, start = CAMERAS[camera]
    rng = np.random.default_rng(n + width)
    t = np.sort(rng.integers(0, span, n))
    x = rng.normal(width / 2 + width / 3 * np.sin(t / span * 9), width / 20)
    y = rng.normal(height / 2 + height / 3 * np.cos(t / span * 7), height / 20)
    noise = rng.random(n) < 0.05
    x[noise], y[noise] = rng.integers(0, width, noise.sum()), rng.integers(0, height, noise.sum())
    x, y = x.clip(0, width - 1), y.clip(0, height - 1)
    return make_events(t + start, x.astype(int), y.astype(int), rng.random(n) < 0.5)


def scaled(t: np.ndarray, unit: str) -> np.ndarray:
    return t * {"us": 1, "ns": 1000, "s": 1e-6, "ms": 1e-3}[unit]


def write(path: Path, events: Events, order: str, unit: str, signed: bool) -> Path:
    """The table as a file of the path's suffix."""
    columns = {name: events[name].astype(np.int64) for name in "xyp"}
    columns["p"] = 2 * columns["p"] - 1 if signed else columns["p"]
    columns["t"] = scaled(events["t"], unit)
    table = np.stack([columns[name] for name in order], axis=1)
    if path.suffix == ".npy":
        np.save(path, table)
    elif path.suffix == ".npz":
        np.savez(path, events=table)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["events"] = table
    else:
        formats = ["%.9f" if unit in ("s", "ms") and name == "t" else "%d" for name in order]
        np.savetxt(path, table, formats, delimiter=",")
    return path


def wrong(read: Events, events: Events) -> bool:
    return not (
        len(read) == len(events)
        and (abs(read["t"] - events["t"]) <= 1).all()  # a float of epoch seconds holds no more
        and all((read[name] == events[name]).all() for name in "xyp")
    )


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("unit", ["us", "s", "ns", "ms"])
@pytest.mark.parametrize("suffix", ["csv", "npy", "npz", "h5"])
def test_a_table_of_any_order_is_read_right_or_refused(
    tmp_path: Path, camera: str, unit: str, suffix: str
) -> None:
    events = a_recording(camera)
    right = 0
    for i, order in enumerate(ORDERS):
        path = write(tmp_path / f"rec.{suffix}", events, order, unit, signed=i % 2 == 1)
        try:
            recording = open_recording(str(path))
        except SourceError as error:
            assert "?columns=" in str(error) or "?unit=" in str(error)
            continue
        assert recording.notes
        assert not wrong(Whole(recording.packets()).events, events), (order, recording.notes)
        right += 1
    # Orders with y before x are refused here, and units that do not show.
    assert right == (12 if unit in ("us", "s") or (unit == "ns" and camera == "epoch") else 0)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("suffix", ["csv", "npy", "npz", "h5"])
def test_what_the_options_state_is_taken(tmp_path: Path, order: str, suffix: str) -> None:
    events = a_recording("davis346")
    for unit in ("us", "s", "ns", "ms"):
        path = write(tmp_path / f"rec.{suffix}", events, order, unit, signed=False)
        recording = open_recording(str(path), {"columns": order, "unit": unit})
        assert not wrong(Whole(recording.packets()).events, events), unit
        assert not recording.notes


@pytest.mark.parametrize(
    ("values", "read"),
    [
        ([0, 1, 1], [False, True, True]),
        ([-1, 1, 1], [False, True, True]),
        ([1, 2, 2], [False, True, True]),
        ([0, 255, 255], [False, True, True]),
        ([2**32 - 1, 1, 1], [False, True, True]),
        ([0.0, 1.0, 1.0], [False, True, True]),
        ([False, True, True], [False, True, True]),
        ([0, 0, 0], [False] * 3),
        ([1, 1, 1], [True] * 3),
        ([-1, -1, -1], [False] * 3),
    ],
)
def test_polarity_by_the_two_values_that_are_there(
    tmp_path: Path, values: list[float], read: list[bool]
) -> None:
    np.savez(tmp_path / "a.npz", t=[1, 2, 3], x=[1, 2, 1], y=[3, 4, 3], p=values)
    recording = open_recording(str(tmp_path / "a.npz"))
    assert Whole(recording.packets()).events["p"].tolist() == read


@pytest.mark.parametrize("values", [[0, 1, 2, 3], [-1, 0, 1, 1], [0, 1, 255, 255], [7, 7, 7, 7]])
def test_other_polarity_is_refused_until_stated(tmp_path: Path, values: list[int]) -> None:
    np.savez(tmp_path / "a.npz", t=[1, 2, 3, 4], x=[1] * 4, y=[3] * 4, p=values)
    with pytest.raises(SourceError, match=r"polarity holds the values .*\?on="):
        open_recording(str(tmp_path / "a.npz"))
    recording = open_recording(str(tmp_path / "a.npz"), {"on": f"{values[-1]},1"})
    read = Whole(recording.packets()).events["p"].tolist()
    assert read == [one in (values[-1], 1) for one in values]


def test_eight_bits_of_minus_one(tmp_path: Path) -> None:
    """255 beside 1 is -1, beside 0 it is ON, and alone it may be either."""
    for values, read in (([255, 1], [False, True]), ([0, 255], [False, True]), ([255, 255], None)):
        p = np.array(values, np.uint8)
        np.savez(tmp_path / "a.npz", t=[1, 2], x=[1, 2], y=[3, 4], p=p)
        if read is None:
            with pytest.raises(SourceError, match=r"\?on="):
                open_recording(str(tmp_path / "a.npz"))
        else:
            recording = open_recording(str(tmp_path / "a.npz"))
            assert Whole(recording.packets()).events["p"].tolist() == read
            assert "polarity" in recording.notes[0]


def test_a_polarity_that_comes_later_is_damage_and_not_an_event(tmp_path: Path) -> None:
    events = np.concatenate([a_recording("davis346")] * 5)
    events["t"] = np.arange(len(events)) * 200
    p = events["p"].astype(int)
    p[12_345] = 2
    np.savez(tmp_path / "a.npz", p=p, **{name: events[name] for name in "txy"})
    whole = Whole(open_recording(str(tmp_path / "a.npz")).packets())
    assert same(whole.events, np.delete(events, 12_345))
    assert "polarity 2 is none of 0, 1" in whole.damage[0].reason


def test_fractions_of_pixels_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 500)) * 100
    np.savez(tmp_path / "a.npz", t=np.arange(500) * 1000, x=x, y=y, p=np.ones(500))
    with pytest.raises(SourceError, match="fractions of pixels"):
        open_recording(str(tmp_path / "a.npz"))


@pytest.mark.parametrize(
    ("t", "best"),
    [
        (np.arange(5000) * 6_000_000, "ns"),  # 30 s of nanoseconds would be 8 hours
        (np.arange(5000) // 5, "ms"),  # 1 s of milliseconds would be 1 ms
    ],
)
def test_a_unit_that_does_not_show_is_refused_with_the_likely_one(
    tmp_path: Path, t: np.ndarray, best: str
) -> None:
    events = a_recording("davis346")
    np.savez(tmp_path / "a.npz", t=t, **{name: events[name] for name in "xyp"})
    with pytest.raises(SourceError, match=rf"Give \?unit={best}, or \?unit=us"):
        open_recording(str(tmp_path / "a.npz"))
    np.savez(tmp_path / "b.npz", t_us=t, **{name: events[name] for name in "xyp"})
    read = Whole(open_recording(str(tmp_path / "b.npz")).packets()).events
    assert (read["t"] == t).all()


def test_a_sensor_that_the_file_states_decides_between_x_and_y(tmp_path: Path) -> None:
    events = a_recording("davis346")
    for head in ("%geometry:346,260\n", "346 260\n"):
        path = write(tmp_path / "rec.csv", events, "yxpt", "us", signed=False)
        path.write_text(head + path.read_text())
        recording = open_recording(str(path))
        assert recording.sensor == (346, 260)
        assert not wrong(Whole(recording.packets()).events, events)


def test_a_table_with_more_columns_is_read_with_their_places(tmp_path: Path) -> None:
    events = a_recording("davis346")
    table = np.stack([events["t"], events["t"] * 7, *(events[name] for name in "xyp")], axis=1)
    np.savetxt(tmp_path / "rec.csv", table, "%d", delimiter=",")
    np.save(tmp_path / "rec.npy", table)
    for name in ("rec.csv", "rec.npy"):
        with pytest.raises(SourceError, match=r"\?columns="):
            open_recording(str(tmp_path / name))
        recording = open_recording(str(tmp_path / name), {"columns": "t-xyp"})
        assert same(Whole(recording.packets()).events, events)


def test_decimal_commas(tmp_path: Path) -> None:
    events = a_recording("davis346")
    rows = zip(*(events[name].tolist() for name in "txyp"), strict=True)
    lines = (f"{t / 1e6:.6f};{x};{y};{p:d}\n".replace(".", ",") for t, x, y, p in rows)
    (tmp_path / "rec.csv").write_text("".join(lines))
    recording = open_recording(str(tmp_path / "rec.csv"))
    assert same(Whole(recording.packets()).events, events)


@pytest.mark.parametrize(
    "names",
    [
        ("event_timestamp", "x", "y", "polarity"),
        ("timestamp_us", "x_coordinate", "y_coordinate", "pol"),
        ("t [us]", "X", "Y", "P"),
        ("time(usec)", "col", "row", "on"),
    ],
)
def test_names_of_columns_elsewhere(names: tuple[str, ...]) -> None:
    assert find_columns(["id", *names]) == dict(zip("txyp", names, strict=True))


def test_a_few_rows_are_not_evidence() -> None:
    rows = [np.array([100, 200]), np.array([5, 7]), np.array([6, 3]), np.array([1, 0])]
    with pytest.raises(SourceError, match=r"several orders fit; .* \?columns=txyp"):
        find_layout(rows, 2, TableOptions(), "rec.csv")
    stated = find_layout(rows, 2, TableOptions(columns="txyp"), "rec.csv")
    assert stated == TableLayout((0, 1, 2, 3))
    assert find_layout([np.zeros(0, int)] * 4, 0, TableOptions(), "rec.csv").order == (0, 1, 2, 3)


def test_nanoseconds_of_a_clock_in_microseconds_are_not_read_as_microseconds(
    tmp_path: Path,
) -> None:
    """A busy recording in ns, every time a multiple of 1000, may look like a quiet one in us."""
    rng = np.random.default_rng(0)
    t = np.sort(rng.integers(0, 300_000, 50_000)) * 1000
    x, y = rng.integers(0, 34, (2, len(t)))
    np.savez(tmp_path / "a.npz", t=t, x=x, y=y, p=rng.integers(0, 2, len(t)))
    with pytest.raises(SourceError, match=r"Give \?unit=ns, or \?unit=us"):
        open_recording(str(tmp_path / "a.npz"))


def test_times_beyond_all_bounds_are_refused_in_words(tmp_path: Path) -> None:
    t = np.linspace(-1, 1, 500) * 1e308
    np.savez(tmp_path / "a.npz", t=t, x=np.arange(500) % 30, y=np.arange(500) % 20, p=t > 0)
    with pytest.raises(SourceError, match=r"\?unit="):
        open_recording(str(tmp_path / "a.npz"))
