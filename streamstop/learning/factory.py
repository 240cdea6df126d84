"""Builds the learner of a configuration, its initial network, and the names of its outputs.

Guarantees:

- The same configuration and seed give the same learner.

Does not:

- Read events, or labels other than names of classes.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from streamstop.config.sections import UNLABELLED_CLASSES, Config
from streamstop.errors import UsageError
from streamstop.events.labels import LabelTrack
from streamstop.learning.learner import LearnerSpec, StopLearner
from streamstop.learning.network_section import network_from_config
from streamstop.learning.pretrained import Pretrained
from streamstop.stop.losses import Loss


def build_learner(
    config: Config,
    classes: int,
    trainable: tuple[str, ...] | None = None,
    class_names: tuple[str, ...] = (),
) -> StopLearner:
    """The learner that a configuration describes.

    Parameters
    ----------
    config : Config
        The configuration.
    classes : int
        Number of outputs.
    trainable : tuple of str, optional
        Overrides `learner.trainable`; () for hidden layers that do not learn.
    class_names : tuple of str
        Names of the outputs.

    Returns
    -------
    StopLearner
    """
    rule = config.learner
    input_shape = (2, config.binning.height, config.binning.width)
    spec = network_from_config(config.network, input_shape, classes)
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
        other_class_lr_scale=rule.other_class_lr_scale,
        shrinkage=config.readout.lda_shrinkage,
        rule=rule.rule,
        loss=Loss(rule.loss, rule.loss_at, rule.label_smoothing),
    )
    dtype = torch.float64 if rule.dtype == "float64" else torch.float32
    return StopLearner(spec, learning, config.run.seed, dtype, class_names)


def frozen_config(config: Config) -> Config:
    """The configuration of a learner that does not learn, and so needs no evaluation copy."""
    learner = replace(config.learner, trainable=(), update="segment", ema_decay=0.0)
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
    if trained is not None:
        return trained.output_names(known, config.network.classes)
    wanted = config.network.classes or len(known) or UNLABELLED_CLASSES
    if wanted < len(known):
        raise UsageError(
            f"network.classes = {wanted}, but the labels name {len(known)} classes: "
            f"{', '.join(known[:8])}{' ...' if len(known) > 8 else ''}"
        )
    return (*known, *(f"output {i}" for i in range(len(known), wanted)))
