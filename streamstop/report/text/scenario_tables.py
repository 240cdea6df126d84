"""Tables of a non-stationary stream: accuracy by domain, the R matrix, operations per bin.

Guarantees:
- Pure functions of a `Snapshot`.
- The best value of a row is marked by weight and a star, not by colour alone.
- An R matrix other than the learner's is shown only up to MAX_CELLS cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from streamstop.pipeline.summary_file import number
from streamstop.report.formatting import NONE, megabytes, percent, shorten
from streamstop.report.names import (
    FROZEN_FEATURES_LDA,
    FROZEN_FEATURES_LINEAR,
    HEADLINE,
    INITIAL_LDA,
    INITIAL_NETWORK,
    LDA,
    LDA_COUNTS,
    LINEAR,
    MAJORITY,
    NO_CHANGE,
    SOFTMAX_COUNTS,
    name_of,
    short_name,
)
from streamstop.report.text.scenario import domain_name, short_count
from streamstop.report.views.run import Snapshot
from streamstop.report.views.scenario import HeldOut, HeldOutScores, Row

COLUMNS = (
    *(HEADLINE, LDA_COUNTS, SOFTMAX_COUNTS, FROZEN_FEATURES_LDA, INITIAL_NETWORK, INITIAL_LDA),
    *(LINEAR, LDA, FROZEN_FEATURES_LINEAR, MAJORITY, NO_CHANGE),
)
"""Order of the columns of the table of domains: the learner, then the strongest baselines."""

MAX_CELLS = 400
"""A larger R matrix of a baseline is in summary.json only."""

NAMED = 12
"""Up to this number of tasks, the columns of R have names (if short), else numbers."""

NAME_LETTERS = 10


@dataclass(frozen=True, slots=True)
class DomainRow:
    """A row of the table: number on the chart, name, segments, (accuracy, whether best) cells."""

    number: str
    name: str
    segments: int
    cells: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class TransferRow:
    """One decision maker on the held-out segments; `best` : it has the best average accuracy."""

    key: str
    scores: HeldOutScores
    best: bool


def domain_columns(snapshot: Snapshot) -> list[tuple[str, str]]:
    """(key, column head) of the decision makers that any domain has."""
    there = dict.fromkeys(key for one in snapshot.domains for key in one.accuracy)
    order = [key for key in COLUMNS if key in there] + [k for k in there if k not in COLUMNS]
    return [(key, short_name(key, pretrained=snapshot.trained)) for key in order[:12]]


def domain_rows(snapshot: Snapshot) -> list[DomainRow]:
    """Domains in the order of their first segments; empty with a single domain."""
    if len(snapshot.domains) < 2:
        return []
    names = snapshot.scenario.names
    keys = [key for key, _ in domain_columns(snapshot)]
    return [
        DomainRow(
            str(names.index(one.name) + 1) if one.name in names else "",
            domain_name(one),
            one.segments,
            tuple(
                (percent(one.accuracy.get(key)), _is_best(one.accuracy.get(key), one.best))
                for key in keys
            ),
        )
        for one in snapshot.domains
    ]


def transfer_rows(snapshot: Snapshot) -> list[TransferRow]:
    """Decision makers by average accuracy, best first; on a tie the learner comes last."""
    if snapshot.held_out is None:
        return []
    own = {HEADLINE: 2, LINEAR: 1, LDA: 1}
    ranked = sorted(
        snapshot.held_out.scores,
        key=lambda one: (
            one.average_accuracy is None,
            -(one.average_accuracy or 0.0),
            own.get(one.key, 0),
        ),
    )
    best = ranked[0].average_accuracy if ranked else None
    return [
        TransferRow(
            one.key,
            one,
            _is_best(one.average_accuracy, best),
        )
        for one in ranked
    ]


def other_matrices(snapshot: Snapshot) -> list[tuple[str, Markup]]:
    """(name, R) of all decision makers but the learner, where R is small enough."""
    held = snapshot.held_out
    if held is None or len(held.tasks) * (len(held.learned) + 1) > MAX_CELLS:
        return []
    return [
        (name_of(row.key, pretrained=snapshot.trained), matrix(held, row.scores))
        for row in transfer_rows(snapshot)
        if row.scores is not held.learner
    ]


def uses_numbers(held: HeldOut) -> bool:
    """Whether the columns of R are numbered."""
    return len(held.tasks) > NAMED or any(len(name) > NAME_LETTERS for name in held.tasks)


def matrix(held: HeldOut, scores: HeldOutScores) -> Markup:
    """R of one decision maker: one row per evaluation, one column per task, in percent.

    A cell's shade is its accuracy; the task that was learned last is framed.
    """
    by_number = uses_numbers(held)
    heads = "".join(
        f'<th scope="col" title="{name}">{i}</th>' if by_number else f'<th scope="col">{name}</th>'
        for i, name in enumerate((escape(shorten(n, 60)) for n in held.tasks), start=1)
    )
    rows = [_row("before", scores.before, -1)] if scores.before else []
    for task, values in zip(held.learned, scores.r, strict=True):
        name = escape(shorten(held.tasks[task], 30)) if task < len(held.tasks) else "another"
        number_of = f"<i>{task + 1}</i> " if by_number else ""
        rows.append(_row(f"after {number_of}{name}", values, task))
    return Markup(
        f'<table class="r{" many" if len(held.tasks) > NAMED else ""}"><thead><tr>'
        f'<th scope="col">tested on</th>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )


def cell(value: float | None) -> str:
    """An accuracy in whole percent; 100 and 0 only where it is exactly that.

    >>> [cell(v) for v in (1.0, 0.999, 0.5, 0.001, 0.0, None)]
    ['100', '>99', '50', '<1', '0', '–']
    """
    if value is None:
        return NONE
    if 0.995 <= value < 1.0:
        return ">99"
    return "<1" if 0.0 < value < 0.005 else f"{value * 100:.0f}"


def operation_tiles(snapshot: Snapshot) -> list[tuple[str, str]]:
    """(figure, what it is) of the operations per bin; empty where the run did not count them."""
    table = snapshot.operations
    synaptic, learning = _table(table, "synaptic_operations"), _table(table, "learning_operations")
    macs, acs = number(synaptic.get("effective_macs")), number(synaptic.get("effective_acs"))
    if macs is None and acs is None:
        return []
    size = number(table.get("footprint_bytes"))
    return [
        (short_count(macs), "effective multiply-accumulates"),
        (short_count(acs), "effective accumulates"),
        (short_count(number(synaptic.get("dense"))), "synaptic operations of a dense network"),
        (percent(number(table.get("activation_sparsity"))), "of neurons without a spike"),
        (percent(number(table.get("connection_sparsity"))), "of weights are zero"),
        (short_count(number(table.get("membrane_updates"))), "membrane potentials updated"),
        (short_count(number(learning.get("total"))), "multiply-accumulates to learn, dense"),
        (megabytes(size, size=1e-6), "footprint: parameters and state"),
    ]


def _table(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = table.get(key)
    return value if isinstance(value, dict) else {}


def _is_best(value: float | None, best: float | None) -> bool:
    return value is not None and value == best


def _row(name: str, values: Row, learned: int) -> str:
    cells = "".join(
        f"<td{_kind(value, i == learned)}>{escape(cell(value))}</td>"
        for i, value in enumerate(values)
    )
    return f'<tr><th scope="row">{name}</th>{cells}</tr>'


def _kind(value: float | None, learned: bool) -> str:
    level = "" if value is None else f"h{round(10 * min(max(value, 0.0), 1.0))}"
    kind = " ".join(part for part in (level, "t" if learned else "") if part)
    return f' class="{kind}"' if kind else ""
