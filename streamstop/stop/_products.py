"""The products of one layer's synapses: W x, and the gradients of W and of x.

Dense products are torch's; the convolution of an input that is mostly zeros is numba's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_input, conv2d_weight

from streamstop.stop import _kernels as kernels

SPARSE_CHANNELS = 4
"""Inputs of more channels are spikes of a layer, and dense enough for a dense product."""


class Geometry(NamedTuple):
    """Shape of a convolution, or of a linear map, whose input is a plane of 1x1.

    in_shape : (channels, height, width).
    """

    in_shape: tuple[int, int, int]
    kernel: int
    stride: int
    pad: int
    groups: int
    linear: bool

    @property
    def out_plane(self) -> tuple[int, int]:
        """Rows and columns of the output."""
        high, wide = (
            (side + 2 * self.pad - self.kernel) // self.stride + 1 for side in self.in_shape[1:]
        )
        return high, wide

    @property
    def fits_sparse(self) -> bool:
        """Whether `SparseProduct` computes such a convolution, and is likely to be faster."""
        return (
            not self.linear
            and self.stride == self.groups == 1
            and self.in_shape[0] <= SPARSE_CHANNELS
        )


def multiply(geometry: Geometry, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    r"""W x + b of x (batch, \*in_shape): (batch, out, \*out_plane)."""
    if geometry.linear:
        flat = weight.view(weight.shape[:2])
        return functional.linear(x.view(len(x), -1), flat, bias)[:, :, None, None]
    return functional.conv2d(x, weight, bias, geometry.stride, geometry.pad, groups=geometry.groups)


def multiply_in(
    dtype: torch.dtype, geometry: Geometry, x: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    """The same with the product alone computed in `dtype`."""
    made = multiply(geometry, x.to(dtype), weight.to(dtype), None).to(weight.dtype)
    return made if bias is None else made.add_(bias.view(1, -1, 1, 1))


def add_gradients(
    geometry: Geometry,
    delta: Tensor,
    trace: Tensor,
    weight: Tensor,
    sums: Tensor | None,
    need_input: bool,
    dtype: torch.dtype | None,
) -> Tensor | None:
    r"""Add the weight gradient delta (x) trace to `sums`, if given; the input's error, if needed.

    delta : error of the current, (batch, out, \*out_plane).  trace : (batch, \*in_shape).
    dtype : in which the products are computed; None for that of the weights.
    """
    learns, own = sums is not None, weight.dtype
    if dtype is not None:
        delta, trace, weight = (t.to(dtype) for t in (delta, trace, weight))
    down: Tensor | None = None
    if geometry.linear:
        flat = delta.reshape(len(delta), -1)
        if sums is not None:
            sums = sums.view(sums.shape[:2])
            if dtype is None:
                sums.addmm_(flat.T, trace.view(len(trace), -1))
            else:
                sums.add_(flat.T @ trace.view(len(trace), -1))
        if need_input:
            down = (flat @ weight.view(weight.shape[:2])).view(len(delta), *geometry.in_shape)
    elif learns or need_input:
        down, d_weight, _ = torch.ops.aten.convolution_backward(
            delta,
            trace,
            weight,
            None,
            [geometry.stride, geometry.stride],
            [geometry.pad, geometry.pad],
            [1, 1],
            False,
            [0, 0],
            geometry.groups,
            [need_input, learns, False],
        )
        if sums is not None:
            sums.add_(d_weight)
    return down if down is None or dtype is None else down.to(own)


def add_gradients_apart(
    geometry: Geometry,
    delta: Tensor,
    trace: Tensor,
    weight: Tensor,
    sums: Tensor | None,
    need_input: bool,
) -> Tensor | None:
    r"""The gradients of one bin for several errors of its current, each added to sums of its own.

    delta : (errors, out, \*out_plane).  trace : (1, \*in_shape).  sums : (errors, \*weight.shape).

    All errors have the one trace, so that they are one product, with so many times the outputs.
    Returns the errors of the input, (errors, \*in_shape), or None if not needed.
    """
    errors = len(delta)
    if geometry.linear:
        flat = delta.reshape(errors, -1)
        if sums is not None:
            sums.view(flat.numel(), -1).addr_(flat.flatten(), trace.flatten())
        down = (flat @ weight.view(weight.shape[:2])) if need_input else None
        return None if down is None else down.view(errors, *geometry.in_shape)
    stride, pad, groups = geometry.stride, geometry.pad, geometry.groups
    if sums is not None and groups == 1:
        patches = functional.unfold(trace.contiguous(), geometry.kernel, 1, pad, stride)[0]
        outputs = errors * delta.shape[1]
        sums.view(outputs, -1).addmm_(delta.reshape(outputs, -1), patches.T)
    elif sums is not None:
        # Outputs of a group stay together: group by group, in each error after error.
        of_groups = delta.unflatten(1, (groups, -1)).transpose(0, 1)
        stacked = of_groups.reshape(1, -1, *delta.shape[2:])
        size = (stacked.shape[1], *weight.shape[1:])
        made = conv2d_weight(trace, size, stacked, stride, pad, 1, groups)
        found = made.view(groups, errors, -1, *weight.shape[1:]).transpose(0, 1)
        sums.add_(found.reshape(sums.shape))
    if not need_input:
        return None
    size = (errors, *geometry.in_shape)
    found_input: Tensor = conv2d_input(size, weight, delta, stride, pad, 1, groups)
    return found_input


class SparseProduct:
    """The same for one bin of a stream, mostly zeros, on a CPU: what is zero is passed over.

    Needs `Geometry.fits_sparse`.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self._patches: Tensor | None = None
        self.refresh()

    def refresh(self) -> None:
        """Take up weights that moved."""
        self._weight_rows: NDArray[Any] | None = None

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        r"""W x + b of x (bins, \*in_shape): (bins, out, \*out_plane)."""
        if self._weight_rows is None:
            self._weight_rows = weight.permute(2, 3, 1, 0).contiguous().numpy()
        size = (x.shape[0], *self.geometry.out_plane, bias.shape[0])
        out = torch.empty(size, dtype=bias.dtype)
        convolve = kernels.convolve_sparse()
        convolve(x.numpy(), self._weight_rows, bias.numpy(), self.geometry.pad, out.numpy())
        return out.permute(0, 3, 1, 2)

    def add_weight_gradient(self, delta: Tensor, trace: Tensor, sums: Tensor) -> None:
        """Add delta (x) trace to `sums`: one matrix product of patches and errors."""
        (bins, outputs), kernel = delta.shape[:2], self.geometry.kernel
        if self._patches is None or self._patches.shape[3] != bins:
            size = (kernel, kernel, self.geometry.in_shape[0], bins, *self.geometry.out_plane)
            self._patches = delta.new_zeros(size)
        kernels.patches()(trace.numpy(), self.geometry.pad, self._patches.numpy())
        rows = delta.permute(0, 2, 3, 1).reshape(-1, outputs)
        made = self._patches.view(-1, len(rows)) @ rows
        sums.add_(made.view(kernel, kernel, -1, outputs).permute(3, 2, 0, 1))
