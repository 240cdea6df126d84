"""Cameras through neuromorphic-drivers: DAVIS346, DVXplorer, EVK3 HD, EVK4, SilkyEvCam, Triton.

It promises events as the driver decoded them: `on` is ON, times in the camera's own us, with wraps
undone and never decreasing. What the driver dropped is told as damage of unknown size, with the gap
in time where the driver says where it was: it counts USB packets, not events, so nothing that it
drops can be entered as a number of events. The driver's default configuration is used (on a
DAVIS346 that includes the background-activity filter in the camera).

When a camera breaks off, the driver raises before it hands over the raw packets that still waited;
how many there were is told, their events are lost.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from importlib import import_module
from typing import Any

import numpy as np

from streamstop.errors import SourceError
from streamstop.events.packet import Damage, Events, SensorSize, empty_events, make_events
from streamstop.sources.live.cameras.backend import IDLE_US, SeenCamera, error_summary
from streamstop.sources.live.feed import FeedChunk, LiveFeed

NAME = "neuromorphic-drivers"
DISTRIBUTION = "neuromorphic-drivers"
SKIPPED = ""

SLICE_S = 0.01
"""How long the driver waits for events at most; it is fixed when the camera is opened."""

MAX_RAW_PACKETS = 8
"""USB packets of 128 KiB decoded at once: EVT3 has up to 12 events in 2 bytes, 100 MB in all."""

CLOSE_S = 0.5
"""How long `close` waits for a read on another thread: several slices."""

CAMERA_NAMES = {
    "INIVATION_DAVIS346": ("davis346",),
    "INIVATION_DVXPLORER": ("dvxplorer",),
    "PROPHESEE_EVK4": ("evk4",),
}
"""The driver's name of a camera, and ours; those that are not here are found as "camera"."""


def load() -> None:
    """Import the library."""
    import_module("neuromorphic_drivers")


def list_devices() -> list[SeenCamera]:
    """Cameras the library lists: it opens each for a moment, to read its serial number."""
    listed = import_module("neuromorphic_drivers").list_devices()
    return [
        SeenCamera(
            names=CAMERA_NAMES.get(one.name.name, ()),
            model=one.name.value,
            serial=one.serial or "",
            error=one.error or "",
        )
        for one in listed
    ]


def open_feed(uri: str, word: str, seen: SeenCamera) -> LiveFeed:
    """Open the camera that `list_devices` saw."""
    device = import_module("neuromorphic_drivers").open(
        serial=seen.serial or None,
        iterator_timeout=SLICE_S,
        iterator_maximum_raw_packets=MAX_RAW_PACKETS,
    )
    return NeuromorphicFeed(uri, device, f"{word} by {NAME}")


class NeuromorphicFeed(LiveFeed):
    """A camera opened by neuromorphic-drivers as a `streamstop.sources.live.feed.LiveFeed`."""

    simulated = False
    idle_us = IDLE_US
    waits = False

    def __init__(self, uri: str, device: Any, origin: str) -> None:
        size = device.properties()
        self.name = uri
        self.format = origin
        self.sensor = SensorSize(int(size.width), int(size.height))
        self._device = device
        self._reading = threading.Lock()
        self._closing = threading.Event()
        self._ready: deque[FeedChunk] = deque()
        self._broken: SourceError | None = None
        self._last_t: int | None = None
        self._dropped = 0
        self._untold = 0

    def read(self, timeout_s: float) -> FeedChunk | None:
        """See `streamstop.sources.live.feed.LiveFeed`; waits in steps of SLICE_S."""
        end_s = time.monotonic() + timeout_s
        while not self._ready:
            if self._broken is not None:
                raise self._broken
            with self._reading:
                if self._closing.is_set():
                    return None
                try:
                    status, packet = next(self._device)
                except StopIteration:
                    return None
                except (KeyboardInterrupt, SystemExit):
                    raise
                except BaseException as error:  # a panic of the driver is no Exception
                    self._break_off(error)
                    continue
            self._take(status.ring, packet)
            if not self._ready and time.monotonic() >= end_s:
                return FeedChunk(empty_events())
        return self._ready.popleft()

    def close(self) -> None:
        """Give the camera back; a `read` on another thread ends within SLICE_S."""
        if self._closing.is_set():
            return
        self._closing.set()
        # The driver refuses to close while another thread is in it.
        free = self._reading.acquire(timeout=CLOSE_S)
        try:
            self._device.close()
        except Exception:
            pass  # it is unplugged, or its thread hangs: there is nothing left to give back
        finally:
            if free:
                self._reading.release()

    def _take(self, ring: Any, packet: Any) -> None:
        """Queue a packet's events, cut where the driver says that USB packets are missing."""
        if ring is not None:
            self._untold += ring.dropped_packets - self._dropped
            self._dropped = ring.dropped_packets
        events, cuts = _decoded(packet)
        first, damage = 0, tuple[Damage, ...]()
        for cut in [*cuts, len(events)]:
            if cut > first or damage:
                self._queue(events[first:cut], damage)
            first, damage = cut, ()
            if cut < len(events):
                damage = (self._loss(int(events["t"][cut])),)
        if cuts and cuts[-1] == len(events):
            self._queue(empty_events(), (self._loss(None),))
        # An overflow whose place the driver does not know is told when its queue has run empty.
        if self._untold and ring is not None and not ring.backlog and not ring.clutch_engaged:
            self._queue(empty_events(), (self._loss(None),))

    def _queue(self, events: Events, damage: tuple[Damage, ...]) -> None:
        if len(events):
            self._last_t = int(events["t"][-1])
        self._ready.append(FeedChunk(events, damage=damage))

    def _loss(self, next_t: int | None) -> Damage:
        """What was dropped since this was last asked, before an event at `next_t`."""
        many, self._untold = self._untold, 0
        reason = (
            f"{_packets(many)} dropped by the driver because its "
            "queue was full; how many events they held is not known"
        )
        lost_us = None
        if next_t is not None and self._last_t is not None:
            lost_us = next_t - self._last_t
        return Damage(offset=0, lost_bytes=0, reason=reason, path=self.name, lost_us=lost_us)

    def _break_off(self, error: BaseException) -> None:
        """Remember why; what was lost is told before it is raised."""
        if self._untold:
            self._queue(empty_events(), (self._loss(None),))
        try:
            waiting = int(self._device.backlog())
        except Exception:
            waiting = 0
        lost = ""
        if waiting:
            lost = f"; {_packets(waiting)} that the driver still held went with it"
            reason = f"{_packets(waiting)} not handed over by the driver when the camera broke off"
            self._queue(empty_events(), (Damage(0, 0, reason, self.name),))
        self._broken = SourceError(
            f"the camera broke off ({error_summary(error)}); all events handed over until then "
            f"were kept{lost}. Check the cable and the camera's power, then start again; "
            f"`streamstop doctor` shows what is seen: {self.name}"
        )


def _packets(count: int) -> str:
    """A count of USB packets; some, where it is not known.

    >>> _packets(0), _packets(1), _packets(20)
    ('USB packets', '1 USB packet', '20 USB packets')
    """
    return f"{count or ''} USB packet{'' if count == 1 else 's'}".strip()


def _decoded(packet: Any) -> tuple[Events, list[int]]:
    """Events of a packet of any kind, and the indices before which some are missing."""
    if packet is None:
        return empty_events(), []
    found = packet.polarity_events
    if found is None:
        events = empty_events()
    else:
        events = make_events(
            found["t"].astype(np.int64), found["x"], found["y"], found["on"].astype(bool)
        )
    cuts = packet.polarity_events_overflow_indices
    return events, [] if cuts is None else sorted({min(int(c), len(events)) for c in cuts})
