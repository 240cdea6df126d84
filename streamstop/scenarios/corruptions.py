"""Corruptions of a labelled stream, written as text and applied to any source.

"rotate 90 at 0.5 ramp 20 until 0.9": which one, its amount, where it starts, over how many segments
it rises, and where it ends at once. A place is the number of a segment or, with a decimal point, a
fraction of all segments. A segment has one level throughout, from 0 (none) to 1 (full).

Guarantees:

- Events before the start are unchanged.
- The result depends on the order of the events and the seed alone, never on how they were cut into
  packets.
- Removed events are dropped as "corruption_loss" and added ones are delivered, so that the ledger
  counts both.
- Memory is bounded.

Does not: move or repair events outside the sensor, which are damage.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamstop.errors import UsageError
from streamstop.scenarios import alterations, noise
from streamstop.scenarios.time_warp import TimeWarp
from streamstop.sources.base import Source
from streamstop.sources.transformed import TransformedSource


class Kind(NamedTuple):
    """What a corruption's amount means: its default, its range, and the same in words."""

    usual: float
    least: float
    most: float
    amount: str


KINDS: dict[str, Kind] = {
    "hot-pixels": Kind(
        0.01, 0, 1, f"fraction of pixels that send {noise.HOT_HZ:g} ON events per s"
    ),
    "dead-pixels": Kind(0.2, 0, 1, "fraction of pixels that send nothing"),
    "noise": Kind(1.0, 0, 1000, "events per second of each pixel, of either polarity"),
    "loss": Kind(0.5, 0, 1, "fraction of events lost"),
    "flip": Kind(1.0, 0, 1, "fraction of events whose polarity is inverted"),
    "rotate": Kind(90.0, -360, 360, "degrees, clockwise as one sees it"),
    "mirror": Kind(1.0, 0, 1, "fraction of segments mirrored left to right"),
    "stretch": Kind(2.0, 0.1, 10, "times as long"),
    "threshold": Kind(2.0, 1, 100, "times the contrast threshold: 1 event of so many is left"),
    "threshold-on": Kind(2.0, 1, 100, "times the threshold of ON events alone"),
    "threshold-off": Kind(2.0, 1, 100, "times the threshold of OFF events alone"),
}
"""A threshold shift is modelled as thinning: a threshold raised by a factor leaves, of the events
that a pixel would have sent, one of so many. Lower thresholds send events that a recording does not
hold, so there is no such corruption."""

PLACE = r"\d+(?:\.\d*)?|\.\d+"


class Corruption(NamedTuple):
    """One corruption. `at` and `until` are shares of the stream where they are floats."""

    kind: str
    amount: float
    at: int | float = 0
    ramp: int = 0
    until: int | float | None = None

    def begins(self, segments: int) -> int:
        """The first segment that it touches."""
        return _segment(self.at, segments)

    def ends(self, segments: int) -> int:
        """The first segment that it touches no more."""
        return segments if self.until is None else _segment(self.until, segments)

    def levels(self, segments: int) -> NDArray[np.float64]:
        """The level of each segment, shape (segments,): rises by steps, ends at once.

        >>> Corruption("loss", 0.5, at=1, ramp=1, until=4).levels(5).tolist()
        [0.0, 0.5, 1.0, 1.0, 0.0]
        """
        nth = np.arange(segments)
        level = np.clip((nth - self.begins(segments) + 1) / (self.ramp + 1), 0.0, 1.0)
        return np.where(nth < self.ends(segments), level, 0.0)

    def __str__(self) -> str:
        text = f"{self.kind} {self.amount:g} at {self.at}"
        text += f" ramp {self.ramp}" if self.ramp else ""
        return text + (f" until {self.until}" if self.until is not None else "")


def _segment(place: int | float, segments: int) -> int:
    return round(place * segments) if isinstance(place, float) else place


def parse_corruption(text: str) -> Corruption:
    """A corruption from its text.

    >>> parse_corruption("rotate 90 at 0.5")
    Corruption(kind='rotate', amount=90.0, at=0.5, ramp=0, until=None)

    Raises
    ------
    UsageError
        If the text cannot be understood, or an amount is out of its range.
    """
    name = text.split()[0] if text.split() else ""
    kind = KINDS.get(name)
    if kind is None:
        near = difflib.get_close_matches(name, KINDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(
            f"scenario.corruptions: {text!r} begins with no corruption ({', '.join(KINDS)}){hint}"
        )
    found = re.fullmatch(
        rf"\S+(?:\s+([-+]?(?:{PLACE})))?"
        rf"(?:\s+at\s+({PLACE}))?(?:\s+ramp\s+(\d+))?(?:\s+until\s+({PLACE}))?",
        text.strip(),
    )
    if found is None:
        raise UsageError(
            f"scenario.corruptions: {text!r} is not KIND AMOUNT at PLACE ramp SEGMENTS until "
            "PLACE, such as 'rotate 90 at 0.5 ramp 20'; all but KIND may be left out"
        )
    amount = kind.usual if found[1] is None else float(found[1])
    if not kind.least <= amount <= kind.most:
        raise UsageError(
            f"scenario.corruptions: the amount of {name} ({kind.amount}) lies from {kind.least:g} "
            f"to {kind.most:g}, and {amount:g} does not: {text!r}"
        )
    places = [None if one is None else _place(one, text) for one in (found[2], found[4])]
    return Corruption(name, amount, places[0] or 0, int(found[3] or 0), places[1])


def _place(word: str, text: str) -> int | float:
    if "." not in word:
        return int(word)
    if float(word) > 1:
        raise UsageError(
            f"scenario.corruptions: a place with a decimal point is a fraction of the stream, from "
            f"0.0 to 1.0; segment numbers have none: {text!r}"
        )
    return float(word)


def corrupted(
    source: Source, corruptions: Sequence[Corruption], *, seed: int = 0, align_us: int = 1
) -> Source:
    """`source` with corruptions applied, the first one first.

    Parameters
    ----------
    seed : of all that is drawn.
    align_us : the width of a bin: stretched segments end at a multiple of it after their beginning,
        as those of folders do.

    Raises
    ------
    UsageError
        If the source has no labels, and so no segments to count places by, or places
        lie beyond its segments.
    """
    for nth, one in enumerate(corruptions):
        source = _corrupted(source, one, (seed, nth), align_us)
    return source


def _corrupted(source: Source, one: Corruption, key: tuple[int, int], align_us: int) -> Source:
    track = source.labels
    if track is None:
        raise UsageError(
            f"scenario.corruptions: '{one}' is placed by segments, and this stream has no labels "
            f"that define any: {source.name}"
        )
    count = len(track)
    if not one.begins(count) < one.ends(count) <= count:
        raise UsageError(
            f"scenario.corruptions: '{one}' touches none of the {count} segments, or ends after "
            f"them: {source.name}"
        )
    levels = one.levels(count)
    starts_us = np.array([segment.start_us for segment in track], np.int64)
    if one.kind == "stretch":
        times = TimeWarp(track, one.amount**levels, align_us)
        return TransformedSource(source, times.packets, times.track)
    if one.kind in noise.ADDITIVE:
        make = partial(noise.ADDITIVE[one.kind], source.sensor, one.amount, key)
        origin_us = source.origin_us
        return TransformedSource(
            source,
            lambda packets: noise.add_events(packets, starts_us, levels, make(), origin_us),
            track,
        )
    alter = partial(alterations.TRANSFORMS[one.kind], source.sensor, one.amount, key)
    return TransformedSource(
        source, lambda packets: alterations.alter_events(packets, starts_us, levels, alter()), track
    )
