"""Every recipe in `pipelines/` can be read, and runs: a few segments of it, on the real thing.

Those of trainings run on a handful of samples in the layout that their data come in, made here;
where the real set is there, a few of its samples are read.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.event_files import aedat2_bytes, random_events, write_bin
from helpers.idx_files import write_images
from helpers.image_files import tar_of, write_cifar10, write_cifar100, write_picture
from typer.testing import CliRunner

from streamstop.cli import app
from streamstop.config.bundled import bundled_path, data_note
from streamstop.config.recipe import to_toml
from streamstop.config.training import RECIPES as TRAININGS
from streamstop.config.training import load_train_config
from streamstop.datasets.load import load_training_set
from streamstop.learning.factory import learner_from_config
from streamstop.learning.network_section import network_from_config
from streamstop.pipeline.configure import load_config
from streamstop.simulation.cifar10_set import write_cifar10_set
from streamstop.simulation.gesture_set import SetOptions, write_gesture_set
from streamstop.sources.live.registry import is_live

RECIPES = sorted(bundled_path("pipelines").glob("*.toml"))
NEEDS_DATA = {
    "cifar10-dvs": "CIFAR10-DVS",
    "dvs-gesture": "DVS-Gesture",
    "dvs-gesture-adapt": "DVS-Gesture",
    "nmnist": "N-MNIST",
    "objects": "NeuromorphicObjectDataSet",
    "objects-incremental": "NeuromorphicObjectDataSet",
    "objects-shift": "NeuromorphicObjectDataSet",
    "train/cifar10-resnet18": "CIFAR-10 ",
    "train/cifar10-vgg11": "CIFAR-10 ",
    "train/cifar100-resnet18": "CIFAR-100 ",
    "train/cifar100-vgg11": "CIFAR-100 ",
    "train/cifar10dvs-vgg11": "CIFAR10-DVS",
    "train/dvs-gesture-compact": "DVS-Gesture",
    "train/dvs-gesture-vgg11": "DVS-Gesture",
    "train/mnist-lenet5": "MNIST ",
    "train/mnist-lenet5-wide": "MNIST ",
    "train/nmnist-compact": "N-MNIST",
    "train/objects-compact": "NeuromorphicObjectDataSet",
    "train/objects-compact-500": "NeuromorphicObjectDataSet",
}
"""Recipes whose data do not come with streamstop, and the set that each needs."""

SHARED = Path("..", "shared", "data")
SEGMENTS = 3
DRAW = np.random.default_rng(0)


def test_there_are_recipes_and_the_demo_is_one_of_them() -> None:
    assert "demo" in [recipe.stem for recipe in RECIPES]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_recipe_is_read_and_opens_with_a_comment(recipe: Path, tmp_path: Path) -> None:
    config = load_config(recipe)
    assert config.run.name == recipe.stem
    assert recipe.read_text(encoding="utf-8").startswith("# ")
    written = tmp_path / "config.toml"
    written.write_text(to_toml(config), encoding="utf-8")
    assert load_config(written) == config


def test_only_recipes_on_bundled_recordings_need_no_data() -> None:
    root = bundled_path("pipelines")
    names = {str(path.relative_to(root).with_suffix("")) for path in root.rglob("*.toml")}
    assert names - set(NEEDS_DATA) == {
        *("demo", "gestures", "gestures-incremental", "davis346-live"),
    }
    assert all(data_note(root / f"{name}.toml") is None for name in names - set(NEEDS_DATA))


@pytest.mark.parametrize("name", NEEDS_DATA)
def test_a_recipe_without_its_data_names_them_and_what_to_give(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, _, stem = name.rpartition("/")
    result = CliRunner().invoke(app, ["train" if folder else "run", stem])
    assert result.exit_code == 3
    first, data, source, give, otherwise = result.stderr.splitlines()
    assert "shared" in first
    assert data.startswith(f"  data: {NEEDS_DATA[name]}") and (" MB" in data or " GB" in data)
    assert source.startswith("  from: ") and ("https://" in source or "no download" in source)
    assert ("--set data.uri=" if folder else "--source ") in give
    assert ("--smoke" if folder else "streamstop run") in otherwise
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "args",
    [
        ["run", "nmnist", "--source", "elsewhere"],
        ["run", "nmnist", "--set", "source.uri=elsewhere"],
        ["train", "nmnist-compact", "--set", "data.uri=elsewhere"],
    ],
)
def test_a_missing_path_that_the_user_gave_gets_no_note(
    args: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 3
    assert "elsewhere" in result.stderr and "N-MNIST" not in result.stderr


def test_a_note_on_data_ends_with_its_last_indented_line(tmp_path: Path) -> None:
    recipe = tmp_path / "own.toml"
    recipe.write_text("# Own.\n# data: a set,\n#   1 MB\n# Remark.\n#   no more\n\n# from: x\n")
    assert data_note(recipe) == "  data: a set, 1 MB"


@pytest.fixture(scope="session")
def simulated_gestures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DVS-Gesture's layout: five users, of whom one tests, in two lightings, in short."""
    folder = tmp_path_factory.mktemp("gestures") / "set"
    options = SetOptions(gesture_s=(0.3, 0.35), gap_s=(0.1, 0.1))
    write_gesture_set(folder, options, users=5, lightings=2)
    return folder


@pytest.fixture(scope="session")
def simulated_cifar10(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CIFAR10-DVS's layout: ten moved images of noise a class, of which one tests."""
    images, folder = (tmp_path_factory.mktemp("cifar10") / name for name in ("images", "set"))
    for label in ("cat", "dog"):
        for i in range(10):
            pixels = DRAW.integers(0, 256, (32, 32, 3))
            write_picture(images / "train" / label / f"{i:04}.jpg", pixels)
    write_cifar10_set(folder, images, per_class=10)
    return folder


SETS = {
    "dvs-gesture": "simulated_gestures",
    "dvs-gesture-adapt": "simulated_gestures",
    "cifar10-dvs": "simulated_cifar10",
}
"""Recipes of whole sets, which run here on simulated ones of the same layout."""


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_recipe_runs(recipe: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    args = ["run", str(recipe), "--json", "--quiet", "--out", str(tmp_path)]
    args += ["--set", f"segments.max_segments={SEGMENTS}"]
    uri = load_config(recipe).source.uri
    simulated = recipe.stem in SETS or not uri or is_live(uri)
    if recipe.stem in SETS:
        name, _, rest = uri.partition(":")
        _, mark, split = rest.partition("?")
        folder = request.getfixturevalue(SETS[recipe.stem])
        args += ["--source", f"{name}:{folder}{mark}{split}"]
    elif is_live(uri):  # no camera here
        args += ["--source", str(bundled_path("recordings/gestures"))]
    elif uri:
        data: Path = request.getfixturevalue("data_dir")
        args += ["--source", str(data / Path(uri).relative_to(SHARED))]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert (summary["n_segments"], summary["status"]) == (SEGMENTS, "complete")
    assert summary["data"] == ("simulated" if simulated else "real")
    ledger = summary["ledger"]
    lost = sum(ledger["dropped"].values()) + sum(ledger["rejected"].values())
    assert ledger["received"] == ledger["binned"] + lost + ledger["pending"] > 0
    (folder,) = tmp_path.iterdir()
    assert (folder / "summary.json").read_text(encoding="utf-8") == result.stdout
    assert load_config(folder / "config.toml").segments.max_segments == SEGMENTS


@pytest.mark.parametrize(
    "stream, training",
    [("dvs-gesture", "dvs-gesture-compact"), ("cifar10-dvs", "cifar10dvs-vgg11")],
)
def test_a_set_is_trained_on_and_then_streamed(
    stream: str, training: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    name = stream.removesuffix("-adapt")
    uri = f"{name}:{request.getfixturevalue(SETS[stream])}"
    sets = [word for text in by_split(uri) for word in ("--set", text)]
    out = ["--json", "--quiet", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, ["train", training, "--smoke", *out, *sets])
    assert result.exit_code == 0, result.stderr
    (folder,) = tmp_path.iterdir()
    args = ["run", stream, "--source", f"{uri}?split=test", "--weights"]
    args += [str(folder / "best.safetensors"), "--set", "scenario.held_out_fraction=0"]
    for frozen in ([], ["--frozen"])[: 2 if name == "dvs-gesture" else 1]:
        result = CliRunner().invoke(app, [*args, *frozen, *out])
        assert result.exit_code == 0, result.stderr
        summary = json.loads(result.stdout)
        assert summary["n_segments"] == {"dvs-gesture": 2 * 11, "cifar10-dvs": 2}[name]
        assert summary["network"]["name"] == load_train_config(training).network.architecture
        assert summary["protocol"].get("frozen", False) is bool(frozen)


@pytest.mark.parametrize(
    "sets",
    [
        ["network.architecture=lenet5"],
        [
            "network.normalization=weight",
            "network.reset=hard",
            "network.threshold_sharing=neuron",
            "network.surrogate=arctan",
            "learner.rule=sltt",
        ],
    ],
    ids=["lenet5", "variants"],
)
def test_the_demo_runs_with_another_network_or_rule(sets: list[str], tmp_path: Path) -> None:
    args = ["run", "demo", "--json", "--quiet", "--out", str(tmp_path)]
    chosen = ["segments.max_segments=10", *sets]
    result = CliRunner().invoke(app, args + [w for text in chosen for w in ("--set", text)])
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert (summary["n_segments"], summary["status"]) == (10, "complete")
    config = load_config(None, ["source.uri=", *sets])
    (folder,) = tmp_path.iterdir()
    assert load_config(folder / "config.toml").network == config.network
    learner = learner_from_config(config, len(summary["classes"]))
    assert summary["network"]["parameters"] == sum(
        value.numel() for value in learner.network.parameters().values()
    )
    assert (learner.network.rule, learner.network.spec.neuron) == (
        config.learner.rule,
        network_from_config(config.network, (2, 32, 32), 2).neuron,
    )


def mnist(folder: Path) -> list[str]:
    for part in ("train", "t10k"):
        write_images(folder, part, DRAW.integers(0, 256, (30, 28, 28)), np.arange(30) % 10)
    return [f"data.uri={folder}"]


def cifar10_packed(folder: Path) -> list[str]:
    x = DRAW.integers(0, 256, (30, 3, 32, 32))
    write_cifar10(folder / "set" / "cifar-10-batches-bin", x, np.arange(30) % 10)
    return [f"data.uri={tar_of(folder / 'set', folder / 'cifar-10-binary.tar.gz')}"]


def cifar10_pictures(folder: Path) -> list[str]:
    for part in ("train", "test"):
        for label in range(10):
            for i in range(3):
                pixels = DRAW.integers(0, 256, (32, 32, 3))
                write_picture(folder / "set" / part / f"class{label}" / f"{i:04}.jpg", pixels)
    return [f"data.uri={tar_of(folder / 'set', folder / 'cifar10_jpg.tar')}"]


def cifar100(folder: Path) -> list[str]:
    x = DRAW.integers(0, 256, (30, 3, 32, 32))
    write_cifar100(folder, x, np.arange(30) % 20, np.arange(30) * 3)
    return [f"data.uri={folder}"]


def nmnist(folder: Path) -> list[str]:
    for i in range(20):
        write_bin(folder / str(i % 10) / f"{i:05}.bin", random_events(300, width=34, height=34))
    return [f"data.uri={folder}"]


def gestures(folder: Path) -> list[str]:
    for part, users in (("Train", (1, 2)), ("Test", (24, 29))):
        for user in users:
            for label in range(11):
                events = random_events(200)
                table = np.stack([events[name] for name in ("x", "y", "p", "t")], 1)
                path = folder / f"ibmGesture{part}" / f"user{user:02}_led" / f"{label}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, table.astype(np.float64))
    return by_split(f"dvs-gesture:{folder}")


def cifar10_dvs(folder: Path) -> list[str]:
    for label in ("airplane", "automobile", "bird"):
        (folder / label).mkdir(parents=True)
        for i in range(10):
            path = folder / label / f"cifar10_{label}_{i}.aedat"
            path.write_bytes(aedat2_bytes(random_events(300, seed=i)))
    return by_split(f"cifar10-dvs:{folder}")


def by_split(uri: str) -> list[str]:
    return [f"data.uri={uri}?split=train", f"data.test_uri={uri}?split=test"]


def objects(folder: Path) -> list[str]:
    folder.mkdir()
    for label in ("box", "mug"):
        events = random_events(2000)
        events["t"] *= 80
        (folder / f"{label}.aedat").write_bytes(aedat2_bytes(events))
    return [f"data.uri={folder}"]


LAYOUTS: dict[str, tuple[Callable[[Path], list[str]], int]] = {
    "mnist-lenet5": (mnist, 20),
    "mnist-lenet5-wide": (mnist, 20),
    "cifar10-vgg11": (cifar10_packed, 20),
    "cifar10-resnet18": (cifar10_pictures, 20),
    "cifar100-vgg11": (cifar100, 20),
    "cifar100-resnet18": (cifar100, 20),
    "nmnist-compact": (nmnist, 20),
    "dvs-gesture-vgg11": (gestures, 20),
    "dvs-gesture-compact": (gestures, 20),
    "cifar10dvs-vgg11": (cifar10_dvs, 3),
    "objects-compact": (objects, 20),
    "objects-compact-500": (objects, 20),
}
"""How each training's data are laid out, and how many samples its smoke variant tests on."""


def test_every_training_has_a_layout() -> None:
    found = {path.stem for path in bundled_path(TRAININGS).glob("*.toml")}
    assert found == set(LAYOUTS)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_training_says_whose_figure_it_is_after_and_what_it_needs(name: str) -> None:
    text = (bundled_path(TRAININGS) / f"{name}.toml").read_text(encoding="utf-8")
    head = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    assert "The paper's figure: " in head and "# data: " in head and "--set data.uri=" in head
    config = load_train_config(name)
    assert config.network.architecture in head.replace("`", "")


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_training_smokes(name: str, tmp_path: Path) -> None:
    write, tested = LAYOUTS[name]
    sets = [word for text in write(tmp_path / "data") for word in ("--set", text)]
    args = ["train", name, "--smoke", "--json", "--out", str(tmp_path / "runs"), *sets]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert (summary["status"], summary["epochs"]) == ("complete", 1)
    assert summary["test"]["samples"] == tested
    assert summary["network"] == load_train_config(name).network.architecture
    (folder,) = (tmp_path / "runs").iterdir()
    assert (folder / "best.safetensors").is_file() or (folder / "fold-1").is_dir()


REAL = {
    "mnist-lenet5": (1, 28, 28),
    "mnist-lenet5-wide": (1, 28, 28),
    "cifar10-vgg11": (3, 32, 32),
    "nmnist-compact": (10, 2, 34, 34),
    "objects-compact-500": (10, 2, 32, 32),
}


@pytest.mark.parametrize("name", REAL)
def test_a_training_reads_the_real_set(name: str, data_dir: Path) -> None:
    config = load_train_config(name, overrides={"data.max_samples": 20})
    uri = data_dir / Path(config.data.uri).relative_to(SHARED)
    if not uri.exists():
        pytest.skip(f"not here: {uri}")
    config = load_train_config(name, overrides={"data.max_samples": 20, "data.uri": str(uri)})
    samples = load_training_set(config.data, config.binning)
    assert samples.x.shape == (20, *REAL[name]) and samples.x.dtype == torch.uint8
    assert len(samples.classes) == (7 if name.startswith("objects") else 10)
    assert len(samples.y.unique()) >= 6
