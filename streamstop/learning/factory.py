"""Builds the learner of a configuration, its initial network, and the names of its outputs.

Guarantees:

- The same configuration and seed give the same learner.

Does not:

- Read events, or labels other than names of classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import torch

from streamstop.config.sections import TAUGHT_CLASSES, UNLABELLED_CLASSES, Config, NetworkConfig
from streamstop.errors import UsageError
from streamstop.events.labels import LabelTrack
from streamstop.learning.learner import LearnerSpec, StopLearner
from streamstop.learning.network_section import network_from_config
from streamstop.learning.pretrained import Pretrained
from streamstop.stop.losses import Loss
from streamstop.stop.network import NetworkSpec

MAX_TAUGHT = 1000
"""Most classes that a run may be started with to teach."""


def build_learner(
    classes: int | Sequence[str],
    *,
    input_shape: tuple[int, int, int] = (2, 32, 32),
    network: str | NetworkSpec = "compact",
    spec: LearnerSpec | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> StopLearner:
    """A learner, with the default settings of a run unless stated otherwise.

    Parameters
    ----------
    classes : int or sequence of str
        The classes to tell apart: how many, or their names.
    input_shape : tuple of int
        (2, height, width) of the bins.
    network : str or NetworkSpec
        The name of an architecture, or a network of your own from `build_network`.
    spec : LearnerSpec, optional
        How it learns.
    seed : int
        Draws the initial weights.
    dtype : torch.dtype
        What it computes with.

    Raises
    ------
    UsageError
        If there is no such network, or the settings exclude each other.

    Examples
    --------
    >>> build_learner(["left", "right"], input_shape=(2, 16, 16)).class_names
    ('left', 'right')
    """
    names = () if isinstance(classes, int) else tuple(classes)
    count = classes if isinstance(classes, int) else len(names)
    if isinstance(network, str):
        section = NetworkConfig(architecture=cast(Any, network))
        network = network_from_config(section, input_shape, count)
    return StopLearner(network, spec, seed, dtype, names)


def learner_from_config(
    config: Config, classes: int | tuple[str, ...], trainable: tuple[str, ...] | None = None
) -> StopLearner:
    """The learner that a configuration describes.

    Parameters
    ----------
    config : Config
        The run's settings.
    classes : int or tuple of str
        Number of outputs, or their names.
    trainable : tuple of str, optional
        Overrides `learner.trainable`; () for hidden layers that do not learn.
    """
    rule = config.learner
    input_shape = (2, config.binning.height, config.binning.width)
    names = () if isinstance(classes, int) else classes
    count = classes if isinstance(classes, int) else len(classes)
    spec = network_from_config(config.network, input_shape, count)
    learning = LearnerSpec(
        trainable=rule.trainable if trainable is None else trainable,
        lr=rule.lr,
        lr_threshold=rule.lr_threshold,
        lr_leak=rule.lr_leak,
        lr_readout=rule.lr_readout,
        update=rule.update,
        update_interval=rule.update_interval,
        ema_decay=rule.ema_decay,
        loss_classes=rule.loss_classes,
        recent_segments=rule.recent_segments,
        class_lr_decay=rule.class_lr_decay,
        late=rule.late,
        other_class_lr_scale=rule.other_class_lr_scale,
        shrinkage=config.readout.lda_shrinkage,
        rule=rule.rule,
        loss=Loss(rule.loss, rule.loss_at, rule.label_smoothing),
    )
    dtype = torch.float64 if rule.dtype == "float64" else torch.float32
    return StopLearner(spec, learning, config.run.seed, dtype, names)


def frozen_config(config: Config) -> Config:
    """The configuration of a learner that does not learn, and so needs no evaluation copy."""
    learner = replace(config.learner, trainable=(), update="segment", ema_decay=0.0, late="off")
    return replace(config, learner=learner)


def load_pretrained(config: Config) -> Pretrained | None:
    """The pretrained network of a run; None where there is none.

    Raises
    ------
    SourceError
        The weights file cannot be read.
    UsageError
        The configuration contradicts the file, or asks for a readout that it lacks.
    """
    if not config.learner.pretrained:
        return None
    trained = Pretrained.from_file(config.learner.pretrained)
    trained.config_values(
        {
            (section, key): getattr(getattr(config, section), key)
            for section, key in trained.config_values({})
        }
    )
    if config.learner.frozen and config.readout.decision == "lda":
        lacks = "readout.lda_prior_count is 0" if config.readout.lda_prior_count == 0 else ""
        if trained.lda is None:
            lacks = "these weights have no LDA readout (train.fit_lda adds one)"
        if lacks:
            raise UsageError(
                f'readout.decision = "lda": {lacks}, and with learner.frozen none is learned; '
                f'set "linear", or leave it out: {trained.path}'
            )
    return trained


def taught_classes(text: str) -> tuple[str, ...]:
    """The classes that `labels.classes` names.

    Raises
    ------
    UsageError
        If a name comes twice or is empty.

    Examples
    --------
    >>> taught_classes("rock, paper"), taught_classes("2")
    (('rock', 'paper'), ('class 1', 'class 2'))
    """
    names = tuple(one.strip() for one in text.split(","))
    if text.strip().isdecimal():
        names = tuple(f"class {i + 1}" for i in range(min(int(text), MAX_TAUGHT + 1)))
    if not names or "" in names or len(set(names)) < len(names) or len(names) > MAX_TAUGHT:
        raise UsageError(
            f"labels.classes lists up to {MAX_TAUGHT} names, each once, such as "
            f"rock,paper,scissors, or is their number, not {text!r}"
        )
    return names


def output_names(
    config: Config, track: LabelTrack | None, trained: Pretrained | None = None
) -> tuple[str, ...]:
    """Names of the network's outputs: classes of the labels, then as many as configured.

    For a pretrained network: its own names, then new classes of the labels.

    Raises
    ------
    UsageError
        The configuration has fewer outputs than the labels have classes.
    """
    known = track.classes if track is not None else ()
    if config.labels.classes:
        first = taught_classes(config.labels.classes)
        known = (*first, *(one for one in known if one not in first))
        spare = (f"class {i + 1}" for i in range(len(known), TAUGHT_CLASSES))
        if not config.network.classes:
            known = (*known, *spare)
    if trained is not None:
        return trained.output_names(known, config.network.classes)
    wanted = config.network.classes or len(known) or UNLABELLED_CLASSES
    if wanted < len(known):
        raise UsageError(
            f"network.classes = {wanted}, but the labels name {len(known)} classes: "
            f"{', '.join(known[:8])}{' ...' if len(known) > 8 else ''}"
        )
    return (*known, *(f"output {i}" for i in range(len(known), wanted)))
