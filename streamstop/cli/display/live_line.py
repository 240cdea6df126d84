"""Lines about a run under way: the base class of progress lines, and what a live run says first."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.progress import Progress


def print_opened(what: str, *, waits: bool, quiet: bool) -> None:
    """Say on standard error, at once, that a live source is open; nothing if `quiet`.

    waits : events that come while the network is loaded wait for it.
    """
    if quiet:
        return
    meanwhile = "; events that come meanwhile wait" if waits else ""
    text = f"{what}. Loading the network takes a few seconds{meanwhile}. Ctrl-C ends the run."
    print(text, file=sys.stderr, flush=True)


class Line:
    """A context manager that draws a progress display.

    progress : the display, not yet started.
    shown : whether to draw it.
    """

    def __init__(self, progress: Progress, shown: bool) -> None:
        self._progress = progress
        self.shown = shown

    def __enter__(self) -> Self:
        if self.shown:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.shown:
            self._progress.stop()
