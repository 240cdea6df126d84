"""What every file format offers: a recording whose packets can be read from any cursor on.

A recording is opened to learn what it is; its events are read afresh by each call of `packets`,
in bounded memory, so one recording can be read in pieces and in any order. It never raises for
damage inside the file: what can be read is read, and the packet says what was lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from streamstop.errors import SourceError
from streamstop.events import Cursor, Packet, SensorSize


class Recording(Protocol):
    """A file of events.

    path : the file.
    format : short name of its format.
    sensor : pixels of the sensor; None where the file does not say.
    simulated : True where the file says that no camera made these events.
    """

    path: str
    format: str
    sensor: SensorSize | None
    simulated: bool

    def packets(self, start: Cursor | None = None) -> Iterator[Packet]:
        """Packets of the file from `start`, the cursor of an earlier packet of this file, on.

        Time wraps are undone, and the events that follow do not depend on `start`. Events are in
        file order. Damage is met again each time the stretch that holds it is read.
        """
        ...


def read_packets(recording: Recording, start: Cursor | None = None) -> Iterator[Packet]:
    """The packets of a recording, whoever's error it is that ends them told as ours.

    Raises
    ------
    SourceError
        If the file is gone or no longer readable; the packets before that were handed over.
    """
    try:
        yield from recording.packets(start)
    except OSError as error:
        raise SourceError(f"could not be read on: {error.strerror}: {recording.path}") from error


def read_start(path: str, size: int) -> bytes:
    """The first `size` bytes of a file, or fewer where it is shorter.

    Raises
    ------
    SourceError
        If the file is missing, no file, or not readable.
    """
    try:
        with Path(path).open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise SourceError(f"cannot be opened: {error.strerror}: {path}") from error
