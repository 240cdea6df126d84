"""The run folder: all files of a run.

Guarantees:

- `metrics.jsonl` and `segments.csv` are written line by line, `predictions.csv` in blocks.
- All other files are written at the end, each complete or not at all.
- `summary.json` comes last: a folder without it is unfinished.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from streamstop.errors import UsageError
from streamstop.learning.weights import save_weights

SEGMENT_COLUMNS = (
    *("segment", "start_us", "end_us", "recording", "label", "headline", "linear", "lda"),
    *("initial_network", "frozen_features_linear", "frozen_features_lda", "initial_lda"),
    *("no_change", "majority", "softmax_counts", "lda_counts"),
    *("bins", "events"),
)

PREDICTIONS = "predictions.csv"
PREDICTION_COLUMNS = ("time_us", "class", "probability", "readout")


class RunFolder:
    """A new folder `<utc>-<name>`; a context manager that closes its files.

    Parameters
    ----------
    out : Path
        Folder of run folders.
    name : str
        Name of the run.
    config_toml : str
        Content of config.toml.

    Raises
    ------
    UsageError
        The folder cannot be made.
    """

    def __init__(self, out: Path, name: str, config_toml: str) -> None:
        self.path = new_folder(out, name, config_toml)
        self._metrics = (self.path / "metrics.jsonl").open("w", encoding="utf-8", buffering=1)
        self._segments = (self.path / "segments.csv").open(
            "w", encoding="utf-8", newline="", buffering=1
        )
        self._rows = csv.DictWriter(self._segments, SEGMENT_COLUMNS, lineterminator="\n")
        self._rows.writeheader()
        self._predictions = (self.path / PREDICTIONS).open("w", encoding="utf-8", newline="")
        self._prediction_rows = csv.writer(self._predictions, lineterminator="\n")
        self._prediction_rows.writerow(PREDICTION_COLUMNS)

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self._metrics.close()
        self._segments.close()
        self._predictions.close()

    def log_metrics(self, line: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        self._metrics.write(json.dumps(line, separators=(",", ":")) + "\n")

    def log_segment(self, row: Mapping[str, Any]) -> None:
        """Append one row to segments.csv."""
        self._rows.writerow(row)

    def log_prediction(self, t_us: int, name: str, probability: float, readout: str) -> None:
        """Append the prediction of the bin that ends at `t_us` to predictions.csv."""
        self._prediction_rows.writerow((t_us, name, f"{probability:.6f}", readout))

    def save_weights(self, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
        """Write weights.safetensors."""
        save_weights(self.path / "weights.safetensors", tensors, about)

    def finalize(
        self,
        summary: Mapping[str, Any],
        parameters: Mapping[str, Tensor] | None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the weights, the ledger and, last, the summary.

        Parameters
        ----------
        summary : mapping
            Content of summary.json.
        parameters : mapping of str to Tensor, or None
            The weights; None: no weights file is written.
        about : mapping, optional
            Description of the network, see `save_weights`.
        """
        self._metrics.flush()
        self._segments.flush()
        self._predictions.flush()
        if parameters is not None:
            self.save_weights(parameters, about or {})
        for name, content in (("ledger.json", summary["ledger"]), ("summary.json", summary)):
            write_text(self.path / name, json.dumps(content, indent=2) + "\n")


def new_folder(out: Path, name: str, config_toml: str) -> Path:
    """Make `<utc>-<name>` under `out`, with config.toml in it; UsageError where that fails."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "run"
    path = _make_unique(out, f"{stamp}-{slug}")
    (path / "config.toml").write_text(config_toml, encoding="utf-8")
    return path


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors by name, all or nothing."""
    part = path.with_name(f"{path.name}.part")
    save_file({name: value.detach().contiguous() for name, value in tensors.items()}, part)
    part.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write a text, all or nothing."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _make_unique(out: Path, name: str) -> Path:
    for attempt in range(1000):
        path = out / (name if attempt == 0 else f"{name}-{attempt + 1}")
        try:
            path.mkdir(parents=True)
        except (FileExistsError, NotADirectoryError):
            if not out.is_dir():
                raise UsageError(
                    f"--out must be a folder; this is a file, or inside one: {out}"
                ) from None
        except OSError as error:
            raise UsageError(
                f"cannot make a run folder: {error.strerror}; choose another with --out: {out}"
            ) from None
        else:
            return path
    raise UsageError(f"there are a thousand run folders of this second already: {out}")
