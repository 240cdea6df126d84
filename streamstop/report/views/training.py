"""A finished training as its page shows it: one frozen value, read from its folder.

Guarantees:
- A missing or non-finite figure is None.
- A folder that is not a finished training's is a `UsageError`.

Does not:
- Compute scores: it shows those of the training.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from streamstop.config.aliases import current_section
from streamstop.errors import UsageError
from streamstop.pipeline.summary_file import number

Values = Sequence[float | None]

MAX_BYTES = 16 << 20
"""A longer file of a training's folder is refused."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A quantity over the epochs: mean, lowest and highest over the parts (folds)."""

    mean: Values
    low: Values
    high: Values


@dataclass(frozen=True, slots=True)
class Part:
    """One network: its scores at its best epoch, and the numbers of samples."""

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

    summary : train.json.  settings : config.toml, parsed.  config : its text.
    epochs : length of the curves.  loss, train, validation, lr : curves.
    leaks, thresholds : curves by layer.  seconds : mean per epoch.
    correct, tested : test samples predicted correctly, and all; 0, 0 without a test set.
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
        """A setting; `otherwise` where an older version did not write it."""
        return self.settings.get(section, {}).get(key, otherwise)

    @property
    def simulated(self) -> bool:
        """Whether any of the data are simulated."""
        return bool(self.summary.get("simulated"))

    @property
    def accuracy(self) -> float | None:
        """Fraction of all test samples predicted correctly."""
        return self.correct / self.tested if self.tested else None

    @property
    def folds(self) -> bool:
        """Whether this is a cross-validation."""
        return bool(self.setting("data", "folds", 0))


def load_train_view(folder: Path) -> TrainView:
    """Read a finished training's folder.

    Raises UsageError where it is not one, or cannot be read.
    """
    try:
        summary = json.loads(_text(folder / "train.json"))
        config = _text(folder / "config.toml")
        names = [one["part"] for one in summary["parts"]]
        lines = [_lines(folder if name == "all" else folder / name) for name in names]
        return _view(summary, config, lines)
    except FileNotFoundError as error:
        raise UsageError(f"not a finished training: there is no {error.filename}") from error
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        what = f"{type(error).__name__}: {error}"
        raise UsageError(f"the files of this training cannot be read ({what}): {folder}") from error


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
        settings={k: v for k, v in _current(tomllib.loads(config)).items() if isinstance(v, dict)},
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


def _current(tables: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The sections of a config.toml, settings under the names that they have now."""
    return {
        name: current_section(name, table)
        for name, table in tables.items()
        if isinstance(table, dict)
    }
