"""Comparison of groups of runs: how good each is, and whether they differ by more than chance.

Guarantees: only like is tested against like, that is, the same segments of the same stream, matched
seed by seed. Where source or protocol differ, the reasons are given and nothing is tested.

Does not: know whether segments are independent. McNemar's test over segments assumes so, although
one recording may give several of them, and comes again with every seed; the tests over seeds, where
there are enough, do not assume it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

from streamstop.errors import UsageError
from streamstop.experiments.groups import (
    Group,
    config_differences,
    disambiguate,
    find_run_folders,
    group_runs,
    read_run,
)
from streamstop.experiments.significance import (
    MAX_FLIPPED,
    MeanInterval,
    holm_correction,
    mcnemar_test,
    min_p,
    paired_t_test,
    sign_flip_test,
)
from streamstop.pipeline.segments_file import count_shared

LEAST_SEEDS = 3
"""Fewest shared seeds of a test over seeds."""

PROTOCOL = ("source.uri", "source.labels", "segments.", "scenario.", "labels.")
"""Settings, or beginnings of their names, that make another stream or another score."""


@dataclass(frozen=True)
class Pair:
    """Two groups and the tests between them; only `reasons` where they cannot be tested.

    seeds : those that both have.  segments : shared ones, over all of these seeds.
    first_only, second_only : of them, those that only one predicted correctly.
    difference : accuracy of the first minus that of the second, over seeds.
    p_segments : McNemar's test over segments.  p_t, p_flips : paired t and sign flips over seeds.
    corrected : the same three by Holm, where there are more than two groups.
    """

    first: str
    second: str
    reasons: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    segments: int = 0
    unmatched: int = 0
    first_only: int = 0
    second_only: int = 0
    difference: MeanInterval | None = None
    by_seed: tuple[float, ...] = ()
    p_segments: float | None = None
    p_t: float | None = None
    p_flips: float | None = None
    corrected: tuple[float | None, float | None, float | None] | None = None

    @property
    def is_comparable(self) -> bool:
        """Whether there was anything to test."""
        return not self.reasons

    @property
    def min_p(self) -> float | None:
        """The smallest p that the sign-flip test could give with so many seeds."""
        return min_p(len(self.seeds)) if self.p_flips is not None else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        plain = asdict(self)
        plain["difference"] = None if self.difference is None else self.difference.as_dict()
        plain["by_seed"] = dict(zip(map(str, self.seeds), self.by_seed, strict=False))
        names = ("p_segments", "p_t", "p_flips")
        plain["corrected"] = self.corrected and dict(zip(names, self.corrected, strict=True))
        return {**plain, "least_p_flips": self.min_p}


@dataclass(frozen=True)
class Comparison:
    """Groups of runs, the settings in which they differ, and each pair of them.

    differ : by setting, the value in each group.
    notes : what was left out, and what else a reader must know.
    """

    groups: tuple[Group, ...]
    differ: Mapping[str, tuple[Any, ...]]
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "groups": [
                {
                    "letter": group.letter,
                    "label": group.label,
                    "folders": [str(run.folder) for run in group.runs],
                    "strongest_rival": group.best_baseline,
                    **group.summary,
                }
                for group in self.groups
            ],
            "differ": {
                key: dict(zip((g.letter for g in self.groups), values, strict=True))
                for key, values in self.differ.items()
            },
            "pairs": [pair.as_dict() for pair in self.pairs],
            "notes": list(self.notes),
        }


def compare(named: Sequence[str]) -> Comparison:
    """Compare runs.

    named : run folders, joint folders, or globs of both.

    Raises UsageError where one is not there, where none holds a finished run, or where they make
    more groups than there are letters.
    """
    folders, notes = find_run_folders(named)
    runs = []
    for folder in folders:
        try:
            runs.append(read_run(folder))
        except UsageError as error:
            notes.append(f"left out: {error}")
    if not runs:
        why = notes[0].removeprefix("left out: ") if notes else "no folder was named"
        raise UsageError(f"nothing to compare: {why}")
    groups, more = group_runs(runs)
    pairs = [compare_pair(a, b) for a, b in combinations(groups, 2)]
    if len(groups) > 2:
        pairs = holm_correct(pairs)
    if len(groups) == 1:
        more.append("one group: these runs differ by nothing but their seed")
    return Comparison(tuple(groups), config_differences(groups), tuple(pairs), (*notes, *more))


def reasons_not_comparable(a: Group, b: Group) -> list[str]:
    """Why two groups' predictions cannot be tested against each other; empty where they can."""
    reasons = []
    if (kinds := (a.summary.get("data"), b.summary.get("data"))) and kinds[0] != kinds[1]:
        one, other = (
            f"{kind} data" if kind != "unknown" else "data of unknown origin" for kind in kinds
        )
        reasons.append(f"one is on {one}, the other on {other}")
    protocol = []
    for key in dict.fromkeys([*a.settings, *b.settings]):
        ours, theirs = a.settings.get(key), b.settings.get(key)
        if ours == theirs or not key.startswith(PROTOCOL):
            continue
        if key == "source.uri":
            sources = [str(group.summary.get("source") or "unknown") for group in (a, b)]
            sources = sources if sources[0] != sources[1] else disambiguate([ours, theirs])
            reasons.append(f"another source, {sources[0]} and {sources[1]}")
        else:
            protocol.append(f"{key} {' and '.join(disambiguate([ours, theirs]))}")
    if protocol:
        reasons.append(f"another protocol, {', '.join(protocol)}")
    for group in (a, b):
        if not group.runs:
            reasons.append(f"no run of {group.letter} came to its end")
        elif group.figure("accuracy", "segment") is None:
            reasons.append(f"nothing was scored in {group.letter}: its source has no labels")
    return reasons


def compare_pair(a: Group, b: Group) -> Pair:
    """Test two groups on the segments both have, and on seeds where there are enough."""
    reasons = reasons_not_comparable(a, b)
    first, second = ({run.seed: run for run in group.runs} for group in (a, b))
    seeds = tuple(sorted(first.keys() & second.keys()))
    if not reasons and not seeds:
        reasons = ["no seed in common, and the seed draws the stream's order"]
    if reasons:
        return Pair(a.letter, b.letter, tuple(reasons))
    # Segments begin on whole bins: with bins of another length, at another time.
    same_bins = a.settings.get("binning.bin_us") == b.settings.get("binning.bin_us")
    counts = []
    for seed in seeds:
        try:
            one = count_shared(first[seed].segments, second[seed].segments, by_time=same_bins)
        except (UsageError, OSError) as error:
            return Pair(a.letter, b.letter, (f"seed {seed}: {error}",))
        if not one.both:
            return Pair(a.letter, b.letter, (f"seed {seed}: no segment in common",))
        counts.append(one)
    by_seed = tuple((one.first_only - one.second_only) / one.both for one in counts)
    wins, losses = sum(one.first_only for one in counts), sum(one.second_only for one in counts)
    enough = len(seeds) >= LEAST_SEEDS
    return Pair(
        a.letter,
        b.letter,
        (),
        seeds,
        sum(one.both for one in counts),
        sum(one.alone for one in counts),
        wins,
        losses,
        MeanInterval.of(by_seed),
        by_seed,
        mcnemar_test(wins, losses),
        paired_t_test(by_seed) if enough else None,
        sign_flip_test(by_seed) if enough and len(seeds) <= MAX_FLIPPED else None,
    )


def holm_correct(pairs: Sequence[Pair]) -> list[Pair]:
    """The same pairs with each kind of test corrected for multiple testing (Holm)."""
    columns = [
        holm_correction([pair.p_segments for pair in pairs]),
        holm_correction([pair.p_t for pair in pairs]),
        holm_correction([pair.p_flips for pair in pairs]),
    ]
    return [
        replace(pair, corrected=(s, t, f)) if pair.is_comparable else pair
        for pair, s, t, f in zip(pairs, *columns, strict=True)
    ]
