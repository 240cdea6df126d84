"""What a camera backend offers: what it sees, and a feed from one of the cameras it sees.

A backend is a module of this package with what `Backend` lists. `load` and `list_devices` run in a
process of their own (see `streamstop.sources.live.cameras.discovery`), since a driver may hang with
Python's lock held, or take the process down; `open_feed` runs in ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from streamstop.sources.live.feed import LiveFeed

IDLE_US = 100_000
"""Drivers hand events over a few ms after they happened; by this time all of them have come."""


@dataclass(frozen=True, slots=True)
class SeenCamera:
    """One camera that a backend lists.

    names : the names it may be asked for by, e.g. ("davis346",); the backend of an iniVation camera
        may only know that it is some DAVIS. "camera" fits all and is not among them.
    model : what the backend calls it.
    serial : its serial number, "" where that could not be read.
    error : why it cannot be used, in the backend's words; "" where nothing is known against it.
    """

    names: tuple[str, ...]
    model: str
    serial: str = ""
    error: str = ""

    def fits(self, word: str, serial: str = "") -> bool:
        """Whether it may be what was asked for."""
        return (word == "camera" or word in self.names) and serial in ("", self.serial)

    def __str__(self) -> str:
        serial = f" (serial {self.serial})" if self.serial else ""
        return f"{self.model}{serial}" + (f", which fails: {self.error}" if self.error else "")


class Backend(Protocol):
    """A module for one library.

    NAME, DISTRIBUTION : of the library.
    SKIPPED : why it is not asked although it may be installed; "" where it is.
    """

    NAME: str
    DISTRIBUTION: str
    SKIPPED: str

    def load(self) -> None:
        """Import the library. Raises whatever the library does."""

    def list_devices(self) -> list[SeenCamera]:
        """Cameras the library lists. Raises whatever the library does."""

    def open_feed(self, uri: str, word: str, seen: SeenCamera) -> LiveFeed:
        """A feed from a camera it listed. Raises whatever the library does."""


def error_summary(error: BaseException) -> str:
    """A driver's error in one line: without the stack traces that dv-processing puts into it.

    >>> in_words(RuntimeError("/a/b.hpp(88): open()\\nRuntimeError: no device\\nStacktrace:\\n #0"))
    'RuntimeError: no device'
    >>> in_words(RuntimeError("Other error"))
    'RuntimeError: Other error'
    """
    lines = str(error).partition("Stacktrace:")[0].strip().splitlines()
    kind = type(error).__name__
    if not lines:
        return kind
    last = lines[-1].strip()
    return last if last.startswith(f"{kind}:") else f"{kind}: {last}"


def module_of(backend: Any) -> str:
    """The name that `discover` starts a backend by."""
    return str(backend.__name__).rpartition(".")[2]
