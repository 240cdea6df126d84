"""`streamstop run`: options and output."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from streamstop.cli.errors import exit_on_error
from streamstop.cli.options import is_set
from streamstop.config.bundled import check_data_present
from streamstop.config.recipe import to_toml
from streamstop.config.sections import Config
from streamstop.errors import UsageError
from streamstop.pipeline.configure import load_config
from streamstop.sources.live.registry import is_camera, is_live

if TYPE_CHECKING:
    from pathlib import Path

    from streamstop.pipeline.run import RunResult
    from streamstop.pipeline.snapshot import Command
    from streamstop.scenarios.stream import ScenarioStream

EXAMPLES = (
    ("streamstop run", "the bundled demo"),
    ("streamstop run --source rec.aedat4", "a recording"),
    ("streamstop run --source rec.aedat4 --labels rec.csv", "with its labels"),
    ("streamstop run --source rec.aedat4 --speed 1", "in real time"),
    ("streamstop run --source davis346", "a camera, until Ctrl-C"),
    ("streamstop run --source DIR --seed 1", "labelled recordings"),
    ("streamstop run --source DIR --seeds 0-4", "five seeds and their means"),
    ("streamstop run --source DIR --weights best.safetensors", "from trained weights"),
    ("streamstop run my.toml --set binning.bin_us=5000", "a recipe with a changed setting"),
    ("streamstop run my.toml --print-config", "every setting, explained"),
)

EXIT_CODES = (
    (0, "ok"),
    (2, "usage error; labels were given, and no segment was scored"),
    (3, "source cannot be opened"),
    (4, "damaged input; the run used what could be read (with --strict: it stopped)"),
    (5, "the learner diverged"),
    (130, "interrupted; the summary covers what was done"),
)

WITHOUT_DATA = "Without a download: streamstop run, on the recordings that come with streamstop."

RUN_EPILOG = "\n".join(
    [
        "[bold]Examples[/bold]",
        *(f"  {line:<55}[dim]{meaning}[/dim]" for line, meaning in EXAMPLES),
        "\n[bold]Exit codes[/bold]",
        *(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES),
    ]
)


def _not_blank(value: str | None) -> str | None:
    if value == "":  # as below
        raise typer.BadParameter(
            "it is empty; leave it out to initialise the network from the seed"
        )
    return value


def _not_empty(value: str | None) -> str | None:
    if value == "":  # a shell variable that was not set, not a request for the demo
        raise typer.BadParameter("it is empty; leave it out for the bundled recordings")
    return value


def run(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="A TOML recipe: a file, or the name of a bundled one. Without it: the demo, or "
            "the default settings if --source is given.",
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
            help="Table of labels: class,startTime_usec,endTime_usec, or start,end,label and such; "
            "?unit=s or ?columns=start,end,class settles what it leaves open. Or, while it runs, "
            'lines such as {"class": "rock"} through udp://HOST:PORT or - (standard input).',
            rich_help_panel="Input",
            show_default=False,
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Classes to be taught while it runs, such as rock,paper,scissors, or how many.",
            rich_help_panel="Input",
            show_default=False,
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            metavar="",
            help="Stop at the first damaged input (exit code 4) instead of counting it.",
            rich_help_panel="Input",
        ),
    ] = False,
    speed: Annotated[
        float | None,
        typer.Option(
            metavar="TIMES",
            help="Replay a recording at this multiple of real time. "
            "[dim]\\[default: as fast as possible][/dim]",
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
            help="Record what a live source sends, to replay it later. [dim]\\[default: on][/dim]",
            rich_help_panel="Input",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Start from trained weights: best.safetensors of a training, or "
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
            help="Do not learn: the network of --weights only predicts.",
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
            help="Random seed.",
            rich_help_panel="Configuration: recipe < --set < flags",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Several seeds, such as 0-4 or 0,3,7: one run per seed, and their means.",
            rich_help_panel="Configuration: recipe < --set < flags",
            show_default=False,
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="With --seeds: parallel runs. [dim]\\[default: number of cores][/dim]",
            rich_help_panel="Configuration: recipe < --set < flags",
            show_default=False,
        ),
    ] = None,
    print_config: Annotated[
        bool,
        typer.Option(
            "--print-config",
            metavar="",
            help="Print every setting with its description, as a recipe, and exit.",
            rich_help_panel="Configuration: recipe < --set < flags",
        ),
    ] = False,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Folder in which run folders are created. [dim]\\[default: runs][/dim]",
            rich_help_panel="Output",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="Last part of the run folder's name.", rich_help_panel="Output", show_default=False
        ),
    ] = None,
    view: Annotated[
        str | None,
        typer.Option(
            metavar="VIEW",
            help="Watch and teach it: terminal, line (JSON lines on standard error where that is "
            "no terminal), or none. "
            "[dim]\\[default: terminal for a live source, else line][/dim]",
            rich_help_panel="Output",
            show_default=False,
        ),
    ] = None,
    emit: Annotated[
        str,
        typer.Option(
            metavar="TO",
            help="Send each prediction on as a line of JSON, to udp://HOST:PORT or - (standard "
            "output; the summary then goes to standard error).",
            rich_help_panel="Output",
            show_default=False,
        ),
    ] = "",
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            metavar="",
            help="Print only summary.json.",
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
    """Learn online from a stream, in one pass; score each prediction before its label is used.

    Writes a folder under runs/ with scores, event ledger, weights and report.html.
    """
    flags = {
        "source.uri": source,
        "source.labels": labels,
        "labels.classes": classes,
        "source.strict": strict or None,
        "source.speed": speed,
        "source.duration_s": duration,
        "source.record": None if record is None else record == "on",
        "learner.pretrained": weights,
        "learner.frozen": frozen or None,
        "run.seed": seed,
        "run.output_dir": out,
        "run.name": name,
    }
    from streamstop.cli.display.views import NEEDS, chosen_view

    with exit_on_error():
        chosen = _seeds(seeds, seed, sets or (), jobs)
        config = load_config(recipe, sets or (), flags)
        if print_config:
            print(to_toml(config, explain=True), end="", flush=True)
            return
        if recipe is not None and not (source or is_set("source.uri", sets)):
            check_data_present(recipe, [config.source.uri], otherwise=WITHOUT_DATA)
        if chosen and emit:
            raise UsageError("--emit is for one run, and --seeds are several")
        if emit == "-" and as_json:
            raise UsageError("--emit - and --json both want standard output")
        if chosen:
            _run_seeds(config, chosen, jobs, as_json=as_json, quiet=quiet)
        live = is_live(config.source.uri) or config.source.speed > 0
        shown = chosen_view(view, live=live, quiet=quiet or as_json)
        if shown in NEEDS:
            _watch(config, shown, _command(None), emit)
        with _live_opened(config, quiet=quiet) as stream:
            lines = view == "line" and not sys.stderr.isatty()
            result, report = run_once(config, stream, emit=emit, quiet=quiet, lines=lines)
        if as_json:
            print(json.dumps(result.summary, indent=2))
        else:
            from streamstop.cli.display.summary import print_summary

            with redirect_stdout(sys.stderr if emit == "-" else sys.stdout):
                print_summary(result.summary, report)
        sys.stdout.flush()
    raise typer.Exit(result.exit_code)


def _watch(config: Config, view: str, command: str, emit: str) -> NoReturn:
    """Run in a process of its own, show it here, and exit."""
    from streamstop.cli.display.summary import print_summary
    from streamstop.cli.display.views import watch
    from streamstop.report.pages.run import write_report

    if is_camera(config.source.uri):
        from streamstop.sources.live.cameras.open import find_camera

        find_camera(config.source.uri)  # in less time than it takes to import torch
    if emit == "-":
        raise UsageError(f"--emit - and --view {view} both want standard output")
    result = watch(config, view, command=command, emit=emit)
    print_summary(result.summary, write_report(result.run_dir))
    sys.stdout.flush()
    raise typer.Exit(result.exit_code)


def run_once(
    config: Config,
    stream: ScenarioStream | None,
    *,
    emit: str = "",
    quiet: bool = False,
    lines: bool = False,
    script: Sequence[tuple[int, Command]] = (),
) -> tuple[RunResult, Path]:
    """Run, and write the report; the result and the report's path.

    lines : write lines of JSON to standard error, which is no terminal.
    script : what is asked of the run at given bins.
    """
    # These import torch, which --help must not wait for.
    from streamstop.cli.display.notes import print_notes
    from streamstop.cli.display.run_progress import RunProgress, RunState
    from streamstop.live.json_lines import JsonLines
    from streamstop.pipeline import run as pipeline
    from streamstop.report.pages.run import write_report

    command = _command(None)
    # What a library prints during the run is not part of the result.
    with RunProgress(quiet=quiet) as line, redirect_stdout(sys.stderr):

        def show(now: pipeline.Progress) -> None:
            if line.due:
                state = RunState(
                    events=now.events,
                    stream_us=now.stream_us,
                    segments=now.segment,
                    segments_total=now.segments,
                    accuracy=now.accuracy,
                    decision=now.prediction,
                )
                line.update(state)

        progress = show if line.shown else None
        viewer = JsonLines(sys.stderr) if lines else None
        opened = viewer.opened if viewer is not None else None if quiet else print_notes
        result = pipeline.run(
            config,
            command=command,
            progress=progress,
            stream=stream,
            opened=opened,
            viewer=viewer,
            emit=emit,
            script=script,
        )
        return result, write_report(result.run_dir)


def _seeds(
    text: str | None, seed: int | None, sets: Sequence[str], jobs: int | None
) -> tuple[int, ...]:
    """The seeds that --seeds names; none if it was not given."""
    if text is None:
        if jobs is not None:
            raise UsageError("--jobs needs --seeds: a single run is one process")
        return ()
    if seed is not None:
        raise UsageError("give either --seed or --seeds, not both")
    if is_set("run.seed", sets):
        raise UsageError("give either --set run.seed or --seeds, not both")
    from streamstop.experiments.seeds import parse_seeds

    return parse_seeds(text)


def _run_seeds(
    config: Config, seeds: tuple[int, ...], jobs: int | None, *, as_json: bool, quiet: bool
) -> NoReturn:
    """Run each seed, print the aggregated results, and exit."""
    from streamstop.cli.display.notes import print_notes
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
            opened=None if quiet else print_notes,
        )
        report = write_joint_report(result.folder)
    if as_json:
        print(json.dumps(result.summary, indent=2))
    else:
        print_joint(result.summary, report)
    sys.stdout.flush()
    raise typer.Exit(result.exit_code)


def _command(seed: int | None) -> str:
    """The command as typed; for one of several seeds, the command that runs that seed alone."""
    args = list(sys.argv[1:])
    if seed is not None:
        for flag in ("--seeds", "--jobs"):
            while flag in args:
                del args[args.index(flag) : args.index(flag) + 2]
        args = [one for one in args if not one.startswith(("--seeds=", "--jobs="))]
        args += ["--seed", str(seed)]
    return shlex.join(["streamstop", *args])


@contextmanager
def _live_opened(config: Config, *, quiet: bool) -> Iterator[ScenarioStream | None]:
    """Open a socket, or look for a camera, before the slow import of torch, and say so at once.

    What a socket receives from here on waits until the run begins. A camera is opened by the run.
    None for a camera and for recordings.

    Raises
    ------
    SourceError, UsageError
        If the camera is missing, or the socket cannot be opened.
    """
    uri = config.source.uri
    if not is_live(uri):
        yield None
        return
    from streamstop.cli.display.live_line import print_opened

    if is_camera(uri):
        from streamstop.sources.live.cameras.open import find_camera

        find_camera(uri)
        print_opened(f"{uri} found", waits=False, quiet=quiet)
        yield None
        return
    from streamstop.pipeline.commands import is_label_stream
    from streamstop.scenarios.stream import open_stream

    if is_label_stream(config.source.labels):  # the run listens for them
        config = replace(config, source=replace(config.source, labels=""))
    stream = open_stream(config)
    with stream.source:
        if stream.live is not None:
            print_opened(stream.live.announcement, waits=True, quiet=quiet)
            stream.live.start()
        yield stream
