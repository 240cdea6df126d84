"""Time stretched within segments: the stream's times and its labels' times move alike.

Guarantees: order is kept, an event stays in its segment, and what lies between segments keeps its
length. Nothing is added or removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from streamstop.events.labels import LabelTrack, Segment
from streamstop.events.packet import Packet


class TimeWarp:
    """Old times to new ones, piece by piece: segments are stretched, gaps are moved.

    Parameters
    ----------
    track : the segments in their old times.
    factors : times as long, of each segment, shape (segments,).
    align_us : a segment whose factor is not 1 is made a multiple of this long, by room at its end.

    Attributes
    ----------
    track : the segments in their new times.
    """

    def __init__(self, track: LabelTrack, factors: NDArray[np.float64], align_us: int = 1) -> None:
        olds: list[int] = []
        news: list[int] = []
        segments: list[Segment] = []
        shift_us = 0
        for one, factor in zip(track, factors.tolist(), strict=True):
            length_us = one.end_us - one.start_us
            if factor != 1:
                length_us = -(-int(np.ceil(length_us * factor)) // align_us) * align_us
            start_us = one.start_us + shift_us
            moved = one._replace(start_us=start_us, end_us=start_us + length_us)
            olds += one.start_us, one.end_us
            news += moved.start_us, moved.end_us
            shift_us = moved.end_us - one.end_us
            segments.append(moved)
        self.track = replace(track, segments=segments)
        self._olds = np.array(olds, np.int64)
        self._news = np.array(news, np.int64)
        # A slot after each of the old times: segments and what follows them, in turn.
        self._factors = np.ones(len(olds))
        self._factors[::2] = factors

    def times(self, t: NDArray[np.int64]) -> NDArray[np.int64]:
        """The new times, shape as given."""
        slot = np.searchsorted(self._olds, t, side="right") - 1
        known = slot >= 0
        within = np.where(known, t - self._olds[slot], 0)
        factor = self._factors[slot]
        stretched = np.floor(within * factor).astype(np.int64)
        moved = self._news[slot] + np.where(factor == 1, within, stretched)
        return np.where(known, moved, t)

    def packets(self, packets: Iterable[Packet]) -> Iterator[Packet]:
        """The same packets in new times."""
        for packet in packets:
            events = packet.events.copy()
            events["t"] = self.times(events["t"])
            until_us = packet.until_us
            if until_us is not None:
                until_us = int(self.times(np.array([until_us], np.int64))[0])
            yield packet._replace(events=events, until_us=until_us)
