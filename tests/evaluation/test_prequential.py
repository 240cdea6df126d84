"""Test, then train: a label changes nothing said before it arrives, whenever that is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamstop.errors import DivergedError
from streamstop.evaluation.prequential import MAX_WAITING, PrequentialProtocol, ScoredSegment
from streamstop.events.labels import Segment
from streamstop.learning.late import MAX_KEPT
from streamstop.learning.learner import LearnerSpec, StopLearner
from streamstop.stop.layer import LayerSpec
from streamstop.stop.network import NetworkSpec

NETWORK = NetworkSpec((2, 4, 4), (LayerSpec("conv", 4),), 3)
BIN_US = 10_000
BINS = 10
SEGMENT_US = BINS * BIN_US

UPDATES = {
    "segment": LearnerSpec(lr=1e-2, lr_readout=5e-2),
    "step": LearnerSpec(update="step", lr=1e-2, lr_readout=5e-2),
    "slow": LearnerSpec(lr=1e-2, lr_readout=5e-2, ema_decay=0.5),
}

LATE = {
    "late": replace(UPDATES["segment"], late="all"),
    "late, step": replace(UPDATES["step"], late="all"),
    "late, slow": replace(UPDATES["slow"], late="last"),
    "late, readout": replace(UPDATES["segment"], late="readout"),
}
"""They learn from labels that come when their segment is over."""


class Record(NamedTuple):
    """Everything said and done in a run, in order, each with the stream's time in us."""

    bins: list[tuple[int, int]]
    verdicts: list[tuple[int, ScoredSegment]]
    learned: list[int]
    test: PrequentialProtocol

    def of(self, index: int) -> tuple[int, ScoredSegment]:
        """When segment `index` was scored, and how."""
        return next(one for one in self.verdicts if one[1].index == index)


def labels_of(n: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(3, size=n).tolist()


def run(labels: list[int], spec: LearnerSpec = UPDATES["segment"], **protocol: Any) -> Record:
    """Ten bins of 10 ms a segment, end to end; counts do not depend on the labels."""
    learner = StopLearner(NETWORK, spec)
    test = PrequentialProtocol(
        learner, StopLearner(NETWORK, replace(spec, trainable=())), ("a", "b", "c"), **protocol
    )
    record = Record([], [], [], test)
    now = 0
    learn = learner.learn
    learner.learn = lambda label: (record.learned.append(now), learn(label))  # type: ignore
    draw = np.random.default_rng(1)
    for i, label in enumerate(labels):
        test.begin_segment(Segment(i * SEGMENT_US, (i + 1) * SEGMENT_US, label))
        for _ in range(BINS):
            counts = draw.poisson(0.4, (2, 4, 4)).astype(np.int32)
            x = torch.from_numpy(counts)[None].float()
            said, scored = test.step(x, counts, now)
            record.bins.append((now, said))
            record.verdicts.extend((now, v) for v in scored)
            now += BIN_US
        record.verdicts.extend((now, v) for v in test.end_segment(now))
    record.verdicts.extend((now, v) for v in test.close(now))
    return record


def flipped(labels: list[int], i: int) -> list[int]:
    return [*labels[:i], (labels[i] + 1) % 3, *labels[i + 1 :]]


CASES = [
    *((name, decide, None) for name in UPDATES for decide in ("linear", "lda", "auto")),
    *((name, "auto", delay) for name in UPDATES for delay in (0, 45_000, 100_000, 250_000)),
    *((name, "auto", delay) for name in LATE for delay in (100_000, 250_000)),
    ("late, step", "linear", 45_000),
]


@pytest.mark.parametrize(("update", "decide", "delay_us"), CASES)
def test_a_label_changes_nothing_said_before_it_arrives(update, decide, delay_us):
    """Concurrent: nothing up to and with its own segment. Delayed: nothing before its moment,
    and not its own segment's decision."""
    labels, i = labels_of(9), 3
    one, other = (
        run(each, (UPDATES | LATE)[update], decide=decide, delay_us=delay_us)
        for each in (labels, flipped(labels, i))
    )
    arrival = (i + 1) * SEGMENT_US if delay_us is None else i * SEGMENT_US + delay_us
    early = [[b for b in record.bins if b[0] < arrival] for record in (one, other)]
    assert len(early[0]) >= i * BINS
    assert early[0] == early[1]
    for (_, a), (_, b) in zip(one.verdicts, other.verdicts, strict=True):
        if a.index <= i or (a.index + 1) * SEGMENT_US <= arrival:
            assert a.predictions == b.predictions, a.index
            assert np.array_equal(a.rates, b.rates)
            assert np.array_equal(a.frozen_rates, b.frozen_rates)
    # and it is felt in the end
    assert any(
        a.predictions != b.predictions
        for (_, a), (_, b) in zip(one.verdicts, other.verdicts, strict=True)
    )


def test_concurrent_segments_are_scored_at_their_end_and_bins_all_along():
    record = run(labels_of(5))
    assert [(now, v.index) for now, v in record.verdicts] == [
        ((i + 1) * SEGMENT_US, i) for i in range(5)
    ]
    assert record.learned == [BIN_US * k for k in range(5 * BINS)]
    assert record.test.scores.bins.total == 5 * BINS
    assert record.test.scores.tallies["headline"].total == 5
    assert record.test.unscored == 0


def test_a_label_within_its_segment_is_scored_then_and_teaches_the_rest():
    """45 ms after the beginning: five bins tell, the other five are learned."""
    record = run(labels_of(4), delay_us=45_000)
    assert [(now, v.index, v.bins) for now, v in record.verdicts] == [
        (i * SEGMENT_US + 50_000, i, 5) for i in range(4)
    ]
    assert record.learned == [i * SEGMENT_US + k * BIN_US for i in range(4) for k in range(5, BINS)]
    assert record.test.scores.bins.total == 4 * 5  # the bins said before the label came


def test_a_label_after_its_segment_teaches_only_what_keeps_the_segments_features():
    before = StopLearner(NETWORK, UPDATES["segment"]).network.parameters()
    record = run(labels_of(6), delay_us=250_000)
    assert [(now, v.index) for now, v in record.verdicts] == [
        (i * SEGMENT_US + 250_000, i) for i in range(4)
    ]
    assert all(v.bins == BINS for _, v in record.verdicts)
    assert record.learned == []
    after = record.test.learner.network.parameters()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert record.test.learner.lda.counts.sum() == 4
    assert record.test.unscored == 2  # labels still on their way when the stream ended
    assert record.test.scores.bins.total == 6 * BINS


def predictions_of(record: Record, name: str) -> list[int | None]:
    return [v.predictions[name] for _, v in record.verdicts]


@pytest.mark.parametrize("delay_us", [100_000, 150_000, 250_000])
@pytest.mark.parametrize("update", LATE)
def test_a_late_label_moves_no_weights_while_a_segment_is_open(update, delay_us):
    """It comes within another segment, whose bins the linear readout predicts as without it."""
    labels, i = labels_of(9), 3
    one, other = (
        run(each, LATE[update], decide="linear", delay_us=delay_us)
        for each in (labels, flipped(labels, i))
    )
    arrival = i * SEGMENT_US + delay_us
    over = -(-arrival // SEGMENT_US) * SEGMENT_US  # the end of the segment that is open then
    early, late = (
        [[b for b in r.bins if (b[0] < over) == before] for r in (one, other)]
        for before in (True, False)
    )
    assert early[0] == early[1]
    assert late[0] != late[1]  # and it is felt after that


@pytest.mark.parametrize("late", ["readout", "last", "all"])
@pytest.mark.parametrize("update", ["segment", "slow"])
def test_a_label_at_the_end_of_its_segment_teaches_what_it_had_taught_bin_by_bin(update, late):
    """The same protocol but for when the label is here: every later prediction is the same."""
    spec = replace(UPDATES[update], late=late)
    labels = labels_of(12)
    known = run(labels, spec, decide="linear")
    told = run(labels, spec, decide="linear", delay_us=SEGMENT_US)
    assert told.learned == []
    names = {"frozen_features_linear", "frozen_features_lda", "initial_network"}
    names |= {"linear", "lda"} if late == "all" else set()
    for name in sorted(names):
        assert predictions_of(told, name) == predictions_of(known, name), name
    if late == "all":
        assert told.bins == known.bins
        for key, value in known.test.learner.network.parameters().items():
            torch.testing.assert_close(
                told.test.learner.network.parameters()[key], value, rtol=1e-3, atol=1e-4
            )
    assert told.test.unlearned == 0


def test_what_waits_too_long_is_scored_and_counted_as_unlearned():
    """Two segments that are over may wait, and at 450 ms four do."""
    record = run(labels_of(9), LATE["late"], delay_us=450_000)
    assert len(record.verdicts) + record.test.unscored == 9
    assert record.test.unlearned == len(record.verdicts) == 5
    assert record.test.learner.updates == 0
    record = run(labels_of(9), LATE["late"], delay_us=250_000)
    assert (record.test.unlearned, record.test.unscored) == (0, 2)
    assert record.test.learner.updates == len(record.verdicts) == 7


@settings(max_examples=10, deadline=None)
@given(
    delay_us=st.integers(SEGMENT_US, 6 * SEGMENT_US),
    segments=st.integers(1, 8),
    update=st.sampled_from(sorted(LATE)),
)
def test_every_segment_teaches_once_or_is_counted(delay_us, segments, update):
    """Learned, unlearned or without a label: nothing else can happen to it, and no weight moves
    for another reason."""
    record = run(labels_of(segments), LATE[update], delay_us=delay_us)
    test = record.test
    assert test.learner.updates + test.unlearned + test.unscored == segments
    assert int(test.learner.counts.sum()) == test.learner.updates
    assert test.frozen.updates == test.learner.updates
    if delay_us <= (1 + MAX_KEPT) * SEGMENT_US:
        assert test.unlearned == 0


def test_a_label_within_the_last_bin_teaches_nothing_and_is_counted():
    record = run(labels_of(4), LATE["late"], delay_us=95_000)
    assert record.test.unlearned == len(record.verdicts) == 4
    record = run(labels_of(4), LATE["late"], delay_us=85_000)
    assert record.test.unlearned == 0
    assert record.test.learner.updates == 4


def test_a_label_with_the_streams_end_teaches_nothing():
    test = PrequentialProtocol(
        StopLearner(NETWORK, LATE["late"]), None, ("a", "b", "c"), delay_us=SEGMENT_US + BIN_US
    )
    test.begin_segment(Segment(0, SEGMENT_US, 0))
    for j in range(BINS):
        test.step(torch.ones(1, 2, 4, 4), np.ones((2, 4, 4), np.int32), j * BIN_US)
    assert test.end_segment(SEGMENT_US) == []
    assert len(test.close(SEGMENT_US + BIN_US)) == 1
    assert (test.unlearned, test.unscored, test.learner.updates) == (1, 0, 0)


def test_between_segments_a_late_label_moves_the_weights_at_once():
    test = PrequentialProtocol(
        StopLearner(NETWORK, LATE["late"]), None, ("a", "b", "c"), delay_us=SEGMENT_US + BIN_US
    )
    test.begin_segment(Segment(0, SEGMENT_US, 0))
    for j in range(BINS):
        test.step(torch.ones(1, 2, 4, 4), np.ones((2, 4, 4), np.int32), j * BIN_US)
    assert test.end_segment(SEGMENT_US) == []
    assert test.score_arrived(SEGMENT_US) == []
    assert test.learner.updates == 0
    assert [v.index for v in test.score_arrived(SEGMENT_US + BIN_US)] == [0]
    assert (test.learner.updates, test.unlearned) == (1, 0)


def test_segments_scored_when_a_late_label_diverges_are_not_lost():
    spec = replace(LATE["late"], lr=1e9, lr_readout=1e9)
    test = PrequentialProtocol(
        StopLearner(NETWORK, spec), None, ("a", "b", "c"), delay_us=SEGMENT_US + BIN_US
    )
    test.begin_segment(Segment(0, SEGMENT_US, 0))
    for j in range(BINS):
        test.step(torch.ones(1, 2, 4, 4), np.ones((2, 4, 4), np.int32), j * BIN_US)
    test.end_segment(SEGMENT_US)
    with pytest.raises(DivergedError):
        test.score_arrived(SEGMENT_US + BIN_US)
    assert [v.index for v in test.undelivered] == [0]
    assert test.close(SEGMENT_US + BIN_US) == []


def test_with_late_labels_on_random_labels_the_score_is_chance():
    """Two runs of 60 segments: chance is 1/3, its standard deviation 0.043."""
    hits: dict[str, list[bool]] = {}
    for seed in range(2):
        record = run(labels_of(60, seed), LATE["late, step"], delay_us=150_000)
        for _, verdict in record.verdicts:
            for name, answer in verdict.predictions.items():
                hits.setdefault(name, []).append(answer == verdict.segment.label)
    for name, found in hits.items():
        assert np.mean(found) < 1 / 3 + 4 * 0.043, (name, np.mean(found))


def test_no_more_than_256_segments_wait():
    n = MAX_WAITING + 3
    test = PrequentialProtocol(
        StopLearner(NETWORK, UPDATES["segment"]),
        StopLearner(NETWORK, replace(UPDATES["segment"], trainable=())),
        ("a", "b", "c"),
        delay_us=10**12,
    )
    for i in range(n):
        test.begin_segment(Segment(i * BIN_US, (i + 1) * BIN_US, i % 3))
        test.step(torch.ones(1, 2, 4, 4), np.ones((2, 4, 4), np.int32), i * BIN_US)
        assert test.end_segment((i + 1) * BIN_US) == []
        assert len(test._waiting) <= MAX_WAITING
    assert test.unscored == 3
    assert test.close(n * BIN_US) == []
    assert test.unscored == n  # every segment is accounted for
    assert not test.scores.tallies


@pytest.mark.parametrize("delay_us", [None, 0, 45_000, 250_000])
def test_every_segment_is_scored_once_or_counted_as_unscored(delay_us):
    record = run(labels_of(7), delay_us=delay_us)
    indices = [v.index for _, v in record.verdicts]
    assert indices == sorted(set(indices))
    assert len(indices) + record.test.unscored == 7
    assert record.test.scores.confusion.sum() == len(indices)


def test_a_segment_without_bins_is_no_segment_to_score():
    test = run(labels_of(2)).test
    test.begin_segment(Segment(0, 1, 0))
    assert test.end_segment(10**9) == []
    assert test.loss is None
    assert test.scores.tallies["headline"].total == 2


def test_rivals_answer_before_they_learn():
    """No-change and majority have known answers; all but the networks are silent at first."""
    labels = [1, 1, 2, 2, 2, 0]
    said = [v.predictions for _, v in run(labels).verdicts]
    assert [s["no_change"] for s in said] == [None, 1, 1, 2, 2, 2]
    assert [s["majority"] for s in said] == [None, 1, 1, 1, 1, 2]
    assert said[0]["softmax_counts"] is None
    assert said[0]["lda_counts"] is None
    assert said[1]["lda_counts"] == said[1]["lda"] == said[1]["frozen_features_lda"] == 1
    assert said[0]["initial_network"] is not None


@pytest.mark.parametrize("decide", ["linear", "lda"])
def test_decide_names_the_readout(decide):
    for _, verdict in run(labels_of(8), decide=decide).verdicts:
        assert verdict.predictions["headline"] == verdict.predictions[decide]


def test_auto_follows_the_better_record_so_far():
    record = run(labels_of(30, seed=2), UPDATES["step"], decide="auto")
    hits = {"linear": 0, "lda": 0}
    chosen = set()
    for _, verdict in record.verdicts:
        better = "linear" if hits["linear"] > hits["lda"] else "lda"
        chosen.add(better)
        assert verdict.predictions["headline"] == verdict.predictions[better]
        for name in hits:
            hits[name] += verdict.predictions[name] == verdict.segment.label
    assert chosen == {"linear", "lda"}


def test_the_frozen_twin_moves_its_readout_alone():
    record = run(labels_of(5))
    untouched = StopLearner(NETWORK, UPDATES["segment"]).network.parameters()
    frozen = record.test.frozen.network.parameters()
    moved = {name for name in frozen if not torch.equal(frozen[name], untouched[name])}
    assert moved == {"readout.weight", "readout.bias"}
    moved = record.test.learner.network.parameters()
    assert not all(torch.equal(moved[name], untouched[name]) for name in moved)


def test_on_random_labels_every_honest_maker_scores_chance():
    """Three runs of 60 segments: chance is 1/3, its standard deviation 0.035."""
    hits: dict[str, list[bool]] = {}
    for seed in range(3):
        for _, verdict in run(labels_of(60, seed), UPDATES["step"]).verdicts:
            for name, answer in verdict.predictions.items():
                hits.setdefault(name, []).append(answer == verdict.segment.label)
    assert len(hits) == 10
    for name, found in hits.items():
        assert np.mean(found) < 1 / 3 + 4 * 0.035, (name, np.mean(found))
