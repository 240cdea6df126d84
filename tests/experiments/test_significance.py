"""Intervals and tests against printed tables, against counting, and against scipy.stats."""

from __future__ import annotations

import math
import random
from itertools import product

import pytest
from scipy import stats

from streamstop.experiments import significance as s

TABLE = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262, 30: 2.042, 1000: 1.962}
"""Student's t, 97.5 %, by degrees of freedom, as textbooks print it."""

EXTRA_SLEEP = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
"""Hours, of ten patients (Student, "The probable error of a mean", 1908)."""


@pytest.mark.parametrize(("freedom", "t"), TABLE.items())
def test_student_s_t_is_the_table_s(freedom: int, t: float) -> None:
    """An interval is t standard errors wide on either side; a t that large has p = 0.05."""
    values = [0.1 * i for i in range(freedom + 1)]
    spread = s.MeanInterval.of(values)
    assert spread.high is not None and spread.sd is not None
    error = spread.sd / math.sqrt(spread.n)
    assert (spread.high - spread.mean) / error == pytest.approx(t, abs=5e-4)
    moved = [one - spread.mean + t * error for one in values]
    assert s.paired_t_test(moved) == pytest.approx(0.05, abs=1e-4)
    assert s.paired_t_test([-one for one in moved]) == s.paired_t_test(moved)


OF_THIS_PROJECT = {1: 12.706204736176005, 4: 2.7764451051989454, 17: 2.1098155778345244}
"""Student's t, 97.5 %, by the continued fraction that this project used before scipy."""


def test_figures_of_earlier_versions_hold() -> None:
    for freedom, t in OF_THIS_PROJECT.items():
        spread = s.MeanInterval.of([0.1 * i for i in range(freedom + 1)])
        assert spread.high is not None and spread.sd is not None
        half = t * spread.sd / math.sqrt(spread.n)
        assert spread.high - spread.mean == pytest.approx(half, rel=1e-12)
    assert s.paired_t_test(EXTRA_SLEEP) == pytest.approx(0.0028328901973842632, rel=1e-12)
    assert s.mcnemar_test(61, 92) == pytest.approx(0.015020260891730126, rel=1e-12)
    assert s.mcnemar_test(200, 260) == pytest.approx(0.0058839224731054825, rel=1e-12)


def test_an_interval_is_mean_and_t_times_standard_error() -> None:
    spread = s.MeanInterval.of([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (spread.mean, spread.n, spread.sd) == (3.0, 5, pytest.approx(math.sqrt(2.5)))
    assert spread.high is not None and spread.low is not None
    assert spread.high - 3 == pytest.approx(2.776 * math.sqrt(2.5 / 5), abs=1e-3)
    assert 3 - spread.low == pytest.approx(spread.high - 3)
    assert s.MeanInterval.of([0.5]).as_dict() == {"mean": 0.5, "sd": None, "n": 1, "ci95": None}


def test_the_sign_test_counts() -> None:
    for first, second in [(0, 0), (5, 0), (9, 1), (30, 18), (200, 260)]:
        n, low = first + second, min(first, second)
        counted = min(1.0, 2 * sum(math.comb(n, k) for k in range(low + 1)) / 2**n)
        assert s.mcnemar_test(first, second) == pytest.approx(counted, rel=1e-9)
        assert s.mcnemar_test(second, first) == s.mcnemar_test(first, second)


def test_the_sign_test_of_a_million_is_near_the_normal_law_s() -> None:
    z = (1500 - 1) / 1000
    expected = math.erfc(z / math.sqrt(2))
    assert s.mcnemar_test(500_750, 499_250) == pytest.approx(expected, rel=1e-3)


def test_sign_flips_count_every_way_to_set_the_signs() -> None:
    draw = random.Random(3)
    differences = [draw.gauss(0.4, 1.0) for _ in range(8)]
    seen = abs(sum(differences))
    ways = [
        sum(sign * abs(one) for sign, one in zip(signs, differences, strict=True))
        for signs in product((1, -1), repeat=8)
    ]
    counted = sum(abs(way) >= seen - 1e-12 for way in ways) / len(ways)
    assert s.sign_flip_test(differences) == pytest.approx(counted)
    assert s.sign_flip_test([0.1, 0.2, 0.3, 0.1, 0.1]) == s.min_p(5) == 2 / 32
    assert s.sign_flip_test([0.0, 0.0]) == 1.0
    assert s.sign_flip_test([]) is None
    assert s.sign_flip_test([0.1] * 21) is None


def test_differences_of_equal_size_but_for_rounding_are_ties() -> None:
    """0.1 + 0.2 is not 0.3 in binary; the mirror image of what was seen counts all the same."""
    assert s.sign_flip_test([0.1, 0.2, -0.3]) == 1.0


def test_the_paired_t_is_student_s() -> None:
    """t = 4.06, p = 0.0028 in Student's own paper."""
    assert s.paired_t_test(EXTRA_SLEEP) == pytest.approx(0.00283, abs=1e-5)
    assert s.paired_t_test([0.1, 0.1, 0.1]) is None
    assert s.paired_t_test([0.0, 0.0, 0.0]) == 1.0
    assert s.paired_t_test([0.3]) is None


def test_holm_never_puts_a_larger_p_before_a_smaller() -> None:
    assert s.holm_correction([0.01, 0.02, 0.03, 0.04]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert s.holm_correction([0.5, 0.9]) == [1.0, 1.0]
    assert s.holm_correction([None]) == [None]


def test_they_agree_with_scipy_s_own_tests() -> None:
    assert s.paired_t_test(EXTRA_SLEEP) == pytest.approx(
        stats.ttest_1samp(EXTRA_SLEEP, 0.0).pvalue, rel=1e-9
    )
    interval = stats.t.interval(0.95, 3, loc=2.5, scale=stats.sem([1.0, 2.0, 3.0, 4.0]))
    found = s.MeanInterval.of([1.0, 2.0, 3.0, 4.0])
    assert (found.low, found.high) == pytest.approx(interval, rel=1e-9)
    assert s.mcnemar_test(61, 92) == pytest.approx(stats.binomtest(61, 153).pvalue, rel=1e-9)
