"""Means with intervals, and exact paired tests, for a handful of seeds and many segments.

It promises figures that hold for small samples: intervals by Student's t, never by a normal
approximation; the sign test and the sign-flip test by counting, not by sampling. Every test is
two-sided. Student's t asks that differences be near normal; the other two ask only that, were there
no difference, each could as well have had the other sign. It does not know what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

MAX_FLIPPED = 20
"""Pairs of the sign-flip test at most: all 2^n ways to set the signs are counted."""

SHARE = 0.95
"""Of the intervals."""


@dataclass(frozen=True, slots=True)
class MeanInterval:
    """A figure over several runs: mean, standard deviation (n - 1), and the mean's 95 % interval.

    sd, low, high are None for a single run, which says nothing of how far another would be off.
    """

    mean: float
    sd: float | None
    n: int
    low: float | None
    high: float | None

    @staticmethod
    def of(values: Sequence[float]) -> MeanInterval:
        """Of one value a run, at least one.

        >>> spread = MeanInterval.of([0.90, 0.92, 0.94])
        >>> round(spread.mean, 2), round(spread.sd, 2), round(spread.low, 4)
        (0.92, 0.02, 0.8703)
        """
        mean, n = fmean(values), len(values)
        if n < 2:
            return MeanInterval(mean, None, n, None, None)
        sd = stdev(values)
        half = t_quantile((1 + SHARE) / 2, n - 1) * sd / math.sqrt(n)
        return MeanInterval(mean, sd, n, mean - half, mean + half)

    def as_dict(self) -> dict[str, Any]:
        """As summaries have it: the interval as "ci95", None for a single run."""
        interval = None if self.low is None else [self.low, self.high]
        return {"mean": self.mean, "sd": self.sd, "n": self.n, "ci95": interval}


def t_quantile(share: float, freedom: int) -> float:
    """The value that so large a share of Student's t distribution lies below; `share` above 0.5.

    >>> round(t_quantile(0.975, 4), 3)
    2.776
    """
    low, high = 0.0, 1.0
    while 1 - t_tails(high, freedom) / 2 < share:
        low, high = high, high * 2
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if 1 - t_tails(middle, freedom) / 2 < share:
            low = middle
        else:
            high = middle
    return high


def t_tails(t: float, freedom: int) -> float:
    """The share of Student's t distribution that lies beyond t on either side.

    >>> round(t_tails(2.776, 4), 3)
    0.05
    """
    return incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t))


def paired_t_test(differences: Sequence[float]) -> float | None:
    """Paired t-test's p that the mean difference is 0; None where it has no say: fewer than two
    differences, or all of one size.
    """
    if len(differences) < 2:
        return None
    mean, sd = fmean(differences), stdev(differences)
    if sd <= 1e-12 * max(map(abs, differences)):
        return None if any(differences) else 1.0
    return t_tails(mean / (sd / math.sqrt(len(differences))), len(differences) - 1)


def sign_flip_test(differences: Sequence[float]) -> float | None:
    """Exact sign-flip permutation test's p that differences are as often up as down.

    The share of all 2^n ways to set the signs whose sum is at least as far from 0 as the one seen;
    with n pairs never below `min_p(n)`. None for more than `MAX_FLIPPED`, or for none.

    >>> sign_flip_test([0.01, 0.02, 0.03])
    0.25
    """
    if not 0 < len(differences) <= MAX_FLIPPED:
        return None
    sums = [0.0]
    for one in map(abs, differences):
        sums = [s + one for s in sums] + [s - one for s in sums]
    # Sums that are equal but for rounding shall count as equal.
    seen = abs(math.fsum(differences)) - 1e-9 * math.fsum(map(abs, differences))
    return sum(abs(s) >= seen for s in sums) / len(sums)


def min_p(pairs: int) -> float:
    """The smallest p that the sign-flip test can give: 2 / 2^n, all differences of one sign.

    >>> min_p(5)
    0.0625
    """
    return min(1.0, 2.0 ** (1 - pairs))


def mcnemar_test(first: int, second: int) -> float:
    """Exact McNemar (sign) test's p, from how often only the first was right, only the second.

    >>> round(mcnemar_test(9, 1), 4)
    0.0215
    """
    n, low = first + second, min(first, second)
    # P(at most `low` of n fair coins) as an incomplete beta function: exact for any n.
    return min(1.0, 2 * incomplete_beta(n - low, low + 1, 0.5)) if n else 1.0


def holm_correction(values: Sequence[float | None]) -> list[float | None]:
    """p-values corrected for being several (Holm, Scand. J. Stat. 6, 1979); None stays None.

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


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b), by its continued fraction (Lentz).

    >>> round(incomplete_beta(2.0, 3.0, 0.5), 6)
    0.6875
    """
    if not 0 < x < 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):  # where the fraction would converge slowly
        return 1 - incomplete_beta(b, a, 1 - x)
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(scale + a * math.log(x) + b * math.log1p(-x)) / a
    tiny = 1e-300
    c, d = 1.0, 1 / _apart(1 - (a + b) * x / (a + 1), tiny)
    fraction = d
    # It takes some sqrt(max(a, b)) rounds; the bound is for a and b of a million million.
    for m in range(1, 4_000_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _apart(1 + term * d, tiny)
            c = _apart(1 + term / c, tiny)
            fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * fraction


def _apart(value: float, tiny: float) -> float:
    """The value, kept apart from 0."""
    return value if abs(value) > tiny else tiny
