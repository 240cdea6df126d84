"""Checks of a learner: the promises that an honest score relies on, each a function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamstop.evaluation.prequential import LateLearner, Learner

BINS = 6
"""Bins of each segment that a check feeds."""

Shape = tuple[int, int, int]


def check_learner(make: Callable[[], Learner], input_shape: Shape = (2, 8, 8)) -> None:
    """Test whether a learner keeps what an honest score relies on.

    Parameters
    ----------
    make : callable
        Makes a new learner, the same one each time, of two classes or more.
    input_shape : tuple of int
        (2, height, width) of its input.

    Raises
    ------
    AssertionError
        With what is wrong, at the first promise that is not kept.

    Examples
    --------
    >>> from streamstop.learning.factory import build_learner
    >>> check_learner(lambda: build_learner(2, input_shape=(2, 8, 8)))
    """
    for check in (
        check_predictions_are_log_probabilities,
        check_it_is_reproducible,
        check_it_predicts_before_it_learns,
        check_a_segments_label_does_not_touch_its_prediction,
        check_it_is_causal,
        check_a_late_label_does_not_touch_the_open_segment,
        check_its_state_is_bounded,
    ):
        check(make, input_shape)


def check_predictions_are_log_probabilities(make: Callable[[], Learner], shape: Shape) -> None:
    """`predict` returns log-probabilities of all classes, which may be -inf."""
    learner = make()
    classes = len(learner.class_names)
    learner.begin_segment()
    for x in _bins(shape, 0):
        found = np.asarray(learner.predict(x, trace=False).log_probs)
        assert found.shape == (classes,), f"log_probs has shape {found.shape}, not ({classes},)"
        total = float(np.exp(found).sum())
        assert abs(total - 1.0) < 1e-3, f"the probabilities sum to {total}"


def check_it_is_reproducible(make: Callable[[], Learner], shape: Shape) -> None:
    """Two learners made alike predict alike, whatever they learn."""
    one, other = (_run(make(), shape, [0, 1, 0]) for _ in range(2))
    assert np.array_equal(one, other), "two learners made alike predicted differently"


def check_it_predicts_before_it_learns(make: Callable[[], Learner], shape: Shape) -> None:
    """What is predicted of a bin does not depend on that bin's label."""
    found = []
    for label in (0, 1):
        learner = make()
        learner.begin_segment()
        prediction = learner.predict(_bins(shape, 0)[0], trace=True)
        learner.learn(label)
        found.append(np.array(prediction.log_probs))
    assert np.array_equal(found[0], found[1]), "a bin's prediction depended on its label"


def check_a_segments_label_does_not_touch_its_prediction(
    make: Callable[[], Learner], shape: Shape
) -> None:
    """`predict_segment` is the same whatever label the segment was taught with."""
    found = []
    for label in (0, 1):
        learner = make()
        _run(learner, shape, [0, 1])
        learner.begin_segment()
        for x in _bins(shape, 7):
            learner.predict(x, trace=True)
            learner.learn(label)
        found.append(np.array(learner.predict_segment().linear))
    assert np.array_equal(found[0], found[1]), (
        "the prediction of a segment depended on the label it was taught with: predict with the "
        "weights of the segment's beginning"
    )


def check_it_is_causal(make: Callable[[], Learner], shape: Shape) -> None:
    """A prediction depends on nothing that comes after it."""
    first, second = _run(make(), shape, [0, 1, 0]), _run(make(), shape, [0, 1, 1])
    known = 2 * BINS + 1  # the first two segments, and the first bin of the third
    assert np.array_equal(first[:known], second[:known]), "a prediction depended on what came later"


def check_a_late_label_does_not_touch_the_open_segment(
    make: Callable[[], Learner], shape: Shape
) -> None:
    """A label that comes when the next segment is open changes none of its predictions.

    Only of a `LateLearner` that learns from such labels.
    """
    found = []
    for label in (0, 1):
        learner = make()
        if not isinstance(learner, LateLearner) or not learner.learns_late:
            return
        learner.begin_segment()
        for x in _bins(shape, 0):
            learner.predict(x, trace=True)
            number = learner.await_label()
        learner.end_segment()
        learner.begin_segment()
        assert learner.learn_late(label, number), "the label of the segment before taught nothing"
        found.append([np.array(learner.predict(x, trace=True).log_probs) for x in _bins(shape, 1)])
    assert np.array_equal(found[0], found[1]), (
        "a late label changed predictions of a segment that was open: move weights when it ends"
    )


def check_its_state_is_bounded(make: Callable[[], Learner], shape: Shape) -> None:
    """`state_bytes` does not grow with the stream."""
    learner = make()
    _run(learner, shape, [0, 1])
    before = learner.state_bytes()
    _run(learner, shape, [0, 1] * 10)
    after = learner.state_bytes()
    assert after <= before, f"its state grew from {before} to {after} bytes in 20 segments"


def _bins(shape: Shape, seed: int) -> list[Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.rand((1, *shape), generator=draw) * 2 for _ in range(BINS)]


def _run(learner: Learner, shape: Shape, labels: list[int]) -> NDArray[np.float64]:
    """The log-probabilities of every bin of labelled segments, (bins, classes)."""
    found = []
    for number, label in enumerate(labels):
        learner.begin_segment()
        for x in _bins(shape, number):
            found.append(np.array(learner.predict(x, trace=True).log_probs))
            learner.learn(label)
        rates = learner.predict_segment().rates
        learner.end_segment()
        learner.update_lda(rates, label)
    return np.array(found)
