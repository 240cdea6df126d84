"""Events in UDP datagrams, in the layout of aestream's sender.

Guarantees:

- Every complete event of every datagram that the system delivers is kept, whatever the datagram's
  size. The rest is counted: events truncated by their datagram as dropped; datagrams that did not
  fit in the system's buffer as damage, since their number of events is unknown.
- No bytes can crash it. Coordinates beyond the sensor are left to the binner, which rejects and
  counts them.
- It listens on this machine alone unless the URI names another address.

Does not:

- Tell who sends, whether a camera made the events, or what the network lost: the layout has no
  header and no sequence numbers.

Layout: an event is two little-endian u16, `y | p << 15` and `x | flag << 15`. Where the flag is 0 a
u32 time in us follows, whose wraps (71.6 min) are undone; a silence longer than half of that looks
like a step back. An event without a time gets that of its arrival, in us since the feed was opened,
on the clock of the timestamps if there have been any.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time

import numpy as np

from streamstop.errors import SourceError, UsageError
from streamstop.events.packet import MAX_PACKET_EVENTS, Damage, SensorSize, empty_events
from streamstop.sources.live._socket import SocketFeed
from streamstop.sources.live._udp_loop import CUT, CUT_BYTES, FIRST_CUT, compiled_loop
from streamstop.sources.live.address import LOOPBACK, Address, parse_address, sensor_of
from streamstop.sources.live.feed import FeedChunk

MAX_DATAGRAM_BYTES = 1 << 16
RECEIVE_BUFFER_BYTES = 1 << 24
"""Requested size of the system's buffer: two thirds of a second of aestream's datagrams at 1 Mev/s,
as Linux counts. The system may grant less (net.core.rmem_max)."""

TIMES = ("packet", "arrival")
ORIGINS = ("real", "simulated")
OPTIONS = ("sensor", "times", "origin")
MEANINGS = {
    "times": "packet: the events' own times, if they have any; arrival: when they arrived",
    "origin": "who made the events; leave it out where that is not known",
}
IDLE_US = 50_000

_READ_BYTES = 4 * MAX_PACKET_EVENTS
_READ_DATAGRAMS = 1 << 13  # empty ones too
_BREATH_S = 0.001
"""Pause between two reads with data, since reading many datagrams at once is cheaper."""
_DAMAGE_EVERY_S = 1.0
_SO_RCVBUFFORCE = 33  # Linux; Python has no names for these two
_SO_MEMINFO = 55
_MEMINFO = struct.Struct("=9I")
_MEMINFO_DROPS = 8


class UdpFeed(SocketFeed):
    """A socket that receives events; see `streamstop.sources.live.feed.LiveFeed`.

    Parameters
    ----------
    host, port
        Address to listen on; port 0 takes a free one, which `port` then holds.
    sensor
        Size in pixels, which the layout does not contain.
    times
        "packet" uses the timestamps of events that have one; "arrival" uses none.
    origin
        "real" or "simulated", where the user knows; the layout does not say.
    name
        The URI; "" makes it from the address.

    Attributes
    ----------
    datagrams, received_bytes
        Received so far.
    lost_datagrams
        Datagrams that the system dropped so far; None if it does not report it.
    cut_events
        Events truncated by their datagram, so far.
    buffer_bytes
        Size of the system's buffer.

    Raises
    ------
    SourceError
        If the address cannot be listened on.
    """

    format = "udp"
    idle_us = IDLE_US
    waits = False

    def __init__(
        self,
        host: str,
        port: int,
        sensor: SensorSize,
        *,
        times: str = "packet",
        origin: str = "",
        name: str = "",
    ) -> None:
        self.simulated, self.origin_known = origin == "simulated", origin != ""
        self.sensor = sensor
        self._by_arrival = times == "arrival"
        self._data = np.zeros(_READ_BYTES + MAX_DATAGRAM_BYTES, np.uint8)
        self._clock = np.zeros(3, np.int64)
        self.name = name or f"udp://{host}:{port}"
        super().__init__(_listen(host, port, self.name))
        self.host, self.port = self._socket.getsockname()[:2]
        self.buffer_bytes = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self._begun = time.monotonic_ns()
        self._rest_until = 0.0
        self.datagrams = self.received_bytes = self.cut_events = 0
        self.lost_datagrams: int | None = 0 if _drops(self._socket) is not None else None
        self._damage = _DamageLog(self.name)

    def announcement(self) -> str:
        """What is open now, in a few words for the user."""
        return f"listening on {self.host}:{self.port} (UDP), sensor {self.sensor}"

    def warm_up(self) -> None:
        """Compile the loop; datagrams that come meanwhile wait in the system's buffer."""
        compiled_loop()

    def read(self, timeout_s: float) -> FeedChunk | None:
        """The events since the last call; see `LiveFeed.read`. None once it is closed."""
        with self._lock:
            if self._closing:
                return None
            self._wait(timeout_s)
            if self._closing:
                return None
            starts, ends, arrivals = self._take()
            self._count_lost()
            if not starts:
                return FeedChunk(empty_events(), damage=self._damage.due(time.monotonic()))
            return self._decoded(starts, ends, arrivals)

    def held_damage(self) -> tuple[Damage, ...]:
        """Damage not reported yet because the last report is less than a second old.

        For the end of a run, after the last `read`.
        """
        with self._lock:
            return self._damage.due(float("inf"))

    def _wait(self, timeout_s: float) -> None:
        """Wait until data has arrived, the feed is closed, or the time is over."""
        begun = time.monotonic()
        rest = min(self._rest_until - begun, timeout_s)
        if rest > 0:
            select.select([self._woken], [], [], rest)
        left = max(begun + timeout_s - time.monotonic(), 0.0)
        select.select([self._socket, self._woken], [], [], left)

    def _take(self) -> tuple[list[int], list[int], list[int]]:
        """Receive the waiting datagrams into `_data`: start, end and arrival time of each."""
        starts: list[int] = []
        ends: list[int] = []
        arrivals: list[int] = []
        view, begun, at = self._data.data, self._begun, 0
        while at <= _READ_BYTES and len(starts) < _READ_DATAGRAMS:
            try:
                size = self._socket.recv_into(view[at : at + MAX_DATAGRAM_BYTES])
            except BlockingIOError:
                self._rest_until = time.monotonic() + _BREATH_S
                break
            except ConnectionResetError:  # Windows reports this for sent datagrams; there are none
                continue
            except OSError as error:
                raise SourceError(f"reading failed: {error.strerror}: {self.name}") from error
            starts.append(at)
            at += size
            ends.append(at)
            arrivals.append((time.monotonic_ns() - begun) // 1000)
        return starts, ends, arrivals

    def _decoded(self, starts: list[int], ends: list[int], arrivals: list[int]) -> FeedChunk:
        size = ends[-1]
        events, tally = empty_events(size // 4), np.zeros(3, np.int64)
        columns = (np.array(one, np.int64) for one in (starts, ends, arrivals))
        words = events.view(np.int64).reshape(-1, 2)
        n = compiled_loop()(self._data, *columns, self._by_arrival, words, self._clock, tally)
        cut = int(tally[CUT])
        if cut:
            at = self.received_bytes + int(tally[FIRST_CUT])
            self._damage.cut(at, cut, int(tally[CUT_BYTES]))
        self.datagrams += len(starts)
        self.received_bytes += size
        self.cut_events += cut
        dropped = {"cut_off": cut} if cut else {}
        return FeedChunk(events[:n], dropped, self._damage.due(time.monotonic()))

    def _count_lost(self) -> None:
        """Note as damage what the system dropped since the last call."""
        if self.lost_datagrams is None:
            return
        drops = _drops(self._socket) or 0
        lost = (drops - self.lost_datagrams) & 0xFFFFFFFF
        if lost:
            self.lost_datagrams += lost
            self._damage.lost(self.received_bytes, lost)


class _DamageLog:
    """Collects damage and reports it at most once a second per cause, with the total count."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._reported_s = {"cut": float("-inf"), "lost": float("-inf")}
        self._offset = {"cut": 0, "lost": 0}
        self._count = {"cut": 0, "lost": 0}
        self._bytes = 0

    def cut(self, offset: int, events: int, size: int) -> None:
        """Note `events` truncated events of `size` bytes, the first of them at `offset`."""
        self._note("cut", offset, events)
        self._bytes += size

    def lost(self, offset: int, datagrams: int) -> None:
        """Note `datagrams` that did not fit, after the bytes up to `offset`."""
        self._note("lost", offset, datagrams)

    def _note(self, cause: str, offset: int, count: int) -> None:
        if not self._count[cause]:
            self._offset[cause] = offset
        self._count[cause] += count

    def due(self, now_s: float) -> tuple[Damage, ...]:
        """The damage to report at this time."""
        damage = []
        for cause, count in self._count.items():
            if not count or now_s < self._reported_s[cause] + _DAMAGE_EVERY_S:
                continue
            if cause == "cut":
                reason, size = f"{_many(count, 'datagram')} ended inside an event", self._bytes
                self._bytes = 0
            else:
                reason, size = (
                    f"{_many(count, 'datagram')} lost: the system's buffer was full",
                    0,
                )
            damage.append(Damage(self._offset[cause], size, reason, self._path))
            self._reported_s[cause] = now_s
            self._count[cause] = 0
        return tuple(damage)


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def check_udp(uri: str, sensor: SensorSize | None = None) -> tuple[Address, SensorSize]:
    """The address and the sensor of a URI, with nothing opened; see `open_udp`."""
    address = parse_address(uri, OPTIONS)
    size = sensor_of(address, sensor)
    if size is None:
        mark = "&" if address.options else "?"
        raise UsageError(
            f"UDP datagrams do not contain the sensor; give it, like {mark}sensor=346x260: {uri}"
        )
    for name, words in (("times", TIMES), ("origin", ORIGINS)):
        word = address.options.get(name, words[0])
        if word not in words:
            raise UsageError(
                f"{name}={word} is not one of {', '.join(words)} ({MEANINGS[name]}): {uri}"
            )
    return address, size


def open_udp(uri: str, sensor: SensorSize | None = None) -> UdpFeed:
    """Listen on the address of a URI: `udp://HOST:PORT?sensor=WxH&times=packet&origin=real`.

    Parameters
    ----------
    uri
        Without a host, this machine's loopback.
    sensor
        Size in pixels, where the URI does not contain it.

    Raises
    ------
    UsageError
        If the URI cannot be parsed or no sensor is given.
    SourceError
        If the address cannot be listened on.
    """
    address, size = check_udp(uri, sensor)
    times, origin = (
        address.options.get(name, word) for name, word in (("times", TIMES[0]), ("origin", ""))
    )
    return UdpFeed(address.host, address.port, size, times=times, origin=origin, name=uri)


def _listen(host: str, port: int, name: str) -> socket.socket:
    try:
        family, kind, _, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise SourceError(f"unknown host {host!r}: {error.strerror}: {name}") from error
    listening = socket.socket(family, kind)
    try:
        listening.setblocking(False)
        _ask_for_room(listening)
        listening.bind(place)
    except OSError as error:
        listening.close()
        hint = "choose another port, or stop the program that listens there"
        if isinstance(error, PermissionError):
            hint = "ports below 1024 need privileges; choose a higher one"
        elif host not in (LOOPBACK, "localhost"):
            hint += "; the address must be one of this machine's, or 0.0.0.0 for all of them"
        raise SourceError(f"cannot listen: {error.strerror}; {hint}: {name}") from error
    return listening


def _ask_for_room(listening: socket.socket) -> None:
    """Request as large a buffer as the system grants, up to RECEIVE_BUFFER_BYTES."""
    if sys.platform == "linux":
        try:  # beyond the limit, if privileged
            listening.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
            return
        except OSError:
            pass
    size = RECEIVE_BUFFER_BYTES
    while size >= 1 << 16:
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
            return
        except OSError:  # BSD and macOS refuse what Linux would reduce
            size //= 2


def _drops(listening: socket.socket) -> int | None:
    """Datagrams that the system dropped for this socket since it was opened, modulo 2**32."""
    if sys.platform != "linux":
        return None
    try:
        info = listening.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        return int(_MEMINFO.unpack(info)[_MEMINFO_DROPS])
    except (OSError, struct.error):
        return None
