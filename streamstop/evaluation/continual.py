"""Continual learning: accuracy on held-out segments of every task, as task after task is learned.

R[i, j] is the accuracy on the held-out segments of task j after span i of the stream was learned.
Here are the figures that the field takes from R (Lopez-Paz and Ranzato, "Gradient episodic memory
for continual learning", NIPS 2017, section 2; Chaudhry et al., "Riemannian walk for incremental
learning", ECCV 2018, section 3.2), and what fills it. It promises that testing touches neither the
learner nor its rivals, and that held-out segments are read anew each time, never kept. A task may
come more than once; with each task once, in turn, the figures are those of the papers.
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

    >>> average_accuracy(np.array([[1.0, 0.0], [0.5, 0.75]]))
    0.625
    """
    return float(r[-1].mean())


def backward_transfer(r: Matrix, taught: Sequence[int]) -> float | None:
    """What later tasks did to earlier ones (BWT): the accuracy at the end less that right after a
    task was first learned, mean over all tasks but the one that was learned last.

    r : (spans, tasks).  taught : the task of each span. None where there is a single task.

    >>> backward_transfer(np.array([[1.0, 0.0], [0.5, 0.75]]), [0, 1])
    -0.5
    """
    lost = [r[-1, j] - r[taught.index(j), j] for j in sorted(set(taught)) if j != taught[-1]]
    return float(np.mean(lost)) if lost else None


def forward_transfer(r: Matrix, before: NDArray[np.float64], taught: Sequence[int]) -> float | None:
    """What earlier tasks did for later ones (FWT): the accuracy right before a task was first
    learned less that before anything was, mean over all tasks but the first.

    before : accuracy on each task before the stream began, shape (tasks,).

    >>> forward_transfer(np.array([[1.0, 0.25], [0.5, 0.75]]), np.array([0.0, 0.125]), [0, 1])
    0.125
    """
    gained = [r[taught.index(j) - 1, j] - before[j] for j in sorted(set(taught)) if j != taught[0]]
    return float(np.mean(gained)) if gained else None


def forgetting(r: Matrix, taught: Sequence[int]) -> float | None:
    """What was once known and is so no more (F of Chaudhry et al.): the best accuracy after any
    earlier span less that at the end, mean over all tasks but the one that was learned last.

    >>> forgetting(np.array([[1.0, 0.0, 0.0], [0.5, 0.75, 0.0], [0.75, 0.75, 1.0]]), [0, 1, 2])
    0.125
    """
    lost = [r[:-1, j].max() - r[-1, j] for j in sorted(set(taught)) if j != taught[-1]]
    return float(np.mean(lost)) if lost else None


def frozen_copy(learner: StopLearner) -> StopLearner:
    """A learner that answers as `learner` does now, and learns nothing; they share no parameter.

    The discriminant readout's statistics and the counts of classes are shared, and only looked at.
    """
    spec = replace(learner.spec, trainable=(), rule="stop", update="segment", ema_decay=0.0)
    copy = StopLearner(learner.network.spec, spec, 0, learner.dtype)
    parameters = learner.inference_network.parameters()
    copy.network.load_parameters(parameters)
    if copy.inference_network is not copy.network:
        copy.inference_network.load_parameters(parameters)
    copy.lda, copy.counts = learner.lda, learner.counts
    return copy


@dataclass(frozen=True)
class HeldOut:
    """Segments to test on.

    source : a labelled source of them, end to end on whole bins, read anew by each test.
    tasks : the task of each of its segments, an index.
    binner : makes a binner for the source.
    encode : a bin as the network's input, (1, 2, height, width).
    outputs : the network's output for each class of the source's labels.
    """

    source: Source
    tasks: Sequence[int]
    binner: Callable[[Source], Binner]
    encode: Callable[[Bin], Tensor]
    outputs: Sequence[int]

    def test(
        self,
        learners: Mapping[str, StopLearner],
        rivals: Mapping[str, Baseline],
        decide: Callable[[Mapping[str, int | None]], str],
        tasks: int,
    ) -> dict[str, NDArray[np.float64]]:
        """Accuracy on each task, shape (tasks,), by decision maker; NaN where it has no segment.

        learners : their linear readouts answer under their names, "linear" among them, and their
            discriminant ones under the same with "linear" made "lda".
        rivals : answer from counts.
        decide : the name, of all these answers, of the one that decides.
        """
        copies = {name: frozen_copy(one) for name, one in learners.items()}
        hits: dict[str, Counter[int]] = {}
        totals: Counter[int] = Counter()
        for nth, segment, counts in self._segments(list(copies.values())):
            said: dict[str, int | None] = {}
            for name, one in copies.items():
                decision = one.predict_segment()
                said[name] = int(decision.linear.argmax())
                if decision.lda is not None:
                    said[name.replace("linear", "lda")] = int(decision.lda.argmax())
            x = log_counts(counts)
            said |= {name: rival.predict(x) for name, rival in rivals.items()}
            said["decided"] = said[decide(said)]
            label = self.outputs[segment.label]
            totals[self.tasks[nth]] += 1
            for name, answer in said.items():
                hits.setdefault(name, Counter())[self.tasks[nth]] += answer == label
        return {
            name: np.array([own[j] / totals[j] if totals[j] else np.nan for j in range(tasks)])
            for name, own in hits.items()
        }

    def _segments(
        self, learners: Sequence[StopLearner]
    ) -> Iterator[tuple[int, Segment, NDArray[np.int64]]]:
        """Lead the learners through each segment; yields its number, itself, its counts."""
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
    """R matrices of one run, a row for each test.

    tasks : their names.
    taught : the task of each span that was learned so far.
    before : accuracy on each task before the stream began, by decision maker.
    rows : accuracy on each task after each span, by decision maker.
    """

    tasks: tuple[str, ...]
    taught: list[int] = field(default_factory=list)
    before: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    rows: dict[str, list[NDArray[np.float64]]] = field(default_factory=dict)

    def add(self, task: str, found: Mapping[str, NDArray[np.float64]]) -> None:
        """Enter a test made after a span of `task`."""
        self.taught.append(self.tasks.index(task))
        for name, row in found.items():
            self.rows.setdefault(name, []).append(row)

    def as_dict(self) -> dict[str, Any]:
        """What summary.json says: R and its figures by decision maker; None for what is not known.

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
