"""Standard input that is a slow pipe."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from streamstop.formats import byte_reader


class Slow(io.RawIOBase):
    """A pipe that gives a little at a time, and counts how often it was asked."""

    def __init__(self, content: bytes, piece: int) -> None:
        self._left, self._piece, self.asked = io.BytesIO(content), piece, 0

    def read1(self, size: int) -> bytes:
        self.asked += 1
        return self._left.read(min(size, self._piece))


def pipe(monkeypatch: pytest.MonkeyPatch, content: bytes, piece: int = 1000) -> Slow:
    """Standard input is a pipe with this content."""
    slow = Slow(content, piece)
    monkeypatch.setattr(byte_reader, "_standard_input", None)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=slow, isatty=lambda: False))
    return slow
