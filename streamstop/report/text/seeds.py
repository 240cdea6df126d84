"""Figures over several seeds in words: mean and deviation, intervals, p-values, verdicts.

Promises: a verdict names the strongest baseline and the number of seeds whether or not it flatters;
a difference is called one only where a test tells it from chance. Pure functions of summaries and
comparisons.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamstop.experiments.comparison import Comparison, Pair
from streamstop.experiments.groups import Group, strongest
from streamstop.report.formatting import (
    MINUS,
    NBSP,
    NONE,
    figure,
    p_equals,
    p_value,
    percent,
    plural,
    points,
)
from streamstop.report.names import MARGINS, name_of

Figure = Mapping[str, Any] | None
"""A mean, its deviation, their number and interval, as joint summaries have it."""

ALPHA = 0.05
"""A larger p tells nothing apart."""

CAUTION = (
    "The sign test takes segments as independent, which flatters it: the same recordings come with "
    "every seed. The tests over seeds take each seed as one observation."
)


def percent_sd(value: Figure) -> str:
    """A share's mean and standard deviation.

    >>> percent_sd({"mean": 0.9461, "sd": 0.0052, "n": 3}).replace(NBSP, " ")
    '94.6 ± 0.5 %'
    >>> percent_sd({"mean": 1.0, "sd": None, "n": 1}).replace(NBSP, " "), percent_sd(None)
    ('100 %', '–')
    """
    if value is None:
        return NONE
    if value["sd"] is None:
        return percent(value["mean"])
    mean = percent(value["mean"]).removesuffix(f"{NBSP}%")
    return f"{mean}{NBSP}±{NBSP}{_sd_points(value['sd'])}{NBSP}%"


def figure_sd(value: Figure) -> str:
    """Any other figure's mean and standard deviation.

    >>> figure_sd({"mean": 0.91234, "sd": 0.0123, "n": 3}).replace(NBSP, " ")
    '0.912 ± 0.012'
    """
    if value is None:
        return NONE
    if value["sd"] is None:
        return figure(value["mean"])
    if abs(value["mean"]) >= 10:
        return f"{figure(value['mean'])}{NBSP}±{NBSP}{figure(value['sd'])}"
    return f"{value['mean']:.3f}{NBSP}±{NBSP}{value['sd']:.3f}".replace("-", MINUS)


def interval(value: Figure, *, signed: bool = False) -> str:
    """The 95 % interval of a share's mean, cut where no share can be; of a difference in points
    where `signed`.

    >>> interval({"ci95": [0.9331, 0.9591]}), interval({"ci95": [-0.01, 0.02]}, signed=True)
    ('93.3 to 95.9', '−1.0 to +2.0')
    """
    if value is None or value["ci95"] is None:
        return NONE
    low, high = value["ci95"]
    if signed:
        return f"{points(low)} to {points(high)}"
    return f"{max(low, 0.0) * 100:.1f} to {min(high, 1.0) * 100:.1f}"


def seeds_sentence(summary: Mapping[str, Any]) -> str:
    """What several seeds of one configuration came to, in one sentence."""
    own = summary.get("accuracy") or {}
    n = int(summary.get("n") or 0)
    if not n:
        return "No seed's run came to its end, so there is no mean."
    kind = "real" if summary.get("data") == "real" else "simulated"
    over = f"Over {plural(n, 'seed')}"
    if not own.get("segment"):
        return f"{over}, nothing was scored: the {kind} source has no labels."
    text = f"{over} the learner decides {percent_sd(own['segment'])} of {kind} segments right"
    if own.get("segment_last_third"):
        text += f" (last third {percent_sd(own['segment_last_third'])})"
    rival = strongest(summary)
    if rival is None:
        return f"{text}."
    theirs = summary["baselines"][rival]["segment"]
    named = f"the strongest baseline, {name_of(rival)}"
    if own["segment"]["mean"] > theirs["mean"]:
        return f"{text}; {named}, {percent_sd(theirs)}."
    return f"{text}. It does not beat {named}: {percent_sd(theirs)}."


def margin_sentence(summary: Mapping[str, Any]) -> str:
    """How far the learner and its strongest baseline differ, seed by seed."""
    rival = strongest(summary)
    if rival is None:
        return ""
    margin = (summary.get(MARGINS) or {}).get(rival, {}).get("segment")
    if not margin or margin["ci95"] is None:
        return "One seed says nothing of how far another would be off." if margin else ""
    low, high = margin["ci95"]
    tail = "" if low > 0 or high < 0 else ", so these seeds do not tell them apart"
    return (
        f"Learner less {name_of(rival)}, in the same runs: {points(margin['mean'])} points, "
        f"95{NBSP}% interval {interval(margin, signed=True)} (Student's t, "
        f"{plural(margin['n'], 'seed')}){tail}."
    )


def comparison_sentence(comparison: Comparison) -> str:
    """What a comparison shows, in a sentence or two."""
    groups = comparison.groups
    if len(groups) == 1:
        return seeds_sentence(groups[0].summary)
    if not any(pair.tested for pair in comparison.pairs):
        return (
            f"These {len(groups)} groups are not comparable: each is scored on a stream or by a "
            "protocol of its own, and no test is made."
        )
    if len(groups) == 2:
        return pair_sentence(comparison.pairs[0], *groups)
    best = max(groups, key=lambda group: group.mean)
    pairs = [p for p in comparison.pairs if best.letter in (p.first, p.second)]
    clear = [(p, _ahead(p, best)) for p in pairs if p.tested and _significant(p)]
    sure = [_other(p, best) for p, by in clear if by >= 0]
    behind = [_other(p, best) for p, by in clear if by < 0]
    unsure = [_other(p, best) for p in pairs if p.tested and not _significant(p)]
    apart = [_other(p, best) for p in pairs if not p.tested]
    text = (
        f"Of {len(groups)} groups, {_named(best)} decides most segments right: "
        f"{percent_sd(best.figure('accuracy', 'segment'))}."
    )
    if sure:
        text += f" It is ahead of {_and(sure)} by more than chance."
    if behind:  # its mean is of seeds, too, that they did not run
        are = "is" if len(behind) == 1 else "are"
        text += f" On the seeds that they share, {_and(behind)} {are} ahead by more than chance."
    if unsure:
        text += f" Chance alone may put it ahead of {_and(unsure)}."
    if apart:
        text += f" With {_and(apart)} it cannot be compared."
    return text


def pair_sentence(pair: Pair, a: Group, b: Group) -> str:
    """What the tests say of two groups."""
    if not pair.tested or pair.difference is None:
        return f"{_named(a)} and {_named(b)} are not comparable: {'; '.join(pair.reasons)}."
    mean = pair.difference.mean
    if not pair.first_only and not pair.second_only:
        return f"{_named(a)} and {_named(b)} are right on the very same segments."
    ahead, behind = (a, b) if mean >= 0 else (b, a)
    by = f"by {points(abs(mean)).lstrip('+')} points over {plural(len(pair.seeds), 'seed')}"
    if points(mean) == "0.0":
        text = f"{_named(a)} and {_named(b)} are equally often right"
    else:
        text = f"{_named(ahead)} is ahead of {_named(behind)} {by}"
    if _significant(pair):
        return f"{text}, by more than chance ({_tests(pair)})."
    return f"{text}, which chance alone may do ({_tests(pair)})."


def untested_pairs(comparison: Comparison) -> list[tuple[str, str]]:
    """Which pairs were not tested, and why: those with the same reasons together."""
    found: dict[str, list[str]] = {}
    for pair in comparison.pairs:
        if not pair.tested:
            why = "; ".join(pair.reasons)
            found.setdefault(why, []).append(f"{pair.first} and {pair.second}")
    return [("; ".join(pairs), f"Not comparable: {why}.") for why, pairs in found.items()]


def least_p_text(pair: Pair) -> str:
    """What a sign-flip test over so few seeds can say at all; empty where there was none."""
    if pair.least_p is None:
        return ""
    return f"with {len(pair.seeds)} seeds never below {p_value(pair.least_p)}"


def final_p(pair: Pair) -> float | None:
    """The p that a verdict goes by: over seeds where there are enough, else over segments."""
    over_segments, over_seeds_p = pair.p_segments, pair.p_t
    if pair.corrected is not None:
        over_segments, over_seeds_p, _ = pair.corrected
    return over_seeds_p if over_seeds_p is not None else over_segments


def _sd_points(sd: float) -> str:
    """In points; 0 only where it is."""
    return f"{sd * 100:.1f}" if sd else "0"


def _tests(pair: Pair) -> str:
    p = final_p(pair)
    which = "paired t-test over seeds" if pair.p_t is not None else "sign test over segments"
    return f"{which}, {p_equals(p)}" if p is not None else which


def _significant(pair: Pair) -> bool:
    p = final_p(pair)
    return p is not None and p < ALPHA


def _ahead(pair: Pair, one: Group) -> float:
    """How far one group of a tested pair is ahead of the other, on what they share."""
    mean = pair.difference.mean if pair.difference is not None else 0.0
    return mean if pair.first == one.letter else -mean


def _other(pair: Pair, one: Group) -> str:
    return pair.second if pair.first == one.letter else pair.first


def _named(group: Group) -> str:
    return f"{group.letter} ({group.label})" if group.label else group.letter


def _and(letters: list[str]) -> str:
    *first, last = letters
    return f"{', '.join(first)} and {last}" if first else last
