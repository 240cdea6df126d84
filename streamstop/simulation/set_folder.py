"""The folder of a simulated set: created with a README, filled by several processes, continued.

Guarantees:

- A folder that holds something else, or a set of other options, is refused before anything is
  written to it.
- Recordings that exist are kept. An incomplete one never appears, because its writer puts it there
  in one operation.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TypeVar

from streamstop.errors import UsageError

README = "README.txt"
MAX_JOBS = 256

_OPTIONS = "options: "

Progress = Callable[[str, int, int], None]
"""Called with the name written, the number of recordings that exist, and the final number."""

Plan = TypeVar("Plan")


def claim(folder: Path, of_set: str, how: str, options: Mapping[str, object]) -> None:
    """Create the folder, or check that it holds a set of the same options; write its README.

    Parameters
    ----------
    of_set
        The set that it stands in for, and the format.
    how
        What was moved in front of the sensor.

    Raises
    ------
    UsageError
        If the folder holds something else.
    """
    line = _OPTIONS + json.dumps(dict(options), sort_keys=True)
    readme = folder / README
    if readme.exists():
        stated = [one for one in readme.read_text().splitlines() if one.startswith(_OPTIONS)]
        if stated != [line]:
            there = stated[0].removeprefix(_OPTIONS) if stated else "something else"
            raise UsageError(
                f"the folder holds {there}, and {line.removeprefix(_OPTIONS)} is asked for; "
                f"choose another folder: {folder}"
            )
        return
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"the folder holds files of something else; choose another: {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    readme.write_text(
        "SIMULATED. No camera made these recordings.\n\n"
        f"They have the layout of the {of_set}\n"
        f"and were made by streamstop.simulation: {how} before a model of a DVS128.\n"
        "A figure on them is no figure on that set.\n\n"
        f"{line}\n"
    )


def in_processes(
    plans: Sequence[Plan],
    paths: Sequence[Path],
    write: Callable[[Plan], None],
    jobs: int,
    progress: Progress | None,
) -> int:
    """Write those of `plans` that do not exist at their path; returns their number.

    Parameters
    ----------
    write
        Writes one; a function at a module's top level.
    jobs
        Number of processes; 1 is this one.

    Raises
    ------
    UsageError
        If `jobs` is out of range, and what `write` raises.
    """
    if not 1 <= jobs <= MAX_JOBS:
        raise UsageError(f"jobs = {jobs} is out of range, 1 to {MAX_JOBS}")
    missing = [
        (plan, path.name) for plan, path in zip(plans, paths, strict=True) if not path.exists()
    ]
    done = len(plans) - len(missing)

    def report(name: str) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(name, done, len(plans))

    if jobs == 1 or len(missing) < 2:
        for plan, name in missing:
            write(plan)
            report(name)
        return len(missing)
    # Spawned, not forked: the caller may have threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(missing)), mp_context=context) as workers:
        running = {workers.submit(write, plan): name for plan, name in missing}
        try:
            for one in as_completed(running):
                one.result()
                report(running[one])
        except BaseException:
            workers.shutdown(wait=False, cancel_futures=True)
            raise
    return len(missing)
