"""A training in words and figures: its result, the interval, what it may be compared with.

Guarantees:
- What the figures may be compared with follows from the settings that made them.
- Pure functions of a `TrainView`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from streamstop.config.training import limited
from streamstop.pipeline.summary_file import number
from streamstop.report.formatting import MINUS, NBSP, NONE, percent, plural
from streamstop.report.names import TEST_LDA
from streamstop.report.views.training import TrainView

MANY = 1000
"""From this number of samples on, a percentage has two decimals."""

RULES = {
    "stop": "STOP",
    "ottt": "OTTT, a control: STOP for weights only",
    "sltt": "SLTT, a control: no traces through time",
    "bptt": "backpropagation through time, a control that keeps all steps in memory",
}
"""Learning rules by name, and what they are."""


def percent_of(value: float | None, of: int) -> str:
    """A fraction of `of` samples in percent, with as many decimals as they support.

    >>> percent_of(0.99431, 10_000).replace(NBSP, " "), percent_of(0.91, 100).replace(NBSP, " ")
    ('99.43 %', '91.0 %')
    """
    if value is None or of < MANY or not 0.00005 <= value < 0.99995:
        return percent(value)
    return f"{value * 100:.2f}{NBSP}%"


def interval(correct: int, samples: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a fraction (J. Am. Stat. Assoc. 22, 1927).

    >>> [round(edge, 4) for edge in interval(9773, 10_000)]
    [0.9742, 0.98]
    """
    z, p = 1.959964, correct / samples
    middle = (p + z * z / (2 * samples)) / (1 + z * z / samples)
    half = z * math.sqrt(p * (1 - p) / samples + z * z / (4 * samples**2)) / (1 + z * z / samples)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def result_sentence(view: TrainView) -> str:
    """The training's result in one sentence."""
    summary = view.summary
    how = RULES.get(str(summary.get("rule", "stop")), "an unknown rule").partition(",")[0]
    network = (
        f"{summary['network']}, trained by {how} for {plural(int(summary['epochs']), 'epoch')}"
    )
    kind = "simulated" if view.simulated else "real"
    if view.accuracy is None:
        best = max((p.validation for p in view.parts if p.validation is not None), default=None)
        if best is None:
            return f"{network}, was neither validated nor tested."
        validated = sum(part.validated for part in view.parts)
        correct = percent_of(best, validated)
        return f"{network}, predicts {correct} of its {kind} validation samples correctly."
    of = plural(view.tested, f"{kind} test sample")
    text = f"{network}, predicts {percent_of(view.accuracy, view.tested)} of {of} correctly"
    if view.folds:
        return f"{text}, each by a network that was not trained on it."
    return f"{text}; they were not used to train or to choose the epoch."


def interval_sentence(view: TrainView) -> str:
    """How precise the test accuracy is."""
    if not view.tested:
        return (
            "There is no test set: the samples that chose the epoch also score it, which flatters."
        )
    low, high = interval(view.correct, view.tested)
    edges = f"{percent_of(low, view.tested)} to {percent_of(high, view.tested)}"
    text = (
        f"Wilson's 95{NBSP}% interval: {edges}. It covers the choice of test samples only; another "
        "seed gives another network."
    )
    spread = number((view.summary["test"] or {}).get("folds_sd"))
    if spread is not None:
        text = f"Standard deviation over the folds: {spread * 100:.1f} points. {text}"
    return _lda_sentence(view.summary.get(TEST_LDA) or {}) + text


def _lda_sentence(figure: Mapping[str, Any]) -> str:
    accuracy, tested = number(figure.get("accuracy")), int(figure.get("samples", 0))
    if accuracy is None or not tested:
        return ""
    return (
        "An LDA readout, fitted in one pass to this network's firing rates on the training set, "
        f"predicts {percent_of(accuracy, tested)} correctly. "
    )


def warnings(view: TrainView) -> list[str]:
    """What a reader must see before the result."""
    found = []
    if view.simulated:
        found.append("The data are simulated: this is not a result on a real sensor.")
    if limit := view.summary.get("limit", view.setting("data", "max_samples", 0)):
        found.append(limited(limit))
    if view.summary.get("rule", "stop") != "stop":
        found.append(f"Not STOP: {RULES.get(str(view.summary['rule']), 'an unknown rule')}.")
    return found


def comparisons(view: TrainView) -> Iterator[tuple[str, str]]:
    """What was tested, and what the result may and may not be compared with."""
    held = sum(part.validated for part in view.parts)
    if view.folds:
        yield (
            "Tested",
            f"{len(view.parts)}-fold cross-validation on the training set: each fold was scored "
            "once, by a network that had not seen it. A validation fraction of the other folds "
            "chose the epoch.",
        )
        yield (
            "Not comparable",
            "Results on the data set's own test set: they have more training samples and other "
            "test samples.",
        )
    elif view.tested:
        chosen = (
            f"after {held:,} samples held out of the training set chose the epoch"
            if held
            else "after the last epoch; the epoch was not chosen"
        )
        late = number(view.setting("data", "test_fraction", 0.0))
        what = f"The last {percent(late)} of each recording, or class," if late else "The test set"
        yield "Tested", f"{what} was scored once, {chosen}."
        if late:
            yield (
                "Not comparable",
                "Results on other recordings: here training and test share days, sensors and "
                "objects.",
            )
    if view.tested:
        yield (
            "Comparable",
            "Results on the same samples whose epoch and settings were chosen without them, given "
            "with their number of seeds and standard deviation.",
        )
        yield (
            "Not comparable",
            "Results of the epoch that was best on the test set, as in the STOP paper (arXiv "
            "2411.11082): choosing the best epoch on the test set raises the result.",
        )
    if held and not view.folds:
        yield (
            "Samples",
            f"{held:,} samples were held out for validation and not used for training. Trainings "
            "without validation have that many more.",
        )
    yield (
        "Seeds",
        f"One seed, {view.summary.get('seed')}. To compare two trainings, run several seeds of "
        "both.",
    )
    yield (
        "Streams",
        "This is batch training over epochs. A streaming result (streamstop run) sees each segment "
        "once, and predicts it before learning from it.",
    )
    yield from _scored_network(view)


def _scored_network(view: TrainView) -> Iterator[tuple[str, str]]:
    """How the scored network differs from the one that was trained."""
    if average := view.setting("train", "ema_decay", 0.0):
        yield (
            "Weights",
            f"Validated, tested and saved was the EMA of the weights (decay {average:g} per "
            "update).",
        )
    if view.setting("network", "normalization", "none") == "batch":
        yield (
            "Normalisation",
            "Batch statistics during training; the tested and saved network has the running "
            "averages folded into its weights.",
        )
    if view.setting("train", "precision", "float32") == "mixed":
        yield (
            "Precision",
            "Mixed: bfloat16 products of weights and spikes; float32 states, updates.",
        )


def changed_settings(
    view: TrainView, defaults: Mapping[str, Mapping[str, Any]]
) -> list[tuple[str, str]]:
    """Settings that differ from the defaults: (section.key, value)."""
    return [
        (f"{section}.{key}", setting_text(value))
        for section, values in view.settings.items()
        for key, value in values.items()
        if value != defaults.get(section, {}).get(key)
    ]


def setting_text(value: object) -> str:
    """The value of a setting, for reading.

    >>> setting_text([32, 64]), setting_text(0.0), setting_text("")
    ('32, 64', '0', '–')
    """
    if isinstance(value, list):
        return ", ".join(map(setting_text, value)) or NONE
    if isinstance(value, float):
        return f"{value:g}".replace("-", MINUS)
    return str(value) or NONE
