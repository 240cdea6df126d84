"""Folders of tables without names through `run`: right in every event, or refused."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from streamstop.errors import StreamstopError
from streamstop.events.packet import Events, make_events
from streamstop.pipeline.configure import load_config
from streamstop.pipeline.run import run
from streamstop.sources.open import open_source

TINY = (
    *("binning.bin_us=20000", "binning.height=16", "binning.width=16"),
    *("network.channels=[6]", "network.architecture=compact"),
)


def blob(seed: int, left: bool, n: int = 3000) -> Events:
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, 500_000, n))
    x = rng.normal(90 if left else 250, 15, n)
    y = rng.normal(130, 15, n)
    noise = rng.random(n) < 0.05
    x[noise], y[noise] = rng.integers(0, 346, noise.sum()), rng.integers(0, 260, noise.sum())
    x[:2], y[:2] = (0, 345), (0, 259)
    return make_events(t, x.clip(0, 345).astype(int), y.clip(0, 259).astype(int), t % 2 == 0)


def a_folder(root: Path, order: str, unit: str, suffix: str) -> dict[str, Events]:
    """Two classes, three recordings each, as tables of a given order and unit."""
    made = {}
    for label in ("left", "right"):
        (root / label).mkdir(parents=True)
        for i in range(3):
            events = blob(i + 10 * (label == "left"), label == "left")
            columns = {name: events[name].astype(np.int64) for name in "xyp"}
            columns["t"] = events["t"] * {"us": 1, "s": 1e-6, "ns": 1000}[unit]
            table = np.stack([columns[name] for name in order], axis=1)
            name = f"{label}/{i}.{suffix}"
            if suffix == "npy":
                np.save(root / name, table)
            elif suffix == "npz":
                np.savez(root / name, events=table)
            else:
                fmt = ["%.9f" if unit == "s" and one == "t" else "%d" for one in order]
                np.savetxt(root / name, table, fmt, delimiter=",")
            made[name] = events
    return made


@pytest.mark.parametrize("order", ["txyp", "xypt", "xytp", "pxyt", "ytxp", "tyxp"])
@pytest.mark.parametrize("unit", ["us", "s", "ns"])
@pytest.mark.parametrize("suffix", ["csv", "npy", "npz"])
def test_no_event_of_a_folder_is_wrong(tmp_path: Path, order: str, unit: str, suffix: str) -> None:
    made = a_folder(tmp_path / "data", order, unit, suffix)
    try:
        source = open_source(str(tmp_path / "data"), order="by-class")
    except StreamstopError as error:
        assert order in ("ytxp", "tyxp") or unit == "ns"
        assert "?columns=" in str(error) or "?unit=" in str(error)
        return
    assert order not in ("ytxp", "tyxp")
    assert unit != "ns"
    assert source.labels is not None
    assert any("inferred" in note for note in source.notes)
    packets = [packet.events for packet in source]
    stream = np.concatenate(packets)
    assert len(stream) == sum(map(len, made.values()))
    for segment in source.labels:
        own = made[segment.recording]
        inside = stream[(stream["t"] >= segment.start_us) & (stream["t"] < segment.end_us)]
        assert (inside["t"] - segment.start_us == own["t"] - own["t"][0]).all()
        for name in "xyp":
            assert (inside[name] == own[name]).all()


def test_a_run_over_them_is_the_run_over_named_columns(tmp_path: Path) -> None:
    made = a_folder(tmp_path / "tables", "xypt", "s", "csv")
    for name, events in made.items():
        path = tmp_path / "named" / Path(name).with_suffix(".npz")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **{one: events[one] for one in "txyp"})
    folders = []
    for which in ("tables", "named"):
        flags = {"source.uri": str(tmp_path / which), "run.output_dir": str(tmp_path / "runs")}
        folders.append(run(load_config(None, TINY, flags)).run_dir)
    one, other = (
        [{**row, "recording": ""} for row in csv.DictReader((folder / "segments.csv").open())]
        for folder in folders
    )
    assert one == other != []
    files = [(folder / "weights.safetensors").read_bytes() for folder in folders]
    assert files[0] == files[1]
