"""Scenarios: the order in which segments and domains arrive, and where the stream changes.

A scenario makes an order (`streamstop.sources.ordering`) and, from the labelled stream that
results, the spans, the places of its changes, and what is held out for tests. All of it depends on
names of recordings and classes and on the seed alone.

* iid: segments as the seed draws them; the stream is stationary.
* class-incremental: one task after the other, each of so many classes, drawn by the seed.
* domain-incremental: domain after domain, by name; within each, as the seed draws.
* gradual: the same, but the probability of the next domain rises from 0 to 1 over so many segments.
* recurring: each domain in so many parts, A B A B.
* corrupted: the order of `segments.order`; what changes are corruptions.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Literal, NamedTuple

import numpy as np

from streamstop.errors import UsageError
from streamstop.events.labels import LabelTrack, sorted_classes
from streamstop.scenarios.corruptions import Corruption
from streamstop.sources.ordering import ORDERS, Offered

Name = Literal[
    "none", "iid", "class-incremental", "domain-incremental", "gradual", "recurring", "corrupted"
]
Domain = Literal["lighting", "user", "folder", "recording"]

BY_DOMAIN = ("domain-incremental", "gradual", "recurring")

UNORDERED = ("none", "corrupted")
"""Scenarios that leave the order to `segments.order`."""

_USER = re.compile(r"user\d+")
_LIGHTING = re.compile(r"user\d+_((?:[a-z]+_)*[a-z]+)")


class Span(NamedTuple):
    """Segments `first` to `last`, both included, with one name: a task, a domain, a corruption."""

    first: int
    last: int
    name: str


def domain_from_name(recording: str, by: Domain) -> str:
    """The domain of a recording, by its name, a path from its folder.

    >>> domain_from_name("user07_fluorescent_led/4.npy", "lighting")
    'fluorescent_led'

    Raises
    ------
    UsageError
        If the name holds none.
    """
    if by == "recording":
        return recording
    if by == "folder" and "/" in recording:
        return recording.partition("/")[0]
    if by == "user" and (found := _USER.search(recording)):
        return found[0]
    if by == "lighting" and (found := _LIGHTING.search(recording)):
        return found[1]
    wants = {"folder": "that lie in folders"}.get(by, "named like user07_led")
    raise UsageError(
        f"scenario.domain_from = {by!r} wants recordings {wants}, and this is {recording}"
    )


@dataclass(frozen=True)
class Scenario:
    """A scenario, as configured.

    name : see the module.
    domain : what a domain is.
    classes : of a task.
    transition_segments : of a gradual change; 0 for half as many as the smallest domain has.
    repetitions : times that a recurring domain comes.
    held_out : fraction of each class of each task (or domain) that is kept out of the stream, for
        tests: the last ones, in the order of files and time.
    base_order : the order of "none" and "corrupted", of `orders.ORDERS`.
    """

    name: Name = "none"
    domain: Domain = "lighting"
    classes: int = 1
    transition_segments: int = 0
    repetitions: int = 2
    held_out: float = 0.0
    base_order: str = "shuffled"

    def order(self, offered: Sequence[Offered], seed: int) -> list[int]:
        """The stream: an `orders.Order`.

        Raises
        ------
        UsageError
            If names tell no domains, or a single one.
        """
        kept = self._kept(offered)
        pieces = [offered[i] for i in kept]
        if self.name == "class-incremental":
            found = _by_task(pieces, self.classes, seed)
        elif self.name in BY_DOMAIN:
            found = self._by_domain(pieces, seed)
        else:
            base = ORDERS["shuffled" if self.name == "iid" else self.base_order]
            found = list(base(pieces, seed))
        return [kept[i] for i in found]

    def _by_domain(self, pieces: Sequence[Offered], seed: int) -> list[int]:
        draw = np.random.default_rng(seed)
        of_domain: dict[str, list[int]] = {}
        for i in draw.permutation(len(pieces)).tolist():
            of_domain.setdefault(domain_from_name(pieces[i].recording, self.domain), []).append(i)
        names = sorted_classes(of_domain)
        if len(names) < 2:
            raise UsageError(
                f"scenario.name = {self.name!r} wants two domains or more, and "
                "scenario.domain_from = "
                f"{self.domain!r} tells only {', '.join(names) or 'none'}"
            )
        if self.name == "recurring":
            return [
                i
                for nth in range(self.repetitions)
                for name in names
                for i in np.array_split(np.array(of_domain[name]), self.repetitions)[nth].tolist()
            ]
        one_by_one = [i for name in names for i in of_domain[name]]
        if self.name != "gradual":
            return one_by_one
        # A segment moved by up to half of `over` either way lands beyond the border with a
        # probability that rises in a straight line from one end of `over` to the other.
        smallest = min(map(len, of_domain.values()))
        over = min(self.transition_segments or smallest // 2, smallest)
        place = np.arange(len(one_by_one)) + draw.uniform(-over / 2, over / 2, len(one_by_one))
        return [one_by_one[k] for k in np.argsort(place, kind="stable")]

    def _kept(self, offered: Sequence[Offered]) -> list[int]:
        """The pieces that are not held out."""
        groups: dict[tuple[str, str], list[int]] = {}
        for i, piece in enumerate(offered):
            domain = (
                domain_from_name(piece.recording, self.domain) if self.name in BY_DOMAIN else ""
            )
            groups.setdefault((domain, piece.label), []).append(i)
        # Rounded first: a fraction of 0.3 of 10 is 3, although 0.3 is no binary fraction.
        return sorted(
            i
            for own in groups.values()
            for i in own[: len(own) - int(round(self.held_out * len(own), 6))]
        )

    def tasks(self, track: LabelTrack) -> list[str]:
        """The task or domain of each segment of the stream; nothing where there is none."""
        if self.name in BY_DOMAIN:
            return [domain_from_name(one.recording, self.domain) for one in track]
        if self.name == "class-incremental":
            of_class = self.tasks_of_classes(track)
            return [of_class[one.label] for one in track]
        return []

    def tasks_of_classes(self, track: LabelTrack) -> dict[int, str]:
        """The task that each class of a class-incremental stream belongs to."""
        seen = list(dict.fromkeys(one.label for one in track))
        groups = [seen[i : i + self.classes] for i in range(0, len(seen), self.classes)]
        return {
            label: ", ".join(track.classes[one] for one in group)
            for group in groups
            for label in group
        }


def _by_task(pieces: Sequence[Offered], classes: int, seed: int) -> list[int]:
    """Tasks of so many classes one after the other, both classes and pieces as the seed draws."""
    draw = np.random.default_rng(seed)
    names = sorted_classes(piece.label for piece in pieces)
    rank = {names[k]: n // classes for n, k in enumerate(draw.permutation(len(names)).tolist())}
    drawn = draw.permutation(len(pieces)).tolist()
    return sorted(drawn, key=lambda i: rank[pieces[i].label])


@dataclass(frozen=True)
class Schedule:
    """The changes of one labelled stream.

    spans : end to end, in order; empty where nothing changes.
    drifts : the segments at which a change begins, in order.
    """

    spans: tuple[Span, ...]
    drifts: tuple[int, ...]

    def in_words(self, most: int) -> str:
        """The first `most` spans in one line, segments counted from 0."""
        lines = [f"{one.first}-{one.last} {one.name}" for one in self.spans[:most]]
        if len(self.spans) > most:
            lines.append(f"{len(self.spans) - most} more")
        return "; ".join(lines)


def make_schedule(
    scenario: Scenario, track: LabelTrack, corruptions: Sequence[Corruption] = ()
) -> Schedule:
    """The spans and drifts of a stream that was made with a scenario and corruptions."""
    count = len(track)
    places = [place for one in corruptions for place in (one.begins(count), one.ends(count))]
    drifts = {place for place in places if 0 < place < count}
    tasks = scenario.tasks(track)
    if scenario.name == "gradual":
        spans = _gradual(tasks)
    elif tasks:
        spans = _runs(tasks)
    elif corruptions:
        levels = [one.levels(count) > 0 for one in corruptions]
        spans = _runs(
            [
                "; ".join(str(c) for c, on in zip(corruptions, levels, strict=True) if on[i])
                or "clean"
                for i in range(count)
            ]
        )
    else:
        spans = []
    return Schedule(tuple(spans), tuple(sorted(drifts | {one.first for one in spans[1:]})))


def _runs(names: Sequence[str]) -> list[Span]:
    spans, first = [], 0
    for name, run in groupby(names):
        last = first + len(list(run)) - 1
        spans.append(Span(first, last, name))
        first = last + 1
    return spans


def _gradual(domains: Sequence[str]) -> list[Span]:
    """Each domain while it is alone, and each change from the first of the new to the last of the
    old.
    """
    first = {name: domains.index(name) for name in dict.fromkeys(domains)}
    last = {name: len(domains) - 1 - domains[::-1].index(name) for name in first}
    names = sorted_classes(first)
    edges = [0]
    labels = [names[0]]
    for old, new in pairwise(names):
        edges += [max(first[new], edges[-1]), max(last[old] + 1, first[new], edges[-1])]
        labels += [f"{old} to {new}", new]
    edges.append(len(domains))
    return [
        Span(a, b - 1, name)
        for a, b, name in zip(edges[:-1], edges[1:], labels, strict=True)
        if a < b
    ]


def domain_at(schedule: Schedule, by: Domain, nth: int, recording: str) -> str | None:
    """The domain of the nth segment of a stream, counted from 0; None where it has none.

    by : what a domain is where the stream does not change; see `scenario.Scenario`.

    >>> domain_at(Schedule((), ()), "lighting", 0, "user07_led/4.npy")
    'led'
    """
    if schedule.spans:
        i = bisect_right(schedule.spans, nth, key=lambda span: span.first) - 1
        inside = i >= 0 and nth <= schedule.spans[i].last
        return schedule.spans[i].name if inside else None
    try:
        return domain_from_name(recording, by)
    except UsageError:
        return None
