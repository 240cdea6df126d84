"""How a page of results was made: command, versions, processor."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def installed(name: str) -> str:
    """The version of a package, empty where there is none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def cpu() -> str:
    """The processor's name, if the system reports it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def provenance(module: str, *packages: str) -> list[str]:
    """Lines of Markdown: how this page was made and on what; `module` wrote it."""
    # Where a folder was put on one machine is nobody else's matter.
    arguments = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    versions = ", ".join(f"{p} {installed(p) or 'not installed'}" for p in packages)
    return [
        f"Written by `{module.replace('.', '/')}.py`; do not edit.",
        "",
        f"- command: `{shlex.join(['python', '-m', module, *arguments])}`",
        f"- versions: Python {platform.python_version()}, {versions}",
        f"- cpu: {cpu()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
    ]
