"""The doctor: what it finds is there, what it tells to paste would help, and it is quick."""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from streamstop.cli.display.doctor import conclusion, print_diagnosis
from streamstop.sources.live.cameras import discovery
from streamstop.sources.live.cameras.backend import SeenCamera
from streamstop.sources.live.cameras.discovery import DiscoveryResult
from streamstop.tools import doctor
from streamstop.tools.doctor import Diagnosis, Finding, diagnose

DAVIS_RULE = 'SUBSYSTEM=="usb", ATTRS{idVendor}=="152a", ATTRS{idProduct}=="84[0-1]?", MODE="0666"'
"""As neuromorphic-drivers installs it."""


def plug_in(root: Path, port: str, number: int, **attributes: str) -> Path:
    """A device as the kernel lays it out in /sys, and its file in /dev."""
    folder = root / "sys/bus/usb/devices" / port
    folder.mkdir(parents=True)
    for name, value in {"busnum": "2", "devnum": str(number), **attributes}.items():
        (folder / name).write_text(f"{value}\n")
    node = root / "dev/bus/usb/002" / f"{number:03d}"
    node.parent.mkdir(parents=True, exist_ok=True)
    node.touch()
    return node


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A Linux computer with a root hub, a mouse and no camera."""
    plug_in(tmp_path, "usb2", 1, idVendor="1d6b", idProduct="0003", speed="5000")
    plug_in(tmp_path, "2-7", 3, idVendor="046d", idProduct="c077", speed="1.5")
    (tmp_path / "proc/sys/net/core").mkdir(parents=True)
    (tmp_path / "proc/sys/net/core/rmem_max").write_text("212992\n")
    return tmp_path


def look(machine: Path, may_open: bool = True, runs: Path | None = None) -> Diagnosis:
    return diagnose(
        runs or machine / "runs",
        sysfs=machine / "sys",
        dev=machine / "dev",
        proc=machine / "proc",
        may_open=lambda node: may_open,
    )


def of(examination: Diagnosis, topic: str) -> list[Finding]:
    return [one for one in examination.findings if one.topic == topic]


def printed(examination: Diagnosis, width: int = 80) -> str:
    out = io.StringIO()
    print_diagnosis(examination, Console(file=out, width=width))
    return out.getvalue()


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the backends have answered this."""

    def say(*answered: DiscoveryResult) -> None:
        monkeypatch.setattr(doctor, "discover", lambda backends: iter(answered))

    say(DiscoveryResult("neuromorphic-drivers", "0.18.2", "looked"))
    return say


def test_without_a_camera_nothing_stands_in_the_way(machine: Path, answers: Any) -> None:
    found = look(machine)
    assert found.exit_code == 0
    assert [one.state for one in of(found, "USB")] == ["note"]
    assert all(one.state != "problem" for one in found.findings)
    assert "recordings need none" in of(found, "cameras")[-1].message
    assert not (machine / "runs").exists(), "the doctor changes nothing"


def test_a_missing_rule_comes_with_the_lines_to_paste(machine: Path, answers: Any) -> None:
    node = plug_in(
        machine, "2-1", 4, idVendor="152a", idProduct="841a", product="DAVIS346", serial="104",
        speed="5000",
    )  # fmt: skip
    answers(
        DiscoveryResult(
            "neuromorphic-drivers", "0.18.2", "failed", reason="RuntimeError: Access denied"
        )
    )
    found = look(machine, may_open=False)
    assert [one.state for one in of(found, "cameras")] == ["problem", "note"]
    (usb,) = of(found, "USB")
    assert usb.state == "problem"
    assert str(node) in usb.message and "serial 104" in usb.message
    assert found.exit_code == 0, "a camera that cannot be opened does not keep anyone from files"
    out = printed(found, width=60)
    assert f"\n{DAVIS_RULE}\n" in out, "whole, and at the start of a line, to be pasted"
    assert "1d6b" not in out
    assert conclusion(found) in out and "2 other problems" in out


def test_the_pasted_lines_write_that_rule(machine: Path, answers: Any, tmp_path: Path) -> None:
    plug_in(machine, "2-1", 4, idVendor="152a", idProduct="8419", speed="5000")
    (usb,) = of(look(machine, may_open=False), "USB")
    lines = [line.strip() for line in usb.fix if line.startswith("    ")]
    stand_in = tmp_path / "bin"
    stand_in.mkdir()
    rules = tmp_path / "rules"
    (stand_in / "sudo").write_text(f'#!/bin/sh\n[ "$1" = tee ] && cat > {rules} || exit 0\n')
    (stand_in / "sudo").chmod(0o755)
    environment = {**os.environ, "PATH": f"{stand_in}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-c", "\n".join(lines)], check=True, env=environment, timeout=10)
    assert rules.read_text() == DAVIS_RULE + "\n"


def test_a_usb_3_camera_on_usb_2(machine: Path, answers: Any) -> None:
    plug_in(machine, "2-1", 4, idVendor="04b4", idProduct="00f5", speed="480")
    states = [(one.state, one.message) for one in of(look(machine), "USB")]
    assert [state for state, _ in states] == ["ok", "note"]
    assert "480 Mb/s" in states[1][1]


def test_a_file_that_is_missing_in_a_container(machine: Path, answers: Any) -> None:
    plug_in(machine, "2-1", 4, idVendor="31f7", idProduct="0003", speed="5000").unlink()
    (usb,) = of(look(machine, may_open=False), "USB")
    assert usb.state == "problem"
    assert "missing" in usb.message and "docker" in usb.fix[0]
    assert not any("udev" in line for line in usb.fix)


def test_cameras_that_are_seen(machine: Path, answers: Any) -> None:
    seen = SeenCamera(("evk4",), "Prophesee EVK4", "A1")
    answers(DiscoveryResult("one", "1.0", "looked", (seen,)), DiscoveryResult("two", "", "absent"))
    cameras = of(look(machine), "cameras")
    assert [one.state for one in cameras] == ["ok", "note"]
    assert cameras[0].message == "one 1.0: sees Prophesee EVK4 (serial A1)"
    answers(
        DiscoveryResult("one", "", "absent"),
        DiscoveryResult("two", "2", "skipped", reason="no times"),
    )
    assert "pip install 'streamstop[cameras]'" in of(look(machine), "cameras")[-1].fix[0]


def test_a_library_that_is_missing_stands_in_the_way(
    machine: Path, answers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name in ("river", "tonic"):
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = look(machine)
    assert found.exit_code == 1
    problem = of(found, "libraries")[-1]
    assert (problem.state, problem.message) == ("problem", "missing: river")
    assert problem.fix == ("    pip install river",)
    datasets = of(found, "tonic")[0]
    assert (datasets.state, datasets.blocks) == ("note", False)
    assert datasets.fix == ("    pip install 'streamstop[datasets]'",)
    assert conclusion(found).startswith("1 problem stands in the way")


@pytest.mark.parametrize("name", ["tonic", "aestream"])
def test_a_library_is_tried_and_not_only_looked_for(
    name: str, machine: Path, answers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(name)
    found = of(look(machine), name)[0]
    assert found.state == "ok"
    assert "right" in found.message
    wrong = "print('wrong: [(1, 2, 3, 4)]')"
    for program, state, message in (
        (wrong, "note", "wrong"),
        ("import nothing_like_this", "note", "does not work: ModuleNotFoundError"),
        ("import os; os.abort()", "note", "does not work"),
    ):
        monkeypatch.setattr(doctor, f"_TRY_{name.upper()}", program)
        tried = of(look(machine), name)[0]
        assert tried.state == state
        assert message in tried.message


def test_a_folder_that_cannot_be_written_to(machine: Path, answers: Any) -> None:
    (machine / "file").touch()
    found = look(machine, runs=machine / "file")
    assert found.exit_code == 1
    assert of(found, "folder for runs")[0].state == "problem"


@pytest.mark.parametrize(
    ("free", "state", "blocks"), [(10**7, "problem", True), (10**9, "note", False)]
)
def test_little_room(
    free: int,
    state: str,
    blocks: bool,
    machine: Path,
    answers: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usage = shutil.disk_usage(machine)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    (folder,) = of(look(machine), "folder for runs")
    assert (folder.state, folder.blocks) == (state, blocks)


def test_a_small_receive_buffer_is_noted(machine: Path, answers: Any) -> None:
    loopback, buffer = of(look(machine), "network")
    assert loopback.state == "ok"
    assert buffer.state == "note"
    assert "sysctl -w net.core.rmem_max=4194304" in buffer.fix[-1]
    (machine / "proc/sys/net/core/rmem_max").write_text("8388608\n")
    assert of(look(machine), "network")[1].state == "ok"


def test_a_gpu_that_this_pytorch_cannot_use(
    machine: Path, answers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert of(look(machine), "GPU")[0].state == "ok"
    driver = machine / "proc/driver/nvidia"
    driver.mkdir(parents=True)
    (driver / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module\n")
    monkeypatch.setattr(doctor, "_version", lambda name: "2.13.0+cpu")
    assert "built for the CPU only" in of(look(machine), "GPU")[0].message


def test_a_gpu_is_looked_for_in_another_process(
    machine: Path, answers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = machine / "proc/driver/nvidia"
    driver.mkdir(parents=True)
    (driver / "version").touch()
    monkeypatch.setattr(doctor, "_version", lambda name: "2.13.0")
    module = machine / "torch"
    module.mkdir()
    (module / "__init__.py").write_text(
        "class cuda:\n    is_available = staticmethod(lambda: True)\n"
        "    device_count = staticmethod(lambda: 2)\n"
        "    get_device_name = staticmethod(lambda i: f'GPU {i}')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(machine))
    (gpu,) = of(look(machine), "GPU")
    assert (gpu.state, gpu.message.split(",")[:2]) == ("ok", ["GPU 0", " GPU 1"])
    (module / "__init__.py").write_text("raise ImportError('libtorch.so: cannot open')")
    (gpu,) = of(look(machine), "GPU")
    assert (gpu.state, gpu.blocks) == ("problem", True)
    assert gpu.message.endswith("libtorch.so: cannot open")


def test_threads_that_spin(machine: Path, answers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert of(look(machine), "threads")[0].state == "note"
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    assert of(look(machine), "threads")[0].state == "ok"


def test_a_look_that_hangs_or_fails_hides_no_other(
    machine: Path, answers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> Finding:
        raise ValueError("odd")

    monkeypatch.setattr(doctor, "DEADLINE_S", 3.0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: time.sleep(30))
    monkeypatch.setattr(doctor, "_threads", fails)
    found = look(machine)
    assert "no answer within 3 s" in of(found, "folder for runs")[0].message
    assert "ValueError: odd" in of(found, "threads")[0].message
    assert of(found, "network")[0].state == "ok"


def test_it_is_json_in_full(machine: Path, answers: Any) -> None:
    found = look(machine)
    plain = json.loads(json.dumps(found.as_json()))
    assert plain["exit_code"] == 0
    assert len(plain["findings"]) == len(found.findings)
    assert set(plain["findings"][0]) == {"topic", "state", "message", "fix", "blocks"}


def test_a_device_that_steers_the_terminal_does_not(machine: Path, answers: Any) -> None:
    plug_in(
        machine, "2-1", 4, idVendor="152a", idProduct="841a", product="\x1b[2JDAVIS", speed="5000"
    )
    assert "\x1b" not in printed(look(machine))


def test_it_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from streamstop.tools.doctor import diagnose\n"
        f"found = diagnose(__import__('pathlib').Path({str(tmp_path)!r}))\n"
        "heavy = {'torch', 'river', 'numba', 'neuromorphic_drivers', 'dv_processing'}\n"
        "print(sorted(heavy & set(sys.modules)), found.exit_code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[] 0\n"


def test_its_time_limits_are_under_five_seconds() -> None:
    assert discovery.TIMEOUT_S < doctor.GPU_S < doctor.DEADLINE_S < 5.0
