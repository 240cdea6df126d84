"""The protocol of a live origin of events, `LiveFeed`, and what it delivers.

Does not:

- Depend on the source that reads a feed, or on how feeds are opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from streamstop.events.packet import Damage, Events, SensorSize


@dataclass(frozen=True, slots=True)
class FeedChunk:
    """What a feed received at once.

    events : array of EVENT_DTYPE, any length, in the order of arrival, times in the origin's own
        us.
    dropped : events lost before they arrived, by cause, as far as the origin can tell.
    damage : what could not be decoded (a bad datagram), in bytes.
    """

    events: Events
    dropped: Mapping[str, int] = field(default_factory=dict)
    damage: tuple[Damage, ...] = ()


class LiveFeed(Protocol):
    """A live origin of events: a camera's driver, a socket.

    name : the URI or word it was opened with.
    format : short name of the origin, e.g. "udp".
    sensor : size in pixels.
    simulated : True if it is known that no camera made these events.
    idle_us : after this long without events, time is taken to have passed without events.
    waits : True if an origin that is not read waits, so that nothing need be dropped (TCP).
    """

    name: str
    format: str
    sensor: SensorSize
    simulated: bool
    idle_us: int
    waits: bool

    def read(self, timeout_s: float) -> FeedChunk | None:
        """What was received since the last call; empty if nothing was within `timeout_s`.

        None if the stream has ended for good. Called from one thread only, never after `close`.

        Raises
        ------
        SourceError
            If it cannot be read any more (unplugged, connection reset).
        """
        ...

    def held_damage(self) -> tuple[Damage, ...]:
        """Damage that no `read` reported yet; asked for once, after the last `read` of a run."""
        return ()

    def close(self) -> None:
        """Release the device or socket. May be called from another thread, to end a `read`."""
        ...


class Recorder(Protocol):
    """Receives a copy of the events: `streamstop.sources.live.recorder.StreamRecorder`."""

    def write(self, events: Events) -> None: ...

    def mark(self, until_us: int) -> None: ...

    def close(self) -> None: ...
