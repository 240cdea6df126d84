"""The line that shows a run while it goes on: how far, how fast, how well, and what it sees now.

Promises: drawn on standard error alone, at most ten times a second, and not at all where standard
output or error is no terminal or where quiet was asked for; bounded memory; never an exception's
last resting place. Does not count anything itself: it shows the `RunState` it is given, and speeds
over the last seconds, so that a source that stalls is seen to stall.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.table import Column
from rich.text import Text

from streamstop.cli.display.live_line import Line
from streamstop.report.formatting import percent, printable, rate, shorten

DRAW_EVERY_S = 0.1
SPEED_OVER_S = 3.0


@dataclass(frozen=True, slots=True)
class RunState:
    """Where a run is.

    events : events received so far.
    stream_us : stream time passed so far.
    segments, segments_total : segments scored, and how many there will be (None: not known).
    fraction : share of the source done, 0 to 1, where there are no segments (None: not known).
    accuracy : share of the last segments decided right (None: nothing scored).
    decision : name of the class seen now.
    """

    events: int = 0
    stream_us: int = 0
    segments: int = 0
    segments_total: int | None = None
    fraction: float | None = None
    accuracy: float | None = None
    decision: str = ""


class RunProgress(Line):
    """Shows a run's state on a terminal; a context manager.

    Parameters
    ----------
    quiet : draw nothing.
    window : how many segments a state's accuracy speaks of.
    console : where to draw; standard error if None.
    clock : seconds, monotonic; for tests.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        window: int = 50,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        seen = console is not None or sys.stdout.isatty()
        console = console or Console(stderr=True)
        self._clock = clock
        self._window = window
        self._drawn_at = -DRAW_EVERY_S
        self._past: deque[tuple[float, RunState]] = deque(maxlen=round(SPEED_OVER_S / DRAW_EVERY_S))
        progress = Progress(
            BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=6)),
            *(_Cell(name) for name in ("done", "speed", "accuracy", "decision")),
            console=console,
            auto_refresh=False,
            transient=True,
            expand=True,
        )
        super().__init__(progress, not quiet and console.is_terminal and seen)
        self._task = self._progress.add_task("", total=None, state=())

    @property
    def due(self) -> bool:
        """Whether an update would be drawn now: asking is cheaper than describing the state."""
        return self.shown and self._clock() - self._drawn_at >= DRAW_EVERY_S

    def update(self, state: RunState) -> None:
        """Show a state, unless the last one was shown less than a tenth of a second ago."""
        if not self.due:
            return
        now = self._drawn_at = self._clock()
        self._past.append((now, state))
        total, completed = _extent(state)
        self._progress.update(
            self._task, total=total, completed=completed, cells=self._cells(now, state)
        )
        self._progress.refresh()

    def _cells(self, now: float, state: RunState) -> dict[str, Text]:
        then, before = self._past[0]
        speed = ""
        if now > then:
            events = rate((state.events - before.events) / (now - then))
            times = (state.stream_us - before.stream_us) / 1e6 / (now - then)
            speed = f"{events} {times:.3g}\N{MULTIPLICATION SIGN}"
        if state.segments_total:
            done = f"{state.segments:,}/{state.segments_total:,}"
        elif state.segments:
            done = f"{state.segments:,} segments"
        else:
            done = f"{state.stream_us / 1e6:,.1f} s"
        accuracy = (
            "" if state.accuracy is None else f"last {self._window}: {percent(state.accuracy)}"
        )
        return {
            "done": Text(done),
            "speed": Text(speed, style="dim"),
            "accuracy": Text(accuracy, style="bold"),
            "decision": Text(shorten(printable(state.decision), 16), style="cyan"),
        }


class _Cell(ProgressColumn):
    """One named cell of the line, empty until there is something to say."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(table_column=Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        cells: dict[str, Text] = task.fields.get("cells", {})
        return cells.get(self.name, Text())


def _extent(state: RunState) -> tuple[float | None, float]:
    """The bar's end and where it has come to; no end where none is known."""
    if state.segments_total:
        return state.segments_total, state.segments
    if state.fraction is not None:
        return 1.0, state.fraction
    return None, 0.0
