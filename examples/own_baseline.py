"""A baseline of your own, scored on the same segments as the learner and the other baselines."""

import numpy as np

import streamstop as ss
from streamstop.config.bundled import bundled_path


class NearestMean:
    """Predicts the class whose mean log counts are nearest."""

    def __init__(self) -> None:
        self.sums: dict[int, np.ndarray] = {}
        self.counts: dict[int, int] = {}

    def predict(self, x: np.ndarray) -> int | None:
        """The class of a segment with the features x; None before the first label."""
        if not self.sums:
            return None
        return min(self.sums, key=lambda c: np.square(x - self.sums[c] / self.counts[c]).sum())

    def learn(self, x: np.ndarray, label: int) -> None:
        """Called after `predict`, when the label has arrived."""
        self.sums[label] = self.sums.get(label, 0) + x
        self.counts[label] = self.counts.get(label, 0) + 1


folder = str(bundled_path("recordings/gestures"))  # simulated
with ss.open_source(folder, length_us=512_000, limit=60) as source:
    learner = ss.build_learner(source.labels.classes, seed=0)
    evaluator = ss.PrequentialEvaluator(
        learner, source.labels, baselines={"nearest mean": NearestMean()}
    )
    for one in ss.iter_bins(source, bin_us=50_000, height=32, width=32):
        evaluator.step(one)
    evaluator.close()

for name in ("nearest mean", "lda_counts", "linear", "lda"):
    print(f"{name:14} {evaluator.accuracies()[name]:.3f}")
