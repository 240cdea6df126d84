"""The rule against differences of a loss in plain numpy, to 1e-8: a witness that knows no autograd.

One spiking layer under a linear readout, written out twice in numpy float64 from the paper's
equations: as a loss whose spikes are smooth functions S(u - theta) with the surrogate as their true
slope, its resets frozen at the spikes of the base run; and as the rule, forward traces and all
(Eq. 11 to 30), which may be given hard spikes or smooth ones. Held together here:

- the program's gradients, and differences of the loss whose spikes are the hard ones at the base,
  s = s0 + S(v) - S(v0): value of the spiking network, slope of the surrogate;
- the rule in numpy on wholly smooth spikes, s = S(v), and differences of that loss;
- the program's gradients and the rule in numpy on hard spikes.

Nothing is imported of `streamstop.stop.bptt`. It tells nothing of deeper layers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from helpers.nets import Case, build, inputs, stop_grads
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from streamstop.stop.layer import LEAK_MAX, LayerSpec
from streamstop.stop.network import Network
from streamstop.stop.neuron import SURROGATES

Array = NDArray[np.float64]

TOLERANCE = 1e-8
"""Asked for; differences observed are below 1e-9, the noise of differencing."""

STEP = 1e-4
CLEARANCE = 2e-3
"""How far every membrane of the base run stays from where the slope of S has a kink or a jump, so
that no step reaches one and S is smooth wherever it is looked at."""


class Smooth(NamedTuple):
    """A spike S(v), its slope phi(v), and the v where phi is not smooth."""

    spike: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    kinks: tuple[float, ...]


SMOOTH = {
    "exponential": Smooth(
        lambda v: np.where(v < 0, np.exp(-np.abs(v)), 2 - np.exp(-np.abs(v))),
        lambda v: np.exp(-np.abs(v)),
        (0.0,),
    ),
    "triangle": Smooth(
        lambda v: 0.5 + np.clip(v, -1, 1) - np.clip(v, -1, 1) * np.abs(np.clip(v, -1, 1)) / 2,
        lambda v: np.maximum(1 - np.abs(v), 0),
        (-1.0, 0.0, 1.0),
    ),
    "sigmoid": Smooth(lambda v: 1 / (1 + np.exp(-4 * v)), lambda v: 1 / np.cosh(2 * v) ** 2, ()),
    "arctan": Smooth(
        lambda v: 0.5 + np.arctan(np.pi * v) / np.pi, lambda v: 1 / (1 + (np.pi * v) ** 2), ()
    ),
    "rectangle": Smooth(
        lambda v: np.clip(v + 0.5, 0, 1), lambda v: (np.abs(v) < 0.5) * 1.0, (-0.5, 0.5)
    ),
}


class Layer(NamedTuple):
    """What both writings share: windows of the input (bins, batch, in, h, w, k, k), labels, reset,
    and parameters by the program's names."""

    windows: Array
    labels: NDArray[np.int64]
    reset: str
    p: dict[str, Array]

    def theta(self) -> Array:
        log_theta = self.p["log_theta"]
        return np.exp(log_theta if log_theta.ndim == 3 else log_theta[:, None, None])

    def leak(self) -> Array:
        return LEAK_MAX / (1 + np.exp(-self.p["leak_logit"]))

    def current(self, t: int) -> Array:
        drive = np.einsum("bchwij,ocij->bohw", self.windows[t], self.p["weight"])
        return drive + self.p["bias"][:, None, None]

    def logits(self, s: Array) -> Array:
        return s.reshape(len(s), -1) @ self.p["readout.weight"].T + self.p["readout.bias"]


Spike = Callable[[int, Array], Array]
"""The spikes of bin t, given u - theta."""


def loss(
    layer: Layer, spike: Spike, resets: list[Array] | None = None
) -> tuple[Array, list[Array]]:
    """Cross-entropy of every bin and sample; every bin's u - theta.

    resets : the spikes that reset, bin by bin, instead of those fired.
    """
    u = s = np.zeros(())
    losses, gaps = [], []
    for t in range(len(layer.windows)):
        kept = u - layer.theta() * s if layer.reset == "soft" else u * (1 - s)
        u = layer.leak() * kept + layer.current(t)
        gaps.append(u - layer.theta())
        fired = spike(t, gaps[-1])
        s = fired if resets is None else resets[t]
        z = layer.logits(fired)
        losses.append(np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), layer.labels])
    return np.stack(losses), gaps


def rule(layer: Layer, spike: Spike, phi: Callable[[Array], Array]) -> dict[str, Array]:
    """Gradients from forward traces; the equation numbers are the paper's."""
    theta, leak, p = layer.theta(), layer.leak(), layer.p
    u = s = e_theta = e_leak = e_bias = w_trace = np.zeros(())
    d = {name: np.zeros_like(value) for name, value in p.items()}
    for t, window in enumerate(layer.windows):
        if layer.reset == "soft":
            share, kept, e_theta = leak, u - theta * s, leak * (e_theta - s)  # Eq. 26
        else:
            share, kept = leak * (1 - s), u * (1 - s)
        e_leak = share * e_leak + kept  # Eq. 30
        e_bias = share * e_bias + 1
        w_trace = leak * w_trace + window  # Eq. 20
        u = leak * kept + layer.current(t)
        s = spike(t, u - theta)
        z = layer.logits(s)
        error = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        error[np.arange(len(z)), layer.labels] -= 1
        delta = (error @ p["readout.weight"]).reshape(s.shape) * phi(u - theta)  # Eq. 11, 16
        d["readout.weight"] += error.T @ s.reshape(len(s), -1)
        d["readout.bias"] += error.sum(0)
        d["weight"] += np.einsum("bohw,bchwij->ocij", delta, w_trace)  # Eq. 17
        d["bias"] += (delta * e_bias).sum((0, 2, 3))
        through = (delta * (e_theta - 1) * theta).sum(0)  # Eq. 24, then dtheta/dlog_theta = theta
        per = {1: (0, 1, 2), through.shape[0]: (1, 2)}.get(p["log_theta"].size, ())
        d["log_theta"] += through.sum(per).reshape(p["log_theta"].shape)
        d["leak_logit"] += (delta * e_leak).sum() * leak * (1 - leak / LEAK_MAX)  # Eq. 27
    return d


def differences(
    layer: Layer, spike: Spike, resets: list[Array], kinks: tuple[float, ...]
) -> dict[str, Array]:
    """Central differences of the summed loss by every entry of every parameter, two steps and
    Richardson's extrapolation; subtracted bin by bin, before the sum can round them off."""

    def sides(gaps: list[Array]) -> NDArray[np.bool_]:
        return np.stack(gaps)[..., None] > np.array(kinks)

    found = {name: np.zeros_like(value) for name, value in layer.p.items()}
    base = sides(loss(layer, spike, resets)[1])
    for name, value in layer.p.items():
        for i in np.ndindex(value.shape):
            before, slopes = value[i], []
            for step in (STEP, 2 * STEP):
                value[i] = before + step
                above, up = loss(layer, spike, resets)
                value[i] = before - step
                below, down = loss(layer, spike, resets)
                assert (sides(up) == base).all() and (sides(down) == base).all(), (name, i)
                slopes.append((above - below).sum() / (2 * step))
            value[i] = before
            found[name][i] = (4 * slopes[0] - slopes[1]) / 3
    return found


def layer_of(network: Network, x: Array, labels: NDArray[np.int64], reset: str) -> Layer:
    """The network's one layer, in numpy."""
    (one,), (name,) = network.layers, network.layer_names
    x = x.reshape(*x.shape[:2], *one.in_shape)
    synapses = one.synapses
    edge = (synapses.pad, synapses.pad)
    x = np.pad(x, ((0, 0), (0, 0), (0, 0), edge, edge))
    windows = sliding_window_view(x, (synapses.kernel, synapses.kernel), (3, 4))
    p = {k.removeprefix(f"{name}."): v.numpy().copy() for k, v in network.parameters().items()}
    return Layer(windows[:, :, :, :: synapses.stride, :: synapses.stride], labels, reset, p)


def hard(t: int, v: Array) -> Array:
    return (v >= 0) * 1.0


def draw(case: Case, spike: Spike) -> tuple[Layer, dict[str, Array]]:
    """A layer and its gradients by the program: the first draw that keeps clear of the kinks, and
    where no gradient is nearly zero by chance, so that differences can tell eight digits of it."""
    kinks = SMOOTH[case.surrogate].kinks
    for seed in range(100):
        network = build(case, seed)
        x, labels = inputs(case, seed, density=0.5)
        layer = layer_of(network, x.numpy(), labels.numpy(), case.reset)
        gaps = np.stack(loss(layer, spike)[1])
        (name,) = network.layer_names
        ours = {
            k.removeprefix(f"{name}."): v.numpy() for k, v in stop_grads(network, x, labels).items()
        }
        large = min(np.abs(g).max() for g in ours.values()) > 0.2
        if large and all(np.abs(gaps - kink).min() > CLEARANCE for kink in kinks):
            return layer, ours
    raise AssertionError("no draw is clear of the kinks")


def compare(ours: dict[str, Array], theirs: dict[str, Array], reset: str, limit: float) -> None:
    """Equal to `limit` of each parameter's largest entry; not so the weights under a hard reset,
    whose traces would have to remember when each neuron fired."""
    assert ours.keys() == theirs.keys()
    found = {k: float(np.abs(ours[k] - g).max() / np.abs(g).max()) for k, g in theirs.items()}
    if reset == "hard":
        assert found.pop("weight") > 0.05
    assert max(found.values()) < limit, found


LINEAR = Case((1, 3, 3), (LayerSpec("linear", 6),), bins=8, batch=3)
CONV = Case((2, 4, 3), (LayerSpec("conv", 3),), bins=6, batch=2)
STRIDE = Case((1, 5, 5), (LayerSpec("conv", 3, stride=2),), leak=0.5, bins=8, batch=2)

CASES = {
    "linear": LINEAR,
    "linear, one threshold": LINEAR._replace(threshold="layer"),
    "linear, a threshold a neuron": LINEAR._replace(threshold="neuron"),
    "conv": CONV,
    "conv, one threshold": CONV._replace(threshold="layer"),
    "conv, a threshold a neuron": CONV._replace(threshold="neuron"),
    "conv, stride 2, leak 0.5": STRIDE,
    **{f"linear, {name}": LINEAR._replace(surrogate=name) for name in SMOOTH},
    **{f"conv, {name}": CONV._replace(surrogate=name) for name in SMOOTH},
}
del CASES["linear, exponential"], CASES["conv, exponential"]  # the first of each

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
either_reset = pytest.mark.parametrize("reset", ["soft", "hard"])


@either_reset
@every_case
def test_the_program_equals_differences(case, reset):
    """Its gradients, of a spiking layer, and slopes of the loss that is smooth around it."""
    case = case._replace(reset=reset)
    layer, ours = draw(case, hard)
    smooth = SMOOTH[case.surrogate].spike
    _, base = loss(layer, hard)
    fired = [hard(t, v) for t, v in enumerate(base)]

    def spike(t: int, v: Array) -> Array:
        return fired[t] + smooth(v) - smooth(base[t])

    slopes = differences(layer, spike, fired, SMOOTH[case.surrogate].kinks)
    compare(ours, slopes, reset, TOLERANCE)


@either_reset
@every_case
def test_the_rule_on_smooth_spikes_equals_differences(case, reset):
    """No spike is hard here, so that nothing about them is taken on trust."""
    case = case._replace(reset=reset)
    smooth = SMOOTH[case.surrogate]

    def spike(t: int, v: Array) -> Array:
        return smooth.spike(v)

    layer, _ = draw(case, spike)
    fired = [smooth.spike(v) for v in loss(layer, spike)[1]]
    slopes = differences(layer, spike, fired, smooth.kinks)
    compare(rule(layer, spike, smooth.slope), slopes, reset, TOLERANCE)


@either_reset
@every_case
def test_the_program_equals_the_rule_written_out(case, reset):
    """Weights under a hard reset too: here both are the rule."""
    case = case._replace(reset=reset)
    layer, ours = draw(case, hard)
    compare(ours, rule(layer, hard, SMOOTH[case.surrogate].slope), "soft", 1e-12)


@pytest.mark.parametrize("name", SMOOTH)
def test_the_smooth_spike_has_the_surrogate_as_its_slope(name):
    """Away from kinks; and the surrogate is the program's."""
    assert SMOOTH.keys() == SURROGATES.keys()
    v = np.linspace(-2, 2, 1001) + 1e-3
    spike, slope, _ = SMOOTH[name]
    central = (spike(v + 1e-5) - spike(v - 1e-5)) / 2e-5
    np.testing.assert_allclose(slope(v), central, atol=1e-8)
    theirs = SURROGATES[name](torch.from_numpy(v.copy())).double().numpy()
    np.testing.assert_allclose(slope(v), theirs, atol=1e-14)
