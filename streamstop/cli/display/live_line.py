"""Base class of progress lines: drawn while the context is open."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.progress import Progress


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
