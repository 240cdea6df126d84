"""Orders in which the segments of labelled recordings become a stream.

An order is a function of the available segments and the seed. It returns the indices of those that
make the stream, each at most once, in the order in which they arrive. The segments that it leaves
out are dropped and counted. It sees names and times, never events.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from streamstop.events.labels import sorted_classes


class Offered(NamedTuple):
    """An available segment; they are listed by recording, then by time.

    Attributes
    ----------
    recording
        Name of its recording, a path from the folder.
    label
        Name of its class.
    start_us
        Its start, counted from the recording's first event.
    """

    recording: str
    label: str
    start_us: int


Order = Callable[[Sequence[Offered], int], Sequence[int]]
"""(available segments, seed) -> indices of those that make the stream, in the order they arrive."""


def iid(offered: Sequence[Offered], seed: int) -> list[int]:
    """All segments, shuffled by the seed."""
    drawn: list[int] = np.random.default_rng(seed).permutation(len(offered)).tolist()
    return drawn


def by_class(offered: Sequence[Offered], seed: int) -> list[int]:
    """Class after class, each in the order of files and time."""
    rank = class_ranks(offered)
    return sorted(range(len(offered)), key=lambda i: rank[offered[i].label])  # stable


def round_robin(offered: Sequence[Offered], seed: int) -> list[int]:
    """One segment of each recording in turn, in the order of its time.

    Recordings take turns class by class (by the class of their first segment); otherwise whole
    recordings would come class after class.
    """
    own: dict[str, list[int]] = {}
    for i, piece in enumerate(offered):
        own.setdefault(piece.recording, []).append(i)
    rank = class_ranks(offered)
    nth: Counter[str] = Counter()
    turns = []
    for pieces in own.values():
        label = offered[pieces[0]].label
        turns.append((nth[label], rank[label], pieces))
        nth[label] += 1
    in_turn = [pieces for _, _, pieces in sorted(turns)]
    rounds = max(map(len, in_turn), default=0)
    return [pieces[k] for k in range(rounds) for pieces in in_turn if k < len(pieces)]


ORDERS: dict[str, Order] = {
    "shuffled": iid,
    "iid": iid,
    "round-robin": round_robin,
    "by-class": by_class,
}


def class_ranks(offered: Sequence[Offered]) -> dict[str, int]:
    """The index of each class in the order of `sorted_classes`."""
    classes = sorted_classes(piece.label for piece in offered)
    return {name: i for i, name in enumerate(classes)}
