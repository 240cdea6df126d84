"""`streamstop doctor`: the command's options, and what it prints."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from streamstop.cli.errors import errors_told
from streamstop.cli.options import Json


def doctor(
    out: Annotated[str, typer.Option(metavar="DIR", help="The folder for runs.")] = "runs",
    as_json: Json = False,
) -> None:
    """Look at this machine: cameras and their drivers, permissions, libraries, GPU, network."""
    with errors_told("nothing was changed"):
        from pathlib import Path

        from streamstop.cli.display.doctor import print_examination
        from streamstop.tools.doctor import diagnose

        found = diagnose(Path(out))
        if as_json:
            print(json.dumps(found.as_json(), indent=2))
        else:
            print_examination(found)
        sys.stdout.flush()
        raise typer.Exit(found.exit_code)
