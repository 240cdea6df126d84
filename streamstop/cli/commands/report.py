"""`streamstop report`: the command's options, and what it prints."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from streamstop.cli.errors import errors_told
from streamstop.errors import UsageError


def report(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Folders of runs, of run --seeds, or of trainings.",
            show_default=False,
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.html",
            help="Where the page of a single run goes. [dim]\\[default: into its folder][/dim]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make the page of a finished run anew, as this version draws it.

    It prints the path: report.html in a run's folder, train.html in a training's.
    Of several, those that hold nothing to show are named at the end (exit 2).
    """
    with errors_told("pages whose paths were printed are whole"):
        if out is not None and len(runs) > 1:
            raise UsageError(f"--out is for a single run, and these are {len(runs)}")
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
