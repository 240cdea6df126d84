"""Learners from names and from settings; outputs named by the labels."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from streamstop.config.sections import Config, NetworkConfig
from streamstop.errors import UsageError
from streamstop.events.labels import LabelTrack
from streamstop.learning.factory import (
    build_learner,
    frozen_config,
    learner_from_config,
    output_names,
)
from streamstop.learning.network_section import layer_text, network_section
from streamstop.stop.architectures import ARCHITECTURES, build_network, parse_layer_spec


def test_the_defaults_are_those_of_a_run() -> None:
    ours, runs = build_learner(5), learner_from_config(Config(), 5)
    assert ours.network.spec == runs.network.spec
    assert ours.spec == runs.spec
    for name, value in ours.network.parameters().items():
        assert torch.equal(value, runs.network.parameters()[name])


def test_names_or_a_number() -> None:
    assert build_learner(2).class_names == ("output 0", "output 1")
    assert build_learner(["b", "a"]).class_names == ("b", "a")
    with pytest.raises(UsageError, match="no network is called"):
        build_learner(2, network="vgg12")


def test_seeds_draw_other_weights() -> None:
    one, other = (build_learner(2, seed=seed).network.parameters() for seed in (0, 1))
    assert not torch.equal(one["readout.weight"], other["readout.weight"])


def test_a_frozen_learner_moves_nothing() -> None:
    learner = learner_from_config(frozen_config(Config()), 2)
    assert learner.spec.trainable == ()
    assert learner.inference_network is learner.network


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_named_network_is_described_by_its_name(name) -> None:
    spec = build_network(name, (2, 64, 64), 3)
    assert network_section(spec)["architecture"] == name


def test_layers_are_written_as_they_are_read() -> None:
    for text in ("conv 8 kernel 5 stride 2 pad 0", "conv 4 maxpool 2", "block 8 residual membrane"):
        layer = parse_layer_spec(text)
        assert parse_layer_spec(layer_text(layer)) == layer


def test_outputs_are_the_labels_then_as_many_as_are_asked_for() -> None:
    track = LabelTrack(("a", "b"), [])
    assert output_names(Config(), track) == ("a", "b")
    wide = replace(Config(), network=NetworkConfig(classes=3))
    assert output_names(wide, track) == ("a", "b", "output 2")
    narrow = replace(Config(), network=NetworkConfig(classes=1))
    with pytest.raises(UsageError, match="the labels name 2 classes"):
        output_names(narrow, track)
