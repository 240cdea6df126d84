"""A source whose packets pass through a function: a corruption, a replay in real time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Self

from streamstop.events.labels import LabelTrack
from streamstop.events.packet import Packet
from streamstop.sources.base import Source, SourceBase


class TransformedSource(SourceBase):
    """A source with other packets and perhaps other labels; see `streamstop.sources.base.Source`.

    Parameters
    ----------
    source
        What is read.
    through
        Applied to the source's packets, again for each pass.
    labels
        The label track of the result; None for that of the source.
    """

    def __init__(
        self,
        source: Source,
        through: Callable[[Iterable[Packet]], Iterator[Packet]],
        labels: LabelTrack | None = None,
    ) -> None:
        self.name, self.format = source.name, source.format
        self.sensor, self.simulated = source.sensor, source.simulated
        self.origin_known = getattr(source, "origin_known", True)
        self.live, self.origin_us = source.live, source.origin_us
        self.labels = source.labels if labels is None else labels
        self.notes = source.notes
        self._source = source
        self._through = through

    def __iter__(self) -> Iterator[Packet]:
        return self._through(self._source)

    def __enter__(self) -> Self:
        self._source.__enter__()
        return self

    def close(self) -> None:
        """Leave the source that is read."""
        self._source.__exit__(None, None, None)
