"""Costs of a network: counts by hand, and those of the network that is built."""

from __future__ import annotations

import pytest
import torch

from streamstop.stop.architectures import ARCHITECTURES, build_network
from streamstop.stop.cost import network_cost
from streamstop.stop.layer import LayerSpec, NeuronSpec
from streamstop.stop.network import Network, NetworkSpec


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_costs_are_those_of_the_network_that_is_built(name: str, reset: str) -> None:
    neuron = NeuronSpec(reset=reset, threshold_sharing="neuron")  # type: ignore[arg-type]
    spec = build_network(name, (2, 32, 32), 5, neuron)
    network, cost = Network(spec, 0), network_cost(spec)
    assert [layer.name for layer in cost.layers] == [*network.layer_names, "readout"]
    parameters = sum(value.numel() for value in network.parameters().values())
    assert cost.parameters == cost.learning == parameters
    assert cost.state_bytes == network.state_bytes()
    assert cost.derived_bytes == network.derived_bytes() == 0
    assert cost.adam_bytes == 3 * cost.parameter_bytes == 12 * parameters


def test_the_operations_of_compact_are_those_counted_by_hand() -> None:
    cost = network_cost(build_network("compact", (2, 32, 32), 11))
    first = 32 * (2 * 9) * 32 * 32  # outputs, inputs each, places
    second = 64 * (32 * 9) * 16 * 16
    readout = 11 * 64 * 8 * 8
    assert [layer.forward for layer in cost.layers] == [first, second, readout]
    assert cost.weight_gradient == first + second + readout
    assert cost.input_gradient == second + readout
    assert cost.learning_step == 2 * first + 3 * (second + readout)


def test_the_operations_of_lenet5_are_those_counted_by_hand() -> None:
    cost = network_cost(build_network("lenet5", (1, 28, 28), 10))
    forward = [117_600, 240_000, 48_000, 10_080, 840]
    # 6*25 at 28x28; 16*150 at 10x10; 400*120; 120*84; 84*10
    assert [layer.forward for layer in cost.layers] == forward
    assert cost.learning_step == 3 * sum(forward) - 117_600
    weights_still = network_cost(build_network("lenet5", (1, 28, 28), 10), learn="tl")
    assert weights_still.weight_gradient == 840
    assert weights_still.input_gradient == cost.input_gradient


def test_vgg11_at_48_costs_what_the_papers_method_says() -> None:
    cost = network_cost(build_network("vgg11", (2, 48, 48), 10))
    assert cost.forward == pytest.approx(0.34e9, rel=0.02)
    assert cost.learning_step == pytest.approx(1.03e9, rel=0.02)
    inputs, outputs = 133_632, 340_992
    assert cost.neurons == outputs
    # The rule needs the inputs' trace and three numbers a neuron; we hold the spikes as well, and
    # one shared bias trace a layer.
    assert 4 * (inputs + 3 * outputs) / 2**20 == pytest.approx(4.4, rel=0.01)
    assert cost.state_bytes == 4 * (inputs + 4 * outputs + 8)
    assert cost.unrolled_bytes(20) / 2**20 == pytest.approx(62, rel=0.01)


def test_a_block_on_the_networks_input_sends_no_error_below_it() -> None:
    layers = (LayerSpec("block", 4), LayerSpec("conv", 3))
    cost = network_cost(NetworkSpec((2, 6, 6), layers, 2))
    sent = {layer.name: layer.input_gradient for layer in cost.layers}
    assert sent == {
        "block1.a": 0,
        "block1.b": 4 * 4 * 9 * 36,
        "block1.way": 0,
        "conv2": 3 * 4 * 9 * 36,
        "readout": 2 * 3 * 36,
    }


def test_a_network_too_large_for_any_machine_can_be_asked_about() -> None:
    cost = network_cost(build_network("lenet5", (2, 40960, 40960), 10))
    assert cost.parameter_bytes > 2**39


@pytest.mark.parametrize("rule", ["stop", "ottt", "sltt"])
def test_traces_are_those_of_the_rule_and_of_what_learns(rule: str) -> None:
    """conv 3 on 2x6x6: a trace per input for weights; per neuron, one for thresholds, one for
    leaks; SLTT carries none, OTTT that of the weights alone."""
    spec = NetworkSpec((2, 6, 6), (LayerSpec("conv", 3),), 4)
    conv, readout = network_cost(spec, rule=rule).layers  # type: ignore[arg-type]
    inputs, neurons = 2 * 6 * 6, 3 * 6 * 6
    assert conv.traces == {"stop": inputs + 2 * neurons, "ottt": inputs, "sltt": 0}[rule]
    assert readout.traces == 0


def test_a_hard_reset_needs_a_trace_of_every_bias() -> None:
    layers = (LayerSpec("conv", 3),)
    soft, hard = (
        network_cost(NetworkSpec((2, 6, 6), layers, 4, NeuronSpec(reset=reset))).layers[0]  # type: ignore[arg-type]
        for reset in ("soft", "hard")
    )
    assert hard.traces - soft.traces == 3 * 6 * 6
    assert hard.state_bytes - soft.state_bytes == 4 * (3 * 6 * 6 - 1)


def test_a_frozen_network_costs_its_forward_pass_and_the_readout_alone() -> None:
    spec = build_network("compact", (2, 16, 16), 3)
    whole, frozen = network_cost(spec), network_cost(spec, learn="")
    readout = 3 * 64 * 4 * 4
    assert frozen.forward == whole.forward
    assert (frozen.weight_gradient, frozen.input_gradient, frozen.traces) == (readout, 0, 0)
    assert frozen.learning == readout + 3 < whole.learning
    assert frozen.adam_bytes == 3 * 4 * frozen.learning


def test_groups_share_out_the_inputs_and_doubles_take_twice_the_bytes() -> None:
    plain, grouped = (
        network_cost(NetworkSpec((4, 6, 6), (LayerSpec("conv", 8, groups=groups),), 2)).layers[0]
        for groups in (1, 4)
    )
    assert plain.forward == 4 * grouped.forward == 8 * 4 * 9 * 36
    spec = build_network("compact", (2, 16, 16), 3)
    single, double = network_cost(spec), network_cost(spec, dtype=torch.float64)
    assert double.parameter_bytes == 2 * single.parameter_bytes
    assert double.forward == single.forward
