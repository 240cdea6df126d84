"""`streamstop doctor`: options and output."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from streamstop.cli.errors import exit_on_error
from streamstop.cli.options import Json


def doctor(
    out: Annotated[str, typer.Option(metavar="DIR", help="Folder for runs.")] = "runs",
    as_json: Json = False,
) -> None:
    """Check this machine: cameras and drivers, permissions, libraries, GPU, network."""
    with exit_on_error("nothing was changed"):
        from pathlib import Path

        from streamstop.cli.display.doctor import print_diagnosis
        from streamstop.tools.doctor import diagnose

        found = diagnose(Path(out))
        if as_json:
            print(json.dumps(found.as_json(), indent=2))
        else:
            print_diagnosis(found)
        sys.stdout.flush()
        raise typer.Exit(found.exit_code)
