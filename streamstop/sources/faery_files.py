"""Prophesee's EVT2, EVT2.1 and EVT3, and Event Stream .es, decoded by faery.

It promises what faery decodes, in its order, in packets of bounded size. faery does not tell where
in the file it is, so reading from a cursor reads from the beginning and passes over what was read,
and damage is told by the event before it, not by its byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import faery

from streamstop.errors import SourceError
from streamstop.events import (
    MAX_PACKET_EVENTS,
    Cursor,
    Damage,
    Packet,
    SensorSize,
    empty_events,
    make_events,
)
from streamstop.sources.recording import read_start

_WIDEST = (1 << 11, 1 << 11)
"""What EVT coordinates can say; whether they lie on the sensor is judged later."""

_GEOMETRY = re.compile(
    rb"% *geometry[: ]+(\d{1,5})x(\d{1,5})|% *format [^\n]*width=(\d{1,5});height=(\d{1,5})"
    rb"|% *format [^\n]*height=(\d{1,5});width=(\d{1,5})",
    re.IGNORECASE,
)
_VERSION = re.compile(rb"% *(?:evt |format EVT)([23](?:\.?1)?)", re.IGNORECASE)


class FaeryRecording:
    """An EVT or .es file; see `streamstop.sources.recording.Recording`.

    Raises
    ------
    SourceError
        If faery cannot open it.
    """

    simulated = False

    def __init__(self, path: str) -> None:
        self.path = path
        head = read_start(path, 1 << 16)
        self._type = "es" if head.startswith(b"Event Stream") else "evt"
        version = _VERSION.search(head)
        self.format = f"evt{version[1].decode()}" if version else self._type
        self.sensor: SensorSize | None = None
        try:
            stream = self._stream()
            if self._type == "es":
                self.sensor = SensorSize(*stream.dimensions())
        except Exception as error:  # faery raises plain Exception and RuntimeError
            raise SourceError(f"faery cannot open it ({error}): {path}") from error
        if geometry := _GEOMETRY.search(head):
            size = [int(group) for group in geometry.groups() if group is not None]
            self.sensor = SensorSize(*(reversed(size) if geometry[5] else size))

    def _stream(self) -> faery.FiniteEventsStream:
        return faery.events_stream_from_file(
            self.path, dimensions_fallback=_WIDEST, file_type=self._type
        )

    def packets(self, start: Cursor | None = None) -> Iterator[Packet]:
        """Packets from `start` on; see `Recording.packets`."""
        skip = start.event if start is not None else 0
        index, t_us = 0, 0
        try:
            for block in self._stream():
                for first in range(0, len(block), MAX_PACKET_EVENTS):
                    part = block[first : first + MAX_PACKET_EVENTS]
                    before, index = index, index + len(part)
                    t_us = int(part["t"][-1])
                    if index <= skip:
                        continue
                    part = part[max(skip - before, 0) :]
                    events = make_events(part["t"], part["x"], part["y"], part["on"])
                    yield Packet(events, Cursor(self.path, index, index, t_us))
        except Exception as error:
            damage = Damage(0, 0, f"faery stopped after event {index}: {error}", self.path)
            yield Packet(empty_events(), Cursor(self.path, index, index, t_us), damage=(damage,))
