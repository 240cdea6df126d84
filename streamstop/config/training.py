"""The configuration of a training: sections of its own beside those of a run, checked alike.

It promises the same as `streamstop.config.recipe`: only values of the right type, in range, known
by name; what `to_toml` wrote reads back as the same `TrainConfig`. It does not look at the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from streamstop.config.aliases import noting_old_names
from streamstop.config.bundled import find_recipe
from streamstop.config.fields import config_field
from streamstop.config.recipe import build_sections, parse_overrides, read_recipe
from streamstop.config.sections import MAX_US, BinningConfig, NetworkConfig, RunConfig
from streamstop.errors import UsageError

RECIPES = "pipelines/train"
"""Where the bundled recipes of trainings are."""


@dataclass(frozen=True)
class DataConfig:
    """What a network is trained and tested on."""

    uri: str = config_field(
        "", "folder or tar of images (MNIST, CIFAR, train/CLASS/*.jpg), or folder of recordings"
    )
    kind: Literal["images", "events"] = config_field("images", "static images, or event recordings")
    test_uri: str = config_field(
        "", "where the test set is; empty: in uri for images, and for events as test_share says"
    )
    test_fraction: float = config_field(
        0.0,
        "last share of each recording's windows, or of each class's recordings, to test on",
        at_least=0,
        below=1,
    )
    window_us: int = config_field(
        0,
        "cut recordings into samples of this length; 0: a sample is the first steps of each",
        at_least=0,
        at_most=MAX_US,
    )
    time_steps: int = config_field(4, "time steps of a sample, T", at_least=1, at_most=10_000)
    validation_fraction: float = config_field(
        0.1,
        "share of the training set that chooses the best epoch: drawn, or the last windows",
        at_least=0,
        below=1,
    )
    folds: int = config_field(
        0, "cross-validation on the training set in so many parts; 0: none", at_least=0, at_most=100
    )
    max_samples: int = config_field(
        0, "use no more samples than this of each set; 0: all", at_least=0
    )


@dataclass(frozen=True)
class AugmentConfig:
    """How training samples are changed at random, each time they are seen anew."""

    max_shift: int = config_field(
        0, "moved by up to so many pixels each way", at_least=0, at_most=64
    )
    max_rotation: float = config_field(
        0.0, "turned by up to so many degrees", at_least=0, at_most=180
    )
    scale: float = config_field(
        0.0, "made larger or smaller by up to this share", at_least=0, below=1
    )
    max_shear: float = config_field(0.0, "sheared by up to so many degrees", at_least=0, at_most=60)
    elastic: float = config_field(
        0.0, "bent: standard deviation of a pixel's displacement, in pixels", at_least=0, at_most=64
    )
    elastic_sigma: float = config_field(
        4.0, "smoothness of the bending: width of its bumps in pixels", at_least=1, at_most=256
    )
    horizontal_flip: bool = config_field(False, "left and right exchanged in one half of all cases")
    cutout: int = config_field(0, "side of a square of zeros, in pixels; 0: none", at_least=0)


@dataclass(frozen=True)
class LearningConfig:
    """How the network is trained."""

    epochs: int = config_field(10, "passes over the training set", at_least=1)
    batch_size: int = config_field(64, "samples an update", at_least=1)
    optimizer: Literal["adam", "sgd"] = config_field(
        "adam", "Adam with decoupled weight decay, or gradient descent with momentum"
    )
    lr: float = config_field(1e-3, "highest learning rate of weights, biases, readout", at_least=0)
    lr_threshold: float = config_field(1e-3, "the same of thresholds", at_least=0)
    lr_leak: float = config_field(1e-3, "the same of leaks", at_least=0)
    momentum: float = config_field(0.9, "of sgd", at_least=0, below=1)
    weight_decay: float = config_field(0.0, "of weights alone", at_least=0)
    warmup_epochs: float = config_field(
        0.0, "epochs in which the rate rises, before it falls as a cosine", at_least=0
    )
    loss: Literal["ce", "half_mse", "mean_ce_mse"] = config_field(
        "ce", "cross-entropy, half the squared distance from the target, or the mean of both"
    )
    loss_at: Literal["step", "end"] = config_field(
        "step", "a loss at every step, or at the last one alone, whose logits then decide"
    )
    label_smoothing: float = config_field(
        0.0, "share of each label spread over all classes", at_least=0, below=1
    )
    ema_decay: float = config_field(
        0.0,
        "keep, and score, an average of the weights that keeps this share an update; 0: none",
        at_least=0,
        below=1,
    )
    fit_lda: bool = config_field(
        False, "when trained, fit a discriminant readout on firing rates, and test it beside"
    )
    trainable: tuple[Literal["weights", "thresholds", "leaks"], ...] = config_field(
        ("weights", "thresholds", "leaks"),
        "what the rule moves below the readout, which always learns; []: nothing",
        may_be_empty=True,
    )
    rule: Literal["stop", "ottt", "sltt", "bptt"] = config_field(
        "stop",
        "STOP; the same on weights alone; without traces; or backpropagation through time, to "
        "compare with",
    )
    steps_per_forward: int = config_field(
        1,
        "steps that go through the network at once: more memory, the same gradients; faster where "
        "batches are small for their network; not with bptt, which keeps all steps anyway",
        at_least=1,
        at_most=10_000,
    )
    device: Literal["auto", "cpu", "cuda"] = config_field(
        "auto", "where it computes; auto: on a GPU if there is one"
    )
    precision: Literal["float32", "mixed"] = config_field(
        "float32", "of the products of weights and spikes; mixed: bfloat16, all else in float32"
    )


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a training's result depends on, beside the data."""

    data: DataConfig = field(default_factory=DataConfig)
    binning: BinningConfig = field(default_factory=BinningConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    train: LearningConfig = field(default_factory=LearningConfig)
    run: RunConfig = field(default_factory=RunConfig)


SMOKE = {"data.max_samples": 20, "train.epochs": 1, "train.batch_size": 10}
"""What `--smoke` overrides: a handful of samples, seconds. Their size is bounded too."""

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

    recipe : path of a TOML file, or the name of one in `pipelines/train/`.
    sets, overrides : as in `streamstop.pipeline.configure.load_config`.
    smoke : only to see that it runs: SMOKE, fewer steps, and bins of fewer cells.

    Raises UsageError as that does, and where the settings exclude each other.
    """
    paths = (("data", "uri"), ("data", "test_uri"))
    with noting_old_names():
        values = read_recipe(TrainConfig, find_recipe(recipe, RECIPES), paths)
        overrides = {**(overrides or {}), **(SMOKE if smoke else {})}
        values |= parse_overrides(TrainConfig, sets, overrides)
    config = TrainConfig(**build_sections(TrainConfig, values))
    if not config.data.uri:
        raise UsageError("data.uri is empty: say where the training set is")
    _check_data(config.data, config.binning.bin_us)
    if config.train.steps_per_forward > 1 and config.train.rule == "bptt":
        raise UsageError(
            f"train.steps_per_forward = {config.train.steps_per_forward} has no meaning with "
            'train.rule = "bptt", '
            "which keeps every step of a sequence anyway; leave it out"
        )
    return _smaller(config) if smoke else config


def limited(limit: int) -> str:
    """What a training that `data.max_samples` cut must say of its figures."""
    return (
        f"At most {limit:,} samples of each set were used. That shows that it works, not how "
        "well; the figure is to be compared with nothing."
    )


def _smaller(config: TrainConfig) -> TrainConfig:
    """The same with few steps a sample and few cells a bin."""
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
            'data.window_us and data.test_fraction cut recordings; with data.kind = "images" there '
            "are none"
        )
    if data.test_uri and data.test_fraction:
        raise UsageError(
            "data.test_uri and data.test_fraction exclude each other: one test set, in a place of "
            "its own "
            "or cut from the training set's end"
        )
    if data.window_us and data.folds:
        raise UsageError(
            "data.folds and data.window_us exclude each other: drawn folds would test on windows "
            "whose neighbours in time were trained on; take data.test_fraction"
        )
    if data.window_us and data.window_us != data.time_steps * bin_us:
        raise UsageError(
            f"data.window_us = {data.window_us} must be data.time_steps * binning.bin_us, here "
            f"{data.time_steps} * {bin_us}"
        )
