"""A recording sent as a live source arrives as it is, when it is due."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.clocks import Watch
from helpers.event_files import random_events, same

from streamstop.errors import SourceError, UsageError
from streamstop.events.packet import Events, SensorSize, empty_events, make_events
from streamstop.sources.live.dv_tcp import open_dv
from streamstop.sources.live.udp import UdpFeed
from streamstop.tools import send
from streamstop.tools.send import SendResult, send_recording

SENSOR = SensorSize(128, 128)


class Sending(threading.Thread):
    """`send_recording` in a thread of its own."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(daemon=True)
        self._call: Callable[[], SendResult] = lambda: send_recording(*args, **options)
        self.sent: SendResult | None = None
        self.start()

    def run(self) -> None:
        self.sent = self._call()

    def result(self) -> SendResult:
        self.join(60)
        assert self.sent is not None
        return self.sent


@pytest.fixture
def recording(tmp_path: Path) -> Callable[[Events], str]:
    def write(events: Events) -> str:
        path = tmp_path / "sent.npy"
        np.save(path, events)
        return f"{path}?sensor=128x128"

    return write


def heard(feed: UdpFeed, events: int) -> Events:
    parts, end = [empty_events()], time.monotonic() + 60
    while sum(map(len, parts)) < events:
        assert time.monotonic() < end
        got = feed.read(0.2)
        assert got is not None
        parts.append(got.events)
    return np.concatenate(parts)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def connected(port: int) -> Any:
    """Our client, once the server listens."""
    for _ in range(1000):
        try:
            return open_dv(f"dv://:{port}")
        except SourceError:
            time.sleep(0.05)
    raise AssertionError("the server does not listen")


def test_over_udp_events_arrive_as_they_are(recording: Callable[[Events], str]) -> None:
    events = random_events(100_000)
    feed = UdpFeed("127.0.0.1", 0, SENSOR)
    sending = Sending(recording(events), f"udp://:{feed.port}", speed=0)
    got = heard(feed, len(events))
    sent = sending.result()
    feed.close()
    assert same(got, events)
    assert (sent.events, sent.bytes, sent.ended) == (100_000, 800_000, "")
    assert sent.messages == feed.datagrams
    assert sent.lost in (0, None)


def test_without_timestamps(recording: Callable[[Events], str]) -> None:
    events = random_events(1_000)
    feed = UdpFeed("127.0.0.1", 0, SENSOR)
    sending = Sending(recording(events), f"udp://:{feed.port}", speed=0, timestamps=False)
    got = heard(feed, len(events))
    feed.close()
    assert all(np.array_equal(got[name], events[name]) for name in ("x", "y", "p"))
    assert sending.result().bytes == 4_000


@pytest.mark.parametrize("speed", [1.0, 4.0])
def test_events_are_sent_when_they_are_due(
    recording: Callable[[Events], str], speed: float
) -> None:
    t = np.arange(0, 500_000, 100)
    events = make_events(t, t % 128, t % 127, t % 3 == 0)
    watch = Watch()
    marks: list[tuple[float, int]] = []
    sent = send_recording(
        recording(events),
        f"udp://:{free_port()}",
        speed=speed,
        progress=lambda now: marks.append((watch.now_s - 100.0, now.events)),
        clock=watch,
        sleep=watch.sleep,
    )
    assert len(marks) == int(0.4999 / speed / 0.1)
    for after_s, n in marks:
        assert after_s == pytest.approx(t[n - 1] * 1e-6 / speed)
    assert sent.seconds == pytest.approx(t[-1] * 1e-6 / speed)
    assert sent.late_s == pytest.approx(0.0)
    assert sent.rate_hz == pytest.approx(5_000 / sent.seconds)


def test_a_late_packet_does_not_delay_the_next_ones(recording: Callable[[Events], str]) -> None:
    t = np.arange(0, 500_000, 100)
    watch = Watch()

    def hold_up(now: SendResult) -> None:
        if watch.now_s < 100.15:
            watch.now_s += 0.05

    sent = send_recording(
        recording(make_events(t, t % 128, t % 127, t % 3 == 0)),
        f"udp://:{free_port()}",
        progress=hold_up,
        clock=watch,
        sleep=watch.sleep,
    )
    assert sent.late_s == pytest.approx(0.049, abs=0.002)
    assert sent.seconds == pytest.approx(t[-1] * 1e-6)


def test_a_jump_in_time_is_not_waited_for(recording: Callable[[Events], str]) -> None:
    events = make_events([0, 1_000, 1_200_000_000, 1_200_001_000, 5], [1] * 5, [2] * 5, [1] * 5)
    feed, watch = UdpFeed("127.0.0.1", 0, SENSOR), Watch()
    sent = send_recording(recording(events), f"udp://:{feed.port}", clock=watch, sleep=watch.sleep)
    got = heard(feed, 5)
    feed.close()
    assert sent.seconds == pytest.approx(0.002)
    assert sent.skipped_us == 1_200_000_000 - 1_000
    assert got["t"][:4].tolist() == [0, 1_000, 1_200_000_000, 1_200_001_000]


def test_as_fast_as_it_goes_a_local_buffer_does_not_overflow(
    recording: Callable[[Events], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux tells how full the receiver's buffer is")
    monkeypatch.setattr(send, "_STUCK_S", 20.0)  # a busy machine must not look like a stuck reader
    events = random_events(200_000)
    feed = UdpFeed("127.0.0.1", 0, SENSOR)
    feed._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 106_496)  # as Linux gives any
    sending = Sending(recording(events), f"udp://:{feed.port}", speed=0)
    time.sleep(0.3)  # it would all be lost by now
    assert same(heard(feed, len(events)), events)
    assert sending.result().lost == 0
    assert feed.lost_datagrams == 0
    feed.close()


def test_what_this_machine_lost_is_told(recording: Callable[[Events], str]) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux tells what its buffer had no room for")
    feed = UdpFeed("127.0.0.1", 0, SENSOR)
    feed._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
    sent = send_recording(recording(random_events(100_000)), f"udp://:{feed.port}", speed=1_000)
    feed.read(0.1)
    assert sent.lost
    assert sent.lost == feed.lost_datagrams
    feed.close()


def test_nobody_listening_is_told(recording: Callable[[Events], str]) -> None:
    sent = send_recording(recording(random_events(1_000)), f"udp://:{free_port()}", speed=0)
    assert sent.events == 1_000
    assert sent.refused > 0


def test_over_tcp_events_arrive_as_they_are(recording: Callable[[Events], str]) -> None:
    events = random_events(200_000)
    for compression in ("none", "lz4", "zstd"):
        port = free_port()
        sending = Sending(
            recording(events),
            f"dv://:{port}",
            speed=0,
            compression=compression,
            client_timeout_s=60,
        )
        feed = connected(port)
        assert feed.sensor == SENSOR
        parts = [empty_events()]
        while (got := feed.read(1.0)) is not None:
            assert not got.damage
            parts.append(got.events)
        feed.close()
        sent = sending.result()
        assert same(np.concatenate(parts), events)
        assert (sent.events, sent.ended) == (200_000, "")


def test_dv_processing_reads_what_we_serve(recording: Callable[[Events], str]) -> None:
    if importlib.util.find_spec("dv_processing") is None:
        pytest.skip("dv-processing is not installed")
    port, n = free_port(), 20_000
    script = f"""
import time, numpy as np, dv_processing as dv
for _ in range(1000):
    try:
        reader = dv.io.NetworkReader("127.0.0.1", {port})
        break
    except RuntimeError:
        time.sleep(0.05)
assert tuple(reader.getEventResolution()) == (128, 128)
got = []
while sum(map(len, got)) < {n}:
    batch = reader.getNextEventBatch()
    if batch is not None:
        got.append(batch.numpy())
    else:
        time.sleep(0.001)
every = np.concatenate(got)
sums = [int(every[f].astype("i8").sum()) for f in ("timestamp", "x", "y", "polarity")]
weighed = int((every["x"].astype("i8") * np.arange(len(every))).sum())
print(len(every), *sums, weighed)
"""
    peer = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    events = random_events(n)
    sent = send_recording(
        recording(events), f"tcp://:{port}", speed=0, compression="lz4", client_timeout_s=60
    )
    received = [int(word) for word in peer.communicate(timeout=60)[0].split()]
    sums = [int(events[name].astype("i8").sum()) for name in ("t", "x", "y", "p")]
    assert received == [n, *sums, int((events["x"].astype("i8") * np.arange(n)).sum())]
    assert sent.events == n


def test_a_client_that_hangs_up_ends_it(recording: Callable[[Events], str]) -> None:
    port = free_port()
    sending = Sending(
        recording(random_events(1_000_000)), f"dv://:{port}", speed=0, client_timeout_s=60
    )
    feed = connected(port)
    feed.read(1.0)
    feed.close()
    sent = sending.result()
    assert sent.ended == "the client disconnected"
    assert sent.events < 1_000_000


def test_no_client_in_time(recording: Callable[[Events], str]) -> None:
    with pytest.raises(SourceError, match=r"no client connected within 0\.2 s"):
        send_recording(recording(random_events(10)), f"dv://:{free_port()}", client_timeout_s=0.2)


def test_interrupted_it_says_how_far_it_came(recording: Callable[[Events], str]) -> None:
    def interrupt(sent: SendResult) -> None:
        raise KeyboardInterrupt

    events = make_events(np.arange(0, 60_000_000, 1_000), *[np.ones(60_000, int)] * 3)
    watch = Watch()
    sent = send_recording(
        recording(events),
        f"udp://:{free_port()}",
        progress=interrupt,
        clock=watch,
        sleep=watch.sleep,
    )
    assert sent.ended == "interrupted"
    assert sent.events == 101
    assert sent.seconds == pytest.approx(0.1)


def test_coordinates_that_the_layout_cannot_say_are_counted(
    recording: Callable[[Events], str], tmp_path: Path
) -> None:
    events = make_events([1, 2, 3], [5, 40_000, 6], [1, 1, 1], [1, 1, 1])
    np.save(tmp_path / "wide.npy", events)
    sent = send_recording(
        f"{tmp_path / 'wide.npy'}?sensor=50000x50", f"udp://:{free_port()}", speed=0
    )
    assert (sent.events, sent.unsent) == (2, {"out_of_range": 1})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"speed": -1.0}, "speed = -1.0 is out of range"),
        ({"datagram_bytes": 70_000}, "datagram_bytes = 70000"),
        ({"compression": "lzma"}, "is not one of none, lz4, zstd"),
    ],
)
def test_what_makes_no_sense(
    recording: Callable[[Events], str], options: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        send_recording(recording(random_events(10)), "udp://:3333", **options)
    with pytest.raises(UsageError, match="network sources are"):
        send_recording(recording(random_events(10)), "http://:3333")
