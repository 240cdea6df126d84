"""`streamstop report`: options and output."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from streamstop.cli.errors import exit_on_error
from streamstop.errors import UsageError


def report(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Folders of run, run --seeds or train.",
            show_default=False,
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.html",
            help="Where to write the page of a single run. [dim]\\[default: its folder][/dim]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Regenerate the HTML report of a finished run.

    Prints the path: report.html in a run's folder, train.html in a training's folder.
    With several runs, those without results are named at the end (exit code 2).
    """
    with exit_on_error("pages whose paths were printed are complete"):
        if out is not None and len(runs) > 1:
            raise UsageError(f"--out is for a single run; {len(runs)} were given")
        from streamstop.report.write import write_page

        failed = []
        for run in runs:
            try:
                print(write_page(run, out), flush=True)
            except UsageError as error:
                failed.append(str(error))
        sys.stdout.flush()
        if failed:
            raise UsageError("\nstreamstop: ".join(failed))
