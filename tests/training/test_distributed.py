"""Several processes: the weights of one, one folder, and nobody left waiting."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.idx_files import write_images

from streamstop.config.training import load_train_config
from streamstop.datasets.images import load_images
from streamstop.errors import UsageError
from streamstop.learning.weights import load_weights
from streamstop.training.distributed import ProcessGroup, join_process_group, select_device
from streamstop.training.train import train
from streamstop.training.trainer import Trainer

SAMPLES = 46
"""With a tenth for validation, 41 to train on: the last batch of ten has one sample, and one of two
processes none of it."""

SECONDS = 90


def images(folder: Path) -> None:
    """Noise with a bright row whose place is the class."""
    draw = np.random.default_rng(0)
    for part in ("train", "t10k"):
        y = np.arange(SAMPLES) % 3
        x = draw.integers(0, 60, (SAMPLES, 8, 8))
        x[np.arange(SAMPLES), 1 + 2 * y] += 190
        write_images(folder, part, x, y)


def recipe(tmp_path: Path, optimizer: str) -> Path:
    images(tmp_path / "data")
    path = tmp_path / "tiny.toml"
    path.write_text(f"""
        [data]
        uri = "{tmp_path / "data"}"
        time_steps = 3
        [network]
        architecture = "custom"
        layers = ["conv 4 pool 2", "linear 12 dropout 0.2"]
        [train]
        optimizer = "{optimizer}"
        epochs = 2
        batch_size = 10
        lr = 1e-2
        ema_decay = 0.5
        [augment]
        max_shift = 1
        max_rotation = 10
    """)
    return path


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def processes(count: int, args: list[str]) -> list[subprocess.Popen[str]]:
    """`count` processes of one training, as torchrun starts them."""
    place = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    return [
        subprocess.Popen(
            [sys.executable, *args],
            env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def ended(started: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of each."""
    try:
        told = [one.communicate(timeout=SECONDS) for one in started]
    finally:
        for one in started:
            one.kill()
    return [(one.returncode, *text) for one, text in zip(started, told, strict=True)]


@pytest.mark.parametrize(
    ("optimizer", "sets"),
    [("sgd", []), ("adam", []), ("sgd", ["network.normalization=batch", "train.batch_size=9"])],
    ids=["sgd", "adam", "batches normalised"],
)
def test_two_processes_give_the_weights_of_one(
    optimizer: str, sets: list[str], tmp_path: Path
) -> None:
    path = recipe(tmp_path, optimizer)
    alone = train(load_train_config(str(path), sets, {"run.output_dir": str(tmp_path / "one")}))
    args = ["-m", "streamstop", "train", str(path), "--json", "--out", str(tmp_path / "two")]
    args += [word for one in sets for word in ("--set", one)]
    (first, said, errors), (second, silent, others) = ended(processes(2, args))
    assert (first, second) == (0, 0), errors + others
    assert silent == "", "a process other than the first printed"
    summary = json.loads(said)
    assert summary["processes"] == 2 and summary["command"].startswith("torchrun --nproc")
    for key in ("test", "parts"):
        assert summary[key] == alone.summary[key]
    (folder,) = (tmp_path / "two").iterdir()
    left = {one.name for one in alone.folder.iterdir()}
    assert {one.name for one in folder.iterdir()} == left | {"train.html"}
    for name in ("best.safetensors", "last.safetensors"):
        ours, theirs = load_weights(folder / name), load_weights(alone.folder / name)
        assert ours[1] == theirs[1] and ours[0].keys() == theirs[0].keys()
        for key, value in ours[0].items():
            torch.testing.assert_close(value, theirs[0][key], rtol=0, atol=1e-6)
    losses = [
        [json.loads(line)["loss"] for line in (one / "epochs.jsonl").open()]
        for one in (folder, alone.folder)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


FAILING = """
import os, sys
from streamstop.cli import main
from streamstop.errors import SourceError
from streamstop.training.trainer import Trainer
accumulate, done = Trainer.accumulate_gradients, []
def fails(self, *batch):
    done.append(batch)
    if self.processes.rank == 1 and len(done) == 4:
        {how}
    return accumulate(self, *batch)
Trainer.accumulate_gradients = fails
main()
"""


@pytest.mark.parametrize(
    ("how", "code"), [("raise SourceError('the disk is gone')", 3), ("os._exit(9)", 9)]
)
def test_where_one_fails_the_other_ends_too(how: str, code: int, tmp_path: Path) -> None:
    args = ["train", str(recipe(tmp_path, "sgd")), "--out", str(tmp_path / "runs")]
    (first, said, errors), (second, _, others) = ended(
        processes(2, ["-c", FAILING.format(how=how), *args])
    )
    assert second == code
    assert code == 9 or others == "streamstop: process 1: the disk is gone\n"
    assert first == 1 and said == ""
    assert "streamstop: another process of this training is gone" in errors
    (folder,) = (tmp_path / "runs").iterdir()
    assert not (folder / "train.json").exists()


def test_what_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    config = load_train_config(str(recipe(tmp_path, "sgd")), ["network.normalization=batch"])
    samples = load_images(tmp_path / "data", "train")
    assert (
        Trainer(config, samples, 3, ProcessGroup(0, 1)).network.spec.neuron.normalization == "batch"
    )
    with pytest.raises(UsageError, match="choose another"):
        Trainer(config, samples, 3, ProcessGroup(0, len(samples.y) % 10 + 1))


@pytest.mark.parametrize(
    "place",
    [
        {"RANK": "0"},
        {"RANK": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"},
        {"RANK": "one", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"},
    ],
)
def test_an_environment_that_makes_no_sense(
    place: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"WORLD_SIZE": "2", **place}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError), join_process_group(torch.device("cpu")):
        pass


@pytest.mark.parametrize("samples", [0, 1, 2, 3, 10, 101])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shares_are_whole_and_even(samples: int, count: int) -> None:
    shares = [ProcessGroup(rank, count).shard(samples) for rank in range(count)]
    assert [i for first, end in shares for i in range(first, end)] == list(range(samples))
    sizes = [end - first for first, end in shares]
    assert max(sizes) - min(sizes) <= 1


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    there: dict[str, Any] = {"is_available": True, "device_count": 1}
    for name in there:
        monkeypatch.setattr(torch.cuda, name, lambda name=name: there[name])
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert select_device("auto") == select_device("cuda") == torch.device("cuda", 0)
    assert select_device("cpu").type == "cpu"
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(UsageError, match="1 of this machine finds 1"):
        select_device("cuda")
    there["is_available"] = False
    assert select_device("auto").type == "cpu"
    with pytest.raises(UsageError, match="no GPU"):
        select_device("cuda")
