"""summary.json read back from a folder of a run, or of several seeds.

It promises a bounded read, and for a folder without one an error that says what it is instead. What
the summary says is checked by whoever needs it; `streamstop.pipeline.summary` makes it.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from streamstop.errors import UsageError

MAX_SUMMARY_BYTES = 16 << 20
"""A longer summary is none of ours."""


def read_summary(folder: Path) -> dict[str, Any]:
    """A folder's summary.json.

    Raises UsageError where there is no such folder, it holds none, or it cannot be read.
    """
    path = folder / "summary.json"
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SUMMARY_BYTES + 1)
        if len(data) > MAX_SUMMARY_BYTES:
            raise ValueError(f"longer than {MAX_SUMMARY_BYTES:,} bytes")
        summary = json.loads(data.decode("utf-8"))
        if not isinstance(summary, dict):
            raise ValueError("no table of names and values")
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(_none(folder)) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"summary.json cannot be read ({error}): {path}") from error
    return summary


def _none(folder: Path) -> str:
    """What a folder without a summary is."""
    if not folder.is_dir():
        return f"No such folder; a report is made from a run's folder: {folder}"
    if any((folder / name).is_file() for name in ("metrics.jsonl", "config.toml")):
        return (
            "This run has no summary.json: it is still going on, or it was killed before it could "
            f"end. What it wrote so far is kept in metrics.jsonl: {folder}"
        )
    return f"Not a run's folder: it holds no summary.json. Runs lie in runs/<utc>-<name>: {folder}"


def number(value: object) -> float | None:
    """A finite float, or None for anything else: a diverged run leaves NaN behind.

    >>> number(3), number(float("nan")), number("3"), number(True)
    (3.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        result = float(value)
    except OverflowError:
        return None
    return result if math.isfinite(result) else None
