"""Event cameras on the USB bus, as the kernel lists them: found without any driver.

Guarantees:

- Only sysfs is read, and no device is opened.
- Only product ids that a backend uses are reported: vendor 152a is shared with sound cards and GPS
  receivers, 04b4 with many USB chips.

Does not:

- List anything outside Linux, or tell whether a camera works.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

SYSFS = Path("/sys")
DEV = Path("/dev")

RULES_FILE = "/etc/udev/rules.d/65-event-cameras.rules"

SUPER_SPEED_MBPS = 5000
"""USB 3.0. A camera made for it drops events on a slower connection."""


class UsbKind(NamedTuple):
    """Product ids of one vendor, as udev matches them."""

    vendor: str
    products: str
    cameras: str
    usb3: bool

    @property
    def rule(self) -> str:
        """The udev line that lets every user of this computer open these devices."""
        return (
            f'SUBSYSTEM=="usb", ATTRS{{idVendor}}=="{self.vendor}", '
            f'ATTRS{{idProduct}}=="{self.products}", MODE="0666"'
        )


KINDS = (
    UsbKind("152a", "84[0-1]?", "iniVation (DAVIS, DVXplorer, DVS128)", usb3=False),
    UsbKind("04b4", "00f[4-5]", "Prophesee (EVK3, EVK4)", usb3=True),
    UsbKind("31f7", "000[3-4]", "CenturyArks (SilkyEvCam)", usb3=True),
    UsbKind("1409", "8e00", "IDS (uEye XCP-E)", usb3=True),
)
"""The devices that neuromorphic-drivers 0.18 and dv-processing 2.0 use."""


@dataclass(frozen=True, slots=True)
class UsbCamera:
    """One event camera on the bus.

    Attributes
    ----------
    ids
        Vendor and product, "152a:841a".
    product
        Its product name; "" if unknown.
    serial
        Its serial number; "" if unknown.
    node
        The file that a driver has to open.
    open_to_us
        Whether this user may read and write that file.
    speed_mbps
        Speed of the connection in Mb/s, None if unknown.
    """

    kind: UsbKind
    ids: str
    product: str
    serial: str
    node: Path
    node_exists: bool
    open_to_us: bool
    speed_mbps: int | None

    @property
    def slow(self) -> bool:
        """Whether a USB 3 camera is connected through USB 2."""
        return (
            self.kind.usb3
            and self.speed_mbps is not None
            and (0 < self.speed_mbps < SUPER_SPEED_MBPS)
        )

    def __str__(self) -> str:
        called = f" {self.product!r}" if self.product else ""
        return f"{self.ids}{called} by {self.kind.cameras}"


def _may_open(node: Path) -> bool:
    return os.access(node, os.R_OK | os.W_OK)


def usb_cameras(
    sysfs: Path = SYSFS, dev: Path = DEV, may_open: Callable[[Path], bool] = _may_open
) -> tuple[UsbCamera, ...]:
    """Event cameras that the kernel lists, by bus and port.

    Parameters
    ----------
    sysfs, dev
        Where these two are mounted.
    may_open
        Whether this user may read and write a device's file.
    """
    try:
        folders = sorted((sysfs / "bus" / "usb" / "devices").iterdir())
    except OSError:  # no Linux, no USB, a container
        return ()
    found = (_camera(folder, dev, may_open) for folder in folders)
    return tuple(camera for camera in found if camera is not None)


def _camera(folder: Path, dev: Path, may_open: Callable[[Path], bool]) -> UsbCamera | None:
    vendor, product = _attribute(folder, "idVendor"), _attribute(folder, "idProduct")
    kind = next((k for k in KINDS if k.vendor == vendor and fnmatchcase(product, k.products)), None)
    if kind is None:  # a hub, an interface, a mouse
        return None
    bus, number = _number(folder, "busnum") or 0, _number(folder, "devnum") or 0
    node = dev / "bus" / "usb" / f"{bus:03d}" / f"{number:03d}"
    return UsbCamera(
        kind=kind,
        ids=f"{vendor}:{product}",
        product=_attribute(folder, "product"),
        serial=_attribute(folder, "serial"),
        node=node,
        node_exists=node.exists(),
        open_to_us=may_open(node),
        speed_mbps=_number(folder, "speed"),
    )


def _attribute(folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:  # interfaces have none of these, and a device may disappear at any moment
        return ""


def _number(folder: Path, name: str) -> int | None:
    text = _attribute(folder, name)
    try:
        return round(float(text))  # low speed is "1.5"
    except ValueError:
        return None


def fix_permission_hint(kinds: tuple[UsbKind, ...]) -> tuple[str, ...]:
    """Commands that allow users to open these cameras, line by line, to be pasted as they are."""
    return (
        f"sudo tee {RULES_FILE} <<'END'",
        *(kind.rule for kind in kinds),
        "END",
        "sudo udevadm control --reload-rules && sudo udevadm trigger",
    )
