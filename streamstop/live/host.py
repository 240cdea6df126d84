"""Runs a stream in a process of its own, so that no view can slow it.

The process that a person started shows the views; the run is its child. Snapshots come through a
slot in shared memory, commands and the result go through a pipe, as lines of JSON.

Guarantees:

- The run never waits for a view. A view that dies ends the run in order: its folder is complete.
- Nothing that the run prints reaches the terminal of a view; it is in `RunProcess.output`.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from streamstop.config.sections import Config
from streamstop.errors import StreamstopError
from streamstop.live.slot import Slot
from streamstop.pipeline.snapshot import Command, Snapshot

MAX_LINE = 1 << 12
_ENDS_S = 30.0
"""How long a run that was asked to end may take, before it is terminated."""


@dataclass(frozen=True)
class HostedResult:
    """What a run in another process ended with; see `streamstop.pipeline.run.RunResult`."""

    summary: dict[str, Any]
    run_dir: Path
    exit_code: int


class HostedRunError(StreamstopError):
    """The run's process ended with an error; `exit_code` is that error's."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class RunProcess:
    """A run in a process of its own; a context manager that ends it.

    Parameters
    ----------
    config : Config
        The run's settings.
    command : str
        What the user typed, for the report.
    emit : str
        Where predictions are sent; see `streamstop.pipeline.emitter.Emitter`.
    script : sequence of (int, Command)
        What is asked at given bins; see `streamstop.pipeline.commands.Script`.
    """

    def __init__(
        self,
        config: Config,
        *,
        command: str = "",
        emit: str = "",
        script: Sequence[tuple[int, Command]] = (),
    ) -> None:
        self._slot = Slot()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        asked = (command, emit, tuple(script))
        arguments = (config, asked, self._slot.name, theirs, os.getpid())
        self._process = spawn.Process(target=_run, args=arguments, name="streamstop-run")
        with _standard_streams_in(self._log.fileno()):
            self._process.start()
        theirs.close()
        self._answer: dict[str, Any] | None = None

    def read(self) -> Snapshot | None:
        """The newest snapshot, once; None where there is no new one."""
        return self._slot.get()

    def another_view(self) -> Slot:
        """The slot once more, for a second view: each sees every newest snapshot."""
        return Slot(self._slot.name)

    def send(self, command: Command) -> None:
        """Ask something of the run; nothing happens where it has ended."""
        try:
            self._pipe.send_bytes(command.to_line())
        except OSError:
            return

    @property
    def ended(self) -> bool:
        """Whether the run is over."""
        if self._answer is None and self._pipe.poll():
            try:
                self._answer = json.loads(self._pipe.recv_bytes())
            except (EOFError, OSError):
                self._answer = {}
        return self._answer is not None or not self._process.is_alive()

    @property
    def output(self) -> str:
        """The end of what the run printed."""
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(size - (1 << 14), 0))
        return self._log.read().decode(errors="replace")

    def result(self) -> HostedResult:
        """Wait for the end of the run.

        Raises
        ------
        HostedRunError
            If it ended with an error.
        """
        while not self.ended:
            time.sleep(0.02)
        self._process.join(_ENDS_S)
        answer = self._answer or {}
        if "summary" in answer:
            return HostedResult(answer["summary"], Path(answer["run_dir"]), answer["exit_code"])
        if "error" in answer:
            raise HostedRunError(answer["error"], answer["exit_code"])
        code = self._process.exitcode
        raise HostedRunError(f"the run's process died ({code}); it printed:\n{self.output}", 1)

    def close(self) -> None:
        """End the run, if it still goes on."""
        if not self.ended:
            self.send(Command("end"))
            self._process.join(_ENDS_S)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()
        self._pipe.close()
        self._slot.close()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _standard_streams_in:  # noqa: N801
    """Standard output and error of a process that is started here go into a file."""

    def __init__(self, file: int) -> None:
        self._file = file

    def __enter__(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self._saved = [os.dup(1), os.dup(2)]
        os.dup2(self._file, 1)
        os.dup2(self._file, 2)

    def __exit__(self, *_: object) -> None:
        for saved, own in zip(self._saved, (1, 2), strict=True):
            os.dup2(saved, own)
            os.close(saved)


class _Remote:
    """The views, as the run sees them."""

    def __init__(self, slot: Slot, pipe: Connection) -> None:
        self._slot, self._pipe = slot, pipe

    @property
    def commands(self) -> _Remote:
        return self

    def show(self, snapshot: Snapshot) -> None:
        self._slot.put(snapshot)

    def poll(self) -> list[bytes]:
        lines = []
        try:
            while self._pipe.poll():
                lines.append(self._pipe.recv_bytes(MAX_LINE))
        except (EOFError, OSError):  # whoever watched is gone
            lines.append(Command("end").to_line())
        return lines

    def close(self) -> None:
        """Stay open: the result goes the same way."""


def _run(
    config: Config,
    asked: tuple[str, str, Sequence[tuple[int, Command]]],
    slot: str,
    pipe: Connection,
    parent: int,
) -> None:
    """The child process; `asked`: the command, where predictions go, and the script."""
    command, emit, script = asked
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who watches, and asks to end
    from streamstop.pipeline.run import run

    with Slot(slot) as memory:
        try:
            views = _Remote(memory, pipe)
            result = run(config, command=command, viewer=views, emit=emit, script=script)
            answer = {
                "summary": result.summary,
                "run_dir": str(result.run_dir),
                "exit_code": result.exit_code,
            }
        except StreamstopError as error:
            answer = {"error": str(error), "exit_code": error.exit_code}
        except OSError as error:
            answer = {"error": f"{error.strerror or error}: {error.filename}", "exit_code": 1}
    try:
        pipe.send_bytes(json.dumps(answer).encode())
    except OSError:
        print(f"streamstop: nobody waits for the result ({parent})", file=sys.stderr)
