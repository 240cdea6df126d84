"""A run in a process of its own: snapshots come, commands go, its end is told."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from streamstop.config.sections import Config
from streamstop.events.packet import SensorSize, make_events
from streamstop.formats.aedat.aedat4_writer import write_aedat4
from streamstop.live.host import HostedRunError, RunProcess
from streamstop.pipeline.configure import load_config
from streamstop.pipeline.snapshot import Command

SMALL = (
    *("binning.bin_us=10000", "binning.height=16", "binning.width=16"),
    *("network.channels=[6]", "network.architecture=compact"),
)


def a_config(tmp_path: Path, **flags: object) -> Config:
    rng = np.random.default_rng(0)
    t = np.sort(rng.integers(0, 60_000_000, 6000))
    events = make_events(t, rng.integers(0, 16, 6000), rng.integers(0, 16, 6000), t % 2 == 0)
    write_aedat4(tmp_path / "rec.aedat4", events, SensorSize(16, 16), packet_events=100)
    own = {"source.uri": str(tmp_path / "rec.aedat4"), "run.output_dir": str(tmp_path / "runs")}
    return load_config(None, SMALL, own | flags)


def test_a_class_is_taught_from_outside_and_the_run_ended(tmp_path: Path) -> None:
    config = a_config(tmp_path, **{"source.speed": 1.0, "labels.classes": "left,right"})
    asked, labels = False, set()
    with RunProcess(config, command="streamstop run") as process:
        deadline = time.monotonic() + 100
        while time.monotonic() < deadline and not process.ended:
            found = process.read()
            if found is None:
                time.sleep(0.02)
                continue
            if found.state == "running" and not asked:
                process.send(Command("label", "left"))
                asked = True
            labels.add(found.label)
            if found.label == "left" and found.stream_us > 500_000:
                process.send(Command("end"))
        result = process.result()
    assert labels == {"", "left"}
    assert result.exit_code == 0
    assert result.summary["n_segments"] == 1
    assert (result.run_dir / "labels.csv").read_text().count("left") == 1


def test_an_error_comes_back_with_its_exit_code(tmp_path: Path) -> None:
    config = a_config(tmp_path, **{"source.uri": str(tmp_path / "missing.aedat4")})
    with RunProcess(config) as process, pytest.raises(HostedRunError) as caught:
        process.result()
    assert "no such file" in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_view_that_leaves_ends_the_run_in_order(tmp_path: Path) -> None:
    config = a_config(tmp_path, **{"source.speed": 1.0, "labels.classes": "left,right"})
    with RunProcess(config) as process:
        while (found := process.read()) is None or found.state != "running":
            time.sleep(0.02)
    (folder,) = (tmp_path / "runs").iterdir()
    assert (folder / "summary.json").exists()
