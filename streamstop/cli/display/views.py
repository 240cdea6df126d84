"""Watches a run in the terminal; the run has a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec

from streamstop.config.sections import Config
from streamstop.errors import UsageError
from streamstop.live.host import HostedResult, RunProcess
from streamstop.pipeline.snapshot import Command

VIEWS = ("terminal", "line", "none")
NEEDS = {"terminal": ("textual",)}
"""Views that need a library of the extra `live`, and which."""
INSTALL = "pip install 'streamstop[live]'"


def missing_for(view: str) -> str:
    """The library that a view lacks here; "" if it lacks none."""
    return next((name for name in NEEDS.get(view, ()) if find_spec(name) is None), "")


def chosen_view(view: str | None, *, live: bool, quiet: bool) -> str:
    """The view of a run.

    Without a choice: "terminal" for a live source on a terminal where Textual is installed, else
    "line", or "none" if `quiet`.

    Raises
    ------
    UsageError
        If the view that was asked for cannot be shown here.
    """
    on_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if view is None:
        if quiet:
            return "none"
        return "terminal" if live and on_terminal and not missing_for("terminal") else "line"
    if view not in VIEWS:
        raise UsageError(f"--view is one of {', '.join(VIEWS)}, not {view!r}")
    if missing_for(view):
        raise UsageError(f"--view {view} needs {missing_for(view)}: {INSTALL}")
    if view == "terminal" and not on_terminal:
        raise UsageError("--view terminal needs a terminal; --view line writes lines instead")
    return view


def watch(
    config: Config,
    view: str,
    *,
    command: str,
    emit: str = "",
    script: Sequence[tuple[int, Command]] = (),
) -> HostedResult:
    """Run the stream and show it until it ends.

    Parameters
    ----------
    config : Config
        The run's settings.
    view : {"terminal"}
        What shows it.
    command : str
        What the user typed, for the report.
    emit : str
        Where predictions are sent.
    script : sequence of (int, Command)
        What is asked at given bins, beside what a person asks.

    Raises
    ------
    HostedRunError
        If the run ended with an error.
    """
    with RunProcess(config, command=command, emit=emit, script=script) as process:
        try:
            from streamstop.live.terminal import TerminalView

            TerminalView(process.read, process.send, ended=lambda: process.ended).run()
        except KeyboardInterrupt:
            pass
        process.send(Command("end"))
        return process.result()
