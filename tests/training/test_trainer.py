"""The trainer alone: its schedule, its averages, its scores, and what an epoch depends on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from streamstop.config.training import LearningConfig, TrainConfig
from streamstop.datasets.samples import Samples
from streamstop.errors import DivergedError
from streamstop.training.trainer import Score, Trainer


def made(n: int = 24, classes: int = 3) -> Samples:
    """Noisy 8x8 images with a bright row whose place is the class."""
    draw = np.random.default_rng(0)
    y = np.arange(n) % classes
    x = draw.integers(0, 60, (n, 1, 8, 8))
    x[np.arange(n), 0, 1 + 2 * y] += 190
    return Samples(torch.from_numpy(x.astype(np.uint8)), torch.from_numpy(y), ("0", "1", "2"))


def trainer(samples: Samples | None = None, seed: int = 0, **train: Any) -> Trainer:
    base = TrainConfig()
    config = TrainConfig(
        network=type(base.network)(channels=(4,)),
        train=LearningConfig(**{"batch_size": 8, "epochs": 4, "lr": 0.01, **train}),
        run=type(base.run)(seed=seed),
    )
    return Trainer(config, samples or made(), 3)


def test_the_rate_rises_over_the_warm_up_and_falls_as_a_cosine() -> None:
    one = trainer(warmup_epochs=1.0)
    assert (one.updates(1), one.updates(4)) == (3, 12)
    assert [one.lr_factor(i) for i in range(3)] == pytest.approx([0.25, 0.5, 0.75])
    assert one.lr_factor(3) == 1.0
    middle = 3 + 9 / 2
    assert one.lr_factor(int(middle)) > 0.5 > one.lr_factor(int(middle) + 1)
    assert one.lr_factor(12) == pytest.approx(0.0, abs=1e-12)
    factors = [one.lr_factor(i) for i in range(3, 12)]
    assert factors == sorted(factors, reverse=True)
    assert trainer().lr_factor(0) == 1.0


def test_each_kind_of_parameter_moves_by_its_own_rate_and_weights_alone_decay() -> None:
    one = trainer(lr=0.1, lr_threshold=0.02, lr_leak=0.003, weight_decay=0.5)
    rates = {
        id(value): (group["peak"], group["weight_decay"])
        for group in one._optimizer.param_groups
        for value in group["params"]
    }
    found = {name: rates[id(value)] for name, value in one.trainable().items()}
    assert found["conv1.weight"] == found["readout.weight"] == (0.1, 0.5)
    assert found["conv1.bias"] == (0.1, 0.0)
    assert found["conv1.log_theta"] == (0.02, 0.0)
    assert found["conv1.leak_logit"] == (0.003, 0.0)


def test_what_is_not_trainable_stays_as_it_is() -> None:
    one = trainer(trainable=("weights",))
    before = {name: value.clone() for name, value in one.network.parameters().items()}
    one.epoch(0)
    moved = {k for k, v in one.network.parameters().items() if not torch.equal(v, before[k])}
    assert moved == {"conv1.weight", "conv1.bias", "readout.weight", "readout.bias"}


def test_an_epoch_depends_on_seed_and_number_alone() -> None:
    first, same, other = trainer(), trainer(), trainer(seed=1)
    assert first.epoch(0) == same.epoch(0) != other.epoch(0)
    for name, value in first.network.parameters().items():
        assert torch.equal(value, same.network.parameters()[name]), name


def test_a_state_that_is_restored_goes_on_as_the_one_that_gave_it() -> None:
    first, second = trainer(ema_decay=0.5), trainer(ema_decay=0.5)
    first.epoch(0)
    second.restore({name: value.clone() for name, value in first.state().items()})
    assert first.epoch(1) == second.epoch(1)
    with first.ema_network() as one, second.ema_network() as other:
        for name, value in one.parameters().items():
            assert torch.equal(value, other.parameters()[name]), name
    with pytest.raises(KeyError):
        second.restore({})


def test_the_averaged_network_is_lent_and_given_back() -> None:
    one = trainer(ema_decay=0.9)
    one.epoch(0)
    own = {name: value.clone() for name, value in one.network.parameters().items()}
    with one.ema_network() as network:
        assert not torch.equal(network.parameters()["conv1.weight"], own["conv1.weight"])
    assert all(torch.equal(v, own[k]) for k, v in one.network.parameters().items())
    plain = trainer()
    with plain.ema_network() as network:
        assert network is plain.network


def test_progress_and_score_count_every_sample_once() -> None:
    seen: list[int] = []
    loss, score = trainer(made(21)).epoch(0, seen.append)
    assert seen == [8, 8, 5]
    assert score.samples == 21 and 0 <= score.correct <= 21
    assert 0.0 < loss < 10.0
    assert Score(3, 4).accuracy == 0.75


def test_a_loss_that_is_not_finite_ends_the_epoch() -> None:
    one = trainer()
    one.network.parameters()["readout.bias"].fill_(math.nan)
    with pytest.raises(DivergedError, match="epoch 3"):
        one.epoch(2)


def test_firing_rates_are_square_roots_of_means_over_steps() -> None:
    one = trainer()
    samples = made(5)
    rates = one.firing_rates(samples, one.network)
    assert rates.shape[0] == 5 and rates.dtype == np.float64
    assert rates.min() >= 0.0 and 0.0 < rates.max() <= 1.0
    alone = one.firing_rates(samples.subset(np.array([3])), one.network)
    np.testing.assert_allclose(alone[0], rates[3], rtol=1e-6)
