"""The protocol of a camera backend: list the cameras that a library sees, and open one of them.

A backend is a module of this package with the members of `Backend`. `load` and `list_devices` run
in a process of their own (see `streamstop.sources.live.cameras.discovery`), since a driver may hang
with Python's lock held, or end the process; `open_feed` runs in ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from streamstop.sources.live.feed import LiveFeed

IDLE_US = 100_000
"""Drivers deliver events a few ms after they happened; after this time all have arrived."""


@dataclass(frozen=True, slots=True)
class SeenCamera:
    """One camera that a backend lists.

    Attributes
    ----------
    names
        The names that select it, e.g. ("davis346",); the backend of an iniVation camera may
        only know that it is some DAVIS. "camera" selects any and is not listed.
    model
        The backend's name of it.
    serial
        Its serial number, "" if that could not be read.
    error
        Why it cannot be used, as the backend reports it; "" if there is no known reason.
    """

    names: tuple[str, ...]
    model: str
    serial: str = ""
    error: str = ""

    def fits(self, word: str, serial: str = "") -> bool:
        """Whether it may be the camera that was asked for."""
        return (word == "camera" or word in self.names) and serial in ("", self.serial)

    def __str__(self) -> str:
        serial = f" (serial {self.serial})" if self.serial else ""
        return f"{self.model}{serial}" + (f", which fails: {self.error}" if self.error else "")


class Backend(Protocol):
    """A module for one library.

    Attributes
    ----------
    NAME, DISTRIBUTION
        Of the library.
    SKIPPED
        Why it is not used although it may be installed; "" if it is used.
    """

    NAME: str
    DISTRIBUTION: str
    SKIPPED: str

    def load(self) -> None:
        """Import the library. Raises whatever the library does."""

    def list_devices(self) -> list[SeenCamera]:
        """Cameras that the library lists. Raises whatever the library does."""

    def open_feed(self, uri: str, word: str, seen: SeenCamera) -> LiveFeed:
        """Open a camera that it listed. Raises whatever the library does."""


def error_summary(error: BaseException) -> str:
    r"""A driver's error in one line, without the stack traces that dv-processing includes.

    Examples
    --------
    >>> error_summary(RuntimeError("/a.hpp(88): f()\nRuntimeError: no device\nStacktrace:\n #0"))
    'RuntimeError: no device'
    >>> error_summary(RuntimeError("Other error"))
    'RuntimeError: Other error'
    """
    lines = str(error).partition("Stacktrace:")[0].strip().splitlines()
    kind = type(error).__name__
    if not lines:
        return kind
    last = lines[-1].strip()
    return last if last.startswith(f"{kind}:") else f"{kind}: {last}"


def module_of(backend: Any) -> str:
    """The module name by which `discover` starts a backend."""
    return str(backend.__name__).rpartition(".")[2]
