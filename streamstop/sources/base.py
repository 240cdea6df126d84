"""What the pipeline needs of an origin of events: the protocol `Source`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

from streamstop.events.labels import LabelTrack
from streamstop.events.packet import Packet, SensorSize


class Source(Protocol):
    """What the pipeline needs of an origin of events.

    name : the URI it was opened by.
    format : the short name of its format, e.g. "aedat4".
    sensor : pixels of the sensor.
    live : True where time passes whether or not we read.
    simulated : True where no camera made these events.
    origin_us : where bin 0 starts; None means at the first event.
    labels : the label track in the stream's own time, or None.
    notes : what a report should say of where its events come from.
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


class SourceBase:
    """What every source of ours does on entering and leaving `with`.

    A subclass that holds something open gives it back in `close`.
    """

    def close(self) -> None:
        """Give back what the source holds; here nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
