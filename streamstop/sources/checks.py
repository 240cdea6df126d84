"""Checks of a source of events: the promises that a run relies on, each a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamstop.events.binning import Binner
from streamstop.events.ledger import EventLedger
from streamstop.events.packet import EVENT_DTYPE, MAX_PACKET_EVENTS, Packet
from streamstop.sources.base import Source


def check_source(open_again: Callable[[], Source]) -> None:
    """Test whether a source keeps what a run relies on.

    Parameters
    ----------
    open_again : callable
        Opens the source, a new one with the same events each time; a finite one.

    Raises
    ------
    AssertionError
        With what is wrong, at the first promise that is not kept.

    Examples
    --------
    >>> from streamstop.sources.open import open_source
    >>> check_source(lambda: open_source("recordings/gestures/simulated_user01_lab.aedat4"))
    """
    for check in (
        check_it_describes_itself,
        check_packets_are_bounded_arrays_of_events,
        check_every_event_is_accounted_for,
        check_the_same_events_come_again,
        check_packets_change_no_bin,
    ):
        check(open_again)


def check_it_describes_itself(open_again: Callable[[], Source]) -> None:
    """A source states its name, format, sensor, origin and labels before it is read."""
    with open_again() as source:
        assert source.name and source.format, "name and format must not be empty"
        width, height = source.sensor
        assert width >= 1 and height >= 1, f"sensor is {source.sensor}"
        for name in ("live", "simulated"):
            assert isinstance(getattr(source, name), bool), f"{name} must be True or False"
        if source.labels is not None:
            starts = [one.start_us for one in source.labels.segments]
            assert starts == sorted(starts), "the segments of labels must be in order of time"


def check_packets_are_bounded_arrays_of_events(open_again: Callable[[], Source]) -> None:
    """Every packet holds at most MAX_PACKET_EVENTS events of EVENT_DTYPE."""
    with open_again() as source:
        for number, packet in enumerate(source):
            events = packet.events
            assert isinstance(packet, Packet), f"packet {number} is a {type(packet).__name__}"
            assert events.dtype == EVENT_DTYPE and events.ndim == 1, (
                f"packet {number} holds {events.dtype} of shape {events.shape}, not EVENT_DTYPE"
            )
            assert len(events) <= MAX_PACKET_EVENTS, (
                f"packet {number} holds {len(events)} events, more than {MAX_PACKET_EVENTS}"
            )


def check_every_event_is_accounted_for(open_again: Callable[[], Source]) -> None:
    """Received = binned + dropped + rejected + pending, after every packet."""
    with open_again() as source:
        binner = Binner(source.sensor, bin_us=50_000, origin_us=source.origin_us)
        ledger = EventLedger(binner)
        for number, packet in enumerate(source):
            ledger.add(packet)
            list(binner.push(packet.events))
            if packet.until_us is not None:
                list(binner.advance(packet.until_us))
            assert ledger.unaccounted == 0, f"{ledger.unaccounted} events lost at packet {number}"


def check_the_same_events_come_again(open_again: Callable[[], Source]) -> None:
    """Opened twice, it hands over the same events."""
    first, second = (_events_of(open_again) for _ in range(2))
    assert np.array_equal(first, second), "opened again, the source handed over other events"


def check_packets_change_no_bin(open_again: Callable[[], Source]) -> None:
    """How the stream is cut into packets changes no bin."""
    whole = _bins_of(open_again, 0)
    for size in (1, 97):
        parts = _bins_of(open_again, size)
        same = len(whole) == len(parts) and all(map(np.array_equal, whole, parts))
        assert same, f"packets of {size} events made other bins"


def _events_of(open_again: Callable[[], Source]) -> NDArray[Any]:
    with open_again() as source:
        parts = [packet.events for packet in source]
    return np.concatenate(parts) if parts else np.zeros(0, EVENT_DTYPE)


def _bins_of(open_again: Callable[[], Source], size: int, limit: int = 3000) -> list[NDArray[Any]]:
    """The bins of the first events, cut into packets of `size` events; 0: as they come."""
    with open_again() as source:
        binner = Binner(source.sensor, bin_us=20_000, height=8, width=8, origin_us=source.origin_us)
        found: list[NDArray[Any]] = []
        taken = 0
        for packet in source:
            events = packet.events[: limit - taken]
            taken += len(events)
            for first in range(0, len(events), size or max(len(events), 1)):
                part = events[first : first + (size or len(events))]
                found += [one.counts.copy() for one in binner.push(part)]
            if taken >= limit:
                break
        return found + [one.counts.copy() for one in binner.flush()]
