"""Forgetting and adaptation, measured on held-out segments.

    python -m benchmarks.studies.continual                 # about 45 minutes on one core
    python -m benchmarks.studies.continual --section NAME  # sections whose name contains NAME

Class after class, each segment once: objects, digits and simulated gestures with an incremental
recipe and variants of it, one setting each; seeds also draw the order of classes. The EMA was
chosen on digits and seeds that no figure uses; the learning rates were chosen on the held-out
objects, which that section states. A shift in the middle of the stream: the recipe `objects-shift`
and another shift.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from benchmarks._shared.page import spread, table, write_section
from benchmarks._shared.provenance import ROOT, provenance
from streamstop.config.bundled import bundled_path
from streamstop.pipeline.configure import load_config
from streamstop.pipeline.run import run

DATA = Path(os.environ.get("STREAMSTOP_TEST_DATA", ROOT.parent / "shared" / "data"))
SLOW = "learner.lr=3e-5", "learner.lr_threshold=3e-5", "learner.lr_leak=3e-5"
VARIATIONS: dict[str, tuple[str, ...]] = {
    "the recipe": (),
    "no EMA of the weights": ("learner.ema_decay=0",),
    "softmax over classes seen": ("learner.loss_classes=seen",),
    "softmax over classes of the last 10 segments": ("learner.loss_classes=recent",),
    "a row's rate falls as 1 / n": ("learner.class_lr_decay=1",),
    "other classes' rows stand still": ("learner.other_class_lr_scale=0",),
    "reinitialised with each class": ("learner.reinitialize=per_task",),
    "OTTT: weights alone": ("learner.rule=ottt",),
    "SLTT: without traces": ("learner.rule=sltt",),
}
AVERAGES = (0.0, 0.9, 0.99, 0.999)
"""Candidates for `learner.ema_decay`."""

CHOOSING = (10, 11)
"""Seeds that settings are chosen with; figures are of others."""

DIGITS = 16
"""Recordings of each digit, of one half and of the other."""
SHIFTS = {
    "four of five events lost (the recipe)": ("loss 0.8 at 0.5",),
    "threshold of ON four times as high, turned by 10 degrees": (
        "threshold-on 4 at 0.5",
        "rotate 10 at 0.5",
    ),
}
MAKERS = {
    "headline": "headline prediction",
    "lda": "LDA readout",
    "linear": "linear readout",
    "frozen_features_lda": "LDA readout, untrained network",
    "frozen_features_linear": "linear readout, untrained network",
    "lda_counts": "streaming LDA on log counts",
    "softmax_counts": "softmax regression (river)",
    "majority": "majority",
}
FIGURES = ("average_accuracy", "forgetting", "backward_transfer", "forward_transfer")
INTRO = (
    "Written by `benchmarks/studies/continual.py`, one section per run; do not edit. Figures are "
    "defined in `streamstop.evaluation.continual`, with their papers."
)
CLASSES = "Class after class: "
CHOSEN, SHIFT = "How the slow average was chosen", "A world that shifts"
HEADS = ("average accuracy", "forgetting", "backward transfer", "forward transfer")


def once(recipe: str, source: Path, sets: Sequence[str], seed: int, **flags: Any) -> dict[str, Any]:
    """The figures of one run by decision maker."""
    with tempfile.TemporaryDirectory() as folder:
        chosen = {"source.uri": str(source), "run.seed": seed, "run.output_dir": folder}
        chosen |= {f"scenario.{key}": value for key, value in flags.items()}
        summary = run(load_config(recipe, sets, chosen)).summary
    makers: dict[str, Any] = summary["continual"]["makers"]
    return makers


def made(what: str) -> list[str]:
    """How a section came about."""
    return [
        *provenance("benchmarks.studies.continual", "streamstop", "torch", "river", "numpy")[2:],
        f"- {what}",
    ]


def digits(half: int, folder: Path) -> Path:
    """DIGITS recordings of each digit: every other one by name, from the first or the second on."""
    for of_digit in sorted((DATA / "nmnist-small" / "Train").iterdir()):
        (folder / of_digit.name).mkdir()
        for path in sorted(of_digit.iterdir())[half::2][:DIGITS]:
            shutil.copy(path, folder / of_digit.name)
    return folder


def gestures(folder: Path) -> Path:
    """The bundled recordings in one light."""
    bundled = bundled_path("recordings/gestures")
    for path in [*bundled.glob("*_lab*"), bundled / "gesture_mapping.csv"]:
        shutil.copy(path, folder)
    return folder


@dataclass(frozen=True)
class Stream:
    """A class-incremental stream: its recipe, where its events are, what it is.

    controls : whether it is run by OTTT and SLTT too.
    tuned : what of the recipe was chosen on this very stream.
    """

    recipe: str
    source: Callable[[Path], Path]
    what: str
    sets: tuple[str, ...] = ()
    controls: bool = False
    tuned: str = ""

    def run(self, sets: Sequence[str], seed: int) -> dict[str, Any]:
        """The figures of one run by decision maker."""
        with tempfile.TemporaryDirectory() as folder:
            return once(self.recipe, self.source(Path(folder)), (*self.sets, *sets), seed)


STREAMS = {
    "objects": Stream(
        "objects-incremental",
        lambda _: DATA / "dvs128-objects",
        "dvs128-objects, real: 7 objects, segments of 0.5 s, 183 to learn from, each once; 74 held "
        "out, the last 30 % of each recording",
        controls=True,
        tuned="its rates were chosen on these held-out segments, with seeds 0 and 1, among six "
        "settings; its slow average was not",
    ),
    "N-MNIST": Stream(
        "objects-incremental",
        partial(digits, 0),
        f"N-MNIST, real: {DIGITS} recordings of each digit, of every other one of nmnist-small by "
        "name; the last quarter of each held out",
        ("segments.length_us=0", "scenario.held_out_fraction=0.25"),
    ),
    "simulated gestures": Stream(
        "gestures-incremental",
        gestures,
        "the bundled gestures, simulated: 11 classes, 6 performers in lab light, segments of 1 s; "
        "the last fifth of each class held out",
    ),
}


def class_after_class(name: str, seeds: int) -> Iterator[list[str]]:
    """The section of an incremental stream, after each of its variations."""
    stream = STREAMS[name]
    rows, baselines = [], []
    for variation, sets in VARIATIONS.items():
        if "learner.rule" in "".join(sets) and not stream.controls:
            continue
        found = [stream.run(sets, seed) for seed in range(seeds)]

        def cells(maker: str, found: list[dict[str, Any]] = found) -> list[str]:
            return [spread([one[maker][figure] for one in found]) for figure in FIGURES]

        rows += [[f"{variation}: {MAKERS[maker]}", *cells(maker)] for maker in ("lda", "linear")]
        if not sets:
            baselines = [[MAKERS[maker], *cells(maker)] for maker in list(MAKERS)[3:]]
        print(name, *rows[-2:], sep="\n", flush=True)
        yield [
            *made(f"{stream.what}; seeds 0-{seeds - 1}, mean ± standard deviation"),
            f"- recipe `{' '.join([stream.recipe, *(f'--set {one}' for one in stream.sets)])}`; "
            "each variation is one switch beside it",
            *([f"- {stream.tuned}"] if stream.tuned else []),
            "",
            *table(HEADS, rows),
            "Baselines, in the runs of the recipe:",
            "",
            *table(HEADS, baselines),
            "Average accuracy is over all classes after the last one was learned. A network as "
            "drawn learns nothing below its readouts, which learn by the recipe's own switches.",
        ]


def choosing(seeds: int) -> Iterator[list[str]]:
    """The section of what was chosen, on data and seeds that no other figure is of."""
    rows = []
    base = STREAMS["N-MNIST"]
    stream = replace(base, source=partial(digits, 1))
    for slow in AVERAGES:
        found = [stream.run((*SLOW, f"learner.ema_decay={slow}"), seed) for seed in CHOOSING]
        cells = [spread([one[m]["average_accuracy"] for one in found]) for m in ("lda", "linear")]
        rows.append([f"{slow:g}", *cells])
        print(*rows[-1:], flush=True)
    heads = ("LDA readout", "linear readout")
    yield [
        *made(f"N-MNIST, real: {DIGITS} recordings of each digit, the other half of nmnist-small"),
        f"- seeds {CHOOSING[0]} and {CHOOSING[1]}; average accuracy; rates of 3e-5, class by class",
        "",
        *table(heads, rows),
        "The recipes take 0.99: an average that still follows within a few hundred segments.",
    ]


def shifting(seeds: int) -> Iterator[list[str]]:
    """The section of shifts: rows and columns of R, which are before and after, upright and not."""
    lines = [
        *made(f"{STREAMS['objects'].what}; seeds 0-{seeds - 1}, mean ± standard deviation"),
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
        found = [
            once("objects-shift", DATA / "dvs128-objects", (), seed, corruptions=corruptions)
            for seed in range(seeds)
        ]
        rows = []
        for maker in list(MAKERS)[:-1]:
            r = [one[maker]["r"] for one in found]
            places = ((0, 0), (0, 1), (1, 1), (1, 0))
            rows.append([MAKERS[maker], *(spread([one[i][j] for one in r]) for i, j in places)])
        print(name, *rows, sep="\n", flush=True)
        lines += [f"{name[0].upper()}{name[1:]}:", "", *table(heads, rows)]
    yield [
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
    sections: dict[str, Callable[[int], Iterator[list[str]]]] = {
        f"{CLASSES}{name}": partial(class_after_class, name) for name in STREAMS
    }
    sections |= {CHOSEN: choosing, SHIFT: shifting}
    for name, section in sections.items():
        if options.section in name:
            for body in section(options.seeds):
                write_section(options.out, "Continual learning", INTRO, list(sections), name, body)


if __name__ == "__main__":
    main()
