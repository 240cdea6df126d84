"""The settings of a run: one frozen dataclass per section, one field per key.

The type of a field is what the key accepts (a `Literal` lists the choices). Help and range are
written next to the default, and only there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from streamstop.config.fields import config_field

UNLABELLED_CLASSES = 11
TAUGHT_CLASSES = 9
"""Least number of outputs where classes are taught: new ones may come while the run goes on."""
"""Outputs of a network without named classes: as many as DVS-Gesture has."""

MAX_OUTPUTS = 1 << 20
"""Limit of one linear layer: a larger number is a typing error, and sizes must fit 64 bits."""

MAX_US = 10**15
"""Limit of every duration, about 30 years, so that no sum of times overflows 64 bits."""


@dataclass(frozen=True)
class SourceConfig:
    """Where events come from."""

    uri: str = config_field(
        "", "file, folder of labelled recordings, or camera; empty: the bundled recordings"
    )
    labels: str = config_field(
        "", "table of labels, perhaps with options, as in labels.csv?unit=s; empty: none"
    )
    sensor: str = config_field(
        "",
        "sensor size, for files that do not state it, e.g. 346x260",
        form=(r"[1-9][0-9]{0,4}x[1-9][0-9]{0,4}", "WIDTHxHEIGHT, such as 346x260"),
    )
    strict: bool = config_field(
        False, "stop at the first damaged input, instead of counting the damage"
    )
    speed: float = config_field(
        0.0,
        "replay recordings at this multiple of real time; 0: as fast as possible",
        at_least=0.0,
        at_most=1e6,
    )
    duration_s: float = config_field(
        0.0,
        "end a live run after so many seconds; 0: when the source ends, or on Ctrl-C",
        at_least=0.0,
    )
    max_latency_ms: int = config_field(
        500,
        "drop events of a live source that waited longer; 0: none, while 4 million have room",
        at_least=0,
        at_most=10**9,
    )
    record: bool = config_field(True, "record a live source in the run folder, for replay")
    record_max_mb: int = config_field(
        4096, "largest size of that recording, in megabytes", at_least=1
    )


@dataclass(frozen=True)
class SegmentsConfig:
    """How labelled recordings are cut into segments, and the order in which they arrive."""

    length_us: int = config_field(
        0, "length of a segment; 0: whole recordings", at_least=0, at_most=MAX_US
    )
    order: Literal["shuffled", "round-robin", "by-class"] = config_field(
        "shuffled", "random by seed, recordings in turn in time order, or class after class"
    )
    max_segments: int = config_field(0, "stop after this many segments; 0: all", at_least=0)


@dataclass(frozen=True)
class ScenarioConfig:
    """How a labelled stream changes: order of tasks or domains, corruptions."""

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
        "lighting", "what defines a domain, read from recording names; folder: the top-level one"
    )
    classes_per_task: int = config_field(
        1, 'classes per task, with name = "class-incremental"', at_least=1
    )
    transition_segments: int = config_field(
        0, "width of a gradual change, in segments; 0: half of the smallest domain", at_least=0
    )
    repetitions: int = config_field(
        2, 'how often each domain occurs, with name = "recurring"', at_least=1
    )
    held_out_fraction: float = config_field(
        0.0,
        "fraction of each class of a task, the last part, held out of the stream to test on",
        at_least=0,
        below=1,
    )
    corruptions: tuple[str, ...] = config_field(
        (), "applied to the events, such as 'rotate 90 at 0.5'; docs/protocol.md lists them"
    )


@dataclass(frozen=True)
class BinningConfig:
    """How events become one tensor per time bin."""

    bin_us: int = config_field(50_000, "width of a time bin", at_least=1, at_most=MAX_US)
    height: int = config_field(32, "rows of the network's input", at_least=1, at_most=4096)
    width: int = config_field(32, "columns of the network's input", at_least=1, at_most=4096)
    resize_mode: Literal["letterbox", "crop", "stretch"] = config_field(
        "letterbox", "how the sensor is fitted to the input grid"
    )
    representation: Literal["count", "binary"] = config_field(
        "count", "a cell holds its number of events, or 1 if there is any"
    )
    reorder_window_us: int = config_field(
        0, "events out of order by no more than this are still counted", at_least=0, at_most=MAX_US
    )
    reset_gap_us: int = config_field(
        1_000_000, "a longer gap in time resets the membrane potentials", at_least=1, at_most=MAX_US
    )
    hot_pixels: Literal["keep", "mask"] = config_field(
        "keep", "mask: reject the events of hot pixels from the moment that they are found"
    )
    refractory_us: int = config_field(
        0,
        "reject events this soon after an accepted one of the same pixel; 0: none",
        at_least=0,
        at_most=MAX_US,
    )


@dataclass(frozen=True)
class NetworkConfig:
    """The spiking network."""

    architecture: Literal["compact", "lenet5", "vgg11", "resnet18", "custom"] = config_field(
        "compact", "architecture; `streamstop model NAME` shows its layers"
    )
    layers: tuple[str, ...] = config_field(
        (), 'layers of "custom", input first, such as ["conv 32 kernel 5 pool 2", "linear 100"]'
    )
    channels: tuple[int, ...] = config_field(
        (), "channels of the convolutions of compact; []: 32 and 64", at_least=1, at_most=4096
    )
    hidden: int = config_field(
        0, "neurons of a linear layer before the readout; 0: none", at_least=0, at_most=MAX_OUTPUTS
    )
    classes: int = config_field(
        0, "outputs of the readout; 0: one per class of the labels", at_least=0, at_most=MAX_OUTPUTS
    )
    threshold_init: float = config_field(1.0, "initial firing threshold", at_least=1e-3)
    leak_init: float = (
        config_field(  # below streamstop.stop.layer.LEAK_MAX, which would import torch here
            0.9,
            "initial membrane decay factor (beta): fraction of the potential kept per bin",
            above=0,
            below=0.99,
        )
    )
    init_gain: float = config_field(
        1.5, "initial weights have standard deviation init_gain / sqrt(fan-in)", above=0
    )
    decay_input: bool = config_field(
        False,
        "scale input by (1 - leak), normalised to 1 at the start: leaks set memory, not drive",
    )
    surrogate: Literal["exponential", "triangle", "sigmoid", "arctan", "rectangle"] = config_field(
        "exponential", "surrogate for the derivative of a spike"
    )
    reset: Literal["soft", "hard"] = config_field(
        "soft", "at a spike, subtract the threshold from the membrane potential, or set it to 0"
    )
    threshold_sharing: Literal["layer", "channel", "neuron"] = config_field(
        "channel", "neurons that share one firing threshold"
    )
    normalization: Literal["none", "weight_standardization", "batch"] = config_field(
        "none",
        "none, standardised weights per output, or batch normalisation (train only)",
    )
    readout: Literal["linear", "leaky_integrator", "spiking"] = config_field(
        "linear", "linear in the current bin, leaky integrators, or one spiking neuron per class"
    )
    readout_leak_init: float = config_field(
        0.9, "initial decay factor (beta) of the leaky readout", above=0, below=0.99
    )
    input_transform: Literal["log1p", "none"] = config_field(
        "log1p", "input is log(1 + count), or the count"
    )


@dataclass(frozen=True)
class RuleConfig:
    """What runs and trainings have in common: the learning rule, what it moves, and its loss."""

    rule: Literal["stop", "ottt", "sltt", "bptt"] = config_field(
        "stop", "STOP; baselines: weights only, without traces, or BPTT over the whole sequence"
    )
    trainable: tuple[Literal["weights", "thresholds", "leaks"], ...] = config_field(
        ("weights", "thresholds", "leaks"),
        "trained below the readout, which always learns; []: nothing",
        may_be_empty=True,
    )
    loss: Literal["ce", "half_mse", "mean_ce_mse"] = config_field(
        "ce", "cross-entropy, half the squared distance from the target, or the mean of both"
    )
    loss_at: Literal["step", "end"] = config_field(
        "step", "a loss at every labelled step, or only at the last step of a sequence"
    )
    label_smoothing: float = config_field(
        0.0, "fraction of each label that is spread over all classes", at_least=0, below=1
    )


@dataclass(frozen=True)
class LearnerConfig(RuleConfig):
    """The learning rule: what it changes, how fast, and when."""

    loss_classes: Literal["all", "seen", "recent"] = config_field(
        "all", "classes in the loss: all, those seen so far, or those of recent segments"
    )
    recent_segments: int = config_field(
        10, 'how many segments are recent, with loss_classes = "recent"', at_least=0
    )
    lr: float = config_field(3e-4, "learning rate of weights and biases", at_least=0)
    lr_threshold: float = config_field(3e-4, "learning rate of thresholds", at_least=0)
    lr_leak: float = config_field(3e-4, "learning rate of leaks", at_least=0)
    lr_readout: float = config_field(
        1e-2,
        "learning rate of the linear readout; default 1e-3 with pretrained weights",
        at_least=0,
    )
    class_lr_decay: float = config_field(
        0.0,
        "readout row of a class learns at lr_readout * n^-class_lr_decay after n segments of it",
        at_least=0,
        at_most=10,
    )
    other_class_lr_scale: float = config_field(
        1.0,
        "factor on lr_readout for the rows of classes other than the segment's",
        at_least=0,
        at_most=1,
    )
    update: Literal["segment", "step"] = config_field(
        "segment", "one update at the end of a segment, or updates within it"
    )
    update_interval: int = config_field(1, 'steps per update, with update = "step"', at_least=1)
    late: Literal["off", "readout", "last", "all"] = config_field(
        "off",
        "what learns from a label after its segment: nothing, readout, last hidden layer too, all",
    )
    ema_decay: float = config_field(
        0.0,
        "predict with an EMA of the weights that keeps this fraction per segment; 0: no EMA",
        at_least=0,
        below=1,
    )
    reinitialize: Literal["never", "per_task"] = config_field(
        "never",
        "per_task: reinitialize at each task or domain (a control without memory)",
    )
    dtype: Literal["float32", "float64"] = config_field("float32", "floating-point precision")
    pretrained: str = config_field(
        "", "weights file to start from; empty: initialised from the seed"
    )
    frozen: bool = config_field(False, "do not learn: the pretrained network only predicts")


@dataclass(frozen=True)
class ReadoutConfig:
    """What turns the spikes of the last layer into a prediction."""

    decision: Literal["auto", "linear", "lda"] = config_field(
        "auto", "readout of the headline prediction; auto: the more accurate one so far"
    )
    lda_shrinkage: float = config_field(
        0.1,
        "shrinkage of the LDA covariance towards a multiple of the identity",
        above=0,
        at_most=1,
    )
    lda_prior_count: float = config_field(
        10.0,
        "segments per class that a pretrained LDA counts for; 0: LDA starts empty",
        at_least=0,
        at_most=1_000_000,
    )


@dataclass(frozen=True)
class LabelsConfig:
    """When labels arrive."""

    arrival: Literal["immediate", "delayed"] = config_field(
        "immediate", "right after each bin is predicted, or delay_us after the start of the segment"
    )
    delay_us: int = config_field(
        0,
        'from the start of a segment to its label, with arrival = "delayed"',
        at_least=0,
        at_most=MAX_US,
    )
    classes: str = config_field(
        "",
        'classes that may be taught while a stream without labels runs: "rock,paper", or how many',
    )
    segment_us: int = config_field(
        500_000, "length of the segments of what is taught", at_least=0, at_most=MAX_US
    )
    memory_us: int = config_field(
        300_000,
        "with classes: between labels, predictions follow the stream with this time constant",
        at_least=0,
        at_most=MAX_US,
    )


@dataclass(frozen=True)
class DriftConfig:
    """The response to detected drift."""

    response: Literal["none", "boost", "reset-readout"] = config_field(
        "none", "none, raise the learning rates for a while, or decay the LDA statistics"
    )
    detector: Literal["adwin", "page-hinkley", "hddm-a", "hddm-w", "kswin"] = config_field(
        "adwin", "drift detector over the errors that triggers the response"
    )
    lr_boost: float = config_field(5.0, "factor on the learning rates", above=0)
    boost_segments: int = config_field(30, "length of a boost, in segments", at_least=1)
    lda_keep_fraction: float = config_field(
        0.0, "fraction of its statistics that the LDA readout keeps", at_least=0, at_most=1
    )


@dataclass(frozen=True)
class RunConfig:
    """The run itself."""

    seed: int = config_field(0, "seed of every random number", at_least=0)
    num_threads: int = config_field(1, "threads of torch", at_least=1, at_most=1024)
    output_dir: str = config_field("runs", "folder in which run folders are created")
    name: str = config_field(
        "",
        "part of the run folder's name; empty: name of the recipe",
        form=(
            r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
            "letters, digits, dot, dash and underscore, at most 64",
        ),
    )


@dataclass(frozen=True)
class Config:
    """All settings that the result of a run depends on, other than the source's content."""

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
