"""Files as aestream's `FileInput` reads them; aestream is imported in a process of its own alone.

`aestream:rec.dat` gives what `aestream.FileInput(...).load()` gives, for whoever compares the two.

Guarantees:

- Only formats that aestream 0.6 was found to read right are read: DAT, and AEDAT4 with LZ4. Any
  other is refused with what was found.
- A crash of aestream costs the file, not the program; times that run below zero are damage.

Does not:

- Receive: aestream's `UDPInput` hands over neither polarity nor time, and checks no bounds.
  `udp://` receives the same datagrams.
- Bound memory: aestream holds the file's events, in its own process, until they are written to a
  temporary file.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from streamstop.errors import SourceError, UsageError
from streamstop.events.packet import (
    MAX_PACKET_EVENTS,
    Cursor,
    Damage,
    Packet,
    SensorSize,
    empty_events,
    make_events,
)
from streamstop.formats.detect import open_recording

SCHEME = "aestream:"
_SECONDS = 600

RIGHT = ("dat", "aedat4")
"""Formats that it reads right; of AEDAT4 with LZ4 alone."""

WRONG = {
    "evt2": "it decodes EVT2 as EVT3, without a word",
    "evt3": "its EVT3 times are wrong",
    "csv": "it shifts the columns, and reads no event below a header",
}
"""What it does with other formats that it opens, found in 0.6.4."""

_PROGRAM = """
import sys
import numpy
from aestream import FileInput
events = FileInput(sys.argv[1], (int(sys.argv[2]), int(sys.argv[3]))).load()
numpy.save(sys.argv[4], events)
"""


class AestreamRecording:
    """A file as aestream reads it; see `streamstop.formats.base.Recording`.

    Parameters
    ----------
    path
        The file.
    sensor
        Size in pixels, where the file does not contain it.

    Raises
    ------
    SourceError
        If aestream is missing or cannot read the file.
    UsageError
        If aestream is known to read the format wrong, or the size is unknown.
    """

    simulated = False
    sensor_inferred = False

    def __init__(self, path: str, sensor: SensorSize | None = None) -> None:
        if find_spec("aestream") is None:
            raise SourceError(
                f"reading with aestream needs it: pip install 'streamstop[aestream]': {path}"
            )
        own = open_recording(path)
        if own.format not in RIGHT:
            found = WRONG.get(own.format, "it does not read this format")
            raise UsageError(
                f"aestream is not asked for {own.format}: {found}; give the file itself: {path}"
            )
        size = sensor or own.sensor
        if size is None:
            raise UsageError(
                f"aestream needs the sensor's size, and the file does not contain it; give "
                f"?sensor=WIDTHxHEIGHT: {path}"
            )
        self.path, self.simulated = path, own.simulated
        self.sensor: SensorSize | None = size
        self.format = "aestream"
        self.notes: Sequence[str] = (f"read by aestream from {own.format}",)
        self._folder = tempfile.TemporaryDirectory(prefix="streamstop-")
        self._events = self._load(size)

    def packets(self, start: Cursor | None = None) -> Iterator[Packet]:
        """Packets from `start` on; see `Recording.packets`."""
        first = start.event if start is not None else 0
        for at in range(first, len(self._events), MAX_PACKET_EVENTS):
            raw = self._events[at : at + MAX_PACKET_EVENTS]
            row = at + len(raw)
            good = raw[raw["timestamp"] >= 0]
            events = make_events(good["timestamp"], good["x"], good["y"], good["polarity"] > 0)
            damage: tuple[Damage, ...] = ()
            if len(good) < len(raw):
                reason = f"{len(raw) - len(good)} events have a time below zero"
                damage = (Damage(at, 0, reason, self.path),)
            t_us = int(events["t"][-1]) if len(events) else 0
            yield Packet(events, Cursor(self.path, row, row, t_us), damage=damage)
        if not len(self._events):
            yield Packet(empty_events(), Cursor(self.path))

    def _load(self, size: SensorSize) -> np.ndarray:
        """Its events, in a file that disappears with this recording."""
        out = Path(self._folder.name, "events.npy")
        asked = [sys.executable, "-c", _PROGRAM, self.path, str(size.width), str(size.height)]
        try:
            done = subprocess.run(
                [*asked, str(out)], capture_output=True, timeout=_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise SourceError(f"aestream hangs on it: {self.path}") from error
        if done.returncode or not out.exists():
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            why = lines[-1] if lines else f"its process ended with {done.returncode}"
            raise SourceError(f"aestream cannot read it ({why}); give the file itself: {self.path}")
        events: np.ndarray = np.load(out, mmap_mode="r")
        return events


def open_aestream(
    path: str, options: Mapping[str, str], sensor: SensorSize | None
) -> AestreamRecording:
    """The recording that `aestream:PATH` names.

    Raises
    ------
    SourceError
        As `AestreamRecording`.
    UsageError
        If it names a socket, or an option.
    """
    target = path.removeprefix(SCHEME)
    if "://" in target:
        raise UsageError(
            "aestream's receiver hands over neither polarity nor time; receive the same datagrams "
            f"with {target}: {path}"
        )
    if options:
        raise UsageError(f"a file read by aestream takes no option {next(iter(options))!r}: {path}")
    return AestreamRecording(target, sensor)
