"""Layers said in words: they become what they say, or a refusal says what is wrong with them."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from streamstop.cli import app
from streamstop.errors import UsageError
from streamstop.learning.network_section import network_from_config
from streamstop.pipeline.configure import load_config
from streamstop.stop.architectures import (
    ARCHITECTURES,
    MAX_CHANNELS,
    build_network,
    parse_layer_spec,
)
from streamstop.stop.batch_gradients import batch_gradients
from streamstop.stop.cost import network_cost
from streamstop.stop.layer import LayerSpec
from streamstop.stop.losses import Loss
from streamstop.stop.network import Network, NetworkSpec

runner = CliRunner()


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("conv 32", LayerSpec("conv", 32)),
        ("conv 32 kernel 5 pool 2", LayerSpec("conv", 32, kernel=5, pool=2)),
        ("conv 6 maxpool 3", LayerSpec("conv", 6, pool=3, pooling="max")),
        (
            "conv 8 kernel 7 stride 2 pad 0 groups 4 pool 2 dropout 0.25",
            LayerSpec("conv", 8, 7, 2, 2, "avg", 4, 0, 0.25),
        ),
        ("  conv\t8   pad 2 ", LayerSpec("conv", 8, pad=2)),
        ("linear 120", LayerSpec("linear", 120)),
        ("linear 65536 dropout .5", LayerSpec("linear", 65536, dropout=0.5)),
        ("linear 3 dropout 0", LayerSpec("linear", 3)),
        ("block 128 stride 2", LayerSpec("block", 128, stride=2)),
        (
            "block 16 residual membrane dropout 0.1",
            LayerSpec("block", 16, dropout=0.1, residual="membrane"),
        ),
        ("block 16 residual add", LayerSpec("block", 16)),
        # As written up to schema 1.
        ("block 16 join membrane", LayerSpec("block", 16, residual="membrane")),
        ("block 16 join spikes", LayerSpec("block", 16)),
    ],
)
def test_words_are_what_they_say(text, spec):
    assert parse_layer_spec(text) == spec


def words(spec: LayerSpec) -> list[str]:
    """The settings of a layer, each in words, where they are not what goes without saying."""
    plain = LayerSpec(spec.kind, spec.channels)._asdict()
    said = [f"{k} {v}" for k, v in spec._asdict().items() if v != plain[k] and k not in _APART]
    if spec.pool > 1:
        said.append(f"{'max' * (spec.pooling == 'max')}pool {spec.pool}")
    if spec.dropout:
        said.append(f"dropout {spec.dropout:.6f}")
    return said


_APART = ("kind", "channels", "pool", "pooling", "dropout")

SIZES = st.integers(1, 9)
DROPOUTS = st.integers(0, 999_999).map(lambda n: n / 1_000_000)


def layers_of(kind: str, **settings: st.SearchStrategy) -> st.SearchStrategy[LayerSpec]:
    drawn = st.fixed_dictionaries({"channels": st.integers(1, MAX_CHANNELS)}, optional=settings)
    return drawn.map(lambda said: LayerSpec(kind, **said))


CONVOLUTIONS = layers_of(
    "conv",
    kernel=SIZES.map(lambda n: 2 * n - 1),
    stride=SIZES,
    pool=SIZES,
    groups=SIZES,
    pad=st.integers(0, 9),
    dropout=DROPOUTS,
)
MAX_POOLED = layers_of("conv", dropout=DROPOUTS).map(
    lambda spec: spec._replace(pool=3, pooling="max")
)
BLOCKS = layers_of(
    "block", stride=SIZES, dropout=DROPOUTS, residual=st.sampled_from(["add", "membrane"])
)
LINEAR = layers_of("linear", dropout=DROPOUTS)


@given(CONVOLUTIONS | MAX_POOLED | BLOCKS | LINEAR, st.randoms())
def test_whatever_can_be_said_is_understood_in_any_order(spec, random):
    said = words(spec)
    random.shuffle(said)
    assert parse_layer_spec(" ".join([spec.kind, str(spec.channels), *said])) == spec


WORDS = ["conv", "linear", "block", "8", "2", "pool", "pad", "-1", "0.2"]


@given(st.text() | st.lists(st.sampled_from(WORDS)))
def test_anything_else_is_refused_and_never_worse(text):
    text = text if isinstance(text, str) else " ".join(text)
    try:
        made = parse_layer_spec(text)
    except UsageError as error:
        assert repr(text) in str(error)
    else:
        assert made.kind == text.split()[0]
        assert made.channels >= 1


REFUSALS = [
    ("", r"a layer '': it must begin with conv, linear, block"),
    ("Conv 8", r"it must begin with conv"),
    ("pool 2", r"it must begin with conv"),
    ("conv", r"its channels, 1 to 65536, come second"),
    ("conv eight", r"its channels, 1 to 65536, come second"),
    ("conv 0", r"its channels"),
    ("conv 65537", r"its channels"),
    ("conv -3", r"its channels"),
    ("conv 8.0", r"its channels"),
    ("conv ² pool 2", r"its channels"),
    ("conv ٣", r"its channels"),
    ("conv " + "9" * 5000, r"its channels"),
    ("conv 8 pool", r"'pool' has no value"),
    ("conv 8 pool 2 kernel", r"'kernel' has no value"),
    ("conv 8 pol 2", r"'pol' is not for a conv; kernel, stride, pad, groups, pool"),
    ("conv 8 residual membrane", r"'residual' is not for a conv"),
    ("linear 8 pool 2", r"'pool' is not for a linear; dropout are"),
    ("block 8 kernel 5", r"'kernel' is not for a block; stride, dropout, residual are"),
    ("block 8 pool 2", r"'pool' is not for a block"),
    ("block 8 residual spikes", r"residual is add or membrane"),
    ("conv 8 dropout 1", r"dropout is a fraction below 1, such as 0\.2"),
    ("conv 8 dropout 1.0", r"dropout is a fraction"),
    ("conv 8 dropout -0.1", r"dropout is a fraction"),
    ("conv 8 dropout 20%", r"dropout is a fraction"),
    ("conv 8 dropout nan", r"dropout is a fraction"),
    ("conv 8 pool 0", r"pool is a whole number, 1 to 65536"),
    ("conv 8 maxpool two", r"maxpool is a whole number"),
    ("conv 8 pad -1", r"pad is a whole number, 0 to 65536"),
    ("conv 8 stride ²", r"stride is a whole number"),
    ("conv 8 stride 65537", r"stride is a whole number"),
    ("conv 8 groups 1.5", r"groups is a whole number"),
    ("conv 8 kernel 4", r"a kernel is odd"),
    ("conv 8 pool 2 pool 3", r"pool comes twice"),
    ("conv 8 pool 2 maxpool 2", r"pool comes twice"),
    ("block 8 join spikes residual membrane", r"residual comes twice"),
]


@pytest.mark.parametrize(("text", "why"), REFUSALS, ids=[text[:40] for text, _ in REFUSALS])
def test_a_refusal_says_what_is_wrong_and_how_it_is_written(text, why):
    with pytest.raises(UsageError, match=why + r".*[Ww]rite such as 'conv 32 kernel 5 pool 2'"):
        parse_layer_spec(text)


def custom(*layers: str, shape: tuple[int, int, int] = (2, 16, 16)) -> NetworkSpec:
    return build_network("custom", shape, 3, layers=layers)


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        (("conv 8 groups 3",), r"groups 3 must divide both the 2 channels below.* its own 8"),
        (("conv 8", "conv 6 groups 4"), r"groups 4 must divide both the 8 .* 6"),
        (("linear 8", "conv 8"), r"a linear layer has no plane"),
        (("conv 8", "linear 8", "linear 4", "block 8"), r"a linear layer has no plane"),
        (("conv 8 pool 17",), r"custom needs a larger input than 16x16"),
        (("conv 8 kernel 17 pad 0",), r"leave nothing of it"),
        (("conv 8 pool 17", "conv 8 pad 9"), r"leave nothing of it"),
        (("conv 8 kernel 19 pad 0", "conv 8 pad 12"), r"leave nothing of it"),
        (("conv 8", "convv 8"), r"a layer 'convv 8'"),
        ((), r"the name is custom and 0 layers are listed"),
    ],
)
def test_layers_that_do_not_go_together_are_refused(layers, why):
    with pytest.raises(UsageError, match=why):
        custom(*layers)


def test_layers_are_for_the_custom_network_alone():
    with pytest.raises(UsageError, match=r"the name is lenet5 and 1 layers"):
        build_network("lenet5", (2, 32, 32), 3, layers=("conv 8",))


def test_channels_below_are_those_of_the_layer_below_even_a_grouped_one():
    spec = custom("conv 6 groups 2", "conv 9 groups 3", "block 5", "conv 10 groups 5")
    assert [one.groups for one in spec.layers] == [2, 3, 1, 5]
    network = Network(spec, 0)
    assert [tuple(one.weight.shape[:2]) for one in network.layers[:2]] == [(6, 1), (9, 2)]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_named_network_said_in_words_is_that_network(name):
    """But for the average under the readout, which a list of layers cannot say."""
    layers = ARCHITECTURES[name].layers
    said, named = custom(*layers, shape=(2, 32, 32)), build_network(name, (2, 32, 32), 3)
    assert said.layers == named.layers


SETS = [
    "network.architecture=custom",
    'network.layers=["conv 8 pool 2", "block 16 stride 2 residual membrane", '
    '"linear 20 dropout 0.2"]',
]


def test_a_recipe_may_list_its_layers():
    """Its readout, neurons and a hidden layer on top as of any network; and it learns."""
    more = ["network.readout=leaky", "network.readout_leak_init=0.7", "network.hidden=9"]
    sets = [*SETS, *more, "network.threshold_sharing=layer"]
    config = load_config(None, sets, {"source.uri": ""})
    spec = network_from_config(config.network, (2, 16, 16), 5)
    assert spec.layers == (
        LayerSpec("conv", 8, pool=2),
        LayerSpec("block", 16, stride=2, residual="membrane"),
        LayerSpec("linear", 20, dropout=0.2),
        LayerSpec("linear", 9),
    )
    assert (spec.readout, spec.readout_leak_init, spec.neuron.threshold_sharing) == (
        "leaky_integrator",
        0.7,
        "layer",
    )
    network = Network(spec, 0)
    assert network.layer_names == ["conv1", "block2.a", "block2.b", "linear3", "linear4"]
    assert float(network.readout.leak) == pytest.approx(0.7)
    bins = [10 * torch.rand(2, 2, 16, 16) for _ in range(4)]
    loss, votes = batch_gradients(network, bins, torch.tensor([0, 4]), Loss())
    assert math.isfinite(float(loss))
    assert votes.shape == (2, 5)
    assert all(bool(g.any()) for name, g in network.grads.items() if name.endswith("weight"))


def test_a_file_may_list_them_too(tmp_path):
    recipe = tmp_path / "own.toml"
    recipe.write_text('[network]\nname = "custom"\nlayers = ["conv 4 maxpool 2", "linear 7"]\n')
    spec = network_from_config(load_config(recipe).network, (1, 8, 8), 2)
    assert spec.layers == (LayerSpec("conv", 4, pool=2, pooling="max"), LayerSpec("linear", 7))


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ('network.layers="conv 8"', "network.layers"),
        ("network.layers=[8]", "network.layers"),
        ('network.layers=["conv 8 groups 3"]', "groups 3 must divide"),
        ('network.layers=["conv 8 kernel 4"]', "a kernel is odd"),
        ("network.layers=[]", "0 layers are listed"),
    ],
)
def test_the_command_refuses_them_with_exit_2(setting, why):
    result = runner.invoke(app, ["model", "custom", "--set", setting])
    assert result.exit_code == 2
    assert why in result.stderr
    assert "Traceback" not in result.stderr


def test_the_command_shows_a_listed_network_in_its_order():
    result = runner.invoke(app, ["model", "custom", "--set", SETS[1]], env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    rows = [line.split("  ")[0] for line in lines[lines.index("") + 3 :]]
    names = ["conv1", "block2.a", "block2.b", "block2.skip", "linear3", "readout", "total"]
    assert [row for row in rows if row in names] == names
    (linear,) = (line for line in lines if line.startswith("linear3"))
    assert "linear, dropout 0.2" in linear
    (skip,) = (line for line in lines if line.startswith("block2.skip"))
    assert "conv 1x1, stride 2" in skip
    assert "16x8x8" in skip


@pytest.mark.parametrize("readout", ["linear", "leaky_integrator", "spiking"])
def test_the_figures_are_those_of_the_network_that_is_built(readout):
    sets = [*SETS[1:], f"network.readout={readout}"]
    args = [arg for one in sets for arg in ("--set", one)]
    told = json.loads(runner.invoke(app, ["model", "custom", "--json", *args]).stdout)
    config = load_config(None, [*SETS, sets[-1]], {"source.uri": ""})
    spec = network_from_config(config.network, (2, 32, 32), 11)
    network, cost = Network(spec, 0), network_cost(spec)
    parameters = sum(value.numel() for value in network.parameters().values())
    gradients = sum(value.numel() for value in network.grads.values())
    assert told["parameters"] == parameters
    assert told["learning_parameters"] == gradients == parameters - 16  # the way's bias stays
    assert told["bytes"]["state"] == cost.state_bytes == network.state_bytes()
    skip = next(layer for layer in told["layers"] if layer["name"] == "block2.skip")
    assert skip["forward"] == 16 * 8 * 8 * 8
    assert skip["parameters"] == 16 * 8 + 16
    assert sum(layer["parameters"] for layer in told["layers"]) == parameters
