"""What readers inferred of a recording, as notes on standard error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from streamstop.report.formatting import printable

if TYPE_CHECKING:
    from streamstop.sources.base import Source


def print_notes(source: Source) -> None:
    """Print each note of a source in a line of its own, unless it was a warning already."""
    warned = getattr(source, "warned", ())
    for note in source.notes:
        if note in warned:
            continue
        print(f"note: {printable(note)}", file=sys.stderr, flush=True)
