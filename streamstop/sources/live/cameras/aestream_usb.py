"""aestream's USBInput: always skipped, and it says why.

A build with drivers offers `read()`, a (width, height) array of how many events each pixel had
since the last call, and `read_genn()`, a bit for each pixel. Neither has polarity or time, so the
events (t, x, y, p) that streamstop learns from cannot be had from it, and made-up ones are never
given. (aestream's own command line can send a camera's events over UDP, which is a source here.)
"""

from __future__ import annotations

from typing import Never

from streamstop.errors import SourceError
from streamstop.sources.live.cameras.backend import SeenCamera

NAME = "aestream"
DISTRIBUTION = "aestream"
SKIPPED = "its USBInput has neither polarity nor time; its events can be sent over UDP instead"


def load() -> None:
    """Nothing: the library is never asked."""


def list_devices() -> list[SeenCamera]:
    """Nothing."""
    return []


def open_feed(uri: str, word: str, seen: SeenCamera) -> Never:
    """Never opens."""
    raise SourceError(f"{NAME} is skipped: {SKIPPED}: {uri}")
