"""A time range of a recording as a recording of its own: `?start_us=` and `?stop_us=`.

Guarantees:

- Events in [start, stop) keep their own times and the file's order.

Does not:

- Count what lies outside as dropped: it was not asked for. Damage before the first packet with an
  event inside is not reported either.
- Read on after the first packet whose events all lie at or after the stop, so later events that
  step back into the range are missed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from streamstop.errors import UsageError
from streamstop.events.labels import LabelInterval
from streamstop.events.packet import Cursor, Packet
from streamstop.formats.base import Recording, read_packets
from streamstop.formats.byte_reader import STDIN


class TimeRange:
    """A time range of a recording; see `streamstop.formats.base.Recording`.

    Parameters
    ----------
    whole
        The recording.
    start, stop
        In us of the recording's own time, or with a plus sign in front counted from its first
        event; "" for none.

    Raises
    ------
    UsageError
        If they are no times, or no event lies inside (for standard input: raised while reading).
    """

    def __init__(self, whole: Recording, start: str, stop: str) -> None:
        self.whole = whole
        self.path, self.format = whole.path, whole.format
        self.sensor, self.simulated = whole.sensor, whole.simulated
        self.origin_known = getattr(whole, "origin_known", True)
        self.sensor_inferred, self.notes = whole.sensor_inferred, whole.notes
        self._asked = (_time("start_us", start, whole.path), _time("stop_us", stop, whole.path))
        self.start_us: int | None = None
        self.stop_us: int | None = None
        self._begin: Cursor | None = None
        if whole.path != STDIN:
            self._find()

    def packets(self, start: Cursor | None = None) -> Iterator[Packet]:
        """Packets from `start` on; see `Recording.packets`."""
        met = start is not None or self.path != STDIN
        first_us = last_us = None
        for packet in self.whole.packets(start if start is not None else self._begin):
            t = packet.events["t"]
            if len(t):
                if first_us is None:
                    first_us = last_us = int(t[0])
                    self._settle(first_us)
                last_us = max(last_us or 0, int(t.max()))
            if self.stop_us is not None and len(t) and int(t.min()) >= self.stop_us:
                break
            inside = self._inside(packet)
            met = met or bool(len(inside.events))
            if met:
                yield inside
        if not met:
            raise self._empty(first_us, last_us)

    def clip(self, intervals: Sequence[LabelInterval]) -> list[LabelInterval]:
        """The parts of labelled intervals that lie inside; intervals outside are left out."""
        clipped = [
            one._replace(
                start_us=one.start_us
                if self.start_us is None
                else max(one.start_us, self.start_us),
                end_us=one.end_us if self.stop_us is None else min(one.end_us, self.stop_us),
            )
            for one in intervals
        ]
        return [one for one in clipped if one.start_us < one.end_us]

    def _find(self) -> None:
        """Find the packet of the first event inside, where all readings start."""
        first_us = last_us = None
        before: Cursor | None = None
        passed = False
        for packet in read_packets(self.whole):
            t = packet.events["t"]
            if len(t):
                if first_us is None:
                    first_us = last_us = int(t[0])
                    self._settle(first_us)
                last_us = max(last_us or 0, int(t.max()))
                passed = passed or (self.stop_us is not None and int(t.min()) >= self.stop_us)
                if not passed and len(self._inside(packet).events):
                    self._begin = before
                    return
            before = packet.cursor
        raise self._empty(first_us, last_us)

    def _settle(self, first_us: int) -> None:
        """Convert the limits to the recording's own time, at the first event that is read."""
        if self.start_us is not None or self.stop_us is not None:
            return
        self.start_us, self.stop_us = (
            one and (one[0] + first_us if one[1] else one[0]) for one in self._asked
        )
        start_us, stop_us = self.start_us, self.stop_us
        if start_us is not None and stop_us is not None and start_us >= stop_us:
            raise UsageError(
                f"start_us = {start_us} us is not before stop_us = {stop_us} us; the "
                f"recording starts at {first_us} us: {self.path}"
            )

    def _inside(self, packet: Packet) -> Packet:
        t = packet.events["t"]
        keep = None
        if self.start_us is not None and len(t) and int(t.min()) < self.start_us:
            keep = t >= self.start_us
        if self.stop_us is not None and len(t) and int(t.max()) >= self.stop_us:
            keep = t < self.stop_us if keep is None else keep & (t < self.stop_us)
        until_us = packet.until_us
        if until_us is not None and self.stop_us is not None:
            until_us = min(until_us, self.stop_us)
        if keep is None and until_us == packet.until_us:
            return packet
        events = packet.events if keep is None else packet.events[keep]
        return packet._replace(events=events, until_us=until_us)

    def _empty(self, first_us: int | None, last_us: int | None) -> UsageError:
        if first_us is None:
            return UsageError(f"the recording holds no events: {self.path}")
        start = "its beginning" if self.start_us is None else f"{self.start_us} us"
        stop = "its end" if self.stop_us is None else f"{self.stop_us} us"
        return UsageError(
            f"no event lies from {start} to {stop}; the recording's events lie from {first_us} to "
            f"{last_us} us. Times with a plus sign in front (start_us=+500000) count from its "
            f"first event: {self.path}"
        )


def _time(name: str, text: str, path: str) -> tuple[int, bool] | None:
    """A time in us, and whether it counts from the first event."""
    if not text:
        return None
    if not re.fullmatch(r"[-+]?\d{1,18}", text):
        raise UsageError(
            f"{name} is a whole number of microseconds, with a plus sign in front if it counts "
            f"from the first event, not {text!r}: {path}"
        )
    return int(text), text.startswith("+")
