"""Sources of events: one module per origin, one protocol for all.

A source is `for packet in source:` and a context manager. It knows its sensor size, whether it is
live, whether its data are simulated, where its bins begin and, if it has them, its labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Protocol, Self

from streamstop.events import Packet, SensorSize
from streamstop.labels import LabelTrack


class Source(Protocol):
    """What the pipeline needs of an origin of events.

    name : the URI it was opened by.
    format : the short name of its format, e.g. "aedat4".
    sensor : pixels of the sensor.
    live : True where time passes whether or not we read.
    simulated : True where no camera made these events.
    origin_us : where bin 0 starts; None means at the first event.
    labels : the label track in the stream's own time, or None.
    """

    name: str
    format: str
    sensor: SensorSize
    live: bool
    simulated: bool
    origin_us: int | None
    labels: LabelTrack | None

    def __iter__(self) -> Iterator[Packet]: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
