"""The page of several seeds: one self-contained HTML file in their common folder.

Guarantees:
- A pure function of the summary and the files of the runs.
- No script, nothing loaded, everything escaped, bounded however long the runs were.
- It links to the reports of the runs beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from streamstop.errors import UsageError
from streamstop.experiments.aggregate import KIND
from streamstop.experiments.groups import Group, best_baseline, group_runs, read_run
from streamstop.pipeline.segments_file import WINDOW
from streamstop.pipeline.summary_file import read_summary
from streamstop.report.charts.lines import line_key
from streamstop.report.charts.seeds import Dots, curves_chart, dot_plot
from streamstop.report.formatting import whole
from streamstop.report.names import (
    HEADLINE,
    INITIAL_NETWORK,
    LDA_COUNTS,
    MARGINS,
    N_SEGMENTS,
    name_of,
    style_of,
)
from streamstop.report.pages.base import environment, write_atomically
from streamstop.report.text import seeds as seeds_text

MAX_ROWS = 120

SCORES = (
    ("balanced", "balanced accuracy: mean recall over classes", True),
    ("kappa", "kappa: agreement beyond chance", False),
    ("kappa_m", "kappa M: beyond the majority class", False),
    ("bin", "accuracy per bin (neighbouring bins share their label)", True),
    ("kappa_t_bin", "kappa temporal per bin: beyond repeating the last label", False),
)

CONTINUAL = {
    "average_accuracy": "average accuracy",
    "forgetting": "forgetting",
    "backward_transfer": "backward transfer",
    "forward_transfer": "forward transfer",
}


def write_joint_report(folder: Path | str) -> Path:
    """Write `report.html` in the folder of several seeds; return its path.

    Raises UsageError where the folder is not one, or cannot be read.
    """
    folder = Path(folder)
    summary = read_summary(folder)
    if summary.get("kind") != KIND:
        raise UsageError(f"not the folder of several seeds: {folder}")
    try:
        names = [run["folder"] for run in summary["runs"] if run["folder"]]
        groups, _ = group_runs([read_run(folder / name) for name in names]) if names else ([], [])
        page = render(summary, groups[0] if groups else None)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            "summary.json does not have the shape this version of streamstop reads "
            f"({type(error).__name__}: {error}): {folder}"
        ) from error
    return write_atomically(page, folder / "report.html")


def render(summary: Mapping[str, Any], group: Group | None) -> str:
    """The page of a summary of several seeds.

    group : its runs, for the charts; None without runs.
    """
    makers = _makers(summary) if summary.get("accuracy") else []
    near = [row for row in makers if _near(row, makers[0])]
    left = [row["name"] for row in makers if row not in near]
    return (
        environment()
        .get_template("seeds.html.j2")
        .render(
            s=summary,
            segments=summary.get(N_SEGMENTS),
            text=seeds_text,
            result=seeds_text.seeds_sentence(summary),
            evidence=seeds_text.margin_sentence(summary),
            makers=makers,
            dots=_dots(near, group),
            dots_left=_listed(left),
            curves=_curves(summary, group),
            window=WINDOW,
            scores=list(_scores(summary.get("accuracy") or {})),
            tables=list(_tables(summary)),
        )
    )


def _makers(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Decision makers with their figures, best first; on a tie the learner comes last."""
    best = best_baseline(summary)
    margins = summary.get(MARGINS) or {}
    rows = []
    for key, kind, path, values in (
        *(
            (key, "strongest" if key == best else "", ("baselines", key), values)
            for key, values in (summary.get("baselines") or {}).items()
        ),
        *(
            (key, "", ("accuracy_by_readout", key), values)
            for key, values in (summary.get("accuracy_by_readout") or {}).items()
        ),
        (HEADLINE, "headline", ("accuracy",), summary["accuracy"]),
    ):
        if values and values.get("segment"):
            rows.append(
                {
                    "key": key,
                    "name": _name(key, summary),
                    "line": line_key(*style_of(key)),
                    "kind": kind,
                    "path": path,
                    "all": values["segment"],
                    "last": values.get("segment_last_third"),
                    "less": margins.get(key, {}).get("segment"),
                }
            )
    return sorted(rows, key=lambda row: -row["all"]["mean"])


def _name(key: str, summary: Mapping[str, Any]) -> str:
    return name_of(key, pretrained=bool(summary.get("weights")))


def _near(row: Mapping[str, Any], best: Mapping[str, Any]) -> bool:
    """Whether a row fits on the axis of the best rows without compressing them."""
    return bool(row["all"]["mean"] >= best["all"]["mean"] / 2 or row["key"] == HEADLINE)


def _dots(rows: Sequence[Mapping[str, Any]], group: Group | None) -> Markup:
    if group is None:
        return Markup()
    drawn = [
        Dots(
            row["name"],
            row["all"],
            group.values(*row["path"], "segment"),
            seeds_text.percent_sd(row["all"]),
            style_of(row["key"])[0],
        )
        for row in rows
    ]
    desc = "; ".join(f"{row.label} {row.note}" for row in drawn)
    return dot_plot(drawn, key="dots", title="Accuracy of each seed", desc=f"{desc}.")


def _curves(summary: Mapping[str, Any], group: Group | None) -> Markup:
    if group is None or not summary.get("accuracy"):
        return Markup()
    lines = [(group, HEADLINE, name_of(HEADLINE), style_of(HEADLINE))]
    if best := best_baseline(summary):
        lines.append((group, best, _name(best, summary), style_of(best)))
    return curves_chart(lines, key="accuracy", title="Accuracy over the run, mean of the seeds")


def _scores(accuracy: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, name, is_share in SCORES:
        if accuracy.get(key):
            form = seeds_text.percent_sd if is_share else seeds_text.figure_sd
            yield name, form(accuracy[key])


def _tables(summary: Mapping[str, Any]) -> Iterator[tuple[str, str, list[list[str]]]]:
    """(title, note, rows with the heads first): domains, classes, held-out evaluation."""
    percent_sd, figure_sd = seeds_text.percent_sd, seeds_text.figure_sd
    domains = [row for row in summary.get("per_domain") or () if row.get(HEADLINE)]
    if domains:
        baselines = [key for key in (best_baseline(summary), LDA_COUNTS, INITIAL_NETWORK) if key]
        baselines = [
            key for key in dict.fromkeys(baselines) if any(row.get(key) for row in domains)
        ]
        rows = [
            ["domain", "segments", name_of(HEADLINE), *(_name(key, summary) for key in baselines)]
        ]
        rows += [
            [
                str(row["domain"] or "further domains"),
                whole(row["segments"]["mean"]),
                percent_sd(row[HEADLINE]),
                *(percent_sd(row.get(key)) for key in baselines),
            ]
            for row in domains[:MAX_ROWS]
        ]
        yield "By domain", "Fraction of segments predicted correctly, over seeds.", rows
    classes = summary.get("per_class") or ()
    if classes:
        rows = [["class", "segments", "recall", "precision"]]
        rows += [
            [
                str(row["class"]),
                whole(row["segments"]["mean"] if row.get("segments") else None),
                percent_sd(row.get("recall")),
                percent_sd(row.get("precision")),
            ]
            for row in classes[:MAX_ROWS]
        ]
        note = (
            "Recall: correct fraction of the segments of a class. Precision: correct fraction of "
        )
        yield "By class", f"{note}the predictions of a class. Over seeds.", rows
    makers = (summary.get("continual") or {}).get("makers") or {}
    if makers:
        rows = [["prediction by", *CONTINUAL.values()]]
        rows += [
            [
                _name(name, summary),
                *(figure_sd(figures.get(key)) for key in CONTINUAL),
            ]
            for name, figures in makers.items()
        ]
        yield "Held-out evaluation", "On held-out segments of each task, over seeds.", rows


def _listed(names: Sequence[str]) -> str:
    text = ", ".join(names)
    return text[:1].upper() + text[1:]
