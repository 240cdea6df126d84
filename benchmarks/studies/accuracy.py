"""Prequential accuracy on every labelled stream available, over seeds, with baselines.

Each run is `streamstop.pipeline.run` with the bundled recipe, one pass, from scratch. The baselines
"frozen_features_linear" and "frozen_features_lda" are the same readouts on an untrained network;
the difference to them is what the rule contributes. On the simulated gestures the four arm
rotations, which are mirror images in time, are also scored separately. Writes
docs/results/accuracy.md, and lists missing data sets.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from benchmarks._shared.page import spread
from streamstop.config.bundled import bundled_path
from streamstop.pipeline.configure import load_config
from streamstop.pipeline.environment import versions
from streamstop.pipeline.run import run

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("STREAMSTOP_TEST_DATA", ROOT.parent / "shared" / "data"))
GESTURES = bundled_path("recordings/gestures")
MAKERS = (
    *(
        "headline",
        "linear",
        "frozen_features_linear",
        "lda",
        "frozen_features_lda",
        "lda_counts",
        "softmax_counts",
    ),
    *("majority", "no_change", "initial_network"),
)


class Stream(NamedTuple):
    """A labelled stream: its name in the table, its recipe and data, a group of classes."""

    name: str
    recipe: str
    path: Path
    group: tuple[str, str] = ("", "")  # name of the group, and what its classes' names contain


STREAMS = (
    Stream("dvs128-objects, 0.5 s", "objects", DATA / "dvs128-objects"),
    Stream("nmnist-small, whole recordings", "nmnist", DATA / "nmnist-small" / "Train"),
    Stream("simulated gestures, 1 s", "demo", GESTURES, ("arm rotations", "clockwise")),
    Stream("simulated gestures, tuned", "gestures", GESTURES, ("arm rotations", "clockwise")),
)


class Score(NamedTuple):
    """One decision maker in one run: accuracy overall, over the last third, and in the group."""

    overall: float
    last_third: float
    group: float | None
    group_last_third: float | None


def score(rows: Sequence[dict[str, str]], maker: str, inside: str) -> Score:
    """Accuracy of `maker` over the rows of a segments.csv."""
    hits = [row[maker] == row["label"] for row in rows]
    grouped = [h for h, row in zip(hits, rows, strict=True) if inside and inside in row["label"]]
    late, late_grouped = hits[-round(len(hits) / 3) :], grouped[-round(len(grouped) / 3) :]
    means = [statistics.fmean(h) if h else None for h in (hits, late, grouped, late_grouped)]
    assert means[0] is not None and means[1] is not None
    return Score(means[0], means[1], means[2], means[3])


def run_once(stream: Stream, seed: int, sets: Sequence[str]) -> dict[str, Score]:
    """One pass over one stream; every decision maker's score."""
    with tempfile.TemporaryDirectory() as out:
        chosen = {
            "source.uri": str(stream.path),
            "run.seed": seed,
            "run.output_dir": out,
        }
        result = run(load_config(stream.recipe, list(sets), chosen))
        with (result.run_dir / "segments.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    return {maker: score(rows, maker, stream.group[1]) for maker in MAKERS}


def table(stream: Stream, runs: list[dict[str, Score]]) -> list[str]:
    """The Markdown table of one stream."""
    group = stream.group[0]
    head = ["prediction by", "all segments", "last third"]
    head += [group, f"{group}, last third"] if group else []
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for maker in MAKERS:
        scores = [one[maker] for one in runs]
        cells = [spread(column) for column in zip(*scores, strict=True)][: len(head) - 1]
        lines.append(f"| {maker} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Run all, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="streams whose name contains this")
    parser.add_argument("--set", action="append", default=[], dest="sets")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "accuracy.md")
    args = parser.parse_args()
    page = ["# Prequential accuracy", ""]
    page += [
        f"`{' '.join(['python', '-m', 'benchmarks.studies.accuracy', *sys.argv[1:]])}`: one pass, "
        f"from scratch, iid order, seeds 0-{args.seeds - 1}, mean ± standard deviation over seeds; "
        "every prediction was made before its label was used. Recipes as bundled"
        + (f" but for {', '.join(args.sets)}." if args.sets else "."),
        "",
    ]
    for stream in STREAMS:
        if args.only not in stream.name:
            continue
        page += [f"## {stream.name}", "", f"`streamstop run {stream.recipe}`", ""]
        if not stream.path.exists():
            page += ["Not run: the data are not on this machine.", ""]
            continue
        runs: list[dict[str, Score]] = []
        for seed in range(args.seeds):
            runs.append(run_once(stream, seed, args.sets))
            print(stream.name, seed, runs[-1]["headline"], runs[-1]["linear"], flush=True)
        page += [*table(stream, runs), ""]
    found: dict[str, Any] = versions()
    page += ["Versions: " + ", ".join(f"{k} {v}" for k, v in found.items()) + "."]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text("\n".join(page) + "\n", encoding="utf-8")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
