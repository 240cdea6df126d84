"""Names of decision makers: the readouts and baselines, by their keys in a run's files."""

from __future__ import annotations

HEADLINE = "decided"
LINEAR = "linear"
LDA = "lda"
LDA_COUNTS = "lda_counts"
SOFTMAX_COUNTS = "river"
INITIAL_NETWORK = "frozen"
FROZEN_FEATURES_LINEAR = "frozen_linear"
FROZEN_FEATURES_LDA = "frozen_lda"
INITIAL_LDA = "frozen_discriminant"
MAJORITY = "majority"
NO_CHANGE = "no_change"

MARGINS = "learner_less_rivals"
"""Where the summary of several seeds keeps the learner's margin over each baseline."""

NAMES: dict[str, tuple[str, str]] = {
    HEADLINE: ("the learner's decision", ""),
    LINEAR: ("linear readout", "the readout whose error trains the network"),
    LDA: ("LDA readout", "streaming LDA on the network's firing rates"),
    LDA_COUNTS: ("streaming LDA on counts", "on pooled log counts, no network"),
    SOFTMAX_COUNTS: ("softmax regression", "river's, on pooled log counts, no network"),
    INITIAL_NETWORK: ("frozen network", "the same network with its initial weights"),
    FROZEN_FEATURES_LINEAR: (
        "frozen, linear readout",
        "what the linear readout learns where STOP trains nothing",
    ),
    FROZEN_FEATURES_LDA: ("frozen, LDA readout", "streaming LDA on the untrained firing rates"),
    INITIAL_LDA: (
        "frozen, trained LDA",
        "the trained network and its trained LDA readout as the run began with them",
    ),
    MAJORITY: ("majority class", "always the class seen most often so far"),
    NO_CHANGE: ("no change", "repeats the label of the segment before"),
}
"""Readouts and baselines: the name used in text, and what it is."""

TRAINED_NOTES = {
    INITIAL_NETWORK: "the trained network as the run began with it",
    FROZEN_FEATURES_LINEAR: "the trained network frozen, but for its linear readout, which learns",
    FROZEN_FEATURES_LDA: "streaming LDA on the trained network's firing rates, the network frozen",
}
"""What those are where the network began trained."""

SHORT = {
    HEADLINE: "learner",
    LINEAR: "linear readout",
    LDA: "LDA readout",
    LDA_COUNTS: "LDA on counts",
    SOFTMAX_COUNTS: "softmax regr.",
    INITIAL_NETWORK: "frozen",
    FROZEN_FEATURES_LINEAR: "frozen, linear",
    FROZEN_FEATURES_LDA: "frozen, LDA",
    INITIAL_LDA: "trained LDA",
    MAJORITY: "majority",
    NO_CHANGE: "no change",
}
"""Names for the heads of narrow columns."""


def name_of(key: str) -> str:
    """The readable name of a readout or baseline.

    >>> name_of("lda_counts"), name_of("my_baseline")
    ('streaming LDA on counts', 'my baseline')
    """
    return NAMES[key][0] if key in NAMES else key.replace("_", " ")
