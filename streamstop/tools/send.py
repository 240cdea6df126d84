"""Sends a recording as a live source: over UDP in aestream's layout, or as a DV server over TCP.

Guarantees:
- Events are sent in order, each when it is due by its own time; the schedule is counted from the
  first event, so delays do not add up.
- The result accounts for every event: sent, not representable in the layout, lost on this machine.
- Over TCP nothing is lost: the sender waits for the receiver.
- Sends to this machine only, unless the URI names another.

Does not:
- Wait for the receiver over UDP, as a camera would not.
- Wait out a jump in time longer than `MAX_GAP_US`, forwards or back.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import lz4.frame
import numpy as np
import zstandard

from streamstop.errors import SourceError, UsageError
from streamstop.events.packet import Events, Packet, SensorSize, empty_events
from streamstop.formats.aedat.aedat4 import COMPRESSIONS, MAGIC
from streamstop.formats.aedat.aedat4_writer import description, event_packet, file_header
from streamstop.sources.base import Source, stated_origin
from streamstop.sources.live.address import LOOPBACK, MAX_SIDE, Address, parse_address
from streamstop.sources.live.dv_tcp import ENDS_EMPTY
from streamstop.sources.open import open_source
from streamstop.sources.realtime import replay_realtime

MAX_GAP_US = 1_000_000
DATAGRAM_BYTES = 512
"""Largest datagram that aestream sends, and the largest that its receiver takes."""

MAX_DATAGRAM_BYTES = 65_507
PACKET_EVENTS = 1 << 13
"""Most events in one packet over TCP."""

_TICK_US = 1_000
_PROGRESS_S = 0.1
_MAX_QUEUED_BYTES = 1 << 16
"""Fill level of a local receiver's buffer at which sending pauses, if no speed is given: less than
half of the smallest usual buffer, as Linux counts it."""
_CHECK_EVERY = 32  # datagrams between two checks of the fill level
_STUCK_S = 1.0
LINGER_S = 1.0
"""Time for the client to read the rest: dv-processing's reader discards unread packets as soon as
the server closes the connection."""


@dataclass
class SendResult:
    """The result of sending a recording.

    Attributes
    ----------
    events : number of events sent.
    messages, bytes : number of datagrams (over TCP, of packets), and the bytes in them.
    unsent : events that were not sent, by cause: "out_of_range", coordinates too large for the
        layout.
    refused : datagrams without a receiver, as far as the system reports it.
    lost : datagrams lost because the buffer of a receiver on this machine was full; None if the
        system does not report it.
    damage : number of damaged places in the recording.
    seconds : time from the first event to the last.
    late_s : delay of the latest packet behind its schedule.
    skipped_us : time of the recording that was skipped.
    ended : why sending ended early; "" if everything was sent.
    """

    events: int = 0
    messages: int = 0
    bytes: int = 0
    unsent: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    lost: int | None = None
    damage: int = 0
    seconds: float = 0.0
    late_s: float = 0.0
    skipped_us: int = 0
    ended: str = ""

    @property
    def rate_hz(self) -> float:
        """Events per second; 0 if `seconds` is 0."""
        return self.events / self.seconds if self.seconds else 0.0


class _Target(Protocol):
    """Where events are sent."""

    def send(self, events: Events, sent: SendResult) -> bool:
        """Send events and count them; False if the receiver is gone."""
        ...

    def finish(self, sent: SendResult) -> None:
        """After the last event: complete the counts."""
        ...

    def close(self) -> None: ...


Progress = Callable[[SendResult], None]


def send_recording(
    source_uri: str,
    target: str,
    *,
    speed: float = 1.0,
    timestamps: bool = True,
    datagram_bytes: int = DATAGRAM_BYTES,
    compression: str = "none",
    client_timeout_s: float = 0.0,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> SendResult:
    """Send a recording as a live source.

    Parameters
    ----------
    source_uri : a recording; see `streamstop.sources.open.open_source`.
    target : `udp://HOST:PORT` to send to, or `dv://HOST:PORT` (or `tcp://`) to serve at, for one
        client. Without a host: this machine.
    speed : multiple of real time; 0 for as fast as possible. Over UDP to this machine that is as
        fast as the receiver reads, if the system reports it.
    timestamps : over UDP, whether events carry their times.
    datagram_bytes : over UDP, largest datagram in bytes.
    compression : over TCP, "none", "lz4" or "zstd".
    client_timeout_s : over TCP, how long to wait for a client; 0 for no limit.
    progress : called at most ten times per second with the counts so far.
    clock, sleep : seconds on a monotonic clock, and what waits; for tests.

    Returns
    -------
    SendResult : after Ctrl-C too; `ended` is then "interrupted".

    Raises
    ------
    SourceError
        If the recording or the address cannot be opened, or no client connects in time.
    UsageError
        If a parameter is out of range.
    """
    address = parse_address(target, ())
    _check(speed, datagram_bytes, compression)
    with open_source(source_uri) as source:
        if source.live:
            raise UsageError(f"only a recording can be sent; this is a live source: {source_uri}")
        sent = SendResult()
        try:
            opened: _Target
            if address.scheme == "udp":
                opened = _UdpTarget(address, timestamps, datagram_bytes, held=not speed)
            else:
                opened = _DvServer(address, source, compression, client_timeout_s)
            with closing(opened):
                try:
                    packets = _scheduled(source, speed, sent, clock, sleep)
                    _send_all(packets, opened, sent, progress, clock)
                finally:
                    opened.finish(sent)
        except KeyboardInterrupt:
            sent.ended = "interrupted"
    return sent


def _check(speed: float, datagram_bytes: int, compression: str) -> None:
    if not 0 <= speed < float("inf"):
        raise UsageError(f"speed = {speed} is out of range: a multiple of real time, or 0")
    if not 8 <= datagram_bytes <= MAX_DATAGRAM_BYTES:
        raise UsageError(f"datagram_bytes = {datagram_bytes} is not in 8 to {MAX_DATAGRAM_BYTES}")
    if compression not in COMPRESSIONS:
        raise UsageError(f"compression {compression!r} is not one of {', '.join(COMPRESSIONS)}")


def _send_all(
    packets: Iterator[Packet],
    target: _Target,
    sent: SendResult,
    progress: Progress | None,
    clock: Callable[[], float],
) -> None:
    started_s = progress_s = clock()
    for packet in packets:
        sent.damage += len(packet.damage)
        try:
            if len(packet.events) and not target.send(packet.events, sent):
                return
        finally:
            now = clock()
            sent.seconds = now - started_s
        if packet.arrived_s is not None:
            sent.late_s = max(sent.late_s, now - packet.arrived_s)
        if progress is not None and now >= progress_s + _PROGRESS_S:
            progress(sent)
            progress_s = now


def _scheduled(
    source: Source,
    speed: float,
    sent: SendResult,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Iterator[Packet]:
    """Yield packets when they are due; count jumps in time."""
    if not speed:
        yield from source
        return
    tick_us = max(int(_TICK_US * speed), 1)
    last_us = None
    for packet in replay_realtime(
        source, speed, tick_us=tick_us, gap_us=MAX_GAP_US, clock=clock, sleep=sleep
    ):
        if len(packet.events):
            first_us, latest_us = int(packet.events["t"][0]), int(packet.events["t"].max())
            if last_us is not None and abs(first_us - last_us) > MAX_GAP_US:
                sent.skipped_us += max(first_us - last_us, 0)
                last_us = latest_us
            last_us = latest_us if last_us is None else max(last_us, latest_us)
        yield packet


def encode_datagrams(events: Events, *, timestamps: bool) -> bytes:
    """Events in aestream's layout, 8 bytes each, or 4 without timestamps; x and y below 2**15.

    >>> from streamstop.events.packet import make_events
    >>> encode_datagrams(make_events([5], [3], [2], [True]), timestamps=True).hex()
    '0280030005000000'
    """
    fields = np.empty((len(events), 4 if timestamps else 2), "<u2")
    fields[:, 0] = events["y"] | events["p"].astype("<u2") << 15
    fields[:, 1] = events["x"]
    if timestamps:
        fields[:, 2:] = (events["t"] & 0xFFFFFFFF).astype("<u4")[:, None].view("<u2")
    else:
        fields[:, 1] |= 0x8000
    return fields.tobytes()


class _UdpTarget:
    """A socket that sends to one address; with `held`, no faster than a local receiver reads."""

    def __init__(
        self, address: Address, timestamps: bool, datagram_bytes: int, *, held: bool
    ) -> None:
        self._timestamps = timestamps
        size = 8 if timestamps else 4
        self._datagram_bytes = datagram_bytes // size * size
        self._event_bytes = size
        try:
            family, kind, _, _, place = socket.getaddrinfo(
                address.host, address.port, type=socket.SOCK_DGRAM
            )[0]
            self._socket = socket.socket(family, kind)
            self._socket.connect(place)
        except OSError as error:
            raise SourceError(f"cannot send: {error.strerror}: {address.uri}") from error
        self._uri = address.uri
        peer = self._socket.getpeername()[0]
        local = peer.startswith("127.") or peer in ("::1", self._socket.getsockname()[0])
        self._port = address.port
        first = _receiver_state(self._port) if local else None
        self._drops = first[1] if first else 0
        self._local, self._held = local, held and local

    def send(self, events: Events, sent: SendResult) -> bool:
        outside = (events["x"] >= MAX_SIDE) | (events["y"] >= MAX_SIDE)
        if outside.any():
            count = int(outside.sum())
            sent.unsent["out_of_range"] = sent.unsent.get("out_of_range", 0) + count
            events = events[~outside]
        data = memoryview(encode_datagrams(events, timestamps=self._timestamps))
        for number, at in enumerate(range(0, len(data), self._datagram_bytes)):
            if self._held and number % _CHECK_EVERY == 0:
                self._wait_for_room()
            part = data[at : at + self._datagram_bytes]
            self._send_one(part, sent)
            sent.messages += 1
            sent.bytes += len(part)
            sent.events += len(part) // self._event_bytes
        return True

    def finish(self, sent: SendResult) -> None:
        state = _receiver_state(self._port) if self._local else None
        if state is not None:
            sent.lost = max(state[1] - self._drops, 0)

    def close(self) -> None:
        self._socket.close()

    def _send_one(self, part: memoryview, sent: SendResult) -> None:
        for _ in range(3):
            try:
                self._socket.send(part)
                return
            except ConnectionRefusedError:  # reports an earlier datagram; this one was not sent yet
                sent.refused += 1
            except OSError as error:
                raise SourceError(f"cannot send: {error.strerror}: {self._uri}") from error

    def _wait_for_room(self) -> None:
        end = time.monotonic() + _STUCK_S
        while (state := _receiver_state(self._port)) is not None and state[0] > _MAX_QUEUED_BYTES:
            if time.monotonic() > end:
                return  # the receiver does not read: send anyway, as a camera would
            time.sleep(0.0005)


def _receiver_state(port: int) -> tuple[int, int] | None:
    """Bytes queued in the fullest socket on this machine with this UDP port, and datagrams that
    such sockets dropped; None if there is none, or the system does not report it.
    """
    waiting, drops, found = 0, 0, False
    ending = f":{port:04X}"
    for table in ("/proc/net/udp", "/proc/net/udp6") if sys.platform == "linux" else ():
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            if columns[1].endswith(ending):
                waiting = max(waiting, int(columns[4].partition(":")[2], 16))
                drops, found = drops + int(columns[-1]), True
    return (waiting, drops) if found else None


class _DvServer:
    """Waits for one client and sends what DV's servers send."""

    def __init__(
        self, address: Address, source: Source, compression: str, client_timeout_s: float
    ) -> None:
        self._compress = _compressor(compression)
        self._uri = address.uri
        with closing(_listening(address)) as listening:
            listening.settimeout(client_timeout_s or None)
            try:
                self._socket, _ = listening.accept()
            except TimeoutError as error:
                raise SourceError(
                    f"no client connected within {client_timeout_s:g} s; start one, like "
                    f"`streamstop run --source {address.uri}`: {address.uri}"
                ) from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._put(stream_header(source.sensor, compression, simulated=stated_origin(source)))

    def send(self, events: Events, sent: SendResult) -> bool:
        for first in range(0, len(events), PACKET_EVENTS):
            part = events[first : first + PACKET_EVENTS]
            packet = _packet(event_packet(part), self._compress)
            if not self._put(packet):
                sent.ended = "the client disconnected"
                return False
            sent.messages += 1
            sent.bytes += len(packet)
            sent.events += len(part)
        return True

    def _put(self, data: bytes) -> bool:
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        except OSError as error:
            raise SourceError(f"cannot send: {error.strerror}: {self._uri}") from error
        return True

    def finish(self, sent: SendResult) -> None:
        """Send the end mark, and leave the client time to read the rest and disconnect."""
        if self._put(_packet(event_packet(empty_events()), self._compress)):
            select.select([self._socket], [], [], LINGER_S)

    def close(self) -> None:
        self._socket.close()


def _listening(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family, backlog=1)
    except OSError as error:
        hint = "choose another port, or stop the program that listens there"
        if address.host not in (LOOPBACK, "localhost"):
            hint += "; the address must be one of this machine, or 0.0.0.0 for all of them"
        raise SourceError(f"cannot listen: {error.strerror}; {hint}: {address.uri}") from error


def _packet(content: bytes, compress: Callable[[bytes], Any]) -> bytes:
    block = bytes(compress(content))
    return struct.pack("<ii", 0, len(block)) + block


def stream_header(sensor: SensorSize, compression: str, *, simulated: bool | None) -> bytes:
    """The first message of a DV server: an AEDAT4 file header without the file's first line."""
    xml = description(sensor, compression, ENDS_EMPTY, simulated=simulated).encode()
    return file_header(compression, -1, xml)[len(MAGIC) :]


def _compressor(compression: str) -> Callable[[bytes], Any]:
    """The compression function, at a fast level, for a live stream."""
    if compression == "lz4":
        return lz4.frame.compress  # type: ignore[no-any-return]
    if compression == "zstd":
        return zstandard.ZstdCompressor(level=1).compress
    return bytes
