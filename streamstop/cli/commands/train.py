"""`streamstop train`: options and output."""

from __future__ import annotations

import json
import shlex
import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from streamstop.cli.errors import exit_on_error, peer, peers
from streamstop.cli.options import Quiet, Sets, is_set
from streamstop.config.bundled import check_data_present
from streamstop.errors import UsageError

TRAIN_EPILOG = "\n".join(
    [
        "[bold]Examples[/bold]",
        "  streamstop train nmnist-compact --set data.uri=DIR",
        "  streamstop train mnist-lenet5 --smoke               [dim]a quick trial[/dim]",
        "  streamstop train --resume runs/20260101T000000Z-x   [dim]continue after a stop[/dim]",
        "  torchrun --nproc-per-node 2 -m streamstop train x   [dim]two processes[/dim]",
    ]
)

WITHOUT_DATA = "Without a download: --smoke, a trial on a handful of samples made for it."


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="A TOML recipe: a file, or the name of one in pipelines/train/.",
            show_default=False,
        ),
    ] = None,
    sets: Sets = None,
    seed: Annotated[int | None, typer.Option(help="Random seed.", show_default=False)] = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Folder in which the training's folder is created. [dim]\\[default: runs][/dim]",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Continue the interrupted training in this folder, instead of a recipe.",
            show_default=False,
        ),
    ] = None,
    smoke: Annotated[
        bool,
        typer.Option(
            "--smoke",
            metavar="",
            help="A handful of samples, one epoch; generated ones where the data are missing.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", metavar="", help="Print only train.json.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Train a network over several epochs, then test it once.

    Writes a folder under runs/: weights of the best and the last epoch, epochs.jsonl, train.json,
    train.md and the report, train.html. A run can start from weights that were trained on events:
    streamstop run --weights FILE.
    """
    with exit_on_error("continue with: streamstop train --resume FOLDER"):
        from streamstop.config.training import RECIPES, load_train_config

        if (recipe is None) == (resume is None):
            raise UsageError("give either a recipe or --resume with a folder, not both")
        if resume is not None and (sets or seed is not None or out is not None or smoke):
            raise UsageError("--resume takes every setting from its folder; give no other setting")
        if recipe is not None:
            flags = {"run.seed": seed, "run.output_dir": out}
            config = load_train_config(recipe, sets or (), flags, smoke=smoke)
            named = {"data.uri": config.data.uri, "data.test_uri": config.data.test_uri}
            if not smoke:
                uris = [uri for key, uri in named.items() if not is_set(key, sets)]
                check_data_present(recipe, uris, RECIPES, otherwise=WITHOUT_DATA)
        # These import torch, which --help must not wait for.
        from pathlib import Path

        from streamstop.cli.display.train_progress import TrainLine
        from streamstop.datasets.smoke import smoke_sets
        from streamstop.report.pages.training import write_train_page
        from streamstop.training import train as training

        generated = None
        if resume is not None:
            config = training.load_unfinished(Path(resume))
        elif smoke and recipe is not None and config.data.uri == load_train_config(recipe).data.uri:
            generated = smoke_sets(recipe, config)
        folder = None if resume is None else Path(resume)
        command = shlex.join(["streamstop", *sys.argv[1:]])
        if peers() > 1:
            command = f"torchrun --nproc-per-node {peers()} -m {command}"
        if generated is not None and peer() == 0:
            print(f"streamstop: {generated[1]}", file=sys.stderr)
        with TrainLine(quiet=quiet or peer() > 0) as line, redirect_stdout(sys.stderr):
            result = training.train(
                config,
                folder=folder,
                command=command,
                progress=line.update,
                sets=generated and generated[0],
            )
        if not result.is_main:
            return
        page = write_train_page(result.folder)
        if as_json:
            print(json.dumps(result.summary, indent=2))
        else:
            print(training.to_markdown(result.summary) + f"\nReport: {page}")
        sys.stdout.flush()
