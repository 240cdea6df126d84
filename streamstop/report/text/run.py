"""A run in words and figures: the verdict, the protocol, the names of things, numbers for reading.

Promises: the verdict names the strongest baseline whether or not the learner beats it, and says
first what makes a score doubtful (simulated data, an interrupted, diverged or damaged run). A
rounded figure never says 100 % or 0 % unless it is exactly that. Pure functions of a `Snapshot`.
"""

from __future__ import annotations

from streamstop.report.views.run import Facts, Score, Snapshot

NBSP = "\N{NO-BREAK SPACE}"
NONE = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"

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

DECIDE = {
    "linear": "by its linear readout",
    "lda": "by its LDA readout",
    "auto": "by whichever readout had the better record so far",
}


HONEST = (
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
ONCE = "Gradients add up over the bins of a segment and change the weights once, at its end."
WITHIN = "What decides the segment is kept apart from them until it is scored."


def name_of(key: str) -> str:
    """The readable name of a readout or baseline.

    >>> name_of("lda_counts"), name_of("my_rival")
    ('streaming LDA on counts', 'my rival')
    """
    return NAMES[key][0] if key in NAMES else key.replace("_", " ")


def note_of(key: str, snapshot: Snapshot) -> str:
    """What a readout or baseline is, in a few words."""
    if key == "decision":
        decide = str(snapshot.protocol.get("decide", ""))
        return DECIDE.get(decide, f"by {decide}" if decide else "")
    if snapshot.frozen and key in ("linear", "lda"):
        return "the trained one, which learns nothing here"
    if snapshot.trained and key in TRAINED_NOTES:
        return TRAINED_NOTES[key]
    return NAMES.get(key, ("", ""))[1]


def percent(value: float | None) -> str:
    """A share as a percentage with one decimal; exact only where it is exact.

    >>> [percent(v).replace(NBSP, " ") for v in (0.9533, 1.0, 0.99999, 0.00001, None)]
    ['95.3 %', '100 %', '>99.9 %', '<0.1 %', '–']
    """
    if value is None:
        return NONE
    if value in (0.0, 1.0):
        return f"{value * 100:.0f}{NBSP}%"
    if 0.9995 <= value < 1:
        return f">99.9{NBSP}%"
    if 0 < value < 0.0005:
        return f"<0.1{NBSP}%"
    return f"{value * 100:.1f}{NBSP}%"


def points(value: float | None) -> str:
    """A difference of shares in percentage points, with its sign.

    >>> points(0.0134), points(-0.0134), points(0.0)
    ('+1.3', '−1.3', '0.0')
    """
    if value is None:
        return NONE
    text = f"{value * 100:+.1f}"
    return text[1:] if float(text) == 0 else text.replace("-", MINUS)


def chance(p: float | None) -> str:
    """A p-value.

    >>> chance(0.2345), chance(0.00001), chance(None)
    ('0.23', '<0.001', '–')
    """
    if p is None:
        return NONE
    return "<0.001" if p < 0.001 else f"{p:.2g}"


def p_is(p: float) -> str:
    """The same with its letter.

    >>> p_is(0.04), p_is(0.00001)
    ('p = 0.04', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {chance(p)}"


def whole(value: int | float | None) -> str:
    """A whole number with separators.

    >>> whole(1234567), whole(None)
    ('1,234,567', '–')
    """
    return NONE if value is None else f"{value:,.0f}"


def figure(value: float | None) -> str:
    """A figure with three significant digits, in the range where people read it at a glance.

    >>> [figure(v) for v in (1234.5, 12.34, 0.01234, 0.0, -0.5, None)]
    ['1,234', '12.3', '0.0123', '0', '−0.5', '–']
    """
    if value is None:
        return NONE
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return text.replace("-", MINUS)


def with_unit(value: float | None, unit: str) -> str:
    """A figure and its unit, or the sign for nothing alone.

    >>> with_unit(13.24, "\N{MULTIPLICATION SIGN}"), with_unit(None, "ms")
    ('13.2×', '–')
    """
    if value is None:
        return NONE
    return figure(value) + (unit if unit == TIMES else f"{NBSP}{unit}")


def rate(value: float | None) -> str:
    """Events a second.

    >>> [rate(v).replace(NBSP, " ") for v in (950.0, 51_200.0, 2_340_000.0, None)]
    ['950 ev/s', '51.2 kev/s', '2.34 Mev/s', '–']
    """
    if value is None:
        return NONE
    for size, unit in ((1e6, "Mev/s"), (1e3, "kev/s")):
        if value >= size:
            return f"{value / size:.3g}{NBSP}{unit}"
    return f"{value:.3g}{NBSP}ev/s"


def duration(seconds: float | None) -> str:
    """A length of time.

    >>> [duration(v).replace(NBSP, " ") for v in (0.0134, 12.34, 128.5, 7384.0, None)]
    ['13.4 ms', '12.3 s', '2 min 8 s', '2 h 3 min', '–']
    """
    if seconds is None:
        return NONE
    if seconds < 1:
        return f"{seconds * 1000:.3g}{NBSP}ms"
    if seconds < 120:
        return f"{seconds:.3g}{NBSP}s"
    if seconds < 7200:
        return f"{seconds // 60:.0f}{NBSP}min {seconds % 60:.0f}{NBSP}s"
    return f"{seconds // 3600:.0f}{NBSP}h {seconds % 3600 // 60:.0f}{NBSP}min"


def megabytes(value: float | None, *, size: float = 1.0) -> str:
    """Memory in MB, from a figure that counts in units of `size` MB.

    >>> megabytes(412.34).replace(NBSP, " "), megabytes(151_552, size=1e-6).replace(NBSP, " ")
    ('412 MB', '0.152 MB')
    """
    return NONE if value is None else f"{figure(value * size)}{NBSP}MB"


def printable(text: str) -> str:
    """A name from a file, with nothing in it that could steer a terminal.

    >>> printable("mug\\x1b[2J")
    'mug�[2J'
    """
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    >>> plural(1, "segment"), plural(2570, "segment"), plural(2, "class")
    ('1 segment', '2,570 segments', '2 classes')
    """
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}{'es' if noun.endswith('s') else 's'}"


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
        said.append(f"{begun(snapshot)} {_not_from_scratch(snapshot)}")
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


def begun(snapshot: Snapshot) -> str:
    """Where the network's first weights came from; nothing where the seed drew them."""
    weights = snapshot.weights
    if not weights:
        return ""
    learned = "only predicts: it is frozen" if snapshot.frozen else "went on learning from there"
    return (
        f"The network began with the weights of {weights.get('path', 'a file')} "
        f"(sha256 {str(weights.get('sha256', ''))[:12]}) and {learned}.{_discriminant(weights)}"
    )


def _discriminant(weights: Facts) -> str:
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


def verdict(snapshot: Snapshot) -> str:
    """The run's result in one sentence, with its strongest baseline."""
    kind = "simulated" if snapshot.simulated else "real"
    if not snapshot.labelled:
        beside = snapshot.labels_beside
        hint = f" (one file of them lies beside it: --labels {beside})" if beside else ""
        return (
            f"Nothing could be scored: this source of {kind} data came without labels{hint}. "
            + _most_predicted(snapshot)
        )
    ours = snapshot.decision
    over = f"Over {plural(snapshot.segments, 'segment')} of {kind} data"
    who = "the learner"
    if snapshot.trained:
        who = "the frozen network" if snapshot.frozen else "the learner, which began trained,"
    if ours is None or ours.segment is None:
        return f"{over} {who} decided nothing that could be scored."
    text = f"{over} {who} decided {percent(ours.segment)} right{_last_third(ours)}"
    rival = snapshot.rival
    if rival is None or rival.segment is None:
        return f"{text}; no baseline ran beside it."
    named = f"{name_of(rival.key)}, the strongest baseline"
    theirs = f"{percent(rival.segment)}{_last_third(rival)}"
    if ours.segment > rival.segment:
        return f"{text}; {named}, {theirs}."
    if ours.segment == rival.segment:
        return f"{text}, no better than {named}: {theirs}."
    return f"{text}. It does not beat {named}: {theirs}."


def doubt(snapshot: Snapshot) -> str:
    """How far the learner and its strongest baseline really differ, segment by segment."""
    rival = snapshot.rival
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
        f"(sign test, {p_is(p)}{tail})."
    )


def protocol(snapshot: Snapshot) -> list[tuple[str, str]]:
    """The protocol of the run, term by term, in words; an unknown term is shown as it is."""
    terms = {key: str(value) for key, value in snapshot.protocol.items() if key != "frozen"}
    evaluation, arrival, update, decide = (
        terms.pop(key, "") for key in ("evaluation", "arrival", "update", "decide")
    )
    said = []
    if snapshot.trained:
        said.append(("Beginning", begun(snapshot)))
    if not snapshot.labelled:
        said.append(("Labels", UNLABELLED))
    else:
        if evaluation.startswith("prequential"):
            known = f"{HONEST} {UNKNOWN_TRAINING}" if snapshot.trained else HONEST
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
            said.append(("Updates", ONCE))
        elif update:
            often = "at every step" if update == "step" else update
            said.append(("Updates", f"Weights change within a segment ({often}). {WITHIN}"))
        if decide:
            by = DECIDE.get(decide, f"by {decide}")
            said.append(("Decision", f"Made {by}, once for a segment, from all of its bins."))
    idle = {
        "every": update == "segment",
        "delay_us": arrival == "concurrent",
        **dict.fromkeys(("rule", "learn", "loss"), snapshot.frozen or not snapshot.labelled),
        **dict.fromkeys(("order", "length_us"), not snapshot.labelled),
        "spans": bool(snapshot.world.spans),
        "drift_alarms": bool(snapshot.world.alarms),
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
