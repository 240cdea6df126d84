"""Cameras by name: says which backends there are, what each sees, and how to mend it.

This version finds cameras and does not yet stream from them. It promises never to pretend: opening
a camera always ends in an error, and the error tells an absent camera from one that was found.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib import import_module
from typing import Never

from streamstop.errors import SourceError

TIMEOUT_S = 2.0
"""A backend that has not answered by then is left waiting in the background."""

_MEND = (
    "plug the camera in and see that its light is on",
    "install a backend: pip install 'streamstop[cameras]'",
    "on Linux let your user open it: add a udev rule for the vendor (152a: iniVation, 04b4: "
    'Prophesee), e.g. SUBSYSTEM=="usb", ATTR{idVendor}=="152a", MODE="0666" in '
    "/etc/udev/rules.d/65-event-cameras.rules, then `sudo udevadm control --reload-rules` and plug "
    "it in again",
)


def _neuromorphic_drivers() -> str:
    """What neuromorphic-drivers lists, "" for nothing."""
    devices = import_module("neuromorphic_drivers").list_devices()
    return ", ".join(str(one) for one in devices)


def _aestream() -> str:
    """aestream lists nothing: built with drivers, it can only say so."""
    drivers = import_module("aestream").drivers
    if not drivers:
        raise RuntimeError("this build has no camera drivers")
    return ""


def _dv_processing() -> str:
    """What dv-processing discovers, "" for nothing."""
    found = import_module("dv_processing").io.camera.discover()
    return ", ".join(str(one) for one in found)


BACKENDS: tuple[tuple[str, Callable[[], str]], ...] = (
    ("neuromorphic-drivers", _neuromorphic_drivers),
    ("aestream", _aestream),
    ("dv-processing", _dv_processing),
)


def open_camera(name: str) -> Never:
    """Look for a camera with each backend in turn, and say what came of it.

    Raises
    ------
    SourceError
        Always: no camera is attached, or one is and cannot be streamed from yet.
    """
    said = []
    for backend, look in BACKENDS:
        found, answer = _ask(look)
        if found:
            raise SourceError(
                f"{backend} sees {found}; streaming from a camera comes with a later version. "
                f"Until then, record with the camera's own software and give the file: {name}"
            )
        said.append(f"  {backend}: {answer}")
    lines = ["no camera found. Looked with", *said, "To mend it:"]
    lines += [f"  - {step}" for step in _MEND]
    raise SourceError("\n".join([*lines, f"Asked for: {name}"]))


def _ask(look: Callable[[], str]) -> tuple[str, str]:
    """What a backend sees, and its answer in words; whatever it throws, and within TIMEOUT_S."""
    found, answer = "", f"no answer within {TIMEOUT_S:g} s"

    def call() -> None:
        nonlocal found, answer
        try:
            seen = look()
            found, answer = seen, "installed, sees no camera"
        except ModuleNotFoundError:
            answer = "not installed"
        except BaseException as error:  # drivers throw anything, some of it no Exception
            answer = f"installed, failed with {type(error).__name__}: {error}".strip()

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(TIMEOUT_S)
    return found, answer
