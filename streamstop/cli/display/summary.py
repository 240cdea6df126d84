"""Prints the results of a run: its scores and baselines, its ledger, the path of its report.

Guarantees:
- The same result sentence as in the report; warnings come before it.
- No line is wider than the console.

Does not:
- Read files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from streamstop.cli.display.text import plain, print_paragraph, print_path
from streamstop.report.formatting import TIMES, percent, plural, rate, shorten, whole, with_unit
from streamstop.report.names import UNKNOWN_DATA, name_of
from streamstop.report.text import run as run_text
from streamstop.report.text.scenario import best_and_worst
from streamstop.report.views.run import Snapshot, summary_snapshot

BAR = 20
MAX_PREDICTIONS = 12


def print_summary(
    summary: Mapping[str, Any], report_path: Path | str | None, console: Console | None = None
) -> None:
    """Print the results of a run.

    Parameters
    ----------
    summary : content of summary.json.
    report_path : path of the report; None without one.
    console : where to print; standard output if None.

    Raises
    ------
    UsageError
        The summary does not have the shape that this version writes.
    """
    console = console or Console()
    snapshot = summary_snapshot(summary)
    console.print()
    for warning in run_text.warnings(snapshot):
        print_paragraph(console, warning, "yellow")
    if snapshot.simulated:
        console.print(Text("SIMULATED DATA", style="bold yellow"))
    elif snapshot.data != "real":
        console.print(Text(UNKNOWN_DATA.upper(), style="yellow"))
    print_paragraph(console, run_text.result_sentence(snapshot), "bold")
    console.print()
    if snapshot.labelled:
        console.print(Padding(_scores(snapshot), (0, 0, 1, 2)))
    elif snapshot.predictions:
        console.print(Padding(_predictions(snapshot), (0, 0, 1, 2)))
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    style = "" if snapshot.ledger.balances else "bold red"
    if domains := best_and_worst(snapshot):
        facts.add_row("domains", Text(plain(domains)))
    facts.add_row("events", Text(plain(run_text.ledger_equation(snapshot)), style=style))
    facts.add_row("speed", Text(plain(_speed(snapshot))))
    if snapshot.operations.get("executions"):
        facts.add_row("operations", Text(plain(_operations(snapshot.operations))))
    console.print(facts)
    if report_path is not None:
        print_path(console, "report", report_path)


def _scores(snapshot: Snapshot) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    table.add_column("prediction by", no_wrap=True, overflow="ellipsis")
    table.add_column("", no_wrap=True)
    table.add_column("all", justify="right", no_wrap=True)
    table.add_column("last third", justify="right", no_wrap=True)
    styles = {"headline": "bold", "readout": "", "baseline": ""}
    for score in snapshot.ranking:
        style = (
            "blue"
            if score.kind != "baseline"
            else "yellow"
            if score == snapshot.best_baseline
            else ""
        )
        table.add_row(
            Text(shorten(plain(name_of(score.key, pretrained=snapshot.trained)), 36)),
            _bar(score.segment, style or "dim"),
            plain(percent(score.segment)),
            plain(percent(score.last_third)),
            style=styles[score.kind],
        )
    return table


def _predictions(snapshot: Snapshot) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    table.add_column("predicted", no_wrap=True, overflow="ellipsis")
    table.add_column("", no_wrap=True)
    table.add_column("bins", justify="right", no_wrap=True)
    total = sum(n for _, n in snapshot.predictions) or 1
    ranked = sorted(snapshot.predictions, key=lambda pair: -pair[1])
    for name, count in ranked[:MAX_PREDICTIONS]:
        table.add_row(Text(shorten(plain(name), 36)), _bar(count / total, "blue"), whole(count))
    if len(ranked) > MAX_PREDICTIONS:
        left = sum(n for _, n in ranked[MAX_PREDICTIONS:])
        others = plural(len(ranked) - MAX_PREDICTIONS, "other class")
        table.add_row(others, "", whole(left), style="dim")
    return table


def _bar(fraction: float | None, style: str) -> Text:
    length = round(BAR * (fraction or 0.0))
    return Text("\N{BOX DRAWINGS HEAVY HORIZONTAL}" * length, style=style)


def _speed(snapshot: Snapshot) -> str:
    speed = snapshot.speed
    return (
        f"{rate(speed.get('events_per_s'))}, "
        f"{with_unit(speed.get('real_time_factor'), TIMES)} real time, "
        f"{with_unit(speed.get('step_ms_p50'), 'ms')} per step "
        f"(99th percentile {with_unit(speed.get('step_ms_p99'), 'ms')})"
    ) + _latency(speed)


def _operations(found: Mapping[str, Any]) -> str:
    """Operations per bin: effective synaptic ones, those of a dense network, those to learn."""
    synaptic = found["synaptic_operations"]
    effective = synaptic["effective_macs"] + synaptic["effective_acs"]
    learning = found["learning_operations"]["total"]
    return (
        f"{whole(round(effective))} of {whole(synaptic['dense'])} synaptic per bin, "
        f"{percent(found['activation_sparsity'])} of neurons without a spike; "
        + (f"{whole(round(learning))} per bin to learn" if learning else "none to learn")
    )


def _latency(speed: Mapping[str, Any]) -> str:
    """Latency from event to prediction, of a live or paced source."""
    if speed.get("latency_ms_p50") is None:
        return ""
    p50, p99 = (with_unit(speed.get(f"latency_ms_{p}"), "ms") for p in ("p50", "p99"))
    return f"; {p50} from event to prediction (99th percentile {p99})"
