"""`streamstop demo`: options and output."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamstop.cli.errors import exit_on_error
from streamstop.cli.options import Quiet
from streamstop.errors import UsageError

if TYPE_CHECKING:
    from streamstop.config.sections import Config
    from streamstop.pipeline.snapshot import Command

DEMOS = {
    "gestures": "simulated gestures in shuffled order, learned and scored in one pass",
    "incremental": "the same classes arriving one after another, and what is kept of them",
    "teach": "seven gestures taught for 9 s each as by keys, then recognised in other people",
}
RECIPES = {"gestures": "demo", "incremental": "gestures-incremental"}


def demo(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Which one; without it: the list.", show_default=False),
    ] = None,
    view: Annotated[
        str | None,
        typer.Option(
            metavar="VIEW",
            help="Watch it: terminal, line, or none. [dim]\\[default: line][/dim]",
            show_default=False,
        ),
    ] = None,
    speed: Annotated[
        float,
        typer.Option(metavar="TIMES", help="Multiple of real time; 0: as fast as possible."),
    ] = 0.0,
    out: Annotated[
        str, typer.Option(metavar="DIR", help="Folder in which run folders are created.")
    ] = "runs",
    quiet: Quiet = False,
) -> None:
    """List the demos, or run one: no camera, no download, each under a minute."""
    with exit_on_error():
        if name is None:
            for one, about in DEMOS.items():
                print(f"{one:<12} {about}")
            print("\nRun one: streamstop demo teach --view terminal --speed 4")
            return
        if name not in DEMOS:
            raise UsageError(f"there is no demo {name!r} (there are: {', '.join(DEMOS)})")
        code = (
            _teach(view, speed, out, quiet)
            if name == "teach"
            else _recipe(RECIPES[name], view, speed, out, quiet)
        )
    raise typer.Exit(code)


def _recipe(recipe: str, view: str | None, speed: float, out: str, quiet: bool) -> int:
    """Run a bundled recipe."""
    from streamstop.pipeline.configure import load_config

    config = load_config(recipe, (), {"run.output_dir": out, "source.speed": speed})
    return _shown(config, view, quiet, ())[0]


def _teach(view: str | None, speed: float, out: str, quiet: bool) -> int:
    """Teach by a script, then say how much of the rest was recognised."""
    from streamstop.cli.commands.run import run_once
    from streamstop.experiments.teach_demo import GESTURES, TAUGHT, make_teach_demo
    from streamstop.pipeline.configure import load_config

    with tempfile.TemporaryDirectory(prefix="streamstop-") as folder:
        made = make_teach_demo(Path(folder))
        flags = {
            "source.uri": str(made.path),
            "source.speed": speed,
            "labels.classes": ",".join(GESTURES),
            "run.output_dir": out,
            "run.name": "demo-teach",
        }
        config = load_config("davis346-live", (), flags)
        script = made.script(config.binning.bin_us)
        code, run_dir = _shown(config, view, quiet, script)
        right = made.score(run_dir / "predictions.csv")
        own = {"source.speed": 0.0, "run.output_dir": folder}
        untrained = load_config("davis346-live", ["learner.trainable=[]"], {**flags, **own})
        control, _ = run_once(untrained, None, quiet=True, script=script)
        control_right = made.score(control.run_dir / "predictions.csv")
    people = len(made.rest) // len(GESTURES)
    print(
        f"\nSIMULATED DATA. {len(GESTURES)} gestures of {TAUGHT} people were taught while they "
        f"were seen. Of {people} other people's gestures, never labelled, {right:.1%} of the "
        "predictions were right, bin by bin from 0.6 s on; with a network that STOP never trained "
        f"{control_right:.1%}."
    )
    return code


def _shown(
    config: Config, view: str | None, quiet: bool, script: Sequence[tuple[int, Command]]
) -> tuple[int, Path]:
    """Run, watch and sum up; the exit code and the run's folder."""
    from streamstop.cli.commands.run import run_once
    from streamstop.cli.display.summary import print_summary
    from streamstop.cli.display.views import NEEDS, chosen_view, watch
    from streamstop.report.pages.run import write_report

    shown = chosen_view(view or ("none" if quiet else "line"), live=False, quiet=quiet)
    if shown in NEEDS:
        hosted = watch(config, shown, command="streamstop demo", script=script)
        summary, run_dir, code = hosted.summary, hosted.run_dir, hosted.exit_code
        report = write_report(run_dir)
    else:
        result, report = run_once(config, None, quiet=quiet, script=script)
        summary, run_dir, code = result.summary, result.run_dir, result.exit_code
    print_summary(summary, report)
    sys.stdout.flush()
    return code, run_dir
