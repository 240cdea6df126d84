"""The command line: it parses, calls the pipeline, prints, and turns errors into exit codes.

It promises that no error that streamstop raises on purpose ends in a traceback (STREAMSTOP_DEBUG=1
shows it), and that with `--json` standard output holds summary.json and nothing else. It decides
nothing: what a recipe means is `streamstop.config`'s to say, what a run does `pipeline`'s.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Annotated

# Idle threads of libgomp spin by default, and where cores are busy that makes a step of 0.7 ms one
# of 88 ms. It must be set before torch is imported, and torch is imported as late as possible.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import typer

from streamstop import __version__
from streamstop.config import UNLABELLED_CLASSES, load_config, to_toml
from streamstop.errors import StreamstopError, UsageError

BROKEN_PIPE = 141
"""What a shell reports of any program that wrote to a closed pipe."""

EXAMPLES = (
    ("streamstop run", "the bundled demo"),
    ("streamstop run --source rec.aedat4", "a recording"),
    ("streamstop run --source rec.aedat4 --labels rec.csv", "with its labels"),
    ("streamstop run --source DIR --seed 1", "labelled recordings"),
    ("streamstop run --source DIR --weights best.safetensors", "from a trained network"),
    ("streamstop run my.toml --set binning.bin_us=5000", "a recipe, changed"),
    ("streamstop run my.toml --print-config", "all it says, explained"),
)

EXIT_CODES = (
    (0, "ok"),
    (2, "usage"),
    (3, "source cannot be opened"),
    (4, "input damaged; what could be read was read, or with --strict was not"),
    (5, "the learner diverged"),
    (130, "interrupted, after a summary of what was done"),
)

RUN_EPILOG = "\n".join(
    [
        "[bold]Examples[/bold]",
        *(f"  {line:<55}[dim]{meaning}[/dim]" for line, meaning in EXAMPLES),
        "\n[bold]Exit codes[/bold]",
        *(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES),
    ]
)

app = typer.Typer(
    name="streamstop",
    help="Event cameras in, a spiking network that learns while it watches, an honest score out.",
    epilog="Start with: [bold]streamstop run[/bold] (no camera, no download), then "
    "[bold]streamstop run --help[/bold].",
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """The entry point of the `streamstop` command."""
    app(prog_name="streamstop")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"streamstop {__version__}")
        raise typer.Exit()


def _not_blank(value: str | None) -> str | None:
    if value == "":  # as below: it was meant to say something
        raise typer.BadParameter("it is empty; leave it out for a network drawn from the seed")
    return value


def _not_empty(value: str | None) -> str | None:
    if value == "":  # a shell variable that was not set, not a wish for the demo
        raise typer.BadParameter("it is empty; leave it out for the bundled recordings")
    return value


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            metavar="",
            help="Print the version.",
            callback=_print_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Event cameras in, a spiking network that learns while it watches, an honest score out."""


@app.command(epilog=RUN_EPILOG)
def run(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="A TOML recipe: a file, or the name of one that comes with streamstop. "
            "Without it: the demo, or the defaults where --source is given.",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            help="A recording, a folder of labelled recordings, or a camera.",
            callback=_not_empty,
            rich_help_panel="Input",
            show_default=False,
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            help="CSV of labels: class,startTime_usec,endTime_usec.",
            rich_help_panel="Input",
            show_default=False,
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            metavar="",
            help="Stop at the first damaged input (exit 4) instead of counting it.",
            rich_help_panel="Input",
        ),
    ] = False,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Start from a trained network: best.safetensors of a training, or "
            "weights.safetensors of an earlier run.",
            callback=_not_blank,
            rich_help_panel="Network",
            show_default=False,
        ),
    ] = None,
    frozen: Annotated[
        bool,
        typer.Option(
            "--frozen",
            metavar="",
            help="Learn nothing: the network of --weights only predicts.",
            rich_help_panel="Network",
        ),
    ] = False,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.KEY=VALUE",
            help="Change one setting; may be repeated.",
            rich_help_panel="Configuration: recipe < --set < flags",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Seed of every random draw.",
            rich_help_panel="Configuration: recipe < --set < flags",
            show_default=False,
        ),
    ] = None,
    print_config: Annotated[
        bool,
        typer.Option(
            "--print-config",
            metavar="",
            help="Print every setting with what it means, as a recipe, and stop.",
            rich_help_panel="Configuration: recipe < --set < flags",
        ),
    ] = False,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="The folder that run folders are made in. [dim]\\[default: runs][/dim]",
            rich_help_panel="Output",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="The end of the run folder's name.", rich_help_panel="Output", show_default=False
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            metavar="",
            help="summary.json alone on standard output.",
            rich_help_panel="Output",
        ),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", "-q", metavar="", help="No progress bar.", rich_help_panel="Output"
        ),
    ] = False,
) -> None:
    """Stream a source through the learner, once, and score it as it goes.

    What it leaves: a folder under runs/ with scores, event ledger, weights and report.html.
    """
    flags = {
        "source.uri": source,
        "source.labels": labels,
        "source.strict": strict or None,
        "learner.weights": weights,
        "learner.frozen": frozen or None,
        "run.seed": seed,
        "run.out": out,
        "run.name": name,
    }
    with _errors_told():
        config = load_config(recipe, sets or (), flags)
        if print_config:
            print(to_toml(config, explain=True), end="", flush=True)
            return
        # torch comes with these, and --help shall not wait for it.
        from streamstop import pipeline
        from streamstop.report.html import write_report
        from streamstop.ui.progress import RunProgress, RunState
        from streamstop.ui.summary import print_summary

        command = shlex.join(["streamstop", *sys.argv[1:]])
        # Whatever a library prints during the run is not the result.
        with RunProgress(quiet=quiet) as line, redirect_stdout(sys.stderr):

            def show(now: pipeline.Progress) -> None:
                if line.due:
                    state = RunState(
                        events=now.events,
                        stream_us=now.stream_us,
                        segments=now.segment,
                        segments_total=now.segments,
                        accuracy=now.accuracy,
                        decision=now.decision,
                    )
                    line.update(state)

            progress = show if line.shown else None
            result = pipeline.run(config, command=command, progress=progress)
            report = write_report(result.run_dir)
        if as_json:
            print(json.dumps(result.summary, indent=2))
        else:
            print_summary(result.summary, report)
        sys.stdout.flush()
    raise typer.Exit(result.exit_code)


@app.command()
def model(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="compact, lenet5, vgg11 or resnet18.")
    ],
    input_shape: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="CxHxW",
            help="Polarities, rows and columns of a bin. [dim]\\[default: 2x32x32][/dim]",
            show_default=False,
        ),
    ] = None,
    classes: Annotated[
        int | None,
        typer.Option(
            help=f"Classes of the readout. [dim]\\[default: {UNLABELLED_CLASSES}][/dim]",
            show_default=False,
        ),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.KEY=VALUE",
            help="Change one setting; may be repeated.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", metavar="", help="The same as JSON on standard output.")
    ] = False,
) -> None:
    """Show a network's layers, and what a step of it costs, without running it."""
    flags = {"source.uri": "", "network.name": name, "network.classes": classes}
    with _errors_told():
        polarities = 2
        if input_shape is not None:
            sides = re.fullmatch(r"([1-9][0-9]{0,3})x([0-9]{1,9})x([0-9]{1,9})", input_shape)
            if sides is None:
                raise UsageError(f"--input wants CxHxW, such as 2x32x32, not {input_shape!r}")
            polarities = int(sides[1])
            flags |= {"binning.height": int(sides[2]), "binning.width": int(sides[3])}
        config = load_config(None, sets or (), flags)
        # torch comes with these, and --help shall not wait for it.
        from streamstop.stop.networks import configured_network
        from streamstop.ui.model import model_cost, model_json, print_model

        shape = (polarities, config.binning.height, config.binning.width)
        outputs = config.network.classes or UNLABELLED_CLASSES
        spec = configured_network(config.network, shape, outputs)
        cost = model_cost(spec, config.learner)
        if as_json:
            print(json.dumps(model_json(name, spec, cost), indent=2))
        else:
            print_model(name, spec, cost)
        sys.stdout.flush()


TRAIN_EPILOG = "\n".join(
    [
        "[bold]Examples[/bold]",
        "  streamstop train nmnist-compact --set data.uri=DIR",
        "  streamstop train mnist-lenet5 --smoke               [dim]does it work at all?[/dim]",
        "  streamstop train --resume runs/20260101T000000Z-x   [dim]go on where it stopped[/dim]",
        "  torchrun --nproc-per-node 2 -m streamstop train x   [dim]two processes for one[/dim]",
    ]
)


@app.command(epilog=TRAIN_EPILOG)
def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="A TOML recipe: a file, or the name of one in pipelines/train/.",
            show_default=False,
        ),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.KEY=VALUE",
            help="Change one setting; may be repeated.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of every random draw.", show_default=False)
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="The folder that the training's folder is made in. [dim]\\[default: runs][/dim]",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Take up an interrupted training, in its folder, instead of a recipe.",
            show_default=False,
        ),
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", metavar="", help="A handful of samples, one epoch.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", metavar="", help="train.json alone on standard output.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", metavar="", help="No progress bar.")
    ] = False,
) -> None:
    """Train a network over several epochs, then test it once.

    What it leaves: a folder under runs/ with the weights of the best epoch and the last,
    epochs.jsonl, train.json, train.md and the report, train.html. Weights that were trained on
    events start a stream: streamstop run --weights FILE.
    """
    with _errors_told("go on with: streamstop train --resume FOLDER"):
        from streamstop.train_config import load_train_config

        if (recipe is None) == (resume is None):
            raise UsageError("train wants a recipe, or --resume with a folder, and not both")
        if resume is not None and (sets or seed is not None or out is not None or smoke):
            raise UsageError("--resume takes every setting from its folder; leave the others out")
        # torch comes with these, and --help shall not wait for it.
        from pathlib import Path

        from streamstop import training
        from streamstop.report.train_page import write_train_page
        from streamstop.ui.train_progress import TrainLine

        if resume is not None:
            config = training.unfinished(Path(resume))
        else:
            assert recipe is not None
            flags = {"run.seed": seed, "run.out": out}
            config = load_train_config(recipe, sets or (), flags, smoke=smoke)
        folder = None if resume is None else Path(resume)
        command = shlex.join(["streamstop", *sys.argv[1:]])
        if _peers() > 1:
            command = f"torchrun --nproc-per-node {_peers()} -m {command}"
        with TrainLine(quiet=quiet or _peer() > 0) as line, redirect_stdout(sys.stderr):
            result = training.train(config, folder=folder, command=command, progress=line.update)
        if not result.leads:
            return
        page = write_train_page(result.folder)
        if as_json:
            print(json.dumps(result.summary, indent=2))
        else:
            print(training.describe(result.summary) + f"\nReport: {page}")
        sys.stdout.flush()


@contextmanager
def _errors_told(
    interrupted: str = "a run folder without summary.json is not whole",
) -> Iterator[None]:
    """The one place where an error becomes a message on standard error and an exit code.

    interrupted : what to say after Ctrl-C.
    """
    try:
        yield
    except BrokenPipeError:
        # What is still in the buffer would fail again, loudly, when the interpreter closes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(BROKEN_PIPE) from None
    except KeyboardInterrupt:
        _tell(f"Interrupted; {interrupted}")
        raise typer.Exit(130) from None
    except StreamstopError as error:
        _tell(str(error))
        raise typer.Exit(error.exit_code) from None
    except OSError as error:
        # No room on the disk, no permission: what the system says is the message.
        _tell(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
        raise typer.Exit(StreamstopError.exit_code) from None


def _peer() -> int:
    """This process's number among those that torchrun started, from 0."""
    text = os.environ.get("RANK", "")
    return int(text) if text.isdigit() else 0


def _peers() -> int:
    """How many of them there are on this machine."""
    text = os.environ.get("LOCAL_WORLD_SIZE", os.environ.get("WORLD_SIZE", ""))
    return int(text) if text.isdigit() else 1


def _tell(message: str) -> None:
    if os.environ.get("STREAMSTOP_DEBUG"):
        import traceback

        traceback.print_exc()
    which = f" process {_peer()}:" if _peer() else ""
    print(f"streamstop:{which} {message}", file=sys.stderr)


if __name__ == "__main__":
    main()
