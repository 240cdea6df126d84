"""The segments of a folder of recordings as a data set for torch's DataLoader and for tonic.

Guarantees:

- An item is (events, label): a structured array of x, y, t and p as tonic has them, t in us from
  the start of the segment, and the index of the class.
- Items can be read in any order and by several worker processes; only one is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamstop.errors import UsageError
from streamstop.events.packet import SensorSize
from streamstop.sources.folder import FolderSource
from streamstop.sources.open import open_source

TONIC_DTYPE = np.dtype([("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", "?")])
"""Events as tonic's readers and transforms have them."""


class SegmentDataset:
    """Labelled segments by index; a map-style data set of torch.

    Parameters
    ----------
    uri : str
        A folder of labelled recordings, or a named set, as in `streamstop.open_source`.
    transform : callable, optional
        Applied to the events of an item, for example one of `tonic.transforms`.
    target_transform : callable, optional
        Applied to its label.
    **options
        As `streamstop.open_source` takes them: `length_us`, `order`, `seed`, `limit`, `sensor`.

    Attributes
    ----------
    classes : tuple of str
        Name of each label.
    sensor_size : tuple of int
        Columns, rows and polarities, as tonic's transforms take it.

    Raises
    ------
    UsageError
        If the source has no segments that can be read by index.
    SourceError
        If it cannot be opened.

    Examples
    --------
    >>> from streamstop.config.bundled import bundled_path
    >>> data = SegmentDataset(str(bundled_path("recordings/gestures")), length_us=500_000)
    >>> events, label = data[0]
    >>> events.dtype.names, len(data) > 100, data.sensor_size
    (('x', 'y', 't', 'p'), True, (128, 128, 2))
    """

    def __init__(
        self,
        uri: str,
        *,
        transform: Callable[[NDArray[Any]], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        **options: Any,
    ) -> None:
        source = open_source(uri, **options)
        if not isinstance(source, FolderSource) or source.labels is None:
            raise UsageError(
                f"segments by index come from a folder of labelled recordings or a named set: {uri}"
            )
        self._source, self._labels = source, source.labels
        self._transform, self._target_transform = transform, target_transform
        self.classes = source.labels.classes
        self.sensor: SensorSize = source.sensor
        self.sensor_size = (source.sensor.width, source.sensor.height, 2)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        own = self._source.segment_events(index)
        events: Any = np.empty(len(own), TONIC_DTYPE)
        for name in ("x", "y", "t", "p"):
            events[name] = own[name]
        label: Any = self._labels.segments[index].label
        if self._transform is not None:
            events = self._transform(events)
        if self._target_transform is not None:
            label = self._target_transform(label)
        return events, label
