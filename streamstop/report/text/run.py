"""A run in words and figures: the verdict, the protocol, the names of things, numbers for reading.

Promises: the verdict names the strongest baseline whether or not the learner beats it, and says
first what makes a score doubtful (simulated data, an interrupted, diverged or damaged run). A
rounded figure never says 100 % or 0 % unless it is exactly that. Pure functions of a `Snapshot`.
"""

from __future__ import annotations

from streamstop.report.formatting import duration, p_equals, percent, plural, whole
from streamstop.report.names import HEADLINE, LDA, LINEAR, NAMES, TRAINED_NOTES, name_of
from streamstop.report.views.run import Facts, Score, Snapshot

HEADLINE_READOUT = {
    "linear": "by its linear readout",
    "lda": "by its LDA readout",
    "auto": "by whichever readout had the better record so far",
}


HONEST_SCORING = (
    "A segment is scored on a decision made by weights that its own label has not touched: the "
    "decision comes first, then the label, then the learning."
)
UNKNOWN_TRAINING = "Whether its training had touched it, the run cannot know."
UNLABELLED = (
    "None came with this source. Nothing could be scored, and no error could teach the network."
)
EVALUATION = {
    "prequential": "Prequential: every segment is first a test, then a lesson. The score therefore "
    "includes the beginning, when nothing was known; the last third shows where it has come to."
}
FROZEN_EVALUATION = (
    "Prequential: every segment is a test, and a lesson for the baselines alone, which begin with "
    "nothing. The network had its lessons before, from its training."
)
TRAINED_EVALUATION = (
    "Prequential: every segment is first a test, then a lesson. This network had lessons before "
    "the first segment, from its training: the score is not one from scratch, and the baselines on "
    "counts begin with nothing."
)
ARRIVAL = {
    "concurrent": "The label of a bin is there right after the bin was predicted, as in a recorded "
    "data set.",
    "delayed": "The label of a segment comes late, as from a person at a keyboard. The segment is "
    "scored once, when its label comes, on what was predicted until then, and STOP learns only the "
    "bins after that; a label that comes after its segment teaches the LDA readout alone.",
}
FROZEN = (
    "None: the network is frozen. Its weights, thresholds, leaks and readout are at the end what "
    "they were at the beginning, and labels only score it. The baselines learn from them."
)
UPDATE_PER_SEGMENT = (
    "Gradients add up over the bins of a segment and change the weights once, at its end."
)
UPDATE_WITHIN_SEGMENT = "What decides the segment is kept apart from them until it is scored."


def note_of(key: str, snapshot: Snapshot) -> str:
    """What a readout or baseline is, in a few words."""
    if key == HEADLINE:
        decide = str(snapshot.protocol.get("decide", ""))
        return HEADLINE_READOUT.get(decide, f"by {decide}" if decide else "")
    if snapshot.frozen and key in (LINEAR, LDA):
        return "the trained one, which learns nothing here"
    if snapshot.trained and key in TRAINED_NOTES:
        return TRAINED_NOTES[key]
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
"""More rejected events than this share of all are said before any score."""


def warnings(snapshot: Snapshot) -> list[str]:
    """What a reader must know before any score: how the run ended, and what was lost."""
    ledger, said = snapshot.ledger, []
    if snapshot.trained:
        said.append(f"{initial_weights_sentence(snapshot)} {_not_from_scratch(snapshot)}")
    so_far = plural(snapshot.segments, "segment") if snapshot.labelled else "the bins"
    if snapshot.status == "interrupted":
        said.append(
            f"Interrupted before the stream ended. Everything below speaks of {so_far} seen "
            "until then."
        )
    elif snapshot.status == "diverged":
        said.append(
            "The learner diverged: its loss or its state stopped being finite, and the run "
            "stopped there. Figures below stand for the part before, and for no trained "
            "network."
        )
    elif snapshot.status not in ("complete", "damaged"):
        said.append(f"This run ended with the status “{snapshot.status}”.")
    if ledger.damage_total or snapshot.status == "damaged":
        where = plural(ledger.damage_total, "stretch") if ledger.damage_total else "Part"
        where = where.replace("stretchs", "stretches")
        said.append(
            f"The input was damaged: {where[0].lower() + where[1:]} of it could not be "
            "read. Everything below speaks of what could."
        )
    lost = sum(n for _, n in ledger.rejected)
    if lost > MANY_REJECTED * ledger.received:
        causes = ", ".join(f"{cause} {whole(n)}" for cause, n in ledger.rejected if n)
        said.append(
            f"{percent(lost / ledger.received)} of the events could not be placed, and were "
            f"rejected ({causes}). Late ones mean that time runs backwards in this source, or that "
            "it holds several recordings; out of range, that the sensor is larger than said."
        )
    if not ledger.balances:
        off = ledger.received - ledger.accounted
        said.append(
            f"The ledger does not balance: {whole(abs(off))} events are "
            f"{'missing from it' if off > 0 else 'in it too often'}. Trust no figure of "
            "this run before that is explained."
        )
    return said


def initial_weights_sentence(snapshot: Snapshot) -> str:
    """Where the network's first weights came from; nothing where the seed drew them."""
    weights = snapshot.weights
    if not weights:
        return ""
    learned = "only predicts: it is frozen" if snapshot.frozen else "went on learning from there"
    return (
        f"The network began with the weights of {weights.get('path', 'a file')} "
        f"(sha256 {str(weights.get('sha256', ''))[:12]}) and {learned}.{_initial_lda(weights)}"
    )


def _initial_lda(weights: Facts) -> str:
    segments = weights.get("discriminant_segments")
    if not segments:
        return ""
    return (
        " Its LDA readout began as it was trained, counted as "
        f"{float(segments):g} segments of each class; so did the one of the frozen network."
    )


def _not_from_scratch(snapshot: Snapshot) -> str:
    if not snapshot.labelled:
        return ""
    return (
        "The score is not one from scratch. If any of this stream, or another part of its "
        "recordings, was in what the network was trained on, it is no test either."
    )


def result_sentence(snapshot: Snapshot) -> str:
    """The run's result in one sentence, with its strongest baseline."""
    kind = "simulated" if snapshot.simulated else "real"
    if not snapshot.labelled:
        beside = snapshot.labels_beside
        hint = f" (one file of them lies beside it: --labels {beside})" if beside else ""
        return (
            f"Nothing could be scored: this source of {kind} data came without labels{hint}. "
            + _most_predicted(snapshot)
        )
    ours = snapshot.headline
    over = f"Over {plural(snapshot.segments, 'segment')} of {kind} data"
    who = "the learner"
    if snapshot.trained:
        who = "the frozen network" if snapshot.frozen else "the learner, which began trained,"
    if ours is None or ours.segment is None:
        return f"{over} {who} decided nothing that could be scored."
    text = f"{over} {who} decided {percent(ours.segment)} right{_last_third(ours)}"
    rival = snapshot.best_baseline
    if rival is None or rival.segment is None:
        return f"{text}; no baseline ran beside it."
    named = f"{name_of(rival.key)}, the strongest baseline"
    theirs = f"{percent(rival.segment)}{_last_third(rival)}"
    if ours.segment > rival.segment:
        return f"{text}; {named}, {theirs}."
    if ours.segment == rival.segment:
        return f"{text}, no better than {named}: {theirs}."
    return f"{text}. It does not beat {named}: {theirs}."


def significance_sentence(snapshot: Snapshot) -> str:
    """How far the learner and its strongest baseline really differ, segment by segment."""
    rival = snapshot.best_baseline
    pair = dict(snapshot.paired).get(rival.key) if rival else None
    if rival is None or pair is None:
        return ""
    differ = pair.learner_only + pair.baseline_only
    if not differ:
        return f"The learner and {name_of(rival.key)} were right on the very same segments."
    p = pair.p_value()
    tail = "" if p < 0.05 else ", so one pass of this length does not tell them apart"
    return (
        f"Only one of the two was right on {plural(differ, 'segment')}: the learner on "
        f"{pair.learner_only:,}, {name_of(rival.key)} on {pair.baseline_only:,} "
        f"(sign test, {p_equals(p)}{tail})."
    )


def protocol(snapshot: Snapshot) -> list[tuple[str, str]]:
    """The protocol of the run, term by term, in words; an unknown term is shown as it is."""
    terms = {key: str(value) for key, value in snapshot.protocol.items() if key != "frozen"}
    evaluation, arrival, update, decide = (
        terms.pop(key, "") for key in ("evaluation", "arrival", "update", "decide")
    )
    said = []
    if snapshot.trained:
        said.append(("Beginning", initial_weights_sentence(snapshot)))
    if not snapshot.labelled:
        said.append(("Labels", UNLABELLED))
    else:
        if evaluation.startswith("prequential"):
            known = f"{HONEST_SCORING} {UNKNOWN_TRAINING}" if snapshot.trained else HONEST_SCORING
            said.append(("What honest means", known))
        if evaluation:
            told = EVALUATION.get(evaluation, evaluation)
            if snapshot.trained and evaluation in EVALUATION:
                told = FROZEN_EVALUATION if snapshot.frozen else TRAINED_EVALUATION
            said.append(("Evaluation", told))
        if arrival:
            said.append(("Labels", ARRIVAL.get(arrival, arrival)))
        if snapshot.frozen:
            said.append(("Updates", FROZEN))
        elif update == "segment":
            said.append(("Updates", UPDATE_PER_SEGMENT))
        elif update:
            often = "at every step" if update == "step" else update
            said.append(
                ("Updates", f"Weights change within a segment ({often}). {UPDATE_WITHIN_SEGMENT}")
            )
        if decide:
            by = HEADLINE_READOUT.get(decide, f"by {decide}")
            said.append(("Decision", f"Made {by}, once for a segment, from all of its bins."))
    idle = {
        "every": update == "segment",
        "delay_us": arrival == "concurrent",
        **dict.fromkeys(("rule", "learn", "loss"), snapshot.frozen or not snapshot.labelled),
        **dict.fromkeys(("order", "length_us"), not snapshot.labelled),
        "spans": bool(snapshot.scenario.spans),
        "drift_alarms": bool(snapshot.scenario.alarms),
    }
    return said + [_term(k, v) for k, v in terms.items() if not idle.get(k)]


def _term(key: str, value: str) -> tuple[str, str]:
    """A term of the protocol that has no sentence: its name, and its value with its unit."""
    name = key.replace("_", " ")
    if key == "learn":
        moved = [word for word in ("weights", "thresholds", "leaks") if word[0] in value]
        value = "nothing but the readout" if value == "none" else ", ".join(moved) or value
    if key.endswith("_us") and value.isdigit():
        name = {"bin_us": "bin", "length_us": "segment"}.get(key, name.removesuffix(" us"))
        value = duration(int(value) / 1e6) if int(value) else "as the labels have it"
    return name.capitalize(), value


def _last_third(score: Score) -> str:
    return "" if score.last_third is None else f" (last third {percent(score.last_third)})"


def _most_predicted(snapshot: Snapshot) -> str:
    total = sum(n for _, n in snapshot.predictions)
    if not total:
        return f"{plural(snapshot.bins, 'bin')} went through the network."
    name, most = max(snapshot.predictions, key=lambda pair: pair[1])
    known = (
        "right or wrong, nobody knows."
        if snapshot.trained
        else "it means nothing, for nothing ever taught this network: give labels, or trained "
        "weights."
    )
    return (
        f"Of {plural(snapshot.bins, 'bin')}, most often predicted: {name} "
        f"({percent(most / total)}); {known}"
    )
