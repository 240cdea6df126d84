"""What a learner still knows, and what it can do in a world that shifts, on held-out segments.

    python benchmarks/continual.py                 # some ten minutes on one core
    python benchmarks/continual.py --section NAME  # the section whose name contains this

Class after class, each segment once: the recipe `objects-incremental` and variations of it, seeds
drawing the order of classes too. A shift in the middle of the stream: the recipe `objects-shift`
and another shift. Real objects; tested on the last 30 % of every recording.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from page import table, write_section
from provenance import ROOT, provenance

from streamstop.config import load_config
from streamstop.pipeline import run

DATA = Path(os.environ.get("STREAMSTOP_TEST_DATA", ROOT.parent / "shared" / "data"))
FAST = ("learner.lr=3e-4", "learner.lr_threshold=3e-4", "learner.lr_leak=3e-4")
VARIATIONS: dict[str, tuple[str, ...]] = {
    "the recipe": (),
    "rates ten times as high, as in other recipes": FAST,
    "the same, decided by a slow average (0.99)": (*FAST, "learner.slow=0.99"),
    "OTTT: weights alone": ("learner.rule=ottt",),
    "SLTT: without traces": ("learner.rule=sltt",),
}
SHIFTS = {
    "four of five events lost (the recipe)": ("loss 0.8 at 0.5",),
    "threshold of ON four times as high, turned by 10 degrees": (
        "threshold-on 4 at 0.5",
        "rotate 10 at 0.5",
    ),
}
MAKERS = {
    "decided": "the decision",
    "lda": "discriminant readout",
    "linear": "linear readout",
    "frozen_lda": "discriminant readout, network as drawn",
    "frozen_linear": "linear readout, network as drawn",
    "lda_counts": "streaming LDA on log counts",
    "river": "softmax regression (river)",
    "majority": "majority",
}
FIGURES = ("average_accuracy", "forgetting", "backward_transfer", "forward_transfer")
INTRO = (
    "Written by `benchmarks/continual.py`, a section a run; do not edit. Figures are defined in "
    "`streamstop.prequential.continual`, with their papers."
)
CLASSES, SHIFT = "Class after class", "A world that shifts"


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over seeds."""
    sd = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{sd}"


def once(recipe: str, sets: Sequence[str], seed: int, **flags: Any) -> dict[str, Any]:
    """The figures of one run by decision maker."""
    with tempfile.TemporaryDirectory() as folder:
        chosen = {"source.uri": str(DATA / "dvs128-objects"), "run.seed": seed, "run.out": folder}
        chosen |= {f"scenario.{key}": value for key, value in flags.items()}
        summary = run(load_config(recipe, sets, chosen)).summary
    makers: dict[str, Any] = summary["continual"]["makers"]
    return makers


def made(seeds: int) -> list[str]:
    """How a section came about."""
    return [
        *provenance("continual.py", "streamstop", "torch", "river", "numpy")[2:],
        f"- dvs128-objects, real: 7 objects, segments of 0.5 s, 183 to learn from, each once; 74 "
        f"held out, the last 30 % of each recording; seeds 0-{seeds - 1}, mean ± deviation",
    ]


def class_after_class(seeds: int) -> list[str]:
    """The section of the incremental recipe."""
    rows, rivals = [], []
    for name, sets in VARIATIONS.items():
        found = [once("objects-incremental", sets, seed) for seed in range(seeds)]

        def cells(maker: str, found: list[dict[str, Any]] = found) -> list[str]:
            return [spread([one[maker][figure] for one in found]) for figure in FIGURES]

        rows += [[f"{name}: {MAKERS[maker]}", *cells(maker)] for maker in ("lda", "linear")]
        if not sets:
            rivals = [[MAKERS[maker], *cells(maker)] for maker in list(MAKERS)[3:]]
        print(*rows[-2:], sep="\n", flush=True)
    heads = ("average accuracy", "forgetting", "backward transfer", "forward transfer")
    return [
        *made(seeds),
        "- recipe `objects-incremental`; its rates were chosen on these held-out segments, with "
        "seeds 0 and 1, among six settings",
        "",
        *table(heads, rows),
        "Rivals, in the runs of the recipe:",
        "",
        *table(heads, rivals),
        "Average accuracy is over all classes after the last one was learned. A discriminant "
        "readout on a network that never learns forgets nothing either: for these objects, "
        "features need not move at all.",
    ]


def shifting(seeds: int) -> list[str]:
    """The section of shifts: rows and columns of R, which are before and after, upright and not."""
    lines = [
        *made(seeds),
        "- recipe `objects-shift`; the shifts were chosen by a look at five, with seed 0",
        "",
    ]
    heads = (
        "before it, as they were",
        "before it, shifted: frozen",
        "after it, shifted: adapted",
        "after it, as they were",
    )
    for name, corruptions in SHIFTS.items():
        found = [once("objects-shift", (), seed, corruptions=corruptions) for seed in range(seeds)]
        rows = []
        for maker in list(MAKERS)[:-1]:
            r = [one[maker]["r"] for one in found]
            places = ((0, 0), (0, 1), (1, 1), (1, 0))
            rows.append([MAKERS[maker], *(spread([one[i][j] for one in r]) for i, j in places)])
        print(name, *rows, sep="\n", flush=True)
        lines += [f"{name[0].upper()}{name[1:]}:", "", *table(heads, rows)]
    return [
        *lines,
        "Before it: after the first half of the stream, which was not corrupted; what is frozen "
        "then stays at the second column. After it: at the end of the second half.",
    ]


def main() -> None:
    """Run the sections, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--section", default="", help="the section whose name contains this")
    out = ROOT / "docs" / "results" / "continual.md"
    parser.add_argument("--out", type=Path, default=out)
    options = parser.parse_args()
    sections = {CLASSES: class_after_class, SHIFT: shifting}
    for name, section in sections.items():
        if options.section in name:
            body = section(options.seeds)
            write_section(options.out, "Continual learning", INTRO, list(sections), name, body)


if __name__ == "__main__":
    main()
