"""A finished run as the report and the terminal show it: one frozen value, read from its folder.

Guarantees:
- Bounded, whatever the length of the run.
- A missing or non-finite figure is None.
- A folder that is not a finished run's is a `UsageError`.

Does not:
- Compute scores: it shows those of the run.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from streamstop.errors import UsageError
from streamstop.events.packet import Damage
from streamstop.pipeline.segments_file import WINDOW
from streamstop.pipeline.summary_file import number, read_summary
from streamstop.report.names import HEADLINE, N_BINS, N_SEGMENTS
from streamstop.report.views.metrics_log import (
    Curves,
    Paired,
    WindowedAccuracy,
    read_curves,
    read_paired,
    read_windowed,
)
from streamstop.report.views.samples import Samples, load_samples
from streamstop.report.views.scenario import (
    DomainScore,
    HeldOut,
    ScenarioView,
    read_domains,
    read_held_out,
    read_scenario,
)

MAX_CONFIG_BYTES = 1 << 20
MAX_DAMAGE_SHOWN = 50

SHORTEST_WINDOW = 10
"""Segments per window on a short non-stationary stream, where a change must show."""

Facts = Mapping[str, Any]
"""A table of a summary, shown as it is."""

Figures = Mapping[str, float | None]
"""A table of figures; None where one is missing or not finite."""


@dataclass(frozen=True, slots=True)
class Score:
    """Accuracy of one decision maker.

    key : as in segments.csv.
    kind : "headline", "readout" or "baseline".
    segment, last_third : fraction of segments predicted correctly, of all and of the last third.
    """

    key: str
    kind: str
    segment: float | None
    last_third: float | None


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class: its number of segments, its recall and its precision."""

    name: str
    segments: int
    recall: float | None
    precision: float | None


@dataclass(frozen=True, slots=True)
class EventLedger:
    """The event ledger: what happened to every received event."""

    received: int = 0
    binned: int = 0
    dropped: tuple[tuple[str, int], ...] = ()
    rejected: tuple[tuple[str, int], ...] = ()
    pending: int = 0
    damage: tuple[Damage, ...] = ()
    damage_total: int = 0
    jumps: int = 0

    @property
    def accounted(self) -> int:
        """Events that are binned, dropped, rejected or pending."""
        lost = sum(n for _, n in self.dropped) + sum(n for _, n in self.rejected)
        return self.binned + lost + self.pending

    @property
    def balances(self) -> bool:
        """Whether received = binned + dropped + rejected + pending."""
        return self.received == self.accounted


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run, as the report shows it. Tables are in display order."""

    name: str
    command: str
    status: str
    source: str
    data: str
    seed: int | None
    protocol: Facts
    segments: int
    bins: int
    classes: tuple[str, ...]
    accuracy: Figures | None
    scores: tuple[Score, ...]
    per_class: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    predictions: tuple[tuple[str, int], ...]
    ledger: EventLedger
    speed: Figures
    memory: Figures
    network: Facts
    versions: Facts
    weights: Facts = field(default_factory=dict)
    labels_beside: str = ""
    message: str = ""
    unscored: int = 0
    scenario: ScenarioView = field(default_factory=ScenarioView)
    domains: tuple[DomainScore, ...] = ()
    held_out: HeldOut | None = None
    operations: Facts = field(default_factory=dict)
    config: str = ""
    curves: Curves = field(default_factory=Curves)
    windowed: WindowedAccuracy = field(default_factory=WindowedAccuracy)
    samples: Samples = field(default_factory=Samples)
    paired: tuple[tuple[str, Paired], ...] = ()

    @property
    def simulated(self) -> bool:
        """Whether no camera made the events, or the summary has a word that is not known here."""
        return self.data not in ("real", "unknown")

    @property
    def labelled(self) -> bool:
        """Whether predictions were scored; without it the source may still have labels."""
        return self.accuracy is not None

    @property
    def trained(self) -> bool:
        """Whether the network started with pretrained weights from a file."""
        return bool(self.weights)

    @property
    def frozen(self) -> bool:
        """Whether the network only predicted and did not learn."""
        return bool(self.protocol.get("frozen"))

    @property
    def headline(self) -> Score | None:
        """The score of the headline prediction; None where nothing was scored."""
        return next((s for s in self.scores if s.kind == "headline"), None)

    @property
    def best_baseline(self) -> Score | None:
        """The strongest baseline over the whole run; on a tie, the better one in the last third."""
        scored = [s for s in self.scores if s.kind == "baseline" and s.segment is not None]
        return max(scored, key=lambda s: (s.segment, s.last_third or 0.0), default=None)

    @property
    def ranking(self) -> tuple[Score, ...]:
        """All scores, best first; on a tie the learner comes last."""
        last = {"baseline": 0, "readout": 1, "headline": 2}
        return tuple(
            sorted(
                self.scores,
                key=lambda s: (
                    s.segment is None,
                    -(s.segment or 0.0),
                    -(s.last_third or 0.0),
                    last[s.kind],
                ),
            )
        )


def load_snapshot(run_dir: Path | str) -> Snapshot:
    """Read a finished run's folder.

    Raises
    ------
    UsageError
        The folder does not exist, is not a run's folder, its run is unfinished, or its summary
        has another shape.
    """
    folder = Path(run_dir)
    summary = read_summary(folder)
    config = _read_config(folder / "config.toml")
    snapshot = summary_snapshot(summary, where=str(folder))
    metrics, segments = folder / "metrics.jsonl", folder / "segments.csv"
    baselines = tuple(s.key for s in snapshot.scores if s.kind == "baseline")
    try:
        curves = read_curves(metrics, bin_us=_bin_us(config)) if metrics.is_file() else Curves()
        paired = read_paired(segments, baselines) if segments.is_file() and baselines else {}
        windowed = WindowedAccuracy()
        if snapshot.labelled and segments.is_file():
            makers = (HEADLINE, *(s.key for s in snapshot.scores if s.kind != "headline"))
            windowed = read_windowed(segments, makers, _window(snapshot))
    except OSError as error:
        raise UsageError(f"The run cannot be read ({error.strerror}): {folder}") from error
    return replace(
        snapshot,
        config=config,
        curves=curves,
        paired=tuple(paired.items()),
        windowed=windowed,
        samples=load_samples(folder / "samples.json"),
    )


def summary_snapshot(summary: Mapping[str, Any], *, where: str = "") -> Snapshot:
    """The part of a snapshot that is in summary.json: everything but curves and config.

    Raises
    ------
    UsageError
        The summary does not have the shape that this version writes. `where` is its place, for
        the message.
    """
    try:
        return _snapshot(summary)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        place = f": {where}" if where else ""
        raise UsageError(
            "summary.json does not have the shape this version of streamstop reads "
            f"({what}). Run again, or use the version that wrote it{place}"
        ) from error


def _snapshot(summary: Mapping[str, Any]) -> Snapshot:
    accuracy = summary.get("accuracy")
    return Snapshot(
        name=str(summary.get("name", "")),
        command=str(summary.get("command", "")),
        status=str(summary["status"]),
        source=str(summary.get("source", "")),
        data=str(summary["data"]),
        seed=summary.get("seed"),
        protocol=dict(summary.get("protocol") or {}),
        segments=int(summary[N_SEGMENTS]),
        bins=int(summary[N_BINS]),
        classes=tuple(str(c) for c in summary.get("classes") or ()),
        accuracy=None if accuracy is None else _figures(accuracy),
        scores=tuple(_scores(summary)) if accuracy is not None else (),
        per_class=tuple(
            ClassScore(
                str(row["class"]),
                int(row["segments"]),
                number(row["recall"]),
                number(row["precision"]),
            )
            for row in summary.get("per_class") or ()
        ),
        confusion=_square(summary.get("confusion") or ()),
        predictions=_counts(summary.get("predictions")),
        ledger=_ledger(summary["ledger"]),
        speed=_figures(summary.get("speed")),
        memory=_figures(summary.get("memory")),
        network=dict(summary.get("network") or {}),
        versions=dict(summary.get("versions") or {}),
        weights=dict(summary.get("weights") or {}),
        labels_beside=str(summary.get("labels_beside") or ""),
        message=str(summary.get("message") or ""),
        unscored=int(summary.get("segments_unscored") or 0),
        scenario=read_scenario(summary),
        domains=read_domains(summary),
        held_out=read_held_out(summary),
        operations=dict(summary.get("operations") or {}),
    )


def _window(snapshot: Snapshot) -> int:
    """Segments per point of the accuracy chart: WINDOW, and less where the stream is short."""
    segments = max(snapshot.segments, 1)
    if snapshot.scenario.changes:
        return min(WINDOW, max(SHORTEST_WINDOW, segments // 10))
    return min(WINDOW, segments)


def _scores(summary: Mapping[str, Any]) -> Iterator[Score]:
    def score(key: str, kind: str, values: Facts, segment: str, last: str) -> Score:
        return Score(key, kind, number(values.get(segment)), number(values.get(last)))

    names = "segment", "segment_last_third"
    yield score(HEADLINE, "headline", summary["accuracy"], *names)
    for key, values in (summary.get("accuracy_by_readout") or {}).items():
        yield score(str(key), "readout", values, *names)
    for key, values in (summary.get("baselines") or {}).items():
        yield score(str(key), "baseline", values, *names)


def _square(rows: Any) -> tuple[tuple[int, ...], ...]:
    matrix = tuple(tuple(int(n) for n in row) for row in rows)
    if any(len(row) != len(matrix) for row in matrix):
        raise ValueError("the confusion matrix is not square")
    return matrix


def _figures(value: Any) -> Figures:
    return {str(k): number(v) for k, v in (value or {}).items()}


def _counts(value: Any) -> tuple[tuple[str, int], ...]:
    return tuple((str(k), int(n)) for k, n in (value or {}).items())


def _ledger(value: Facts) -> EventLedger:
    damage = value.get("damage") or ()
    return EventLedger(
        received=int(value["received"]),
        binned=int(value["binned"]),
        dropped=_counts(value.get("dropped")),
        rejected=_counts(value.get("rejected")),
        pending=int(value["pending"]),
        damage=tuple(
            Damage(int(d["offset"]), int(d["lost_bytes"]), str(d["reason"]), str(d["path"]))
            for d in damage[:MAX_DAMAGE_SHOWN]
        ),
        damage_total=len(damage),
        jumps=int(value.get("jumps") or 0),
    )


def _read_text(path: Path, limit: int) -> str:
    with path.open("rb") as file:
        raw = file.read(limit + 1)
    if len(raw) > limit:
        raise ValueError(f"longer than {limit:,} bytes")
    return raw.decode("utf-8")


def _read_config(path: Path) -> str:
    """The resolved config as text; empty where it is missing, since it is only shown."""
    try:
        return _read_text(path, MAX_CONFIG_BYTES)
    except (OSError, ValueError):
        return ""


def _bin_us(config: str) -> int | None:
    """The length of a bin, at the top level of the config or in one of its tables."""
    try:
        tables = tomllib.loads(config)
    except tomllib.TOMLDecodeError:
        return None
    for table in (tables, *(t for t in tables.values() if isinstance(t, dict))):
        value = table.get("bin_us")
        if isinstance(value, int):
            return value
    return None
