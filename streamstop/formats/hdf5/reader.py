"""HDF5 in the layouts that event data come in, in bounded memory, whatever libhdf5 does.

Known are `events/{x,y,p,t}` (DSEC, with its `t_offset`), `events/{xs,ys,ps,ts}` (rpg, E2VID),
`CD/events` (Metavision: fields x, y, p, t) and `davis/left/events` (MVSEC: columns x, y, t, p).
Compressions are those of HDF5 and of hdf5plugin (blosc, zstd, ...); Metavision's own codec, ECF, is
no part of either. Times in seconds are read with `?unit=s` and never guessed.

A file may name others (external and soft links, external storage, virtual datasets): none of them
is followed. HDF5 is a tree of pointers, so the file has to be a plain one: no pipe, no gzip. A
chunk that cannot be read costs that chunk. libhdf5 works in a process of its own, which a damaged
file may crash or keep busy; it then costs what comes from there on, and no more.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from streamstop.errors import SourceError
from streamstop.events.packet import EVENT_DTYPE, Cursor, Damage, Packet, SensorSize, empty_events
from streamstop.formats.byte_reader import open_bytes
from streamstop.formats.columns import time_unit

_LONGEST_REASON = 120


class _FaultError(Exception):
    """h5py could not do it; `at` is the byte of the file, None where it is not known."""

    def __init__(self, reason: str, at: int | None = None) -> None:
        super().__init__(reason)
        self.at = at


class _DiedError(Exception):
    """The process that was asked is gone: crashed, out of memory, or too long at work."""


class Hdf5Recording:
    """An HDF5 file of events; see `streamstop.formats.base.Recording`.

    Parameters
    ----------
    path : the file.
    unit : of its times: "us", "ms" or "s".

    Raises
    ------
    SourceError
        If h5py is missing, the file is none, or is in none of the known layouts.
    """

    format = "hdf5"
    simulated = False

    def __init__(self, path: str, unit: str = "us") -> None:
        self.path = path
        time_unit(unit, path)
        self._unit = unit
        with open_bytes(path) as data:
            if data.size is None:
                raise SourceError(
                    f"HDF5 cannot be read from a pipe or compressed; unpack it to a file: {path}"
                )
        try:
            about, _ = _ask(path, unit, "about")
        except _FaultError as error:
            raise SourceError(f"cannot be read as HDF5 events, {error}: {path}") from error
        except _DiedError as error:
            raise SourceError(
                f"cannot be read as HDF5 events: the file is damaged, and libhdf5 fails on it "
                f"({error}): {path}"
            ) from error
        self._rows, self._claimed = int(about["rows"]), int(about["claimed"])
        self._chunk, self._step = int(about["chunk"]), int(about["step"])
        self._row_bytes = int(about["row_bytes"])
        self.sensor = self._sensor()

    def _sensor(self) -> SensorSize | None:
        try:
            sides = _ask(self.path, self._unit, "sensor")[0]["sensor"]
        except (_FaultError, _DiedError):  # the events may be whole all the same
            return None
        usable = sides is not None and all(0 < side < 1 << 16 for side in sides)
        return SensorSize(*sides) if usable else None

    def packets(self, start: Cursor | None = None) -> Iterator[Packet]:
        """Packets from `start` on; see `Recording.packets`."""
        at = start if start is not None else Cursor(self.path)
        index, t_us, row = at.event, at.t_us, at.offset
        by_chunk_until = 0  # beyond a place that could not be read at once
        died_at = -1
        afresh = True
        while row < self._rows:
            step = self._chunk if row < by_chunk_until else self._step
            end = min(row + step - row % step, self._rows)
            try:
                _, content = _ask(self.path, self._unit, "events", (row, end), afresh)
            except (_FaultError, _DiedError) as error:
                died = isinstance(error, _DiedError)
                if end - row > self._chunk or (died and died_at != row):  # once more, with less
                    by_chunk_until = end
                    died_at = row if died else died_at
                    continue
                if died:  # so it may of all that follows
                    end = self._rows
                yield self._damaged(row, end, error, Cursor(self.path, end, index, t_us))
                row = end
                continue
            events = np.frombuffer(content, EVENT_DTYPE)
            row, index, afresh = end, index + len(events), False
            t_us = int(events["t"][-1])
            yield Packet(events, Cursor(self.path, row, index, t_us))
        if self._claimed > self._rows and row == self._rows:
            lost = self._claimed - self._rows
            reason = f"the columns claim {self._claimed} rows, and {self._rows} of them are whole"
            damage = Damage(self._rows, lost * self._row_bytes, reason, self.path)
            after = Cursor(self.path, self._claimed, index, t_us)
            yield Packet(empty_events(), after, damage=(damage,))

    def _damaged(self, row: int, end: int, error: Exception, cursor: Cursor) -> Packet:
        reason = f"rows {row} to {end} cannot be read ({str(error)[:_LONGEST_REASON]})"
        where = error.at if isinstance(error, _FaultError) and error.at is not None else row
        damage = Damage(where, (end - row) * self._row_bytes, reason, self.path)
        return Packet(empty_events(), cursor, damage=(damage,))


class _Process:
    """The process that reads, from its first request on; see `hdf5_process`.

    One serves all recordings of this process, one request at a time; it ends with it.
    """

    def __init__(self) -> None:
        self._running: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """The answer, and the bytes after it."""
        with self._lock:
            if self._running is not None and self._owner != os.getpid():
                self._leave()
            if self._running is not None and self._running.poll() is not None:
                self._end()  # someone ended it while it waited
            if self._running is None:
                self._start()
            try:
                return self._exchange(request)
            except (OSError, EOFError, ValueError) as error:
                raise _DiedError(self._end()) from error
            except BaseException:
                self._end()  # its answer, half read, is nobody's
                raise

    @property
    def id(self) -> int | None:
        """Of the process that runs; None where none does."""
        if self._running is None or self._owner != os.getpid():
            return None
        return self._running.pid

    def close(self) -> None:
        """End the process, if there is one; the next request starts another."""
        with self._lock:
            if self._owner == os.getpid():
                self._end()

    def _start(self) -> None:
        paths = os.pathsep.join(one or os.getcwd() for one in sys.path)  # noqa: PTH109
        self._running = subprocess.Popen(
            [sys.executable, "-m", "streamstop.formats.hdf5.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
        )
        self._owner = os.getpid()
        try:
            first, _ = self._answer()
        except (OSError, EOFError, ValueError) as error:
            raise _DiedError(self._end()) from error
        if "missing" in first:
            self._end()
            raise SourceError("reading HDF5 needs h5py: pip install 'streamstop[hdf5]'")

    def _exchange(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        assert self._running is not None
        assert self._running.stdin is not None
        self._running.stdin.write(json.dumps(request).encode() + b"\n")
        self._running.stdin.flush()
        return self._answer()

    def _answer(self) -> tuple[dict[str, Any], bytes]:
        assert self._running is not None
        assert self._running.stdout is not None
        line = self._running.stdout.readline()
        if not line:
            raise EOFError
        answer: dict[str, Any] = json.loads(line)
        content = self._running.stdout.read(answer["bytes"])
        if len(content) < answer["bytes"]:
            raise EOFError
        return answer, content

    def _leave(self) -> None:
        """Leave the process to the one that started it, of which this is a fork."""
        assert self._running is not None
        for pipe in (self._running.stdin, self._running.stdout):
            assert pipe is not None
            pipe.close()
        self._running.returncode = 0  # nothing to wait for here
        self._running = None

    def _end(self) -> str:
        """Why it ended, if by itself."""
        running, self._running = self._running, None
        if running is None:
            return ""
        for pipe in (running.stdin, running.stdout):
            assert pipe is not None
            with suppress(OSError):  # what it did not take any more
                pipe.close()
        try:
            code = running.wait(1.0)
        except subprocess.TimeoutExpired:
            running.kill()
            code = running.wait()
        return f"signal {-code}" if code < 0 else f"exit code {code}"


_process = _Process()
atexit.register(_process.close)


def process_id() -> int | None:
    """The process that libhdf5 reads in, for those who measure it; None where none runs."""
    return _process.id


def _ask(
    path: str,
    unit: str,
    what: str,
    rows: tuple[int, int] | None = None,
    afresh: bool = True,
) -> tuple[dict[str, Any], bytes]:
    """What the file is ("about"), its "sensor", or "events" of its rows [first, last), as bytes.

    afresh : open it anew, as it may be another than it was.

    Raises
    ------
    SourceError
        If h5py is missing.
    _FaultError, _DiedError
        If it cannot be read.
    """
    where = os.path.abspath(path)  # noqa: PTH100  # a link is not to be resolved
    try:
        answer, content = _process.ask(
            {"path": where, "unit": unit, "what": what, "rows": rows, "afresh": afresh}
        )
    except SourceError as error:
        raise SourceError(f"{error}: {path}") from error
    if "fault" in answer:
        raise _FaultError(answer["fault"], answer.get("at"))
    return answer, content
