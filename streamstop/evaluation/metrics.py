"""Running scores of predictions on a stream: river's metrics, and kappas that river lacks.

Guarantees:

- Memory is bounded, whatever the number of segments.
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
"""Further domains share one row."""

BLOCKS = 3 * 1024
"""Blocks of predictions that are kept: exact up to that many, then to one in 1,024."""


class RunningAccuracy:
    """Accuracy of one sequence of predictions, over all and over the last third.

    Accuracy over the last third is exact up to 3,072 predictions. Beyond, they are counted in equal
    blocks, and the last third is rounded to the nearest block, so that memory stays bounded.
    """

    def __init__(self) -> None:
        self.hits = 0
        self.total = 0
        self._block = 1
        self._blocks: list[int] = []
        self._open_hits = 0
        self._open_total = 0

    def add(self, hit: bool) -> None:
        """Count one prediction, correct or not."""
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
        """Fraction of correct predictions; None before the first."""
        return self.hits / self.total if self.total else None

    @property
    def last_third(self) -> float | None:
        """Fraction of correct predictions over the last third so far; None before the first."""
        blocks = max(round(self.total / 3 / self._block), 0 if self._open_total else 1)
        recent = self._blocks[len(self._blocks) - blocks :] if blocks else []
        total = len(recent) * self._block + self._open_total
        return (sum(recent) + self._open_hits) / total if total else None

    def as_dict(self) -> dict[str, float | None]:
        """The entry in summary.json."""
        return {"segment": self.accuracy, "segment_last_third": self.last_third}


def kappa_vs_baseline(accuracy: float | None, baseline: float | None) -> float | None:
    """Improvement over a baseline, relative to what the baseline leaves: (p - b) / (1 - b).

    With the accuracy of the majority class it is kappa M, with that of the no-change classifier it
    is kappa temporal [1]_.

    Parameters
    ----------
    accuracy, baseline : float or None
        Accuracies in [0, 1].

    Returns
    -------
    float or None
        None where an accuracy is None, or the baseline is perfect and the other one is not.

    References
    ----------
    .. [1] Bifet et al., "Efficient online evaluation of big data stream classifiers", KDD 2015.

    Examples
    --------
    >>> kappa_vs_baseline(0.75, 0.5)
    0.5
    """
    if accuracy is None or baseline is None:
        return None
    if baseline == 1.0:
        return 0.0 if accuracy == 1.0 else None
    return (accuracy - baseline) / (1.0 - baseline)


class AccuracyByDomain:
    """Accuracy of every prediction in each domain, for the first MAX_DOMAINS domains.

    A domain that recurs continues its row. All later domains share one row; how many there are is
    not counted, because that would need memory for each.
    """

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, Any]] = {}
        self._others: dict[str, Any] | None = None

    def add(
        self, domain: str, index: int, label: int, predictions: Mapping[str, int | None]
    ) -> None:
        """Score one segment, number `index` of the stream; see `StreamMetrics.update_segment`."""
        row = self._rows.get(domain)
        if row is None and len(self._rows) < MAX_DOMAINS:
            row = self._rows[domain] = self._new(domain, index)
        elif row is None:
            row = self._others = self._others or self._new(None, index)
        row["segments"] += 1
        for name, answer in predictions.items():
            row["hits"][name] = row["hits"].get(name, 0) + (answer == label)

    def as_list(self) -> list[dict[str, Any]]:
        """The rows in summary.json: number of segments, index of the first, accuracies by name.

        The domain is None in the row of all those beyond the first MAX_DOMAINS.
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
    """All running scores of one labelled stream.

    Attributes
    ----------
    classes : tuple of str
        Names, in index order.
    tallies : dict of str to RunningAccuracy
        By what made the prediction: "headline", a readout or a baseline.
    bins, bins_no_change : RunningAccuracy
        Of the predictions per bin, and of the label of the previous bin.
    domains : AccuracyByDomain
        By domain; the caller updates it.
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

    def update_segment(self, label: int, predictions: Mapping[str, int | None]) -> None:
        """Score one segment.

        Parameters
        ----------
        label : int
            The class of the segment.
        predictions : mapping of str to int or None
            Predicted classes by name, "headline" among them; None counts as wrong.
        """
        for name, answer in predictions.items():
            self.tallies.setdefault(name, RunningAccuracy()).add(answer == label)
        headline = predictions["headline"]
        assert headline is not None
        self.confusion[label, headline] += 1
        self.balanced.update(label, headline)
        self.kappa.update(label, headline)
        self.windowed.update(label, headline)

    def update_bin(self, label: int, predicted: int) -> None:
        """Score the prediction of one bin, and the label of the previous bin as a baseline."""
        self.bins.add(predicted == label)
        self.bins_no_change.add(self._last_bin_label == label)
        self._last_bin_label = label

    def compute(self) -> dict[str, float | None]:
        """The accuracies so far, as in metrics.jsonl."""
        found = {name: t.accuracy for name, t in self.tallies.items() if name != "headline"}
        windowed = self.windowed.get() if self.tallies else None
        headline = self.tallies["headline"].accuracy if self.tallies else None
        return {"segment": headline, "segment_windowed": windowed, **found}

    def accuracy(self) -> dict[str, float | None]:
        """The scores of the headline prediction in summary.json."""
        headline = self.tallies["headline"]
        majority = self.tallies["majority"].accuracy
        return {
            **headline.as_dict(),
            "bin": self.bins.accuracy,
            "balanced": self.balanced.get(),
            "kappa": self.kappa.get(),
            "kappa_m": kappa_vs_baseline(headline.accuracy, majority),
            "kappa_t_bin": kappa_vs_baseline(self.bins.accuracy, self.bins_no_change.accuracy),
        }

    def per_class(self) -> list[dict[str, Any]]:
        """Number of segments, recall and precision of each class; None where undefined."""
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
