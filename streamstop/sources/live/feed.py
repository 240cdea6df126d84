"""A live origin of events as the code that reads it sees it: the protocol `LiveFeed`.

It knows nothing of the source that is made of a feed, nor of how feeds are opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from streamstop.events.packet import Damage, Events, SensorSize


@dataclass(frozen=True, slots=True)
class FeedChunk:
    """What a feed received at once.

    events : array of EVENT_DTYPE, any length, in the order they came, times in the origin's own us.
    dropped : events lost before they came here, by cause, as far as the origin can tell.
    damage : what could not be understood (a bad datagram), in bytes.
    """

    events: Events
    dropped: Mapping[str, int] = field(default_factory=dict)
    damage: tuple[Damage, ...] = ()


class LiveFeed(Protocol):
    """A live origin of events: a camera's driver, a socket.

    name : the URI or word it was opened by.
    format : short name of where its events come from, e.g. "udp".
    sensor : pixels of the sensor.
    simulated : True where it is known that no camera made these events.
    idle_us : when nothing came for so long, time is taken to have passed without events.
    waits : True where an origin that is not read waits, so that nothing need be dropped (TCP).
    """

    name: str
    format: str
    sensor: SensorSize
    simulated: bool
    idle_us: int
    waits: bool

    def read(self, timeout_s: float) -> FeedChunk | None:
        """What came since the last call; an empty one where nothing did within `timeout_s`.

        None where the stream has ended for good. Called from one thread only, never after `close`.

        Raises
        ------
        SourceError
            If it cannot be read on (unplugged, connection reset).
        """
        ...

    def held_damage(self) -> tuple[Damage, ...]:
        """Damage that no `read` told yet; asked for at the end of a run, after the last of them."""
        return ()

    def close(self) -> None:
        """Give the device or socket back. May be called from another thread, to end a `read`."""
        ...


class Recorder(Protocol):
    """Where a copy of what was received goes: `streamstop.sources.live.recorder.StreamRecorder`."""

    def write(self, events: Events) -> None: ...

    def mark(self, until_us: int) -> None: ...

    def close(self) -> None: ...
