"""Cameras through dv-processing: iniVation's DAVIS346, DAVIS240, DVXplorer and DVS128.

Guarantees:

- Events as the library decoded them: polarity 1 is ON, times in us since 1970 by this computer's
  clock, in order.

Does not:

- Report drops: the library counts none in Python, so none are entered, which does not mean that
  there were none.

Frames, IMU samples and triggers are read and discarded, since the library may store what is not
read.
"""

from __future__ import annotations

import threading
import time
from importlib import import_module
from typing import Any

from streamstop.errors import SourceError
from streamstop.events.packet import SensorSize, empty_events, make_events
from streamstop.sources.live.cameras.backend import IDLE_US, SeenCamera, error_summary
from streamstop.sources.live.feed import FeedChunk, LiveFeed

NAME = "dv-processing"
DISTRIBUTION = "dv-processing"
SKIPPED = ""

POLL_S = 0.001
"""Polling interval: the library does not wait for events."""

CLOSE_S = 0.5
"""Time that `close` waits for a read on another thread."""

MAX_THROWN_AWAY = 256
"""Frames, IMU batches or trigger batches discarded between two batches of events."""

CAMERA_NAMES = {
    "DAVIS": ("davis346", "davis240"),
    "DAVIS_GEN2": ("davis346", "davis240"),
    "DVXPLORER": ("dvxplorer",),
    "DVXPLORER_M": ("dvxplorer",),
    "DVXPLORER_S": ("dvxplorer",),
    "DVXPLORER_GEN2": ("dvxplorer",),
}
"""Our names by the library's model. Which DAVIS it is shows only when it is open."""

SENSORS = {"davis346": SensorSize(346, 260), "davis240": SensorSize(240, 180)}

OTHER_STREAMS = (
    ("isFrameStreamAvailable", "getNextFrame"),
    ("isImuStreamAvailable", "getNextImuBatch"),
    ("isTriggerStreamAvailable", "getNextTriggerBatch"),
)


def load() -> None:
    """Import the library."""
    import_module("dv_processing")


def list_devices() -> list[SeenCamera]:
    """Cameras that the library discovers."""
    found = import_module("dv_processing").io.camera.discover()
    return [
        SeenCamera(
            names=CAMERA_NAMES.get(one.cameraModel.name, ()),
            model=f"iniVation {one.cameraModel.name}",
            serial=str(one.serialNumber),
        )
        for one in found
    ]


def open_feed(uri: str, word: str, seen: SeenCamera) -> LiveFeed:
    """Open a camera that `list_devices` returned.

    Raises
    ------
    SourceError
        If it is another DAVIS than the one asked for.
    """
    opens = import_module("dv_processing").io.camera.open
    camera = opens(seen.serial) if seen.serial else opens()
    size = camera.getEventResolution()
    if size is None:
        raise SourceError(f"{seen} sends no events: {uri}")
    sensor = SensorSize(int(size[0]), int(size[1]))
    if word in SENSORS and sensor != SENSORS[word]:
        raise SourceError(f"{seen} has a sensor of {sensor} and is no {word}: {uri}")
    return DvFeed(uri, camera, f"{word} by {NAME}", sensor)


class DvFeed(LiveFeed):
    """A camera opened by dv-processing as a `streamstop.sources.live.feed.LiveFeed`."""

    simulated = False
    idle_us = IDLE_US
    waits = False

    def __init__(self, uri: str, camera: Any, origin: str, sensor: SensorSize) -> None:
        self.name = uri
        self.format = origin
        self.sensor = sensor
        self._camera = camera
        self._reading = threading.Lock()
        self._closing = threading.Event()
        self._others = [take for has, take in OTHER_STREAMS if getattr(camera, has)()]

    def read(self, timeout_s: float) -> FeedChunk | None:
        """See `streamstop.sources.live.feed.LiveFeed`."""
        end_s = time.monotonic() + timeout_s
        while True:
            with self._reading:
                if self._closing.is_set():
                    return None
                try:
                    running = self._camera.isRunning()
                    batch = self._camera.getNextEventBatch()
                    self._throw_away_others()
                except (KeyboardInterrupt, SystemExit):
                    raise
                except BaseException as error:  # whatever C++ raises
                    raise self._failure(error_summary(error)) from error
            if batch is not None and batch.size():
                found = batch.numpy()
                return FeedChunk(
                    make_events(found["timestamp"], found["x"], found["y"], found["polarity"] != 0)
                )
            if not running:  # checked before the batch, so all earlier events were read
                raise self._failure("it is no longer connected")
            if time.monotonic() >= end_s:
                return FeedChunk(empty_events())
            self._closing.wait(POLL_S)

    def close(self) -> None:
        """Release the camera: the library does so when nothing refers to it any more."""
        if self._closing.is_set():
            return
        self._closing.set()
        if self._reading.acquire(timeout=CLOSE_S):
            self._camera = None
            self._reading.release()

    def _throw_away_others(self) -> None:
        for take in self._others:
            for _ in range(MAX_THROWN_AWAY):
                if getattr(self._camera, take)() is None:
                    break

    def _failure(self, why: str) -> SourceError:
        return SourceError(
            f"the camera failed ({why}); all events received until then were kept. Check the "
            "cable and the camera's power, then start again; `streamstop doctor` shows what is "
            f"seen: {self.name}"
        )
