"""`streamstop run`: the command's options, and what it prints."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Annotated, Literal, NoReturn

import typer

from streamstop.cli.errors import errors_told
from streamstop.config.recipe import Config, load_config, to_toml
from streamstop.errors import UsageError

EXAMPLES = (
    ("streamstop run", "the bundled demo"),
    ("streamstop run --source rec.aedat4", "a recording"),
    ("streamstop run --source rec.aedat4 --labels rec.csv", "with its labels"),
    ("streamstop run --source rec.aedat4 --speed 1", "as it came"),
    ("streamstop run --source davis346", "a camera, until Ctrl-C"),
    ("streamstop run --source DIR --seed 1", "labelled recordings"),
    ("streamstop run --source DIR --seeds 0-4", "five seeds, and their means"),
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


def _not_blank(value: str | None) -> str | None:
    if value == "":  # as below: it was meant to say something
        raise typer.BadParameter("it is empty; leave it out for a network drawn from the seed")
    return value


def _not_empty(value: str | None) -> str | None:
    if value == "":  # a shell variable that was not set, not a wish for the demo
        raise typer.BadParameter("it is empty; leave it out for the bundled recordings")
    return value


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
            help="A recording, a folder of labelled recordings, a camera, udp:// or dv://, or - "
            "for standard input.",
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
    speed: Annotated[
        float | None,
        typer.Option(
            metavar="TIMES",
            help="Replay a recording at so many times real time: 1 as it was. "
            "[dim]\\[default: as fast as it goes][/dim]",
            rich_help_panel="Input",
            show_default=False,
        ),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            help="End a live run after S seconds. [dim]\\[default: until Ctrl-C][/dim]",
            rich_help_panel="Input",
            show_default=False,
        ),
    ] = None,
    record: Annotated[
        Literal["on", "off"] | None,
        typer.Option(
            help="Keep what a live source sends, to replay it. [dim]\\[default: on][/dim]",
            rich_help_panel="Input",
            show_default=False,
        ),
    ] = None,
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
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Several, such as 0-4 or 0,3,7: a run for each, side by side, and their means.",
            rich_help_panel="Configuration: recipe < --set < flags",
            show_default=False,
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="With --seeds: runs at a time. [dim]\\[default: as many as cores][/dim]",
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
        "source.speed": speed,
        "source.seconds": duration,
        "source.record": None if record is None else record == "on",
        "learner.weights": weights,
        "learner.frozen": frozen or None,
        "run.seed": seed,
        "run.out": out,
        "run.name": name,
    }
    with errors_told():
        chosen = _seeds(seeds, seed, sets or (), jobs)
        config = load_config(recipe, sets or (), flags)
        if print_config:
            print(to_toml(config, explain=True), end="", flush=True)
            return
        if chosen:
            _run_seeds(config, chosen, jobs, as_json=as_json, quiet=quiet)
        _look_for_camera(config.source.uri)
        # torch comes with these, and --help shall not wait for it.
        from streamstop.cli.display.run_progress import RunProgress, RunState
        from streamstop.cli.display.summary import print_summary
        from streamstop.pipeline import run as pipeline
        from streamstop.report.pages.run import write_report

        command = _command(None)
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


def _seeds(
    text: str | None, seed: int | None, sets: Sequence[str], jobs: int | None
) -> tuple[int, ...]:
    """The seeds that --seeds names; none where it was not given."""
    if text is None:
        if jobs is not None:
            raise UsageError("--jobs is of use with --seeds alone: one run is one process")
        return ()
    if seed is not None:
        raise UsageError("--seed and --seeds: say one of them")
    if any(one.partition("=")[0].strip() == "run.seed" for one in sets):
        raise UsageError("--set run.seed and --seeds: say one of them")
    from streamstop.experiments.seeds import parse_seeds

    return parse_seeds(text)


def _run_seeds(
    config: Config, seeds: tuple[int, ...], jobs: int | None, *, as_json: bool, quiet: bool
) -> NoReturn:
    """Run each seed, print what they came to, and end."""
    from streamstop.cli.display.seeds import SeedsLine, print_joint
    from streamstop.experiments.seeds import run_seeds
    from streamstop.report.pages.run import write_report
    from streamstop.report.pages.seeds import write_joint_report

    with SeedsLine(len(seeds), quiet=quiet) as line, redirect_stdout(sys.stderr):
        result = run_seeds(
            config,
            seeds,
            jobs=jobs,
            command=_command,
            report=write_report,
            progress=line.update,
        )
        report = write_joint_report(result.folder)
    if as_json:
        print(json.dumps(result.summary, indent=2))
    else:
        print_joint(result.summary, report)
    sys.stdout.flush()
    raise typer.Exit(result.exit_code)


def _command(seed: int | None) -> str:
    """What was typed; of a seed, what would run it alone."""
    words = list(sys.argv[1:])
    if seed is not None:
        for flag in ("--seeds", "--jobs"):
            while flag in words:
                del words[words.index(flag) : words.index(flag) + 2]
        words = [one for one in words if not one.startswith(("--seeds=", "--jobs="))]
        words += ["--seed", str(seed)]
    return shlex.join(["streamstop", *words])


def _look_for_camera(uri: str) -> None:
    """Raise SourceError where no camera is there, before torch is waited for."""
    from streamstop.sources.live.registry import CAMERAS

    if uri.partition("?")[0] in CAMERAS:
        from streamstop.sources.live.cameras.open import find_camera

        find_camera(uri)
