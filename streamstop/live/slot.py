"""A slot that holds one snapshot, in memory shared by a run and its views.

The run writes whenever it has a new snapshot; a view reads the newest when it likes. Neither waits
for the other: a view that is slow, dead or absent costs the run nothing.

Guarantees:

- A reader gets a whole snapshot or none: a counter is odd while the slot is being written.
"""

from __future__ import annotations

import struct
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from typing import Any, Self

from streamstop.pipeline.snapshot import MAX_BYTES, Snapshot

_HEAD = struct.Struct("<QQ")  # counter, length
_TRIES = 100


class Slot:
    """Shared memory for one snapshot; a context manager.

    Parameters
    ----------
    name
        Of a slot that exists, to read it or to write into it; None makes a new one, which is
        removed when it is closed.
    """

    def __init__(self, name: str | None = None) -> None:
        self._owns = name is None
        if name is None:
            self._memory = SharedMemory(create=True, size=_HEAD.size + MAX_BYTES)
        else:
            self._memory = _opened(name)
        self._seen = 0

    @property
    def name(self) -> str:
        """By which another process opens it."""
        return self._memory.name

    @property
    def _buffer(self) -> memoryview:
        buffer = self._memory.buf
        assert buffer is not None, "the slot is closed"
        return buffer

    def put(self, snapshot: Snapshot) -> None:
        """Replace what is there; a snapshot that is too long is left out."""
        content = snapshot.to_bytes()
        if len(content) > MAX_BYTES:
            return
        buffer = self._buffer
        counter, _ = _HEAD.unpack_from(buffer)
        _HEAD.pack_into(buffer, 0, counter + 1, 0)
        buffer[_HEAD.size : _HEAD.size + len(content)] = content
        _HEAD.pack_into(buffer, 0, counter + 2, len(content))

    def get(self) -> Snapshot | None:
        """The newest snapshot; None where there is none, or none since the last call."""
        buffer = self._buffer
        for _ in range(_TRIES):
            before, length = _HEAD.unpack_from(buffer)
            if before % 2 or before == self._seen:
                if before == self._seen:
                    return None
                continue
            content = bytes(buffer[_HEAD.size : _HEAD.size + length])
            if _HEAD.unpack_from(buffer)[0] == before:
                self._seen = before
                return Snapshot.from_bytes(content)
        return None

    def close(self) -> None:
        """Let go of it."""
        self._memory.close()
        if self._owns:
            self._memory.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _opened(name: str) -> SharedMemory:
    """Memory that another slot made, and will remove.

    Before Python 3.13, opening it registers it for removal as making it does. Processes started by
    multiprocessing share that register, so an entry that is taken back would be its maker's.
    """
    register = resource_tracker.register
    resource_tracker.register = _registers_nothing
    try:
        return SharedMemory(name)
    finally:
        resource_tracker.register = register


def _registers_nothing(name: Any, rtype: str) -> None:
    """In place of the tracker's `register`."""
