"""AEDAT 3.1 against files made byte by byte: wraps, invalid events, other packets, damage."""

from __future__ import annotations

import gzip
import os
import random
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import Whole, random_events, same

from streamstop.errors import SourceError, UsageError
from streamstop.events.packet import Events, SensorSize, make_events
from streamstop.formats.aedat.aedat2_writer import write_aedat2
from streamstop.formats.aedat.aedat3 import MAX_TOLD, Aedat3Recording
from streamstop.formats.aedat.aedat3_writer import write_aedat3
from streamstop.formats.base import read_packets
from streamstop.formats.detect import open_recording

HEADER = (
    b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#Start-Time: 2016-10-17\r\n"
    b"#!END-HEADER\r\n"
)
EVENTS = random_events(1_000)
PER_PACKET = 100


def packet(events: Events, valid: list[bool] | None = None) -> bytes:
    """A polarity packet, all of its events in one span of 2**31 us."""
    n = len(events)
    overflow = int(events["t"][0]) >> 31
    head = struct.pack("<hhiiiiii", 1, 1, 8, 4, overflow, n, n, n if valid is None else sum(valid))
    body = b""
    for i, (t, x, y, p) in enumerate(events.tolist()):
        ok = 1 if valid is None else int(valid[i])
        body += struct.pack("<Ii", x << 17 | y << 2 | int(p) << 1 | ok, t & 0x7FFFFFFF)
    return head + body


def other(kind: int, size: int, n: int) -> bytes:
    return struct.pack("<hhiiiiii", kind, 1, size, 4, 0, n, n, n) + b"\x01" * (size * n)


def packets() -> list[bytes]:
    return [packet(part) for part in np.split(EVENTS, 10)]


def read(path: Path, content: bytes) -> Whole:
    path.write_bytes(content)
    return Whole(read_packets(open_recording(str(path))))


def without(k: int) -> Events:
    return np.delete(EVENTS, slice(k * PER_PACKET, (k + 1) * PER_PACKET))


def test_events_among_other_packets(tmp_path: Path) -> None:
    parts = packets()
    parts.insert(3, other(0, 8, 5))
    parts.insert(5, other(3, 36, 2))
    path = tmp_path / "user01_led.aedat"
    whole = read(path, HEADER + b"".join(parts))
    assert same(whole.events, EVENTS)
    assert not whole.damage
    recording = open_recording(str(path))
    assert (recording.format, recording.sensor, recording.simulated) == (
        "aedat3",
        (128, 128),
        False,
    )


def test_two_wraps_of_31_bits(tmp_path: Path) -> None:
    spans = [(1 << 31) - 500, (2 << 31) - 500]
    t = np.concatenate([start + np.arange(0, 1000, 10) for start in spans])
    events = make_events(t, t % 128, t % 100, t % 2 == 0)
    parts = np.split(events, np.flatnonzero(np.diff(t >> 31)) + 1)
    assert len(parts) == 3
    assert same(read(tmp_path / "a.aedat", HEADER + b"".join(map(packet, parts))).events, events)
    write_aedat3(tmp_path / "b.aedat", events, SensorSize(128, 128))
    assert same(Whole(open_recording(str(tmp_path / "b.aedat")).packets()).events, events)


def test_invalid_events_are_counted(tmp_path: Path) -> None:
    valid = [i % 4 != 0 for i in range(PER_PACKET)]
    whole = read(tmp_path / "a.aedat", HEADER + packet(EVENTS[:PER_PACKET], valid))
    assert same(whole.events, EVENTS[:PER_PACKET][np.array(valid)])
    assert whole.dropped == {"invalid": 25}


@pytest.mark.parametrize("at", range(28))
def test_a_spoilt_header_costs_its_packet_at_most(tmp_path: Path, at: int) -> None:
    parts = packets()
    start = len(HEADER) + sum(map(len, parts[:4]))
    for value in (0xFF, 0x7F, 0x03):
        content = bytearray(HEADER + b"".join(parts))
        if content[start + at] == value:
            continue
        content[start + at] = value
        whole = read(tmp_path / "a.aedat", bytes(content))
        kept = whole.events
        # Bytes that only place the time (source, overflow) cannot be distinguished.
        if len(kept) == 1000:
            assert np.array_equal(kept["x"], EVENTS["x"])
            continue
        assert same(kept, without(4)) or len(kept) == 1000 - PER_PACKET
        assert len(whole.damage) >= 1
        assert whole.damage[0].offset == start
        assert sum(one.lost_bytes for one in whole.damage) == len(parts[4])


def test_cut_off_anywhere(tmp_path: Path) -> None:
    content = HEADER + b"".join(packets())
    for end in (len(content) - 1, len(content) - 8, len(content) - 700, len(content) - 828, 900):
        whole = read(tmp_path / "a.aedat", content[:end])
        bodies = end - len(HEADER)
        full, rest = divmod(bodies, 828)
        kept = full * PER_PACKET + max(rest - 28, 0) // 8
        assert same(whole.events, EVENTS[:kept]), end
        assert len(whole.damage) == (rest > 0), end


def test_junk_between_packets(tmp_path: Path) -> None:
    parts = packets()
    junk = random.Random(1).randbytes(50_000)
    start = len(HEADER) + sum(map(len, parts[:5]))
    whole = read(tmp_path / "a.aedat", HEADER + b"".join(parts[:5]) + junk + b"".join(parts[5:]))
    assert same(whole.events, EVENTS)
    assert [(one.offset, one.lost_bytes) for one in whole.damage] == [(start, len(junk))]


def test_bytes_missing_between_two_packets_that_both_may_own(tmp_path: Path) -> None:
    t = 0x10000 + np.arange(100)  # the last two bytes of a time are those that begin a packet
    events = make_events(t, t % 128, t % 64, t % 2 == 0)
    first, second = packet(events[:50]), packet(events[50:])
    assert first.endswith(second[:2])
    whole = read(tmp_path / "a.aedat", HEADER + first + second[2:])
    assert same(whole.events, events)
    assert not whole.damage


@pytest.mark.parametrize("first_us", [1_000, 0x10000 - 30, 0x1000000 - 60, 5_000_000, 1 << 30])
@pytest.mark.parametrize("cut", range(1, 9))
@pytest.mark.parametrize("of", ["the first", "the second"])
def test_no_event_is_made_of_the_packet_that_follows(
    tmp_path: Path, first_us: int, cut: int, of: str
) -> None:
    t = first_us + np.arange(150)
    events = make_events(t, t % 128, t % 64, t % 2 == 0)
    first, second, third = packet(events[:50]), packet(events[50:100]), packet(events[100:])
    between = first[:-cut] + second if of == "the first" else first + second[cut:]
    whole = read(tmp_path / "a.aedat", HEADER + between + third)
    kept = np.isin(whole.events["t"], t)
    assert kept.all(), "an event that there never was"
    assert same(whole.events, events[np.isin(t, whole.events["t"])])
    assert same(whole.events[-50:], events[100:])
    assert len(whole.events) >= (149 if of == "the first" and cut < 8 else 100)
    assert whole.damage or len(whole.events) == 150


def test_reading_goes_on_from_any_packet(tmp_path: Path) -> None:
    events = random_events(200_000)
    path = tmp_path / "a.aedat"
    write_aedat3(path, events, SensorSize(128, 128), packet_events=150_000)
    recording = open_recording(str(path))
    read = list(recording.packets())
    assert same(Whole(read).events, events)
    assert max(len(one.events) for one in read) <= 1 << 16
    for i, one in enumerate(read):
        assert same(Whole(recording.packets(one.cursor)).events, Whole(read[i + 1 :]).events)


def decoded(content: bytes) -> list[tuple[int, int, int, bool]]:
    """Valid polarity events of an undamaged file, field by field as the format has them."""
    at, rows = content.index(b"#!END-HEADER\r\n") + 14, []
    while at < len(content):
        kind, size, overflow, capacity, number = struct.unpack_from("<h2xi4xiii", content, at)
        if kind == 1:
            for data, t in struct.iter_unpack("<Ii", content[at + 28 : at + 28 + 8 * number]):
                if data & 1:
                    x, y, p = data >> 17 & 0x7FFF, data >> 2 & 0x7FFF, bool(data >> 1 & 1)
                    rows.append((overflow * 2**31 + t, x, y, p))
        at += 28 + capacity * size
    return rows


@pytest.mark.parametrize("seed", range(8))
def test_agrees_with_the_layout_read_naively(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    content = HEADER
    for overflow in sorted(draw.choices(range(4), k=30)):
        kind, number = draw.choice((1, 1, 1, 0)), draw.randint(0, 60)
        capacity = number + draw.randint(1, 9)
        content += struct.pack("<hhiiiiii", kind, 1, 8, 4, overflow, capacity, number, 0)
        for i in range(capacity):
            content += struct.pack("<II", draw.getrandbits(32), overflow << 20 | i * 7)
    expected = decoded(content)
    assert len(expected) > 100
    assert read(tmp_path / "a.aedat", content).events.tolist() == expected
    packed = read(tmp_path / "a.aedat.gz", gzip.compress(content))
    assert packed.events.tolist() == expected
    assert not packed.damage


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_reading_goes_on_from_any_packet_of_a_damaged_file(tmp_path: Path, suffix: str) -> None:
    parts = packets()
    parts.insert(2, random.Random(2).randbytes(3_000))
    parts.insert(6, other(2, 4_000, 1))
    parts[8] = b"\xff" * 28 + parts[8][28:]
    content = HEADER + b"".join(parts)[:-13]
    path = tmp_path / f"a.aedat{suffix}"
    # A compressed file that lacks its end tells of it too, after all else.
    path.write_bytes(gzip.compress(content)[:-4] if suffix else content)
    recording = open_recording(str(path))
    all_of_it = list(recording.packets())
    assert len(Whole(all_of_it).damage) == 3 + (suffix != "")
    for i, one in enumerate(all_of_it):
        assert one.cursor.offset > 0
        rest, expected = Whole(recording.packets(one.cursor)), Whole(all_of_it[i + 1 :])
        assert same(rest.events, expected.events)
        if i + 1 < len(all_of_it):
            assert rest.damage == expected.damage
            assert rest.packets[-1].cursor == all_of_it[-1].cursor


def test_lengths_that_headers_claim_cost_no_time(tmp_path: Path) -> None:
    """Each of many headers claims megabytes: time goes by the bytes there are."""
    big = struct.pack("<hhiiiiii", 5, 1, 64, 4, 0, 1 << 20, 0, 0)
    one = struct.pack("<hhiiiiii", 1, 1, 8, 4, 0, 1, 1, 1) + b"\x01" + b"\0" * 7
    far = struct.pack("<hhiiiiii", 1, 1, 8, 4, 0, 120_003, 0, 0)
    for body, events in (((big + one) * 20_000, 20_000), (b"\xff" * 99 + far * 70_000, 0)):
        began = time.process_time()
        whole = read(tmp_path / "a.aedat", HEADER + body)
        assert time.process_time() - began < 4.0  # 1 s; 8 s where claims are read
        assert len(whole.events) == events
        assert whole.damage


def test_a_header_through_a_slow_pipe_is_enough_to_begin() -> None:
    """The format is detected before more of the file has arrived."""
    ask = (
        "from streamstop.formats.detect import open_recording\n"
        "one = open_recording('-'); print(one.format, one.sensor, flush=True)\n"
        "print(sum(len(part.events) for part in one.packets()))\n"
    )
    reader, writer = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", ask], stdin=reader, stdout=subprocess.PIPE, text=True
    ) as child:
        os.close(reader)
        late = threading.Timer(60.0, child.kill)
        late.start()
        with os.fdopen(writer, "wb", buffering=0) as pipe:
            pipe.write(HEADER + b"".join(packets()[:6]))
            assert child.stdout is not None
            assert child.stdout.readline() == "aedat3 128x128\n"
            pipe.write(b"".join(packets()[6:]))
        assert child.stdout.read() == "1000\n"
        late.cancel()


@pytest.mark.parametrize(
    ("line", "sensor"),
    [
        ("#Source 1: DVS128", (128, 128)),
        ("#Source 1: DAVIS240C", (240, 180)),
        ("#Source 2: DAVIS346B", (346, 260)),
        ("#Source 1: DYNAP-SE", None),
        ("#Start-Time: 2016", None),
    ],
)
def test_the_source_line_tells_the_sensor(
    tmp_path: Path, line: str, sensor: tuple[int, int] | None
) -> None:
    path = tmp_path / "a.aedat"
    path.write_bytes(HEADER.replace(b"#Source 1: DVS128", line.encode()))
    assert open_recording(str(path)).sensor == sensor


def test_what_is_no_raw_aedat_3(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat"
    path.write_bytes(HEADER.replace(b"RAW", b"SerializedTS"))
    with pytest.raises(SourceError, match="coded as SerializedTS"):
        open_recording(str(path))
    path.write_bytes(HEADER[:40])
    with pytest.raises(SourceError, match="does not end"):
        open_recording(str(path))


def test_writers_refuse_what_cannot_be_represented(tmp_path: Path) -> None:
    late = make_events([-1], [0], [0], [True])
    with pytest.raises(UsageError, match="event 0 at t = -1"):
        write_aedat3(tmp_path / "a", late, SensorSize(128, 128))
    apart = make_events([0, 1 << 31], [0, 0], [0, 0], [True, True])
    with pytest.raises(UsageError, match="event 1 at t = 2147483648"):
        write_aedat2(tmp_path / "a", apart, SensorSize(128, 128))
    with pytest.raises(UsageError, match="DVS128"):
        write_aedat2(tmp_path / "a", EVENTS, SensorSize(240, 180))
    assert not list(tmp_path.iterdir())


def test_aedat2_wraps_twice(tmp_path: Path) -> None:
    t = np.arange(0, 9 << 30, 1 << 30)
    events = make_events(t, t >> 30, t >> 30, t >> 30 & 1 == 1)
    write_aedat2(tmp_path / "a.aedat", events, SensorSize(128, 128), simulated=True)
    recording = open_recording(str(tmp_path / "a.aedat"))
    assert same(Whole(recording.packets()).events, events)
    assert recording.simulated


def test_damage_everywhere_is_reported_in_sum(tmp_path: Path) -> None:
    """A good packet of one event, then a header whose packet is not there: 2,000 times."""
    good = struct.pack("<HHIIIIII", 1, 0, 8, 4, 0, 1, 1, 1) + struct.pack("<II", 3, 5)
    bad = struct.pack("<HHIIIIII", 1, 0, 8, 4, 0, 9, 1, 1)
    path = tmp_path / "rec.aedat"
    path.write_bytes(b"#!AER-DAT3.1\r\n#!END-HEADER\r\n" + 2_000 * (good + bad) + good)
    whole = Whole(Aedat3Recording(str(path)).packets())
    assert len(whole.events) == 2_001
    assert MAX_TOLD <= len(whole.damage) <= MAX_TOLD + 2
    assert sum(one.lost_bytes for one in whole.damage) == 2_000 * len(bad)
