"""Versions of the software that a result depends on."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from streamstop._version import __version__


def versions() -> dict[str, str]:
    """Versions of the software that a result depends on."""
    found = {"streamstop": __version__, "python": platform.python_version()}
    for package in ("torch", "numpy", "river", "numba"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    found["platform"] = f"{platform.system()} {platform.machine()} {sys.byteorder}-endian"
    return found
