"""Cameras through neuromorphic-drivers: DAVIS346, DVXplorer, EVK3 HD, EVK4, SilkyEvCam, Triton.

Guarantees:

- Events as the driver decoded them: `on` is ON, times in the camera's own us, with wraps undone and
  never decreasing.
- What the driver dropped is reported as damage of unknown size, with the gap in time if the driver
  reports its position. It counts USB packets, so the number of events is unknown.

Does not:

- Configure the camera: the driver's default configuration is used (on a DAVIS346 that includes the
  background-activity filter in the camera).
- Keep the raw packets that still wait in the driver when a camera fails: the driver raises before
  it delivers them. Their number is reported.
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
"""Longest time that the driver waits for events; it is fixed when the camera is opened."""

MAX_RAW_PACKETS = 8
"""USB packets of 128 KiB decoded at once: EVT3 has up to 12 events in 2 bytes, 100 MB in total."""

CLOSE_S = 0.5
"""Time that `close` waits for a read on another thread: several slices."""

CAMERA_NAMES = {
    "INIVATION_DAVIS346": ("davis346",),
    "INIVATION_DVXPLORER": ("dvxplorer",),
    "PROPHESEE_EVK4": ("evk4",),
}
"""Our names by the driver's; cameras that are not listed here are found as "camera"."""


def load() -> None:
    """Import the library."""
    import_module("neuromorphic_drivers")


def list_devices() -> list[SeenCamera]:
    """Cameras that the library lists; it opens each for a moment to read its serial number."""
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
    """Open a camera that `list_devices` returned."""
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
        self._unreported = 0

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
                    self._fail(error)
                    continue
            self._take(status.ring, packet)
            if not self._ready and time.monotonic() >= end_s:
                return FeedChunk(empty_events())
        return self._ready.popleft()

    def close(self) -> None:
        """Release the camera; a `read` on another thread ends within SLICE_S."""
        if self._closing.is_set():
            return
        self._closing.set()
        # The driver refuses to close while another thread is in it.
        free = self._reading.acquire(timeout=CLOSE_S)
        try:
            self._device.close()
        except Exception:
            pass  # unplugged, or its thread hangs: nothing is left to release
        finally:
            if free:
                self._reading.release()

    def _take(self, ring: Any, packet: Any) -> None:
        """Queue a packet's events, split where the driver reports missing USB packets."""
        if ring is not None:
            self._unreported += ring.dropped_packets - self._dropped
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
        # An overflow of unknown position is reported when the driver's queue is empty.
        if self._unreported and ring is not None and not ring.backlog and not ring.clutch_engaged:
            self._queue(empty_events(), (self._loss(None),))

    def _queue(self, events: Events, damage: tuple[Damage, ...]) -> None:
        if len(events):
            self._last_t = int(events["t"][-1])
        self._ready.append(FeedChunk(events, damage=damage))

    def _loss(self, next_t: int | None) -> Damage:
        """The packets dropped since the last call, before an event at `next_t`."""
        many, self._unreported = self._unreported, 0
        reason = (
            f"{_packets(many)} dropped by the driver because its "
            "queue was full; their number of events is unknown"
        )
        lost_us = None
        if next_t is not None and self._last_t is not None:
            lost_us = next_t - self._last_t
        return Damage(offset=0, lost_bytes=0, reason=reason, path=self.name, lost_us=lost_us)

    def _fail(self, error: BaseException) -> None:
        """Store the error; what was lost is reported before it is raised."""
        if self._unreported:
            self._queue(empty_events(), (self._loss(None),))
        try:
            waiting = int(self._device.backlog())
        except Exception:
            waiting = 0
        lost = ""
        if waiting:
            lost = f"; lost with it: {_packets(waiting)} still held by the driver"
            reason = f"{_packets(waiting)} not delivered by the driver when the camera failed"
            self._queue(empty_events(), (Damage(0, 0, reason, self.name),))
        self._broken = SourceError(
            f"the camera failed ({error_summary(error)}); all events delivered until then "
            f"were kept{lost}. Check the cable and the camera's power, then start again; "
            f"`streamstop doctor` shows what is seen: {self.name}"
        )


def _packets(count: int) -> str:
    """A number of USB packets as text, without the number if it is unknown.

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
