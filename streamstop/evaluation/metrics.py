"""Scores of a stream of decisions: river's metrics, and the kappas that river does not have.

Every score is a running one, in bounded memory, whatever the number of segments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from river import metrics, utils

WINDOW = 50
"""Segments in the windowed accuracy."""

MAX_DOMAINS = 64
"""Segments of further domains are counted together."""

BLOCKS = 3 * 1024
"""Blocks of predictions that are kept: exact up to that many, then to one in 1,024."""


class RunningAccuracy:
    """Hits and misses of one decision maker.

    Accuracy over the last third is exact up to 3,072 decisions; beyond, decisions are counted in
    equal blocks, and the last third is taken to the nearest block: memory stays bounded.
    """

    def __init__(self) -> None:
        self.hits = 0
        self.total = 0
        self._block = 1
        self._blocks: list[int] = []
        self._open_hits = 0
        self._open_total = 0

    def add(self, hit: bool) -> None:
        """Take in one decision."""
        self.hits += hit
        self.total += 1
        self._open_hits += hit
        self._open_total += 1
        if self._open_total == self._block:
            self._blocks.append(self._open_hits)
            self._open_hits = self._open_total = 0
            if len(self._blocks) == BLOCKS:
                self._blocks = [a + b for a, b in zip(*[iter(self._blocks)] * 2, strict=True)]
                self._block *= 2

    @property
    def accuracy(self) -> float | None:
        """Share of hits; None before the first decision."""
        return self.hits / self.total if self.total else None

    @property
    def last_third(self) -> float | None:
        """Share of hits over the last third of the decisions so far."""
        blocks = max(round(self.total / 3 / self._block), 0 if self._open_total else 1)
        recent = self._blocks[len(self._blocks) - blocks :] if blocks else []
        total = len(recent) * self._block + self._open_total
        return (sum(recent) + self._open_hits) / total if total else None

    def as_dict(self) -> dict[str, float | None]:
        """What summary.json says of a decision maker."""
        return {"segment": self.accuracy, "segment_last_third": self.last_third}


def kappa_vs_baseline(accuracy: float | None, rival: float | None) -> float | None:
    """Accuracy beyond a rival's, as a share of what the rival leaves: (p - r) / (1 - r).

    With the majority's accuracy it is kappa M, with the no-change classifier's it is kappa
    temporal (Bifet et al., "Efficient online evaluation of big data stream classifiers", KDD 2015).
    """
    if accuracy is None or rival is None:
        return None
    if rival == 1.0:
        return 0.0 if accuracy == 1.0 else None
    return (accuracy - rival) / (1.0 - rival)


class AccuracyByDomain:
    """Hits of every decision maker in each domain, for the first MAX_DOMAINS that come.

    A domain that comes again goes on where it was. Those that come later share one account: how
    many they are is not counted, as that would take memory for each.
    """

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, Any]] = {}
        self._others: dict[str, Any] | None = None

    def add(self, domain: str, index: int, label: int, said: Mapping[str, int | None]) -> None:
        """Score one segment: `index` is its number in the stream, `said` as in `StreamMetrics`."""
        row = self._rows.get(domain)
        if row is None and len(self._rows) < MAX_DOMAINS:
            row = self._rows[domain] = self._new(domain, index)
        elif row is None:
            row = self._others = self._others or self._new(None, index)
        row["segments"] += 1
        for name, answer in said.items():
            row["hits"][name] = row["hits"].get(name, 0) + (answer == label)

    def as_list(self) -> list[dict[str, Any]]:
        """What summary.json says: a domain's segments, the first of them, everyone's accuracy.

        The domain is None for all those beyond the first MAX_DOMAINS.
        """
        rows = [*self._rows.values(), *([self._others] if self._others else [])]
        return [
            {
                "domain": row["domain"],
                "segments": row["segments"],
                "first": row["first"],
                **{name: hits / row["segments"] for name, hits in row["hits"].items()},
            }
            for row in rows
        ]

    @staticmethod
    def _new(domain: str | None, index: int) -> dict[str, Any]:
        return {"domain": domain, "segments": 0, "first": index, "hits": {}}


@dataclass
class StreamMetrics:
    """All the running scores of one labelled run.

    classes : names, in index order.  tallies : by decision maker ("headline", readouts, baselines).
    domains : hits in each domain, where the stream has any; whoever knows them adds to it.
    """

    classes: tuple[str, ...]
    tallies: dict[str, RunningAccuracy] = field(default_factory=dict)
    bins: RunningAccuracy = field(default_factory=RunningAccuracy)
    bins_no_change: RunningAccuracy = field(default_factory=RunningAccuracy)
    domains: AccuracyByDomain = field(default_factory=AccuracyByDomain)

    def __post_init__(self) -> None:
        self.confusion = np.zeros((len(self.classes), len(self.classes)), dtype=np.int64)
        self.balanced = metrics.BalancedAccuracy()
        self.kappa = metrics.CohenKappa()
        self.windowed: Any = utils.Rolling(metrics.Accuracy, window_size=WINDOW)
        self._last_bin_label: int | None = None

    def update_segment(self, label: int, said: dict[str, int | None]) -> None:
        """Score one segment: `said` holds every decision maker's class, "headline" among them."""
        for name, answer in said.items():
            self.tallies.setdefault(name, RunningAccuracy()).add(answer == label)
        decided = said["headline"]
        assert decided is not None
        self.confusion[label, decided] += 1
        self.balanced.update(label, decided)
        self.kappa.update(label, decided)
        self.windowed.update(label, decided)

    def update_bin(self, label: int, decided: int) -> None:
        """Score one bin, beside the rival that repeats the label of the bin before."""
        self.bins.add(decided == label)
        self.bins_no_change.add(self._last_bin_label == label)
        self._last_bin_label = label

    def compute(self) -> dict[str, float | None]:
        """What metrics.jsonl says after each segment."""
        found = {name: t.accuracy for name, t in self.tallies.items() if name != "headline"}
        windowed = self.windowed.get() if self.tallies else None
        decided = self.tallies["headline"].accuracy if self.tallies else None
        return {"segment": decided, "segment_windowed": windowed, **found}

    def accuracy(self) -> dict[str, float | None]:
        """What summary.json says of the decisions, scores that need a rival included."""
        decided = self.tallies["headline"]
        majority = self.tallies["majority"].accuracy
        return {
            **decided.as_dict(),
            "bin": self.bins.accuracy,
            "balanced": self.balanced.get(),
            "kappa": self.kappa.get(),
            "kappa_m": kappa_vs_baseline(decided.accuracy, majority),
            "kappa_t_bin": kappa_vs_baseline(self.bins.accuracy, self.bins_no_change.accuracy),
        }

    def per_class(self) -> list[dict[str, Any]]:
        """Segments, recall and precision of each class; None where there is nothing to divide."""
        true, predicted = self.confusion.sum(1), self.confusion.sum(0)
        hits = self.confusion.diagonal()
        return [
            {
                "class": name,
                "segments": int(true[i]),
                "recall": float(hits[i] / true[i]) if true[i] else None,
                "precision": float(hits[i] / predicted[i]) if predicted[i] else None,
            }
            for i, name in enumerate(self.classes)
        ]
