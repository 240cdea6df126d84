"""The networks by name: their shapes and sizes against hand computations."""

from __future__ import annotations

import pytest
import torch

from streamstop.errors import UsageError
from streamstop.learning.learner import LearnerSpec, StopLearner
from streamstop.stop.architectures import ARCHITECTURES, build_network
from streamstop.stop.layer import LayerSpec, NeuronSpec
from streamstop.stop.network import Network

SMALLEST = {"compact": 4, "lenet5": 12, "vgg11": 32, "resnet18": 1}
"""The smallest square input: two halvings; halved, less 4, halved; five halvings; none floored."""

Shapes = dict[str, tuple[int, int, int]]

SHAPES: dict[str, Shapes] = {
    "compact": {"conv1": (32, 16, 16), "conv2": (64, 8, 8)},
    "lenet5": {
        "conv1": (6, 16, 16),
        "conv2": (16, 6, 6),
        "linear3": (120, 1, 1),
        "linear4": (84, 1, 1),
    },
    "vgg11": {
        "conv1": (64, 16, 16),
        "conv2": (128, 8, 8),
        "conv3": (256, 8, 8),
        "conv4": (256, 4, 4),
        "conv5": (512, 4, 4),
        "conv6": (512, 2, 2),
        "conv7": (512, 2, 2),
        "conv8": (512, 1, 1),
    },
    "resnet18": {
        "conv1": (64, 32, 32),
        **{f"block{i}.{part}": (64, 32, 32) for i in (2, 3) for part in "ab"},
        **{f"block4.{part}": (128, 16, 16) for part in ("a", "b", "way")},
        **{f"block5.{part}": (128, 16, 16) for part in "ab"},
        **{f"block6.{part}": (256, 8, 8) for part in ("a", "b", "way")},
        **{f"block7.{part}": (256, 8, 8) for part in "ab"},
        **{f"block8.{part}": (512, 4, 4) for part in ("a", "b", "way")},
        **{f"block9.{part}": (512, 4, 4) for part in "ab"},
    },
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_layer_of_a_network_has_its_shape_and_spikes_reach_the_readout(name: str) -> None:
    network = Network(build_network(name, (2, 32, 32), 11), 0, learn="")
    shapes = {n: one.out_shape for n, one in zip(network.layer_names, network.layers, strict=True)}
    assert shapes == SHAPES[name]
    logits = network.forward(5.0 * torch.ones(1, 2, 32, 32), traces=False)
    assert logits.shape == (1, 11)
    assert all(float(spikes.sum()) > 0 for spikes in network.spikes()[:2])
    features = {"compact": 64 * 8 * 8, "lenet5": 84, "vgg11": 512, "resnet18": 512}[name]
    assert network.readout.weight.shape == (11, features)


def test_the_parameters_of_lenet5_are_those_counted_by_hand() -> None:
    network = Network(build_network("lenet5", (1, 28, 28), 10), 0, learn="")
    weights = [6 * 25, 16 * 6 * 25, 120 * 16 * 5 * 5, 84 * 120, 10 * 84]
    assert [layer.weight.numel() for layer in network.layers] == weights[:4]
    biases = 6 + 16 + 120 + 84 + 10
    thresholds, leaks = 6 + 16 + 120 + 84, 4
    assert sum(weights) + biases == 61_706  # LeCun's network, all maps of conv2 connected
    counted = sum(value.numel() for value in network.parameters().values())
    assert counted == 61_706 + thresholds + leaks


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_input_that_is_just_large_enough_goes_and_a_smaller_one_does_not(name: str) -> None:
    side = SMALLEST[name]
    network = Network(build_network(name, (2, side, side), 3), 0, learn="")
    assert network.forward(torch.ones(1, 2, side, side), traces=False).shape == (1, 3)
    if side > 1:
        with pytest.raises(UsageError, match=f"{name} needs a larger input than {side}x{side - 1}"):
            build_network(name, (2, side, side - 1), 3)


def test_a_name_that_is_none_and_channels_that_are_fixed_are_refused() -> None:
    with pytest.raises(UsageError, match=r"'vgg'.* compact, lenet5, vgg11, resnet18"):
        build_network("vgg", (2, 32, 32), 3)
    with pytest.raises(UsageError, match=r"lenet5 has channels of its own.*\[8, 8\]"):
        build_network("lenet5", (2, 32, 32), 3, channels=(8, 8))


def test_channels_and_a_hidden_layer_change_the_compact_network() -> None:
    spec = build_network("compact", (2, 32, 32), 3, channels=(4, 5, 6), hidden=7)
    pooled = [LayerSpec("conv", c, pool=2) for c in (4, 5, 6)]
    assert spec.layers == (*pooled, LayerSpec("linear", 7))
    assert build_network("compact", (2, 32, 32), 3, channels=(32, 64)) == build_network(
        "compact", (2, 32, 32), 3
    )


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_network_learns_a_segment(name):
    """Predict, learn, update, decide: through blocks too, and something moves in every layer."""
    side = 28 if name == "lenet5" else 32
    spec = build_network(name, (2, side, side), 3, NeuronSpec(threshold_init=0.1))
    learner = StopLearner(spec, LearnerSpec(), 0)
    before = {k: v.clone() for k, v in learner.network.parameters().items()}
    learner.begin_segment()
    for _ in range(2):
        learner.predict(torch.rand(1, 2, side, side), trace=True)
        learner.learn(1)
    learner.end_segment()
    after = learner.network.parameters()
    assert all(not torch.equal(before[k], after[k]) for k in before if k.endswith(".weight"))
