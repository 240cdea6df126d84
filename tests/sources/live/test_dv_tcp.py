"""The TCP client against dv-processing's own server, and against servers that break off or lie."""

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
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import random_events, same

from streamstop.errors import SourceError, UsageError
from streamstop.events.packet import Damage, Events, SensorSize, empty_events
from streamstop.sources.live.dv_tcp import DvTcpFeed, open_dv

SENSOR = SensorSize(346, 260)

# In a process of its own: the library's server holds the interpreter's lock while it stops.
PEER = """
import sys, time
import dv_processing as dv
sys.path.insert(0, {tests!r})
from helpers.event_files import random_events
stream = dv.io.Stream.EventStream(0, "events", "cam0", (346, 260))
stream.setCompression(dv.CompressionType.{compression})
server = dv.io.NetworkWriter("127.0.0.1", {port}, stream)
print("ready", flush=True)
while not server.getClientCount():
    time.sleep(0.005)
events = random_events({n}, width=346, height=260)
for first in range(0, {n}, 1000):
    store = dv.EventStore()
    for t, x, y, p in events[first : first + 1000].tolist():
        store.push_back(t, x, y, p)
    server.writeEvents(store)
while server.getQueuedPacketCount() and server.getClientCount():
    time.sleep(0.005)
sys.stdin.read()
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def all_of(feed: DvTcpFeed, events: int = 1 << 62) -> tuple[Events, list[Damage]]:
    """What a feed gives until its end, or until so many events have come."""
    parts, end = [empty_events()], time.monotonic() + 60
    damage: list[Damage] = []
    while sum(map(len, parts)) < events and (got := feed.read(0.2)) is not None:
        assert time.monotonic() < end
        parts.append(got.events)
        damage += got.damage
    return np.concatenate(parts), damage


@pytest.mark.parametrize("compression", ["NONE", "LZ4", "ZSTD"])
def test_what_dv_processing_serves_is_what_we_receive(compression: str) -> None:
    if importlib.util.find_spec("dv_processing") is None:
        pytest.skip("dv-processing is not installed")
    port, tests = free_port(), str(Path(__file__).parents[2])
    script = PEER.format(tests=tests, compression=compression, port=port, n=20_000)
    peer = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert peer.stdout is not None
        assert peer.stdout.readline() == b"ready\n"
        feed = open_dv(f"dv://127.0.0.1:{port}")
        assert (feed.sensor, feed.simulated, feed.format) == (SENSOR, False, "dv")
        events, damage = all_of(feed, 20_000)
        assert not damage
        assert same(events, random_events(20_000, width=346, height=260))
        peer.kill()
        while (got := feed.read(1.0)) is not None:  # that the server is gone ends it
            assert not len(got.events)
        feed.close()
    finally:
        peer.kill()
        peer.communicate()


# Servers made by hand: the bytes of one, cut, spoilt, or held back.


def header(kind: str = "EVTS", size: str = "346x260", source: str = "cam") -> bytes:
    """An IOHeader flatbuffer with its length in front, no compression."""
    width, height = size.split("x") if size else ("", "")
    xml = (
        '<dv version="2.0"><node name="outInfo" path="/outInfo/"><node name="0" path="/outInfo/0/">'
        f'<attr key="typeIdentifier" type="string">{kind}</attr>'
        '<node name="info" path="/outInfo/0/info/">'
        f'<attr key="sizeX" type="int">{width}</attr><attr key="sizeY" type="int">{height}</attr>'
        f'<attr key="source" type="string">{source}</attr></node></node></node></dv>'
    ).encode()
    body = struct.pack("<I4s5H2x", 20, b"IOHE", 10, 20, 4, 8, 16)
    body += struct.pack("<iiqI", 12, 0, -1, 4) + struct.pack("<I", len(xml)) + xml + b"\0"
    return struct.pack("<I", len(body)) + body


def packet(events: Events, stream: int = 0) -> bytes:
    """An EventPacket flatbuffer with its lengths and its stream in front."""
    body = struct.pack("<I4s3H2x", 16, b"EVTS", 6, 8, 4)
    body += struct.pack("<iII", 8, 4, len(events))
    for t, x, y, p in events.tolist():
        body += struct.pack("<qhhB3x", t, x, y, p)
    return struct.pack("<iiI", stream, len(body) + 4, len(body)) + body


@contextmanager
def serving(*pieces: bytes, reset: bool = False, hold: bool = False) -> Iterator[int]:
    """A server that sends these bytes to one client, and its port."""
    done = threading.Event()

    def serve() -> None:
        client, _ = server.accept()
        with client:
            for piece in pieces:
                client.sendall(piece)
                time.sleep(0.02)
            if hold:
                done.wait(60)
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        done.set()


EVENTS = random_events(300, width=346, height=260)


def test_packets_come_whole_however_the_stream_is_cut() -> None:
    data = header() + packet(EVENTS[:100]) + packet(EVENTS[100:200]) + packet(EVENTS[200:])
    cuts = [0, 2, 30, 700, 2_000, 2_001, 5_000, len(data)]
    pieces = [data[a:b] for a, b in pairwise(cuts)]
    with serving(*pieces) as port:
        feed = open_dv(f"tcp://:{port}")
        events, damage = all_of(feed)
        feed.close()
    assert same(events, EVENTS)
    assert not damage


@pytest.mark.parametrize("size", [-1, (1 << 27) + 1, 0x7FFFFFFF])
def test_a_length_that_makes_no_sense_ends_it_and_is_reported(size: int) -> None:
    before = header() + packet(EVENTS)
    with serving(before + struct.pack("<ii", 0, size) + b"rest") as port:
        feed = open_dv(f"dv://:{port}")
        events, damage = all_of(feed)
        feed.close()
    assert same(events, EVENTS)
    assert [one.offset for one in damage] == [len(before)]
    assert damage[0].lost_bytes == 12
    assert f"a packet of {size} bytes" in damage[0].reason


def test_a_spoilt_packet_costs_itself_alone() -> None:
    spoilt = bytearray(packet(EVENTS[100:200]))
    spoilt[16:20] = b"XXXX"
    data = header() + packet(EVENTS[:100]) + bytes(spoilt) + packet(EVENTS[200:])
    with serving(data) as port:
        feed = open_dv(f"dv://:{port}")
        events, damage = all_of(feed)
        feed.close()
    assert same(events, np.concatenate([EVENTS[:100], EVENTS[200:]]))
    assert [one.lost_bytes for one in damage] == [len(spoilt)]


def test_an_end_inside_a_packet_is_reported() -> None:
    last = packet(EVENTS[200:])[:-7]
    with serving(header() + packet(EVENTS[:200]) + last) as port:
        feed = open_dv(f"dv://:{port}")
        events, damage = all_of(feed)
        feed.close()
    assert same(events, EVENTS[:200])
    assert [(one.lost_bytes, one.reason) for one in damage] == [
        (len(last), "the connection ended inside a packet")
    ]


@pytest.mark.parametrize("seed", range(20))
def test_spoilt_bytes_never_crash_it(seed: int) -> None:
    draw = np.random.default_rng(seed)
    data = np.frombuffer(header() + packet(EVENTS) * 3, np.uint8).copy()
    data[draw.integers(0, len(data), 5)] = draw.integers(0, 256, 5)
    with serving(data.tobytes()) as port:
        try:
            feed = DvTcpFeed("127.0.0.1", port, sensor=None)
        except (SourceError, UsageError):
            return
        events, _ = all_of(feed)
        feed.close()
    assert len(events) <= 3 * len(EVENTS)


def test_a_connection_that_breaks_off_is_an_error_after_what_came() -> None:
    with serving(header() + packet(EVENTS), hold=True, reset=True) as port:
        feed = open_dv(f"dv://:{port}")
        events, _ = all_of(feed, len(EVENTS))
        assert same(events, EVENTS)
    with pytest.raises(SourceError, match="the connection failed"):
        for _ in range(20):
            feed.read(0.2)
    feed.close()


def test_nobody_there_is_reported_soon_and_with_what_to_do() -> None:
    begun = time.monotonic()
    with pytest.raises(SourceError, match=r"refused; start the server first .*dv://127") as error:
        open_dv(f"dv://127.0.0.1:{free_port()}")
    assert time.monotonic() - begun < 20
    assert error.value.exit_code == 3


@pytest.mark.parametrize(
    ("first", "says"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not a DV server"),
        (b"\x10\0\0\0", "closed the connection before its header"),
        (b"", "closed the connection before its header"),
        (header(kind="FRME"), "the server sends FRME, and no events"),
        (struct.pack("<I4s4s", 40, b"\xff\xff\xff\x7f", b"IOHE") + bytes(32), "header is damaged"),
    ],
)
def test_what_is_no_server_of_events_is_refused(first: bytes, says: str) -> None:
    with serving(first) as port, pytest.raises(SourceError, match=says):
        open_dv(f"dv://:{port}")


def test_the_sensor_is_the_servers_or_is_asked_for() -> None:
    with serving(header(size="")) as port, pytest.raises(UsageError, match="does not send"):
        open_dv(f"dv://:{port}")
    with serving(header(size=""), hold=True) as port:
        feed = open_dv(f"dv://:{port}?sensor=34x34")
        assert feed.sensor == (34, 34)
        feed.close()
    with serving(header()) as port, pytest.raises(UsageError, match="is 346x260, not 34x34"):
        open_dv(f"dv://:{port}?sensor=34x34")


@pytest.mark.parametrize(
    ("source", "simulated", "known"),
    [
        ("streamstop-simulate", True, True),
        ("DAVIS346_00000104", False, True),
        ("origin-unknown", False, False),
        ("", False, False),
    ],
)
def test_who_made_the_events_is_what_the_header_says(
    source: str, simulated: bool, known: bool
) -> None:
    with serving(header(source=source), hold=True) as port:
        feed = open_dv(f"dv://:{port}")
        assert (feed.simulated, feed.origin_known) == (simulated, known)
        feed.close()


def test_reading_waits_no_longer_than_asked_and_ends_when_closed() -> None:
    with serving(header(), hold=True) as port:
        feed = open_dv(f"dv://:{port}")
        begun = time.monotonic()
        got = feed.read(0.05)
        assert got is not None
        assert len(got.events) == 0
        assert 0.04 < time.monotonic() - begun < 20
        threading.Timer(0.1, feed.close).start()
        assert feed.read(600.0) is None
