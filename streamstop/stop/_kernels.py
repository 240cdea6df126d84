"""Fused CPU kernels: the neuron's step and its backward pass, pooling, batch normalisation.

A membrane, a spike, two eligibility traces and a surrogate are a dozen torch operations, each a
pass over memory with some microseconds of overhead; here they are one. Compiled by numba on first
use, one thread; nothing is cached on disk, since numba's cache is made of pickles.

Guarantees: the arithmetic of `streamstop.stop.neuron` (soft reset) and of `SpikingLayer.backward`,
to rounding; the tests compare the two.

Symbols are the paper's: u is the membrane potential, s the spikes, e_theta and e_leak the traces.
Arrays are rows of a plane with the channels innermost: (rows, width * channels), which is how a
tensor in `channels_last` format lies in memory. Values per channel come repeated along the row, so
that the inner loop is long and the same for every sharing of thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Kernel = Callable[..., None]


def channels_last(tensor: Tensor) -> Tensor:
    """The same, the second of four axes innermost in memory: what CPUs convolve fastest."""
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def rows(tensor: Tensor) -> NDArray[Any]:
    """(batch, channels, height, width) as (batch * height, width * channels), for the kernels."""
    batch, channels, high, wide = tensor.shape
    return tensor.permute(0, 2, 3, 1).contiguous().numpy().reshape(batch * high, wide * channels)


def _compiled(function: Callable[..., None]) -> Kernel:
    # Imported here, so that commands that run no network do not wait for it.
    import numba

    kernel: Kernel = numba.njit(fastmath={"contract", "nsz", "arcp"}, error_model="numpy")(function)
    return kernel


@cache
def advance(dtype: type) -> Kernel:
    """Bins of a population that learns: membrane, spike, eligibility traces, in place.

    The kernel takes (u, s, e_theta, e_leak, current, theta, leak, carry, bins, kept): arrays
    (rows, n) but for theta (n,), and two scalars, all of one type; carry is 1, or 0 for traces that
    keep nothing. current is (bins * rows, n), or (rows, n) where it is the same in every bin. kept
    is four arrays (bins * rows, n), for what the first four are after each bin, or None.
    """
    zero, one = dtype(0), dtype(1)

    def kernel(  # type: ignore[no-untyped-def]
        u, s, e_theta, e_leak, current, theta, leak, carry, bins, kept
    ):
        decay = leak * carry
        rows, n = u.shape
        step = rows if current.shape[0] > rows else 0
        for r in range(rows):  # a row stays in the cache while its bins pass
            for j in range(bins):
                now = current[j * step + r]
                for i in range(n):
                    past = u[r, i] - theta[i] * s[r, i]
                    e_theta[r, i] = decay * (e_theta[r, i] - s[r, i])
                    e_leak[r, i] = decay * e_leak[r, i] + past
                    u[r, i] = leak * past + now[i]
                    s[r, i] = one if u[r, i] >= theta[i] else zero
                if kept is not None:
                    k = j * rows + r
                    for i in range(n):
                        kept[0][k, i] = u[r, i]
                    for i in range(n):
                        kept[1][k, i] = s[r, i]
                    for i in range(n):
                        kept[2][k, i] = e_theta[r, i]
                    for i in range(n):
                        kept[3][k, i] = e_leak[r, i]

    return _compiled(kernel)


@cache
def advance_untraced(dtype: type) -> Kernel:
    """One bin of a population that does not learn: (u, s, current, theta, leak) as in `advance`."""
    zero, one = dtype(0), dtype(1)

    def kernel(u, s, current, theta, leak):  # type: ignore[no-untyped-def]
        for r in range(u.shape[0]):
            for i in range(u.shape[1]):
                now = leak * (u[r, i] - theta[i] * s[r, i]) + current[r, i]
                u[r, i] = now
                s[r, i] = one if now >= theta[i] else zero

    return _compiled(kernel)


@cache
def convolve_sparse() -> Kernel:
    """The current of a convolution whose input is mostly zeros: (x, weight, bias, pad, out).

    x : (bins, channels, height, width).  weight : (kernel, kernel, channels, outputs).  out :
    (bins, rows, columns, outputs).  Only what is not zero is looked at, and all its outputs at
    once.
    """

    def kernel(x, weight, bias, pad, out):  # type: ignore[no-untyped-def]
        bins, rows, columns, outputs = out.shape
        for b in range(bins):
            for r in range(rows):
                for c in range(columns):
                    for o in range(outputs):
                        out[b, r, c, o] = bias[o]
            for i in range(x.shape[1]):
                for y in range(x.shape[2]):
                    for z in range(x.shape[3]):
                        value = x[b, i, y, z]
                        if value == 0:
                            continue
                        for dy in range(weight.shape[0]):
                            r = y + pad - dy
                            if r < 0 or r >= rows:
                                continue
                            for dz in range(weight.shape[1]):
                                c = z + pad - dz
                                if c >= 0 and c < columns:
                                    for o in range(outputs):
                                        out[b, r, c, o] += value * weight[dy, dz, i, o]

    return _compiled(kernel)


@cache
def patches() -> Kernel:
    """What the outputs of such a convolution see: (x, pad, out).

    x : (bins, channels, height, width).  out : (kernel, kernel, channels, bins, rows, columns),
    zeros at first where the window leaves the input.
    """

    def kernel(x, pad, out):  # type: ignore[no-untyped-def]
        bins, rows, columns = out.shape[3:]
        for dy in range(out.shape[0]):
            for dz in range(out.shape[1]):
                first, last = max(0, pad - dz), min(columns, x.shape[3] + pad - dz)
                for i in range(out.shape[2]):
                    for b in range(bins):
                        for r in range(max(0, pad - dy), min(rows, x.shape[2] + pad - dy)):
                            for c in range(first, last):
                                out[dy, dz, i, b, r, c] = x[b, i, r + dy - pad, c + dz - pad]

    return _compiled(kernel)


@cache
def pool() -> Kernel:
    """Average pooling of spikes: (s, out, high, by, channels, mean).

    s : (samples * high, width * channels).  out : (samples * (high // by), (width // by) *
    channels).  mean : 1 / by**2.  Rows and columns that fill no window are left out.
    """

    def kernel(s, out, high, by, channels, mean):  # type: ignore[no-untyped-def]
        rows = high // by
        width = out.shape[1] // channels
        line = np.empty(s.shape[1], s.dtype)
        for r in range(out.shape[0]):
            first = (r // rows) * high + (r % rows) * by
            for i in range(line.shape[0]):
                line[i] = s[first, i]
            for j in range(1, by):
                for i in range(line.shape[0]):
                    line[i] += s[first + j, i]
            for x in range(width):
                for c in range(channels):
                    out[r, x * channels + c] = line[x * by * channels + c]
                for j in range(1, by):
                    for c in range(channels):
                        out[r, x * channels + c] += line[(x * by + j) * channels + c]
            for i in range(out.shape[1]):
                out[r, i] *= mean

    return _compiled(kernel)


@cache
def moments() -> Kernel:
    """Sums over rows: (y, sums), y (rows, n); sums (2, n) gain y and y squared."""

    def kernel(y, sums):  # type: ignore[no-untyped-def]
        for r in range(y.shape[0]):
            for i in range(y.shape[1]):
                sums[0, i] += y[r, i]
                sums[1, i] += y[r, i] * y[r, i]

    return _compiled(kernel)


@cache
def normalise() -> Kernel:
    """Batch normalisation with its trace: (y, mean, by, scale, bias, kept, trace, out).

    y becomes (y - mean) * by; trace becomes kept * trace + y; out = y * scale + bias. Arrays
    (rows, n), what belongs to channels (n,).
    """

    def kernel(y, mean, by, scale, bias, kept, trace, out):  # type: ignore[no-untyped-def]
        for r in range(y.shape[0]):
            for i in range(y.shape[1]):
                seen = (y[r, i] - mean[i]) * by[i]
                y[r, i] = seen
                trace[r, i] = kept * trace[r, i] + seen
                out[r, i] = seen * scale[i] + bias[i]

    return _compiled(kernel)


@cache
def normalised_sums() -> Kernel:
    """What its backward pass needs of a batch: (delta, seen, trace, sums).

    sums (3, n) gain delta, delta * seen and delta * trace, over rows.
    """

    def kernel(delta, seen, trace, sums):  # type: ignore[no-untyped-def]
        for r in range(delta.shape[0]):
            for i in range(delta.shape[1]):
                d = delta[r, i]
                sums[0, i] += d
                sums[1, i] += d * seen[r, i]
                sums[2, i] += d * trace[r, i]

    return _compiled(kernel)


@cache
def normalised_error() -> Kernel:
    """Its backward pass: (delta, seen, mean, along, by, out): out = (delta - mean - seen * along) *
    by, all as in `normalise`.
    """

    def kernel(delta, seen, mean, along, by, out):  # type: ignore[no-untyped-def]
        for r in range(delta.shape[0]):
            for i in range(delta.shape[1]):
                out[r, i] = (delta[r, i] - mean[i] - seen[r, i] * along[i]) * by[i]

    return _compiled(kernel)


@cache
def backward(dtype: type, surrogate: str) -> Kernel:
    """The error of a population's (pooled) spikes, times the surrogate; and what it adds to sums.

    The kernel takes (g, u, e_theta, e_leak, e_bias, theta, high, by, channels, mean, delta, sums):
    g (rows of the pooled plane) is spread evenly over pooling windows of `by`, as in `pool`; delta
    = g * phi(u - theta); over the rows, sums (3, n) gain delta * e_bias, delta * (e_theta - 1) and
    delta * e_leak. e_bias is (bins,), a number for each of the bins that the rows are of.
    """
    one = dtype(1)
    phi = _phi(dtype, surrogate)

    def kernel(  # type: ignore[no-untyped-def]
        g, u, e_theta, e_leak, e_bias, theta, high, by, channels, mean, delta, sums
    ):
        rows = high // by
        width = g.shape[1] // channels
        of_bin = u.shape[0] // e_bias.shape[0]
        line = np.zeros(u.shape[1], u.dtype)
        for r in range(u.shape[0]):
            y = (r % high) // by
            if r % high % by == 0:
                if y < rows:
                    source = (r // high) * rows + y
                    for x in range(width):
                        for j in range(by):
                            for c in range(channels):
                                line[(x * by + j) * channels + c] = (
                                    g[source, x * channels + c] * mean
                                )
                else:
                    line[:] = 0
            of_bias = e_bias[r // of_bin]
            for i in range(u.shape[1]):
                d = line[i] * phi(u[r, i] - theta[i])
                delta[r, i] = d
                sums[0, i] += d * of_bias
                sums[1, i] += d * (e_theta[r, i] - one)
                sums[2, i] += d * e_leak[r, i]

    return _compiled(kernel)


def _phi(dtype: type, surrogate: str) -> Any:
    """The surrogate derivative of one number, for the compiler to put in place."""
    import numba

    inline = numba.njit(inline="always")
    exp = inline(_exp_of_minus(dtype))
    zero, half, one, four, pi = (dtype(x) for x in (0.0, 0.5, 1.0, 4.0, np.pi))

    def exponential(v: Any) -> Any:
        return exp(abs(v))

    def triangle(v: Any) -> Any:
        return max(zero, one - abs(v))

    def sigmoid(v: Any) -> Any:
        e = exp(four * abs(v))
        return four * e / ((one + e) * (one + e))

    def arctan(v: Any) -> Any:
        x = pi * v
        return one / (one + x * x)

    def rectangle(v: Any) -> Any:
        return one if abs(v) < half else zero

    made = {f.__name__: f for f in (exponential, triangle, sigmoid, arctan, rectangle)}
    return inline(made[surrogate])


EXP_RANGE = 24.0
"""In float32 a surrogate's exponent is cut here: exp(-24) is 4e-11."""


def _exp_of_minus(dtype: type) -> Any:
    """exp(-a) for a >= 0: the library's in float64; in float32 one that the compiler vectorises.

    That is a polynomial for exp(-a / 32), taken to the 32nd power by squaring: within 6e-6 of the
    truth, relative, which is far within what a surrogate means.
    """
    if dtype is np.float64:
        return lambda a: np.exp(-a)
    most, step, middle = dtype(EXP_RANGE), dtype(1 / 32), dtype(EXP_RANGE / 64)
    coefficients = [np.exp(-EXP_RANGE / 64) / math.factorial(k) for k in range(9)]
    c0, c1, c2, c3, c4, c5, c6, c7, c8 = (dtype(c) for c in coefficients)

    def exp(a: Any) -> Any:
        x = middle - min(a, most) * step
        p = c7 + x * c8
        p = c5 + x * (c6 + x * p)
        p = c3 + x * (c4 + x * p)
        p = c1 + x * (c2 + x * p)
        p = c0 + x * p
        p = p * p
        p = p * p
        p = p * p
        p = p * p
        return p * p

    return exp
