"""The process in which libhdf5 reads, on requests from `streamstop.formats.hdf5.reader`.

libhdf5 is native code that a damaged file can crash (a bad reference in an attribute does so in
HDF5 2.0), keep busy, or make allocate any amount of memory. Here it can only end this process.

Guarantees:

- Each request is answered, or ends the process: processor time and memory are bounded.

A request is a line of JSON: path, what the user states about its columns, the group, what ("about",
"sensor" or "events"), rows [first, last), and whether to open the file again. So is the answer,
with the number of bytes of events that follow it. Only open files are kept between requests, so
that a new process can answer the next one.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np

from streamstop.errors import SourceError
from streamstop.formats.hdf5.layouts import FAULTS, OpenFile
from streamstop.formats.table_layout import Rows, TableOptions

SECONDS = {"about": 0.3, "sensor": 0.3, "events": 0.6}
"""Processor time per request; a hundredth of it is usual. All failing requests of one reading,
with events asked for twice, take less than 2 s."""

MAX_MEMORY_BYTES = 1 << 28
"""Memory allowed beyond what the process has with its libraries loaded."""

MAX_OPEN = 2

PIPE_BYTES = 1 << 20
"""Size of the pipe for answers: this much of a packet can be written before it is read."""


def main() -> None:
    """Answer requests from standard input until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent process
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # output of a library must not mix with answers
        try:
            import h5py
            import hdf5plugin  # noqa: F401  # it registers its filters
        except ImportError as error:
            _answer(answers, {"missing": str(error)})
            return
        with suppress(ImportError, AttributeError, OSError):
            import fcntl

            fcntl.fcntl(answers, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        _answer(answers, {"h5py": h5py.__version__})
        _bound_memory()
        for answer, events in _answers(sys.stdin.buffer):
            _answer(answers, answer, events)


def _answers(requests: BinaryIO) -> Iterator[tuple[dict[str, Any], bytes | memoryview]]:
    opened: dict[tuple[str, ...], OpenFile] = {}
    for line in requests:
        asked = json.loads(line)
        _bound_time(asked["what"])
        key = (asked["path"], *asked["options"], asked["group"])
        try:
            if asked["afresh"]:  # libhdf5 shares what it knows of a file among its handles
                for one in [one for one in opened if one[0] == asked["path"]]:
                    opened.pop(one).close()
            if key not in opened:
                if len(opened) == MAX_OPEN:
                    opened.pop(next(iter(opened))).close()
                options = TableOptions(*asked["options"])
                opened[key] = OpenFile(asked["path"], options, asked["group"])
            file = opened[key] = opened.pop(key)  # the latest is last
            if asked["what"] == "events":
                rows = file.read(*asked["rows"])
                yield _bad(rows, asked["rows"][0]), rows.events.view(np.uint8).data
            else:
                yield (file.about() if asked["what"] == "about" else _attributes(file)), b""
        except SourceError as error:
            yield {"refused": str(error)}, b""
        except (*FAULTS, MemoryError) as error:
            at = opened[key].place(asked["rows"][0]) if asked["rows"] and key in opened else None
            # Layouts raise ValueError for what is no events, h5py OSError for what is damaged.
            whole = type(error) is ValueError
            yield {"fault": str(error) or type(error).__name__, "at": at, "whole": whole}, b""


def _attributes(file: OpenFile) -> dict[str, Any]:
    return {"sensor": file.sensor(), "simulated": file.simulated()}


def _bad(rows: Rows, first: int) -> dict[str, Any]:
    """What is said of rows that are no events; `first`: the row that the block begins with."""
    if not len(rows.bad):
        return {}
    row = first + int(rows.bad[0])
    reason = f"{len(rows.bad)} rows are no events, the first is row {row}: {rows.reason}"
    return {"bad": len(rows.bad), "first_bad": row, "reason": reason}


def _answer(answers: BinaryIO, answer: dict[str, Any], events: bytes | memoryview = b"") -> None:
    answers.write(json.dumps({**answer, "bytes": len(events)}).encode() + b"\n")
    answers.write(events)
    answers.flush()


def _bound_memory() -> None:
    with suppress(ImportError, OSError, ValueError):  # some systems have no such limits
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with open("/proc/self/statm") as file:  # noqa: PTH123
            pages = int(file.read().split()[0])
        most = pages * resource.getpagesize() + MAX_MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _bound_time(what: str) -> None:
    """Let the system end this process if its next answer takes too long."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, SECONDS[what])


if __name__ == "__main__":
    main()
