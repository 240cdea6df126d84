"""EVT files made word by word, and by faery and expelliarmus; read whole, in part, and damaged."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import Whole, random_events, same
from helpers.optional import faery

from streamstop.errors import SourceError, UsageError
from streamstop.events.packet import Events, SensorSize, make_events
from streamstop.formats.detect import open_recording
from streamstop.formats.prophesee.evt import EvtRecording
from streamstop.formats.prophesee.writer import write_dat, write_evt2, write_evt3

HEADERS = {"evt3": b"% evt 3.0\n", "evt2": b"% evt 2.0\n", "evt2.1": b"% evt 2.1\n"}
KINDS = {"evt3": "<u2", "evt2": "<u4", "evt2.1": "<u8"}
WIDE = SensorSize(1280, 720)


def high3(value: int) -> int:
    return 0x8000 | value & 0xFFF


def low3(value: int) -> int:
    return 0x6000 | value


def x3(x: int, p: int = 1) -> int:
    return 0x2000 | p << 11 | x


def base3(x: int, p: int = 1) -> int:
    return 0x3000 | p << 11 | x


def high2(value: int) -> int:
    return 0x8 << 28 | value & 0xFFFFFFF


def event2(low: int, x: int, y: int, p: int = 1) -> int:
    return p << 28 | low << 22 | x << 11 | y


def high21(value: int) -> int:
    return 0x8 << 60 | (value & 0xFFFFFFF) << 32


def events21(low: int, x: int, y: int, mask: int, p: int = 1) -> int:
    return p << 60 | low << 54 | x << 43 | y << 32 | mask


def read(
    path: Path, version: str, words: list[int], header: bytes = b"", tail: bytes = b""
) -> Whole:
    path.write_bytes(HEADERS[version] + header + np.array(words, KINDS[version]).tobytes() + tail)
    return Whole(EvtRecording(str(path)).packets())


def evt21_bytes(events: Events) -> bytes:
    words, now = [], -1
    for t, x, y, p in events.tolist():
        if t >> 6 != now:
            now = t >> 6
            words.append(high21(now))
        words.append(events21(t & 63, x, y, 1, int(p)))
    return HEADERS["evt2.1"] + np.array(words, "<u8").tobytes()


def by_faery(path: Path) -> Events:
    blocks = list(faery.events_stream_from_file(path, dimensions_fallback=(2048, 2048)))
    whole = np.concatenate(blocks)
    return make_events(whole["t"], whole["x"], whole["y"], whole["on"])


def make(path: Path, version: str, events: Events) -> Path:
    """A file of the version, by faery where it writes it, else word by word."""
    if version == "evt2.1":
        path.write_bytes(evt21_bytes(events))
        return path
    array = np.zeros(len(events), faery.EVENTS_DTYPE)
    for ours, theirs in (("t", "t"), ("x", "x"), ("y", "y"), ("p", "on")):
        array[theirs] = events[ours]
    faery.events_stream_from_array(array, tuple(WIDE)).to_file(path, version=version)
    return path


@pytest.mark.parametrize("name", ["evt3.raw", "evt2.raw"])
def test_real_files_are_read_as_faery_reads_them(data_dir: Path, name: str) -> None:
    path = data_dir / "formats" / name
    assert same(Whole(EvtRecording(str(path)).packets()).events, by_faery(path))


def test_evt2_is_read_as_expelliarmus_reads_it(data_dir: Path) -> None:
    expelliarmus = pytest.importorskip("expelliarmus")
    path = data_dir / "formats" / "evt2.raw"
    theirs = expelliarmus.Wizard(encoding="evt2").read(str(path))
    ours = Whole(EvtRecording(str(path)).packets()).events
    assert same(ours, make_events(*(theirs[name] for name in "txyp")))


@pytest.mark.parametrize("version", KINDS)
def test_files_of_another_writer(tmp_path: Path, version: str) -> None:
    events = random_events(150_000, width=1280, height=720, start_us=0)
    events["t"] -= events["t"][0]  # faery writes times from the first on
    whole = Whole(EvtRecording(str(make(tmp_path / "a.raw", version, events))).packets())
    assert same(whole.events, events)
    assert not whole.damage and not whole.dropped
    assert max(len(packet.events) for packet in whole.packets) <= 1 << 16


def test_evt3_vectors_and_words_that_are_no_events(tmp_path: Path) -> None:
    words = [high3(0), low3(1), 3, base3(100), 0x4000 | 0b101, 0x4001, 0x5000 | 0xF03, 0x5080]
    words += [0xA001, 0x7ABC, 0xE005, 0xF123, x3(9, 0), 0x0800 | 4, x3(10)]
    whole = read(tmp_path / "a.raw", "evt3", words)
    x = [100, 102, 112, 124, 125, 139, 9, 10]
    assert whole.events["x"].tolist() == x
    assert whole.events["y"].tolist() == [3] * 7 + [4]
    assert whole.events["p"].tolist() == [True] * 6 + [False, True]
    assert not whole.damage and not whole.dropped


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("stated", [False, True])
def test_evt21_masks_and_halves(tmp_path: Path, legacy: bool, stated: bool) -> None:
    words = [high21(2), events21(5, 64, 7, 1 << 31 | 0b11), 0xE << 60, events21(6, 3, 8, 4, 0)]
    if legacy:
        words = [word >> 32 | (word & 0xFFFFFFFF) << 32 for word in words]
    order = b"% endianness " + (b"legacy" if legacy else b"little") + b"\n" if stated else b""
    whole = read(tmp_path / "a.raw", "evt2.1", words, order)
    assert whole.events["x"].tolist() == [64, 65, 95, 5]
    assert whole.events["y"].tolist() == [7, 7, 7, 8]
    assert whole.events["t"].tolist() == [133, 133, 133, 134]
    assert whole.events["p"].tolist() == [True, True, True, False]


@pytest.mark.parametrize("steps", [[0xFFF, 0, 0xFFF, 0], [0, 1500, 3000, 404, 1904, 3404, 808]])
def test_evt3_wraps_twice(tmp_path: Path, steps: list[int]) -> None:
    words = [7]
    for value in steps:
        words += [high3(value), low3(9), x3(1)]
    turns = np.cumsum([0, *(np.diff(steps) < 0)])
    expected = (turns << 24) + (np.array(steps) << 12) + 9
    assert turns[-1] == 2
    assert read(tmp_path / "a.raw", "evt3", words).events["t"].tolist() == expected.tolist()


@pytest.mark.parametrize("version", ["evt2", "evt2.1"])
def test_evt2_wraps_twice(tmp_path: Path, version: str) -> None:
    high, event = (high2, event2) if version == "evt2" else (high21, lambda *a: events21(*a, 1))
    last = (1 << 28) - 1
    words = []
    for value in (last, 0, 1 << 27, last, 0):
        words += [high(value), event(3, 4, 5)]
    t = read(tmp_path / "a.raw", version, words).events["t"]
    turns = [(0, last), (1, 0), (1, 1 << 27), (1, last), (2, 0)]
    assert t.tolist() == [(turn << 34) + (value << 6) + 3 for turn, value in turns]


def test_what_comes_before_time_and_row_is_counted(tmp_path: Path) -> None:
    words = [low3(5), x3(1), base3(3), 0x4003, high3(2), x3(2), 8, x3(3)]
    whole = read(tmp_path / "a.raw", "evt3", words)
    assert whole.events.tolist() == [(8192, 3, 8, True)]
    assert whole.dropped == {"untimed": 4}
    whole = read(tmp_path / "a.raw", "evt2", [event2(1, 2, 3), high2(1), event2(1, 2, 3)])
    assert whole.events.tolist() == [(65, 2, 3, True)]
    assert whole.dropped == {"untimed": 1}
    whole = read(tmp_path / "a.raw", "evt2.1", [events21(1, 2, 3, 7)])
    assert (len(whole.events), whole.dropped) == (0, {"untimed": 3})


@pytest.mark.parametrize(
    ("line", "size"),
    [
        (b"% geometry 640x480\n% end\n", (640, 480)),
        (b"% format EVT2;height=720;width=1280\n", (1280, 720)),
        (b"% format EVT2;width=320;height=320\n% end\n", (320, 320)),
        (b"% geometry 0x0\n", None),
        (b"", None),
    ],
)
def test_the_header_tells_the_sensor(
    tmp_path: Path, line: bytes, size: tuple[int, int] | None
) -> None:
    whole = read(tmp_path / "a.raw", "evt2", [high2(1), event2(0, 5, 6)], line)
    recording = open_recording(str(tmp_path / "a.raw"))
    assert (recording.format, recording.sensor) == ("evt2", size)
    assert whole.events.tolist() == [(64, 5, 6, True)]


def test_words_that_look_like_a_header_line_are_words(tmp_path: Path) -> None:
    """After `% end`, and without it where the bytes are no text."""
    words = [int.from_bytes(b"% a\n", "little"), high2(1), event2(0, 5, 6)]
    whole = read(tmp_path / "a.raw", "evt2", words, b"% end\n")
    assert whole.events.tolist() == [(64, 5, 6, True)]
    assert whole.dropped == {"untimed": 1}
    words = [int.from_bytes(b"%\x00\x00\x80", "little"), event2(10, 5, 6)]
    assert read(tmp_path / "a.raw", "evt2", words).events.tolist() == [(37 * 64 + 10, 5, 6, True)]


def test_a_file_of_no_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(b"% evt 4.0\n" + bytes(8))
    with pytest.raises(SourceError, match="neither EVT2"):
        EvtRecording(str(tmp_path / "a.raw"))


@pytest.mark.parametrize("version", KINDS)
@pytest.mark.parametrize("packed", [False, True])
def test_reading_goes_on_from_any_packet(tmp_path: Path, version: str, packed: bool) -> None:
    """Also from amid vectors, after damage, and in a file that is compressed."""
    events = random_events(200_000, width=1280, height=720)
    content = bytearray(make(tmp_path / "a.raw", version, events).read_bytes())
    draw = random.Random(1)
    for _ in range(20):
        content[draw.randrange(200, len(content))] = draw.randrange(256)
    path = tmp_path / ("a.raw.gz" if packed else "a.raw")
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    recording = EvtRecording(str(path))
    whole = Whole(recording.packets())
    for packet in whole.packets:
        rest = Whole(recording.packets(packet.cursor)).events
        assert same(rest, whole.events[packet.cursor.event :])


def test_evt3_goes_on_amid_a_row_of_vectors(tmp_path: Path) -> None:
    """Row, column and polarity of what follows are set by words before the cursor."""
    words = [high3(1), low3(2), 7, base3(0, 1)] + [0x4FFF] * 170
    words = words * 50
    whole = read(tmp_path / "a.raw", "evt3", words)
    assert len(whole.events) == 12 * 170 * 50
    assert len(whole.packets) == 2
    rest = Whole(EvtRecording(str(tmp_path / "a.raw")).packets(whole.packets[0].cursor)).events
    assert same(rest, whole.events[whole.packets[0].cursor.event :])
    assert whole.events["x"].max() == 2039


# Damage.


def test_evt3_a_word_of_no_kind_costs_until_time_and_row_are_known(tmp_path: Path) -> None:
    words = [high3(1), low3(1), 5, x3(1), 0x9000, x3(2), low3(2), x3(3), 6, x3(4)]
    whole = read(tmp_path / "a.raw", "evt3", words)
    assert whole.events["x"].tolist() == [1, 4]
    start = len(HEADERS["evt3"])
    assert [(one.offset, one.lost_bytes) for one in whole.damage] == [(start + 8, 8)]
    assert [len(packet.events) for packet in whole.packets] == [1, 1]
    assert whole.packets[1].damage  # it lies before the second event


def test_evt3_after_a_bad_word_a_time_that_runs_back_waits_for_the_next_high(
    tmp_path: Path,
) -> None:
    """The bad word may have been the TIME_HIGH: times without it would be 4 ms early."""
    words = [high3(1), low3(4000), 5, x3(1), 0xD002, low3(3), 5, x3(2), high3(2), low3(9), 6, x3(3)]
    assert read(tmp_path / "a.raw", "evt3", words).events["x"].tolist() == [1, 3]


@pytest.mark.parametrize("bad", [0x9ABC, 0x1000, 0xB001, 0xC001, 0xD001])
def test_evt3_kinds_that_do_not_exist(tmp_path: Path, bad: int) -> None:
    assert len(read(tmp_path / "a.raw", "evt3", [high3(1), bad]).damage) == 1


def test_evt3_a_vector_beyond_the_last_column(tmp_path: Path) -> None:
    words = [high3(1), low3(1), 5, base3(2040), 0x40FF, high3(1), 5, base3(2040), 0x4FFF]
    whole = read(tmp_path / "a.raw", "evt3", words)
    assert whole.events["x"].tolist() == list(range(2040, 2048))
    assert len(whole.damage) == 1


def test_evt3_a_time_that_leaps_there_and_back(tmp_path: Path) -> None:
    words: list[int] = []
    for k in range(60):
        words += [high3(k // 2 if k != 40 else k // 2 | 1 << 10), low3(k * 50), 5, x3(k)]
    whole = read(tmp_path / "a.raw", "evt3", words)
    assert whole.events["x"].tolist() == [k for k in range(60) if k != 40]
    assert whole.events["t"].tolist() == [(k // 2) << 12 | k * 50 for k in range(60) if k != 40]
    start = len(HEADERS["evt3"])
    assert [(one.offset, one.lost_bytes) for one in whole.damage] == [(start + 320, 8)]


def test_evt2_a_time_that_leaps_after_one_that_crept_ahead(tmp_path: Path) -> None:
    """The first damaged time is near enough to pass; the true ones lie behind it, and are found."""
    counts = [*range(30), 30 | 512, 31 | 1 << 20, *range(32, 60)]
    words = [word for k in counts for word in (high2(k), event2(0, k & 63, 1))]
    whole = read(tmp_path / "a.raw", "evt2", words)
    assert whole.events["t"].tolist() == [k << 6 for k in counts if k != 31 | 1 << 20]
    assert [one.lost_bytes for one in whole.damage] == [8]


def test_evt3_time_leaps_for_good(tmp_path: Path) -> None:
    """A camera that was silent, or lost data: no later time agrees with the one before."""
    counts = [*range(20), *range(1000, 1020)]
    words = [5] + [word for k in counts for word in (high3(k), low3(0), x3(1))]
    whole = read(tmp_path / "a.raw", "evt3", words)
    assert whole.events["t"].tolist() == [k << 12 for k in counts]
    assert not whole.damage


def test_evt2_a_word_of_no_kind_costs_until_the_next_time(tmp_path: Path) -> None:
    words = [high2(1), event2(1, 1, 1), 0x3 << 28, event2(2, 2, 2), high2(1), event2(3, 3, 3)]
    whole = read(tmp_path / "a.raw", "evt2", words)
    assert whole.events["x"].tolist() == [1, 3]
    assert [(one.offset, one.lost_bytes) for one in whole.damage] == [(len(HEADERS["evt2"]) + 8, 8)]


@pytest.mark.parametrize("version", KINDS)
def test_a_file_that_ends_inside_a_word(tmp_path: Path, version: str) -> None:
    words = {
        "evt3": [high3(1), 5, x3(1)],
        "evt2": [high2(1), event2(0, 1, 5)],
        "evt2.1": [high21(1), events21(0, 1, 5, 1)],
    }[version]
    whole = read(tmp_path / "a.raw", version, words, tail=b"\x01")
    assert len(whole.events) == 1
    assert [one.lost_bytes for one in whole.damage] == [1]
    assert not whole.packets[0].damage


@pytest.mark.parametrize("version", KINDS)
def test_junk_amid_a_file_is_reported_and_makes_no_event(tmp_path: Path, version: str) -> None:
    events = random_events(50_000, width=1280, height=720)
    make(tmp_path / "a.raw", version, events)
    truth = Whole(EvtRecording(str(tmp_path / "a.raw")).packets()).events
    content = (tmp_path / "a.raw").read_bytes()
    middle = len(content) // 2
    middle -= (middle - content.rindex(b"\n", 0, 200) - 1) % 8
    junk = random.Random(2).randbytes(8000)
    (tmp_path / "a.raw").write_bytes(content[:middle] + junk + content[middle:])
    whole = Whole(EvtRecording(str(tmp_path / "a.raw")).packets())
    known = set(truth.tolist())
    found = set(whole.events.tolist())
    assert found <= known
    assert len(known - found) < 200
    assert min(one.offset for one in whole.damage) <= middle + 64
    lost = sum(one.lost_bytes for one in whole.damage)
    assert len(junk) - 400 < lost < len(junk) + 4000


@pytest.mark.parametrize("version", KINDS)
def test_mutations_lose_little_and_are_reported_where_they_are(
    tmp_path: Path, version: str
) -> None:
    events = random_events(5_000, width=1280, height=720)
    content = make(tmp_path / "a.raw", version, events).read_bytes()
    truth = Whole(EvtRecording(str(tmp_path / "a.raw")).packets()).events
    start = content.rindex(b"\n", 0, 200) + 1
    draw = random.Random(4)
    for _ in range(150):
        damaged, at = bytearray(content), draw.randrange(start, len(content))
        damaged[at] ^= 1 << draw.randrange(8)
        (tmp_path / "b.raw").write_bytes(damaged)
        whole = Whole(EvtRecording(str(tmp_path / "b.raw")).packets())
        assert len(whole.events) >= len(truth) - 200
        assert all(one.offset - 8 <= at <= one.offset + one.lost_bytes + 8 for one in whole.damage)


# Writers.


@pytest.mark.parametrize("write", [write_evt3, write_evt2])
@pytest.mark.parametrize("start_us", [0, 5, (1 << 24) - 3, 1_633_953_690_975_950])
@pytest.mark.parametrize("silent", [False, True])
def test_what_is_written_is_read_back(
    tmp_path: Path, write: type[write_evt3], start_us: int, silent: bool
) -> None:
    """By this reader and by faery; with silences longer than a wrap, and other packets."""
    events = random_events(20_000, width=1280, height=720, start_us=start_us)
    if silent:
        events["t"][5_000:] += 40_000_000
        events["t"][9_000:] += 2 * (1 << 34) // 7
        events["t"][9_001:] += 2 * 3600 * 1_000_000
    path = tmp_path / "a.raw"
    assert write(path, events, WIDE) == len(events)
    recording = EvtRecording(str(path))
    whole = Whole(recording.packets())
    assert same(whole.events, events)
    assert not whole.damage
    assert (recording.sensor, recording.simulated) == (WIDE, False)
    assert same(by_faery(path), events)
    write(tmp_path / "b.raw", (events[i : i + 777] for i in range(0, len(events), 777)), WIDE)
    assert path.read_bytes() == (tmp_path / "b.raw").read_bytes()


def test_evt2_is_written_as_expelliarmus_reads_it(tmp_path: Path) -> None:
    expelliarmus = pytest.importorskip("expelliarmus")
    events = random_events(20_000, width=1280, height=720)
    write_evt2(tmp_path / "a.raw", events, WIDE)
    theirs = expelliarmus.Wizard(encoding="evt2").read(str(tmp_path / "a.raw"))
    assert same(events, make_events(*(theirs[name] for name in "txyp")))


def test_dat_is_written_as_others_read_it(tmp_path: Path) -> None:
    events = random_events(20_000, width=1280, height=720)
    events["t"][5_000:] += 1 << 31
    events["t"] -= 1000
    with pytest.raises(UsageError, match="too long after"):
        write_dat(tmp_path / "a.dat", events, WIDE)
    events["t"][5_000:] -= 1000
    for name in "ab":
        cut = events if name == "a" else (events[i : i + 99] for i in range(0, 20_000, 99))
        assert write_dat(tmp_path / f"{name}.dat", cut, WIDE) == 20_000
    assert (tmp_path / "a.dat").read_bytes() == (tmp_path / "b.dat").read_bytes()
    recording = open_recording(str(tmp_path / "a.dat"))
    assert same(Whole(recording.packets()).events, events)
    assert recording.sensor == WIDE
    assert same(by_faery(tmp_path / "a.dat"), events)


@pytest.mark.parametrize("write", [write_evt3, write_evt2, write_dat])
def test_the_file_says_that_no_camera_made_it(tmp_path: Path, write: type[write_evt3]) -> None:
    events = random_events(10)
    write(tmp_path / "a.raw", events, WIDE, simulated=True)
    recording = open_recording(str(tmp_path / "a.raw"))
    assert recording.simulated
    assert same(Whole(recording.packets()).events, events)


def test_a_file_without_events(tmp_path: Path) -> None:
    assert write_evt3(tmp_path / "a.raw", [], WIDE) == 0
    assert not Whole(open_recording(str(tmp_path / "a.raw")).packets()).packets


@pytest.mark.parametrize("write", [write_evt3, write_evt2, write_dat])
@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("x", 1280, "outside the sensor"),
        ("t", 3, "aedat4"),
        ("t", -1, "earlier than"),
        ("t", 1 << 50, "too long"),
    ],
)
def test_what_a_format_cannot_say_is_refused(
    tmp_path: Path, write: type[write_evt3], field: str, value: int, says: str
) -> None:
    events = random_events(100)
    (tmp_path / "a.raw").write_bytes(b"what stood there")
    events[field][50] = value
    with pytest.raises(UsageError, match=says) as refused:
        write(tmp_path / "a.raw", [events[:40], events[40:]], WIDE)
    assert "event 50 " in str(refused.value)
    assert (tmp_path / "a.raw").read_bytes() == b"what stood there"
    assert [path.name for path in tmp_path.iterdir()] == ["a.raw"]
