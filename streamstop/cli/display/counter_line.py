"""Progress line of a long operation: events so far, their fraction where known, and the rate.

Guarantees:
- Drawn on standard error only, at most ten times per second; not at all without a terminal or when
  quiet.
"""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from streamstop.cli.display.live_line import Line
from streamstop.report.formatting import rate

DRAW_EVERY_S = 0.1


class CounterLine(Line):
    """Shows a count of events that rises; a context manager.

    Parameters
    ----------
    verb : the activity, e.g. "reading".
    quiet : draw nothing.
    console : where to draw; standard error if None.
    """

    def __init__(self, verb: str, *, quiet: bool = False, console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        progress = Progress(
            TextColumn(verb),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            console=console,
            auto_refresh=False,
            transient=True,
            expand=True,
        )
        super().__init__(progress, not quiet and console.is_terminal)
        self._task = self._progress.add_task("", total=None, text="")
        self._began_s = self._drawn_s = time.monotonic()

    def update(self, events: int, share: float | None = None, more: str = "") -> None:
        """Show the number of events so far and their fraction of all (None: not known)."""
        now_s = time.monotonic()
        if not self.shown or now_s - self._drawn_s < DRAW_EVERY_S:
            return
        self._drawn_s = now_s
        text = f"{events:,} events, {rate(events / (now_s - self._began_s))}{more}"
        total = 1.0 if share is not None else None
        self._progress.update(self._task, total=total, completed=share or 0.0, text=text)
        self._progress.refresh()
