"""The page "Which file is this?": every command on it reads a file of the layout that it names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import aedat2_bytes, bin_bytes
from helpers.optional import h5py

from streamstop.events.packet import Events, SensorSize, make_events
from streamstop.formats.write import write_recording
from streamstop.tools.inspection import inspect

PAGE = Path(__file__).parents[2] / "docs" / "which-file.md"
ROWS = re.findall(
    r"^\| ([^|]+?) \| `([^`]+)` \| [^|]+ \| `(streamstop [^`]+)` \|$", PAGE.read_text(), re.M
)


def moving(width: int, height: int, n: int = 5000, span_us: int = 1_000_000) -> Events:
    """A blob that moves over the whole sensor, with noise; the corners have an event each."""
    rng = np.random.default_rng(width + height)
    t = np.sort(rng.integers(100, span_us, n))
    x = width / 2 + width / 3 * np.sin(t / span_us * 9) + rng.normal(0, width / 20, n)
    y = height / 2 + height / 3 * np.cos(t / span_us * 7) + rng.normal(0, height / 20, n)
    noise = rng.random(n) < 0.05
    x[noise], y[noise] = rng.integers(0, width, noise.sum()), rng.integers(0, height, noise.sum())
    x[:2], y[:2] = (0, width - 1), (0, height - 1)
    x, y = x.clip(0, width - 1).astype(int), y.clip(0, height - 1).astype(int)
    return make_events(t, x, y, rng.random(n) < 0.5)


Writer = Callable[[Path, Events], None]


def table(events: Events, order: str, seconds: bool, signed: bool) -> np.ndarray:
    p = events["p"].astype(float)
    t = events["t"] / 1e6 if seconds else events["t"]
    columns = {"t": t, "x": events["x"], "y": events["y"], "p": 2 * p - 1 if signed else p}
    return np.stack([columns[name] for name in order], axis=1)


def npy(order: str) -> Writer:
    return lambda path, events: np.save(path, table(events, order, True, True))


def text(order: str, separator: str = " ", head: str = "", seconds: bool = True) -> Writer:
    def write(path: Path, events: Events) -> None:
        formats = ["%.9f" if seconds and name == "t" else "%d" for name in order]
        rows = table(events, order, seconds, False)
        np.savetxt(path, rows, formats, delimiter=separator, header=head, comments="")

    return write


def hdf5(group: str, **attributes: object) -> Writer:
    def write(path: Path, events: Events) -> None:
        with h5py.File(path, "w") as file:
            for name in "txyp":
                file[f"{group}/{name}"] = events[name].astype(np.int64)
            for name, value in attributes.items():
                file[name.replace("__", "/")] = value

    return write


def m3ed(path: Path, events: Events) -> None:
    with h5py.File(path, "w") as file:
        for side in ("left", "right"):
            for name in "txyp":
                file[f"prophesee/{side}/{name}"] = events[name].astype(np.int64)
            file[f"prophesee/{side}/calib/resolution"] = (1280, 720)


def mvsec(path: Path, events: Events) -> None:
    with h5py.File(path, "w") as file:
        for side in ("left", "right"):
            rows = table(events, "xytp", True, True)
            rows[:, 2] += 1_504_645_177
            file[f"davis/{side}/events"] = rows


def hdf5_table(path: Path, events: Events) -> None:
    with h5py.File(path, "w") as file:
        file["events"] = table(events, "txyp", False, False).astype(np.uint32)


def v2e_aedat(path: Path, events: Events) -> None:
    """DAVIS346 addresses, both axes flipped, and no line that names the chip."""
    x, y, p = (events[name].astype(np.uint32) for name in "xyp")
    words = np.empty((len(events), 2), ">u4")
    words[:, 0] = (345 - x) << 12 | (259 - y) << 22 | p << 11
    words[:, 1] = events["t"]
    path.write_bytes(b"#!AER-DAT2.0\r\n# created by a simulator\r\n" + words.tobytes())


def atis_dat(path: Path, events: Events) -> None:
    """DAT of version 1: x of 9 bits, y of 8, polarity."""
    x, y, p = (events[name].astype(np.uint32) for name in "xyp")
    words = np.empty((len(events), 2), "<u4")
    words[:, 0], words[:, 1] = events["t"], x | y << 9 | p << 17
    path.write_bytes(b"% Data file containing TD events.\n% Version 1\n\x00\x08" + words.tobytes())


def bag(path: Path, events: Events) -> None:
    rosbag1 = pytest.importorskip("rosbags.rosbag1")
    stores = pytest.importorskip("rosbags.typesys")
    import struct

    store = stores.get_typestore(stores.Stores.ROS1_NOETIC)
    names = stores.get_types_from_msg(
        "uint16 x\nuint16 y\ntime ts\nbool polarity", "dvs_msgs/msg/Event"
    )
    names |= stores.get_types_from_msg(
        "std_msgs/Header header\nuint32 height\nuint32 width\ndvs_msgs/Event[] events",
        "dvs_msgs/msg/EventArray",
    )
    store.register(names)
    with rosbag1.Writer(path) as out:
        topic = out.add_connection("/cam0/events", "dvs_msgs/msg/EventArray", typestore=store)
        for at in range(0, len(events), 1000):
            part = events[at : at + 1000]
            body = struct.pack("<IIII", 0, 0, 0, 0) + struct.pack("<III", 260, 346, len(part))
            for t, x, y, p in part.tolist():
                body += struct.pack("<HHIIB", x, y, t // 1_000_000, t % 1_000_000 * 1000, p)
            out.write(topic, 1000 * int(part["t"][-1]), body)


def matlab(path: Path, events: Events) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    names = {"ts": "t", "x": "x", "y": "y", "pol": "p"}
    columns = {name: events[own].astype(float)[:, None] for name, own in names.items()}
    scipy_io.savemat(path, columns)


def structured(path: Path, events: Events) -> None:
    fields = np.zeros(len(events), [("t", "<i4"), ("x", "i1"), ("y", "i1"), ("p", "i1")])
    for name in "txyp":
        fields[name] = events[name]
    np.save(path, fields)


def n_imagenet(path: Path, events: Events) -> None:
    fields = np.zeros(len(events), [("x", "<u2"), ("y", "<u2"), ("t", "<i8"), ("p", "?")])
    for name in "txyp":
        fields[name] = events[name]
    np.savez_compressed(path, event_data=fields)


def ev_imo(path: Path, events: Events) -> None:
    p = events["p"] + 2 * (np.arange(len(events)) % 2)
    t = (events["t"] / 1e6).astype(np.float32)
    np.savez(path, t=t, x=events["x"], y=events["y"], p=p.astype(np.uint8))


def of_bytes(content: Callable[[Events], bytes]) -> Writer:
    return lambda path, events: path.write_bytes(content(events)) and None


def ours(format: str, width: int, height: int) -> Writer:
    def write(path: Path, events: Events) -> None:
        write_recording(path, events, SensorSize(width, height), format=format)

    return write


FILES: dict[str, tuple[tuple[int, int], Writer]] = {
    "00001.bin": ((34, 34), lambda path, events: path.write_bytes(bin_bytes(events)) and None),
    "image_0001.bin": (
        (240, 180),
        lambda path, events: path.write_bytes(bin_bytes(events)) and None,
    ),
    "image_1.npy": ((240, 180), npy("xytp")),
    "user01_led.aedat": ((128, 128), ours("aedat3", 128, 128)),
    "cifar10_cat_1.aedat": ((128, 128), of_bytes(aedat2_bytes)),
    "events.h5": ((640, 480), hdf5("events", t_offset=57_000_000_000)),
    "events.txt": ((640, 480), text("xypt", "\t", seconds=False)),
    "outdoor_day1_data.hdf5": ((346, 260), mvsec),
    "car_urban_day_data.h5": ((1280, 720), m3ed),
    "shapes/events.txt": ((240, 180), text("txyp")),
    "boxes/events.txt": ((240, 180), text("txyp", head="240 180")),
    "v2e-346x260.aedat": ((346, 260), v2e_aedat),
    "v2e.h5": ((346, 260), hdf5_table),
    "v2e-dvs-events.txt": ((346, 260), text("txyp", head="# created by v2e\n# timestamp x y pol")),
    "out.bag": ((346, 260), bag),
    "esim.npy": ((346, 260), npy("xytp")),
    "gen1_td.dat": ((304, 240), ours("dat", 304, 240)),
    "moorea_td.dat": ((1280, 720), ours("dat", 1280, 720)),
    "obj_000001_td.dat": ((120, 100), ours("dat", 120, 100)),
    "atis_td.dat": ((304, 240), atis_dat),
    "rec.csv": ((640, 480), text("xypt", ",", seconds=False)),
    "a_0001.mat": ((240, 180), matlab),
    "0.npy": ((128, 128), structured),
    "user01.aedat": ((128, 128), ours("aedat3", 128, 128)),
    "C0P3M0S1.aedat4": ((320, 240), ours("aedat4", 320, 240)),
    "action_001.aedat4": ((346, 260), ours("aedat4", 346, 260)),
    "n01440764_18.npz": ((640, 480), n_imagenet),
    "event.aedat4": ((346, 260), ours("aedat4", 346, 260)),
    "dataset_events.npz": ((640, 480), ev_imo),
}


def test_the_page_and_the_files_here_are_the_same_ones() -> None:
    assert [name for _, name, _ in ROWS] == list(FILES)


@pytest.mark.parametrize(("who", "name", "command"), ROWS)
def test_the_command_reads_the_file(
    who: str, name: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (width, height), write = FILES[name]
    events = moving(width, height)
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    write(path, events)
    monkeypatch.chdir(tmp_path)
    program, verb, uri = shlex.split(command)
    assert (program, verb) == ("streamstop", "inspect")
    info = inspect(uri)
    assert info.sensor == SensorSize(width, height)
    assert (info.events, info.on, info.outside) == (len(events), events["p"].sum(), 0)
    assert abs(info.duration_us - (events["t"][-1] - events["t"][0])) <= 1
    off, on = info.pixels
    picture = np.zeros_like(info.pixels)
    np.add.at(picture, (events["p"].astype(int), events["y"], events["x"]), 1)
    assert (off == picture[0]).all()
    assert (on == picture[1]).all()
    assert info.damage_total == info.time_reversals == 0
