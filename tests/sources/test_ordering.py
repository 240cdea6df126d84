"""The orders in which labelled pieces of recordings arrive."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstop.sources.ordering import ORDERS, Offered, class_ranks

# Two recordings of class 2, one each of 10 and b, of 3, 1, 2 and 2 pieces.
OFFERED = [
    Offered(recording, label, start_us)
    for recording, label, pieces in (
        ("b/0", "b", 2),
        ("10/0", "10", 2),
        ("2/0", "2", 3),
        ("2/1", "2", 1),
    )
    for start_us in range(0, pieces * 1000, 1000)
]

offers = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.integers(1, 3)),
    max_size=6,
    unique_by=lambda one: one[0],
).map(
    lambda recordings: [
        Offered(name, label, i * 1000) for name, label, pieces in recordings for i in range(pieces)
    ]
)


@pytest.mark.parametrize("order", ORDERS)
@given(offered=offers, seed=st.integers(0, 1000))
def test_every_piece_comes_once_and_a_seed_repeats_it(
    order: str, offered: Sequence[Offered], seed: int
) -> None:
    numbers = list(ORDERS[order](offered, seed))
    assert sorted(numbers) == list(range(len(offered)))
    assert list(ORDERS[order](offered, seed)) == numbers


def test_classes_that_are_numbers_are_ranked_as_numbers() -> None:
    assert class_ranks(OFFERED) == {"2": 0, "10": 1, "b": 2}


def test_iid_is_shuffled_by_the_seed() -> None:
    drawn = [tuple(ORDERS["iid"](OFFERED, seed)) for seed in range(5)]
    assert len(set(drawn)) == 5
    assert tuple(range(len(OFFERED))) not in drawn


def test_by_class_goes_class_after_class_and_keeps_files_and_time_in_order() -> None:
    arrived = [OFFERED[i] for i in ORDERS["by-class"](OFFERED, 1)]
    assert [label for label, _ in groupby(one.label for one in arrived)] == ["2", "10", "b"]
    assert [(one.recording, one.start_us) for one in arrived[:4]] == [
        ("2/0", 0),
        ("2/0", 1000),
        ("2/0", 2000),
        ("2/1", 0),
    ]


def test_round_robin_alternates_classes_before_it_comes_back_to_one() -> None:
    arrived = [OFFERED[i] for i in ORDERS["round-robin"](OFFERED, 1)]
    first = [(one.recording, one.start_us) for one in arrived[:4]]
    assert first == [("2/0", 0), ("10/0", 0), ("b/0", 0), ("2/1", 0)]
    # Recordings that are over are passed over.
    assert [(one.recording, one.start_us) for one in arrived[4:]] == [
        ("2/0", 1000),
        ("10/0", 1000),
        ("b/0", 1000),
        ("2/0", 2000),
    ]
