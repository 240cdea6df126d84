"""Progress line of a run: how far, how fast, how accurate, and the current prediction.

Guarantees:
- Drawn on standard error only, at most ten times per second; not at all without a terminal or when
  quiet.
- Bounded memory.

Does not:
- Count anything: it shows the `RunState` that it is given. Speeds are over the last seconds, so
  that a stalled source is visible.
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
    """The progress of a run.

    events : events received so far.
    stream_us : stream time passed so far.
    segments, segments_total : segments scored, and how many there will be (None: not known).
    fraction : processed fraction of the source, 0 to 1, without segments (None: not known).
    accuracy : accuracy over the last segments (None: nothing scored).
    decision : name of the class predicted now.
    """

    events: int = 0
    stream_us: int = 0
    segments: int = 0
    segments_total: int | None = None
    fraction: float | None = None
    accuracy: float | None = None
    decision: str = ""


class RunProgress(Line):
    """Shows the state of a run on a terminal; a context manager.

    Parameters
    ----------
    quiet : draw nothing.
    window : number of segments that the accuracy covers.
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
        """Whether an update would be drawn now; cheaper than building the state."""
        return self.shown and self._clock() - self._drawn_at >= DRAW_EVERY_S

    def update(self, state: RunState) -> None:
        """Show a state, at most ten times per second."""
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
    """One named cell of the line, empty at first."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(table_column=Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        cells: dict[str, Text] = task.fields.get("cells", {})
        return cells.get(self.name, Text())


def _extent(state: RunState) -> tuple[float | None, float]:
    """Total and completed length of the bar; total None where it is unknown."""
    if state.segments_total:
        return state.segments_total, state.segments
    if state.fraction is not None:
        return 1.0, state.fraction
    return None, 0.0
