"""Continual learning: accuracy on held-out segments of every task, while tasks are learned.

R[i, j] is the accuracy on the held-out segments of task j after span i of the stream was learned.
This module fills R and computes the usual figures from it [1]_ [2]_. A task may occur more than
once; with each task once, in turn, the figures are those of the papers.

Guarantees:

- An evaluation changes neither the learner nor the baselines.
- Held-out segments are read from their source each time, never kept.

References
----------
.. [1] Lopez-Paz and Ranzato, "Gradient episodic memory for continual learning", NIPS 2017,
   section 2.
.. [2] Chaudhry et al., "Riemannian walk for incremental learning", ECCV 2018, section 3.2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from streamstop.evaluation.baselines import Baseline, log_counts
from streamstop.events.binning import Bin, Binner
from streamstop.events.labels import Segment
from streamstop.learning.learner import StopLearner
from streamstop.sources.base import Source

Matrix = NDArray[np.float64]


def average_accuracy(r: Matrix) -> float:
    """Mean over all tasks of the accuracy at the end (ACC of Lopez-Paz and Ranzato).

    Examples
    --------
    >>> average_accuracy(np.array([[1.0, 0.0], [0.5, 0.75]]))
    0.625
    """
    return float(r[-1].mean())


def backward_transfer(r: Matrix, taught: Sequence[int]) -> float | None:
    """Effect of later tasks on earlier ones (BWT of Lopez-Paz and Ranzato).

    The accuracy at the end minus that right after a task was first learned, mean over all tasks
    but the one that was learned last.

    Parameters
    ----------
    r : ndarray of shape (spans, tasks)
        The R matrix.
    taught : sequence of int
        The task of each span.

    Returns
    -------
    float or None
        None where there is a single task.

    Examples
    --------
    >>> backward_transfer(np.array([[1.0, 0.0], [0.5, 0.75]]), [0, 1])
    -0.5
    """
    lost = [r[-1, j] - r[taught.index(j), j] for j in sorted(set(taught)) if j != taught[-1]]
    return float(np.mean(lost)) if lost else None


def forward_transfer(r: Matrix, before: NDArray[np.float64], taught: Sequence[int]) -> float | None:
    """Effect of earlier tasks on later ones (FWT of Lopez-Paz and Ranzato).

    The accuracy right before a task was first learned minus that before the stream, mean over all
    tasks but the first.

    Parameters
    ----------
    r : ndarray of shape (spans, tasks)
        The R matrix.
    before : ndarray of shape (tasks,)
        Accuracy on each task before the stream.
    taught : sequence of int
        The task of each span.

    Returns
    -------
    float or None
        None where there is a single task.

    Examples
    --------
    >>> forward_transfer(np.array([[1.0, 0.25], [0.5, 0.75]]), np.array([0.0, 0.125]), [0, 1])
    0.125
    """
    gained = [r[taught.index(j) - 1, j] - before[j] for j in sorted(set(taught)) if j != taught[0]]
    return float(np.mean(gained)) if gained else None


def forgetting(r: Matrix, taught: Sequence[int]) -> float | None:
    """Forgetting (F of Chaudhry et al.): the best earlier accuracy minus that at the end.

    Mean over all tasks but the one that was learned last.

    Parameters
    ----------
    r : ndarray of shape (spans, tasks)
        The R matrix.
    taught : sequence of int
        The task of each span.

    Returns
    -------
    float or None
        None where there is a single task.

    Examples
    --------
    >>> forgetting(np.array([[1.0, 0.0, 0.0], [0.5, 0.75, 0.0], [0.75, 0.75, 1.0]]), [0, 1, 2])
    0.125
    """
    lost = [r[:-1, j].max() - r[-1, j] for j in sorted(set(taught)) if j != taught[-1]]
    return float(np.mean(lost)) if lost else None


def frozen_copy(learner: StopLearner) -> StopLearner:
    """A copy that predicts as `learner` does now and does not learn; it shares no parameters.

    The statistics of the LDA readout and the class counts are shared, and only read.
    """
    spec = replace(
        learner.spec, trainable=(), rule="stop", update="segment", ema_decay=0.0, late="off"
    )
    copy = StopLearner(learner.network.spec, spec, 0, learner.dtype)
    parameters = learner.inference_network.parameters()
    copy.network.load_parameters(parameters)
    if copy.inference_network is not copy.network:
        copy.inference_network.load_parameters(parameters)
    copy.lda, copy.counts = learner.lda, learner.counts
    return copy


@dataclass(frozen=True)
class HeldOutSet:
    """Held-out segments.

    Attributes
    ----------
    source : Source
        A labelled source, its segments end to end on whole bins; read again by each evaluation.
    tasks : sequence of int
        The task of each of its segments.
    binner : callable
        Makes a binner for the source.
    encode : callable
        A bin as the network's input, (1, 2, height, width).
    outputs : sequence of int
        The network's output for each class of the source's labels.
    """

    source: Source
    tasks: Sequence[int]
    binner: Callable[[Source], Binner]
    encode: Callable[[Bin], Tensor]
    outputs: Sequence[int]

    def evaluate(
        self,
        learners: Mapping[str, StopLearner],
        baselines: Mapping[str, Baseline],
        headline: Callable[[Mapping[str, int | None]], str],
        tasks: int,
    ) -> dict[str, NDArray[np.float64]]:
        """Accuracy of each prediction on each task.

        Parameters
        ----------
        learners : mapping of str to StopLearner
            Their linear readouts predict under these names, "linear" among them; their LDA readouts
            under the same names with "lda" in place of "linear".
        baselines : mapping of str to Baseline
            They predict from counts.
        headline : callable
            Takes all predictions by name, and returns the name of the headline prediction.
        tasks : int
            Number of tasks.

        Returns
        -------
        dict of str to ndarray of shape (tasks,)
            By name; NaN for tasks without segments.
        """
        copies = {name: frozen_copy(one) for name, one in learners.items()}
        hits: dict[str, Counter[int]] = {}
        totals: Counter[int] = Counter()
        for nth, segment, counts in self._segments(list(copies.values())):
            predictions: dict[str, int | None] = {}
            for name, one in copies.items():
                decision = one.predict_segment()
                predictions[name] = int(decision.linear.argmax())
                if decision.lda is not None:
                    predictions[name.replace("linear", "lda")] = int(decision.lda.argmax())
            x = log_counts(counts)
            predictions |= {name: one.predict(x) for name, one in baselines.items()}
            predictions["headline"] = predictions[headline(predictions)]
            label = self.outputs[segment.label]
            totals[self.tasks[nth]] += 1
            for name, answer in predictions.items():
                hits.setdefault(name, Counter())[self.tasks[nth]] += answer == label
        return {
            name: np.array([own[j] / totals[j] if totals[j] else np.nan for j in range(tasks)])
            for name, own in hits.items()
        }

    def _segments(
        self, learners: Sequence[StopLearner]
    ) -> Iterator[tuple[int, Segment, NDArray[np.int64]]]:
        """Feed each segment to the learners; yields its number, the segment and its counts."""
        assert self.source.labels is not None
        segments = self.source.labels.segments
        nth = -1
        counts: NDArray[np.int64] | None = None
        for one in self._bins():
            while nth + 1 < len(segments) and one.start_us >= segments[nth + 1].start_us:
                if counts is not None:
                    yield nth, segments[nth], counts
                    counts = None
                nth += 1
                for learner in learners:
                    learner.begin_segment()
            if nth < 0 or one.end_us > segments[nth].end_us:
                continue
            x = self.encode(one)
            for learner in learners:
                learner.predict(x, trace=False)
            total = one.counts.astype(np.int64)
            counts = total if counts is None else counts + total
        if counts is not None:
            yield nth, segments[nth], counts

    def _bins(self) -> Iterator[Bin]:
        binner = self.binner(self.source)
        for packet in self.source:
            yield from binner.push(packet.events)
            if packet.until_us is not None:
                yield from binner.advance(packet.until_us)
        yield from binner.flush()


@dataclass
class AccuracyMatrix:
    """R matrices of one run, by what made the predictions.

    Attributes
    ----------
    tasks : tuple of str
        Names of the tasks.
    taught : list of int
        The task of each span that was learned so far.
    before : dict of str to ndarray of shape (tasks,)
        Accuracy on each task before the stream.
    rows : dict of str to list of ndarray of shape (tasks,)
        Accuracy on each task after each span.
    """

    tasks: tuple[str, ...]
    taught: list[int] = field(default_factory=list)
    before: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    rows: dict[str, list[NDArray[np.float64]]] = field(default_factory=dict)

    def add(self, task: str, found: Mapping[str, NDArray[np.float64]]) -> None:
        """Add the evaluation after a span of `task`: accuracies by name."""
        self.taught.append(self.tasks.index(task))
        for name, row in found.items():
            self.rows.setdefault(name, []).append(row)

    def as_dict(self) -> dict[str, Any]:
        """The entry in summary.json: R and its figures by name; None where unknown.

        Tasks without held-out segments are left out of the figures.
        """
        return {
            "tasks": list(self.tasks),
            "taught": list(self.taught),
            "makers": {name: self._figures(name) for name in self.rows},
        }

    def _figures(self, name: str) -> dict[str, Any]:
        r = np.array(self.rows[name])
        before = self.before.get(name, np.zeros(len(self.tasks)))
        known = [j for j in range(len(self.tasks)) if np.isfinite(r[:, j]).all()]
        rows = [i for i, task in enumerate(self.taught) if task in known]
        taught = [known.index(self.taught[i]) for i in rows]
        inner = r[np.ix_(rows, known)]
        return {
            "before": _known(self.before[name]) if name in self.before else None,
            "r": [_known(row) for row in r],
            "average_accuracy": average_accuracy(inner) if taught else None,
            "backward_transfer": backward_transfer(inner, taught) if taught else None,
            "forward_transfer": forward_transfer(inner, before[known], taught) if taught else None,
            "forgetting": forgetting(inner, taught) if taught else None,
        }


def _known(row: NDArray[np.float64]) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in row]
