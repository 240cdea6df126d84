"""The tables of a changing world: accuracy by domain, and R with its figures, for the template.

Promises: pure functions of a `Snapshot`; the best of a row is marked in weight and by a sign, not
by colour; R is a table that says its numbers, shaded by them; at most MAX_CELLS cells are drawn of
those matrices that are not the learner's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from streamstop.pipeline.summary_file import number
from streamstop.report.formatting import NONE, megabytes, percent, shorten
from streamstop.report.names import SHORT, name_of
from streamstop.report.text.scenario import count_of, domain_name
from streamstop.report.views.run import Snapshot
from streamstop.report.views.scenario import Examined, HeldOut, Row

COLUMNS = (
    *("decided", "lda_counts", "river", "frozen_lda", "frozen"),
    *("frozen_discriminant", "linear", "lda", "frozen_linear", "majority", "no_change"),
)
"""The order of decision makers in the table of domains: the learner, then who rivals it most."""

MAX_CELLS = 400
"""A rival's R that is larger stays in summary.json."""

NAMED = 12
"""Up to so many tasks stand above R by name, where the names are short; else by number."""

NAME_LETTERS = 10


@dataclass(frozen=True, slots=True)
class DomainRow:
    """A row of the table: number on the chart, name, segments, (accuracy, whether best) each."""

    number: str
    name: str
    segments: int
    cells: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class TransferRow:
    """One decision maker on what is held out; `best` of the average accuracies."""

    key: str
    tested: Examined
    best: bool


def domain_columns(snapshot: Snapshot) -> list[tuple[str, str]]:
    """(key, name) of the decision makers that any domain has."""
    there = dict.fromkeys(key for one in snapshot.domains for key in one.accuracy)
    order = [key for key in COLUMNS if key in there] + [k for k in there if k not in COLUMNS]
    return [(key, SHORT.get(key, name_of(key))) for key in order[:12]]


def domain_rows(snapshot: Snapshot) -> list[DomainRow]:
    """The domains in the order in which they came; none where there is a single one."""
    if len(snapshot.domains) < 2:
        return []
    names = snapshot.world.names
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
    """Who was tested, best average accuracy first; between equals the learner's own last."""
    if snapshot.held_out is None:
        return []
    own = {"decided": 2, "linear": 1, "lda": 1}
    ranked = sorted(
        snapshot.held_out.tested,
        key=lambda one: (
            one.average_accuracy is None,
            -(one.average_accuracy or 0.0),
            own.get(one.key, 0),
        ),
    )
    best = ranked[0].average_accuracy if ranked else None
    return [
        TransferRow(
            "decision" if one.key == "decided" else one.key,
            one,
            _is_best(one.average_accuracy, best),
        )
        for one in ranked
    ]


def other_matrices(snapshot: Snapshot) -> list[tuple[str, Markup]]:
    """(name, R) of all but the learner, where they are small enough to be read."""
    held = snapshot.held_out
    if held is None or len(held.tasks) * (len(held.taught) + 1) > MAX_CELLS:
        return []
    return [
        (name_of(row.key), matrix(held, row.tested))
        for row in transfer_rows(snapshot)
        if row.tested is not held.learner
    ]


def numbered(held: HeldOut) -> bool:
    """Whether tasks stand above R by number."""
    return len(held.tasks) > NAMED or any(len(name) > NAME_LETTERS for name in held.tasks)


def matrix(held: HeldOut, tested: Examined) -> Markup:
    """R of one decision maker: a row for each test, a column for each task, in percent.

    A cell's shade is its accuracy; the task that a span taught is framed in the span's row.
    """
    by_number = numbered(held)
    heads = "".join(
        f'<th scope="col" title="{name}">{i}</th>' if by_number else f'<th scope="col">{name}</th>'
        for i, name in enumerate((escape(shorten(n, 60)) for n in held.tasks), start=1)
    )
    rows = [_row("before", tested.before, -1)] if tested.before else []
    for task, values in zip(held.taught, tested.r, strict=True):
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
    """(figure, what it is) of what a bin costs; nothing where the run does not say."""
    said = snapshot.operations
    synaptic, learning = _table(said, "synaptic_operations"), _table(said, "learning_operations")
    macs, acs = number(synaptic.get("effective_macs")), number(synaptic.get("effective_acs"))
    if macs is None and acs is None:
        return []
    size = number(said.get("footprint_bytes"))
    return [
        (count_of(macs), "multiply-accumulates that were needed"),
        (count_of(acs), "accumulates that were needed"),
        (count_of(number(synaptic.get("dense"))), "synaptic operations if nothing were zero"),
        (percent(number(said.get("activation_sparsity"))), "of neurons silent in a bin"),
        (percent(number(said.get("connection_sparsity"))), "of weights zero"),
        (count_of(number(said.get("membrane_updates"))), "membrane potentials that moved"),
        (count_of(number(learning.get("total"))), "multiply-accumulates of learning, dense"),
        (megabytes(size, size=1e-6), "footprint: parameters and state"),
    ]


def _table(said: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = said.get(key)
    return value if isinstance(value, dict) else {}


def _is_best(value: float | None, best: float | None) -> bool:
    return value is not None and value == best


def _row(name: str, values: Row, taught: int) -> str:
    cells = "".join(
        f"<td{_kind(value, i == taught)}>{escape(cell(value))}</td>"
        for i, value in enumerate(values)
    )
    return f'<tr><th scope="row">{name}</th>{cells}</tr>'


def _kind(value: float | None, taught: bool) -> str:
    level = "" if value is None else f"h{round(10 * min(max(value, 0.0), 1.0))}"
    kind = " ".join(part for part in (level, "t" if taught else "") if part)
    return f' class="{kind}"' if kind else ""
