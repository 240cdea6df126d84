"""Trainings: gradients, falling loss, resuming to the byte, and a test set that nobody peeks at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.idx_files import write_images
from safetensors.torch import load_file
from typer.testing import CliRunner

from streamstop.cli import app
from streamstop.config.sections import NetworkConfig
from streamstop.config.training import load_train_config
from streamstop.datasets.images import load_images
from streamstop.datasets.samples import Samples
from streamstop.errors import UsageError
from streamstop.learning.network_section import network_from_config
from streamstop.learning.weights import load_weights
from streamstop.stop.network import Network
from streamstop.training.distributed import ProcessGroup
from streamstop.training.train import load_unfinished, to_markdown, train
from streamstop.training.trainer import Trainer


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
    small = {
        "network.channels": [4, 6],
        "train.epochs": 4,
        "train.batch_size": 10,
        "train.lr": 1e-2,
    }
    small |= {"data.uri": str(tmp_path / "data"), "run.output_dir": str(tmp_path / "runs")}
    recipe = tmp_path / "tiny.toml"
    recipe.write_text("[augment]\nmax_shift = 1\n[train]\nweight_decay = 0.01\n")
    return load_train_config(str(recipe), [], {**small, **others})


def test_the_loss_falls_and_the_test_is_passed(tmp_path: Path) -> None:
    images(tmp_path / "data")
    result = train(settings(tmp_path, **{"train.epochs": 8, "augment.max_shift": 0}))
    lines = [json.loads(line) for line in (result.folder / "epochs.jsonl").open()]
    assert [line["epoch"] for line in lines] == list(range(1, 9))
    assert lines[-1]["loss"] < lines[0]["loss"] / 2
    assert result.summary["test"]["accuracy"] > 0.8
    assert json.loads((result.folder / "train.json").read_text()) == result.summary


def test_a_part_of_the_samples_is_said_to_be_one_where_it_is(tmp_path: Path) -> None:
    images(tmp_path / "data")
    for limit, cut in ((0, None), (30, 30), (1000, None)):
        result = train(settings(tmp_path, **{"train.epochs": 1, "data.max_samples": limit}))
        assert result.summary["limit"] == cut
        said = to_markdown(result.summary)
        assert ("At most 30 samples of each set" in said) == (cut == 30)


def test_a_batchs_gradient_is_the_mean_of_its_samples(tmp_path: Path) -> None:
    samples = load_images(images(tmp_path / "data"), "train")
    trainer = Trainer(settings(tmp_path), samples, 3)
    singles: dict[str, torch.Tensor] = {}
    for i in range(5):
        trainer.accumulate_gradients(samples.x[i : i + 1], samples.y[i : i + 1])
        for name, grad in trainer.network.grads.items():
            singles[name] = singles.get(name, torch.zeros_like(grad)) + grad / 5
    trainer.accumulate_gradients(samples.x[:5], samples.y[:5])
    assert {"conv1.leak_logit", "conv2.log_theta", "readout.bias"} < singles.keys()
    for name, grad in trainer.network.grads.items():
        torch.testing.assert_close(grad, singles[name], rtol=1e-4, atol=1e-6)


VARIANTS: dict[str, dict[str, Any]] = {
    "adam": {},
    "sgd": {"train.optimizer": "sgd"},
    "averaged": {"train.ema_decay": 0.9},
    "batch-normalised, with dropout": {
        "network.normalization": "batch",
        "network.architecture": "custom",
        "network.layers": ["conv 4 kernel 5 pool 2", "linear 12 dropout 0.3"],
        "network.channels": [],
    },
    "by bptt, leaky readout, at the end": {
        "train.rule": "bptt",
        "train.loss_at": "end",
        "network.readout": "leaky_integrator",
    },
    "mixed": {"train.precision": "mixed"},
}


@pytest.mark.parametrize("others", VARIANTS.values(), ids=VARIANTS.keys())
def test_resuming_gives_the_bytes_of_an_uninterrupted_training(
    others: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images(tmp_path / "data")
    config = settings(tmp_path, **others, **{"train.warmup_epochs": 1})
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
    assert load_unfinished(cut) == config and not (cut / "train.json").exists()
    train(load_unfinished(cut), folder=cut)
    for name in ("best.safetensors", "last.safetensors", "resume.safetensors"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes(), name
    told = [[json.loads(line) for line in (f / "epochs.jsonl").open()] for f in (cut, whole)]
    for line in told[0] + told[1]:
        del line["seconds"]
    assert told[0] == told[1]
    with pytest.raises(UsageError, match="complete"):
        load_unfinished(cut)


def samples_of(tmp_path: Path) -> Samples:
    return load_images(images(tmp_path / "data"), "train")


@pytest.mark.parametrize("rule", ["stop", "ottt", "sltt", "bptt"])
@pytest.mark.parametrize("loss", ["ce", "half_mse", "mean_ce_mse"])
def test_every_rule_learns_by_every_loss(rule: str, loss: str, tmp_path: Path) -> None:
    samples = samples_of(tmp_path)
    few = {"train.epochs": 6, "augment.max_shift": 0, "train.rule": rule, "train.loss": loss}
    trainer = Trainer(settings(tmp_path, **few), samples, 3)
    losses = [trainer.epoch(number)[0] for number in range(6)]
    assert losses[-1] < 0.8 * losses[0]
    assert trainer.evaluate(samples).accuracy > 0.6


def test_with_ottt_thresholds_and_leaks_stand_still(tmp_path: Path) -> None:
    trainer = Trainer(settings(tmp_path, **{"train.rule": "ottt"}), samples_of(tmp_path), 3)
    before = {name: value.clone() for name, value in trainer.network.parameters().items()}
    trainer.epoch(0)
    moved = {k for k, v in trainer.network.parameters().items() if not torch.equal(v, before[k])}
    assert moved == {name for name in before if name.endswith((".weight", ".bias"))}


def test_a_loss_at_the_end_is_that_of_the_last_step_and_so_is_the_decision(tmp_path: Path) -> None:
    samples = samples_of(tmp_path)
    config = settings(tmp_path, **{"train.loss_at": "end", "network.readout": "leaky_integrator"})
    trainer = Trainer(config, samples, 3)
    x = (samples.x.float() - trainer.mean[0]) / trainer.deviation[0]
    network = trainer.network
    network.reset_state(len(x))
    for _ in range(config.data.time_steps):
        logits = network.forward(x, traces=False)
    expected = torch.nn.functional.cross_entropy(logits, samples.y)
    right = int((logits.argmax(1) == samples.y).sum())
    assert trainer.evaluate(samples) == (right, len(x))
    told = trainer.accumulate_gradients(samples.x, samples.y)
    assert float(told[0]) / len(x) == pytest.approx(float(expected), rel=1e-5)


def test_averaged_weights_are_kept_and_the_own_ones_go_on(tmp_path: Path) -> None:
    images(tmp_path / "data")
    plain = train(settings(tmp_path)).folder
    averaged = train(settings(tmp_path, **{"train.ema_decay": 0.9})).folder
    own, kept = load_file(averaged / "resume.safetensors"), load_file(averaged / "last.safetensors")
    going = load_file(plain / "resume.safetensors")
    for name, value in going.items():
        assert torch.equal(own[name], value), "averaging changed the training"
    for name, value in kept.items():
        assert torch.equal(own[f"average/{name}"], value)
    assert not torch.equal(kept["conv1.weight"], own["network/conv1.weight"])


def test_the_average_is_that_of_the_weights_after_each_update(tmp_path: Path) -> None:
    config = settings(
        tmp_path, **{"train.ema_decay": 0.5, "train.batch_size": 60, "train.epochs": 30}
    )
    trainer = Trainer(config, samples_of(tmp_path), 3)
    weight = trainer.network.parameters()["readout.weight"]
    mean = weight.clone()
    for number in range(12):
        trainer.epoch(number)
        kept = min(0.5, (1 + number) / (10 + number))
        mean = kept * mean + (1 - kept) * weight
    before = weight.clone()
    with trainer.ema_network() as network:
        torch.testing.assert_close(network.parameters()["readout.weight"], mean)
    assert torch.equal(weight, before)


def test_steps_that_go_together_give_the_same_gradients(tmp_path: Path) -> None:
    samples = samples_of(tmp_path)
    found = []
    for together in (1, 3, 10_000):
        config = settings(
            tmp_path, **{"train.steps_per_forward": together, "network.normalization": "batch"}
        )
        trainer = Trainer(config, samples, 3)
        told = trainer.accumulate_gradients(samples.x[:20], samples.y[:20])
        found.append({"told": told, **{k: g.clone() for k, g in trainer.network.grads.items()}})
    for other in found[1:]:
        for name, grad in found[0].items():
            torch.testing.assert_close(other[name], grad, rtol=1e-4, atol=1e-6)


def test_mixed_precision_computes_nearly_the_same(tmp_path: Path) -> None:
    samples = samples_of(tmp_path)
    found = []
    for precision in ("float32", "mixed"):
        trainer = Trainer(settings(tmp_path, **{"train.precision": precision}), samples, 3)
        trainer.accumulate_gradients(samples.x[:20], samples.y[:20])
        found.append(trainer.network.grads["readout.weight"].clone())
        assert all(value.dtype == torch.float32 for value in trainer.network.parameters().values())
    assert not torch.equal(*found)
    alike = torch.nn.functional.cosine_similarity(found[0].flatten(), found[1].flatten(), 0)
    assert alike > 0.95


ELSEWHERE: tuple[dict[str, Any], ...] = (
    {"train.rule": "stop", "train.optimizer": "sgd"},
    {"train.rule": "sltt", "train.ema_decay": 0.9, "network.normalization": "weight"},
    {"train.rule": "bptt", "network.reset": "hard", "network.threshold_sharing": "neuron"},
    {"train.precision": "mixed", "network.normalization": "batch", "network.readout": "spiking"},
    {
        "network.architecture": "resnet18",
        "network.readout": "leaky_integrator",
        "train.loss": "mean_ce_mse",
    },
    {
        "train.steps_per_forward": 3,
        "network.normalization": "batch",
        "network.readout": "leaky_integrator",
    },
)


@pytest.mark.parametrize("others", ELSEWHERE)
def test_nothing_stays_behind_on_another_device(others: dict[str, Any], tmp_path: Path) -> None:
    """The "meta" device computes shapes only, and like a GPU refuses most tensors of the CPU."""
    samples = samples_of(tmp_path)
    config = settings(tmp_path, **{"network.channels": [], **others})
    trainer = Trainer(config, samples, 3, ProcessGroup(device=torch.device("meta")))
    before = len(trainer.state())
    assert trainer.accumulate_gradients(samples.x[:4], samples.y[:4]).device.type == "meta"
    trainer._optimizer.step()
    with trainer.ema_network() as network:
        kept = network.folded()[1]
    state = trainer.state()
    assert len(state) > before
    trainer.restore(state)
    for name, value in {**kept, **state}.items():
        assert value.device.type == "meta" or name.endswith("/step"), name


def test_what_is_kept_says_what_network_it_is(tmp_path: Path) -> None:
    images(tmp_path / "data")
    batch = {"network.normalization": "batch", "train.ema_decay": 0.5}
    result = train(settings(tmp_path, **batch))
    tensors, about = load_weights(result.folder / "best.safetensors")
    assert about["classes"] == ["0", "1", "2"] and about["input"] == [1, 8, 8]
    assert about["network"]["channels"] == [4, 6] and about["bin_us"] == 0
    assert about["network"]["normalization"] == "none", "running statistics were not folded in"
    assert about["epoch"] == result.summary["parts"][0]["best_epoch"]
    # A network made of the file alone scores on the test set what the training says of itself.
    section = {key: tuple(v) if isinstance(v, list) else v for key, v in about["network"].items()}
    spec = network_from_config(NetworkConfig(**section), (1, 8, 8), 3)
    network = Network(spec, seed=5)
    network.load_parameters(tensors)
    test = load_images(tmp_path / "data", "test")
    x = (test.x.float() - about["mean"][0]) / about["deviation"][0]
    network.reset_state(len(x))
    votes = sum(network.forward(x, traces=False) for _ in range(about["steps"]))
    assert isinstance(votes, torch.Tensor)
    assert int((votes.argmax(1) == test.y).sum()) == result.summary["test"]["correct"]


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


def test_resume_and_a_recipe_exclude_each_other(tmp_path: Path) -> None:
    for args in ([], ["x", "--resume", "y"], ["--resume", "y", "--seed", "1"]):
        assert CliRunner().invoke(app, ["train", *args]).exit_code == 2
