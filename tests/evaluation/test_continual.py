"""Figures from matrices worked out by hand; testing that leaves everything as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from streamstop.evaluation.baselines import make_baselines
from streamstop.evaluation.continual import (
    AccuracyMatrix,
    HeldOutSet,
    average_accuracy,
    backward_transfer,
    forgetting,
    forward_transfer,
    frozen_copy,
)
from streamstop.events.binning import Bin, Binner
from streamstop.events.labels import LabelTrack, Segment
from streamstop.events.packet import Packet, SensorSize, make_events
from streamstop.learning.learner import LearnerSpec, StopLearner
from streamstop.sources.base import Source
from streamstop.stop.layer import LayerSpec
from streamstop.stop.network import NetworkSpec

# Three tasks, each once, in turn.
R = np.array([[0.9, 0.3, 0.1], [0.7, 0.8, 0.2], [0.4, 0.9, 0.6]])
TAUGHT = [0, 1, 2]


def test_figures_of_a_square_matrix() -> None:
    assert average_accuracy(R) == pytest.approx((0.4 + 0.9 + 0.6) / 3)
    assert backward_transfer(R, TAUGHT) == pytest.approx(((0.4 - 0.9) + (0.9 - 0.8)) / 2)
    before = np.array([0.5, 0.25, 0.05])
    gained = ((0.3 - 0.25) + (0.2 - 0.05)) / 2
    assert forward_transfer(R, before, TAUGHT) == pytest.approx(gained)
    # The second task was never better than at the end before: 0.8 then, 0.9 now: less than none.
    assert forgetting(R, TAUGHT) == pytest.approx(((0.9 - 0.4) + (0.8 - 0.9)) / 2)


def test_tasks_in_another_order_than_their_numbers() -> None:
    taught = [2, 0, 1]
    assert backward_transfer(R, taught) == pytest.approx(((0.6 - 0.1) + (0.4 - 0.7)) / 2)
    before = np.zeros(3)
    assert forward_transfer(R, before, taught) == pytest.approx((0.9 + 0.8) / 2)
    assert forgetting(R, taught) == pytest.approx(((0.2 - 0.6) + (0.9 - 0.4)) / 2)


def test_recurring_tasks() -> None:
    """A B A B: what B lost is none of its business at the end, as it was learned last."""
    r = np.array([[0.9, 0.2], [0.5, 0.8], [0.95, 0.6], [0.7, 0.85]])
    taught = [0, 1, 0, 1]
    assert average_accuracy(r) == pytest.approx(0.775)
    assert backward_transfer(r, taught) == pytest.approx(0.7 - 0.9)
    assert forgetting(r, taught) == pytest.approx(0.95 - 0.7)
    assert forward_transfer(r, np.array([0.5, 0.1]), taught) == pytest.approx(0.2 - 0.1)


def test_a_single_task_has_no_transfer() -> None:
    r = np.array([[0.9]])
    assert average_accuracy(r) == 0.9
    assert backward_transfer(r, [0]) is forgetting(r, [0]) is None
    assert forward_transfer(r, np.zeros(1), [0]) is None


def test_a_task_without_segments_is_left_out_of_the_figures() -> None:
    found = AccuracyMatrix(("a", "b", "c"), before={"linear": np.array([0.5, np.nan, 0.25])})
    rows = ([0.9, np.nan, 0.3], [0.8, np.nan, 0.4], [0.6, np.nan, 1.0])
    for task, row in zip("abc", rows, strict=True):
        found.add(task, {"linear": np.array(row)})
    said = found.as_dict()
    figures = said["makers"]["linear"]
    assert said["taught"] == [0, 1, 2]
    assert figures["before"] == [0.5, None, 0.25]
    assert figures["r"][1] == [0.8, None, 0.4]
    assert figures["average_accuracy"] == pytest.approx(0.8)
    assert figures["backward_transfer"] == pytest.approx(0.6 - 0.9)
    assert figures["forgetting"] == pytest.approx(0.9 - 0.6)
    assert figures["forward_transfer"] == pytest.approx(0.3 - 0.25)


NETWORK = NetworkSpec((2, 8, 8), (LayerSpec("conv", 4), LayerSpec("conv", 6)), 3)
SENSOR = SensorSize(8, 8)
SEGMENT_US, BIN_US = 50_000, 10_000


class Squares:
    """Nine segments; of class k, events in the k-th third of the rows. The last bin is empty."""

    name = format = "squares"
    live = simulated = False
    sensor, origin_us = SENSOR, 0
    notes = ()

    def __init__(self, until: int = 9) -> None:
        self.labels: LabelTrack | None = LabelTrack(
            ("a", "b", "c"),
            [Segment(i * SEGMENT_US, (i + 1) * SEGMENT_US, i % 3) for i in range(until)],
        )
        self.read = 0

    def __iter__(self) -> Iterator[Packet]:
        self.read += 1
        draw = np.random.default_rng(0)
        assert self.labels is not None
        for one in self.labels:
            t = one.start_us + np.sort(draw.integers(0, SEGMENT_US - BIN_US, 150))
            y = 3 * one.label + draw.integers(0, 2, 150)
            events = make_events(t, draw.integers(0, 8, 150), y, draw.random(150) < 0.5)
            yield Packet(events, until_us=one.end_us)

    def __enter__(self) -> Squares:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def binner(source: Source) -> Binner:
    return Binner(source.sensor, bin_us=BIN_US, height=8, width=8, origin_us=0)


def encode(one: Bin) -> torch.Tensor:
    return torch.log1p(torch.from_numpy(one.counts)[None].float())


def taught(spec: LearnerSpec, segments: int = 30) -> StopLearner:
    """A learner after some segments of the squares."""
    learner = StopLearner(NETWORK, spec)
    bins = binner(Squares())
    found = [one for packet in Squares() for one in bins.push(packet.events)]
    for i in range(segments):
        label = i % 3
        learner.begin_segment()
        for one in found[5 * label : 5 * label + 4]:
            learner.predict(encode(one), trace=True)
            learner.learn(label)
        rates = learner.predict_segment().rates
        learner.end_segment()
        learner.update_lda(rates, label)
    return learner


def state(learner: StopLearner) -> list[NDArray[np.float64]]:
    values = [*learner.network.parameters().values(), *learner.network.grads.values()]
    values += learner.inference_network.parameters().values()
    arrays = [value.numpy().copy() for value in values]
    known = [learner.counts.copy(), learner.lda.means.copy(), learner.lda.scatter.copy()]
    return [*arrays, *known, learner.firing_rates()]


def held_out(tasks: list[int]) -> HeldOutSet:
    return HeldOutSet(Squares(len(tasks)), tasks, binner, encode, [0, 1, 2])


def decide(said: Mapping[str, int | None]) -> str:
    return "lda"


SPECS = [
    LearnerSpec(lr=1e-3),
    LearnerSpec(lr=1e-3, update="step"),
    LearnerSpec(lr=1e-3, ema_decay=0.9),
    LearnerSpec(lr=1e-3, rule="bptt"),
]


@pytest.mark.parametrize("spec", SPECS, ids=["segment", "step", "slow", "bptt"])
def test_a_test_touches_nothing_and_is_repeatable(spec: LearnerSpec) -> None:
    learner = taught(spec)
    # In the midst of a segment, with gradients gathered.
    learner.begin_segment()
    learner.predict(torch.ones(1, 2, 8, 8), trace=True)
    learner.learn(1)
    rivals = make_baselines(3)
    before = state(learner)
    held = held_out([0, 1, 2] * 3)
    found = [held.evaluate({"linear": learner}, rivals, decide, 3) for _ in range(2)]
    for old, new in zip(before, state(learner), strict=True):
        assert np.array_equal(old, new)
    assert found[0].keys() == found[1].keys()
    for name, row in found[0].items():
        assert np.array_equal(row, found[1][name]), name
    assert np.array_equal(found[0]["headline"], found[0]["lda"])


def test_a_copy_answers_as_the_deciding_network_does() -> None:
    for spec in SPECS:
        learner = taught(spec)
        copy = frozen_copy(learner)
        for one in (learner, copy):
            one.begin_segment()
        for level in (0.5, 1.0, 2.0):
            x = torch.full((1, 2, 8, 8), level)
            one, other = (n.predict(x, trace=False).log_probs for n in (learner, copy))
            assert np.array_equal(one, other)
        assert np.array_equal(learner.predict_segment().lda, copy.predict_segment().lda)


def test_a_copy_answers_among_the_classes_that_were_taught() -> None:
    copy = frozen_copy(taught(LearnerSpec(lr=1e-3, loss_classes="seen"), segments=2))
    copy.begin_segment()
    said = copy.predict(torch.ones(1, 2, 8, 8), trace=False).log_probs
    assert np.isfinite(said).tolist() == [True, True, False]


def test_accuracies_go_to_their_tasks_and_to_whoever_knows() -> None:
    learner, fresh = (
        taught(LearnerSpec(lr=1e-3, lr_readout=5e-2)),
        StopLearner(NETWORK, LearnerSpec(trainable=())),
    )
    rivals = make_baselines(3)
    held = held_out([0, 1, 1, 0, 1, 1, 0, 1, 1])
    found = held.evaluate({"linear": learner, "frozen_features_linear": fresh}, rivals, decide, 3)
    assert set(found) == {
        *("linear", "lda", "frozen_features_linear", "frozen_features_lda", "headline"),
        *("no_change", "majority", "softmax_counts", "lda_counts"),
    }
    assert found["lda"][:2].tolist() == found["linear"][:2].tolist() == [1.0, 1.0]
    assert np.isnan(found["lda"][2])
    # One that says the same of everything is right of class a always, or of one of two of the rest.
    assert found["frozen_features_lda"][:2].tolist() == [1.0, 0.0]
    assert found["majority"][:2].tolist() == [0.0, 0.0]
    assert isinstance(held.source, Squares) and held.source.read == 1
