"""Doubles of cameras at the libraries' boundary: their packet types, behind their open functions.

Where a library lets its objects be built, real ones are built: neuromorphic-drivers' packets and
status, dv-processing's event stores. Where it does not (devices, descriptors), a double refuses any
attribute that the real class does not have, so that it cannot drift from it.
"""

from __future__ import annotations

import ctypes
import inspect
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

import numpy as np

ND_EVENTS = np.dtype([("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "?")])
"""What the driver delivers: 13 packed bytes. Its names are in the extension module."""


class PanicException(BaseException):
    """What a panic in Rust arrives as: no Exception."""

    __module__ = "pyo3_runtime"


class Double:
    """Has what it is given, if the real class has it too."""

    def __init__(self, real: type, **attributes: Any) -> None:
        strangers = [name for name in attributes if not hasattr(real, name)]
        assert not strangers, f"{real.__name__} has no {strangers}"
        self.__dict__.update(attributes)


def nd_events(*rows: tuple[int, int, int, bool]) -> Any:
    return np.array(list(rows), dtype=ND_EVENTS)


def nd_packet(kind: str, events: Any, overflows: Iterable[int] = ()) -> Any:
    """A packet of the library's own class, with every field that it declares."""
    cls = getattr(import_module("neuromorphic_drivers"), kind)
    packet = cls()
    for name in cls.__annotations__:
        setattr(packet, name, [] if name == "frames" else None)
    assert "polarity_events" in cls.__annotations__
    assert "polarity_events_overflow_indices" in cls.__annotations__
    packet.polarity_events = events
    indices = np.array(list(overflows), dtype=np.uint64)
    packet.polarity_events_overflow_indices = indices if len(indices) else None
    return packet


def nd_status(dropped: int = 0, backlog: int = 0, clutch: bool = False) -> Any:
    status = import_module("neuromorphic_drivers.status")
    ring = status.RingStatus(
        system_time=1.0,
        backlog=backlog,
        raw_packets=1,
        clutch_engaged=clutch,
        current_t=0,
        dropped_packets=dropped,
    )
    return status.Status(system_time=1.0, ring=ring)


def nd_silence() -> tuple[Any, Any]:
    """What the library's iterator returns when its timeout has passed without events."""
    status = import_module("neuromorphic_drivers.status")
    return status.RawStatus(system_time=1.0, ring=None), nd_packet("Davis346Packet", None)


class NdDevice:
    """A device of neuromorphic-drivers: delivers what it is given, raises what is an error."""

    def __init__(self, kind: str, script: Iterable[Any], backlog: int = 0) -> None:
        nd = import_module("neuromorphic_drivers")
        self._properties = getattr(nd, kind).Properties()
        self._script = list(script)
        self._backlog = backlog
        self.closed = 0
        real = import_module("neuromorphic_drivers.device").Device
        ours = {name for name in vars(NdDevice) if not name.startswith("_")} | {"__next__"}
        assert all(hasattr(real, name) for name in ours), ours

    def __iter__(self) -> NdDevice:
        return self

    def __next__(self) -> tuple[Any, Any]:
        if self.closed:
            raise RuntimeError("__next__ called after __exit__")
        if not self._script:
            time.sleep(0.01)
            return nd_silence()
        step = self._script.pop(0)
        if isinstance(step, BaseException):
            raise step
        return step

    def properties(self) -> Any:
        return self._properties

    def backlog(self) -> int:
        return self._backlog

    def close(self) -> None:
        self.closed += 1


def nd_open(device: Any, seen: dict[str, Any]) -> Callable[..., Any]:
    """A function to stand in for `neuromorphic_drivers.open`: takes what the real one takes."""
    real = inspect.signature(import_module("neuromorphic_drivers.generated.devices_types").open)

    def opens(*args: Any, **options: Any) -> Any:
        seen.update(real.bind(*args, **options).arguments)
        if isinstance(device, BaseException):
            raise device
        return device

    return opens


def dv_store(*rows: tuple[int, int, int, bool]) -> Any:
    store = import_module("dv_processing").EventStore()
    for row in rows:
        store.push_back(*row)
    return store


def dv_camera(
    size: tuple[int, int] | None, script: Iterable[Any], *, frames: int = 0, runs_on: bool = False
) -> Any:
    """A camera of dv-processing: delivers what it is given, then reports that it has stopped."""
    left, frames_left = list(script), [object()] * frames

    def batch() -> Any:
        step = left.pop(0) if left else None
        if isinstance(step, BaseException):
            raise step
        return step

    return Double(
        import_module("dv_processing").io.camera.DAVIS,
        getEventResolution=lambda: size,
        isRunning=lambda: bool(left) or runs_on,
        getNextEventBatch=batch,
        isFrameStreamAvailable=lambda: True,
        getNextFrame=lambda: frames_left.pop() if frames_left else None,
        isImuStreamAvailable=lambda: False,
        isTriggerStreamAvailable=lambda: False,
    )


def dv_descriptor(model: str, serial: str) -> Any:
    camera = import_module("dv_processing").io.camera
    return Double(
        camera.USBDevice.DeviceDescriptor,
        cameraModel=getattr(camera.CameraModel, model),
        serialNumber=serial,
    )


def nd_listed(name: str, serial: str | None, error: str | None = None) -> Any:
    nd = import_module("neuromorphic_drivers")
    return nd.ListedDevice(
        name=nd.Name[name],
        connection=nd.Connection.USB_SUPER,
        address="1:4",
        serial=serial,
        error=error,
    )


def _hang_with_the_lock() -> None:
    ctypes.PyDLL(None).sleep(60)


MISDEEDS: dict[str, Callable[[], Any]] = {
    "hang": _hang_with_the_lock,
    "abort": os.abort,
    "print": lambda: print('{"state": "looked"}') or [],
}


def _raises(what: str) -> Callable[[], Any]:
    def panic() -> Any:
        raise PanicException(what)

    def fail() -> Any:
        raise RuntimeError(what)

    return panic if what.startswith("panic") else fail


def _listing(wanted: Any, one_of: Callable[..., Any]) -> Callable[[], Any]:
    if isinstance(wanted, str):
        return MISDEEDS.get(wanted) or _raises(wanted)
    return lambda: [one_of(*each) for each in wanted]


class _SlowImport:
    """Makes the import of one library take for ever."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == self._name:
            time.sleep(60)


def install(spec_json: str) -> None:
    """In the process that looks: let the libraries list what the test says.

    spec_json : JSON, {"neuromorphic": listing, "dv": listing, "slow": library}; a listing is a list
        of cameras, or a word for what goes wrong.
    """
    spec = json.loads(spec_json)
    asked = sys.orig_argv[-1]
    if "slow" in spec:
        sys.meta_path.insert(0, _SlowImport(spec["slow"]))  # type: ignore[arg-type]
    elif asked == "neuromorphic" and "neuromorphic" in spec:
        nd = import_module("neuromorphic_drivers")
        nd.list_devices = _listing(spec["neuromorphic"], nd_listed)
    elif asked == "dv" and "dv" in spec:
        camera = import_module("dv_processing").io.camera
        camera.discover = _listing(spec["dv"], dv_descriptor)
