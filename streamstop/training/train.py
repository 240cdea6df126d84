"""A training from recipe to test score: data, folds, epochs, best weights, one test at the end.

Guarantees:

- The test set, or a fold's test part, is used once, with weights that were chosen on the validation
  part of the training set.
- A training that is resumed ends like one that was never interrupted.
- What is validated, tested and kept is the same network: with the EMA of its weights, where there
  is one, and with batch normalisation folded into them.

Several processes train one network and leave one folder. A folder without train.json is unfinished.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from streamstop.config.recipe import to_toml
from streamstop.config.training import TrainConfig, limited, load_train_config
from streamstop.datasets.load import load_test_set, load_training_set
from streamstop.datasets.samples import DataSets, Indices, Samples, split, stratified_folds
from streamstop.datasets.smoke import GENERATED
from streamstop.errors import UsageError
from streamstop.learning.lda import StreamingLDA
from streamstop.learning.learner import LearnerSpec
from streamstop.learning.pretrained import lda_tensors
from streamstop.learning.weights import load_weights, save_weights
from streamstop.pipeline.environment import versions
from streamstop.pipeline.folder import new_folder, write_tensors, write_text
from streamstop.stop.network import Network, NetworkSpec
from streamstop.training.distributed import ProcessGroup, join_process_group, select_device
from streamstop.training.trainer import Score, Trainer


class TrainProgress(NamedTuple):
    """How far a training is: samples done of all epochs and folds, and the last epoch's score.

    part : the fold, empty where there is one network.
    """

    done: int
    total: int
    epoch: int
    validation: float | None
    part: str = ""


@dataclass(frozen=True)
class TrainResult:
    """What a training ends with: train.json's content, and the folder.

    is_main : whether this process is the one, of several, that wrote the folder.
    """

    summary: dict[str, Any]
    folder: Path
    is_main: bool = True


def train(
    config: TrainConfig,
    *,
    folder: Path | None = None,
    command: str = "",
    progress: Callable[[TrainProgress], None] | None = None,
    sets: DataSets | None = None,
) -> TrainResult:
    """Train as configured; leave a folder with weights, epochs.jsonl and train.json.

    Parameters
    ----------
    folder : of an interrupted training of this very configuration, to continue it; None makes a
        new one.
    command : what was typed, for the record.
    progress : called after each batch.
    sets : what to train and test on, in place of what [data] names.

    Raises
    ------
    SourceError, UsageError, DamageError : the data cannot be read, or do not fit the configuration.
    DivergedError : the loss is no longer finite.
    StreamstopError : another process of this training is gone.
    """
    torch.set_num_threads(config.run.num_threads)
    with join_process_group(select_device(config.train.device)) as processes:
        return _train(config, folder, command, progress, sets, processes)


def _train(
    config: TrainConfig,
    folder: Path | None,
    command: str,
    progress: Callable[[TrainProgress], None] | None,
    sets: DataSets | None,
    processes: ProcessGroup,
) -> TrainResult:
    began = time.monotonic()
    samples = sets.training if sets else load_training_set(config.data, config.binning)

    def test_set() -> Samples | None:
        return sets.test if sets else load_test_set(config.data, config.binning, samples)

    classes = config.network.classes or len(samples.classes)
    if classes < len(samples.classes):
        raise UsageError(
            f"network.classes = {classes}, but the labels name {len(samples.classes)} classes"
        )
    if folder is None:
        made = Path()
        if processes.is_main:
            made = new_folder(Path(config.run.output_dir), config.run.name, to_toml(config))
        folder = Path(processes.broadcast_text(str(made)))
    parts = _parts(config, samples)
    counter = _Progress(progress, config.train.epochs * sum(len(part.train) for part in parts))
    results = [
        _train_one(config, samples, test_set, classes, folder / part.name, part, counter, processes)
        for part in parts
    ]
    summary: dict[str, Any] = {
        "name": config.run.name,
        "command": command,
        "status": "complete",
        "data": sets.name if sets else config.data.uri,
        "simulated": samples.simulated,
        "seed": config.run.seed,
        "classes": list(samples.classes),
        "network": config.network.architecture,
        "rule": config.train.rule,
        "learn": list(config.train.trainable),
        "steps": config.data.time_steps,
        "epochs": config.train.epochs,
        "limit": _limit(config, samples, results),
        "test": _overall(results, "test"),
        "test_discriminant": _overall(results, "test_discriminant"),
        "parts": results,
        "processes": processes.count,
        "device": _device_name(processes.device),
        "seconds": round(time.monotonic() - began, 1),
        "versions": versions(),
    }
    if processes.is_main:
        write_text(folder / "train.md", to_markdown(summary))
        write_text(folder / "train.json", json.dumps(summary, indent=2) + "\n")
    return TrainResult(summary, folder, processes.is_main)


def _limit(config: TrainConfig, samples: Samples, results: list[dict[str, Any]]) -> int | None:
    """`data.max_samples` where a set was as large as that: samples may have been left out."""
    sizes = [len(samples.y), *(one["test"]["samples"] for one in results if one["test"])]
    limit = config.data.max_samples
    return limit if limit and max(sizes) >= limit else None


def load_unfinished(folder: Path) -> TrainConfig:
    """The configuration of the training that was interrupted in `folder`.

    Raises UsageError where it was not, or where there is none.
    """
    if (folder / "train.json").exists():
        raise UsageError(f"this training is complete, and its test set was seen: {folder}")
    if not (folder / "config.toml").is_file():
        raise UsageError(f"no training was begun in this folder: {folder}")
    return load_train_config(str(folder / "config.toml"))


class _Part(NamedTuple):
    """Samples of one network. test : of its fold; None for the test set itself."""

    name: str
    train: Indices
    validation: Indices
    test: Indices | None


@dataclass
class _Progress:
    """Counts samples for the progress line."""

    progress: Callable[[TrainProgress], None] | None
    total: int
    done: int = 0
    epoch: int = 0
    validation: float | None = None
    part: str = ""

    def add(self, samples: int) -> None:
        self.done += samples
        if self.progress is not None:
            self.progress(
                TrainProgress(self.done, self.total, self.epoch, self.validation, self.part)
            )


def _parts(config: TrainConfig, samples: Samples) -> list[_Part]:
    data, seed = config.data, config.run.seed
    everything = np.arange(len(samples.y))
    dealt = stratified_folds(samples.y, data.folds, seed) if data.folds else None
    parts = []
    for fold in range(max(data.folds, 1)):
        rest = everything if dealt is None else np.flatnonzero(dealt != fold)
        test = None if dealt is None else np.flatnonzero(dealt == fold)
        drawn = None if data.window_us else seed
        train, validation = split(
            samples.y[torch.from_numpy(rest)], data.validation_fraction, drawn
        )
        if not len(train) or (data.validation_fraction and not len(validation)):
            raise UsageError(
                f"data.validation_fraction = {data.validation_fraction} of {len(rest)} samples "
                f"leaves {len(train)} "
                f"to train on and {len(validation)} to validate on"
            )
        name = "" if dealt is None else f"fold-{fold + 1}"
        parts.append(_Part(name, rest[train], rest[validation], test))
    return parts


def _train_one(
    config: TrainConfig,
    samples: Samples,
    test_set: Callable[[], Samples | None],
    classes: int,
    folder: Path,
    part: _Part,
    progress: _Progress,
    processes: ProcessGroup,
) -> dict[str, Any]:
    """Train one network, choose its best epoch, test it once; its entry in train.json."""
    if processes.is_main:
        folder.mkdir(exist_ok=True)
    trainer = Trainer(config, samples.subset(part.train), classes, processes)
    validation = samples.subset(part.validation)
    lines = _resume(trainer, folder)
    progress.part, progress.validation = part.name, None
    progress.add(len(lines) * len(part.train))
    best = max((line["validation"] or 0.0 for line in lines), default=-1.0)
    for number in range(len(lines), config.train.epochs):
        began = time.monotonic()
        progress.epoch = number + 1
        loss, score = trainer.epoch(number, progress.add)
        with trainer.ema_network() as network:
            chosen = trainer.evaluate(validation).accuracy if len(validation.y) else None
            progress.validation = chosen
            lines.append(_line(trainer, number, loss, score, chosen, time.monotonic() - began))
            if processes.is_main:
                spec, parameters = network.folded()
                about = _about(trainer, spec, samples.classes, number)
                if chosen is None or chosen > best:
                    save_weights(folder / "best.safetensors", parameters, about)
                save_weights(folder / "last.safetensors", parameters, about)
        best = max(best, chosen or 0.0)
        if processes.is_main:
            text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
            write_text(folder / "epochs.jsonl", text)
            # Last: an epoch counts as done from here on. What else was written is written again.
            epochs = {"epochs": torch.tensor(number + 1)}
            write_tensors(folder / "resume.safetensors", {**trainer.state(), **epochs})
    processes.all_reduce_number(0)  # until process 0 has written, the others wait here
    network = _best_network(trainer, folder)
    test = test_set() if part.test is None else samples.subset(part.test)
    by_lda: dict[str, Any] | None = None
    if config.train.fit_lda:
        known = samples.subset(np.sort(np.concatenate([part.train, part.validation])))
        readout = _fit_lda(trainer, network, known, classes)
        if processes.is_main:
            best_file = folder / "best.safetensors"
            tensors, about = load_weights(best_file)
            save_weights(best_file, {**tensors, **lda_tensors(readout)}, about)
        if test is not None:
            by_lda = _figure(_lda_score(readout, trainer.firing_rates(test, network), test))
    reached = [line["validation"] or 0.0 for line in lines]
    best_epoch = reached.index(max(reached)) + 1 if len(validation.y) else len(lines)
    return {
        "part": part.name or "all",
        "samples": len(part.train),
        "validation_samples": len(part.validation),
        "parameters": sum(value.numel() for value in network.parameters().values()),
        "best_epoch": best_epoch,
        "train": lines[best_epoch - 1]["train"],
        "validation": lines[best_epoch - 1]["validation"],
        "test": None if test is None else _figure(trainer.evaluate(test, network)),
        "test_discriminant": by_lda,
    }


def _fit_lda(trainer: Trainer, network: Network, known: Samples, classes: int) -> StreamingLDA:
    """The second readout of a run, LDA on firing rates: one pass over all but the test set."""
    readout = StreamingLDA(classes, LearnerSpec.shrinkage)
    for rates, label in zip(trainer.firing_rates(known, network), known.y.tolist(), strict=True):
        readout.learn(rates, label)
    return readout


def _lda_score(readout: StreamingLDA, rates: NDArray[np.float64], samples: Samples) -> Score:
    predicted = [int(readout.scores(one).argmax()) for one in rates]
    return Score(
        sum(a == b for a, b in zip(predicted, samples.y.tolist(), strict=True)), len(predicted)
    )


def _about(
    trainer: Trainer, spec: NetworkSpec, classes: tuple[str, ...], number: int
) -> dict[str, Any]:
    """Header of a weights file: what the network in it is."""
    config = trainer.config
    section = asdict(config.network) | {"normalization": spec.neuron.normalization}
    about: dict[str, Any] = {
        "network": section,
        "input": list(spec.input_shape),
        "classes": list(classes),
        "steps": config.data.time_steps,
        "epoch": number + 1,
        "bin_us": 0 if trainer.images else config.binning.bin_us,
        "versions": versions(),
    }
    if trainer.images:
        return about | {"mean": list(trainer.mean), "deviation": list(trainer.deviation)}
    return about | {"binning": asdict(config.binning)}


def _best_network(trainer: Trainer, folder: Path) -> Network:
    """The network of the best epoch, as its file has it."""
    spec, _ = trainer.network.folded()
    network = Network(spec, trainer.config.run.seed, learn="")
    network.to(trainer.processes.device)
    network.autocast = trainer.network.autocast
    network.load_parameters(load_weights(folder / "best.safetensors")[0])
    return network


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _resume(trainer: Trainer, folder: Path) -> list[dict[str, Any]]:
    """Restore what an interrupted training left; the lines of the epochs it had done."""
    kept = folder / "resume.safetensors"
    if not kept.exists():
        return []
    try:
        state = load_file(kept)
        epochs = int(state.pop("epochs"))
        trainer.restore(state)
        text = (folder / "epochs.jsonl").read_text(encoding="utf-8")
        lines = [json.loads(line) for line in text.splitlines()][:epochs]
    except (SafetensorError, KeyError, RuntimeError, ValueError) as error:
        raise UsageError(f"the training cannot be taken up again ({error}): {folder}") from error
    if len(lines) != epochs:
        raise UsageError(f"{len(lines)} lines in epochs.jsonl, {epochs} epochs were done: {folder}")
    return lines


def _line(
    trainer: Trainer, number: int, loss: float, score: Score, chosen: float | None, seconds: float
) -> dict[str, Any]:
    network = trainer.network
    layers = list(zip(network.layer_names, network.layers, strict=True))
    return {
        "epoch": number + 1,
        "loss": loss,
        "train": score.accuracy,
        "validation": chosen,
        "lr": trainer.config.train.lr * trainer.lr_factor(trainer.updates(number + 1) - 1),
        "leaks": {name: float(layer.leak) for name, layer in layers},
        "thresholds": {name: float(layer.theta.mean()) for name, layer in layers},
        "seconds": round(seconds, 2),
    }


def _figure(score: Score) -> dict[str, Any]:
    """Accuracy with its binomial standard error."""
    p = score.accuracy
    return {
        "accuracy": p,
        "correct": score.correct,
        "samples": score.samples,
        "standard_error": math.sqrt(p * (1 - p) / score.samples),
    }


def _overall(results: list[dict[str, Any]], key: str) -> dict[str, Any] | None:
    """A test figure: of the one network, or of all folds together with their spread."""
    tested = [result[key] for result in results if result[key] is not None]
    if not tested:
        return None
    correct, samples = (sum(one[what] for one in tested) for what in ("correct", "samples"))
    figure = _figure(Score(correct, samples))
    if len(tested) > 1:
        each = [one["accuracy"] for one in tested]
        figure |= {"folds_mean": statistics.fmean(each), "folds_sd": statistics.stdev(each)}
    return figure


def to_markdown(summary: dict[str, Any]) -> str:
    """train.json's content as a page to read (Markdown)."""
    test = summary["test"]
    lines = [f"# Training {summary['name']}", "", f"    {summary['command']}", ""]
    validated = any(one["validation_samples"] for one in summary["parts"])
    chosen = "Validation chose the epoch" if validated else "The last epoch's weights were kept"
    where = summary.get("device", "cpu")
    if (processes := summary.get("processes", 1)) > 1:
        where = f"{processes} processes on {where}"
    if test is None:
        lines.append("No test set.")
    else:
        lines.append(
            f"Test accuracy {test['accuracy']:.4f} ({test['correct']} of {test['samples']}, "
            f"standard error {test['standard_error']:.4f})."
        )
    if test is not None and "folds_mean" in test:
        lines.append(f"Mean of the folds {test['folds_mean']:.4f}, sd {test['folds_sd']:.4f}.")
    if second := summary.get("test_discriminant"):
        folds = f", mean of the folds {second['folds_mean']:.4f}" if "folds_mean" in second else ""
        lines.append(
            f"By the LDA readout, on this network's firing rates: "
            f"{second['accuracy']:.4f} ({second['correct']} of {second['samples']}{folds})."
        )
    if str(summary["data"]).startswith(GENERATED):
        lines.append(
            "The samples were generated, because the data set is not here; these scores mean "
            "nothing."
        )
    elif limit := summary.get("limit"):
        lines.append(limited(limit))
    lines += [
        f"Network {summary['network']}, T = {summary['steps']}, {summary['epochs']} epochs, seed "
        f"{summary['seed']}, {summary['seconds']:.0f} s, {where}. {chosen}; the test samples were "
        "seen once, at the end.",
        "",
        "| part | trained on | best epoch | train | validation | test |",
        "|---|---|---|---|---|---|",
    ]
    for one in summary["parts"]:
        tested = one["test"] and one["test"]["accuracy"]
        scores = (
            "-" if s is None else f"{s:.4f}" for s in (one["train"], one["validation"], tested)
        )
        row = (one["part"], str(one["samples"]), str(one["best_epoch"]), *scores)
        lines.append(f"| {' | '.join(row)} |")
    made = ", ".join(f"{name} {value}" for name, value in summary["versions"].items())
    return "\n".join([*lines, "", f"Versions: {made}.", ""])
