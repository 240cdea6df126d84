"""The label file that lies beside a recording, found by its name."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from streamstop.errors import StreamstopError
from streamstop.events.labels import is_label_csv, label_names
from streamstop.formats.base import read_start
from streamstop.formats.byte_reader import STDIN, SUFFIXES


def label_file_beside(path: str) -> str | None:
    """The label CSV of the recording's name, as `labels.label_names` has it; None without one."""
    if path in ("", STDIN):
        return None
    plain = Path(path)
    if plain.suffix.lower() in SUFFIXES:
        plain = plain.with_suffix("")
    for one in label_names(plain):
        with suppress(StreamstopError, OSError):
            if one.is_file() and is_label_csv(read_start(str(one), 1 << 10)):
                return str(one)
    return None
