"""Opens cameras by name: `davis346`, `davis240`, `dvxplorer`, `evk4`, and `camera` for any.

Guarantees:

- A feed of (t, x, y, p) as the driver decoded them, or an error that shows what each backend sees
  and what to do: in under 2 s if there is no camera, whatever a backend raises and even if it
  hangs.
- A backend that cannot give polarity and time is skipped, and where several cameras fit, none is
  chosen by chance.
"""

from __future__ import annotations

import sys
from contextlib import closing
from types import ModuleType
from typing import cast

from streamstop.errors import SourceError, UsageError
from streamstop.events.packet import SensorSize
from streamstop.sources.live.cameras import aestream_usb, discovery, dv, neuromorphic
from streamstop.sources.live.cameras.backend import Backend, SeenCamera, error_summary
from streamstop.sources.live.cameras.discovery import DiscoveryResult
from streamstop.sources.live.cameras.usb import DEV, UsbCamera, fix_permission_hint, usb_cameras
from streamstop.sources.live.feed import LiveFeed

_MODULES: tuple[ModuleType, ...] = (neuromorphic, aestream_usb, dv)

BACKENDS: tuple[Backend, ...] = tuple(cast(Backend, module) for module in _MODULES)
"""In the order in which they are tried."""

INSTALL = "pip install 'streamstop[cameras]'"


def open_camera(uri: str, sensor: SensorSize | None = None) -> LiveFeed:
    """Open a camera by name, with the first backend that sees it.

    Parameters
    ----------
    uri
        A name, or a name with a serial number: `davis346?serial=00000104`.
    sensor
        Size in pixels, to be checked against the camera's.

    Raises
    ------
    UsageError
        If an option is unknown, or the sensor differs.
    SourceError
        If there is no such camera, several fit, or it cannot be opened.
    """
    word, serial = _wanted(uri)
    answers: list[DiscoveryResult] = []
    refused: list[str] = []
    with closing(discovery.discover(BACKENDS)) as asking:
        for backend, answer in zip(BACKENDS, asking, strict=True):
            answers.append(answer)
            fitting = _fitting(uri, word, serial, answer)
            if fitting is None:
                continue
            try:
                feed = backend.open_feed(uri, word, fitting)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # a panic of a driver is no Exception
                refused.append(f"  {answer.backend}: opening {fitting}: {error_summary(error)}")
                continue
            if sensor not in (None, feed.sensor):
                feed.close()
                raise UsageError(
                    f"the camera's sensor is {feed.sensor}, not {sensor}; leave it out: {uri}"
                )
            return feed
    raise SourceError(_no_camera(uri, word, serial, answers, refused))


def find_camera(uri: str) -> None:
    """Check whether `open_camera` would find a camera, without opening it.

    It is for use before PyTorch is imported, which takes longer than finding no camera.

    Raises
    ------
    UsageError, SourceError
        As `open_camera` does.
    """
    word, serial = _wanted(uri)
    answers: list[DiscoveryResult] = []
    with closing(discovery.discover(BACKENDS)) as asking:
        for answer in asking:
            answers.append(answer)
            if _fitting(uri, word, serial, answer) is not None:
                return
    raise SourceError(_no_camera(uri, word, serial, answers, []))


def _fitting(uri: str, word: str, serial: str, answer: DiscoveryResult) -> SeenCamera | None:
    """The one listed camera that fits what was asked for; SourceError if there are several."""
    fitting = [one for one in answer.cameras if one.fits(word, serial) and not one.error]
    if len(fitting) > 1:
        raise SourceError(_which(uri, word, answer.backend, fitting))
    return fitting[0] if fitting else None


def _wanted(uri: str) -> tuple[str, str]:
    """The camera's name and the serial number, "" for any."""
    word, _, query = uri.partition("?")
    serial = ""
    for part in filter(None, query.split("&")):
        key, _, value = part.partition("=")
        if key != "serial" or not value or serial:
            raise UsageError(f"a camera takes ?serial=NUMBER and nothing else, not {part!r}: {uri}")
        serial = value
    return word, serial


def _which(uri: str, word: str, backend: str, fitting: list[SeenCamera]) -> str:
    example = next((one.serial for one in fitting if one.serial), "NUMBER")
    return (
        f"{len(fitting)} cameras fit: {backend} sees {', '.join(map(str, fitting))}. "
        f"Give its serial number, e.g. '{word}?serial={example}': {uri}"
    )


def _no_camera(
    uri: str, word: str, serial: str, answers: list[DiscoveryResult], refused: list[str]
) -> str:
    """What was tried, what is on the bus, and what to do."""
    on_bus = usb_cameras()
    seen = [one for answer in answers for one in answer.cameras]
    wanted = f"{word} with serial {serial}" if serial else word
    if refused:
        what = f"no {wanted} could be opened"
    elif word == "camera" and not seen:
        what = "no camera found"
    else:
        what = f"no {wanted} found" + (", only another camera" if seen else "")
    lines = [f"{what}. Looked with", *(f"  {answer}" for answer in answers)]
    if refused:
        lines += ["Opening failed:", *refused]
    if on_bus:
        lines += ["On the USB bus:", *(f"  {_on_bus(camera)}" for camera in on_bus)]
    steps = _steps(answers, seen, on_bus, refused)
    lines += ["Things to try:", *steps]
    return "\n".join([*lines, f"Asked for: {uri}"])


def _on_bus(camera: UsbCamera) -> str:
    if not camera.node_exists:
        return f"{camera}, but {camera.node} is missing (in a container: pass it through)"
    return f"{camera}, {camera.node}" + ("" if camera.open_to_us else ", not open to this user")


def _steps(
    answers: list[DiscoveryResult],
    seen: list[SeenCamera],
    on_bus: tuple[UsbCamera, ...],
    refused: list[str],
) -> list[str]:
    """What to do, the most likely first."""
    closed = [camera for camera in on_bus if camera.node_exists and not camera.open_to_us]
    steps = []
    if closed:
        kinds = tuple(dict.fromkeys(camera.kind for camera in closed))
        steps.append("  - allow your user to open it: paste this, then plug it in again")
        steps += [f"      {line}" for line in fix_permission_hint(kinds)]
    if seen:
        steps.append("  - ask for the camera that is there: --source camera")
    if refused or any(one.error for one in seen):
        steps.append("  - close other programs that use the camera, plug it out and in again")
    if sys.platform == "linux" and not (DEV / "bus" / "usb").exists():
        steps.append(
            f"  - this system shows no USB bus ({DEV}/bus/usb is missing): in a container pass it "
            "through (docker: --device /dev/bus/usb), in WSL attach the camera with usbipd"
        )
    elif not on_bus and not seen:
        steps.append("  - plug the camera in and check that its light is on")
    if all(answer.state in ("absent", "skipped") for answer in answers):
        steps.append(f"  - install a backend: {INSTALL}")
    steps.append("  - see what the computer sees, including udev rules: streamstop doctor")
    return steps
