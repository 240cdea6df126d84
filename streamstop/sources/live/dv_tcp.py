"""Events over TCP from DV, or from anything that uses dv-processing's NetworkWriter.

Guarantees:

- Every event that the server sent, in its order: with TCP the server waits for a slow reader, so
  nothing is dropped here.
- A packet that cannot be read costs only itself. After an impossible length, or an end inside a
  packet, the rest cannot be read, since the start of the next packet is unknown. Both are reported
  as damage.
- No length is used before it is checked against a limit, and memory grows with the bytes received,
  not with the length announced.

Layout: AEDAT4 without its first line and without the table at its end: `u32 size` and an `IOHeader`
flatbuffer, then packets of `i32 stream, i32 size` and `size` bytes. A server sends one kind of
data; one that sends no events is refused.
"""

from __future__ import annotations

import io
import select
import socket
import struct
import time

import numpy as np

from streamstop.errors import SourceError, UsageError
from streamstop.events.packet import MAX_PACKET_EVENTS, Damage, Events, SensorSize, empty_events
from streamstop.formats.aedat.aedat4 import (
    MAGIC,
    MAX_BLOCK_BYTES,
    MAX_HEADER_BYTES,
    Header,
    Unpacker,
    UnreadableError,
    read_header,
    stream_sensor,
    unpacked_events,
)
from streamstop.formats.base import SIMULATED_SOURCE, UNKNOWN_SOURCE
from streamstop.sources.live._socket import SocketFeed
from streamstop.sources.live.address import parse_address, sensor_of
from streamstop.sources.live.feed import FeedChunk

CONNECT_S = 1.5
"""Time limit for the connection."""

HEADER_S = 5.0
"""Time limit for the header after that."""

ENDS_EMPTY = {"end": "empty packet"}
"""Attributes in a server's header that announce an empty packet as the last one. A server keeps the
connection open for a while after its last event, and by the clock that would be time passing."""

OPTIONS = ("sensor",)
IDLE_US = 250_000
"""A TCP segment that was lost is sent again after about 200 ms."""

_PIECE = 1 << 18


class DvTcpFeed(SocketFeed):
    """A connection to a DV server; see `streamstop.sources.live.feed.LiveFeed`.

    Parameters
    ----------
    host, port
        Address of the server.
    sensor
        Size in pixels, where the server does not send it.
    name
        The URI; "" makes it from the address.

    Raises
    ------
    SourceError
        If nobody answers, the peer is no DV server, or it sends no events.
    UsageError
        If the sensor differs from the server's, or is unknown.
    """

    format = "dv"
    idle_us = IDLE_US
    waits = True

    def __init__(
        self, host: str, port: int, *, sensor: SensorSize | None = None, name: str = ""
    ) -> None:
        self.name = name or f"dv://{host}:{port}"
        super().__init__(_connect(host, port, self.name))
        self._data = bytearray()
        self._offset = 0  # of the first byte of _data in the stream
        self._ended = False
        try:
            header = self._header()
            self._unpack = Unpacker(header.compression)
            self._streams = header.streams
            self._stream, self.sensor, self.simulated = _event_stream(header, sensor, self.name)
            made_by = header.streams[self._stream].get("source", "")
            self.origin_known = bool(made_by) and not made_by.startswith(UNKNOWN_SOURCE)
            self._ends_empty = ENDS_EMPTY.items() <= header.streams[self._stream].items()
        except BaseException:
            self.close()
            raise

    def announcement(self) -> str:
        """What is open now, in a few words for the user."""
        return f"connected to {self.name.partition('?')[0]}, sensor {self.sensor}"

    def read(self, timeout_s: float) -> FeedChunk | None:
        """The events since the last call; see `LiveFeed.read`. None once the server has ended."""
        with self._lock:
            end = time.monotonic() + timeout_s
            while not self._closing:
                received = self._parsed()
                if len(received.events) or received.damage:
                    return received
                if self._ended:
                    return None
                left = end - time.monotonic()
                if left <= 0:
                    return received
                self._receive(left)
            return None

    def _receive(self, timeout_s: float) -> None:
        """Receive what the connection has, waiting up to `timeout_s`."""
        ready, _, _ = select.select([self._socket, self._woken], [], [], timeout_s)
        if self._socket not in ready:
            return
        try:
            piece = self._socket.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError as error:
            raise SourceError(
                f"the connection failed: {error.strerror}; everything before was kept, up to "
                f"byte {self._offset + len(self._data)}: {self.name}"
            ) from error
        self._data += piece
        self._ended = not piece

    def _header(self) -> Header:
        """The header: the streams that the server sends."""
        end = time.monotonic() + HEADER_S
        size = 4
        while len(self._data) < size:
            left = end - time.monotonic()
            ready = left > 0 and select.select([self._socket], [], [], left)[0]
            piece = self._socket.recv(_PIECE) if ready else b""
            if not piece:
                happened = "closed the connection" if ready else f"was silent for {HEADER_S:g} s"
                raise SourceError(
                    f"the server {happened} before its header was complete; is it a DV server, "
                    f"with room for one more client? {self.name}"
                )
            self._data += piece
            if len(self._data) >= 4:
                size = 4 + int.from_bytes(self._data[:4], "little")
                if size > MAX_HEADER_BYTES or self._data[8:12] not in (b"IOHE", self._data[8:8]):
                    raise SourceError(f"the peer is not a DV server: {self.name}")
        try:
            header = read_header(io.BytesIO(MAGIC + bytes(self._data[:size])))
        except UnreadableError as error:
            raise SourceError(f"the server's header is damaged: {error}: {self.name}") from error
        del self._data[:size]
        self._offset = size
        return header

    def _parsed(self) -> FeedChunk:
        """Events of the complete packets, MAX_PACKET_EVENTS or one packet at a time."""
        parts: list[Events] = []
        damage: list[Damage] = []
        at = count = 0
        while count < MAX_PACKET_EVENTS and len(self._data) - at >= 8:
            stream, size = struct.unpack_from("<ii", self._data, at)
            if not 0 <= size <= MAX_BLOCK_BYTES:
                reason = f"a packet of {size} bytes was announced; what follows cannot be read"
                damage.append(Damage(self._offset + at, len(self._data) - at, reason, self.name))
                at, self._ended = len(self._data), True
                break
            if len(self._data) - at < 8 + size:
                break
            if stream == self._stream:
                block = bytes(memoryview(self._data)[at + 8 : at + 8 + size])
                try:
                    parts.append(unpacked_events(self._unpack(block)))
                    count += len(parts[-1])
                    self._ended |= self._ends_empty and not len(parts[-1])
                except UnreadableError as error:
                    damage.append(Damage(self._offset + at, 8 + size, str(error), self.name))
            elif stream not in self._streams:
                reason = f"a packet of a stream {stream} that the server did not name"
                damage.append(Damage(self._offset + at, 8 + size, reason, self.name))
            at += 8 + size
        if self._ended and at < len(self._data) and not count:
            reason = "the connection ended inside a packet"
            damage.append(Damage(self._offset + at, len(self._data) - at, reason, self.name))
            at = len(self._data)
        del self._data[:at]
        self._offset += at
        if len(parts) == 1:
            return FeedChunk(parts[0], damage=tuple(damage))
        return FeedChunk(np.concatenate([empty_events(), *parts]), damage=tuple(damage))


def open_dv(uri: str, sensor: SensorSize | None = None) -> DvTcpFeed:
    """Connect to a DV server: `dv://HOST:PORT`, or `tcp://HOST:PORT`.

    Parameters
    ----------
    uri
        Without a host, this machine; `?sensor=WxH` where the server does not send it.
    sensor
        The same, where the URI does not contain it.

    Raises
    ------
    UsageError
        If the URI cannot be parsed, or the sensor is unknown.
    SourceError
        If the server cannot be read.
    """
    address = parse_address(uri, OPTIONS)
    return DvTcpFeed(address.host, address.port, sensor=sensor_of(address, sensor), name=uri)


def _connect(host: str, port: int, name: str) -> socket.socket:
    try:
        connected = socket.create_connection((host, port), timeout=CONNECT_S)
    except OSError as error:
        happened = error.strerror or f"no answer within {CONNECT_S:g} s"
        raise SourceError(
            f"cannot connect: {happened}; start the server first (in DV a network output module of "
            f"events, or `streamstop replay REC {name.partition('?')[0]}`): {name}"
        ) from error
    connected.setblocking(False)
    return connected


def _event_stream(
    header: Header, sensor: SensorSize | None, name: str
) -> tuple[int, SensorSize, bool]:
    """The id of the event stream, its sensor, and whether it is simulated."""
    kinds = {i: of.get("typeIdentifier", "") for i, of in header.streams.items()}
    events = [i for i, kind in kinds.items() if kind == "EVTS"]
    if not events:
        sends = ", ".join(filter(None, kinds.values())) or "nothing"
        raise SourceError(f"the server sends {sends}, and no events (EVTS): {name}")
    info = header.streams[events[0]]
    stated = stream_sensor(info)
    if stated is not None and sensor not in (None, stated):
        raise UsageError(f"the server's sensor is {stated}, not {sensor}; leave it out: {name}")
    size = stated or sensor
    if size is None:
        raise UsageError(f"the server does not send the sensor; give it, ?sensor=346x260: {name}")
    return events[0], size, info.get("source", "").startswith(SIMULATED_SOURCE)
