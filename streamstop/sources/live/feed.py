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

    Attributes
    ----------
    events
        Array of EVENT_DTYPE, any length, in the order of arrival, times in the origin's own us.
    dropped
        Events lost before they arrived, by cause, as far as the origin can tell.
    damage
        What could not be decoded (a bad datagram), in bytes.
    """

    events: Events
    dropped: Mapping[str, int] = field(default_factory=dict)
    damage: tuple[Damage, ...] = ()


class LiveFeed(Protocol):
    """A live origin of events: a camera's driver, a socket.

    Attributes
    ----------
    name
        The URI or word it was opened with.
    format
        Short name of the origin, e.g. "udp".
    sensor
        Size in pixels.
    simulated
        True if it is known that no camera made these events. A feed that cannot know has a further
        attribute, `origin_known`, which is False.
    idle_us
        After this long without events, time is taken to have passed without events.
    waits
        True if an origin that is not read waits, so that nothing need be dropped (TCP).
    """

    name: str
    format: str
    sensor: SensorSize
    simulated: bool
    idle_us: int
    waits: bool

    def announcement(self) -> str:
        """What is open now, in a few words for the user."""
        return f"{self.name} is open, sensor {self.sensor}"

    def warm_up(self) -> None:
        """What a first `read` would otherwise wait for; called once, before it."""
        return  # nothing by default

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

    def write(self, events: Events, *, taken: bool = True) -> None:
        """Record events, in the order in which they came, and whether the run took them."""

    def mark(self, until_us: int) -> None:
        """Record that time has reached `until_us` with no more events before it."""

    def close(self) -> None:
        """Write what waits, and close the file."""
