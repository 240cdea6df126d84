"""`run --view line` without a terminal: lines of JSON on standard error, and the same run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from typer.testing import CliRunner, Result

from streamstop.cli import app
from streamstop.events.packet import SensorSize, make_events
from streamstop.formats.aedat.aedat4_writer import write_aedat4

SMALL = (
    *("--set", "binning.bin_us=20000", "--set", "binning.height=16", "--set", "binning.width=16"),
    *("--set", "network.channels=[6]", "--seed", "1"),
)


WAYS = ("plain", "lines")


def run(path: Path, out: Path, *words: str) -> Result:
    return CliRunner().invoke(
        app, ["run", "--source", str(path), *SMALL, "--out", str(out), *words]
    )


def test_lines_of_json_and_the_same_run(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    t = np.sort(rng.integers(0, 3_000_000, 3_000))
    x, y = rng.integers(0, 16, (2, len(t)))
    path = tmp_path / "rec.aedat4"
    write_aedat4(path, make_events(t, x, y, t % 2 == 0), SensorSize(16, 16))
    plain = run(path, tmp_path / "plain")
    lines = run(path, tmp_path / "lines", "--view", "line")
    assert lines.exit_code == plain.exit_code == 0
    found = [json.loads(one) for one in lines.stderr.splitlines()]
    assert found[-1]["state"] == "ended"
    assert found[-1]["received"] == 3_000
    assert "{" not in lines.stdout
    for name in ("weights.safetensors", "predictions.csv"):
        contents = {next(tmp_path.glob(f"{one}/*/{name}")).read_bytes() for one in WAYS}
        assert len(contents) == 1, name
    assert not list(tmp_path.glob("lines/*/labels.csv"))
