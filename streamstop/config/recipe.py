"""The configuration of a run: TOML recipe < `--set section.key=value` < flags, checked when read.

It promises that a `Config` holds only values of the right type, in range and known by name, and
that `load_config` of what `to_toml` wrote gives the same `Config` again. It does not look at the
source: whether a file is there, and what is in it, is for `streamstop.sources.open` to say.

One frozen dataclass a section, one field a key. A field's type is what the key accepts (a `Literal`
lists its choices); its help and its range stand beside its default and nowhere else.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from streamstop.config.bundled import bundled_path, find_recipe
from streamstop.config.fields import check, choices, read_text, setting, to_toml_value
from streamstop.config.uri_paths import found_from
from streamstop.errors import UsageError

if TYPE_CHECKING:
    from streamstop.events.packet import SensorSize

MAX_RECIPE_BYTES = 1 << 20
"""A longer recipe is some other file given by mistake."""

UNLABELLED_CLASSES = 11
"""Outputs of a network that nothing names classes for: as many as DVS-Gesture has."""

MAX_OUTPUTS = 1 << 20
"""More outputs of one linear layer are a slip of the pen, and sizes shall not leave 64 bits."""

TRAINED_LR_READOUT = 1e-3
"""Of a run that begins with trained weights and says no other: Adam's first steps are as large as
its rate, and from scratch's 1e-2 makes a trained readout forget before it learns."""

MAX_US = 10**15
"""No setting speaks of more than some 30 years, so that no sum of times leaves 64 bits."""


@dataclass(frozen=True)
class SourceConfig:
    """Where events come from."""

    uri: str = setting(
        "", "file, folder of labelled recordings, or camera; empty: the bundled ones"
    )
    labels: str = setting("", "CSV of labels: class,startTime_usec,endTime_usec; empty: none")
    sensor: str = setting(
        "",
        "size of the sensor where the file does not tell it, e.g. 346x260",
        form=(r"[1-9][0-9]{0,4}x[1-9][0-9]{0,4}", "WIDTHxHEIGHT, such as 346x260"),
    )
    strict: bool = setting(False, "stop at the first damaged input instead of counting it")
    speed: float = setting(
        0.0,
        "replay recordings at so many times real time; 0: as fast as it goes",
        at_least=0.0,
        at_most=1e6,
    )
    seconds: float = setting(
        0.0, "end a live run after so long; 0: when the source ends, or Ctrl-C", at_least=0.0
    )
    record: bool = setting(True, "keep what a live source sent in the run folder, to replay it")
    record_mb: int = setting(4096, "megabytes that may be kept so", at_least=1)

    @property
    def sensor_size(self) -> SensorSize | None:
        """`sensor` as a size, None where it is empty."""
        from streamstop.events.packet import (
            SensorSize,  # numpy, which --help has no need to wait for
        )

        width, _, height = self.sensor.partition("x")
        return SensorSize(int(width), int(height)) if self.sensor else None


@dataclass(frozen=True)
class SegmentsConfig:
    """How labelled recordings are cut into segments, and the order in which they arrive."""

    length_us: int = setting(
        0, "length of a segment; 0: whole recordings", at_least=0, at_most=MAX_US
    )
    order: Literal["iid", "round-robin", "by-class"] = setting(
        "iid", "drawn from the seed, turn by turn in time order, or class after class"
    )
    limit: int = setting(0, "stop after so many segments; 0: all", at_least=0)


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
    ] = setting("none", "the order of tasks or domains; none: segments.order alone")
    domain: Literal["lighting", "user", "folder", "recording"] = setting(
        "lighting", "what makes a domain, by the recordings' names; folder: the top one"
    )
    classes: int = setting(1, "classes of a task, where class-incremental", at_least=1)
    over: int = setting(
        0, "segments that a gradual change takes; 0: half the smallest domain", at_least=0
    )
    rounds: int = setting(2, "times that each domain comes, where recurring", at_least=1)
    held_out: float = setting(
        0.0,
        "share of each class of a task, its last, kept out of the stream to test on",
        at_least=0,
        below=1,
    )
    corruptions: tuple[str, ...] = setting(
        (), "what befalls the events, such as 'rotate 90 at 0.5'; docs/protocol.md lists them"
    )


@dataclass(frozen=True)
class BinningConfig:
    """How events become one tensor per time bin."""

    bin_us: int = setting(50_000, "width of a time bin", at_least=1, at_most=MAX_US)
    height: int = setting(32, "rows of the network's input", at_least=1, at_most=4096)
    width: int = setting(32, "columns of the network's input", at_least=1, at_most=4096)
    fit: Literal["letterbox", "crop", "stretch"] = setting(
        "letterbox", "how the sensor's aspect meets the input's"
    )
    values: Literal["counts", "binary"] = setting("counts", "events per cell, or 1 where any")
    reorder_us: int = setting(
        0, "events late by no more than this are sorted in", at_least=0, at_most=MAX_US
    )
    gap_us: int = setting(
        1_000_000, "a longer gap in time resets the neurons", at_least=1, at_most=MAX_US
    )


@dataclass(frozen=True)
class NetworkConfig:
    """The spiking network."""

    name: Literal["compact", "lenet5", "vgg11", "resnet18", "custom"] = setting(
        "compact", "which architecture; streamstop model NAME shows its layers"
    )
    layers: tuple[str, ...] = setting(
        (), 'of custom, from the input up, such as ["conv 32 kernel 5 pool 2", "linear 100"]'
    )
    channels: tuple[int, ...] = setting(
        (), "of each convolution of compact; []: its own, 32 and 64", at_least=1, at_most=4096
    )
    hidden: int = setting(
        0, "neurons of a linear layer before the readout; 0: none", at_least=0, at_most=MAX_OUTPUTS
    )
    classes: int = setting(
        0, "classes of the readout; 0: as many as the labels name", at_least=0, at_most=MAX_OUTPUTS
    )
    theta: float = setting(1.0, "firing threshold at the start", at_least=1e-3)
    leak: float = setting(  # below streamstop.stop.layer.LEAK_MAX, which would import torch here
        0.9, "share of the membrane potential kept per bin", above=0, below=0.99
    )
    gain: float = setting(
        1.5, "initial weights have standard deviation gain / sqrt(fan-in)", above=0
    )
    leak_gain: bool = setting(
        False,
        "scale what synapses do by (1 - leak), 1 at the start: a leak sets memory, not drive",
    )
    surrogate: Literal["exponential", "triangle", "sigmoid", "arctan", "rectangle"] = setting(
        "exponential", "stand-in for the derivative of a spike"
    )
    reset: Literal["soft", "hard"] = setting(
        "soft", "a spike takes the threshold off the membrane potential, or sets it to 0"
    )
    threshold: Literal["layer", "channel", "neuron"] = setting(
        "channel", "what shares one firing threshold"
    )
    norm: Literal["none", "weight", "batch"] = setting(
        "none",
        "of synapses: none, each output's weights standardised, or batches' (train alone)",
    )
    readout: Literal["linear", "leaky", "spiking"] = setting(
        "linear", "what decides: of the bin alone, leaky integrators, or a neuron a class"
    )
    readout_leak: float = setting(0.9, "of the leaky readout, at the start", above=0, below=0.99)
    encoding: Literal["log", "linear"] = setting("log", "log(1 + count) or the count, as input")


@dataclass(frozen=True)
class LearnerConfig:
    """The learning rule: what it changes, how fast, and when."""

    rule: Literal["stop", "ottt", "sltt", "bptt"] = setting(
        "stop", "or to compare: on weights alone, without traces, by autograd over whole segments"
    )
    learn: Literal["w", "wt", "wl", "wtl", "none"] = setting(
        "wtl", "what it moves: weights, thresholds, leaks; the readout always learns"
    )
    loss: Literal["ce", "mse", "mix"] = setting(
        "ce", "cross-entropy, half the squared distance from the target, or the mean of both"
    )
    loss_at: Literal["step", "end"] = setting(
        "step", "a loss in every bin that has a label, or in the last one of the segment alone"
    )
    smoothing: float = setting(
        0.0, "share of each label spread over all classes", at_least=0, below=1
    )
    loss_among: Literal["all", "seen", "present"] = setting(
        "all", "classes that the loss compares: all, those named so far, or those named lately"
    )
    present: int = setting(
        10, 'segments back that is lately, where loss_among = "present"', at_least=0
    )
    lr: float = setting(3e-4, "learning rate of weights and biases", at_least=0)
    lr_threshold: float = setting(3e-4, "learning rate of thresholds", at_least=0)
    lr_leak: float = setting(3e-4, "learning rate of leaks", at_least=0)
    lr_readout: float = setting(
        1e-2, "learning rate of the linear readout; 1e-3 where `weights` are given", at_least=0
    )
    cool: float = setting(
        0.0,
        "a class's row of the readout moves at n^-cool times lr_readout after n segments of it",
        at_least=0,
        at_most=10,
    )
    others: float = setting(
        1.0,
        "share of lr_readout at which the rows of other classes than the segment's move",
        at_least=0,
        at_most=1,
    )
    update: Literal["segment", "step"] = setting(
        "segment", "one update at a segment's end, or within it"
    )
    every: int = setting(1, 'steps between two updates where update = "step"', at_least=1)
    slow: float = setting(
        0.0,
        "decide by a slow average of the weights that keeps this share per segment; 0: no average",
        at_least=0,
        below=1,
    )
    reset: Literal["none", "span"] = setting(
        "none", "span: begin anew with each task or domain, a control that knows the last one alone"
    )
    precision: Literal["float32", "float64"] = setting("float32", "numbers that it computes with")
    weights: str = setting(
        "", "weights file of a trained network to start from; empty: drawn from the seed"
    )
    frozen: bool = setting(False, "nothing learns, the network of `weights` only predicts")


@dataclass(frozen=True)
class ReadoutConfig:
    """What turns the last spikes into a decision."""

    decide: Literal["auto", "linear", "lda"] = setting(
        "auto", "which readout decides; auto: the one with the better record so far"
    )
    shrinkage: float = setting(
        0.1, "of the discriminant's covariance towards a multiple of unity", above=0, at_most=1
    )
    prior: float = setting(
        10.0,
        "segments of a class that a discriminant in `learner.weights` counts for; 0: none",
        at_least=0,
        at_most=1_000_000,
    )


@dataclass(frozen=True)
class LabelsConfig:
    """When labels arrive."""

    arrival: Literal["concurrent", "delayed"] = setting(
        "concurrent", "right after each bin was predicted, or delay_us after the segment began"
    )
    delay_us: int = setting(
        0,
        'how long after the segment began its label comes, where arrival = "delayed"',
        at_least=0,
        at_most=MAX_US,
    )


@dataclass(frozen=True)
class DriftConfig:
    """What is done where the stream seems to have changed."""

    on_drift: Literal["none", "boost", "reset-readout"] = setting(
        "none", "learn faster for a while, or let the discriminant readout forget"
    )
    detector: Literal["adwin", "page-hinkley", "hddm-a", "hddm-w", "kswin"] = setting(
        "adwin", "whose alarms over the errors count for that"
    )
    boost: float = setting(5.0, "times the learning rates", above=0)
    segments: int = setting(30, "how long a boost lasts", at_least=1)
    keep: float = setting(
        0.0, "share of its statistics that the discriminant keeps", at_least=0, at_most=1
    )


@dataclass(frozen=True)
class RunConfig:
    """The run itself."""

    seed: int = setting(0, "of every random draw", at_least=0)
    threads: int = setting(1, "threads that torch computes on", at_least=1, at_most=1024)
    out: str = setting("runs", "the folder that run folders are made in")
    name: str = setting(
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


def load_config(
    recipe: Path | str | None = None,
    sets: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    """The configuration of a run: a recipe, then `sets`, then `overrides`, the later one winning.

    Parameters
    ----------
    recipe : path of a TOML file, or the name of a bundled one ("demo"). None: the demo, or nothing
        but the defaults where `sets` or `overrides` name a source.
    sets : "section.key=value" each. The value is read as TOML; where it is none, or where the key
        wants text, it is taken as it stands.
    overrides : values by "section.key"; None means not given.

    A relative `source.uri`, `source.labels` or `learner.weights` in a recipe is looked for from the
    current directory first, then from the recipe's own folder.

    Where there is a `learner.weights`, that file says what the network and its input are. What is
    said of them beside it (in the same recipe, or on the command line where the file was named
    there) must agree; what a recipe says that the file was not chosen for gives way.

    Raises
    ------
    UsageError : no such recipe, not TOML, an unknown section or key, a value of the wrong type or
        out of range, or one that contradicts the weights file. The message names the key, the
        value, what is allowed, and where it came from.
    SourceError : the weights file cannot be read.

    Examples
    --------
    >>> config = load_config("demo", ["binning.bin_us=5000"], {"run.seed": 7})
    >>> config.binning.bin_us, config.run.seed, config.run.name
    (5000, 7, 'demo')
    """
    chosen = given(Config, sets, overrides)
    path = None if recipe is None else find_recipe(recipe)
    if path is None and ("source", "uri") not in chosen:
        path = bundled_path("pipelines/demo.toml")
    if path is not None:
        recipes, typed = read_recipe(Config, path, SOURCE_PATHS), chosen
        chosen = {**recipes, **typed}
        beside = typed if ("learner", "weights") in typed else chosen
    else:
        beside = chosen
    if weights := chosen.get(("learner", "weights")):
        from streamstop.learning.pretrained import (
            Trained,  # torch, which --help has no need to wait for
        )

        advised = {("learner", "lr_readout"): TRAINED_LR_READOUT}
        chosen = {**advised, **chosen, **Trained.read(weights).settings(beside)}
    config = Config(**built(Config, chosen))
    learner = config.learner
    if learner.frozen and not learner.weights:
        raise UsageError(
            "learner.frozen: a network as it was drawn, that learns nothing, can only guess; say "
            "which trained network shall predict with --weights FILE.safetensors"
        )
    if 0 < config.segments.length_us < config.binning.bin_us:
        raise UsageError(
            f"segments.length_us = {config.segments.length_us}: a segment must be at least one bin "
            f"long, and binning.bin_us = {config.binning.bin_us}"
        )
    return config


def given(
    whole: type, sets: Sequence[str] = (), overrides: Mapping[str, Any] | None = None
) -> Values:
    """The checked values of `sets` ("section.key=value" each), then of `overrides`.

    whole : the dataclass whose fields are the sections. Raises UsageError as `load_config`.
    """
    chosen: Values = {}
    for text in sets:
        dotted, equals, raw = text.partition("=")
        if not equals:
            raise UsageError(f"--set wants section.key=value, such as run.seed=1, not {text!r}")
        name, key = _known(whole, dotted.strip(), f"--set {text}")
        value = read_text(_sections(whole)[name], key, raw)
        chosen[name, key] = _checked(whole, name, key, value, f"--set {text}")
    for dotted, value in (overrides or {}).items():
        if value is not None:
            name, key = _known(whole, dotted, "a flag")
            chosen[name, key] = _checked(whole, name, key, value, "a flag")
    return chosen


def built(whole: type, chosen: Values) -> dict[str, Any]:
    """The sections of `whole` by name, made of `chosen` and of defaults."""
    return {
        name: section(**{key: value for (inside, key), value in chosen.items() if inside == name})
        for name, section in _sections(whole).items()
    }


def to_toml(config: Any, *, explain: bool = False) -> str:
    """`config`, a dataclass of sections, as a TOML recipe that is read back exactly.

    explain : put each section's and each key's help and choices beside it, as comments.
    """
    lines: list[str] = []
    for name, section in _sections(type(config)).items():
        lines += [f"[{name}]"] + ([f"# {section.__doc__}"] if explain else [])
        for spec in fields(section):
            line = f"{spec.name} = {to_toml_value(getattr(getattr(config, name), spec.name))}"
            if explain:
                listed = " | ".join(choices(section, spec.name))
                line = f"{line:<26}  # {spec.metadata['help']}" + (f" [{listed}]" if listed else "")
            lines.append(line)
        lines.append("")
    return "\n".join(lines)


Values = dict[tuple[str, str], Any]
"""Values by section and key."""

SOURCE_PATHS = (("source", "uri"), ("source", "labels"), ("learner", "weights"))
"""What of a run's recipe is a path."""


def _sections(whole: type) -> dict[str, Any]:
    return get_type_hints(whole)


def _checked(whole: type, name: str, key: str, value: Any, origin: str) -> Any:
    return check(_sections(whole)[name], name, key, value, origin)


def _known(whole: type, dotted: str, origin: str) -> tuple[str, str]:
    """`dotted` split into section and key, both known; else a UsageError that suggests one."""
    name, _, key = dotted.partition(".")
    sections = _sections(whole)
    every = [f"{s}.{spec.name}" for s, section in sections.items() for spec in fields(section)]
    if dotted in every:
        return name, key
    inside = [known for known in every if known.partition(".")[0] == name]
    # A key that exists elsewhere was put in the wrong section; else it is a slip of the pen, in
    # this section rather than in another.
    meant = [known for known in every if known.partition(".")[2] == (key or dotted)]
    meant = meant or difflib.get_close_matches(dotted, inside or every, n=1, cutoff=0.7)
    hint = f" (did you mean {meant[0]}?)" if meant else ""
    if inside and not key:
        what = f"{name!r} is a section, not a key"
    else:
        what = f"Unknown {'key' if inside or not key else 'section in'} {dotted!r}{hint}"
    if inside:
        allowed = f"[{name}] has {', '.join(known.partition('.')[2] for known in inside)}"
    else:
        allowed = f"The sections are {', '.join(sections)}"
    raise UsageError(f"{what}. {allowed}. From {origin}")


def read_recipe(whole: type, path: Path, paths: Sequence[tuple[str, str]]) -> Values:
    """Every value of a recipe, checked, and run.name after the file unless the recipe says it.

    whole : the dataclass whose fields are the sections.
    paths : section and key of what is a path; where it is relative and not there, it is looked for
        beside the recipe.
    """
    origin = f"the recipe {path}"
    values: Values = {("run", "name"): _name_of(path)}
    for name, table in read_toml(path).items():
        if name not in _sections(whole):
            dotted = ".".join([name, *table][:2]) if isinstance(table, dict) else name
            _known(whole, dotted, origin)
        if not isinstance(table, dict):
            raise UsageError(f"{name} must be a section, [{name}]. From {origin}")
        for key, value in table.items():
            where = _known(whole, f"{name}.{key}", origin)
            values[where] = _checked(whole, *where, value, origin)
    for which in paths:
        if text := values.get(which, ""):
            values[which] = found_from(text, path.parent)
    return values


def read_toml(path: Path, what: str = "The recipe") -> dict[str, Any]:
    """The tables of a TOML file of MAX_RECIPE_BYTES at most.

    Raises UsageError, which calls the file `what`, where it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_RECIPE_BYTES + 1)
        if len(data) > MAX_RECIPE_BYTES:
            raise UsageError(f"{what} is longer than {MAX_RECIPE_BYTES} bytes: {path}")
        return tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        raise UsageError(f"{what} cannot be read ({error.strerror}): {path}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} is not UTF-8, from byte {error.start}: {path}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{what} is not TOML ({error}): {path}") from error


def _name_of(recipe: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", recipe.stem).lstrip("._-")[:64]
