"""aestream's USBInput: always skipped, with the reason.

A build with drivers offers `read()`, a (width, height) array of event counts per pixel since the
last call, and `read_genn()`, one bit per pixel. Neither has polarity or time, so the events
(t, x, y, p) that streamstop learns from cannot be obtained, and they are never made up.
(aestream's command line can send a camera's events over UDP, which is a source here.)
"""

from __future__ import annotations

from typing import Never

from streamstop.errors import SourceError
from streamstop.sources.live.cameras.backend import SeenCamera

NAME = "aestream"
DISTRIBUTION = "aestream"
SKIPPED = "its USBInput has neither polarity nor time; its events can be sent over UDP instead"


def load() -> None:
    """Do nothing: the library is never used."""


def list_devices() -> list[SeenCamera]:
    """No cameras."""
    return []


def open_feed(uri: str, word: str, seen: SeenCamera) -> Never:
    """Raise SourceError: it never opens a camera."""
    raise SourceError(f"{NAME} is skipped: {SKIPPED}: {uri}")
