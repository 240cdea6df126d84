"""Names of an older version: each is read, each leads to a setting that there is."""

from __future__ import annotations

import warnings
from dataclasses import fields

import pytest

from streamstop.config.aliases import (
    ADDED,
    ALIASES,
    KEPT,
    SCHEMA,
    VALUE_ALIASES,
    OldNamesWarning,
    current_section,
    noting_old_names,
)
from streamstop.config.fields import choices, types, validate
from streamstop.config.sections import Config
from streamstop.config.training import TrainConfig
from streamstop.errors import UsageError
from streamstop.pipeline.configure import load_config

SECTIONS = {**types(TrainConfig), **types(Config)}


@pytest.mark.parametrize("section", ALIASES)
def test_every_old_key_leads_to_one_that_there_is_and_hides_none(section) -> None:
    known = {one.name for one in fields(SECTIONS[section])}
    assert set(ALIASES[section].values()) <= known
    assert not set(ALIASES[section]) & known


@pytest.mark.parametrize(("section", "key"), VALUE_ALIASES)
def test_every_old_value_leads_to_one_that_is_allowed_and_hides_none(section, key) -> None:
    for old, new in VALUE_ALIASES[section, key].items():
        validate(SECTIONS[section], section, key, new, "a test")
        assert old not in choices(SECTIONS[section], key)


def test_old_names_are_noted_once_and_short_forms_are_not() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        config = load_config("demo", ["network.theta=0.5", "learner.learn=wt", "learner.loss=mse"])
    (one,) = seen
    assert one.category is OldNamesWarning
    assert "network.theta is now threshold_init" in str(one.message)
    assert "learner.learn is now trainable" in str(one.message)
    assert "mse" not in str(one.message) and ("learner", "loss") in KEPT
    assert config.network.threshold_init == 0.5
    assert config.learner.trainable == ("weights", "thresholds")
    assert config.learner.loss == "half_mse"


def test_names_of_now_are_noted_nowhere() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_config("demo", ["network.threshold_init=0.5"])


def test_a_setting_under_both_its_names_is_refused() -> None:
    sets = ["network.theta=0.5", "network.threshold_init=0.6"]
    with pytest.raises(UsageError, match="two names of one setting; keep network"):
        load_config("demo", sets)


def test_a_recipe_of_a_newer_schema_is_refused(tmp_path) -> None:
    recipe = tmp_path / "new.toml"
    recipe.write_text("schema = 99\n[run]\nseed = 1\n")
    with pytest.raises(UsageError, match="schema = 99: this version reads schemas 1 to 2"):
        load_config(recipe)


@pytest.mark.parametrize("schema", range(1, SCHEMA + 1))
def test_what_a_schema_added_is_as_before_in_older_recipes_unless_they_say(
    tmp_path, schema
) -> None:
    added = {
        where: value for n in range(schema + 1, SCHEMA + 1) for where, value in ADDED[n].items()
    }
    path = tmp_path / "recipe.toml"
    path.write_text(f"schema = {schema}\n[run]\nseed = 3\n")
    config = load_config(path)
    for (section, key), value in added.items():
        validate(SECTIONS[section], section, key, value, "a test")
        assert getattr(getattr(config, section), key) == value
    path.write_text(f'schema = {schema}\n[learner]\nlate = "last"\n')
    assert load_config(path).learner.late == "last"


def test_a_section_keeps_the_value_of_the_new_name() -> None:
    found = current_section("network", {"theta": 1, "threshold_init": 2, "channels": [3]})
    assert found == {"threshold_init": 2, "channels": [3]}


def test_notes_of_an_inner_block_are_made_by_the_outer_one() -> None:
    with pytest.warns(OldNamesWarning, match="out is now output_dir") as seen, noting_old_names():
        load_config("demo", ["run.out=x"])
        load_config("demo", ["run.out=y"])
    assert len(seen) == 1


def test_a_slip_in_an_old_name_is_answered_with_the_new_one() -> None:
    with pytest.raises(UsageError, match=r"did you mean learner\.ema_decay\?"):
        load_config("demo", ["learner.sloww=0.5"])


def test_settings_that_a_schema_added_are_as_before_it_in_older_recipes(tmp_path) -> None:
    older, current = tmp_path / "older.toml", tmp_path / "current.toml"
    older.write_text("[run]\nseed = 1\n")
    current.write_text(f"schema = {SCHEMA}\n[run]\nseed = 1\n")
    before, now = load_config(older), load_config(current)
    assert (before.source.max_latency_ms, now.source.max_latency_ms) == (0, 500)
    assert before.binning == now.binning
    for added in ADDED.values():
        for (section, key), value in added.items():
            assert getattr(getattr(before, section), key) == value
