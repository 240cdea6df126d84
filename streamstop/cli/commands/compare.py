"""`streamstop compare`: options and output."""

from __future__ import annotations

import json
import shlex
import sys
from typing import Annotated

import typer

from streamstop.cli.errors import exit_on_error
from streamstop.cli.options import Json


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Run folders, folders of run --seeds, or globs of both.",
            show_default=False,
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.html", help="Write the comparison as an HTML page.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare runs: per-seed means, baselines, config differences, significance tests.

    Runs that differ only in their seed form one group. Two groups are tested on the segments that
    both predicted, and over seeds if they share three or more. Groups on different streams are not
    tested.
    """
    with exit_on_error("nothing was written"):
        from streamstop.cli.display.compare import print_comparison
        from streamstop.experiments import comparison
        from streamstop.report.pages.comparison import write_comparison

        found = comparison.compare(runs)
        command = shlex.join(["streamstop", *sys.argv[1:]])
        page = None if out is None else write_comparison(found, out, command)
        if as_json:
            print(json.dumps(found.as_dict(), indent=2))
        else:
            print_comparison(found, page)
        sys.stdout.flush()
