"""One neuron, followed on paper."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.neuron_by_hand import BY_HAND

from streamstop.stop.neuron import SURROGATES, LIFState, lif_step_
from streamstop.stop.traces import Traces


def rest(*shape: int) -> LIFState:
    return LIFState.zeros(shape, torch.float64, torch.device("cpu"), "soft")


def run(
    currents: list[float], leak: float, theta: float, traces: Traces = "stop"
) -> list[list[float]]:
    state, seen = rest(1, 1), []
    for current in currents:
        now = torch.full((1, 1), current, dtype=torch.float64)
        lif_step_(state, now, torch.tensor(leak), torch.tensor(theta), traces)
        seen.append([float(tensor) for tensor in state])
    return seen


def test_by_hand():
    assert run([row[0] for row in BY_HAND], 0.5, 1.0) == [list(row[1:]) for row in BY_HAND]


def test_without_traces_membrane_and_spikes_are_the_same():
    seen = run([row[0] for row in BY_HAND], 0.5, 1.0, traces=False)
    assert seen == [[u, s, 0.0, 0.0, 0.0] for _, u, s, *_ in BY_HAND]


def test_reset_takes_the_threshold_and_its_share_decays():
    """After u = 2 over 0.75 the next is (2 - 0.75) / 2, not 2 / 2 - 0.75, not 0."""
    (u, s, *_), (after, *_) = run([2.0, 0.0], 0.5, 0.75)
    assert (u, s) == (2.0, 1.0)
    assert after == 0.625


def test_just_below_threshold_is_silent():
    assert [row[1] for row in run([math.nextafter(1.0, 0.0)], 0.5, 1.0)] == [0.0]
    assert [row[1] for row in run([1.0], 0.5, 1.0)] == [1.0]


def test_neurons_channels_and_samples_do_not_mix():
    """A population with a threshold per channel does what its neurons do one by one."""
    draw = torch.Generator().manual_seed(0)
    currents = torch.rand((20, 2, 3, 2, 2), generator=draw, dtype=torch.float64)
    theta = torch.tensor([0.5, 1.0, 1.5], dtype=torch.float64).view(1, 3, 1, 1)
    leak = torch.tensor(0.8, dtype=torch.float64)
    together = rest(2, 3, 2, 2)
    for current in currents:
        lif_step_(together, current, leak, theta, "stop")
    for where in ((0, 0, 0, 0), (0, 2, 1, 0), (1, 1, 0, 1)):
        alone = rest(1, 1)
        for current in currents:
            lif_step_(alone, current[where].view(1, 1), leak, theta[0, where[1]].view(1), "stop")
        for whole, one in zip(together[:4], alone[:4], strict=True):
            assert float(whole[where]) == float(one)


@pytest.mark.parametrize(
    ("name", "v", "phi"),
    [
        ("exponential", 0.0, 1.0),
        ("exponential", math.log(2), 0.5),
        ("exponential", -math.log(4), 0.25),
        ("triangle", 0.0, 1.0),
        ("triangle", 0.25, 0.75),
        ("triangle", -0.5, 0.5),
        ("triangle", 1.0, 0.0),
        ("triangle", -3.0, 0.0),
    ],
)
def test_surrogates(name, v, phi):
    value = SURROGATES[name](torch.tensor(v, dtype=torch.float64))
    assert float(value) == pytest.approx(phi, abs=1e-15)
