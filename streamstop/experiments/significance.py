"""Means with confidence intervals, and exact paired tests, for few seeds and many segments.

Guarantees:

- Intervals and the paired t-test are Student's, never a normal approximation.
- McNemar's test and the sign-flip test are exact: they count, they do not sample.
- Every test is two-sided.

Does not: check assumptions. Student's t wants differences that are near normal; the other two want
only that, were there no effect, each difference could as well have had the other sign.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from scipy.special import betainc, stdtr, stdtrit

MAX_FLIPPED = 20
"""Most pairs of the sign-flip test: all 2^n ways to set the signs are counted."""

CONFIDENCE = 0.95
"""Coverage of the intervals."""


@dataclass(frozen=True, slots=True)
class MeanInterval:
    """Mean of one value per run, with its standard deviation (n - 1) and 95 % interval.

    sd, low, high : None for a single run, which has no spread.
    """

    mean: float
    sd: float | None
    n: int
    low: float | None
    high: float | None

    @staticmethod
    def of(values: Sequence[float]) -> MeanInterval:
        """The mean of `values`, one per run, at least one.

        >>> spread = MeanInterval.of([0.90, 0.92, 0.94])
        >>> round(spread.mean, 2), round(spread.sd, 2), round(spread.low, 4)
        (0.92, 0.02, 0.8703)
        """
        mean, n = fmean(values), len(values)
        if n < 2:
            return MeanInterval(mean, None, n, None, None)
        sd = stdev(values)
        half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * sd / math.sqrt(n)
        return MeanInterval(mean, sd, n, mean - half, mean + half)

    def as_dict(self) -> dict[str, Any]:
        """As summaries have it: the interval as "ci95", None for a single run."""
        interval = None if self.low is None else [self.low, self.high]
        return {"mean": self.mean, "sd": self.sd, "n": self.n, "ci95": interval}


def paired_t_test(differences: Sequence[float]) -> float | None:
    """p-value of the paired t-test that the mean difference is 0.

    None where there is no test: fewer than two differences, or all of one size.
    """
    if len(differences) < 2:
        return None
    mean, sd = fmean(differences), stdev(differences)
    if sd <= 1e-12 * max(map(abs, differences)):
        return None if any(differences) else 1.0
    t = mean / (sd / math.sqrt(len(differences)))
    return float(2 * stdtr(len(differences) - 1, -abs(t)))


def sign_flip_test(differences: Sequence[float]) -> float | None:
    """p-value of the exact sign-flip permutation test that differences go up as often as down.

    It is the fraction of all 2^n ways to set the signs whose sum is at least as far from 0 as the
    observed one; with n pairs never below `min_p(n)`. None for more than `MAX_FLIPPED` pairs, or
    for none.

    >>> sign_flip_test([0.01, 0.02, 0.03])
    0.25
    """
    if not 0 < len(differences) <= MAX_FLIPPED:
        return None
    sums = [0.0]
    for one in map(abs, differences):
        sums = [s + one for s in sums] + [s - one for s in sums]
    # Sums that differ by rounding alone count as equal.
    seen = abs(math.fsum(differences)) - 1e-9 * math.fsum(map(abs, differences))
    return sum(abs(s) >= seen for s in sums) / len(sums)


def min_p(pairs: int) -> float:
    """The smallest p that the sign-flip test can give: 2 / 2^n, all differences of one sign.

    >>> min_p(5)
    0.0625
    """
    return min(1.0, 2.0 ** (1 - pairs))


def mcnemar_test(first: int, second: int) -> float:
    """p-value of the exact McNemar (sign) test.

    first, second : how often only the first was right, and only the second.

    >>> round(mcnemar_test(9, 1), 4)
    0.0215
    """
    n, low = first + second, min(first, second)
    # P(at most `low` heads of n fair coins) is a regularised incomplete beta function.
    return min(1.0, 2 * float(betainc(n - low, low + 1, 0.5))) if n else 1.0


def holm_correction(values: Sequence[float | None]) -> list[float | None]:
    """p-values corrected for multiple testing (Holm, Scand. J. Stat. 6, 1979); None stays None.

    >>> holm_correction([0.01, 0.04, None, 0.03])
    [0.03, 0.06, None, 0.06]
    """
    order = sorted((p, i) for i, p in enumerate(values) if p is not None)
    out: list[float | None] = [None] * len(values)
    most = 0.0
    for rank, (p, i) in enumerate(order):
        most = max(most, min(1.0, p * (len(order) - rank)))
        out[i] = most
    return out
