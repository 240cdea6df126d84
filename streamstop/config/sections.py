"""The settings of a run: one frozen dataclass per section, one field per key.

A field's type is what the key accepts (a `Literal` lists its choices); its help and its range stand
beside its default and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from streamstop.config.fields import config_field

UNLABELLED_CLASSES = 11
"""Outputs of a network that nothing names classes for: as many as DVS-Gesture has."""

MAX_OUTPUTS = 1 << 20
"""More outputs of one linear layer are a slip of the pen, and sizes shall not leave 64 bits."""

MAX_US = 10**15
"""No setting speaks of more than some 30 years, so that no sum of times leaves 64 bits."""


@dataclass(frozen=True)
class SourceConfig:
    """Where events come from."""

    uri: str = config_field(
        "", "file, folder of labelled recordings, or camera; empty: the bundled ones"
    )
    labels: str = config_field("", "CSV of labels: class,startTime_usec,endTime_usec; empty: none")
    sensor: str = config_field(
        "",
        "size of the sensor where the file does not tell it, e.g. 346x260",
        form=(r"[1-9][0-9]{0,4}x[1-9][0-9]{0,4}", "WIDTHxHEIGHT, such as 346x260"),
    )
    strict: bool = config_field(False, "stop at the first damaged input instead of counting it")
    speed: float = config_field(
        0.0,
        "replay recordings at so many times real time; 0: as fast as it goes",
        at_least=0.0,
        at_most=1e6,
    )
    duration_s: float = config_field(
        0.0, "end a live run after so long; 0: when the source ends, or Ctrl-C", at_least=0.0
    )
    record: bool = config_field(
        True, "keep what a live source sent in the run folder, to replay it"
    )
    record_max_mb: int = config_field(4096, "megabytes that may be kept so", at_least=1)


@dataclass(frozen=True)
class SegmentsConfig:
    """How labelled recordings are cut into segments, and the order in which they arrive."""

    length_us: int = config_field(
        0, "length of a segment; 0: whole recordings", at_least=0, at_most=MAX_US
    )
    order: Literal["shuffled", "round-robin", "by-class"] = config_field(
        "shuffled", "drawn from the seed, turn by turn in time order, or class after class"
    )
    max_segments: int = config_field(0, "stop after so many segments; 0: all", at_least=0)


@dataclass(frozen=True)
class ScenarioConfig:
    """How the world changes in a labelled stream."""

    name: Literal[
        "none",
        "iid",
        "class-incremental",
        "domain-incremental",
        "gradual",
        "recurring",
        "corrupted",
    ] = config_field("none", "the order of tasks or domains; none: segments.order alone")
    domain_from: Literal["lighting", "user", "folder", "recording"] = config_field(
        "lighting", "what makes a domain, by the recordings' names; folder: the top one"
    )
    classes_per_task: int = config_field(
        1, "classes of a task, where class-incremental", at_least=1
    )
    transition_segments: int = config_field(
        0, "segments that a gradual change takes; 0: half the smallest domain", at_least=0
    )
    repetitions: int = config_field(2, "times that each domain comes, where recurring", at_least=1)
    held_out_fraction: float = config_field(
        0.0,
        "share of each class of a task, its last, kept out of the stream to test on",
        at_least=0,
        below=1,
    )
    corruptions: tuple[str, ...] = config_field(
        (), "what befalls the events, such as 'rotate 90 at 0.5'; docs/protocol.md lists them"
    )


@dataclass(frozen=True)
class BinningConfig:
    """How events become one tensor per time bin."""

    bin_us: int = config_field(50_000, "width of a time bin", at_least=1, at_most=MAX_US)
    height: int = config_field(32, "rows of the network's input", at_least=1, at_most=4096)
    width: int = config_field(32, "columns of the network's input", at_least=1, at_most=4096)
    resize_mode: Literal["letterbox", "crop", "stretch"] = config_field(
        "letterbox", "how the sensor's aspect meets the input's"
    )
    representation: Literal["count", "binary"] = config_field(
        "count", "events per cell, or 1 where any"
    )
    reorder_window_us: int = config_field(
        0, "events late by no more than this are sorted in", at_least=0, at_most=MAX_US
    )
    reset_gap_us: int = config_field(
        1_000_000, "a longer gap in time resets the neurons", at_least=1, at_most=MAX_US
    )


@dataclass(frozen=True)
class NetworkConfig:
    """The spiking network."""

    architecture: Literal["compact", "lenet5", "vgg11", "resnet18", "custom"] = config_field(
        "compact", "which architecture; streamstop model NAME shows its layers"
    )
    layers: tuple[str, ...] = config_field(
        (), 'of custom, from the input up, such as ["conv 32 kernel 5 pool 2", "linear 100"]'
    )
    channels: tuple[int, ...] = config_field(
        (), "of each convolution of compact; []: its own, 32 and 64", at_least=1, at_most=4096
    )
    hidden: int = config_field(
        0, "neurons of a linear layer before the readout; 0: none", at_least=0, at_most=MAX_OUTPUTS
    )
    classes: int = config_field(
        0, "classes of the readout; 0: as many as the labels name", at_least=0, at_most=MAX_OUTPUTS
    )
    threshold_init: float = config_field(1.0, "firing threshold at the start", at_least=1e-3)
    leak_init: float = (
        config_field(  # below streamstop.stop.layer.LEAK_MAX, which would import torch here
            0.9, "share of the membrane potential kept per bin", above=0, below=0.99
        )
    )
    init_gain: float = config_field(
        1.5, "initial weights have standard deviation gain / sqrt(fan-in)", above=0
    )
    decay_input: bool = config_field(
        False,
        "scale what synapses do by (1 - leak), 1 at the start: a leak sets memory, not drive",
    )
    surrogate: Literal["exponential", "triangle", "sigmoid", "arctan", "rectangle"] = config_field(
        "exponential", "stand-in for the derivative of a spike"
    )
    reset: Literal["soft", "hard"] = config_field(
        "soft", "a spike takes the threshold off the membrane potential, or sets it to 0"
    )
    threshold_sharing: Literal["layer", "channel", "neuron"] = config_field(
        "channel", "what shares one firing threshold"
    )
    normalization: Literal["none", "weight_standardization", "batch"] = config_field(
        "none",
        "of synapses: none, each output's weights standardised, or batches' (train alone)",
    )
    readout: Literal["linear", "leaky_integrator", "spiking"] = config_field(
        "linear", "what decides: of the bin alone, leaky integrators, or a neuron a class"
    )
    readout_leak_init: float = config_field(
        0.9, "of the leaky readout, at the start", above=0, below=0.99
    )
    input_transform: Literal["log1p", "none"] = config_field(
        "log1p", "log(1 + count) or the count, as input"
    )


@dataclass(frozen=True)
class LearnerConfig:
    """The learning rule: what it changes, how fast, and when."""

    rule: Literal["stop", "ottt", "sltt", "bptt"] = config_field(
        "stop", "or to compare: on weights alone, without traces, by autograd over whole segments"
    )
    trainable: tuple[Literal["weights", "thresholds", "leaks"], ...] = config_field(
        ("weights", "thresholds", "leaks"),
        "what the rule moves below the readout, which always learns; []: nothing",
        may_be_empty=True,
    )
    loss: Literal["ce", "half_mse", "mean_ce_mse"] = config_field(
        "ce", "cross-entropy, half the squared distance from the target, or the mean of both"
    )
    loss_at: Literal["step", "end"] = config_field(
        "step", "a loss in every bin that has a label, or in the last one of the segment alone"
    )
    label_smoothing: float = config_field(
        0.0, "share of each label spread over all classes", at_least=0, below=1
    )
    loss_classes: Literal["all", "seen", "recent"] = config_field(
        "all", "classes that the loss compares: all, those named so far, or those named lately"
    )
    recent_segments: int = config_field(
        10, 'segments back that is lately, where loss_among = "present"', at_least=0
    )
    lr: float = config_field(3e-4, "learning rate of weights and biases", at_least=0)
    lr_threshold: float = config_field(3e-4, "learning rate of thresholds", at_least=0)
    lr_leak: float = config_field(3e-4, "learning rate of leaks", at_least=0)
    lr_readout: float = config_field(
        1e-2, "learning rate of the linear readout; 1e-3 where `weights` are given", at_least=0
    )
    class_lr_decay: float = config_field(
        0.0,
        "a class's row of the readout moves at n^-cool times lr_readout after n segments of it",
        at_least=0,
        at_most=10,
    )
    other_class_lr_scale: float = config_field(
        1.0,
        "share of lr_readout at which the rows of other classes than the segment's move",
        at_least=0,
        at_most=1,
    )
    update: Literal["segment", "step"] = config_field(
        "segment", "one update at a segment's end, or within it"
    )
    update_interval: int = config_field(
        1, 'steps between two updates where update = "step"', at_least=1
    )
    ema_decay: float = config_field(
        0.0,
        "decide by a slow average of the weights that keeps this share per segment; 0: no average",
        at_least=0,
        below=1,
    )
    reinitialize: Literal["never", "per_task"] = config_field(
        "never",
        "per_task: begin again with each task or domain, a control that knows the last one alone",
    )
    dtype: Literal["float32", "float64"] = config_field("float32", "numbers that it computes with")
    pretrained: str = config_field(
        "", "weights file of a trained network to start from; empty: drawn from the seed"
    )
    frozen: bool = config_field(False, "nothing learns, the network of `weights` only predicts")


@dataclass(frozen=True)
class ReadoutConfig:
    """What turns the last spikes into a decision."""

    decision: Literal["auto", "linear", "lda"] = config_field(
        "auto", "which readout decides; auto: the one with the better record so far"
    )
    lda_shrinkage: float = config_field(
        0.1, "of the discriminant's covariance towards a multiple of unity", above=0, at_most=1
    )
    lda_prior_count: float = config_field(
        10.0,
        "segments of a class that a discriminant in `learner.pretrained` counts for; 0: none",
        at_least=0,
        at_most=1_000_000,
    )


@dataclass(frozen=True)
class LabelsConfig:
    """When labels arrive."""

    arrival: Literal["immediate", "delayed"] = config_field(
        "immediate", "right after each bin was predicted, or delay_us after the segment began"
    )
    delay_us: int = config_field(
        0,
        'how long after the segment began its label comes, where arrival = "delayed"',
        at_least=0,
        at_most=MAX_US,
    )


@dataclass(frozen=True)
class DriftConfig:
    """What is done where the stream seems to have changed."""

    response: Literal["none", "boost", "reset-readout"] = config_field(
        "none", "learn faster for a while, or let the discriminant readout forget"
    )
    detector: Literal["adwin", "page-hinkley", "hddm-a", "hddm-w", "kswin"] = config_field(
        "adwin", "whose alarms over the errors count for that"
    )
    lr_boost: float = config_field(5.0, "times the learning rates", above=0)
    boost_segments: int = config_field(30, "how long a boost lasts", at_least=1)
    lda_keep_fraction: float = config_field(
        0.0, "share of its statistics that the discriminant keeps", at_least=0, at_most=1
    )


@dataclass(frozen=True)
class RunConfig:
    """The run itself."""

    seed: int = config_field(0, "of every random draw", at_least=0)
    num_threads: int = config_field(1, "threads that torch computes on", at_least=1, at_most=1024)
    output_dir: str = config_field("runs", "the folder that run folders are made in")
    name: str = config_field(
        "",
        "in the run folder's name; empty: the recipe's",
        form=(
            r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
            "letters, digits, dot, dash and underscore, at most 64",
        ),
    )


@dataclass(frozen=True)
class Config:
    """Everything that a run's result depends on, beside the source itself."""

    source: SourceConfig = SourceConfig()
    segments: SegmentsConfig = SegmentsConfig()
    scenario: ScenarioConfig = ScenarioConfig()
    binning: BinningConfig = BinningConfig()
    network: NetworkConfig = NetworkConfig()
    learner: LearnerConfig = LearnerConfig()
    readout: ReadoutConfig = ReadoutConfig()
    labels: LabelsConfig = LabelsConfig()
    drift: DriftConfig = DriftConfig()
    run: RunConfig = RunConfig()
