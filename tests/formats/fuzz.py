"""A hundred thousand mutations per file format: no crash, no hang, bounded memory, right reports.

    python -m tests.formats.fuzz --mutations 100000        # an hour or two; `make fuzz`
    python -m tests.formats.fuzz --format evt3 --only 4711 # repeat one mutation

A mutation depends on its format and its number only. Readers run in a process of their own, a few
thousand mutations each; the current mutation is noted in memory that both processes share, so that
a crash or a hang is assigned to it, and the next process continues after it. Counts are kept in one
file per format: an interrupted run continues; a run of another version of the readers starts over.
What a mutation must fulfil is in `tests/helpers/mutations.py`, what each format can detect in
`tests/helpers/mutation_seeds.py`. Writes docs/results/fuzz.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import mmap
import os
import re
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from helpers.mutation_seeds import MAKERS, seed_of
from helpers.mutations import Edit, Seed, check, check_resumed, mutate, read

from benchmarks._shared.page import table, write_section
from benchmarks._shared.provenance import ROOT, provenance
from streamstop.errors import StreamstopError
from streamstop.formats.detect import open_recording
from streamstop.formats.hdf5 import reader as hdf5
from streamstop.tools.inspection import inspect

PAGE = ROOT / "docs" / "results" / "fuzz.md"
TITLE = "Damaged files"
INTRO = """Recordings of 3,000 events or so, changed at a known place and read to their end: bits
flipped, bytes set, stretches filled, inserted, deleted, doubled, cut off, lengths set to extremes,
two files spliced. Of each is demanded: no crash, no error but our own, under 2 s of processor time,
memory under 64 MB and 4 times the file above what the process had (both with the process in which
libhdf5 reads, whose crashes are the file's damage and not ours), packets and cursors in order,
every event before the change as it was, every one after it where the format can find its way again,
and that told damage touches the change or follows it. Every 16th is also read on from a cursor and
inspected. `tests/helpers/mutation_seeds.py` says what each format can notice."""

BATCH = 5000
LIMIT_S = 2.0
HANG_S = 10.0
"""Of processor time, as LIMIT_S is: with this much for one mutation its process is ended."""

BLOCKED_S = 600.0
"""On the clock, where others keep the machine busy: so long waits only what waits for good."""

LIMIT_BYTES = 64 << 20
GUARD_BYTES = 2 << 30
MAX_FINDINGS = 200
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
SLOT = struct.Struct("<qdqq")
"""What a worker shares: the mutation it is at, its processor time, findings, peak memory."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mutations", type=int, default=100_000, help="of each format")
    parser.add_argument("--format", choices=sorted(MAKERS), action="append")
    parser.add_argument("--only", type=int, help="repeat this one mutation and print what is wrong")
    parser.add_argument("--state", type=Path, default=ROOT / "runs" / "fuzz")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--fresh", action="store_true", help="forget what was done before")
    asked = parser.parse_args()
    formats = asked.format or list(MAKERS)
    if asked.only is not None:
        _repeat(formats, asked.only)
        return
    asked.state.mkdir(parents=True, exist_ok=True)
    version = _version()  # now, as the readers are loaded once
    for name in formats:
        if not _sound(name):
            continue
        state = _load(asked.state / f"{name}.json", version, fresh=asked.fresh)
        while state["done"] < asked.mutations:
            _batch(name, state, min(BATCH, asked.mutations - state["done"]))
            (asked.state / f"{name}.json").write_text(json.dumps(state, indent=1))
            _write_page(asked.page, asked.state)
        print(_line(name, state), flush=True)
        for finding in state["findings"][:5]:
            print(f"  {finding['at']}: {finding['what'][:300]}", flush=True)


def _load(path: Path, version: str, *, fresh: bool) -> dict[str, Any]:
    if path.exists() and not fresh:
        state: dict[str, Any] = json.loads(path.read_text())
        if state["version"] == version:
            return state
    nothing = {"wrong": {}, "findings": [], "opened": 0, "damage_told": 0, "peak_bytes": 0}
    return {"version": version, "done": 0, "seconds": 0.0, "slowest_s": 0.0, **nothing}


def _version() -> str:
    """A digest of the readers and of what is demanded of them."""
    digest = hashlib.sha256()
    readers = sorted((ROOT / "streamstop" / "formats").rglob("*.py"))
    for path in (*readers, *sorted((ROOT / "tests" / "helpers").glob("mutation*.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _batch(name: str, state: dict[str, Any], count: int) -> None:
    """Mutations from where the state is on, until they are done or the process is."""
    first = state["done"]
    shared = mmap.mmap(-1, SLOT.size)
    SLOT.pack_into(shared, 0, first, 0.0, 0, 0)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as work:
        said = Path(work, "said.json")
        child = os.fork()
        if not child:
            code = 70
            try:
                _work(name, first, first + count, shared, Path(work), said)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        why = _watch(child, shared)
        answer = json.loads(said.read_text()) if said.exists() else {}
    at = SLOT.unpack_from(shared, 0)[0]
    for finding in answer.get("findings", ()):
        _note(state, finding["at"], finding["what"])
    for key in ("opened", "damage_told"):
        state[key] += answer.get(key, 0)
    for key in ("slowest_s", "peak_bytes"):
        state[key] = max(state[key], answer.get(key, 0))
    state["seconds"] += time.monotonic() - began
    if why:
        _note(state, at, why)
        state["done"] = at + 1
    else:
        state["done"] = first + count


def _watch(child: int, shared: mmap.mmap) -> str:
    """Wait for the worker; why it ended before its work was done, "" where it did not."""
    at, since, used = -1, time.monotonic(), 0.0
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            if code < 0:
                return f"crash: the process ended by {signal.Signals(-code).name}"
            return f"crash: the process ended with {code}" if code else ""
        now = SLOT.unpack_from(shared, 0)[0]
        took = _processor_s(child)
        if now != at:
            at, since, used = now, time.monotonic(), took
        elif took - used > HANG_S or time.monotonic() - since > BLOCKED_S:
            took, waited = took - used, time.monotonic() - since
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return f"hang: {took:.0f} s of processor time, {waited:.0f} s on the clock"
        time.sleep(0.1)


def _work(name: str, first: int, last: int, shared: mmap.mmap, work: Path, said: Path) -> None:
    """Read the mutations [first, last); what is found is written after each finding."""
    seed = seed_of(name)
    path = work / seed.file_name
    _warm(seed, path)
    used, used_by_helper = _peak_bytes(), _helper_peak_bytes()
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + GUARD_BYTES,) * 2)
    allowed = LIMIT_BYTES + 4 * 2 * len(seed.content)
    answer: dict[str, Any] = {
        "findings": [], "opened": 0, "damage_told": 0, "slowest_s": 0.0, "peak_bytes": 0
    }  # fmt: skip
    for number in range(first, last):
        SLOT.pack_into(shared, 0, number, 0.0, 0, 0)
        wrong, took = _one(seed, number, path, answer)
        grown = _peak_bytes() - used + max(_helper_peak_bytes() - used_by_helper, 0)
        if took > LIMIT_S:
            wrong.append(f"slow: {took:.1f} s of processor time")
        if grown > allowed > answer["peak_bytes"]:
            wrong.append(f"memory: {grown >> 20} MB more than before")
        answer["slowest_s"] = max(answer["slowest_s"], took)
        answer["peak_bytes"] = max(answer["peak_bytes"], grown)
        answer["findings"] += [{"at": number, "what": what} for what in wrong]
        if wrong or number % 500 == 499:
            said.write_text(json.dumps(answer))
    said.write_text(json.dumps(answer))


def _one(seed: Seed, number: int, path: Path, answer: dict[str, Any]) -> tuple[list[str], float]:
    """What is wrong, and the processor time of the longest of its readings."""
    draw = Random(f"{seed.format}:{number}")
    content, edit = mutate(draw, seed)
    times = [_used_s()]
    try:
        got, wrong = check(seed, content, edit, path)
        answer["opened"] += not got.error
        answer["damage_told"] += bool(got.damage)
        times.append(_used_s())
        if number % 16 == 0 and not got.error:
            wrong += check_resumed(got, open_recording(str(path)), draw)
        if number % 16 == 1:
            with suppress(StreamstopError):
                inspect(str(path)).as_json()
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        wrong = [f"error not ours: {type(error).__name__} at {place}: {error}"]
    times.append(_used_s())
    took = max(after - before for before, after in pairwise(times))
    return [f"{edit}: {one}" for one in wrong], took


def _warm(seed: Seed, path: Path) -> None:
    """What is imported and compiled on first use belongs to the process, not to a mutation."""
    # A changed header may make one kind of EVT file another, whose loop is compiled then.
    evt = [seed_of(name).content for name in MAKERS if name.startswith("evt") and "-" not in name]
    contents = evt if seed.format in ("evt2", "evt21", "evt3") else []
    for content in (*contents, seed.content, seed.content[:-7], seed.content[:-99]):
        path.write_bytes(content)
        if not read(path).error:
            inspect(str(path)).as_json()


def _sound(name: str) -> bool:
    """Whether the seed itself is read as it should be; prints why if not."""
    seed = seed_of(name)
    with tempfile.TemporaryDirectory() as work:
        edit = Edit("none", 0, 0, True)
        wrong = check(seed, seed.content, edit, Path(work, seed.file_name))[1]
    for one in wrong:
        print(f"{name}: left out, its seed is not read: {one}", flush=True)
    return not wrong


# libhdf5 reads in a process of its own, a helper: what it takes is the mutation's, too.


def _used_s() -> float:
    """Processor time of this process, of its helpers that ended, and of the one that runs."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    running = hdf5.process_id()
    now = _stat(running)[:2] if running is not None else []
    return time.process_time() + ended.ru_utime + ended.ru_stime + sum(now) / _TICKS_A_SECOND


def _processor_s(pid: int) -> float:
    """Processor time of a process and of its children, those that ended among them."""
    own = _stat(pid)
    return (sum(own[:4]) + sum(sum(_stat(one)[:2]) for one in _children(pid))) / _TICKS_A_SECOND


def _stat(pid: int) -> list[int]:
    """Ticks in user and system mode, of the process and of its children that ended; its parent."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it ended
        return [0] * 5
    return [int(fields[i]) for i in (11, 12, 13, 14, 1)]


def _children(pid: int) -> list[int]:
    running = (int(one.name) for one in Path("/proc").iterdir() if one.name.isdecimal())
    return [one for one in running if _stat(one)[4] == pid]


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _helper_peak_bytes() -> int:
    """The most memory that the running helper ever had, 0 where there is none.

    Of one that crashed nobody can say it; it had no more than its own bound.
    """
    running = hdf5.process_id()
    if running is not None:
        with suppress(OSError):
            for line in Path(f"/proc/{running}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    return 0


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _note(state: dict[str, Any], at: int, what: str) -> None:
    kind = _kind(what)
    state["wrong"][kind] = state["wrong"].get(kind, 0) + 1
    if len(state["findings"]) < MAX_FINDINGS:
        state["findings"].append({"at": at, "what": what})


def _kind(what: str) -> str:
    """One of the table's columns."""
    what = re.sub(r"^Edit\([^)]*\): ", "", what)
    for kind in ("crash", "hang", "slow", "memory", "error not ours"):
        if what.startswith(kind):
            return {"slow": "hang"}.get(kind, kind)
    return "report"


def _line(name: str, state: dict[str, Any]) -> str:
    speed = state["done"] / state["seconds"] if state["seconds"] else 0
    wrong = ", ".join(f"{count} {kind}" for kind, count in sorted(state["wrong"].items()))
    return f"{name}: {state['done']} mutations, {speed:.0f} a second; {wrong or 'nothing wrong'}"


def _write_page(page: Path, folder: Path) -> None:
    rows = []
    for name in MAKERS:
        path = folder / f"{name}.json"
        if not path.exists():
            continue
        state = json.loads(path.read_text())
        if not state["done"]:
            continue
        wrong = Counter(state["wrong"])
        counts = [wrong[k] for k in ("crash", "hang", "memory", "error not ours", "report")]
        rows.append(
            (
                name,
                f"{state['done']:,}",
                f"{state['opened']:,}",
                f"{state['damage_told']:,}",
                *map(str, counts),
                f"{state['slowest_s']:.2f} s",
                f"{state['peak_bytes'] / 1e6:.1f} MB",
                f"{state['done'] / state['seconds']:.0f}",
                state["version"],
            )
        )
    heads = (
        "mutations", "read", "told damage", "crashes", "hangs", "too much memory",
        "errors not ours", "wrong reports", "slowest", "memory", "a second", "readers",
    )  # fmt: skip
    body = [
        *provenance("tests.formats.fuzz", "numpy", "lz4", "zstandard", "h5py"),
        "",
        *table(heads, rows),
    ]
    write_section(page, TITLE, INTRO, ["Formats"], "Formats", body)


def _repeat(formats: list[str], number: int) -> None:
    """One mutation in this process, with all output."""
    with tempfile.TemporaryDirectory() as work:
        for name in formats:
            seed = seed_of(name)
            path = Path(work, seed.file_name)
            content, edit = mutate(Random(f"{name}:{number}"), seed)
            print(name, edit)
            got, wrong = check(seed, content, edit, path)
            print(f"  {len(got.events)} of {len(seed.events)} events; error: {got.error or 'none'}")
            for damage in got.damage:
                print(f"  {damage}")
            for one in wrong or ("nothing wrong",):
                print(f"  {one}")


if __name__ == "__main__":
    main()
