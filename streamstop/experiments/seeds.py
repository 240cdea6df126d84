"""One configuration with several seeds: one run per seed, each in a process of its own.

Guarantees:

- A seed's run is, byte for byte, what `streamstop run --seed` leaves.
- A run that fails or is killed costs none of the others.
- No process outlives this one: on Ctrl-C, and when this process ends for any reason, each run
  finishes its summary and stops.

Processes are spawned; each computes on as many threads as the configuration sets.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from streamstop.config.recipe import to_toml
from streamstop.config.sections import Config
from streamstop.config.uri_paths import uri_stem
from streamstop.errors import StreamstopError, UsageError
from streamstop.experiments.aggregate import SeedRun, aggregate_runs
from streamstop.pipeline.configure import load_config
from streamstop.pipeline.summary_file import read_summary
from streamstop.sources.live.registry import is_live

if TYPE_CHECKING:
    from streamstop.pipeline.run import Progress, RunResult
    from streamstop.sources.base import Source

MAX_SEEDS = 1000
"""More in one command are a slip of the pen."""

PROGRESS_INTERVAL_S = 0.1
"""Shortest time between two progress messages of a process."""

WORST = (0, 4, 5, 3, 2, 1, 130)
"""Exit codes, the worst last: what ended everything goes before what ended one run."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class SeedProgress(NamedTuple):
    """How far one seed's run is."""

    seed: int
    segment: int
    segments: int | None
    events: int
    accuracy: float | None


@dataclass(frozen=True)
class SeedsResult:
    """What several seeds end with: the joint summary, its folder, the runs, the exit code."""

    summary: dict[str, Any]
    folder: Path
    runs: Sequence[SeedRun]
    exit_code: int


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds as they are typed: numbers and ranges, both ends of which are meant.

    Raises UsageError where that is not what it is, or a seed comes twice.

    >>> parse_seeds("0-4"), parse_seeds("0,3,7"), parse_seeds("5")
    ((0, 1, 2, 3, 4), (0, 3, 7), (5,))
    """
    seeds: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*([0-9]{1,18})\s*(?:-\s*([0-9]{1,18})\s*)?", part)
        if not found:
            raise UsageError(
                f"--seeds wants numbers and ranges, such as 0-4 or 0,3,7, not {text!r}"
            )
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first:
            raise UsageError(f"--seeds {text}: {part.strip()} runs backwards")
        if last - first + len(seeds) >= MAX_SEEDS:
            raise UsageError(f"--seeds {text}: more than {MAX_SEEDS} seeds")
        seeds += range(first, last + 1)
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if twice:
        raise UsageError(f"--seeds {text}: seed {twice[0]} comes twice")
    return tuple(seeds)


def refuse_unrepeatable(uri: str) -> None:
    """Raise UsageError for a source that cannot be read once for each seed."""
    path = uri.partition("?")[0]
    if is_live(uri):
        raise UsageError(
            f"--seeds reads the source once for each seed, and {path} is live: record it first "
            f"(streamstop record {path} FILE), then run the recording"
        )
    if path == "-" or Path(path).is_fifo():
        raise UsageError(
            f"--seeds reads the source once for each seed, and a pipe comes once: save it to a "
            f"file first: {path}"
        )


def run_seeds(
    config: Config,
    seeds: Sequence[int],
    *,
    jobs: int | None = None,
    command: Callable[[int | None], str] = lambda _: "",
    report: Callable[[Path], object] | None = None,
    progress: Callable[[SeedProgress], None] | None = None,
    run: Callable[..., RunResult] | None = None,
    opened: Callable[[Source], None] | None = None,
) -> SeedsResult:
    """Run a configuration with each seed; leave a joint folder with a run folder for each.

    jobs : processes at a time; as many as there are cores for, if None.
    command : what the user would type for one seed; of None, what was typed for all.
    report : called in the seed's process with its finished run folder; a module's function.
    progress : called now and then, with one seed's.
    run : what runs one seed, a module's function; `streamstop.pipeline.run` if None.
    opened : called in the process of the first seed with the opened source; a module's function.

    Ctrl-C ends all runs early and keeps what they did; seeds not begun are named as such. Where no
    run came so far as to sum up, it is raised again.

    Raises
    ------
    UsageError : nothing was run: the source is live, or the folder cannot be made.
    StreamstopError : no run came so far as to sum up. The error is that of the first seed.
    """
    refuse_unrepeatable(config.source.uri)
    from streamstop.pipeline.folder import new_folder, write_text  # torch comes with it

    name = config.run.name or uri_stem(config.source.uri) or "run"
    folder = new_folder(Path(config.run.output_dir), f"{name}-seeds", to_toml(config))
    jobs = jobs or max(1, _cores() // config.run.num_threads)
    runs = _Runs(config, folder, command, progress, (report, run), opened)
    try:
        runs.all(seeds, jobs)
    finally:
        runs.end_all()
    done = [runs.done[seed] for seed in seeds]
    if not any(run.folder for run in done):
        (folder / "config.toml").unlink()
        with suppress(OSError):  # unless a killed run left something in it
            folder.rmdir()
        raise KeyboardInterrupt if runs.interrupted else _as_error(done)
    summary = aggregate_runs(done, command=command(None), name=name)
    write_text(folder / "summary.json", json.dumps(summary, indent=2) + "\n")
    code = max((130 if runs.interrupted else 0, *(run.exit_code for run in done)), key=_badness)
    return SeedsResult(summary, folder, done, code)


@dataclass
class _Child:
    """A seed's process, and our end of its pipe."""

    seed: int
    process: BaseProcess
    pipe: Connection
    outcome: SeedRun | None = None


class _Runs:
    """The processes of several seeds, from the first to the last."""

    def __init__(
        self,
        config: Config,
        folder: Path,
        command: Callable[[int | None], str],
        progress: Callable[[SeedProgress], None] | None,
        calls: tuple[Callable[[Path], object] | None, Callable[..., RunResult] | None],
        opened: Callable[[Source], None] | None,
    ) -> None:
        self.config = config
        self.folder = folder
        self.command = command
        self.progress = progress
        self.calls = calls
        self.opened = opened
        self.running: list[_Child] = []
        self.done: dict[int, SeedRun] = {}
        self.interrupted = False

    def all(self, seeds: Sequence[int], jobs: int) -> None:
        """Run every seed, so many at a time."""
        left = list(seeds)
        with self._interrupts_passed_on():
            while self.running or left:
                while left and len(self.running) < jobs and not self.interrupted:
                    self._begin(left.pop(0))
                if self.interrupted:
                    for seed in left:
                        self.done[seed] = SeedRun(seed, 130, message="not begun: interrupted")
                    left = []
                self._listen()

    def end_all(self) -> None:
        """See to it that no process is left, whatever happened."""
        for one in self.running:
            one.process.terminate()
        for one in self.running:
            one.process.join(5)
            if one.process.is_alive():
                one.process.kill()
                one.process.join()

    def _begin(self, seed: int) -> None:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        config = replace(
            self.config, run=replace(self.config.run, seed=seed, output_dir=str(self.folder))
        )
        process = multiprocessing.get_context("spawn").Process(
            target=_run_one,
            args=(
                *(config, self.config.run.output_dir, self.command(seed), theirs),
                *(*self.calls, self.opened),
            ),
        )
        self.opened = None  # all seeds open the same source
        # What starts on its own unblocks signals; it shall have done so before.
        resource_tracker.ensure_running()
        # Ctrl-C waits until the process is on the list, and in the process until it is ready for
        # it: the mask is inherited, and a signal that is blocked is not lost.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with _environment({name: str(self.config.run.num_threads) for name in THREADS}):
                process.start()
            self.running.append(_Child(seed, process, ours))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    def _listen(self) -> None:
        """Receive the processes' messages that are waiting."""
        for pipe in wait([one.pipe for one in self.running], timeout=0.5):
            child = next(one for one in self.running if one.pipe is pipe)
            try:
                message = json.loads(child.pipe.recv_bytes())
            except (EOFError, OSError):
                self._ended(child)
                continue
            if "progress" in message:
                if self.progress is not None:
                    self.progress(SeedProgress(child.seed, *message["progress"]))
            else:
                child.outcome = SeedRun(
                    child.seed,
                    message["exit_code"],
                    message.get("folder"),
                    message=message["message"],
                )

    def _ended(self, child: _Child) -> None:
        """A process is gone: enter what it left, under its seed's name."""
        child.process.join()
        child.pipe.close()
        self.running.remove(child)
        outcome = child.outcome
        if outcome is None:
            code = child.process.exitcode or 0
            how = f"killed by signal {-code}" if code < 0 else f"gone with exit code {code}"
            kept = f"what it wrote so far is kept in {self.folder}"
            outcome = SeedRun(child.seed, 1, message=f"its process was {how}; {kept}")
        if outcome.folder is not None:
            outcome = replace(outcome, summary=read_summary(self.folder / outcome.folder))
        self.done[child.seed] = outcome

    @contextmanager
    def _interrupts_passed_on(self) -> Iterator[None]:
        """Ctrl-C reaches each process once: they are in groups of their own, out of its reach."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def pass_on(number: int, _: object) -> None:
            self.interrupted = True
            for one in self.running:
                if one.process.is_alive() and one.process.pid is not None:
                    os.kill(one.process.pid, number)

        before = signal.signal(signal.SIGINT, pass_on)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def _run_one(
    config: Config,
    out: str,
    command: str,
    pipe: Connection,
    report: Callable[[Path], object] | None,
    run: Callable[..., RunResult] | None,
    opened: Callable[[Source], None] | None,
) -> None:
    """A seed's process: one run, as `streamstop run` does it.

    out : the folder for runs that was configured, for the run's own config.toml.
    """
    os.setpgid(0, 0)  # Ctrl-C at a terminal does not come here; the parent passes it on, once
    _end_with_parent()
    os.dup2(2, 1)  # whatever a library prints is not the result
    sent_s = 0.0

    def send(**what: Any) -> None:
        with suppress(OSError):  # nobody listens: the run goes on to its summary
            pipe.send_bytes(json.dumps(what).encode())

    def send_progress(now: Progress) -> None:
        nonlocal sent_s
        if time.monotonic() - sent_s >= PROGRESS_INTERVAL_S:
            sent_s = time.monotonic()
            send(progress=(now.segment, now.segments, now.events, now.accuracy))

    try:
        # In the background of a shell it may have been ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        if run is None:
            from streamstop.pipeline import run as pipeline

            run = pipeline.run
        with redirect_stdout(sys.stderr):
            once: dict[str, Any] = {} if opened is None else {"opened": opened}
            result = run(config, command=command, progress=send_progress, **once)
            # What is done is done: it shall also have its name and its report.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            place = result.run_dir.with_name(f"seed-{config.run.seed}")
            result.run_dir.rename(place)
            _put_back(place / "config.toml", out)
            message = _reported(place, report)
        code = max(result.exit_code, StreamstopError.exit_code if message else 0, key=_badness)
        send(exit_code=code, folder=place.name, message=message)
    except KeyboardInterrupt:
        send(exit_code=130, message="interrupted before it could sum up")
    except StreamstopError as error:
        _trace()
        send(exit_code=error.exit_code, message=str(error))
    except Exception as error:
        _trace()
        send(exit_code=StreamstopError.exit_code, message=f"{type(error).__name__}: {error}")


def _reported(folder: Path, report: Callable[[Path], object] | None) -> str:
    """Have the report of a finished run made; what went wrong, which costs the report alone."""
    try:
        if report is not None:
            report(folder)
    except Exception as error:
        _trace()
        return f"its report could not be made ({type(error).__name__}: {error})"
    return ""


def _put_back(config_toml: Path, out: str) -> None:
    """Have a run's config.toml say the folder for runs, not the joint one that it lies in."""
    config = load_config(config_toml)
    part = config_toml.with_name("config.toml.part")
    part.write_text(
        to_toml(replace(config, run=replace(config.run, output_dir=out))), encoding="utf-8"
    )
    part.replace(config_toml)


def _end_with_parent() -> None:
    """Interrupt this process when the one that started it is gone, however it went."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()


def _trace() -> None:
    if os.environ.get("STREAMSTOP_DEBUG"):
        traceback.print_exc()


def _as_error(runs: Sequence[SeedRun]) -> StreamstopError:
    """One error for runs that all failed: the same for all, or each with its seed."""
    messages = dict.fromkeys(run.message for run in runs)
    text = (
        next(iter(messages))
        if len(messages) == 1
        else "; ".join(f"seed {r.seed}: {r.message}" for r in runs)
    )
    error = StreamstopError(text if len(messages) == 1 else f"no seed came to its end. {text}")
    error.exit_code = max((run.exit_code for run in runs), key=_badness)
    return error


def _badness(code: int) -> int:
    return WORST.index(code) if code in WORST else len(WORST)


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for processes started within, where the user set none."""
    new = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)
