"""Display names of decision makers: the headline prediction, the readouts and the baselines.

The constants are the keys of summary.json and segments.csv. This is the only place where the report
and the terminal spell them out.
"""

from __future__ import annotations

HEADLINE = "headline"
LINEAR = "linear"
LDA = "lda"
LDA_COUNTS = "lda_counts"
SOFTMAX_COUNTS = "softmax_counts"
INITIAL_NETWORK = "initial_network"
FROZEN_FEATURES_LINEAR = "frozen_features_linear"
FROZEN_FEATURES_LDA = "frozen_features_lda"
INITIAL_LDA = "initial_lda"
MAJORITY = "majority"
NO_CHANGE = "no_change"

N_SEGMENTS = "n_segments"
N_BINS = "n_bins"
"""Keys of the totals in summary.json."""

TEST_LDA = "test_discriminant"
"""Key of the LDA readout's test score in train.json."""

LDA_PRIOR_COUNT = "lda_prior_count"
"""Key of the weight of a loaded LDA readout, in segments per class, in summary.json."""

MARGINS = "margin_over_baselines"
"""Key of the learner's margin over each baseline in the summary of several seeds."""

UNKNOWN_DATA = "data of unknown origin"


def data_name(data: object) -> str:
    """What summary.json's `data` is in words.

    >>> data_name("real"), data_name("unknown"), data_name("simulated")
    ('real data', 'data of unknown origin', 'simulated data')
    """
    return {"real": "real data", "unknown": UNKNOWN_DATA}.get(str(data), "simulated data")


NAMES: dict[str, tuple[str, str]] = {
    HEADLINE: ("headline prediction", ""),
    LINEAR: ("linear readout", "its error trains the network"),
    LDA: ("LDA readout", "streaming LDA on the network's firing rates"),
    LDA_COUNTS: ("LDA on counts", "streaming LDA on pooled log counts, no network"),
    SOFTMAX_COUNTS: ("softmax regression on counts", "river's, on pooled log counts, no network"),
    INITIAL_NETWORK: ("untrained network", "the same network with its initial weights"),
    FROZEN_FEATURES_LINEAR: (
        "untrained network, linear readout",
        "only the linear readout learns; the network keeps its initial weights",
    ),
    FROZEN_FEATURES_LDA: (
        "untrained network, LDA",
        "streaming LDA on the firing rates of the untrained network",
    ),
    INITIAL_LDA: ("LDA as loaded", "the pretrained network and its LDA readout, unchanged"),
    MAJORITY: ("majority class", "always predicts the most frequent class so far"),
    NO_CHANGE: ("no change", "repeats the label of the previous segment"),
}
"""Name, and a short description."""

PRETRAINED: dict[str, tuple[str, str]] = {
    INITIAL_NETWORK: ("pretrained network, unchanged", "with the weights that the run loaded"),
    FROZEN_FEATURES_LINEAR: (
        "pretrained network, linear readout",
        "only the linear readout learns; the network keeps the loaded weights",
    ),
    FROZEN_FEATURES_LDA: (
        "pretrained network, LDA",
        "streaming LDA on the firing rates of the loaded network",
    ),
}
"""The same where the run loaded pretrained weights: that network is not untrained."""

SHORT = {
    HEADLINE: "headline",
    LINEAR: "linear readout",
    LDA: "LDA readout",
    LDA_COUNTS: "LDA on counts",
    SOFTMAX_COUNTS: "softmax on counts",
    INITIAL_NETWORK: "untrained",
    FROZEN_FEATURES_LINEAR: "untrained, linear",
    FROZEN_FEATURES_LDA: "untrained, LDA",
    INITIAL_LDA: "LDA as loaded",
    MAJORITY: "majority",
    NO_CHANGE: "no change",
}
"""Names for narrow column heads."""


STYLES = {
    HEADLINE: (0, "", 2.6),
    LINEAR: (5, "", 1.4),
    LDA: (2, "", 1.4),
    LDA_COUNTS: (1, "", 2.0),
    SOFTMAX_COUNTS: (3, "", 1.4),
    INITIAL_NETWORK: (4, "6 3", 1.4),
    FROZEN_FEATURES_LDA: (2, "5 2", 1.4),
    FROZEN_FEATURES_LINEAR: (5, "5 2", 1.4),
    INITIAL_LDA: (4, "2 2", 1.4),
    MAJORITY: (6, "", 1.2),
    NO_CHANGE: (6, "1.5 3", 1.4),
}
"""Colour, dash and weight on every page: one hue per readout, dashed for the untrained network."""


def style_of(key: str) -> tuple[int, str, float]:
    """Colour, dash and weight of a decision maker, in tables and charts."""
    return STYLES.get(key, (7, "", 1.2))


def short_name(key: str, *, pretrained: bool = False) -> str:
    """The display name for a narrow column.

    >>> short_name("initial_network"), short_name("initial_network", pretrained=True)
    ('untrained', 'pretrained')
    """
    name = SHORT.get(key) or name_of(key)
    return name.replace("untrained", "pretrained") if pretrained else name


def name_of(key: str, *, pretrained: bool = False) -> str:
    """The display name of a decision maker; an unknown key is shown with spaces.

    pretrained : whether the run loaded weights, so that no network of it is untrained.

    >>> name_of("lda_counts"), name_of("my_baseline")
    ('LDA on counts', 'my baseline')
    """
    if pretrained and key in PRETRAINED:
        return PRETRAINED[key][0]
    return NAMES[key][0] if key in NAMES else key.replace("_", " ")
