"""`run --view terminal` in a pseudo-terminal: keys teach, q ends, the report follows."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from helpers.terminal import TIMEOUT_S, Screen
from typer.testing import CliRunner

pytest.importorskip("textual")
from streamstop.cli import app
from streamstop.events.packet import SensorSize, make_events
from streamstop.formats.aedat.aedat4_writer import write_aedat4

SMALL = (
    *("--set", "binning.bin_us=20000", "--set", "binning.height=16", "--set", "binning.width=16"),
    *("--set", "network.channels=[6]"),
)


def a_long_recording(path: Path) -> Path:
    rng = np.random.default_rng(0)
    t = np.sort(rng.integers(0, 90_000_000, 90_000))
    x, y = rng.integers(0, 16, (2, len(t)))
    write_aedat4(path, make_events(t, x, y, t % 2 == 0), SensorSize(16, 16))
    return path


def test_a_class_is_taught_by_a_key_and_the_run_ends_with_its_report(tmp_path: Path) -> None:
    path = a_long_recording(tmp_path / "rec.aedat4")
    words = ["run", "--source", str(path), "--speed", "1", "--classes", "rock,paper"]
    more = [*SMALL, "--out", str(tmp_path / "runs"), "--view", "terminal"]
    screen = Screen("-m", "streamstop", *words, *more)
    try:
        screen.until(b"REPLAY")
        screen.press(b"2")
        screen.until(b"TEACHING: paper")
        time.sleep(0.5)
        screen.press(b"q")
        screen.until(b"report.html")
        assert screen.process.wait(TIMEOUT_S) == 0
        assert b"Traceback" not in screen.content
    finally:
        screen.close()
    (folder,) = (tmp_path / "runs").iterdir()
    assert "paper," in (folder / "labels.csv").read_text()
    assert (folder / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--view", "terminal"], "needs a terminal"),
        (["--view", "hologram"], "--view is one of"),
        (["--emit", "-", "--json"], "both want standard output"),
        (["--emit", "somewhere"], "sent to udp://"),
        (["--classes", "a,a"], "each once"),
    ],
)
def test_what_cannot_be_shown_is_exit_2(tmp_path: Path, words: list[str], why: str) -> None:
    path = a_long_recording(tmp_path / "rec.aedat4")
    args = ["run", "--source", str(path), *words, "--out", str(tmp_path / "runs")]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 2
    assert why in " ".join(result.stderr.split())
