"""The fused kernels and the torch path are one arithmetic; the fast exponential is what it says."""

from __future__ import annotations

import copy
from typing import NamedTuple

import numpy as np
import pytest
import torch
from helpers.nets import Case, build, inputs, stop_grads
from helpers.neuron_by_hand import BY_HAND
from torch import Tensor

from streamstop.stop import _kernels as kernels
from streamstop.stop.layer import LayerSpec, NeuronSpec, SpikingLayer, Threshold
from streamstop.stop.neuron import SURROGATES
from streamstop.stop.traces import Traces

KINKS = {"rectangle": (-0.5, 0.0, 0.5)}
"""Of u - theta, where a rounding changes more than last digits; 0, where spikes begin, always."""

CLEARANCE = 2e-5
"""How far u - theta stays from a kink in float32: some twenty roundings of it."""

LIMIT = {torch.float32: 4e-5, torch.float64: 1e-12}
"""Largest difference, as a share of the largest entry; ten times what the exponential may err."""

PLANES = {
    "no pooling": ((3, 5, 4), LayerSpec("conv", 5)),
    "average 2": ((2, 6, 4), LayerSpec("conv", 3, pool=2)),
    "average 2, a row and a column left": ((1, 5, 7), LayerSpec("conv", 4, pool=2)),
    "average 3, rows left": ((3, 8, 7), LayerSpec("conv", 5, kernel=1, pool=3)),
    "maximum 2": ((2, 7, 6), LayerSpec("conv", 3, pool=2, pooling="max")),
    "one channel": ((2, 6, 5), LayerSpec("conv", 1, kernel=1, stride=2)),
    "linear": ((3, 3, 2), LayerSpec("linear", 7)),
    "one neuron": ((1, 2, 2), LayerSpec("linear", 1)),
}


class Seen(NamedTuple):
    """What a layer did of a sequence: every bin's spikes, membranes, output, errors; its sums."""

    spikes: Tensor
    membranes: Tensor
    e_theta: Tensor
    e_leak: Tensor
    out: Tensor
    delta: Tensor
    grads: dict[str, Tensor]


def drive(layer: SpikingLayer, x: Tensor, g: Tensor, traces: Traces) -> Seen:
    """Forward and, where there are traces, backward through bins x with errors g."""
    layer.reset_state(x.shape[1])
    grads = {name: torch.zeros_like(value) for name, value in layer.parameters().items()}
    rows: list[tuple[Tensor, ...]] = []
    for now, error in zip(x, g, strict=True):
        out = layer.forward(now, traces).clone()
        delta = layer.error(error, grads) if traces != "none" else torch.zeros(())
        state = layer.state
        rows.append((state.spikes, state.v, state.trace_theta, state.trace_leak, out, delta))
        rows[-1] = tuple(t.clone() for t in rows[-1])
    layer.flush_pending(grads)
    return Seen(*(torch.stack(column) for column in zip(*rows, strict=True)), grads)


def pair(
    shape: tuple[int, int, int],
    spec: LayerSpec,
    surrogate: str,
    dtype: torch.dtype,
    threshold: Threshold,
) -> tuple[SpikingLayer, SpikingLayer]:
    """A layer on kernels, and its like on torch; thresholds and biases uneven."""
    neuron = NeuronSpec(
        leak_init=0.85, init_gain=2.0, surrogate=surrogate, threshold_sharing=threshold
    )
    draw = torch.Generator().manual_seed(1)
    fused = SpikingLayer(spec, shape, neuron, draw, dtype)
    fused.log_theta.copy_(torch.rand(fused.log_theta.shape, generator=draw) * 0.8 - 0.6)
    fused.bias.copy_(torch.rand(fused.bias.shape, generator=draw) * 0.3)
    fused.refresh()
    plain = copy.deepcopy(fused)
    plain.fused = False
    plain.refresh()
    return fused, plain


def clear_of_kinks(seen: Seen, layer: SpikingLayer) -> bool:
    gaps = seen.membranes - layer.theta
    kinks = KINKS.get(layer.neuron.surrogate, (0.0,))
    return all(float((gaps - kink).abs().min()) > CLEARANCE for kink in kinks)


def alike(one: Tensor, other: Tensor, limit: float) -> bool:
    return float((one - other).abs().max()) <= limit * max(float(other.abs().max()), 1.0)


@pytest.mark.parametrize("dtype", LIMIT, ids=str)
@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize(("shape", "spec"), PLANES.values(), ids=PLANES.keys())
def test_kernels_and_torch_do_the_same(shape, spec, surrogate, dtype):
    """Spikes equal, all else to rounding: batch 1 and 3, with every kind of traces, thresholds of a
    channel and of the layer."""
    cases = [(1, "stop", "channel"), (3, "stop", "layer"), (3, "sltt", "channel")]
    for batch, traces, threshold in [*cases, (1, "none", "channel")]:
        fused, plain = pair(shape, spec, surrogate, dtype, threshold)
        for seed in range(50):
            draw = torch.Generator().manual_seed(seed)
            x = torch.rand((9, batch, *shape), generator=draw).to(dtype)
            g = torch.randn((9, batch, *plain.out_shape), generator=draw).to(dtype)
            theirs = drive(plain, x, g, traces)
            if clear_of_kinks(theirs, plain):
                break
        else:
            raise AssertionError("no draw is clear of the kinks")
        ours = drive(fused, x, g, traces)
        assert fused._on_kernels
        assert not plain._on_kernels
        assert torch.equal(ours.spikes, theirs.spikes)
        assert 0.02 < float(ours.spikes.mean()) < 0.98
        for name, one, other in zip(Seen._fields[1:-1], ours[1:-1], theirs[1:-1], strict=True):
            assert alike(one, other, LIMIT[dtype]), name
        for name, grad in ours.grads.items():
            assert alike(grad, theirs.grads[name], LIMIT[dtype]), name
            assert traces == "none" or name == "weight" or bool(grad.any()), name


@pytest.mark.parametrize("spec", [LayerSpec("conv", 3, pool=2), LayerSpec("linear", 5)], ids=str)
def test_rows_and_columns_that_the_pooling_left_out_get_no_error(spec):
    fused, _ = pair((2, 5, 5), spec, "exponential", torch.float64, "channel")
    fused.reset_state(2)
    fused.forward(torch.ones(2, 2, 5, 5, dtype=torch.float64), "stop")
    delta = fused.error(torch.ones(2, *fused.out_shape, dtype=torch.float64), {})
    kept = [n * spec.pool for n in fused.out_shape[1:]]
    assert bool(delta[:, :, : kept[0], : kept[1]].all())
    assert not delta[:, :, kept[0] :].any()
    assert not delta[:, :, :, kept[1] :].any()


@pytest.mark.parametrize("number", [np.float32, np.float64])
def test_one_neuron_by_hand(number):
    """The numbers of `test_lif`, exact in binary, in both types; without traces too."""
    u, s, e_theta, e_leak = (np.zeros((1, 1), number) for _ in range(4))
    still, silent = np.zeros((1, 1), number), np.zeros((1, 1), number)
    theta, leak, one = np.ones(1, number), number(0.5), number(1.0)
    for current, *wanted, _ in BY_HAND:
        now = np.full((1, 1), current, number)
        kernels.advance(number)(u, s, e_theta, e_leak, now, theta, leak, one, 1, None)
        kernels.advance_untraced(number)(still, silent, now, theta, leak)
        assert [float(a[0, 0]) for a in (u, s, e_theta, e_leak)] == wanted
        assert (still, silent) == (u, s)


@pytest.mark.parametrize("number", [np.float32, np.float64])
def test_all_bins_of_one_neuron_in_one_call(number):
    """The same numbers, each bin's kept in its place, the last bin's in the state."""
    count = len(BY_HAND)
    state, kept = (tuple(np.zeros((n, 1), number) for _ in range(4)) for n in (1, count))
    currents = np.array([current for current, *_ in BY_HAND], number)[:, None]
    half, one = number(0.5), number(1.0)
    kernels.advance(number)(*state, currents, np.ones(1, number), half, one, count, kept)
    wanted = [row[1:-1] for row in BY_HAND]
    assert np.hstack(kept).tolist() == [list(row) for row in wanted]
    assert [float(a[0, 0]) for a in state] == list(wanted[-1])


def surrogate_of(gaps: np.ndarray) -> np.ndarray:
    """exp(-|u - theta|) as the compiled kernel has it, in float32."""
    u, still = gaps[None].astype(np.float32), np.zeros((1, len(gaps)), np.float32)
    delta, sums, one = np.empty_like(u), np.zeros((3, len(gaps)), np.float32), np.float32(1)
    backward = kernels.backward(np.float32, "exponential")
    e_bias, theta = still[0, :1], still[0]
    backward(np.ones_like(u), u, still, still, e_bias, theta, 1, 1, 1, one, delta, sums)
    return delta[0].astype(np.float64)


def test_the_fast_exponential_is_within_6e_6_and_flat_beyond_its_range():
    """On either side of the threshold, relative to the truth."""
    a = np.linspace(0, kernels.EXP_RANGE, 400_001).astype(np.float32)
    for sign in (1, -1):
        found = surrogate_of(sign * a)
        assert np.abs(found * np.exp(a.astype(np.float64)) - 1).max() < 6e-6
    beyond = surrogate_of(np.array([25, -100, 1e30, np.inf]))
    assert set(beyond.tolist()) == {float(found[-1])}
    assert 0 < beyond[0] < 1e-10


def test_where_kernels_cannot_be_torch_steps_in():
    shape, spec = (2, 4, 4), LayerSpec("conv", 3)
    kinds = {"soft": True, "hard": False}
    for reset, fused in kinds.items():
        neuron = NeuronSpec(reset=reset)  # type: ignore[arg-type]
        layer = SpikingLayer(spec, shape, neuron, torch.Generator(), torch.float32)
        assert layer._on_kernels == fused
    neuron = NeuronSpec(threshold_sharing="neuron")
    assert not SpikingLayer(spec, shape, neuron, torch.Generator(), torch.float32)._on_kernels


def test_a_deep_network_learns_the_same_on_either_path():
    """Through pooling, a stride, a block and the global average, to 1e-12."""
    layers = (
        LayerSpec("conv", 5, pool=2),
        LayerSpec("block", 6, stride=2, residual="membrane"),
        LayerSpec("block", 6),
        LayerSpec("conv", 3, pool=2, pooling="max"),
    )
    case = Case((2, 13, 11), layers, average=True)
    x, labels = inputs(case)
    network = build(case)
    ours = stop_grads(network, x, labels)
    for layer in network.layers:
        assert layer._on_kernels
        layer.fused = False
    theirs = stop_grads(network, x, labels)
    assert not any(layer._on_kernels for layer in network.layers)
    for name, grad in ours.items():
        torch.testing.assert_close(grad, theirs[name], rtol=1e-12, atol=1e-12)


def test_a_channel_first_input_or_error_is_taken_as_it_is_meant():
    """Rows are made of whatever layout comes, an expanded one too."""
    fused, plain = pair((3, 5, 4), LayerSpec("conv", 5), "triangle", torch.float64, "channel")
    draw = torch.Generator().manual_seed(3)
    x = torch.rand((4, 2, 3, 5, 4), generator=draw, dtype=torch.float64)
    g = torch.randn((4, 2, 5, 1, 1), generator=draw, dtype=torch.float64).expand(4, 2, 5, 5, 4)
    ours, theirs = drive(fused, x, g, "stop"), drive(plain, x, g.contiguous(), "stop")
    torch.testing.assert_close(ours.delta, theirs.delta, rtol=1e-12, atol=1e-12)
    rolled = x.to(memory_format=torch.contiguous_format).permute(0, 1, 3, 4, 2).contiguous()
    again = drive(fused, rolled.permute(0, 1, 4, 2, 3), g, "stop")
    torch.testing.assert_close(again.delta, ours.delta, rtol=1e-12, atol=1e-12)
