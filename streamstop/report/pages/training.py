"""The page of a training: one self-contained HTML file.

Guarantees:
- `render` is a pure function of a `TrainView` and the defaults.
- The page loads nothing and runs nothing; everything from a file is escaped.
- The page is bounded, however many epochs, layers and folds there are.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from streamstop.config.recipe import to_toml
from streamstop.config.training import TrainConfig
from streamstop.report.charts import lines as charts
from streamstop.report.charts.lines import Line, Values, last
from streamstop.report.formatting import figure, percent
from streamstop.report.pages.base import (
    MAX_CONFIG_SHOWN,
    MAX_LAYERS,
    environment,
    layer_style,
    thin,
    write_atomically,
)
from streamstop.report.text import training as training_text
from streamstop.report.views.training import Curve, TrainView, load_train_view

LATE_FROM = 8
"""With fewer epochs, the second half has no chart of its own."""

MAX_PARTS = 100
MAX_CHANGED = 80


def write_train_page(folder: Path | str, to: Path | str | None = None) -> Path:
    """Write the page of a training's folder, in it as `train.html` or at `to`; return its path.

    Raises UsageError where the folder is not a finished training's.
    """
    view = load_train_view(Path(folder))
    page = render(view, tomllib.loads(to_toml(TrainConfig())))
    return write_atomically(page, Path(folder) / "train.html" if to is None else Path(to))


def render(view: TrainView, defaults: Mapping[str, Mapping[str, Any]]) -> str:
    """The page of a training.

    defaults : value of every setting, by section and key.
    """
    return (
        environment()
        .get_template("training.html.j2")
        .render(
            v=view,
            s=view.summary,
            percent_of=training_text.percent_of,
            result=training_text.result_sentence(view),
            evidence=training_text.interval_sentence(view),
            warnings=training_text.warnings(view),
            comparisons=list(training_text.comparisons(view)),
            changed=training_text.changed_settings(view, defaults)[:MAX_CHANGED],
            accuracy=accuracy_chart(view),
            inside=inside_charts(view),
            parts=view.parts[:MAX_PARTS],
            config=view.config[:MAX_CONFIG_SHOWN],
        )
    )


def accuracy_chart(view: TrainView) -> Markup:
    """Training and validation accuracy over the epochs, with the selected epoch marked."""
    x = [float(i + 1) for i in range(view.epochs)]
    best = {part.best_epoch for part in view.parts}
    lines = []
    for label, curve, colour in (
        ("validation", view.validation, 0),
        ("training, while learning", view.train, 1),
    ):
        if any(value is not None for value in curve.mean):
            note = percent(last(curve.mean))
            band = (curve.low, curve.high) if len(view.parts) > 1 else (None, None)
            lines.append(Line(label, curve.mean, colour, "", 2.2, note, *band))
    if not lines or not x:
        return Markup()
    kept = lines[0].y if lines[0].label == "validation" else None
    if kept is not None and len(best) == 1:
        at = next(iter(best))
        marked = [value if i + 1 == at else None for i, value in enumerate(kept)]
        lines.append(Line(f"selected epoch: {at}", marked, 7, "", 6.0, percent(last(marked))))
    drawn = charts.line_chart(
        lines,
        x,
        key="accuracy",
        title="Accuracy over the epochs",
        desc="At the end: " + "; ".join(f"{line.label} {line.note}" for line in lines) + ".",
        x_label="epoch",
        y_format=lambda v: f"{v * 100:g}\N{NO-BREAK SPACE}%",
        height=300,
    )
    return Markup('<div class="with-legend">{}{}</div>').format(drawn, charts.legend(lines))


def inside_charts(view: TrainView) -> Markup:
    """Loss and learning rate, leaks and thresholds by layer: small charts side by side."""
    x = thin(tuple(float(i + 1) for i in range(view.epochs)))
    layers = list(view.leaks)[:MAX_LAYERS]
    out = [_late(view)] if view.epochs >= LATE_FROM else []
    for key, name, curves in (
        ("loss", "Loss", {"loss": view.loss}),
        ("rate", "Learning rate at the epoch's end", {"learning rate": view.lr}),
        ("leak", "Leak", {name: view.leaks[name] for name in layers}),
        ("threshold", "Threshold, mean", {k: view.thresholds[k] for k in layers}),
    ):
        lines = [
            _line(label, curve, layer_style(i) if len(curves) > 1 else (6, "", 1.8), view)
            for i, (label, curve) in enumerate(curves.items())
        ]
        if not any(value is not None for line in lines for value in line.y):
            continue
        ends = "; ".join(f"{line.label} {figure(last(line.y))}" for line in lines)
        drawn = charts.line_chart(
            lines,
            x,
            key=key,
            title=f"{name} over the epochs",
            desc=f"At the end: {ends}.",
            x_label="epoch",
            height=200,
            gutter=14.0,
        )
        out.append(Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(name, drawn))
    if not out:
        return Markup()
    keys = charts.legend([Line(name, (), *layer_style(i)) for i, name in enumerate(layers)])
    row = Markup('<div class="row-legend">{}</div>').format(keys) if len(layers) > 1 else Markup()
    return row + Markup('<div class="small-charts">{}</div>').format(Markup().join(out))


def _late(view: TrainView) -> Markup:
    """The validation error over the second half of the epochs, on an axis of its own."""
    begin = view.epochs // 2
    errors = [None if value is None else 1.0 - value for value in view.validation.mean[begin:]]
    if all(value is None for value in errors):
        return Markup()
    drawn = charts.line_chart(
        [Line("validation error", thin(tuple(errors)), 0, "", 1.8)],
        thin(tuple(float(i + 1) for i in range(begin, view.epochs))),
        key="late",
        title="Validation error over the second half of the epochs",
        desc=f"At the end: {percent(last(errors))}.",
        x_label="epoch",
        y_format=lambda v: f"{v * 100:.3g}\N{NO-BREAK SPACE}%",
        height=200,
        gutter=14.0,
    )
    name = "Validation error, second half"
    return Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(name, drawn)


def _line(label: str, curve: Curve, style: tuple[int, str, float], view: TrainView) -> Line:
    colour, dash, weight = style
    low: Values | None = None
    high: Values | None = None
    if len(view.parts) > 1:
        low, high = thin(tuple(curve.low)), thin(tuple(curve.high))
    return Line(label, thin(tuple(curve.mean)), colour, dash, weight, low=low, high=high)
