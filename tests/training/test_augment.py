"""Augmentation: exact moves keep bytes, warps do what their names say, all bins move alike."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from streamstop.config.training import AugmentConfig
from streamstop.training.augment import augment

OFF = AugmentConfig()
WARPED = AugmentConfig(
    max_shift=2,
    max_rotation=20,
    scale=0.1,
    max_shear=10,
    elastic=1.0,
    horizontal_flip=True,
    cutout=3,
)


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blob(y: float, x: float, n: int = 200, size: int = 33) -> Tensor:
    """A small bright spot, (n, 1, size, size), `y` and `x` pixels from the middle."""
    place = torch.arange(size) - size // 2
    rows, columns = (place - y).square().unsqueeze(1), (place - x).square()
    spot = (200 * torch.exp(-(rows + columns) / 8)).round()
    return spot.to(torch.uint8).expand(n, 1, size, size)


def centres(x: Tensor) -> Tensor:
    """The centre of mass, (n, 2), as (y, x) from the middle."""
    mass, place = x.double().sum(1), torch.arange(x.shape[-1], dtype=torch.float64)
    place -= x.shape[-1] // 2
    whole = mass.sum((1, 2))
    return torch.stack([mass.sum(2) @ place / whole, mass.sum(1) @ place / whole], 1)


def test_nothing_configured_is_the_batch_itself() -> None:
    x = blob(0, 0)
    assert augment(x, OFF, draw()) is x


def test_a_shift_moves_and_brings_in_zeros() -> None:
    x = torch.ones(50, 1, 5, 5, dtype=torch.uint8)
    moved = augment(x, replace(OFF, max_shift=2), draw())
    assert moved.dtype == torch.uint8
    assert set(moved.sum((1, 2, 3)).tolist()) <= {a * b for a in (3, 4, 5) for b in (3, 4, 5)}
    assert len(set(moved.sum((1, 2, 3)).tolist())) > 3
    assert augment(x, replace(OFF, max_shift=60), draw()).shape == x.shape


def test_shifts_reach_each_place_alike() -> None:
    off = centres(augment(blob(0, 0, 3000), replace(OFF, max_shift=3), draw())).round()
    for axis in (0, 1):
        often = torch.bincount((off[:, axis] + 3).long(), minlength=7)
        assert len(often) == 7 and often.min() > 0.8 * 3000 / 7


def test_one_half_is_mirrored() -> None:
    x = torch.randint(0, 256, (400, 3, 4, 6), dtype=torch.uint8, generator=draw())
    made = augment(x, replace(OFF, horizontal_flip=True), draw(1))
    mirrored = (made == x.flip(-1)).flatten(1).all(1)
    assert ((made == x).flatten(1).all(1) ^ mirrored).all()
    assert 160 < int(mirrored.sum()) < 240


def test_a_cutout_is_a_square_of_zeros() -> None:
    x = torch.full((300, 2, 9, 9), 7, dtype=torch.uint8)
    made = augment(x, replace(OFF, cutout=4), draw())
    lost = (made == 0).sum((2, 3))
    assert torch.equal(lost[:, 0], lost[:, 1]) and made.max() == 7
    sides = range(2, 5)  # cut by an edge, at least half of it is seen
    assert set(lost[:, 0].tolist()) <= {a * b for a in sides for b in sides}
    assert int(lost.max()) == 16
    assert (made.double().mean((0, 1)) < 7).all()  # each place is lost at some time


def test_turning_keeps_the_distance_and_the_angle_below_its_bound() -> None:
    off = centres(augment(blob(0, 9), replace(OFF, max_rotation=30), draw()))
    assert (off.norm(dim=1) - 9).abs().max() < 0.15
    angles = torch.atan2(off[:, 0], off[:, 1]).rad2deg()
    assert 25 < float(angles.max()) < 31 and -31 < float(angles.min()) < -25


def test_scaling_moves_along_the_ray() -> None:
    off = centres(augment(blob(-6, 6), replace(OFF, scale=0.2), draw()))
    assert (off[:, 0] + off[:, 1]).abs().max() < 0.1
    assert 4.7 < float(off[:, 1].min()) < 5.1 and 6.9 < float(off[:, 1].max()) < 7.5


def test_shearing_moves_along_rows() -> None:
    off = centres(augment(blob(8, 0), replace(OFF, max_shear=30), draw()))
    assert (off[:, 0] - 8).abs().max() < 0.15
    assert 3.5 < float(off[:, 1].max()) < 4.8 and -4.8 < float(off[:, 1].min()) < -3.5


def test_elastic_displacements_have_the_deviation_that_is_asked_for_and_are_smooth() -> None:
    ramp = torch.arange(40.0).mul(5).expand(300, 1, 40, 40)
    made = augment(ramp, replace(OFF, elastic=1.5, elastic_sigma=5.0), draw())
    moved = ((made - ramp) / 5)[:, 0, 8:-8, 8:-8]
    assert float(moved.std()) == pytest.approx(1.5, rel=0.05)
    assert abs(float(moved.mean())) < 0.2
    # Neighbours move together: the correlation at distance d is exp(-d^2 / 4 sigma^2).
    step = moved.diff(dim=-1).square().mean() / moved.square().mean()
    assert float(step) == pytest.approx(2 * (1 - 0.990), rel=0.15)


def test_a_plane_that_is_not_square_is_turned_not_squeezed() -> None:
    x = torch.zeros(1, 1, 21, 41)
    x[:, :, 10, 10:31] = 1.0  # a bar of 21 pixels along the long side
    bar = augment(x.expand(400, 1, 21, 41), replace(OFF, max_rotation=90), draw())
    upright = bar[:, 0, :, 18:23].sum((1, 2))  # what of it lies within 2 pixels of the short axis
    assert float(upright.max()) == pytest.approx(21, abs=1.5)


def test_all_bins_and_channels_move_alike() -> None:
    one = torch.randint(0, 9, (6, 1, 1, 20, 20), dtype=torch.uint8, generator=draw())
    x = one.expand(6, 5, 2, 20, 20)
    made = augment(x, WARPED, draw())
    assert made.shape == x.shape and made.dtype == torch.float32
    assert torch.equal(made, made[:, :1, :1].expand_as(made))
    assert len({tuple(sample.flatten().tolist()) for sample in made[:, 0, 0]}) == 6


@pytest.mark.parametrize(
    "config", [replace(OFF, max_shift=2, horizontal_flip=True, cutout=2), WARPED]
)
def test_the_generator_alone_decides_and_the_batch_is_left_alone(config: AugmentConfig) -> None:
    x = torch.randint(0, 256, (8, 2, 3, 12, 12), dtype=torch.uint8, generator=draw())
    before = x.clone()
    torch.manual_seed(1)
    first = augment(x, config, draw(5))
    torch.manual_seed(2)
    assert torch.equal(first, augment(x, config, draw(5)))
    assert not torch.equal(first, augment(x, config, draw(6)))
    assert torch.equal(x, before) and float(first.min()) >= 0 and float(first.max()) <= 255
