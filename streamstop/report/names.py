"""Names of decision makers: the readouts and baselines, by their keys in a run's files."""

from __future__ import annotations

NAMES: dict[str, tuple[str, str]] = {
    "decision": ("the learner's decision", ""),
    "linear": ("linear readout", "the readout whose error trains the network"),
    "lda": ("LDA readout", "streaming LDA on the network's firing rates"),
    "lda_counts": ("streaming LDA on counts", "on pooled log counts, no network"),
    "river": ("softmax regression", "river's, on pooled log counts, no network"),
    "frozen": ("frozen network", "the same network with its initial weights"),
    "frozen_linear": (
        "frozen, linear readout",
        "what the linear readout learns where STOP trains nothing",
    ),
    "frozen_lda": ("frozen, LDA readout", "streaming LDA on the untrained firing rates"),
    "frozen_discriminant": (
        "frozen, trained LDA",
        "the trained network and its trained LDA readout as the run began with them",
    ),
    "majority": ("majority class", "always the class seen most often so far"),
    "no_change": ("no change", "repeats the label of the segment before"),
}
"""Readouts and baselines: the name used in text, and what it is."""

TRAINED_NOTES = {
    "frozen": "the trained network as the run began with it",
    "frozen_linear": "the trained network frozen, but for its linear readout, which learns",
    "frozen_lda": "streaming LDA on the trained network's firing rates, the network frozen",
}
"""What those are where the network began trained."""

SHORT = {
    "decided": "learner",
    "linear": "linear readout",
    "lda": "LDA readout",
    "lda_counts": "LDA on counts",
    "river": "softmax regr.",
    "frozen": "frozen",
    "frozen_linear": "frozen, linear",
    "frozen_lda": "frozen, LDA",
    "frozen_discriminant": "trained LDA",
    "majority": "majority",
    "no_change": "no change",
}
"""Names for the heads of narrow columns."""


def name_of(key: str) -> str:
    """The readable name of a readout or baseline.

    >>> name_of("lda_counts"), name_of("my_rival")
    ('streaming LDA on counts', 'my rival')
    """
    return NAMES[key][0] if key in NAMES else key.replace("_", " ")
