"""Progress line of a training, on standard error, only on a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from streamstop.cli.display.live_line import Line
from streamstop.report.formatting import percent

if TYPE_CHECKING:
    from streamstop.training.train import TrainProgress


class TrainLine(Line):
    """Shows the progress of a training; a context manager. quiet : draw nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        console = Console(stderr=True)
        progress = Progress(
            BarColumn(bar_width=None),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            expand=True,
        )
        super().__init__(progress, not quiet and console.is_terminal and sys.stdout.isatty())
        self._task = self._progress.add_task("", total=None)

    def update(self, now: TrainProgress) -> None:
        """Show the progress."""
        if self.shown:
            last = "" if now.validation is None else f", validation {percent(now.validation)}"
            text = f"{now.part} epoch {now.epoch}{last}".strip()
            self._progress.update(self._task, total=now.total, completed=now.done, description=text)
