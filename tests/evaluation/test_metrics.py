"""Scores: known answers, and memory that does not grow."""

from __future__ import annotations

import numpy as np
import pytest

from streamstop.evaluation.metrics import (
    BLOCKS,
    MAX_DOMAINS,
    WINDOW,
    AccuracyByDomain,
    RunningAccuracy,
    StreamMetrics,
    kappa_vs_baseline,
)


def tally_of(hits: list[bool]) -> RunningAccuracy:
    tally = RunningAccuracy()
    for hit in hits:
        tally.add(hit)
    return tally


def drawn(n: int, seed: int = 0) -> list[bool]:
    """Hits that become likelier as time goes on."""
    draw = np.random.default_rng(seed)
    return (draw.random(n) < np.linspace(0.1, 0.9, n)).tolist()


def test_before_the_first_decision_there_is_no_accuracy():
    tally = RunningAccuracy()
    assert tally.accuracy is None
    assert tally.last_third is None
    assert tally.as_dict() == {"segment": None, "segment_last_third": None}


@pytest.mark.parametrize(
    ("hits", "accuracy", "last_third"),
    [
        ([True], 1.0, 1.0),
        ([False, True], 0.5, 1.0),  # a third of two is one, rounded
        ([True, True, False], 2 / 3, 0.0),
        ([True, False, False, True, False, True], 0.5, 0.5),
        ([False] * 6 + [True] * 3, 1 / 3, 1.0),
        ([True] * 7 + [False] * 3, 0.7, 0.0),
    ],
)
def test_known_answers(hits, accuracy, last_third):
    tally = tally_of(hits)
    assert (tally.accuracy, tally.last_third) == (accuracy, last_third)


@pytest.mark.parametrize("n", [3, 100, 257, 3071, 3072])
def test_last_third_is_exact_up_to_3072(n):
    hits = drawn(n)
    assert tally_of(hits).last_third == np.mean(hits[n - round(n / 3) :])


def test_last_third_at_every_moment():
    tally, hits = RunningAccuracy(), drawn(300)
    for n, hit in enumerate(hits, start=1):
        tally.add(hit)
        assert tally.last_third == pytest.approx(np.mean(hits[n - max(round(n / 3), 1) : n]))


@pytest.mark.parametrize("n", [3073, 5000, 6144, 10_001, 100_000])
def test_beyond_it_is_within_a_block_and_memory_is_bounded(n):
    hits = drawn(n)
    tally = tally_of(hits)
    assert tally.accuracy == sum(hits) / n
    assert len(tally._blocks) <= BLOCKS
    block = tally._block
    assert BLOCKS / 2 - 1 <= n / block <= BLOCKS
    # a third to within a block and a half: so many decisions may be in or out of it
    assert tally.last_third == pytest.approx(np.mean(hits[-n // 3 :]), abs=1.5 * block / (n / 3))


def test_memory_after_a_million_decisions():
    tally = RunningAccuracy()
    for i in range(1_000_000):
        tally.add(i >= 900_000)
    assert len(tally._blocks) <= BLOCKS
    assert tally.accuracy == 0.1
    assert tally.last_third == pytest.approx(0.3, abs=0.002)


@pytest.mark.parametrize(
    ("accuracy", "rival", "kappa"),
    [
        (0.9, 0.8, 0.5),
        (0.8, 0.8, 0.0),
        (0.5, 0.75, -1.0),
        (1.0, 0.3, 1.0),
        (1.0, 1.0, 0.0),
        (0.9, 1.0, None),  # no rival's remainder to take a share of
        (None, 0.5, None),
        (0.5, None, None),
    ],
)
def test_kappa_against(accuracy, rival, kappa):
    found = kappa_vs_baseline(accuracy, rival)
    assert found == (kappa if kappa is None else pytest.approx(kappa))


# true, decided, majority, no change: ten segments of classes a, b, c
TEN = [
    (0, 0, None, None),
    (0, 0, 0, 0),
    (1, 0, 0, 0),
    (0, 0, 0, 1),
    (1, 1, 0, 0),
    (2, 1, 0, 1),
    (0, 0, 0, 2),
    (0, 2, 0, 0),
    (1, 1, 0, 0),
    (2, 2, 0, 1),
]


def scores_of_ten() -> StreamMetrics:
    scores = StreamMetrics(("a", "b", "c"))
    for true, decided, majority, no_change in TEN:
        said = {"headline": decided, "majority": majority, "no_change": no_change}
        scores.update_segment(true, said)
    return scores


def test_kappas_by_hand():
    """7 of 10 right; agreement by chance (5 * 5 + 3 * 3 + 2 * 2) / 100 = 0.38; majority 4 of 10."""
    scores = scores_of_ten()
    for label, said in [(0, 0), (0, 0), (0, 1), (1, 1), (1, 1)]:
        scores.update_bin(label, said)
    accuracy = scores.accuracy()
    assert accuracy["segment"] == 0.7
    assert accuracy["segment_last_third"] == pytest.approx(2 / 3)
    assert accuracy["balanced"] == pytest.approx((4 / 5 + 2 / 3 + 1 / 2) / 3)
    assert accuracy["kappa"] == pytest.approx((0.7 - 0.38) / (1 - 0.38))
    assert accuracy["kappa_m"] == pytest.approx((0.7 - 0.4) / (1 - 0.4))
    assert accuracy["bin"] == 0.8
    # repeating the bin before is right 3 times of 5: kappa temporal (0.8 - 0.6) / 0.4
    assert accuracy["kappa_t_bin"] == pytest.approx(0.5)


def test_confusion_and_classes_by_hand():
    scores = scores_of_ten()
    assert scores.confusion.tolist() == [[4, 0, 1], [1, 2, 0], [0, 1, 1]]
    a, b, c = scores.per_class()
    assert a == {"class": "a", "segments": 5, "recall": 0.8, "precision": 0.8}
    assert b["recall"] == pytest.approx(2 / 3)
    assert b["precision"] == pytest.approx(2 / 3)
    assert (c["segments"], c["recall"], c["precision"]) == (2, 0.5, 0.5)


def test_a_class_never_met_and_never_said_has_no_share():
    scores = StreamMetrics(("a", "b"))
    scores.update_segment(0, {"headline": 0, "majority": None})
    assert scores.per_class()[1] == {
        "class": "b",
        "segments": 0,
        "recall": None,
        "precision": None,
    }


def test_no_answer_counts_as_wrong():
    tallies = scores_of_ten().tallies
    assert (tallies["majority"].hits, tallies["majority"].total) == (4, 10)
    assert (tallies["no_change"].hits, tallies["no_change"].total) == (2, 10)


def test_running_scores():
    scores = StreamMetrics(("a", "b"))
    assert scores.compute() == {"segment": None, "segment_windowed": None}
    for i in range(WINDOW * 2):
        scores.update_segment(0, {"headline": int(i < WINDOW), "linear": 0, "majority": 1})
    running = scores.compute()
    assert running == {"segment": 0.5, "segment_windowed": 1.0, "linear": 1.0, "majority": 0.0}


def test_domains_by_hand():
    """a: segments 0, 1 and 3; b: segment 2. Each decision maker has its own hits."""
    domains = AccuracyByDomain()
    for index, (name, label, decided, rival) in enumerate(
        [("a", 0, 0, 1), ("a", 1, 0, 1), ("b", 1, 1, None), ("a", 0, 0, 0)]
    ):
        domains.add(name, index, label, {"headline": decided, "softmax_counts": rival})
    assert domains.as_list() == [
        {"domain": "a", "segments": 3, "first": 0, "headline": 2 / 3, "softmax_counts": 2 / 3},
        {"domain": "b", "segments": 1, "first": 2, "headline": 1.0, "softmax_counts": 0.0},
    ]


def test_domains_beyond_the_most_are_counted_together():
    domains = AccuracyByDomain()
    for index in range(3 * MAX_DOMAINS):
        domains.add(str(index), index, 0, {"headline": index % 2})
    domains.add("3", 3 * MAX_DOMAINS, 0, {"headline": 0})  # one of the first goes on
    rows = domains.as_list()
    assert len(rows) == MAX_DOMAINS + 1
    assert (rows[3]["domain"], rows[3]["segments"], rows[3]["headline"]) == ("3", 2, 0.5)
    assert rows[-1] == {
        "domain": None,
        "segments": 2 * MAX_DOMAINS,
        "first": MAX_DOMAINS,
        "headline": 0.5,
    }


def test_a_stream_without_domains_has_none():
    assert scores_of_ten().domains.as_list() == []
