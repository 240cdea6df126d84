"""Reads summary.json of a run folder, or of a folder of several seeds.

Guarantees:
- A bounded read; a folder without a summary is an error that says what the folder is.
- A file of an older version (without "schema") is returned under the names of this version.

Does not:
- Check values: whoever shows or compares them does. `streamstop.pipeline.summary` makes the file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from streamstop.config.aliases import SCHEMA, VALUE_ALIASES
from streamstop.errors import UsageError

MAX_SUMMARY_BYTES = 16 << 20
"""A longer file is not read."""

MAKERS: Final[Mapping[str, str]] = {
    "decided": "headline",
    "frozen": "initial_network",
    "frozen_linear": "frozen_features_linear",
    "frozen_lda": "frozen_features_lda",
    "frozen_discriminant": "initial_lda",
    "river": "softmax_counts",
}
"""Schema 1 -> 2: what makes predictions, in summary.json, segments.csv and metrics.jsonl."""

_COUNTS = {
    "segments": "n_segments",
    "bins": "n_bins",
    "learner_less_rivals": "margin_over_baselines",
}
_PROTOCOL = {"every": "update_interval", "learn": "trainable", "decide": "decision"}
_BY_MAKER = ("accuracy_by_readout", "baselines", "margin_over_baselines")


def read_summary(folder: Path) -> dict[str, Any]:
    """A folder's summary.json, under the names of this version.

    Raises
    ------
    UsageError
        There is no such folder, it holds no summary, the summary cannot be read, or a later
        version wrote it.
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
    schema = summary.get("schema", 1)
    if schema not in range(1, SCHEMA + 1):
        raise UsageError(
            f"summary.json has schema {schema!r}: this version reads schemas 1 to {SCHEMA}; use "
            f"the version that wrote it: {path}"
        )
    return upgrade_summary(summary)


def upgrade_summary(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A summary of any schema under the names of this version; a current one is unchanged.

    Values of unexpected types are kept as they are.

    >>> upgrade_summary({"segments": 3, "baselines": {"river": {"segment": 0.5}}})
    {'schema': 2, 'n_segments': 3, 'baselines': {'softmax_counts': {'segment': 0.5}}}
    """
    if "schema" in summary:
        return dict(summary)
    found = {"schema": SCHEMA, **rename_keys(summary, _COUNTS)}
    for key in _BY_MAKER:
        if isinstance(found.get(key), Mapping):
            found[key] = rename_makers(found[key])
    if isinstance(rows := found.get("per_domain"), list):
        found["per_domain"] = [
            rename_makers(row) if isinstance(row, Mapping) else row for row in rows
        ]
    if isinstance(rows := found.get("runs"), list):
        found["runs"] = [
            rename_keys(row, _COUNTS) if isinstance(row, Mapping) else row for row in rows
        ]
    continual = found.get("continual")
    if isinstance(continual, Mapping) and isinstance(continual.get("makers"), Mapping):
        found["continual"] = {**continual, "makers": rename_makers(continual["makers"])}
    if isinstance(weights := found.get("weights"), Mapping):
        found["weights"] = rename_keys(weights, {"discriminant_segments": "lda_prior_count"})
    if isinstance(protocol := found.get("protocol"), Mapping):
        found["protocol"] = _upgrade_protocol(rename_keys(protocol, _PROTOCOL))
    return found


def rename_makers(table: Mapping[str, Any]) -> dict[str, Any]:
    """A table by what makes predictions, under the names of this version.

    >>> rename_makers({"decided": 1, "lda": 2})
    {'headline': 1, 'lda': 2}
    """
    return rename_keys(table, MAKERS)


def rename_keys(table: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """`table` with some keys renamed, in its order; a key stays where its new name is taken."""
    return {
        key if names.get(key, key) in table else names[key]: value for key, value in table.items()
    }


def _upgrade_protocol(protocol: dict[str, Any]) -> dict[str, Any]:
    """The values of a protocol of schema 1 as the configuration calls them now."""
    sections = {"trainable": "learner", "arrival": "labels", "order": "segments"}
    for key, section in sections.items():
        value = protocol.get(key)
        if isinstance(value, str):
            new = VALUE_ALIASES[section, key].get(value, value)
            protocol[key] = list(new) if isinstance(new, tuple) else new
    if isinstance(loss := protocol.get("loss"), str):
        name, comma, when = loss.partition(",")
        protocol["loss"] = VALUE_ALIASES["learner", "loss"].get(name, name) + comma + when
    return protocol


def _none(folder: Path) -> str:
    """Says what a folder without a summary is."""
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
