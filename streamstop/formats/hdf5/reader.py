"""Reads events from HDF5 files in the usual layouts.

Layouts: `events/{x,y,p,t}` (DSEC, with its `t_offset`), `events/{xs,ys,ps,ts}` (rpg, E2VID),
`CD/events` (Metavision: fields x, y, p, t), `davis/left/events` (MVSEC), a table `events` (v2e),
and any other group with columns t, x, y and p (M3ED: `prophesee/left`); where there are several,
`?group=` chooses. Compressions: those of HDF5 and of hdf5plugin (blosc, zstd, ...); Metavision's
own codec, ECF, is in neither. Order, unit and polarity are inferred from the numbers where the
layout does not define them (`streamstop.formats.table_layout`).

Guarantees:

- Memory is bounded, whatever libhdf5 does: it runs in a process of its own, which a damaged file
  may crash or keep busy. That costs the events from there on, and no more.
- A chunk that cannot be read costs that chunk.
- No other file is opened: external and soft links, external storage and virtual datasets are not
  followed.

Does not:

- Read from a pipe or a compressed file, since HDF5 is a tree of pointers.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from streamstop.errors import NoEventsError, SourceError
from streamstop.events.packet import EVENT_DTYPE, Cursor, Damage, Packet, SensorSize, empty_events
from streamstop.formats.byte_reader import open_bytes
from streamstop.formats.table_layout import TableOptions

_LONGEST_REASON = 120


class _FaultError(Exception):
    """h5py failed; `at` is the byte offset in the file, None where it is unknown.

    whole : whether the file could be read, and what is in it are no events.
    """

    def __init__(self, reason: str, at: int | None = None, *, whole: bool = False) -> None:
        super().__init__(reason)
        self.at = at
        self.whole = whole


class _DiedError(Exception):
    """The worker process is gone: it crashed, ran out of memory, or took too long."""


class Hdf5Recording:
    """An HDF5 file of events; see `streamstop.formats.base.Recording`.

    Parameters
    ----------
    path
        The file.
    columns, unit, on
        As in `streamstop.formats.table_layout.TableOptions`; "" infers them.
    group
        Where its events are; "" to look for them.

    Raises
    ------
    SourceError
        If h5py is missing, the file is no HDF5 file, has none of the known layouts, or its numbers
        do not say what the columns are.
    """

    format = "hdf5"
    notes: Sequence[str] = ()
    sensor_inferred = False
    simulated = False

    def __init__(
        self, path: str, columns: str = "", unit: str = "", on: str = "", group: str = ""
    ) -> None:
        self.path = path
        self._asked = (TableOptions(columns, unit, on).checked(path), group)
        with open_bytes(path) as data:
            if data.size is None:
                raise SourceError(
                    f"HDF5 cannot be read from a pipe or compressed; unpack it to a file: {path}"
                )
        try:
            about, _ = _ask(path, *self._asked, "about")
        except _FaultError as error:
            kind = NoEventsError if error.whole else SourceError
            raise kind(f"cannot be read as HDF5 events, {error}: {path}") from error
        except _DiedError as error:
            raise SourceError(
                f"cannot be read as HDF5 events: the file is damaged, and libhdf5 fails on it "
                f"({error}): {path}"
            ) from error
        self._rows, self._claimed = int(about["rows"]), int(about["claimed"])
        self._chunk, self._step = int(about["chunk"]), int(about["step"])
        self._row_bytes = int(about["row_bytes"])
        self.notes = tuple(str(note) for note in about["notes"])
        self.sensor = self._sensor()

    def _sensor(self) -> SensorSize | None:
        try:
            answer = _ask(self.path, *self._asked, "sensor")[0]
            sides, self.simulated = answer["sensor"], bool(answer["simulated"])
        except (_FaultError, _DiedError):  # the events may still be readable
            return None
        usable = sides is not None and all(0 < side < 1 << 16 for side in sides)
        return SensorSize(*sides) if usable else None

    def packets(self, start: Cursor | None = None) -> Iterator[Packet]:
        """Packets from `start` on; see `Recording.packets`."""
        at = start if start is not None else Cursor(self.path)
        index, t_us, row = at.event, at.t_us, at.offset
        by_chunk_until = 0  # past rows that could not be read at once
        died_at = -1
        afresh = True
        while row < self._rows:
            step = self._chunk if row < by_chunk_until else self._step
            end = min(row + step - row % step, self._rows)
            try:
                answer, content = _ask(self.path, *self._asked, "events", (row, end), afresh)
            except (_FaultError, _DiedError) as error:
                died = isinstance(error, _DiedError)
                if end - row > self._chunk or (died and died_at != row):  # try fewer rows
                    by_chunk_until = end
                    died_at = row if died else died_at
                    continue
                if died:  # it may fail on all that follows
                    end = self._rows
                yield self._damaged(row, end, error, Cursor(self.path, end, index, t_us))
                row = end
                continue
            events = np.frombuffer(content, EVENT_DTYPE)
            row, index, afresh = end, index + len(events), False
            t_us = int(events["t"][-1]) if len(events) else t_us
            yield Packet(events, Cursor(self.path, row, index, t_us), damage=self._bad(answer))
        if self._claimed > self._rows and row == self._rows:
            lost = self._claimed - self._rows
            reason = f"the columns claim {self._claimed} rows, but hold only {self._rows}"
            damage = Damage(self._rows, lost * self._row_bytes, reason, self.path)
            after = Cursor(self.path, self._claimed, index, t_us)
            yield Packet(empty_events(), after, damage=(damage,))

    def _bad(self, answer: dict[str, Any]) -> tuple[Damage, ...]:
        """The rows that are no events, as damage."""
        if not answer.get("bad"):
            return ()
        lost = int(answer["bad"]) * self._row_bytes
        return (Damage(int(answer["first_bad"]), lost, str(answer["reason"]), self.path),)

    def _damaged(self, row: int, end: int, error: Exception, cursor: Cursor) -> Packet:
        reason = f"rows {row} to {end} cannot be read ({str(error)[:_LONGEST_REASON]})"
        where = error.at if isinstance(error, _FaultError) and error.at is not None else row
        damage = Damage(where, (end - row) * self._row_bytes, reason, self.path)
        return Packet(empty_events(), cursor, damage=(damage,))


class _Process:
    """The worker process, started by its first request; see `streamstop.formats.hdf5.worker`.

    One worker serves all recordings of this process, one request at a time, and ends with it.
    """

    def __init__(self) -> None:
        self._running: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """The worker's answer to a request, and the bytes after it."""
        with self._lock:
            if self._running is not None and self._owner != os.getpid():
                self._leave()
            if self._running is not None and self._running.poll() is not None:
                self._end()  # it was ended while it waited
            if self._running is None:
                self._start()
            try:
                return self._exchange(request)
            except (OSError, EOFError, ValueError) as error:
                raise _DiedError(self._end()) from error
            except BaseException:
                self._end()  # drop its half-read answer
                raise

    @property
    def id(self) -> int | None:
        """Process id of the worker; None where none runs."""
        if self._running is None or self._owner != os.getpid():
            return None
        return self._running.pid

    def close(self) -> None:
        """End the worker, if there is one; the next request starts another."""
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
        """In a fork: forget the worker, which belongs to the parent process."""
        assert self._running is not None
        for pipe in (self._running.stdin, self._running.stdout):
            assert pipe is not None
            pipe.close()
        self._running.returncode = 0  # not our child: nothing to wait for
        self._running = None

    def _end(self) -> str:
        """End the worker; the reason, if it had ended by itself."""
        running, self._running = self._running, None
        if running is None:
            return ""
        for pipe in (running.stdin, running.stdout):
            assert pipe is not None
            with suppress(OSError):  # input that it no longer read
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
    """Process id of the libhdf5 worker, for measurements; None where none runs."""
    return _process.id


def _ask(
    path: str,
    options: TableOptions,
    group: str,
    what: str,
    rows: tuple[int, int] | None = None,
    afresh: bool = True,
) -> tuple[dict[str, Any], bytes]:
    """The file's layout ("about"), its "sensor", or the "events" of its rows [first, last).

    afresh : open the file again, as it may have changed.

    Raises
    ------
    SourceError
        If h5py is missing, or the numbers do not say what the columns are.
    _FaultError, _DiedError
        If it cannot be read.
    """
    where = os.path.abspath(path)  # noqa: PTH100  # a link is not to be resolved
    try:
        answer, content = _process.ask(
            {
                "path": where,
                "options": options,
                "group": group,
                "what": what,
                "rows": rows,
                "afresh": afresh,
            }
        )
    except SourceError as error:
        raise SourceError(f"{error}: {path}") from error
    if "refused" in answer:
        raise NoEventsError(f"{answer['refused'].removesuffix(f': {where}')}: {path}")
    if "fault" in answer:
        raise _FaultError(answer["fault"], answer.get("at"), whole=bool(answer.get("whole")))
    return answer, content
