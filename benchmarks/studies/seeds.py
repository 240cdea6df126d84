"""One page for trainings that differ only in their seed: mean and spread of the test figures.

    python -m benchmarks.studies.seeds docs/results/train-mnist.md runs/A runs/B runs/C

Each argument is the folder of a `streamstop train`. Trainings whose settings differ in more than
the seed are refused. Nothing is trained.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import tomllib
from pathlib import Path
from typing import Any

from benchmarks._shared.page import table


def settings(folder: Path) -> dict[str, Any]:
    """All that a training's figure depends on, but for its seed and where it was put."""
    config = tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))
    for key in ("seed", "out", "name"):
        config["run"].pop(key, None)
    return config


def page(folders: list[Path]) -> str:
    """The page, in Markdown."""
    runs = [json.loads((folder / "train.json").read_text(encoding="utf-8")) for folder in folders]
    runs.sort(key=lambda run: int(run["seed"]))
    if any(settings(folder) != settings(folders[0]) for folder in folders):
        sys.exit("these trainings differ in more than their seed")
    keys = {"test": "test", "test_discriminant": "test, LDA readout"}
    keys = {key: head for key, head in keys.items() if runs[0].get(key)}
    rows = []
    for run in runs:
        best = [str(part["best_epoch"]) for part in run["parts"]]
        validation = [part["validation"] for part in run["parts"] if part["validation"]]
        shown = f"{statistics.fmean(validation):.4f}" if validation else "-"
        cells = [f"{run[key]['accuracy']:.4f}" for key in keys]
        rows.append(
            [f"seed {run['seed']}", *cells, shown, ", ".join(best), f"{run['seconds']:.0f}"]
        )
    seeds = "1 seed" if len(runs) == 1 else f"{len(runs)} seeds"
    lines = [f"# Training {runs[0]['name']}, {seeds}", ""]
    # Where a folder was put is nobody else's matter.
    lines += [f"    {re.sub(r' --out [^ ]+', '', run['command'])}" for run in runs]
    lines.append("")
    for key, head in keys.items():
        got = [run[key]["accuracy"] for run in runs]
        spread = f" ± {statistics.stdev(got):.4f}" if len(got) > 1 else ""
        lines.append(
            f"Accuracy ({head}): {statistics.fmean(got):.4f}{spread} over seeds, of "
            f"{runs[0][key]['samples']} samples."
        )
    heads = [*keys.values(), "validation", "best epoch", "seconds"]
    lines += [
        "",
        f"Network {runs[0]['network']}, T = {runs[0]['steps']}, {runs[0]['epochs']} epochs. "
        "Validation chose the epoch where there is one; test samples were seen once, at the end.",
        "",
        *table(heads, rows),
    ]
    made = ", ".join(f"{name} {value}" for name, value in runs[0]["versions"].items())
    return "\n".join([*lines, "", f"Versions: {made}.", ""])


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    options = parser.parse_args()
    options.out.write_text(page(options.folders), encoding="utf-8")
    print(options.out)


if __name__ == "__main__":
    main()
