"""Libraries that some tests compare with: a test that needs one skips where it is missing."""

from __future__ import annotations

from typing import Any

import pytest


class Optional:
    """Stands for a module; the test that uses it first is skipped where it is not installed."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(pytest.importorskip(self._name), attribute)


faery = Optional("faery")
h5py = Optional("h5py")
hdf5plugin = Optional("hdf5plugin")
dv_processing = Optional("dv_processing")
