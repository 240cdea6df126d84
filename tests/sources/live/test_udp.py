"""The UDP receiver against datagrams made by hand, random ones, and aestream's own sender."""

from __future__ import annotations

import importlib.util
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import random_events, same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamstop.errors import SourceError, UsageError
from streamstop.events.packet import Events, SensorSize, empty_events
from streamstop.formats.fixed_records import unwrap
from streamstop.sources.base import stated_origin
from streamstop.sources.live.source import LiveSource
from streamstop.sources.live.udp import UdpFeed, open_udp

SENSOR = SensorSize(304, 240)
Event = tuple[int, int, bool, int | None]  # x, y, ON, time or none


def datagram(events: list[Event]) -> bytes:
    """aestream's layout, one event at a time."""
    out = b""
    for x, y, p, t in events:
        out += struct.pack("<HH", y | p << 15, x | (t is None) << 15)
        out += b"" if t is None else struct.pack("<I", t)
    return out


def expected(data: bytes) -> tuple[list[Event], bool]:
    """What a datagram holds, and whether it ends inside an event: an independent reading."""
    events: list[Event] = []
    while len(data) >= 4:
        y, x = struct.unpack_from("<HH", data)
        if x >> 15:
            events.append((x & 0x7FFF, y & 0x7FFF, bool(y >> 15), None))
            data = data[4:]
        elif len(data) >= 8:
            (t,) = struct.unpack_from("<I", data, 4)
            events.append((x, y & 0x7FFF, bool(y >> 15), t))
            data = data[8:]
        else:
            break
    return events, bool(data)


class Heard:
    """All that a feed gave until so many datagrams had come."""

    def __init__(self, feed: UdpFeed, datagrams: int, within_s: float = 60.0) -> None:
        parts = [empty_events()]
        self.cut, self.damage = 0, []
        end = time.monotonic() + within_s
        while feed.datagrams < datagrams and time.monotonic() < end:
            got = feed.read(0.1)
            assert got is not None
            parts.append(got.events)
            self.cut += got.dropped.get("cut_off", 0)
            self.damage += got.damage
        self.damage += feed.held_damage()
        self.events: Events = np.concatenate(parts)
        assert feed.datagrams == datagrams


@contextmanager
def listening(times: str = "packet") -> Iterator[tuple[UdpFeed, socket.socket]]:
    feed = UdpFeed("127.0.0.1", 0, SENSOR, times=times)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect((feed.host, feed.port))
        try:
            yield feed, sender
        finally:
            feed.close()


def test_events_by_hand_with_and_without_a_time() -> None:
    with listening() as (feed, sender):
        sender.send(bytes.fromhex("0280 0300 102700000500 0700 11270000"))
        sender.send(bytes.fromhex("0980 0a80"))
        events = Heard(feed, 2).events
    assert events["t"][:2].tolist() == [10_000, 10_001]
    assert events["x"].tolist() == [3, 7, 10]
    assert events["y"].tolist() == [2, 5, 9]
    assert events["p"].tolist() == [True, False, True]
    # The third has no time: that of its arrival, on the clock of those that have one.
    assert 10_001 <= events["t"][2] < 10_001 + 60_000_000


def test_without_times_events_get_that_of_their_arrival() -> None:
    with listening() as (feed, sender):
        sender.send(datagram([(1, 2, True, None), (3, 4, False, None)]))
        first = Heard(feed, 1).events
        time.sleep(0.05)
        sender.send(datagram([(5, 6, True, None)]))
        second = Heard(feed, 2).events
    assert 0 <= first["t"][0] == first["t"][1]
    assert 50_000 <= second["t"][0] - first["t"][0] < 60_000_000


def test_times_of_arrival_are_taken_where_asked_for() -> None:
    with listening("arrival") as (feed, sender):
        sender.send(datagram([(1, 2, True, 4_000_000_000), (3, 4, False, 5)]))
        events = Heard(feed, 1).events
    assert events["x"].tolist() == [1, 3]
    assert events["t"][0] == events["t"][1] < 10_000_000


def test_two_wraps_of_the_time_are_undone() -> None:
    true_us = np.arange(4_000_000_000, 13_000_000_000, 1_000_000_000)
    with listening() as (feed, sender):
        for t in true_us.tolist():
            sender.send(datagram([(1, 1, True, t % (1 << 32))]))
        events = Heard(feed, len(true_us)).events
    assert events["t"].tolist() == true_us.tolist()


def test_a_datagram_of_any_size() -> None:
    with listening() as (feed, sender):
        for size in (0, 1, 3, 4, 8, 512, 65_504, 65_507):
            sender.send(datagram([(7, 8, True, None)] * (size // 4)) + b"\x01\x02\x03"[: size % 4])
        heard = Heard(feed, 8)
        assert feed.received_bytes == 1 + 3 + 4 + 8 + 512 + 65_504 + 65_507
    assert len(heard.events) == (0 + 0 + 0 + 4 + 8 + 512 + 65_504 + 65_504) // 4
    assert heard.cut == 3


def test_a_cut_event_costs_itself_alone_and_is_reported_once_a_second() -> None:
    good = datagram([(1, 2, True, 100), (3, 4, False, 101)])
    with listening() as (feed, sender):
        for left in range(1, 8):
            sender.send(good + good[:left])
        heard = Heard(feed, 7)
    assert heard.events["t"].tolist() == [100, 101] * 7
    assert heard.cut == 7
    assert sum(one.lost_bytes for one in heard.damage) == 1 + 2 + 3 + 4 + 5 + 6 + 7
    assert len(heard.damage) <= 2  # the first, and what was held
    assert heard.damage[0].offset == len(good)
    assert heard.damage[0].reason.endswith("ended inside an event")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(st.binary(max_size=300), st.binary(min_size=8).map(lambda b: b * 40))))
def test_any_bytes_give_their_events_and_nothing_else(many: list[bytes]) -> None:
    many = [data[:65_507] for data in many]
    with listening() as (feed, sender):
        for data in many:
            sender.send(data)
        heard = Heard(feed, len(many))
    truth = [expected(data) for data in many]
    events = [event for found, _ in truth for event in found]
    assert heard.cut == sum(cut for _, cut in truth)
    assert heard.events["x"].tolist() == [one[0] for one in events]
    assert heard.events["y"].tolist() == [one[1] for one in events]
    assert heard.events["p"].tolist() == [one[2] for one in events]
    stamped = np.array([one[3] is not None for one in events], bool)
    if stamped.any():
        counter = np.array([one[3] for one in events if one[3] is not None])
        assert heard.events["t"][stamped].tolist() == unwrap(counter, 32, None).tolist()


def test_a_full_buffer_is_reported_in_datagrams() -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux tells what its buffer had no room for")
    sent, each = 0, datagram([(1, 1, True, 5)]) * 64
    with listening() as (feed, sender):
        feed._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        for _ in range(1_000):
            sent += sender.send(each) // 8
        events, damage = 0, []
        while (got := feed.read(0.1)) is not None and (len(got.events) or got.damage):
            events += len(got.events)
            damage += got.damage
        damage += feed.held_damage()
        assert feed.lost_datagrams
        assert events < sent == events + 64 * feed.lost_datagrams
    lost = sum(int(one.reason.split()[0]) for one in damage)
    assert lost == feed.lost_datagrams
    assert "the system's buffer was full" in damage[0].reason


def test_reading_waits_no_longer_than_asked_and_ends_when_closed() -> None:
    feed = UdpFeed("127.0.0.1", 0, SENSOR)
    begun = time.monotonic()
    got = feed.read(0.05)
    assert got is not None
    assert len(got.events) == 0
    assert 0.04 < time.monotonic() - begun < 20
    threading.Timer(0.1, feed.close).start()
    assert feed.read(600.0) is None
    feed.close()


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("udp://:{}?sensor=34x34", "127.0.0.1"),
        ("udp://{}?sensor=34x34", "127.0.0.1"),
        ("udp://localhost:{}?sensor=34x34&times=arrival", "127.0.0.1"),
        ("udp://0.0.0.0:{}/?sensor=34x34", "0.0.0.0"),
    ],
)
def test_only_a_named_address_is_not_loopback(uri: str, host: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    feed = open_udp(uri.format(port))
    assert (feed.host, feed.port, feed.sensor) == (host, port, (34, 34))
    feed.close()


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("udp://:0?sensor=3x3", "port 0 is out of range"),
        ("udp://:65536?sensor=3x3", "port 65536 is out of range"),
        ("udp://host?sensor=3x3", "is written udp://HOST:PORT"),
        ("udp://a:b:1?sensor=3x3", "is written udp://HOST:PORT"),
        ("udp://:3333", r"do not contain the sensor; give it, like \?sensor="),
        ("udp://:3333?times=arrival", "give it, like &sensor="),
        ("udp://:3333?senser=3x3", "did you mean sensor"),
        ("udp://:3333?sensor=3x3&sensor=3x3", "each key once"),
        ("udp://:3333?sensor=3", "written like 346x260"),
        ("udp://:3333?sensor=40000x3", "more than 32768"),
        ("udp://:3333?sensor=3x3&origin=lab", "real, simulated"),
        ("udp://:3333?sensor=3x3&times=now", "is not one of packet, arrival"),
    ],
)
def test_a_uri_that_makes_no_sense(uri: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        open_udp(uri)


@pytest.mark.parametrize(
    ("option", "said"), [("", None), ("&origin=simulated", True), ("&origin=real", False)]
)
def test_who_made_the_events_is_only_what_the_user_says(option: str, said: bool | None) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    with LiveSource(open_udp(f"udp://:{port}?sensor=3x3{option}")) as source:
        assert stated_origin(source) is said


def test_an_address_in_use_or_not_ours() -> None:
    with listening() as (feed, _), pytest.raises(SourceError, match="choose another port"):
        open_udp(f"udp://:{feed.port}?sensor=3x3")
    with pytest.raises(SourceError, match="one of this machine's"):
        open_udp("udp://192.0.2.1:3333?sensor=3x3")


def write_dat(path: Path, events: Events) -> Path:
    """Prophesee DAT, which aestream reads exactly."""
    words = np.empty((len(events), 2), "<u4")
    words[:, 0] = events["t"]
    words[:, 1] = events["x"].astype("<u4") | events["y"].astype("<u4") << 14
    words[:, 1] |= events["p"].astype("<u4") << 28
    header = f"% Version 2\n% Width {SENSOR.width}\n% Height {SENSOR.height}\n"
    path.write_bytes(header.encode() + bytes([0x0C, 8]) + words.tobytes())
    return path


@pytest.mark.parametrize("stamped", [True, False])
def test_what_aestream_sends_is_what_we_receive(tmp_path: Path, stamped: bool) -> None:
    command = Path(sys.executable).with_name("aestream")
    if importlib.util.find_spec("aestream") is None or not command.exists():
        pytest.skip("aestream, with its command line, is not installed")
    sent = random_events(20_000, width=304, height=240)
    path = write_dat(tmp_path / "sent.dat", sent)
    with listening() as (feed, _):
        to = ["127.0.0.1", str(feed.port), "--include-timestamp", str(stamped).lower()]
        call = [str(command), "input", "file", str(path), "output", "udp", *to]
        done = subprocess.run(call, capture_output=True, timeout=20, check=True)
        assert b"Sent a total of 20000 events" in done.stdout
        events = Heard(feed, 625 if stamped else 157).events
        assert feed.lost_datagrams in (0, None)
    assert same(events, sent) if stamped else len(events) == len(sent)
    for name in ("x", "y", "p"):
        assert np.array_equal(events[name], sent[name])
