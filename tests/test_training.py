"""Trainings: gradients, falling loss, resuming to the byte, and a test set that nobody peeks at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from event_files import random_events, write_bin
from idx_files import write_images
from typer.testing import CliRunner

from streamstop.bundled import bundled_path
from streamstop.cli import app
from streamstop.datasets import load_images
from streamstop.errors import UsageError
from streamstop.train_config import RECIPES, load_train_config
from streamstop.trainer import Trainer, shifted
from streamstop.training import train, unfinished

RECIPE_FILES = sorted(bundled_path(RECIPES).glob("*.toml"))


def images(folder: Path, size: int = 8, n: int = 60, classes: int = 3) -> Path:
    """Noise with a bright row whose place is the class."""
    draw = np.random.default_rng(0)
    for part in ("train", "t10k"):
        y = np.arange(n) % classes
        x = draw.integers(0, 60, (n, size, size))
        x[np.arange(n), 1 + 2 * y] += 190
        write_images(folder, part, x, y)
    return folder


def settings(tmp_path: Path, **others: Any) -> Any:
    small = {"network.channels": [4, 6], "train.epochs": 4, "train.batch": 10, "train.lr": 1e-2}
    small |= {"data.uri": str(tmp_path / "data"), "run.out": str(tmp_path / "runs")}
    recipe = tmp_path / "tiny.toml"
    recipe.write_text("[train]\nshift = 1\nweight_decay = 0.01\n")
    return load_train_config(str(recipe), [], {**small, **others})


def test_the_loss_falls_and_the_test_is_passed(tmp_path: Path) -> None:
    images(tmp_path / "data")
    result = train(settings(tmp_path, **{"train.epochs": 8, "train.shift": 0}))
    lines = [json.loads(line) for line in (result.folder / "epochs.jsonl").open()]
    assert [line["epoch"] for line in lines] == list(range(1, 9))
    assert lines[-1]["loss"] < lines[0]["loss"] / 2
    assert result.summary["test"]["accuracy"] > 0.8
    assert json.loads((result.folder / "train.json").read_text()) == result.summary


def test_a_batchs_gradient_is_the_mean_of_its_samples(tmp_path: Path) -> None:
    samples = load_images(images(tmp_path / "data"), "train")
    trainer = Trainer(settings(tmp_path), samples, 3)
    singles: dict[str, torch.Tensor] = {}
    for i in range(5):
        trainer.gather(samples.x[i : i + 1], samples.y[i : i + 1])
        for name, grad in trainer.network.grads.items():
            singles[name] = singles.get(name, torch.zeros_like(grad)) + grad / 5
    trainer.gather(samples.x[:5], samples.y[:5])
    assert {"conv1.leak_logit", "conv2.log_theta", "readout.bias"} < singles.keys()
    for name, grad in trainer.network.grads.items():
        torch.testing.assert_close(grad, singles[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_resuming_gives_the_bytes_of_an_uninterrupted_training(
    optimizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images(tmp_path / "data")
    config = settings(tmp_path, **{"train.optimizer": optimizer, "train.warmup_epochs": 1})
    whole = train(config).folder
    epoch = Trainer.epoch

    def stop(self: Trainer, number: int, *others: Any) -> Any:
        if number == 2:
            raise KeyboardInterrupt
        return epoch(self, number, *others)

    monkeypatch.setattr(Trainer, "epoch", stop)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    monkeypatch.undo()
    (cut,) = (one for one in (tmp_path / "runs").iterdir() if one != whole)
    assert unfinished(cut) == config and not (cut / "train.json").exists()
    train(unfinished(cut), folder=cut)
    for name in ("best.safetensors", "last.safetensors", "resume.safetensors"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes(), name
    told = [[json.loads(line) for line in (f / "epochs.jsonl").open()] for f in (cut, whole)]
    for line in told[0] + told[1]:
        del line["seconds"]
    assert told[0] == told[1]
    with pytest.raises(UsageError, match="complete"):
        unfinished(cut)


def test_the_test_set_changes_nothing_but_the_final_figure(tmp_path: Path) -> None:
    folder = images(tmp_path / "data")
    first = train(settings(tmp_path))
    write_images(folder, "t10k", np.zeros((5, 8, 8)), np.array([9, 9, 9, 9, 9]))
    second = train(settings(tmp_path))
    for name in ("best.safetensors", "last.safetensors"):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()
    assert second.summary["test"]["correct"] == 0 < first.summary["test"]["correct"]
    for one in (*first.summary["parts"], *second.summary["parts"]):
        del one["test"]
    assert first.summary["parts"] == second.summary["parts"]


def test_a_shift_moves_and_brings_in_zeros() -> None:
    x = torch.ones(50, 1, 5, 5, dtype=torch.uint8)
    moved = shifted(x, 2, torch.Generator().manual_seed(0))
    assert set(moved.sum((1, 2, 3)).tolist()) <= {a * b for a in (3, 4, 5) for b in (3, 4, 5)}
    assert len(set(moved.sum((1, 2, 3)).tolist())) > 3


@pytest.mark.parametrize("recipe", RECIPE_FILES, ids=lambda recipe: recipe.stem)
def test_a_recipe_smokes(recipe: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    if load_train_config(recipe.stem).data.kind == "images":
        images(data, size=28, n=50, classes=10)
    else:
        for i in range(20):
            events = random_events(300, width=34, height=34, seed=i)
            write_bin(data / str(i % 2) / f"{i}.bin", events)
    args = ["train", recipe.stem, "--smoke", "--json", "--set", f"data.uri={data}"]
    result = CliRunner().invoke(app, [*args, "--out", str(tmp_path / "runs")])
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert (summary["status"], summary["epochs"]) == ("complete", 1)
    assert summary["test"]["samples"] == (40 if recipe.stem.startswith("mnist") else 20)


def test_resume_and_a_recipe_exclude_each_other(tmp_path: Path) -> None:
    for args in ([], ["x", "--resume", "y"], ["--resume", "y", "--seed", "1"]):
        assert CliRunner().invoke(app, ["train", *args]).exit_code == 2
