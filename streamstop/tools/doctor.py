"""Checks whether this machine has what streamstop needs, with a fix for each problem.

Guarantees:
- Changes nothing, and imports no large library into this process.
- Ends within 5 s, even if a check hangs.
- Exit code 1 only if runs from files are blocked; a missing camera, format or GPU does not count.

Does not:
- Read events from a camera: it reports what the drivers and the kernel report.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from streamstop._version import __version__
from streamstop.sources.live.cameras.discovery import DiscoveryResult, discover
from streamstop.sources.live.cameras.open import BACKENDS, INSTALL
from streamstop.sources.live.cameras.usb import (
    DEV,
    SYSFS,
    UsbCamera,
    fix_permission_hint,
    usb_cameras,
)

State = Literal["ok", "note", "problem"]

PROC = Path("/proc")
RUNS = Path("runs")

DEADLINE_S = 4.5
"""Time limit of all checks; one without an answer by then is reported as unknown."""

GPU_S = 4.0
"""Time limit of the question to PyTorch which GPUs it can use."""

NEEDED = (
    "torch", "numpy", "numba", "river", "safetensors", "lz4", "zstandard", "typer", "rich",
    "jinja2", "psutil", "pillow",
)  # fmt: skip

EXTRAS = (
    ("live", ("textual",), "the view of a run in the terminal"),
    ("hdf5", ("h5py", "hdf5plugin"), "HDF5 recordings (DSEC, Metavision)"),
)

_GIVES = {"tonic": "the data sets that tonic reads", "aestream": "files as aestream reads them"}

_TRY_TONIC = """
import pathlib, sys
from tonic.io import read_mnist_file
from tonic.datasets import NMNIST
path = pathlib.Path(sys.argv[1], "a.bin")
path.write_bytes(bytes([3, 5, 128, 1, 2, 33, 7, 1, 0, 9]))
events = read_mnist_file(path, NMNIST.dtype).tolist()
right = events == [(3, 5, 258, 1), (33, 7, 65545, 0)]
print("reads N-MNIST's events right; tonic: names a data set" if right else f"wrong: {events}")
"""

_TRY_AESTREAM = """
import pathlib, struct, sys
import aestream
path = pathlib.Path(sys.argv[1], "a.dat")
words = struct.pack("<4I", 10, 3 | 5 << 14 | 1 << 28, 20, 33 | 7 << 14)
head = b"% Data file containing CD events.\\n% Version 2\\n% end\\n"
path.write_bytes(head + bytes([12, 8]) + words)
events = aestream.FileInput(str(path), (64, 64)).load().tolist()
right = events == [(10, 3, 5, 1), (20, 33, 7, 0)]
usb = "cameras by USB" if getattr(aestream, "drivers", []) else "no cameras: built without drivers"
found = f"reads a DAT right (aestream: names a file); {usb}"
print(found if right else f"wrong: {events}; {usb}")
"""

LOW_DISK_BYTES, NO_DISK_BYTES = 2 << 30, 64 << 20

WANTED_RCVBUF_BYTES = 4 << 20
"""A quarter of a second at 4 million events per second, 4 bytes per event over UDP."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    topic : the heading under which it is shown.
    state : "ok"; "note", worth knowing; "problem", something present does not work.
    message : what was found.
    fix : what to do, one string per line; a line that begins with four spaces can be pasted.
    blocks : whether it prevents runs from files.
    """

    topic: str
    state: State
    message: str
    fix: tuple[str, ...] = ()
    blocks: bool = False


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings, in the order in which they are shown."""

    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """0 if nothing prevents runs from files, else 1."""
        return int(any(one.blocks for one in self.findings))

    def as_json(self) -> dict[str, Any]:
        """The findings as plain data."""
        return {
            "version": __version__,
            "exit_code": self.exit_code,
            "findings": [{**asdict(one), "fix": list(one.fix)} for one in self.findings],
        }


def diagnose(
    runs: Path = RUNS,
    *,
    sysfs: Path = SYSFS,
    dev: Path = DEV,
    proc: Path = PROC,
    may_open: Callable[[Path], bool] | None = None,
) -> Diagnosis:
    """Run all checks in parallel.

    Parameters
    ----------
    runs : the folder for runs; it need not exist yet.
    sysfs, dev, proc : where these file systems are mounted.
    may_open : whether this user may read and write a device file.
    """
    on_bus = usb_cameras(sysfs, dev, may_open) if may_open else usb_cameras(sysfs, dev)
    checks: tuple[tuple[str, Callable[[], list[Finding]]], ...] = (
        ("this computer", _computer),
        ("libraries", _libraries),
        ("GPU", lambda: [_gpu(proc)]),
        ("threads", lambda: [_threads()]),
        ("cameras", lambda: _cameras(on_bus)),
        ("USB", lambda: _usb(on_bus)),
        ("extras", _extras),
        ("tonic", lambda: [_tried("tonic", "datasets", _TRY_TONIC)]),
        ("aestream", lambda: [_tried("aestream", "aestream", _TRY_AESTREAM)]),
        ("folder for runs", lambda: _folder(runs)),
        ("network", lambda: _network(proc)),
    )
    end_s = time.monotonic() + DEADLINE_S
    running = [_Check(topic, check) for topic, check in checks]
    return Diagnosis(tuple(finding for one in running for finding in one.findings(end_s)))


class _Check:
    """One check on its own thread; a thread that hangs is abandoned."""

    def __init__(self, topic: str, check: Callable[[], list[Finding]]) -> None:
        self._topic = topic
        self._check = check
        self._found = [Finding(topic, "note", f"unknown: no answer within {DEADLINE_S:g} s")]
        self._thread = threading.Thread(target=self._run, name=f"doctor {topic}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._found = self._check()
        except Exception as error:  # a check that fails must not hide the others
            message = f"unknown: {type(error).__name__}: {error}"
            self._found = [Finding(self._topic, "note", message)]

    def findings(self, end_s: float) -> list[Finding]:
        """What it has found at `end_s` of the monotonic clock."""
        self._thread.join(max(end_s - time.monotonic(), 0.0))
        return self._found


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _computer() -> list[Finding]:
    topic = "this computer"
    found = [
        Finding(topic, "ok", f"streamstop {__version__}"),
        Finding(
            topic, "ok", f"Python {platform.python_version()}, {platform.platform(terse=True)}, "
            f"{platform.machine()}",
        ),
    ]  # fmt: skip
    if sys.platform != "linux":
        message = "tested on Linux; cameras need no udev rules here, and USB devices are not listed"
        found.append(Finding(topic, "note", message))
    return found


def _libraries() -> list[Finding]:
    topic = "libraries"
    have = {name: _version(name) for name in NEEDED}
    there = ", ".join(f"{name} {version}" for name, version in have.items() if version)
    found = [Finding(topic, "ok", there)] if there else []
    missing = [name for name, version in have.items() if not version]
    if missing:
        fix = (f"    pip install {' '.join(missing)}",)
        found.append(Finding(topic, "problem", f"missing: {', '.join(missing)}", fix, blocks=True))
    return found


def _gpu(proc: Path) -> Finding:
    """Whether PyTorch can use a GPU; it is imported in another process, and only if needed."""
    topic, torch = "GPU", _version("torch")
    if not torch:
        return Finding(topic, "note", "unknown: torch is not installed")
    if sys.platform == "linux" and not (proc / "driver" / "nvidia" / "version").exists():
        return Finding(topic, "ok", "no NVIDIA driver; runs use the CPU, which is enough")
    if torch.endswith("+cpu"):
        message = "an NVIDIA driver is installed, but this PyTorch is built for the CPU only"
        fix = ("install a CUDA build of PyTorch to use it: https://pytorch.org/get-started",)
        return Finding(topic, "note", message, fix)
    code = (
        "import torch; c = torch.cuda; "
        "print(', '.join(c.get_device_name(i) for i in range(c.device_count())) if "
        "c.is_available() else '')"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", code],
            capture_output=True,
            text=True,
            timeout=GPU_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return Finding(topic, "note", f"unknown: PyTorch did not answer within {GPU_S:g} s")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Finding(topic, "problem", f"PyTorch cannot be imported: {last}", blocks=True)
    names = done.stdout.strip()
    if not names:
        return Finding(topic, "note", f"PyTorch {torch} finds no GPU it can use; runs use the CPU")
    return Finding(topic, "ok", f"{names}, with PyTorch {torch}; `streamstop train` uses it")


def _threads() -> Finding:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    message = f"{usable} of {os.cpu_count()} CPU cores usable"
    limit = os.environ.get("OMP_NUM_THREADS")
    message += f", OMP_NUM_THREADS={limit}" if limit else ""
    policy = os.environ.get("OMP_WAIT_POLICY")
    message += f", OMP_WAIT_POLICY={policy}" if policy else ", OMP_WAIT_POLICY not set"
    if (policy or "").upper() == "PASSIVE":
        return Finding("threads", "ok", message)
    why = "idle threads that spin can make a step a hundred times slower on busy cores:"
    return Finding("threads", "note", message, (why, "    export OMP_WAIT_POLICY=PASSIVE"))


def _cameras(on_bus: Sequence[UsbCamera]) -> list[Finding]:
    answers = list(discover(BACKENDS))
    found = [_backend(answer, bool(on_bus)) for answer in answers]
    usable = [one for answer in answers for one in answer.cameras if not one.error]
    if not any(answer.state not in ("absent", "skipped") for answer in answers):
        message = "no camera library is installed; recordings need none"
        found.append(Finding("cameras", "note", message, (f"    {INSTALL}",)))
    elif not usable:
        message = "no camera can be opened; recordings need none"
        found.append(Finding("cameras", "note", message))
    return found


def _backend(answer: DiscoveryResult, on_bus: bool) -> Finding:
    """A backend that fails is a problem only if the kernel lists a camera."""
    failing = answer.state in ("failed", "silent") or any(one.error for one in answer.cameras)
    if answer.state == "looked" and not failing:
        return Finding("cameras", "ok", str(answer))
    fix: tuple[str, ...] = ()
    if any(one.error for one in answer.cameras):
        fix = ("close other programs that use the camera, then unplug it and plug it in again",)
    return Finding("cameras", "problem" if failing and on_bus else "note", str(answer), fix)


def _usb(on_bus: Sequence[UsbCamera]) -> list[Finding]:
    if not on_bus:
        return [Finding("USB", "note", "the kernel lists no event camera on the USB bus")]
    return [finding for camera in on_bus for finding in _usb_camera(camera)]


def _usb_camera(camera: UsbCamera) -> list[Finding]:
    serial = f", serial {camera.serial}" if camera.serial else ""
    message = f"{camera}{serial}, {camera.node}"
    if not camera.node_exists:
        fix: tuple[str, ...] = (
            "in a container, pass the USB bus: docker run --device /dev/bus/usb ...",
        )
        found = [Finding("USB", "problem", f"{message}: this file is missing", fix)]
    elif not camera.open_to_us:
        paste = (f"    {line}" for line in fix_permission_hint((camera.kind,)))
        fix = (
            "a udev rule is missing; paste this, then plug the camera in again:",
            *paste,
        )
        found = [Finding("USB", "problem", f"{message}: this user may not open it", fix)]
    else:
        found = [Finding("USB", "ok", message)]
    if camera.slow:
        message = f"{camera.ids} is a USB 3 camera, connected at {camera.speed_mbps} Mb/s"
        fix = ("use a USB 3 socket and cable, or events will be dropped",)
        found.append(Finding("USB", "note", message, fix))
    return found


def _extras() -> list[Finding]:
    found = []
    for extra, names, gives in EXTRAS:
        versions = [f"{name} {_version(name)}" for name in names if _version(name)]
        if len(versions) == len(names):
            found.append(Finding("extras", "ok", f"{extra}: {', '.join(versions)}"))
        else:
            fix = (f"    pip install 'streamstop[{extra}]'",)
            found.append(Finding("extras", "note", f"{extra}: not installed ({gives})", fix))
    return found


def _tried(name: str, extra: str, program: str) -> Finding:
    """What a library does on this machine: it reads a few events, in a process of its own.

    program : prints what works; a line that begins with "wrong" says what does not.
    """
    if not _version(name):
        fix = (f"    pip install 'streamstop[{extra}]'",)
        return Finding(name, "note", f"{extra}: not installed ({_GIVES[name]})", fix)
    try:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, "-c", program, folder],
                capture_output=True,
                text=True,
                timeout=GPU_S,
                stdin=subprocess.DEVNULL,
            )
    except subprocess.TimeoutExpired:
        return Finding(name, "note", f"unknown: {name} did not answer within {GPU_S:g} s")
    said = done.stdout.strip()
    if done.returncode or not said:
        last = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        return Finding(name, "note", f"{name} {_version(name)} does not work: {last}")
    state: State = "note" if said.startswith("wrong") else "ok"
    return Finding(name, state, f"{name} {_version(name)}: {said}")


def _folder(runs: Path) -> list[Finding]:
    """Whether a run's folder could be created; tried with a temporary file without a name."""
    topic, there = "folder for runs", runs.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    shown = runs.absolute()
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        fix = ("change to a folder of your own, or name one: streamstop run --out DIR",)
        message = f"cannot be written to ({error.strerror}): {shown}"
        return [Finding(topic, "problem", message, fix, blocks=True)]
    free = shutil.disk_usage(there).free
    message = f"{_gigabytes(free)} free: {shown}"
    if free < NO_DISK_BYTES:
        return [Finding(topic, "problem", message, ("free some disk space",), blocks=True)]
    if free < LOW_DISK_BYTES:
        fix = ("a live run records what it receives: 16 MB per million events, before compression",)
        return [Finding(topic, "note", message, fix)]
    return [Finding(topic, "ok", message)]


def _gigabytes(count: int) -> str:
    """Disk space in decimal units.

    >>> _gigabytes(12_340_000_000), _gigabytes(48_000_000)
    ('12.3 GB', '48 MB')
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _network(proc: Path) -> list[Finding]:
    return [_loopback(), *_receive_buffer(proc)]


def _loopback() -> Finding:
    """Send a datagram from this process to itself."""
    sent = b"streamstop doctor"
    try:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        ):
            receiver.bind(("127.0.0.1", 0))
            receiver.settimeout(0.5)
            sender.sendto(sent, receiver.getsockname())
            if receiver.recv(64) == sent:
                return Finding("network", "ok", "UDP over loopback works")
            message = "the datagram received is not the one sent"
    except OSError as error:
        message = str(error)
    fix = ("udp:// sources and targets will not work here; check the firewall",)
    return Finding("network", "problem", f"UDP over loopback does not work: {message}", fix)


def _receive_buffer(proc: Path) -> list[Finding]:
    limit = -1
    with suppress(OSError, ValueError):
        limit = int((proc / "sys" / "net" / "core" / "rmem_max").read_text())
    if limit < 0:  # not Linux, or hidden
        return []
    message = f"receive buffer: at most {limit / 2**20:.1f} MiB (net.core.rmem_max = {limit})"
    if limit >= WANTED_RCVBUF_BYTES:
        return [Finding("network", "ok", message)]
    fix = (
        "bursts of events over UDP can be lost before they are read; until the next reboot:",
        f"    sudo sysctl -w net.core.rmem_max={WANTED_RCVBUF_BYTES}",
    )
    return [Finding("network", "note", message, fix)]
