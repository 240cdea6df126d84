"""`train --smoke` with no data at hand: generated samples, of the right shape, named as such."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from streamstop.cli import app
from streamstop.config.bundled import bundled_path
from streamstop.config.training import load_train_config
from streamstop.datasets.smoke import smoke_sets

RECIPES = {path.stem: path for path in bundled_path("pipelines/train").glob("*.toml")}

CLASSES = {
    "mnist": 10,
    "cifar10": 10,
    "cifar100": 100,
    "nmnist": 10,
    "dvs": 11,
    "cifar10dvs": 10,
    "objects": 7,
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipes' data may be near the checkout, but not near here."""
    monkeypatch.chdir(tmp_path)


def away(name: str, folder: Path) -> str:
    """A copy of a bundled recipe in a folder from which its data cannot be found."""
    return str(shutil.copy(RECIPES[name], folder / f"{name}.toml"))


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_generated_samples_of_its_shape(name: str, tmp_path: Path) -> None:
    recipe = away(name, tmp_path)
    config = load_train_config(recipe, smoke=True)
    made = smoke_sets(recipe, config)
    assert made is not None
    (training, test, _), note = made
    steps, grid = config.data.time_steps, (config.binning.height, config.binning.width)
    images = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32), "cifar100": (3, 32, 32)}
    word = name.partition("-")[0]
    assert training.x.shape == (20, *images.get(word, (steps, 2, *grid)))
    assert training.x.dtype == torch.uint8 and training.x.float().std() > 0
    assert len(training.classes) == CLASSES[word] and int(training.y.max()) < CLASSES[word]
    assert training.simulated
    assert (test is None) == bool(config.data.folds)
    if test is not None:
        assert test.x.shape == training.x.shape and not torch.equal(test.x, training.x)
    assert "from: " in note and "--set data.uri=" in note and "mean nothing" in note
    again = smoke_sets(recipe, config)
    assert again is not None and torch.equal(again[0].training.x, training.x)


def test_nothing_is_generated_where_the_data_are_or_of_which_nothing_is_known(
    tmp_path: Path,
) -> None:
    recipe = away("mnist-lenet5", tmp_path)
    config = load_train_config(recipe, [f"data.uri={tmp_path}"], smoke=True)
    assert smoke_sets(recipe, config) is None
    missing = load_train_config(recipe, ["data.uri=nowhere"], smoke=True)
    assert smoke_sets(recipe, missing) is not None
    assert smoke_sets("mine.toml", missing) is None


@pytest.mark.parametrize("name", ["mnist-lenet5", "dvs-gesture-compact"])
def test_a_recipe_without_its_data_smokes(name: str, tmp_path: Path) -> None:
    args = ["train", away(name, tmp_path), "--smoke", "--json", "--quiet", "--out", "runs"]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 0, result.output
    (line,) = (one for one in result.stderr.splitlines() if "generated" in one)
    assert "the scores mean nothing" in line and "The real set:" in line
    summary = json.loads(result.stdout)
    assert summary["status"] == "complete" and summary["simulated"] is True
    assert summary["data"].startswith("generated samples in place of ")
    assert summary["test"]["samples"] == 20
    (folder,) = (tmp_path / "runs").iterdir()
    assert "these scores mean nothing" in (folder / "train.md").read_text()


def test_a_place_that_the_user_named_is_not_replaced(tmp_path: Path) -> None:
    recipe = away("mnist-lenet5", tmp_path)
    args = ["train", recipe, "--smoke", "--set", "data.uri=nowhere", "--out", str(tmp_path / "o")]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 3
    assert "nowhere" in result.stderr and "generated" not in result.stderr


def test_without_smoke_missing_data_are_an_error(tmp_path: Path) -> None:
    args = ["train", away("mnist-lenet5", tmp_path), "--out", str(tmp_path / "o")]
    assert CliRunner().invoke(app, args).exit_code == 3
