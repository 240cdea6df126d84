"""The report of a run: one self-contained HTML file made from a `Snapshot`.

Guarantees:
- `render` is a pure function: the same snapshot gives the same characters.
- The page loads nothing and runs nothing; its own content policy forbids both.
- Everything from a file or a command line is escaped.
- The page is smaller than 1 MB, however long the run was.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from streamstop.report.charts import lines as charts
from streamstop.report.charts.accuracy import accuracy_chart, undrawn_marks
from streamstop.report.charts.lines import Line, last
from streamstop.report.charts.pictures import picture_svg
from streamstop.report.formatting import figure
from streamstop.report.names import style_of
from streamstop.report.pages.base import (
    MAX_CONFIG_SHOWN,
    MAX_LAYERS,
    environment,
    layer_style,
    thin,
    write_atomically,
)
from streamstop.report.text import run as run_text
from streamstop.report.text import scenario as scenario_text
from streamstop.report.text import scenario_tables as tables
from streamstop.report.views.metrics_log import LayerCurves
from streamstop.report.views.run import Snapshot, load_snapshot
from streamstop.report.views.samples import SampleError

MAX_HEAT_CLASSES = 40
MAX_CLASS_ROWS = 120
PICTURE_WIDTH, ERROR_WIDTH = 320, 160


def write_report(run_dir: Path | str, to: Path | str | None = None) -> Path:
    """Write the report of a run's folder, in it as `report.html` or at `to`; return its path.

    Raises
    ------
    UsageError
        The folder is not a finished run's.
    """
    folder = Path(run_dir)
    path = folder / "report.html" if to is None else Path(to)
    return write_atomically(render(load_snapshot(folder)), path)


def render(snapshot: Snapshot) -> str:
    """The page of a snapshot."""
    template = environment().get_template("run.html.j2")
    return template.render(
        s=snapshot,
        note_of=run_text.note_of,
        style_of=style_of,
        line_key=charts.line_key,
        result=run_text.result_sentence(snapshot),
        evidence=run_text.significance_sentence(snapshot),
        changes=scenario_text.describe_changes(snapshot),
        long_runs_note=scenario_text.long_runs_note(snapshot),
        warnings=run_text.warnings(snapshot),
        protocol=run_text.protocol(snapshot),
        further_scores=run_text.further_scores(snapshot),
        accuracy_chart=accuracy_chart(snapshot),
        undrawn_marks=undrawn_marks(snapshot.scenario),
        detector_rows=scenario_text.detector_rows(snapshot),
        silent_detectors=scenario_text.silent_detectors(snapshot),
        domain_columns=tables.domain_columns(snapshot),
        domain_rows=tables.domain_rows(snapshot),
        held=held_out(snapshot),
        operations=tables.operation_tiles(snapshot),
        pictures=sample_pictures(snapshot),
        errors=error_pictures(snapshot),
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
    """The held-out evaluation, for the template; empty without one."""
    held = snapshot.held_out
    if held is None or held.learner is None:
        return {}
    return {
        "matrix": tables.matrix(held, held.learner),
        "before": bool(held.learner.before),
        "numbered": tables.uses_numbers(held),
        "rows": tables.transfer_rows(snapshot),
        "others": tables.other_matrices(snapshot),
    }


def sample_pictures(snapshot: Snapshot) -> list[tuple[str, str, Markup]]:
    """(title, caption, picture) of the events and of one bin as the network receives it."""
    samples, out = snapshot.samples, []
    for key, title, caption, picture in (
        ("events", "Events", run_text.event_caption(samples), samples.event_picture),
        ("input", "Network input", run_text.input_caption(samples), samples.network_input),
    ):
        if picture is not None:
            drawn = picture_svg(
                picture.picture, key=key, title=title, desc=caption, width=PICTURE_WIDTH
            )
            out.append((title, caption, drawn))
    return out


def error_pictures(snapshot: Snapshot) -> list[tuple[SampleError, Markup]]:
    """Wrongly predicted segments with their pictures."""
    return [
        (
            one,
            picture_svg(
                one.picture,
                key=f"error-{i}",
                title=f"Segment {one.segment}",
                desc=f"True class {one.label}, predicted {one.prediction}.",
                width=ERROR_WIDTH,
            ),
        )
        for i, one in enumerate(snapshot.samples.errors)
    ]


def layer_charts(snapshot: Snapshot) -> Markup:
    """Firing rates, thresholds and leaks by layer, and the loss: small charts side by side."""
    curves = snapshot.curves
    layers = curves.layers[:MAX_LAYERS]
    x = thin(curves.x)
    charted: list[tuple[str, str, list[Line]]] = [
        ("firing", "Firing rate", _layer_lines(layers, "firing_rate")),
        ("threshold", "Threshold, mean ± sd", _layer_lines(layers, "threshold")),
        ("leak", "Leak", _layer_lines(layers, "leak")),
        ("loss", "Loss", [Line("loss", thin(curves.loss), 6)]),
    ]
    out = []
    for key, name, lines in charted:
        if not any(value is not None for line in lines for value in line.y):
            continue
        ends = "; ".join(f"{line.label} {figure(last(line.y))}" for line in lines)
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
    """The confusion matrix as a heat map; empty where it would be too large to read."""
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
        desc=f"{right} of {total} predicted segments lie on the diagonal.",
    )


def frequent_confusions(snapshot: Snapshot, limit: int = 20) -> list[tuple[str, str, int]]:
    """(true, predicted, segments) of the most frequent errors, for matrices too large to draw."""
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
    """The numbers of the classes in the confusion matrix; empty where it uses names."""
    drawn = 0 < len(snapshot.confusion) <= MAX_HEAT_CLASSES
    if not drawn or not charts.needs_numbers(snapshot.classes):
        return {}
    return {name: index for index, name in enumerate(snapshot.classes, start=1)}


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
