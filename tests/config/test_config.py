"""The configuration: what it accepts, what it refuses and in which words, and what it writes."""

from __future__ import annotations

import tomllib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstop.config import bundled
from streamstop.config.bundled import bundled_path, find_recipe
from streamstop.config.fields import choices, types
from streamstop.config.recipe import MAX_RECIPE_BYTES, to_toml
from streamstop.config.sections import (
    BinningConfig,
    Config,
    LearnerConfig,
    NetworkConfig,
    RunConfig,
    SourceConfig,
)
from streamstop.errors import SourceError, UsageError
from streamstop.events import binning
from streamstop.learning.network_section import network_from_config
from streamstop.pipeline.configure import load_config
from streamstop.stop.architectures import ARCHITECTURES, CUSTOM, build_network
from streamstop.stop.layer import NeuronSpec
from streamstop.stop.losses import LossKind, LossTime
from streamstop.stop.network import Rule
from streamstop.stop.neuron import SURROGATES
from streamstop.stop.readouts import ReadoutKind

SECTIONS: dict[str, Any] = get_type_hints(Config)
KEYS = [(name, spec.name) for name, section in SECTIONS.items() for spec in fields(section)]


def write(folder: Path, text: str, name: str = "recipe.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def refusal(*args: Any) -> str:
    with pytest.raises(UsageError) as caught:
        load_config(*args)
    return str(caught.value)


def test_flags_win_over_sets_and_sets_over_the_recipe(tmp_path: Path) -> None:
    recipe = write(tmp_path, "[run]\nseed = 1\nthreads = 2\n[binning]\nbin_us = 3\nheight = 4\n")
    config = load_config(recipe, ["run.seed=5", "binning.bin_us=6"], {"run.seed": 7})
    assert (config.run.seed, config.binning.bin_us) == (7, 6)
    assert (config.run.num_threads, config.binning.height, config.binning.width) == (2, 4, 32)


def test_the_last_of_two_sets_wins_and_an_override_of_none_says_nothing() -> None:
    config = load_config(None, ["run.seed=5", "run.seed=6"], {"run.seed": None})
    assert config.run.seed == 6


def test_nothing_but_a_source_means_the_defaults_and_nothing_at_all_the_demo() -> None:
    assert load_config(None, [], {"source.uri": "x"}) == Config(source=SourceConfig(uri="x"))
    assert load_config(None, ["source.uri=x"]) == Config(source=SourceConfig(uri="x"))
    assert load_config() == load_config("demo")
    assert load_config().run.name == "demo"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("network.channels=[16, 24]", (16, 24)),
        ("network.channels=[]", ()),
        ("network.threshold_init=1e-3", 0.001),
        ("segments.length_us=5e5", 500_000),
        ("segments.length_us=500_000", 500_000),
        ("network.threshold_init=2", 2.0),
        ("source.strict=true", True),
        ("binning.resize_mode=crop", "crop"),
        ('binning.resize_mode="crop"', "crop"),
        (" binning.resize_mode = crop ", "crop"),
        ("source.uri=123", "123"),
        ("source.uri=true", "true"),
        ("source.uri=udp://127.0.0.1:3333?sensor=346x260", "udp://127.0.0.1:3333?sensor=346x260"),
        ("source.uri=a b#c.aedat4", "a b#c.aedat4"),
        ("source.uri=", ""),
    ],
)
def test_a_set_is_read_as_the_key_wants_it(text: str, expected: object) -> None:
    name, _, key = text.partition("=")[0].strip().partition(".")
    config = load_config(None, [text, "run.name=x"])
    value = getattr(getattr(config, name), key)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("binning.bin_us=0", "binning.bin_us = 0: must be a whole number at least 1"),
        ("binning.bin_us=1.5", "binning.bin_us = 1.5: must be a whole number"),
        ("binning.bin_us=true", "binning.bin_us = true: must be a whole number"),
        ("binning.bin_us=fast", 'binning.bin_us = "fast": must be a whole number'),
        ("binning.bin_us=2024-01-01", "binning.bin_us = 2024-01-01: must be a whole number"),
        ("binning.bin_us=1\nx = 2", "must be a whole number"),
        ("run.seed=99999999999999999999", "must be a whole number at least 0"),
        ("run.seed=-1", "run.seed = -1: must be a whole number at least 0"),
        ("network.leak_init=1", "network.leak_init = 1: must be a number above 0 and below 0.99"),
        ("network.leak_init=0.99", "must be a number above 0 and below 0.99"),
        ("network.leak_init=0.0", "must be a number above 0 and below 0.99"),
        (
            "network.threshold_init=0.0009",
            "network.threshold_init = 0.0009: must be a number at least 0.001",
        ),
        (
            "network.threshold_init=nan",
            "network.threshold_init = nan: must be a number at least 0.001",
        ),
        (
            "network.threshold_init=inf",
            "network.threshold_init = inf: must be a number at least 0.001",
        ),
        ("network.threshold_init=" + "9" * 400, "must be a number at least 0.001"),
        ("network.threshold_init=" + "9" * 5000, "must be a number at least 0.001"),
        ("network.threshold_init=" + "[" * 5000, "must be a number at least 0.001"),
        (
            "network.architecture=lenet",
            "one of compact, lenet5, vgg11, resnet18, custom (did you mean lenet5?)",
        ),
        ("network.reset=zero", "must be one of soft, hard"),
        ("network.hidden=1_048_577", "must be a whole number at least 0 and at most 1048576"),
        ("learner.rule=rtrl", "must be one of stop, ottt, sltt, bptt"),
        ("network.channels=32", "must be a list, each item a whole number at least 1"),
        ("network.channels=[8, 0]", "network.channels = [8, 0]: must be a whole number at least 1"),
        ("source.strict=1", "source.strict = 1: must be true or false"),
        ("source.sensor=346", 'source.sensor = "346": must be WIDTHxHEIGHT, such as 346x260'),
        ("source.sensor=0x260", "must be WIDTHxHEIGHT"),
        ("source.uri=a\nb", "must be UTF-8 text without control characters"),
        ("source.uri=\udcff", "must be UTF-8 text"),
        ("run.name=../up", "must be letters, digits, dot, dash and underscore"),
        ("run.name=.hidden", "must be letters, digits"),
        ("binning.resize_mode=cropp", "one of letterbox, crop, stretch (did you mean crop?)"),
        ("segments.length_us=9999", "a segment must be at least one bin long"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_what_is_allowed(text: str, said: str) -> None:
    message = refusal(None, [text])
    assert said in message
    assert len(message) < 12_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("binning.bin_uss=1", "Unknown key 'binning.bin_uss' (did you mean binning.bin_us?)"),
        ("binnin.bin_us=1", "Unknown section in 'binnin.bin_us' (did you mean binning.bin_us?)"),
        ("binning.lr=1", "Unknown key 'binning.lr' (did you mean learner.lr?)"),
        ("seed=1", "Unknown key 'seed' (did you mean run.seed?)"),
        ("binning=1", "'binning' is a section, not a key. [binning] has bin_us, height"),
        ("zzz.qqq=1", "Unknown section in 'zzz.qqq'. The sections are source, segments"),
        ("source.sensor_size=1", "Unknown key 'source.sensor_size' (did you mean source.sensor?)"),
        ("run.seed", "--set takes section.key=value"),
        ("=1", "Unknown key ''"),
    ],
)
def test_an_unknown_key_is_an_error_with_a_suggestion(text: str, said: str) -> None:
    assert said in refusal(None, [text])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[binning]\nbin_uss = 1\n",
            "Unknown key 'binning.bin_uss' (did you mean binning.bin_us?)",
        ),
        ("[binnin]\nbin_us = 1\n", "did you mean binning.bin_us?"),
        ("[zzz]\n", "Unknown key 'zzz'"),
        ("seed = 1\n", "did you mean run.seed?"),
        ("run = 1\n", "run must be a section, [run]"),
        ("[[run]]\nseed = 1\n", "run must be a section, [run]"),
        ("[run.seed]\nx = 1\n", "run.seed = {'x': 1}: must be a whole number"),
        ("[run]\nseed = \n", "The recipe is not TOML (Invalid value (at line 2, column 8))"),
        ("[run]\nname = 3\n", "run.name = 3: must be text in quotes"),
        ("x = " + "[" * 20_000, "The recipe is not TOML"),
        ("x = " + "9" * 20_000, "The recipe is not TOML"),
        ("#" * (MAX_RECIPE_BYTES + 1), "The recipe is longer than"),
    ],
)
def test_a_recipe_that_cannot_be_meant_is_refused_and_named(
    tmp_path: Path, text: str, said: str
) -> None:
    recipe = write(tmp_path, text)
    message = refusal(recipe)
    assert said in message
    assert message.endswith(str(recipe))


def test_a_recipe_that_is_no_text_is_refused(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_bytes(b"[run]\nname = '\xff'\n")
    assert "not UTF-8, from byte 14" in refusal(recipe)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("davis346", "There is no such recipe (did you mean --source davis346"),
        ("no/such/rec.aedat4", "did you mean --source no/such/rec.aedat4?"),
        ("demmo", "did you mean --source demmo, or the recipe demo.toml?"),
        ("demmo.toml", "did you mean the recipe demo.toml?"),
        ("no/such/x.toml", "There is no such recipe. A recipe is a .toml file"),
        (".", "This is not a recipe (did you mean --source .?)"),
    ],
)
def test_a_recipe_that_is_not_there_is_refused_with_what_was_meant(word: str, said: str) -> None:
    assert said in refusal(word)


def test_a_bundled_recipe_is_found_by_name_and_a_file_comes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    demo = bundled_path("pipelines/demo.toml")
    assert find_recipe("demo") == find_recipe("demo.toml") == demo
    assert find_recipe("pipelines/demo.toml") == demo
    mine = write(tmp_path, "", "demo.toml")
    assert find_recipe("demo.toml").resolve() == mine


def test_a_relative_source_is_looked_for_here_then_beside_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        (folder / "both").touch()
    (there / "only").touch()
    monkeypatch.chdir(here)
    head = "schema = 2\n[source]\n"
    both = write(there, head + 'uri = "both"\nlabels = "nowhere"\n', "a.toml")
    only = write(there, head + 'uri = "only"\nlabels = "only"\n', "b.toml")
    assert load_config(both).source == SourceConfig(uri="both", labels="nowhere")
    assert load_config(only).source == SourceConfig(
        uri=str(there / "only"), labels=str(there / "only")
    )
    assert load_config(both, ["source.uri=only"]).source.uri == "only"


def test_the_run_is_named_after_its_recipe_unless_it_says_otherwise(tmp_path: Path) -> None:
    recipe = write(tmp_path, "", "ärm roll (2).toml")
    assert load_config(recipe).run.name == "rm-roll-2-"
    assert load_config(recipe, ["run.name=mine"]).run.name == "mine"


def test_without_the_bundled_files_the_message_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "site-packages" / "streamstop"
    (installed.parent / "pipelines").mkdir(parents=True)  # some other package's
    monkeypatch.setattr(bundled, "__file__", str(installed / "config" / "bundled.py"))
    with pytest.raises(SourceError, match="lacks a bundled file; reinstall it: pipelines"):
        bundled_path("pipelines")
    (installed / "_bundled" / "pipelines").mkdir(parents=True)
    assert bundled_path("pipelines") == installed / "_bundled" / "pipelines"


def test_choices_and_defaults_are_those_of_the_packages_that_use_them() -> None:
    assert types(BinningConfig)["resize_mode"] == binning.ResizeMode
    assert types(BinningConfig)["representation"] == binning.Representation
    assert choices(NetworkConfig, "surrogate") == tuple(SURROGATES)
    assert choices(NetworkConfig, "architecture") == (*ARCHITECTURES, CUSTOM)
    neuron = get_type_hints(NeuronSpec)
    assert types(NetworkConfig)["readout"] == ReadoutKind
    for key in ("reset", "threshold_sharing", "normalization"):
        assert types(NetworkConfig)[key] == neuron[key]
    assert types(LearnerConfig)["rule"] == Rule
    assert types(LearnerConfig)["loss"] == LossKind
    assert types(LearnerConfig)["loss_at"] == LossTime
    configured = network_from_config(NetworkConfig(), (2, 8, 8), 3)
    assert configured == build_network("compact", (2, 8, 8), 3)


def test_every_default_is_allowed_and_every_key_is_explained() -> None:
    defaults = tomllib.loads(to_toml(Config()))
    sets = [f"{name}.{key}={defaults[name][key]}".lower() for name, key in KEYS]
    assert load_config(None, ["source.uri=", *sets]) == Config()
    for name, key in KEYS:
        spec = next(spec for spec in fields(SECTIONS[name]) if spec.name == key)
        assert 5 < len(spec.metadata["help"]) < 100, f"{name}.{key}"


def any_config() -> st.SearchStrategy[Config]:
    def value(section: type, spec: Any) -> st.SearchStrategy[Any]:
        kind, limits = types(section)[spec.name], spec.metadata
        low = limits["at_least"] if limits["at_least"] is not None else limits["above"]
        high = limits["at_most"] if limits["at_most"] is not None else limits["below"]
        if listed := choices(section, spec.name):
            return st.sampled_from(listed)
        if kind is bool:
            return st.booleans()
        if kind is int:
            return st.integers(low, high if high is not None else 2**63 - 1)
        if kind is float:
            return st.floats(
                low,
                high,
                exclude_min=limits["above"] is not None,
                exclude_max=limits["below"] is not None,
                allow_infinity=False,
                allow_nan=False,
            )
        if get_args(kind) and get_args(kind)[0] is str:
            return st.lists(st.sampled_from(["conv 3", "linear 4"]), max_size=3).map(tuple)
        if get_args(kind) and (listed := get_args(get_args(kind)[0])):
            kept = st.sets(st.sampled_from(listed))
            return kept.map(lambda some: tuple(one for one in listed if one in some))
        if get_args(kind):
            return st.lists(st.integers(low, high), max_size=5).map(tuple)
        if limits["form"]:
            return st.just("") | st.from_regex(limits["form"][0], fullmatch=True)
        letters = st.characters(
            min_codepoint=32, exclude_categories=["Cs"], exclude_characters="\x7f"
        )
        return st.text(letters, max_size=20)

    made = {
        name: st.builds(section, **{spec.name: value(section, spec) for spec in fields(section)})
        for name, section in SECTIONS.items()
    }
    # A segment shorter than a bin, and weights that are not there, are other tests' matters.
    return st.builds(Config, **made).map(
        lambda config: replace(
            config,
            segments=replace(config.segments, length_us=0),
            learner=replace(config.learner, pretrained="", frozen=False),
        )
    )


@given(config=any_config(), explain=st.booleans())
def test_what_was_written_is_read_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, config: Config, explain: bool
) -> None:
    folder = tmp_path_factory.mktemp("round-trip", numbered=True)
    recipe = folder / "config.toml"
    recipe.write_text(to_toml(config, explain=explain), encoding="utf-8")
    # A drawn name such as "." is there, beside the recipe too; that is another test's matter.
    if not any((folder / t).exists() for t in (config.source.uri, config.source.labels) if t):
        assert load_config(recipe) == config


def test_a_run_that_had_no_name_has_none_when_it_is_repeated(tmp_path: Path) -> None:
    recipe = write(tmp_path, to_toml(Config()), "config.toml")
    assert load_config(recipe).run == RunConfig()
