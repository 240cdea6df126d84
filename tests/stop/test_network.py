"""Networks: names, loading, rest, bounded state; the firing rates a discriminant sees."""

from __future__ import annotations

import pytest
import torch
from helpers.nets import Case, build, inputs, stop_grads

from streamstop.stop.layer import LayerSpec
from streamstop.stop.network import LAYER_FEATURES, Network, pooled_rates

CASE = Case((2, 8, 8), (LayerSpec("conv", 4, pool=2), LayerSpec("linear", 6)))


def test_names_and_parameters():
    network = build(CASE)
    assert network.layer_names == ["conv1", "linear2"]
    shapes = {name: tuple(value.shape) for name, value in network.parameters().items()}
    assert shapes == {
        "conv1.weight": (4, 2, 3, 3),
        "conv1.bias": (4,),
        "conv1.log_theta": (4,),
        "conv1.leak_logit": (),
        "linear2.weight": (6, 64, 1, 1),
        "linear2.bias": (6,),
        "linear2.log_theta": (6,),
        "linear2.leak_logit": (),
        "readout.weight": (5, 6),
        "readout.bias": (5,),
    }


def test_loaded_parameters_give_the_same_answers():
    """Leaks and thresholds included: they are recomputed on loading."""
    one = build(CASE, seed=1)
    other = Network(one.spec, seed=2, dtype=torch.float64)
    x, _ = inputs(CASE)
    one.reset_state(3)
    other.reset_state(3)
    assert not torch.equal(one.forward(x[0]), other.forward(x[0]))
    other.load_parameters(one.parameters())
    one.reset_state(3)
    other.reset_state(3)
    for now in x:
        assert torch.equal(one.forward(now), other.forward(now))
    assert other.parameters()["conv1.weight"] is not one.parameters()["conv1.weight"]


def test_loading_refuses_what_does_not_fit():
    network = build(CASE)
    parameters = {k: v.clone() for k, v in network.parameters().items()}
    with pytest.raises(KeyError, match=r"conv1\.bias"):
        network.load_parameters({k: v for k, v in parameters.items() if k != "conv1.bias"})
    with pytest.raises(RuntimeError):
        network.load_parameters(parameters | {"conv1.weight": torch.zeros(4, 2, 5, 5)})
    before = {k: v.clone() for k, v in network.parameters().items()}
    with pytest.raises(RuntimeError, match="log_theta"):  # which would fit by broadcasting
        network.load_parameters(
            {k: v + 1 for k, v in parameters.items()} | {"conv1.log_theta": torch.ones(1)}
        )
    assert all(torch.equal(v, before[k]) for k, v in network.parameters().items())


def test_moving_to_a_device_forgets_gradients():
    network = build(CASE)
    stop_grads(network, *inputs(CASE))
    x, _ = inputs(CASE)
    network.reset_state(3)
    network.backward(network.forward(x[0]).softmax(1))
    network.to("cpu")
    assert not any(grad.any() for grad in network.grads.values())


def test_rest_forgets_the_past_entirely():
    network = build(CASE)
    x, labels = inputs(CASE)
    fresh = stop_grads(network, x, labels)
    for now in x:
        network.forward(now * 3)
    again = stop_grads(network, x, labels)
    assert all(torch.equal(fresh[name], again[name]) for name in fresh)


def test_traces_change_no_answer():
    network = build(CASE)
    x, _ = inputs(CASE)
    answers = []
    for traces in (True, False):
        network.reset_state(3)
        answers.append([network.forward(now, traces=traces) for now in x])
    assert all(torch.equal(a, b) for a, b in zip(*answers, strict=True))


def test_state_does_not_grow():
    """2x8x8 in, 4x8x8 and 6 neurons: four numbers a neuron, a trace an input, one bias trace."""
    network = build(CASE)
    x, labels = inputs(CASE._replace(batch=1))
    network.reset_state(1)
    numbers = 4 * (4 * 64 + 6) + (2 * 64 + 4 * 16) + 2
    assert network.state_bytes() == 8 * numbers
    for _ in range(5):
        stop_grads(network, x, labels)
        assert network.state_bytes() == 8 * numbers


@pytest.mark.parametrize(
    ("channels", "side", "length"),
    [(8, 16, 512), (32, 32, 512), (64, 16, 256), (500, 4, 500), (700, 4, 700), (3, 5, 75)],
)
def test_pooled_rates_are_bounded(channels, side, length):
    (rates,) = pooled_rates([torch.full((1, channels, side, side), 0.25)])
    assert len(rates) == length <= max(LAYER_FEATURES, channels)
    assert rates.tolist() == pytest.approx([0.25] * length)


def test_pooled_rates_average_and_keep_the_order_of_layers():
    first = torch.arange(16.0).view(1, 1, 4, 4)
    second = torch.full((1, 512, 2, 2), 2.0)
    second[0, 1] = torch.tensor([[1.0, 3.0], [5.0, 7.0]])
    (rates,) = pooled_rates([first, second])
    assert rates[:16].tolist() == first.flatten().tolist()
    assert rates[16:19].tolist() == [2.0, 4.0, 2.0]
