"""The bins of a stream of packets; the events of each packet enter the ledger first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np

from streamstop.errors import UsageError
from streamstop.events.binning import Bin, Binner
from streamstop.events.ledger import EventLedger
from streamstop.events.packet import MAX_PACKET_EVENTS, Events, Packet, SensorSize


class BinStream:
    """Every bin of a stream, in order; iterate it once.

    Guarantees:

    - A packet is in the ledger before the first bin that it closes.
    - Only the open bins of the binner are kept.

    Parameters
    ----------
    packets : iterable of Packet
        The stream.
    binner : Binner
        Cuts it into bins.

    Attributes
    ----------
    ledger : EventLedger
        Counts of all events.
    after_packet : callable
        Called between two packets, also where they closed no bin; what it raises ends the stream.
    arrived_s : float or None
        When the latest event of the current bin arrived (monotonic clock, seconds); None where
        that is not known.
    first_us : int or None
        Start of the first bin, in us of the source's time.
    end_us, clock_us : int
        End of the latest bin, in the source's time and in the time of the labels.
    """

    def __init__(self, packets: Iterable[Packet], binner: Binner) -> None:
        self.binner = binner
        self.after_packet: Callable[[], None] = _nothing
        self.ledger = EventLedger(binner)
        self.arrived_s: float | None = None
        self.first_us: int | None = None
        self.end_us = self.clock_us = 0
        self._packets = packets

    @property
    def duration_us(self) -> int:
        """Stream time so far, in us."""
        return self.end_us - (self.first_us or 0)

    def __iter__(self) -> Iterator[Bin]:
        came_s: float | None = None
        for packet in self._packets:
            self.ledger.add(packet)
            for one in self.binner.push(packet.events):
                # The packet that closes a bin may hold events of it, or only later ones.
                within = packet.events["t"][0] < one.clock_us + self.binner.bin_us
                self.arrived_s = packet.arrived_s if within else came_s
                yield self._entered(one)
            came_s = packet.arrived_s if len(packet.events) else came_s
            if packet.until_us is not None:
                self.arrived_s = came_s
                yield from map(self._entered, self.binner.advance(packet.until_us))
            self.after_packet()
        yield from self.rest()

    def rest(self) -> Iterator[Bin]:
        """The bins still open; for a stream whose iteration ended in an error."""
        self.arrived_s = None
        yield from map(self._entered, self.binner.flush())

    def _entered(self, one: Bin) -> Bin:
        self.first_us = one.start_us if self.first_us is None else self.first_us
        self.end_us, self.clock_us = one.end_us, one.clock_us + self.binner.bin_us
        return one


def _nothing() -> None:
    return None


class Stream(Protocol):
    """Packets, and what binning needs to know of them: any `Source` is one."""

    @property
    def sensor(self) -> SensorSize:
        """Pixels of the sensor."""
        ...

    @property
    def origin_us(self) -> int | None:
        """Where bin 0 begins, in us; None: at the first event."""
        ...

    def __iter__(self) -> Iterator[Packet]: ...


def iter_bins(
    stream: Stream | Iterable[Packet] | Events, sensor: SensorSize | None = None, **settings: Any
) -> Iterator[Bin]:
    """The bins of a source, of packets, or of an array of events.

    Parameters
    ----------
    stream : Source, iterable of Packet, or ndarray of shape (n,) and EVENT_DTYPE
        The events.
    sensor : SensorSize, optional
        Pixels of the sensor; a source knows its own.
    **settings
        As `Binner` takes them: bin_us, height, width, resize_mode, representation,
        reorder_window_us, reset_gap_us, origin_us, hot_pixels, refractory_us.

    Yields
    ------
    Bin

    Raises
    ------
    UsageError
        If the sensor's size is not known, or a setting makes no sense.

    Examples
    --------
    >>> from streamstop.events.packet import make_events
    >>> events = make_events([5, 9, 35], [0, 3, 0], [0, 3, 0], [True, False, True])
    >>> [one.events for one in iter_bins(events, SensorSize(4, 4), bin_us=10)]
    [2, 0, 0, 1]
    """
    sensor = sensor or getattr(stream, "sensor", None)
    if sensor is None:
        raise UsageError("these events do not state their sensor: iter_bins(events, sensor)")
    settings.setdefault("origin_us", getattr(stream, "origin_us", None))
    packets: Iterable[Packet]
    if isinstance(stream, np.ndarray):
        firsts = range(0, len(stream), MAX_PACKET_EVENTS)
        packets = (Packet(stream[first : first + MAX_PACKET_EVENTS]) for first in firsts)
    else:
        packets = stream
    return iter(BinStream(packets, Binner(sensor, **settings)))
