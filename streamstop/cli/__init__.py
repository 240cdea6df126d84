"""The command line: parses, calls, prints, and turns errors into exit codes.

Guarantees:
- With `--json`, standard output holds JSON and nothing else.
- `--help` and `--version` import no large library.

Does not:
- Decide what a recipe means (`streamstop.config`) or what a run does (`streamstop.pipeline`).
"""

from __future__ import annotations

import os
from typing import Annotated

# Idle threads of libgomp spin by default; on busy cores a step of 0.7 ms then takes 88 ms. This
# must be set before torch is imported, and torch is imported as late as possible.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import typer

from streamstop._version import __version__
from streamstop.cli.commands.compare import compare
from streamstop.cli.commands.convert import convert, record
from streamstop.cli.commands.datasets import datasets
from streamstop.cli.commands.demo import demo
from streamstop.cli.commands.doctor import doctor
from streamstop.cli.commands.inspect import inspect
from streamstop.cli.commands.model import model
from streamstop.cli.commands.replay import replay
from streamstop.cli.commands.report import report
from streamstop.cli.commands.run import RUN_EPILOG, run
from streamstop.cli.commands.simulate import app as simulate
from streamstop.cli.commands.train import TRAIN_EPILOG, train
from streamstop.cli.options import RenamedFlagsCommand

ABOUT = "Online learning with spiking neural networks on the streams of event cameras."

app = typer.Typer(
    name="streamstop",
    help=ABOUT,
    epilog="Start with: [bold]streamstop run[/bold] (no camera, no download), then "
    "[bold]streamstop run --help[/bold].",
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Entry point of the `streamstop` command."""
    app(prog_name="streamstop")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"streamstop {__version__}")
        raise typer.Exit()


@app.callback(help=ABOUT)
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
    """Take the options that stand before a command."""


app.command(epilog=RUN_EPILOG, cls=RenamedFlagsCommand)(run)
app.command(epilog=TRAIN_EPILOG)(train)
app.command()(demo)
app.command()(compare)
app.command()(report)
app.command()(model)
app.add_typer(simulate, name="simulate")
app.command()(inspect)
app.command()(convert)
app.command(cls=RenamedFlagsCommand)(record)
app.command(cls=RenamedFlagsCommand)(replay)
app.command("stream", cls=RenamedFlagsCommand, hidden=True)(replay)
app.command()(datasets)
app.command()(doctor)
