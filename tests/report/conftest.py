"""Fixtures that tests of the report share."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.fake_run import fake_scenario, write_fake_run

from streamstop.report.views.run import Snapshot, load_snapshot


@pytest.fixture
def changing(tmp_path: Path) -> Snapshot:
    """A run whose stream changes once, in the middle."""
    return load_snapshot(write_fake_run(tmp_path / "run", overrides=fake_scenario()))
