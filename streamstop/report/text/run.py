"""A run in words: its result in one sentence, what makes a score doubtful, the protocol.

Guarantees:
- The result names the strongest baseline whether or not the learner beats it.
- What makes a score doubtful (simulated data, an interrupted, diverged or damaged run) comes first.
- Pure functions of a `Snapshot`.
"""

from __future__ import annotations

from streamstop.report.formatting import (
    TIMES,
    duration,
    figure,
    p_equals,
    percent,
    plural,
    shorten,
    whole,
)
from streamstop.report.names import (
    HEADLINE,
    LDA,
    LDA_PRIOR_COUNT,
    LINEAR,
    NAMES,
    PRETRAINED,
    UNKNOWN_DATA,
    data_name,
    name_of,
)
from streamstop.report.views.run import Facts, Score, Snapshot
from streamstop.report.views.samples import Samples

HEADLINE_READOUT = {
    "linear": "by the linear readout",
    "lda": "by the LDA readout",
    "auto": "by the readout that was more accurate so far",
}

HONEST_SCORING = (
    "Predict first, then learn: each segment is predicted by weights that have not seen its label."
)
UNKNOWN_TRAINING = "Whether the pretraining used these data is not known to the run."
UNLABELLED = "The source has no labels: nothing was scored, and there was no error to learn from."
UNSCORED = "The source has labels, but none of its labelled segments was scored."
EVALUATION = {
    "prequential": "Prequential (test-then-train): every segment is first predicted, then learned. "
    "The score includes the start, where the learner has seen few labels; the last third shows the "
    "level that it reached."
}
FROZEN_EVALUATION = (
    "Prequential (test-then-train), but only the baselines learn, starting from nothing. The "
    "network is pretrained and stays as it was loaded."
)
PRETRAINED_EVALUATION = (
    "Prequential (test-then-train): every segment is first predicted, then learned. The network "
    "started pretrained, so the score is not one from scratch. The baselines on counts start from "
    "nothing."
)
IMMEDIATE = (
    "Immediate: the label of a bin is available right after the bin was predicted, as in a "
    "recorded data set."
)
DELAYED = (
    "Delayed: the label of a segment arrives late, for example from a keyboard. The segment is "
    "scored once, when its label arrives, on what was predicted until then. STOP learns from the "
    "bins after that; a label that arrives after its segment trains "
)
ARRIVAL = {"immediate": IMMEDIATE, "delayed": f"{DELAYED}only the LDA readout."}
LATE = {
    "readout": "the readout",
    "last": "the readout and the last hidden layer",
    "all": "all layers of the network that learn",
}
"""What a label trains that arrives after its segment, beside the LDA readout."""

FROZEN = (
    "None: the network is frozen. Weights, thresholds, leaks and readout do not change; labels are "
    "used to score the network and to train the baselines."
)
UPDATE_PER_SEGMENT = (
    "Gradients accumulate over the bins of a segment; the weights change once, at its end."
)
UPDATE_WITHIN_SEGMENT = (
    "The weights that predict the segment are a separate copy, and do not change until it is "
    "scored."
)


def note_of(key: str, snapshot: Snapshot) -> str:
    """A short description of a decision maker."""
    if key == HEADLINE:
        readout = str(snapshot.protocol.get("decision", ""))
        return HEADLINE_READOUT.get(readout, f"by {readout}" if readout else "")
    if snapshot.frozen and key in (LINEAR, LDA):
        return "pretrained; does not learn in this run"
    if snapshot.trained and key in PRETRAINED:
        return PRETRAINED[key][1]
    return NAMES.get(key, ("", ""))[1]


def ledger_equation(snapshot: Snapshot) -> str:
    """The ledger in one line."""
    ledger = snapshot.ledger
    terms = [f"binned {whole(ledger.binned)}"]
    for kind, causes in (("dropped", ledger.dropped), ("rejected", ledger.rejected)):
        total = sum(n for _, n in causes)
        named = ", ".join(f"{cause.replace('_', ' ')} {whole(n)}" for cause, n in causes if n)
        terms.append(f"{kind} {whole(total)}" + (f" ({named})" if named else ""))
    terms.append(f"pending {whole(ledger.pending)}")
    sign = "=" if ledger.balances else "\N{NOT EQUAL TO}"
    return f"received {whole(ledger.received)} {sign} " + " + ".join(terms)


MANY_REJECTED = 0.01
"""A larger fraction of rejected events is a warning."""

TOO_SLOW = ("overload", "ring_overflow", "at_stop")
"""Causes of dropped events that a faster learner would have taken."""

FILTERS = ("hot_pixel", "refractory")
"""Causes of rejection that the user asked for."""


def warnings(snapshot: Snapshot) -> list[str]:
    """What a reader must see before any score: how the run ended, and what was lost."""
    ledger, found = snapshot.ledger, []
    if snapshot.status == "overloaded":
        found.append(_overloaded(snapshot))
    if snapshot.trained:
        found.append(f"{initial_weights_sentence(snapshot)} {_not_from_scratch(snapshot)}")
    so_far = plural(snapshot.segments, "segment") if snapshot.labelled else "the bins"
    if snapshot.status == "interrupted":
        found.append(
            f"Interrupted before the stream ended. All figures below cover {so_far} until then."
        )
    elif snapshot.status == "diverged":
        found.append(
            "The learner diverged: its loss or its state stopped being finite, and the run stopped "
            "there. All figures below cover the part before; they are not those of a trained "
            "network."
        )
    elif snapshot.status == "unscored":
        found.append("No labelled segment was scored: this run has no result.")
    elif snapshot.status not in ("complete", "damaged", "overloaded"):
        found.append(f"This run ended with the status “{snapshot.status}”.")
    if ledger.damage_total or snapshot.status == "damaged":
        parts = plural(ledger.damage_total, "part") if ledger.damage_total else "part"
        found.append(
            f"The input is damaged: {parts} of it could not be read. All figures below cover the "
            "rest."
        )
    unasked = [(cause, n) for cause, n in ledger.rejected if cause not in FILTERS]
    lost = sum(n for _, n in unasked)
    if lost > MANY_REJECTED * ledger.received:
        causes = ", ".join(f"{cause} {whole(n)}" for cause, n in unasked if n)
        found.append(
            f"{percent(lost / ledger.received)} of the events were rejected ({causes}). “late”: "
            "time runs backwards in this source, or it holds several recordings. “out of range”: "
            "the sensor is larger than the run assumed."
        )
    if not ledger.balances:
        off = ledger.received - ledger.accounted
        found.append(
            f"The ledger does not balance: {whole(abs(off))} events are "
            f"{'missing' if off > 0 else 'counted twice'}. Do not trust any figure of this run "
            "before this is explained."
        )
    return found


def _overloaded(snapshot: Snapshot) -> str:
    lost = [(cause, n) for cause, n in snapshot.ledger.dropped if n and cause in TOO_SLOW]
    share = sum(n for _, n in lost) / max(snapshot.ledger.received, 1)
    causes = ", ".join(f"{cause.replace('_', ' ')} {whole(n)}" for cause, n in lost)
    return (
        f"Overloaded: {percent(share)} of the events were dropped ({causes}), since they came "
        "faster than the learner took them. All figures below are of the rest. Wider bins "
        "(binning.bin_us), a smaller network or fewer events help."
    )


def initial_weights_sentence(snapshot: Snapshot) -> str:
    """The file that the first weights were loaded from; empty where the seed drew them."""
    weights = snapshot.weights
    if not weights:
        return ""
    then = "continued to learn" if snapshot.labelled else "only predicted: it had no labels"
    if snapshot.frozen:
        then = "only predicts (frozen)"
    return (
        f"The network started with the weights of {weights.get('path', 'a file')} "
        f"(sha256 {str(weights.get('sha256', ''))[:12]}) and {then}.{_initial_lda(weights)}"
    )


def _initial_lda(weights: Facts) -> str:
    segments = weights.get(LDA_PRIOR_COUNT)
    if not segments:
        return ""
    return (
        " Its LDA readout was loaded too and counts as "
        f"{float(segments):g} segments per class; the LDA of the unchanged network starts likewise."
    )


def _not_from_scratch(snapshot: Snapshot) -> str:
    if not snapshot.labelled:
        return ""
    return (
        "The score is not one from scratch. If the pretraining used any of these recordings, it is "
        "not a test score either."
    )


def result_sentence(snapshot: Snapshot) -> str:
    """The run's result in one sentence, with its strongest baseline."""
    kind = data_name(snapshot.data)
    if not snapshot.labelled and snapshot.unscored > 0:
        why = snapshot.message or (
            f"labels were given, but none of the {snapshot.unscored:,} labelled segments was scored"
        )
        return f"Nothing was scored: {why}."
    if not snapshot.labelled:
        beside = snapshot.labels_beside
        hint = f" (a label file lies next to it: --labels {beside})" if beside else ""
        what = "source" if kind == UNKNOWN_DATA else f"source of {kind}"
        return f"Nothing was scored: this {what} has no labels{hint}. " + (
            _most_predicted(snapshot)
        )
    own = snapshot.headline
    over = f"Over {plural(snapshot.segments, 'segment')} of {kind}"
    who = "the learner"
    if snapshot.trained:
        who = "the frozen network" if snapshot.frozen else "the learner, which started pretrained,"
    if own is None or own.segment is None:
        return f"{over}, {who} made no prediction that could be scored."
    text = f"{over}, {who} predicted {percent(own.segment)} correctly{_last_third(own)}"
    baseline = snapshot.best_baseline
    if baseline is None or baseline.segment is None:
        return f"{text}. No baseline ran."
    name = name_of(baseline.key, pretrained=snapshot.trained)
    theirs = f"{percent(baseline.segment)}{_last_third(baseline)}"
    if own.segment > baseline.segment:
        return f"{text}. The strongest baseline ({name}): {theirs}."
    if own.segment == baseline.segment:
        return f"{text}, the same as the strongest baseline ({name}): {theirs}."
    return f"{text}. It does not beat the strongest baseline ({name}): {theirs}."


def significance_sentence(snapshot: Snapshot) -> str:
    """A paired test of the learner against its strongest baseline, segment by segment."""
    baseline = snapshot.best_baseline
    pair = dict(snapshot.paired).get(baseline.key) if baseline else None
    if baseline is None or pair is None:
        return ""
    differ = pair.learner_only + pair.baseline_only
    if not differ:
        return "The learner and this baseline were correct on exactly the same segments."
    p = pair.p_value()
    tail = "" if p < 0.05 else "; the difference is not significant on one pass of this length"
    return (
        f"Exactly one of the two was correct on {plural(differ, 'segment')}: the learner on "
        f"{pair.learner_only:,}, this baseline on {pair.baseline_only:,} "
        f"(sign test, {p_equals(p)}{tail})."
    )


def further_scores(snapshot: Snapshot) -> list[tuple[str, str]]:
    """(score, value) of the scores per bin, which are not in the row of headline scores."""
    scores = snapshot.accuracy or {}
    found = [
        ("accuracy per bin", "bin", percent),
        (
            "kappa temporal per bin: agreement beyond repeating the last label",
            "kappa_t_bin",
            figure,
        ),
    ]
    return [(name, form(scores[key])) for name, key, form in found if scores.get(key) is not None]


def event_caption(samples: Samples) -> str:
    """What the event picture shows."""
    shown = samples.event_picture
    if shown is None:
        return ""
    facts = [shorten(shown.recording, 60)] if shown.recording else []
    if shown.events is not None:
        took = "" if shown.duration_us is None else f" in {duration(shown.duration_us / 1e6)}"
        facts.append(f"{plural(round(shown.events), 'event')}{took}")
    if shown.sensor is not None:
        width, height = shown.sensor
        grid = f"{shown.picture.width}{TIMES}{shown.picture.height}"
        sensor = f"{width}{TIMES}{height}"
        facts.append(f"sensor {sensor}" + ("" if grid == sensor else f", shown as {grid} cells"))
    return "; ".join(facts)


def input_caption(samples: Samples) -> str:
    """What the picture of the network input shows."""
    shown = samples.network_input
    if shown is None:
        return ""
    took = "" if shown.bin_us is None else f" of {duration(shown.bin_us / 1e6)}"
    facts = [f"one bin{took}", f"{shown.picture.width}{TIMES}{shown.picture.height} cells"]
    if shown.label:
        facts.append(f"class {shorten(shown.label, 60)}")
    return "; ".join(facts)


def protocol(snapshot: Snapshot) -> list[tuple[str, str]]:
    """The protocol of the run, term by term; an unknown term is shown as it is."""
    terms = {
        key: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for key, value in snapshot.protocol.items()
        if key != "frozen"
    }
    evaluation, arrival, update, readout, late = (
        terms.pop(key, "") for key in ("evaluation", "arrival", "update", "decision", "late")
    )
    rows = []
    if snapshot.trained:
        rows.append(("Initial weights", initial_weights_sentence(snapshot)))
    if not snapshot.labelled:
        rows.append(("Labels", UNSCORED if snapshot.unscored > 0 else UNLABELLED))
    else:
        if evaluation.startswith("prequential"):
            known = f"{HONEST_SCORING} {UNKNOWN_TRAINING}" if snapshot.trained else HONEST_SCORING
            rows.append(("Honest scoring", known))
        if evaluation:
            text = EVALUATION.get(evaluation, evaluation)
            if snapshot.trained and evaluation in EVALUATION:
                text = FROZEN_EVALUATION if snapshot.frozen else PRETRAINED_EVALUATION
            rows.append(("Evaluation", text))
        if arrival:
            rows.append(("Labels", _late_labels(late) if late else ARRIVAL.get(arrival, arrival)))
        if snapshot.frozen:
            rows.append(("Updates", FROZEN))
        elif update == "segment":
            rows.append(("Updates", UPDATE_PER_SEGMENT))
        elif update:
            often = "at every step" if update == "step" else update
            text = f"Weights change within a segment ({often}). {UPDATE_WITHIN_SEGMENT}"
            rows.append(("Updates", text))
        if readout:
            by = HEADLINE_READOUT.get(readout, f"by {readout}")
            rows.append(("Headline prediction", f"Made {by}, once per segment, from all its bins."))
    idle = {
        "update_interval": update == "segment",
        "delay_us": ARRIVAL.get(arrival) == IMMEDIATE,
        **dict.fromkeys(("rule", "trainable", "loss"), snapshot.frozen or not snapshot.labelled),
        **dict.fromkeys(("order", "length_us"), not snapshot.labelled),
        "spans": bool(snapshot.scenario.spans),
        "drift_alarms": bool(snapshot.scenario.alarms),
    }
    return rows + [_term(k, v) for k, v in terms.items() if not idle.get(k)]


def _late_labels(late: str) -> str:
    return (
        f"{DELAYED}the LDA readout and {LATE.get(late, late)}, as if it had been known from the "
        "segment's start. The weights then change when no segment is open."
    )


def _term(key: str, value: str) -> tuple[str, str]:
    """A term of the protocol that has no sentence: its name, and its value with its unit."""
    name = key.replace("_", " ")
    if key == "trainable":
        value = value or "only the readout"
    if key.endswith("_us") and value.isdigit():
        name = {"bin_us": "bin", "length_us": "segment"}.get(key, name.removesuffix(" us"))
        value = duration(int(value) / 1e6) if int(value) else "as labelled"
    return name.capitalize(), value


def _last_third(score: Score) -> str:
    return "" if score.last_third is None else f" (last third {percent(score.last_third)})"


def _most_predicted(snapshot: Snapshot) -> str:
    total = sum(n for _, n in snapshot.predictions)
    if not total:
        return f"The network processed {plural(snapshot.bins, 'bin')}."
    name, most = max(snapshot.predictions, key=lambda pair: pair[1])
    caveat = (
        "Whether that is correct is unknown."
        if snapshot.trained
        else "This means nothing, because the network was never trained: give labels, or "
        "pretrained weights."
    )
    return (
        f"Most frequent prediction in {plural(snapshot.bins, 'bin')}: {name} "
        f"({percent(most / total)}). {caveat}"
    )
