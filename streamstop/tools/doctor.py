"""What this computer has of what streamstop needs, found out and put in words with what to do.

It promises to change nothing, to import no heavy library into this process, to take under 5 s
whatever hangs, and to tell two things apart: what stands in the way of running from files (then the
exit code is 1), and what only keeps a camera, a format or some speed away. What it says of a camera
is what the drivers and the kernel say; it does not stream from it.
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
"""When what has not been found out is left open."""

GPU_S = 4.0
"""How long PyTorch may take to say which GPUs it sees."""

NEEDED = (
    "torch", "numpy", "numba", "river", "safetensors", "lz4", "zstandard", "typer", "rich",
    "jinja2", "psutil", "pillow",
)  # fmt: skip

EXTRAS = (
    ("datasets", ("tonic",), "the data sets that tonic knows"),
    ("hdf5", ("h5py", "hdf5plugin"), "HDF5 recordings (DSEC, Metavision)"),
)

LOW_DISK_BYTES, NO_DISK_BYTES = 2 << 30, 64 << 20

WANTED_RCVBUF_BYTES = 4 << 20
"""A quarter of a second of 4 million events a second, 4 bytes each, as UDP brings them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    topic : the heading it belongs under.
    state : "ok"; "note", worth knowing; "problem", something that is there does not work.
    message : what was found.
    fix : what to do, line by line; a line that begins with four spaces is to be pasted as it is.
    blocks : whether it stands in the way of running from files.
    """

    topic: str
    state: State
    message: str
    fix: tuple[str, ...] = ()
    blocks: bool = False


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that was found, in the order in which it is shown."""

    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """0 where nothing stands in the way of running from files, else 1."""
        return int(any(one.blocks for one in self.findings))

    def as_json(self) -> dict[str, Any]:
        """The same as plain data."""
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
    """Look at everything, side by side.

    Parameters
    ----------
    runs : the folder that runs are to be written to; it need not exist yet.
    sysfs, dev, proc : where these are mounted.
    may_open : whether this user may read and write a device's file.
    """
    on_bus = usb_cameras(sysfs, dev, may_open) if may_open else usb_cameras(sysfs, dev)
    looks: tuple[tuple[str, Callable[[], list[Finding]]], ...] = (
        ("this computer", _computer),
        ("libraries", _libraries),
        ("GPU", lambda: [_gpu(proc)]),
        ("threads", lambda: [_threads()]),
        ("cameras", lambda: _cameras(on_bus)),
        ("USB", lambda: _usb(on_bus)),
        ("extras", _extras),
        ("folder for runs", lambda: _folder(runs)),
        ("network", lambda: _network(proc)),
    )
    end_s = time.monotonic() + DEADLINE_S
    waiting = [_Look(topic, look) for topic, look in looks]
    return Diagnosis(tuple(finding for one in waiting for finding in one.outcome(end_s)))


class _Look:
    """One look on a thread of its own, which is left behind where it hangs."""

    def __init__(self, topic: str, look: Callable[[], list[Finding]]) -> None:
        self._topic = topic
        self._look = look
        self._found = [Finding(topic, "note", f"not known: no answer within {DEADLINE_S:g} s")]
        self._thread = threading.Thread(target=self._run, name=f"doctor {topic}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._found = self._look()
        except Exception as error:  # one look that fails must not hide the others
            said = f"not known: {type(error).__name__}: {error}"
            self._found = [Finding(self._topic, "note", said)]

    def outcome(self, end_s: float) -> list[Finding]:
        """What it found by then."""
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
        said = "tested on Linux; cameras need no udev rules here, and USB is not listed"
        found.append(Finding(topic, "note", said))
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
    """Whether PyTorch can use a GPU; it is imported in another process, and only for a reason."""
    topic, torch = "GPU", _version("torch")
    if not torch:
        return Finding(topic, "note", "not known: torch is not installed")
    if sys.platform == "linux" and not (proc / "driver" / "nvidia" / "version").exists():
        return Finding(topic, "ok", "no NVIDIA driver; runs use the CPU, which is enough")
    if torch.endswith("+cpu"):
        said = "there is an NVIDIA driver, but this PyTorch is built for the CPU alone"
        fix = ("install a CUDA build of PyTorch to use it: https://pytorch.org/get-started",)
        return Finding(topic, "note", said, fix)
    code = (
        "import torch; c = torch.cuda; "
        "print(', '.join(c.get_device_name(i) for i in range(c.device_count())) if "
        "c.is_available() else '')"
    )
    try:
        asked = subprocess.run(
            [sys.executable, "-P", "-c", code],
            capture_output=True,
            text=True,
            timeout=GPU_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return Finding(topic, "note", f"not known: PyTorch did not say within {GPU_S:g} s")
    if asked.returncode:
        last = (asked.stderr.strip().splitlines() or ["no word"])[-1]
        return Finding(topic, "problem", f"PyTorch cannot be imported: {last}", blocks=True)
    names = asked.stdout.strip()
    if not names:
        return Finding(topic, "note", f"PyTorch {torch} can use no GPU; runs use the CPU")
    return Finding(topic, "ok", f"{names}, by PyTorch {torch}; `streamstop train` uses it")


def _threads() -> Finding:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    said = f"{usable} of {os.cpu_count()} processors usable"
    limit = os.environ.get("OMP_NUM_THREADS")
    said += f", OMP_NUM_THREADS={limit}" if limit else ""
    policy = os.environ.get("OMP_WAIT_POLICY")
    said += f", OMP_WAIT_POLICY={policy}" if policy else ", OMP_WAIT_POLICY not set"
    if (policy or "").upper() == "PASSIVE":
        return Finding("threads", "ok", said)
    why = "idle threads that spin can make a step a hundred times slower on busy processors:"
    return Finding("threads", "note", said, (why, "    export OMP_WAIT_POLICY=PASSIVE"))


def _cameras(on_bus: Sequence[UsbCamera]) -> list[Finding]:
    answers = list(discover(BACKENDS))
    found = [_backend(answer, bool(on_bus)) for answer in answers]
    usable = [one for answer in answers for one in answer.cameras if not one.error]
    if not any(answer.state not in ("absent", "skipped") for answer in answers):
        said = "no library for cameras is installed; recordings need none"
        found.append(Finding("cameras", "note", said, (f"    {INSTALL}",)))
    elif not usable:
        said = "no camera that could be opened; recordings need none"
        found.append(Finding("cameras", "note", said))
    return found


def _backend(answer: DiscoveryResult, on_bus: bool) -> Finding:
    """A backend that fails is a problem only where the kernel sees a camera."""
    failing = answer.state in ("failed", "silent") or any(one.error for one in answer.cameras)
    if answer.state == "looked" and not failing:
        return Finding("cameras", "ok", str(answer))
    fix: tuple[str, ...] = ()
    if any(one.error for one in answer.cameras):
        fix = ("close other programs that use the camera, plug it out and in again",)
    return Finding("cameras", "problem" if failing and on_bus else "note", str(answer), fix)


def _usb(on_bus: Sequence[UsbCamera]) -> list[Finding]:
    if not on_bus:
        return [Finding("USB", "note", "the kernel lists no event camera on the USB bus")]
    return [finding for camera in on_bus for finding in _usb_camera(camera)]


def _usb_camera(camera: UsbCamera) -> list[Finding]:
    serial = f", serial {camera.serial}" if camera.serial else ""
    said = f"{camera}{serial}, {camera.node}"
    if not camera.node_exists:
        fix: tuple[str, ...] = (
            "in a container pass the bus on: docker run --device /dev/bus/usb ...",
        )
        found = [Finding("USB", "problem", f"{said}: this file is missing", fix)]
    elif not camera.open_to_us:
        paste = (f"    {line}" for line in fix_permission_hint((camera.kind,)))
        fix = ("a udev rule is missing; paste this, then plug the camera in again:", *paste)
        found = [Finding("USB", "problem", f"{said}: this user may not open it", fix)]
    else:
        found = [Finding("USB", "ok", said)]
    if camera.slow:
        said = f"{camera.ids} is a USB 3 camera and is connected at {camera.speed_mbps} Mb/s"
        fix = ("use a USB 3 socket and cable, or events will be dropped",)
        found.append(Finding("USB", "note", said, fix))
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


def _folder(runs: Path) -> list[Finding]:
    """Whether a run's folder could be made, tried with a file that has no name where possible."""
    topic, there = "folder for runs", runs.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    shown = runs.absolute()
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        fix = ("go to a folder of yours, or name one: streamstop run --out DIR",)
        said = f"cannot be written to ({error.strerror}): {shown}"
        return [Finding(topic, "problem", said, fix, blocks=True)]
    free = shutil.disk_usage(there).free
    said = f"{_gigabytes(free)} free: {shown}"
    if free < NO_DISK_BYTES:
        return [Finding(topic, "problem", said, ("make room",), blocks=True)]
    if free < LOW_DISK_BYTES:
        fix = ("a live run records what it receives: 16 MB for a million events before packing",)
        return [Finding(topic, "note", said, fix)]
    return [Finding(topic, "ok", said)]


def _gigabytes(count: int) -> str:
    """Room on a disk in decimal units.

    >>> _gigabytes(12_340_000_000), _gigabytes(48_000_000)
    ('12.3 GB', '48 MB')
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _network(proc: Path) -> list[Finding]:
    return [_loopback(), *_receive_buffer(proc)]


def _loopback() -> Finding:
    """Send a datagram to ourselves."""
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
            said = "another datagram than the one sent"
    except OSError as error:
        said = str(error)
    fix = ("sources and senders of the kind udp:// will not work here; look at the firewall",)
    return Finding("network", "problem", f"UDP over loopback does not work: {said}", fix)


def _receive_buffer(proc: Path) -> list[Finding]:
    limit = -1
    with suppress(OSError, ValueError):
        limit = int((proc / "sys" / "net" / "core" / "rmem_max").read_text())
    if limit < 0:  # not Linux, or hidden
        return []
    said = f"a socket may hold {limit / 2**20:.1f} MiB (net.core.rmem_max = {limit})"
    if limit >= WANTED_RCVBUF_BYTES:
        return [Finding("network", "ok", said)]
    fix = (
        "bursts of events over UDP will be dropped before they are read; until the next start:",
        f"    sudo sysctl -w net.core.rmem_max={WANTED_RCVBUF_BYTES}",
    )
    return [Finding("network", "note", said, fix)]
