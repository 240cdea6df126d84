"""Moving patterns: what a direction changes, and that counts and single bins know nothing of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from streamstop.datasets.samples import Samples
from streamstop.errors import UsageError
from streamstop.evaluation.baselines import LDAOnCounts, log_counts
from streamstop.simulation.moving_patterns import DIRECTIONS, MovingParams, moving_patterns

CLEAN = MovingParams(fires=1.0, noise=0.0)


def test_shapes_types_and_as_many_of_each_direction() -> None:
    made = moving_patterns(203, 1, MovingParams(steps=7, side=11))
    assert made.x.shape == (203, 7, 2, 11, 11)
    assert (made.x.dtype, made.y.dtype) == (torch.uint8, torch.int64)
    assert set(made.x.unique().tolist()) == {0, 1}
    assert made.classes == DIRECTIONS
    often = torch.bincount(made.y, minlength=8)
    assert int(often.max() - often.min()) <= 1


def test_the_seed_decides() -> None:
    one, again, other = (moving_patterns(40, seed) for seed in (3, 3, 4))
    assert torch.equal(one.x, again.x) and torch.equal(one.y, again.y)
    assert not torch.equal(one.x, other.x) and not torch.equal(one.y, other.y)


def test_the_opposite_direction_is_the_sample_backwards() -> None:
    one = moving_patterns(64, 5, CLEAN)
    opposite = moving_patterns(64, 5, CLEAN, directions=(one.y.numpy() + 4) % 8)
    assert torch.equal(opposite.x, one.x.flip(1))
    assert torch.equal(opposite.x.sum(1), one.x.sum(1))  # counts cannot tell
    assert not torch.equal(opposite.x, one.x)


@pytest.mark.parametrize("number", range(8))
def test_a_pattern_goes_where_its_name_says(number: int) -> None:
    one = CLEAN._replace(pattern=1, speed=(1.0, 1.0), steps=5, side=9)
    made = moving_patterns(20, 2, one, directions=np.full(20, number))
    at = made.x.sum(2).flatten(2).argmax(2)
    rows, columns = at // 9, at % 9
    assert (made.x.sum((2, 3, 4)) == 1).all()
    moved = [
        ((later - first + 4) % 9) - 4
        for first, later in ((rows[:, 0], rows[:, 4]), (columns[:, 0], columns[:, 4]))
    ]
    name = DIRECTIONS[number]
    down, right = ("down" in name) - ("up" in name), ("right" in name) - ("left" in name)
    # Four steps at one cell a bin; a diagonal's part in each axis is 2.8, rounded at both ends.
    reach = 4 if not (down and right) else 2.8
    assert (moved[0] - down * reach).abs().max() <= (1 if down else 0)
    assert (moved[1] - right * reach).abs().max() <= (1 if right else 0)


def test_one_polarity_a_sample_and_both_are_common() -> None:
    made = moving_patterns(200, 6, CLEAN)
    lit = made.x.sum((1, 3, 4)) > 0
    assert (lit.sum(1) == 1).all()
    assert 70 < int(lit[:, 0].sum()) < 130


def test_failures_and_noise_come_at_their_rates() -> None:
    noise = moving_patterns(100, 7, MovingParams(fires=0.0, noise=0.02)).x.float().mean()
    assert float(noise) == pytest.approx(0.02, rel=0.05)
    whole, some = (moving_patterns(100, 7, CLEAN._replace(fires=f)).x.sum() for f in (1.0, 0.4))
    assert float(some / whole) == pytest.approx(0.4, rel=0.05)


def test_linear_discriminants_of_counts_and_of_a_single_bin_are_at_chance() -> None:
    train, test = moving_patterns(1500, 8), moving_patterns(1000, 9)

    def right(train_x: torch.Tensor, test_x: torch.Tensor) -> float:
        lda = LDAOnCounts(8, 0.2)
        for x, label in zip(train_x, train.y.tolist(), strict=True):
            lda.learn(log_counts(x.long().numpy()), label)
        predicted = [lda.predict(log_counts(x.long().numpy())) for x in test_x]
        return float(np.mean(np.array(predicted) == test.y.numpy()))

    # Chance is 0.125, and its standard error on 1,000 samples 0.0105.
    assert right(train.x.sum(1), test.x.sum(1)) < 0.17
    assert right(train.x[:, 8], test.x[:, 8]) < 0.17


def test_the_direction_is_there_to_be_seen() -> None:
    """Bins shifted against each other match best in the direction of the movement."""
    made = moving_patterns(300, 10, CLEAN._replace(speed=(1.0, 1.0)))
    x = made.x.float()
    angles = torch.arange(8) * (torch.pi / 4)
    score = []
    for angle in angles:
        down, right = round(2 * float(angle.sin())), round(2 * float(angle.cos()))
        later = x[:, 2:].roll((-down, -right), (3, 4))
        score.append((x[:, :-2] * later).sum((1, 2, 3, 4)))
    right_ones = (torch.stack(score).argmax(0) == made.y).float().mean()
    assert float(right_ones) > 0.6


def test_a_pattern_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="does not fit"):
        moving_patterns(1, 0, MovingParams(side=3, pattern=4))


def test_samples_are_samples() -> None:
    assert isinstance(moving_patterns(2, 0), Samples)
