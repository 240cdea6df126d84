"""What the page of a training shows: one frozen value, read once from the training's folder.

Promises: every missing or non-finite figure is None, never a made-up one; a folder that is no
finished training is a `UsageError`; what the figures may be compared with is said from the settings
that made them, not by hand. Does not compute scores: it repeats the training's own, with the
interval that their number of samples allows.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from streamstop.errors import UsageError
from streamstop.pipeline.summary_file import number

Values = Sequence[float | None]

MAX_BYTES = 16 << 20
"""No file of a training's folder that is read here may be longer."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A quantity over the epochs: its mean over the parts, and their lowest and highest."""

    mean: Values
    low: Values
    high: Values


@dataclass(frozen=True, slots=True)
class Part:
    """One network's row: its scores at its best epoch, and of how many samples they are."""

    name: str
    samples: int
    validated: int
    best_epoch: int
    train: float | None
    validation: float | None
    test: float | None
    standard_error: float | None
    tested: int


@dataclass(frozen=True, slots=True)
class TrainView:
    """A finished training.

    summary : train.json.  settings : config.toml, read.  config : its text.
    epochs : number of them that there are curves for.  loss, train, validation, lr : over them.
    leaks, thresholds : by layer.  seconds : of one epoch, the mean.
    correct, tested : test samples told right, and all of them; 0, 0 without a test set.
    """

    summary: Mapping[str, Any]
    settings: Mapping[str, Mapping[str, Any]]
    config: str
    parts: tuple[Part, ...]
    epochs: int
    loss: Curve
    train: Curve
    validation: Curve
    lr: Curve
    leaks: Mapping[str, Curve]
    thresholds: Mapping[str, Curve]
    seconds: float | None
    correct: int
    tested: int

    def setting(self, section: str, key: str, otherwise: Any) -> Any:
        """A setting, or what it is where an older version did not write it."""
        return self.settings.get(section, {}).get(key, otherwise)

    @property
    def simulated(self) -> bool:
        """Whether any of the data were made by a simulator."""
        return bool(self.summary.get("simulated"))

    @property
    def accuracy(self) -> float | None:
        """Share of all test samples told right."""
        return self.correct / self.tested if self.tested else None

    @property
    def folds(self) -> bool:
        """Whether this was a cross-validation."""
        return bool(self.setting("data", "folds", 0))


def load_train_view(folder: Path) -> TrainView:
    """Read a finished training's folder.

    Raises UsageError where it is none, or cannot be understood.
    """
    try:
        summary = json.loads(_text(folder / "train.json"))
        config = _text(folder / "config.toml")
        names = [one["part"] for one in summary["parts"]]
        lines = [_lines(folder if name == "all" else folder / name) for name in names]
        return _view(summary, config, lines)
    except FileNotFoundError as error:
        raise UsageError(f"no finished training: {error.filename} is not there") from error
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        what = f"{type(error).__name__}: {error}"
        raise UsageError(
            f"this training's files cannot be understood ({what}): {folder}"
        ) from error


def _view(
    summary: Mapping[str, Any], config: str, lines: Sequence[Sequence[Mapping[str, Any]]]
) -> TrainView:
    test = summary["test"] or {}
    first = lines[0][0] if lines and lines[0] else {}
    seconds = [s for part in lines for line in part if (s := number(line.get("seconds")))]

    def curve(take: Callable[[Mapping[str, Any]], object]) -> Curve:
        means, lows, highs = [], [], []
        for i in range(max(map(len, lines), default=0)):
            found = [number(take(part[i])) for part in lines if i < len(part)]
            there = [value for value in found if value is not None]
            means.append(fmean(there) if there else None)
            lows.append(min(there, default=None))
            highs.append(max(there, default=None))
        return Curve(means, lows, highs)

    def by_layer(key: str) -> dict[str, Curve]:
        return {
            name: curve(lambda line, name=name: line.get(key, {}).get(name))  # type: ignore[misc]
            for name in first.get(key, {})
        }

    return TrainView(
        summary=summary,
        settings={k: v for k, v in tomllib.loads(config).items() if isinstance(v, dict)},
        config=config,
        parts=tuple(map(_part, summary["parts"])),
        epochs=max(map(len, lines), default=0),
        loss=curve(lambda line: line.get("loss")),
        train=curve(lambda line: line.get("train")),
        validation=curve(lambda line: line.get("validation")),
        lr=curve(lambda line: line.get("lr")),
        leaks=by_layer("leaks"),
        thresholds=by_layer("thresholds"),
        seconds=fmean(seconds) if seconds else None,
        correct=int(test.get("correct", 0)),
        tested=int(test.get("samples", 0)),
    )


def _part(row: Mapping[str, Any]) -> Part:
    test = row["test"] or {}
    return Part(
        name=str(row["part"]),
        samples=int(row["samples"]),
        validated=int(row["validation_samples"]),
        best_epoch=int(row["best_epoch"]),
        train=number(row["train"]),
        validation=number(row["validation"]),
        test=number(test.get("accuracy")),
        standard_error=number(test.get("standard_error")),
        tested=int(test.get("samples", 0)),
    )


def _text(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"{path.name} has more than {MAX_BYTES} bytes")
    return data.decode("utf-8")


def _lines(folder: Path) -> list[Mapping[str, Any]]:
    return [json.loads(line) for line in _text(folder / "epochs.jsonl").splitlines()]
