"""Results over several seeds in words: mean and standard deviation, intervals, p-values.

Guarantees:
- A result names the number of seeds and the strongest baseline, whether or not it is beaten.
- A difference is called significant only where a test says so.
- Pure functions of summaries and comparisons.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamstop.experiments.comparison import Comparison, Pair
from streamstop.experiments.groups import Group, best_baseline
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
from streamstop.report.names import MARGINS, UNKNOWN_DATA, data_name, name_of

Figure = Mapping[str, Any] | None
"""{"mean", "sd", "n", "ci95"}, as the summary of several seeds has it."""

ALPHA = 0.05
"""Significance level: a difference with a larger p is not significant."""

CAUTION = (
    "The sign test treats segments as independent and is too optimistic, because all seeds share "
    "the same recordings. The tests over seeds treat each seed as one observation."
)


def percent_sd(value: Figure) -> str:
    """Mean and standard deviation of a fraction, in percent.

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
    """Mean and standard deviation of any other figure.

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
    """The 95 % interval of the mean of a fraction, cut to 0 to 100; of a difference, in points,
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
    """The result of several seeds of one configuration, in one sentence."""
    own = summary.get("accuracy") or {}
    n = int(summary.get("n") or 0)
    if not n:
        if summary.get("status") == "unscored":
            return f"Nothing was scored, although labels were given: {summary.get('message', '')}."
        return "No seed's run finished, so there is no mean."
    kind = data_name(summary.get("data"))
    over = f"Over {plural(n, 'seed')}"
    if not own.get("segment"):
        return f"{over}, nothing was scored: the source of {kind} has no labels."
    segments = {"real data": "real segments", UNKNOWN_DATA: "segments of unknown origin"}.get(
        kind, "simulated segments"
    )
    text = f"{over}, the learner predicts {percent_sd(own['segment'])} of {segments} correctly"
    if own.get("segment_last_third"):
        text += f" (last third {percent_sd(own['segment_last_third'])})"
    baseline = best_baseline(summary)
    if baseline is None:
        return f"{text}."
    theirs = summary["baselines"][baseline]["segment"]
    named = f"the strongest baseline ({_name(baseline, summary)})"
    if own["segment"]["mean"] > theirs["mean"]:
        return f"{text}; {named}: {percent_sd(theirs)}."
    return f"{text}. It does not beat {named}: {percent_sd(theirs)}."


def margin_sentence(summary: Mapping[str, Any]) -> str:
    """The learner's margin over its strongest baseline, seed by seed."""
    baseline = best_baseline(summary)
    if baseline is None:
        return ""
    margin = (summary.get(MARGINS) or {}).get(baseline, {}).get("segment")
    if not margin or margin["ci95"] is None:
        return "One seed does not show how much results vary between seeds." if margin else ""
    low, high = margin["ci95"]
    tail = "" if low > 0 or high < 0 else "; the difference is not significant"
    return (
        "Learner minus this baseline, in the same runs: "
        f"{points(margin['mean'])} points, "
        f"95{NBSP}% interval {interval(margin, signed=True)} (Student's t, "
        f"{plural(margin['n'], 'seed')}){tail}."
    )


def comparison_sentence(comparison: Comparison) -> str:
    """The result of a comparison, in a few sentences."""
    groups = comparison.groups
    if len(groups) == 1:
        return seeds_sentence(groups[0].summary)
    if not any(pair.is_comparable for pair in comparison.pairs):
        return (
            f"These {len(groups)} groups are not comparable: they differ in their stream or their "
            "protocol, so no test was made."
        )
    if len(groups) == 2:
        return pair_sentence(comparison.pairs[0], *groups)
    best = max(groups, key=lambda group: group.mean)
    pairs = [p for p in comparison.pairs if best.letter in (p.first, p.second)]
    clear = [(p, _ahead(p, best)) for p in pairs if p.is_comparable and _significant(p)]
    sure = [_other(p, best) for p, by in clear if by >= 0]
    behind = [_other(p, best) for p, by in clear if by < 0]
    unsure = [_other(p, best) for p in pairs if p.is_comparable and not _significant(p)]
    apart = [_other(p, best) for p in pairs if not p.is_comparable]
    text = (
        f"Of {len(groups)} groups, {_named(best)} is the most accurate: "
        f"{percent_sd(best.figure('accuracy', 'segment'))}."
    )
    if sure:
        text += f" It is significantly better than {_and(sure)}."
    if behind:  # The mean of the best group includes seeds that the others did not run.
        are = "is" if len(behind) == 1 else "are"
        text += f" On the seeds that they share, {_and(behind)} {are} significantly better."
    if unsure:
        text += f" The difference from {_and(unsure)} is not significant."
    if apart:
        text += f" It cannot be compared with {_and(apart)}."
    return text


def pair_sentence(pair: Pair, a: Group, b: Group) -> str:
    """The result of the tests on two groups."""
    if not pair.is_comparable or pair.difference is None:
        return f"{_named(a)} and {_named(b)} are not comparable: {'; '.join(pair.reasons)}."
    mean = pair.difference.mean
    if not pair.first_only and not pair.second_only:
        return f"{_named(a)} and {_named(b)} are correct on exactly the same segments."
    ahead, behind = (a, b) if mean >= 0 else (b, a)
    by = f"by {points(abs(mean)).lstrip('+')} points over {plural(len(pair.seeds), 'seed')}"
    if points(mean) == "0.0":
        text = f"{_named(a)} and {_named(b)} are equally accurate"
    else:
        text = f"{_named(ahead)} is better than {_named(behind)} {by}"
    if _significant(pair):
        return f"{text}; the difference is significant ({_tests(pair)})."
    return f"{text}; the difference is not significant ({_tests(pair)})."


def untested_pairs(comparison: Comparison) -> list[tuple[str, str]]:
    """(pairs, reason) of the pairs that were not tested, grouped by reason."""
    found: dict[str, list[str]] = {}
    for pair in comparison.pairs:
        if not pair.is_comparable:
            why = "; ".join(pair.reasons)
            found.setdefault(why, []).append(f"{pair.first} and {pair.second}")
    return [("; ".join(pairs), f"Not comparable: {why}.") for why, pairs in found.items()]


def least_p_text(pair: Pair) -> str:
    """The smallest p of a sign-flip test over this number of seeds; empty without a test."""
    if pair.min_p is None:
        return ""
    return f"with {len(pair.seeds)} seeds at least {p_value(pair.min_p)}"


def final_p(pair: Pair) -> float | None:
    """The p that decides: over seeds where there are enough of them, else over segments."""
    over_segments, over_seeds_p = pair.p_segments, pair.p_t
    if pair.corrected is not None:
        over_segments, over_seeds_p, _ = pair.corrected
    return over_seeds_p if over_seeds_p is not None else over_segments


def _name(key: str, summary: Mapping[str, Any]) -> str:
    return name_of(key, pretrained=bool(summary.get("weights")))


def _sd_points(sd: float) -> str:
    """In points; 0 only where it is exactly 0."""
    return f"{sd * 100:.1f}" if sd else "0"


def _tests(pair: Pair) -> str:
    p = final_p(pair)
    which = "paired t-test over seeds" if pair.p_t is not None else "sign test over segments"
    return f"{which}, {p_equals(p)}" if p is not None else which


def _significant(pair: Pair) -> bool:
    p = final_p(pair)
    return p is not None and p < ALPHA


def _ahead(pair: Pair, one: Group) -> float:
    """How much better one group of a tested pair is than the other, on the segments they share."""
    mean = pair.difference.mean if pair.difference is not None else 0.0
    return mean if pair.first == one.letter else -mean


def _other(pair: Pair, one: Group) -> str:
    return pair.second if pair.first == one.letter else pair.first


def _named(group: Group) -> str:
    return f"{group.letter} ({group.label})" if group.label else group.letter


def _and(letters: list[str]) -> str:
    *first, last = letters
    return f"{', '.join(first)} and {last}" if first else last
