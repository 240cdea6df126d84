"""Finds cameras: asks each backend which ones it sees, in a process of its own.

Guarantees:

- A result by the deadline, whatever a driver does: raise, panic, abort the process, or hang with
  Python's lock held, which no thread could recover from.

The processes start together, so that slow imports overlap, but list cameras one after the other:
two drivers that open the same camera at once disturb each other. Run as a module, this is such a
process: it loads the backend that it is given, waits for a line on standard input, lists the
cameras, and writes one line of JSON.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from streamstop import _version
from streamstop.sources.live.cameras.backend import Backend, SeenCamera, error_summary, module_of

TIMEOUT_S = 1.7
"""Time limit of all backends; with start-up, a result comes in under 2 s."""

LAST_TURN_S = 0.6
"""Time reserved for each backend that still waits for its turn."""


@dataclass(frozen=True, slots=True)
class DiscoveryResult:
    """The result of asking one backend.

    Attributes
    ----------
    version
        Of the installed library; "" if it is not installed.
    state
        "looked", "absent", "skipped", "failed" or "silent".
    cameras
        What it sees.
    reason
        Why it did not list cameras.
    """

    backend: str
    version: str
    state: str
    cameras: tuple[SeenCamera, ...] = ()
    reason: str = ""

    def __str__(self) -> str:
        words = {
            "absent": "not installed",
            "skipped": f"skipped: {self.reason}",
            "failed": f"failed with {self.reason}",
            "silent": self.reason,
        }
        sees = ", ".join(map(str, self.cameras)) or "no camera"
        name = f"{self.backend} {self.version}".strip()
        return f"{name}: {words.get(self.state, f'sees {sees}')}"


def discover(
    backends: Sequence[Backend],
    timeout_s: float = TIMEOUT_S,
    clock: Callable[[], float] = time.monotonic,
) -> Generator[DiscoveryResult, None, None]:
    """The result of each backend, in order; remaining processes are stopped when this is closed."""
    end_s = clock() + timeout_s
    started: list[subprocess.Popen[str] | None] = []
    try:
        for backend in backends:
            asked = installed(backend) and not backend.SKIPPED
            started.append(_start(backend) if asked else None)
        for place, (backend, process) in enumerate(zip(backends, started, strict=True)):
            others = sum(one is not None for one in started[place + 1 :])
            left_s = end_s - clock() - others * LAST_TURN_S
            yield _answer(backend, process, max(left_s, LAST_TURN_S / 2))
    finally:
        for process in started:
            if process is not None:
                _stop(process)


def installed(backend: Backend) -> str:
    """The version of a backend's library, "" if it is not installed."""
    try:
        return importlib.metadata.version(backend.DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _start(backend: Backend) -> subprocess.Popen[str]:
    home = str(Path(_version.__file__).parents[1])
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), home]))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", __name__, module_of(backend)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONPATH": path},
    )


def _answer(
    backend: Backend, process: subprocess.Popen[str] | None, wait_s: float
) -> DiscoveryResult:
    """Let a backend list its cameras, and return the result."""
    version = installed(backend)
    if process is None:
        state = "skipped" if version else "absent"
        return DiscoveryResult(backend.NAME, version, state, reason=backend.SKIPPED)
    try:
        output, complaint = process.communicate("look\n", timeout=wait_s)
    except subprocess.TimeoutExpired:
        reason = f"no answer within {wait_s:.1f} s"
        return DiscoveryResult(backend.NAME, version, "silent", reason=reason)
    try:
        answer = json.loads(output.splitlines()[-1])
        cameras = tuple(
            SeenCamera(**{**one, "names": tuple(one["names"])}) for one in answer["cameras"]
        )
        return DiscoveryResult(backend.NAME, version, answer["state"], cameras, answer["reason"])
    except (IndexError, ValueError, KeyError, TypeError):
        last = (complaint.strip().splitlines() or ["no message"])[-1]
        reason = f"the end of its process ({process.returncode}): {last}"
        return DiscoveryResult(backend.NAME, version, "failed", reason=reason)


def _stop(process: subprocess.Popen[str]) -> None:
    """Stop a process that may hang; its pipes are closed whether it ends or not."""
    with suppress(OSError):
        process.kill()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(OSError, ValueError):
                pipe.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=0.1)


def list_devices_once(backend: Any) -> dict[str, Any]:
    """Load a backend, wait for a line, list its cameras; the result as it is written."""
    answer: dict[str, Any] = {"state": "looked", "cameras": [], "reason": ""}
    try:
        backend.load()
        if not sys.stdin.readline():
            return answer
        answer["cameras"] = [asdict(one) for one in backend.list_devices()]
    except BaseException as error:  # drivers raise anything, some of it no Exception
        answer.update(state="failed", reason=error_summary(error))
    return answer


def main() -> None:
    """The process; standard output is reserved for the answer, since drivers print to it too."""
    answers = os.dup(1)
    os.dup2(2, 1)
    answer = list_devices_once(importlib.import_module(f"{__package__}.{sys.argv[1]}"))
    os.write(answers, (json.dumps(answer) + "\n").encode())
    os._exit(0)  # a driver's threads might never end


if __name__ == "__main__":
    main()
