"""What the pipeline needs of a source of events: the protocol `Source`, and a base class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

from streamstop.events.labels import LabelTrack
from streamstop.events.packet import Packet, SensorSize


class Source(Protocol):
    """A source of events: iterable over packets, and a context manager.

    Attributes
    ----------
    name
        The URI it was opened with.
    format
        Short name of its format, e.g. "aedat4".
    sensor
        Size in pixels.
    live
        True where time passes whether or not packets are read.
    simulated
        True where no camera made these events.
    origin_us
        Start of bin 0; None means at the first event.
    labels
        The label track in the stream's own time, or None.
    notes
        What a report should say about the origin of its events.
    """

    name: str
    format: str
    sensor: SensorSize
    live: bool
    simulated: bool
    origin_us: int | None
    labels: LabelTrack | None
    notes: Sequence[str]

    def __iter__(self) -> Iterator[Packet]: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def stated_origin(source: Source) -> bool | None:
    """Whether the events are simulated (True) or a camera's (False); None where nobody says.

    A source, recording or feed says the last with an attribute `origin_known` that is False.
    """
    return source.simulated if getattr(source, "origin_known", True) else None


class SourceBase:
    """Base class of the sources in this package: entering returns the source, leaving closes it.

    A subclass that holds something open releases it in `close`.
    """

    def close(self) -> None:
        """Release what the source holds open; nothing by default."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
