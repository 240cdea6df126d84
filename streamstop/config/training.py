"""The configuration of a training: its own sections, and those in common with a run.

Guarantees:

- As `streamstop.config.recipe`: values of the right type, in range, under known names.
- What `to_toml` wrote reads back as the same `TrainConfig`.

Does not:

- Open the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from streamstop.config.aliases import noting_old_names
from streamstop.config.bundled import find_recipe
from streamstop.config.fields import config_field
from streamstop.config.recipe import build_sections, parse_overrides, read_recipe
from streamstop.config.sections import MAX_US, BinningConfig, NetworkConfig, RuleConfig, RunConfig
from streamstop.errors import UsageError

RECIPES = "pipelines/train"
"""Folder of the bundled training recipes."""


@dataclass(frozen=True)
class DataConfig:
    """What a network is trained and tested on."""

    uri: str = config_field(
        "", "folder or tar of images (MNIST, CIFAR, train/CLASS/*.jpg), or folder of recordings"
    )
    kind: Literal["images", "events"] = config_field("images", "static images, or event recordings")
    test_uri: str = config_field(
        "", "test set; empty: the one in uri for images, and test_fraction for events"
    )
    test_fraction: float = config_field(
        0.0,
        "fraction to test on: the last windows per recording, or last recordings per class",
        at_least=0,
        below=1,
    )
    window_us: int = config_field(
        0,
        "length of samples cut from recordings; 0: one sample per recording, its first steps",
        at_least=0,
        at_most=MAX_US,
    )
    time_steps: int = config_field(4, "time steps per sample, T", at_least=1, at_most=10_000)
    validation_fraction: float = config_field(
        0.1,
        "fraction of the training set that selects the best epoch: random, or the last windows",
        at_least=0,
        below=1,
    )
    folds: int = config_field(
        0, "number of cross-validation folds of the training set; 0: none", at_least=0, at_most=100
    )
    max_samples: int = config_field(0, "largest number of samples per set; 0: all", at_least=0)


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes of training samples, drawn again in every epoch."""

    max_shift: int = config_field(
        0, "shift by up to this many pixels in each direction", at_least=0, at_most=64
    )
    max_rotation: float = config_field(
        0.0, "rotation by up to this many degrees", at_least=0, at_most=180
    )
    scale: float = config_field(
        0.0, "scaling, larger or smaller by up to this fraction", at_least=0, below=1
    )
    max_shear: float = config_field(0.0, "shear by up to this many degrees", at_least=0, at_most=60)
    elastic: float = config_field(
        0.0,
        "elastic deformation: standard deviation of the displacement, in pixels",
        at_least=0,
        at_most=64,
    )
    elastic_sigma: float = config_field(
        4.0,
        "smoothness of the elastic deformation: width of its smoothing, in pixels",
        at_least=1,
        at_most=256,
    )
    horizontal_flip: bool = config_field(False, "flip left and right with probability 0.5")
    cutout: int = config_field(
        0, "side of a square that is set to zero, in pixels; 0: none", at_least=0
    )


@dataclass(frozen=True)
class LearningConfig(RuleConfig):
    """How the network is trained."""

    epochs: int = config_field(10, "passes over the training set", at_least=1)
    batch_size: int = config_field(64, "samples per update", at_least=1)
    optimizer: Literal["adam", "sgd"] = config_field(
        "adam", "Adam with decoupled weight decay, or gradient descent with momentum"
    )
    lr: float = config_field(
        1e-3, "highest learning rate of weights, biases and readout", at_least=0
    )
    lr_threshold: float = config_field(1e-3, "highest learning rate of thresholds", at_least=0)
    lr_leak: float = config_field(
        1e-3, "highest learning rate of leaks (membrane decay factors)", at_least=0
    )
    momentum: float = config_field(0.9, "momentum of sgd", at_least=0, below=1)
    weight_decay: float = config_field(0.0, "weight decay, of weights only", at_least=0)
    warmup_epochs: float = config_field(0.0, "epochs of warm-up, before cosine decay", at_least=0)
    ema_decay: float = config_field(
        0.0,
        "score an EMA of the weights that keeps this fraction per update; 0: no EMA",
        at_least=0,
        below=1,
    )
    fit_lda: bool = config_field(
        False, "after training, fit an LDA readout on firing rates, and test it too"
    )
    steps_per_forward: int = config_field(
        1,
        "steps per forward call: more memory, same gradients, faster with small batches; not with "
        "bptt",
        at_least=1,
        at_most=10_000,
    )
    device: Literal["auto", "cpu", "cuda"] = config_field(
        "auto", "device; auto: a GPU if there is one"
    )
    precision: Literal["float32", "mixed"] = config_field(
        "float32", "mixed: bfloat16 for products of weights and spikes, float32 for everything else"
    )


@dataclass(frozen=True)
class TrainConfig:
    """All settings that the result of a training depends on, other than the data."""

    data: DataConfig = field(default_factory=DataConfig)
    binning: BinningConfig = field(default_factory=BinningConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    train: LearningConfig = field(default_factory=LearningConfig)
    run: RunConfig = field(default_factory=RunConfig)


SMOKE = {"data.max_samples": 20, "train.epochs": 1, "train.batch_size": 10}
"""What `--smoke` overrides: a few samples, a few seconds; their size is limited too."""

SMOKE_STEPS = 3
SMOKE_CELLS = 34


def load_train_config(
    recipe: str,
    sets: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    *,
    smoke: bool = False,
) -> TrainConfig:
    """The configuration of a training: a recipe, then `sets`, then `overrides`.

    Parameters
    ----------
    recipe
        Path of a TOML file, or the name of one in `pipelines/train/`.
    sets, overrides
        As in `streamstop.pipeline.configure.load_config`.
    smoke
        A quick check that it runs: SMOKE, fewer steps, and smaller bins.

    Raises
    ------
    UsageError
        As `load_config`; and where settings exclude each other.
    """
    paths = (("data", "uri"), ("data", "test_uri"))
    with noting_old_names():
        values = read_recipe(TrainConfig, find_recipe(recipe, RECIPES), paths)
        overrides = {**(overrides or {}), **(SMOKE if smoke else {})}
        values |= parse_overrides(TrainConfig, sets, overrides)
    config = TrainConfig(**build_sections(TrainConfig, values))
    if not config.data.uri:
        raise UsageError("data.uri is empty: give the path of the training set")
    _check_data(config.data, config.binning.bin_us)
    if config.train.steps_per_forward > 1 and config.train.rule == "bptt":
        raise UsageError(
            f"train.steps_per_forward = {config.train.steps_per_forward} has no meaning with "
            'train.rule = "bptt", which keeps every step anyway; leave it out'
        )
    return _smaller(config) if smoke else config


def limited(limit: int) -> str:
    """The caveat on figures of a training that `data.max_samples` limited."""
    return (
        f"At most {limit:,} samples of each set were used. That shows that it works, not how "
        "well: do not compare this figure with others."
    )


def _smaller(config: TrainConfig) -> TrainConfig:
    """The same with few steps per sample and few cells per bin."""
    data, binning = config.data, config.binning
    steps = min(data.time_steps, SMOKE_STEPS)
    window_us = steps * binning.bin_us if data.window_us else 0
    height, width = (min(cells, SMOKE_CELLS) for cells in (binning.height, binning.width))
    return replace(
        config,
        data=replace(data, time_steps=steps, window_us=window_us),
        binning=replace(binning, height=height, width=width),
    )


def _check_data(data: DataConfig, bin_us: int) -> None:
    """Raise UsageError where the settings of [data] exclude each other."""
    if data.folds == 1:
        raise UsageError("data.folds = 1: cross-validation needs at least 2 folds, 0 is none")
    for key in ("test_uri", "test_fraction"):
        if data.folds and getattr(data, key):
            raise UsageError(
                f"data.folds and data.{key} exclude each other: each fold is tested in turn"
            )
    if data.kind == "images" and (data.window_us or data.test_fraction):
        raise UsageError(
            'data.window_us and data.test_fraction cut recordings; data.kind = "images" has none'
        )
    if data.test_uri and data.test_fraction:
        raise UsageError(
            "data.test_uri and data.test_fraction exclude each other: there is one test set, at a "
            "path of its own or cut from the end of the training set"
        )
    if data.window_us and data.folds:
        raise UsageError(
            "data.folds and data.window_us exclude each other: random folds would test on windows "
            "next to windows that were trained on; use data.test_fraction"
        )
    if data.window_us and data.window_us != data.time_steps * bin_us:
        raise UsageError(
            f"data.window_us = {data.window_us} must be data.time_steps * binning.bin_us, here "
            f"{data.time_steps} * {bin_us}"
        )
