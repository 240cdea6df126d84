"""What writers of files share: pieces of bounded size, a file that is whole or not there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np

from streamstop.errors import UsageError
from streamstop.events import MAX_PACKET_EVENTS, Events, SensorSize

T = TypeVar("T")


def pieces(packets: Events | Iterable[Events]) -> Iterator[Events]:
    """The events in arrays of bounded size, none of them empty."""
    for packet in [packets] if isinstance(packets, np.ndarray) else packets:
        for first in range(0, len(packet), MAX_PACKET_EVENTS):
            yield packet[first : first + MAX_PACKET_EVENTS]


def whole_file(path: str | Path, write: Callable[[BinaryIO], T]) -> T:
    """A file that appears when `write` has written all of it, and replaces what stood there."""
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            written = write(file)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return written


def refuse_outside(events: Events, sensor: SensorSize, before: int) -> None:
    """Raise UsageError where an event lies outside the sensor; `before` were written already."""
    outside = (events["x"] >= sensor.width) | (events["y"] >= sensor.height)
    if outside.any():
        at = int(np.argmax(outside))
        raise UsageError(
            f"event {before + at} at t = {events['t'][at]} us lies at ({events['x'][at]}, "
            f"{events['y'][at]}), outside the sensor of {sensor}; nothing was written"
        )
