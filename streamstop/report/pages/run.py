"""The report: one self-contained HTML file made from a `Snapshot`.

Promises: `render` is a pure function, the same snapshot gives the same characters; the page loads
nothing and runs nothing (its own content policy forbids both); whatever came from a file or a
command line is escaped; the file stays under 1 MB however long the run was and however much its
world changed. `write_report` puts the page in place whole or not at all.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import jinja2
from markupsafe import Markup

from streamstop.errors import UsageError
from streamstop.report.charts import lines as charts
from streamstop.report.charts.accuracy import accuracy_chart, marks_left
from streamstop.report.charts.lines import Line, last
from streamstop.report.text import run as words
from streamstop.report.text import scenario as changing_words
from streamstop.report.text import scenario_tables as world_tables
from streamstop.report.views.metrics_log import LayerCurves
from streamstop.report.views.run import Snapshot, load_snapshot

T = TypeVar("T")

MAX_HEAT_CLASSES = 40
MAX_CLASS_ROWS = 120
MAX_LAYERS = 16
MAX_CONFIG_SHOWN = 20_000
LAYER_POINTS = 200


def write_report(run_dir: Path | str, to: Path | str | None = None) -> Path:
    """Make the report of a run's folder, in it as `report.html` or at `to`; give its path.

    Raises
    ------
    UsageError
        The folder is not that of a finished run.
    """
    folder = Path(run_dir)
    path = folder / "report.html" if to is None else Path(to)
    return put_in_place(render(load_snapshot(folder)), path)


def place_for(out: Path | str) -> Path:
    """Where --out says that a page goes.

    Raises UsageError where that is a folder, or in none that is there.
    """
    path = Path(out)
    if path.is_dir():
        raise UsageError(f"--out wants a file, and this is a folder: {path}")
    if not path.parent.is_dir():
        raise UsageError(f"--out wants a file in a folder that is there: {path}")
    return path


def put_in_place(page: str, path: Path) -> Path:
    """Write a page to `path`, whole or not at all; give the path."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".report-", suffix=".html")
    try:
        # A path that is no valid text has lone surrogates in it, which no file can hold.
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace", newline="\n") as file:
            file.write(page)
        # mkstemp makes files that only their owner can read; a report is there to be shown.
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path


def render(snapshot: Snapshot) -> str:
    """The page for a snapshot."""
    template = environment().get_template("run.html.j2")
    return template.render(
        s=snapshot,
        words=words,
        verdict=words.verdict(snapshot),
        doubt=words.doubt(snapshot),
        course=changing_words.course(snapshot),
        aside=changing_words.aside(snapshot),
        warnings=words.warnings(snapshot),
        protocol=words.protocol(snapshot),
        accuracy_chart=accuracy_chart(snapshot),
        marks_left=marks_left(snapshot.world),
        noticed=changing_words.noticed(snapshot),
        silent=changing_words.silent(snapshot),
        domain_columns=world_tables.domain_columns(snapshot),
        domain_rows=world_tables.domain_rows(snapshot),
        held=held_out(snapshot),
        operations=world_tables.operation_tiles(snapshot),
        layer_charts=layer_charts(snapshot),
        confusion=confusion_map(snapshot),
        numbers=_numbers(snapshot),
        confusions=frequent_confusions(snapshot),
        per_class=snapshot.per_class[:MAX_CLASS_ROWS],
        per_class_left=max(0, len(snapshot.per_class) - MAX_CLASS_ROWS),
        predictions=sorted(snapshot.predictions, key=lambda p: -p[1])[:MAX_CLASS_ROWS],
        config=snapshot.config[:MAX_CONFIG_SHOWN],
        config_cut=len(snapshot.config) > MAX_CONFIG_SHOWN,
    )


def held_out(snapshot: Snapshot) -> dict[str, object]:
    """What the template says of the tests on what is held out; empty where there was none."""
    held = snapshot.held_out
    if held is None or held.learner is None:
        return {}
    return {
        "matrix": world_tables.matrix(held, held.learner),
        "before": bool(held.learner.before),
        "numbered": world_tables.numbered(held),
        "rows": world_tables.transfer_rows(snapshot),
        "others": world_tables.other_matrices(snapshot),
    }


def layer_charts(snapshot: Snapshot) -> Markup:
    """Firing rates, thresholds and leaks by layer, and the loss: small charts side by side."""
    curves = snapshot.curves
    layers = curves.layers[:MAX_LAYERS]
    x = thin(curves.x)
    charted: list[tuple[str, str, list[Line]]] = [
        ("firing", "Firing rate", _layer_lines(layers, "firing_rate")),
        ("threshold", "Threshold, mean and spread", _layer_lines(layers, "threshold")),
        ("leak", "Leak", _layer_lines(layers, "leak")),
        ("loss", "Loss", [Line("loss", thin(curves.loss), 6)]),
    ]
    out = []
    for key, name, lines in charted:
        if not any(value is not None for line in lines for value in line.y):
            continue
        ends = "; ".join(f"{line.label} {words.figure(last(line.y))}" for line in lines)
        drawn = charts.line_chart(
            lines,
            x,
            key=key,
            title=f"{name} over the run",
            desc=f"At the end: {ends}.",
            x_label=curves.x_label,
            height=200,
            gutter=14.0,
        )
        out.append(Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(name, drawn))
    if not out:
        return Markup()
    keys = charts.legend([Line(c.name, (), *layer_style(i)) for i, c in enumerate(layers)])
    return keys + Markup('<div class="small-charts">{}</div>').format(Markup().join(out))


def confusion_map(snapshot: Snapshot) -> Markup:
    """The confusion matrix as a picture; nothing where it would be too large to read."""
    matrix = snapshot.confusion
    if not 0 < len(matrix) <= MAX_HEAT_CLASSES:
        return Markup()
    total = sum(map(sum, matrix))
    right = sum(row[i] for i, row in enumerate(matrix))
    return charts.heat_map(
        matrix,
        snapshot.classes,
        key="confusion",
        title="Confusion matrix",
        desc=f"{right} of {total} decided segments lie on the diagonal.",
    )


def frequent_confusions(snapshot: Snapshot, limit: int = 20) -> list[tuple[str, str, int]]:
    """(true, decided, segments) of the most frequent errors, for matrices too large to draw."""
    if len(snapshot.confusion) <= MAX_HEAT_CLASSES:
        return []
    wrong = (
        (-count, i, j)
        for i, row in enumerate(snapshot.confusion)
        for j, count in enumerate(row)
        if i != j and count
    )
    names = snapshot.classes
    return [(names[i], names[j], -count) for count, i, j in sorted(wrong)[:limit]]


def _numbers(snapshot: Snapshot) -> dict[str, int]:
    """The numbers by which the confusion matrix calls its classes; empty where it uses names."""
    drawn = 0 < len(snapshot.confusion) <= MAX_HEAT_CLASSES
    if not drawn or not charts.needs_numbers(snapshot.classes):
        return {}
    return {name: index for index, name in enumerate(snapshot.classes, start=1)}


def environment() -> jinja2.Environment:
    """What templates of this folder are rendered by."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("streamstop", "report/templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["short"] = charts.shorten
    return environment


def _layer_lines(layers: Sequence[LayerCurves], quantity: str) -> list[Line]:
    lines = []
    for index, layer in enumerate(layers):
        y = thin(getattr(layer, quantity))
        low = high = None
        if quantity == "threshold":
            spread = thin(layer.threshold_sd)
            both = [
                (v, s) if v is not None and s is not None else None
                for v, s in zip(y, spread, strict=True)
            ]
            low = [None if pair is None else pair[0] - pair[1] for pair in both]
            high = [None if pair is None else pair[0] + pair[1] for pair in both]
        colour, dash, weight = layer_style(index)
        lines.append(Line(layer.name, y, colour, dash, weight, low=low, high=high))
    return lines


def layer_style(index: int) -> tuple[int, str, float]:
    """Colour, dash and weight of a line: seven colours in turn, then the same ones dashed."""
    colours = (0, 1, 2, 3, 4, 5, 6)
    return colours[index % 7], ("", "6 3", "1.5 3")[index // 7 % 3], 1.8


def thin(values: tuple[T, ...]) -> tuple[T, ...]:
    """Every so-manieth value, the first and the last among them: a small chart has few columns."""
    every = -(-len(values) // LAYER_POINTS)
    if every < 2:
        return values
    kept = values[::every]
    return kept if (len(values) - 1) % every == 0 else (*kept, values[-1])
