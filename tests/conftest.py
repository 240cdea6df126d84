"""Fixtures that several rooms' tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before torch is imported. Its threads spin while they wait, and where another process wants a core
# too, that costs minutes; nothing tested here is large enough to gain by a second one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
from hypothesis import settings

# An example may take long on a machine that is busy; what hangs meets the timeout of all tests.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of real recordings: $STREAMSTOP_TEST_DATA, else shared/data beside the repository."""
    stated = os.environ.get("STREAMSTOP_TEST_DATA")
    folder = Path(stated) if stated else Path(__file__).parents[2] / "shared" / "data"
    if not (folder / "formats").is_dir():
        pytest.skip(f"no real recordings in {folder}; point STREAMSTOP_TEST_DATA to them")
    return folder
