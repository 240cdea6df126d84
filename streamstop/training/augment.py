"""Random augmentation of training samples, one batch at a time.

Guarantees:

- The batch, the settings and the generator's state alone determine the result, on any number of
  processes.
- All channels and time bins of a sample are changed alike.
- What moves in from beyond the edges is zero: black, or no events.

Shifts by whole pixels, flips and cutouts keep the bytes as they are; everything else interpolates
bilinearly, once for all changes, and gives float32 in the same range.

Does not: look at labels. Whether a mirrored gesture is still the same class is for the recipe.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from streamstop.config.training import AugmentConfig


@torch.no_grad()
def augment(x: Tensor, config: AugmentConfig, draw: torch.Generator) -> Tensor:
    """A batch, each sample changed as drawn; `x` itself where nothing is configured.

    x : uint8 or float, (batch, ..., height, width); it is not written to.
    draw : a generator of the CPU, wherever `x` lies.

    Returns a tensor of x's shape: of its type where only `shift`, `flip` and `cutout` are on, else
    float32.

    >>> x = torch.arange(4, dtype=torch.uint8).view(1, 1, 2, 2)
    >>> augment(x, AugmentConfig(), torch.Generator()) is x
    True
    """
    planes = x.reshape(len(x), -1, *x.shape[-2:])
    if config.max_rotation or config.scale or config.max_shear or config.elastic:
        planes = _warped(planes.float(), config, draw)
    elif config.max_shift or config.horizontal_flip:
        planes = _moved(planes, config, draw)
    if config.cutout:
        planes = _masked(planes, config.cutout, draw)
    return x if planes.data_ptr() == x.data_ptr() else planes.view(x.shape)


def _moved(x: Tensor, config: AugmentConfig, draw: torch.Generator) -> Tensor:
    """Each sample moved by whole pixels, then perhaps mirrored."""
    high, wide = x.shape[-2:]
    by = min(config.max_shift, high, wide)
    moved = torch.zeros_like(x)
    moves = torch.randint(-by, by + 1, (len(x), 2), generator=draw).tolist()
    for i, (dy, dx) in enumerate(moves):
        rows, columns = slice(max(dy, 0), high + min(dy, 0)), slice(max(dx, 0), wide + min(dx, 0))
        above, left = slice(max(-dy, 0), high - max(dy, 0)), slice(max(-dx, 0), wide - max(dx, 0))
        moved[i, :, rows, columns] = x[i, :, above, left]
    if config.horizontal_flip:
        mirrored = (torch.rand(len(x), generator=draw) < 0.5).to(x.device)
        moved = torch.where(mirrored[:, None, None, None], moved.flip(-1), moved)
    return moved


def _warped(x: Tensor, config: AugmentConfig, draw: torch.Generator) -> Tensor:
    """Each sample read at the places that its matrix and its displacements say."""
    high, wide = x.shape[-2:]
    grid = affine_grid(
        _matrices(len(x), high, wide, config, draw).to(x.device),
        [len(x), 1, high, wide],
        align_corners=False,
    )
    if config.elastic:
        moves = _displacements(len(x), high, wide, config, draw).to(x.device)
        grid.add_(moves.permute(0, 2, 3, 1))
    return grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _matrices(
    samples: int, high: int, wide: int, config: AugmentConfig, draw: torch.Generator
) -> Tensor:
    """Where each pixel of the result is read, (samples, 2, 3), as `affine_grid` has it.

    Seen from the picture: turned, sheared along its rows, made larger, mirrored, then moved. Each
    is drawn evenly from both sides alike, so its inverse may be drawn in its place.
    """
    angle, shear, zoom, down, right = torch.rand(5, samples, generator=draw).mul_(2).sub_(1)
    angle, shear = (
        angle * math.radians(config.max_rotation),
        shear * math.radians(config.max_shear),
    )
    mirror = torch.ones(samples)
    if config.horizontal_flip:
        mirror[torch.rand(samples, generator=draw) < 0.5] = -1.0
    zoom = 1.0 / (1.0 + zoom * config.scale)
    cos, sin, slope = angle.cos() * zoom, angle.sin() * zoom, shear.tan()
    made = torch.empty(samples, 2, 3)
    # Rotation after shear: (x, y) -> (x + slope * y, y), then turned; in pixels, so that a picture
    # that is not square is not squeezed.
    made[:, 0, 0] = cos * mirror
    made[:, 0, 1] = (cos * slope - sin) * (high / wide)
    made[:, 1, 0] = sin * mirror * (wide / high)
    made[:, 1, 1] = sin * slope + cos
    made[:, 0, 2] = right * (2 * config.max_shift / wide)
    made[:, 1, 2] = down * (2 * config.max_shift / high)
    return made


def _displacements(
    samples: int, high: int, wide: int, config: AugmentConfig, draw: torch.Generator
) -> Tensor:
    """A smooth random field, (samples, 2, high, wide): how much further right and down to read.

    Gaussian bumps on a coarse grid, with weights such that each displacement has mean 0 and
    standard deviation `elastic` pixels everywhere (Simard, Steinkraus, Platt 2003, sampled
    coarsely): two products of small matrices a sample.
    """
    rows, columns = _bumps(high, config.elastic_sigma), _bumps(wide, config.elastic_sigma)
    shape = (samples, 2, rows.shape[1], columns.shape[1])
    field = rows @ torch.randn(shape, generator=draw) @ columns.T
    return field.mul_(torch.tensor([2 / wide, 2 / high]).view(2, 1, 1) * config.elastic)


def _bumps(pixels: int, sigma: float) -> Tensor:
    """Weights (pixels, bumps) of bumps every `sigma` pixels, two beyond each edge, of norm 1."""
    centres = torch.arange(-2 * sigma, pixels + 2 * sigma, sigma)
    off = (torch.arange(pixels).unsqueeze(1) - centres) / sigma
    weights = off.square().mul_(-0.5).exp_()
    return weights.div_(torch.linalg.vector_norm(weights, dim=1, keepdim=True))


def _masked(x: Tensor, side: int, draw: torch.Generator) -> Tensor:
    """A square of zeros in each sample, its centre drawn evenly (DeVries and Taylor 2017)."""
    high, wide = x.shape[-2:]
    keep = []
    for pixels in (high, wide):
        first = torch.randint(pixels, (len(x), 1), generator=draw) - side // 2
        place = torch.arange(pixels)
        keep.append((place < first) | (place >= first + side))
    return x * (keep[0].unsqueeze(2) | keep[1].unsqueeze(1)).unsqueeze(1).to(x.device)
