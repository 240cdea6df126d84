"""A training in words and figures: the verdict, its interval, what it may be compared with.

Pure functions of a `TrainView`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from streamstop.config.training import limited
from streamstop.pipeline.summary_file import number
from streamstop.report.formatting import MINUS, NBSP, NONE, percent, plural
from streamstop.report.views.training import TrainView

MANY = 1000
"""From so many samples on, a share has two decimals."""

RULES = {
    "stop": "STOP",
    "ottt": "OTTT, a control: STOP on weights alone",
    "sltt": "SLTT, a control: no traces through time",
    "bptt": "backpropagation through time, a control that keeps all steps in memory",
}
"""The rules by name, and what they are."""


def percent_of(value: float | None, of: int) -> str:
    """A share of so many samples, with as many decimals as they are worth.

    >>> percent_of(0.99431, 10_000).replace(NBSP, " "), percent_of(0.91, 100).replace(NBSP, " ")
    ('99.43 %', '91.0 %')
    """
    if value is None or of < MANY or not 0.00005 <= value < 0.99995:
        return percent(value)
    return f"{value * 100:.2f}{NBSP}%"


def interval(correct: int, samples: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share (J. Am. Stat. Assoc. 22, 1927).

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
        right = percent_of(best, validated)
        return f"{network}, tells {right} of its {kind} validation samples right."
    right = f"{percent_of(view.accuracy, view.tested)} of {plural(view.tested, kind + ' sample')}"
    if view.folds:
        return f"{network}, told {right} right, each by a network that had not trained on it."
    return f"{network}, told {right} right that nothing was trained on or chosen by."


def interval_sentence(view: TrainView) -> str:
    """How far chance alone may have moved the figure."""
    if not view.tested:
        return "No test set was given. What chose the epoch also scored it, which flatters."
    low, high = interval(view.correct, view.tested)
    edges = f"{percent_of(low, view.tested)} to {percent_of(high, view.tested)}"
    said = (
        f"Wilson's 95{NBSP}% interval: {edges}. "
        "It knows of the chance in these samples alone; another seed makes another network."
    )
    spread = number((view.summary["test"] or {}).get("folds_sd"))
    if spread is not None:
        said = f"Standard deviation of the folds: {spread * 100:.1f} points. " + said
    return _lda_sentence(view.summary.get("test_discriminant") or {}) + said


def _lda_sentence(figure: Mapping[str, Any]) -> str:
    accuracy, tested = number(figure.get("accuracy")), int(figure.get("samples", 0))
    if accuracy is None or not tested:
        return ""
    return (
        f"A discriminant readout, fitted in one pass to this network's firing rates on the "
        f"training set, told {percent_of(accuracy, tested)} right. "
    )


def warnings(view: TrainView) -> list[str]:
    """What a reader must know before the figure."""
    said = []
    if view.simulated:
        said.append("The data are simulated: the figure says nothing of a real sensor.")
    if limit := view.summary.get("limit", view.setting("data", "limit", 0)):
        said.append(limited(limit))
    if view.summary.get("rule", "stop") != "stop":
        said.append(f"Not STOP: {RULES.get(str(view.summary['rule']), 'an unknown rule')}.")
    return said


def comparisons(view: TrainView) -> Iterator[tuple[str, str]]:
    """What the figure stands for, and what it may and may not be compared with."""
    held = sum(part.validated for part in view.parts)
    if view.folds:
        yield (
            "Tested",
            f"Cross-validation on the training set in {len(view.parts)} parts: each part was "
            "scored once, by a network that had seen none of it, after a validation share of the "
            "others had chosen its epoch.",
        )
        yield (
            "Not the same",
            "A figure on the data set's own test part: that one had more samples to train on, and "
            "other samples to be tested on.",
        )
    elif view.tested:
        chosen = (
            f"after {held:,} samples held out of the training set had chosen the epoch"
            if held
            else "after the last epoch; nothing chose between epochs"
        )
        late = number(view.setting("data", "test_share", 0.0))
        what = f"The last {percent(late)} of each recording, or class," if late else "The test set"
        yield "Tested", f"{what} was scored once, {chosen}."
        if late:
            yield (
                "Not the same",
                "A figure on other recordings: training and test share days, sensors and objects.",
            )
    if view.tested:
        yield (
            "May be set beside",
            "Figures on the same samples whose epoch and settings were chosen without them, with "
            "their own number of seeds and their spread.",
        )
        yield (
            "May not",
            "Figures of the epoch that did best on the test set, as those of the STOP paper (arXiv "
            "2411.11082) are: taking the best of many looks raises a figure by itself.",
        )
    if held and not view.folds:
        yield (
            "Samples",
            f"{held:,} samples were held out to validate, and trained nothing; who trains on all "
            "has that many more.",
        )
    yield (
        "Seeds",
        f"One, {view.summary.get('seed')}. A difference from another training is one only where it "
        "outlasts several seeds of both.",
    )
    yield (
        "Streams",
        "A trained figure is no streamed one: streamstop run scores a network that meets each "
        "segment once, before it learns from it.",
    )
    yield from _kept(view)


def _kept(view: TrainView) -> Iterator[tuple[str, str]]:
    """What was scored, where it is not simply the network as it was trained."""
    if average := view.setting("train", "average", 0.0):
        yield (
            "Weights",
            f"Validated, tested and kept were averages of the weights that keep {average:g} of "
            "themselves an update.",
        )
    if view.setting("network", "norm", "none") == "batch":
        yield (
            "Normalisation",
            "Batch statistics while training; what was tested and kept has their running averages "
            "folded into its weights.",
        )
    if view.setting("train", "precision", "float32") == "mixed":
        yield "Precision", "Weights met spikes in bfloat16; states and updates were float32."


def changed_settings(
    view: TrainView, defaults: Mapping[str, Mapping[str, Any]]
) -> list[tuple[str, str]]:
    """Settings that differ from the defaults, as section.key and value."""
    return [
        (f"{section}.{key}", setting_text(value))
        for section, values in view.settings.items()
        for key, value in values.items()
        if value != defaults.get(section, {}).get(key)
    ]


def setting_text(value: object) -> str:
    """A setting's value for reading.

    >>> setting_text([32, 64]), setting_text(0.0), setting_text("")
    ('32, 64', '0', '–')
    """
    if isinstance(value, list):
        return ", ".join(map(setting_text, value)) or NONE
    if isinstance(value, float):
        return f"{value:g}".replace("-", MINUS)
    return str(value) or NONE
