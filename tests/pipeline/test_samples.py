"""samples.json shows what was binned and predicted; it is bounded, and the page reads it."""

from __future__ import annotations

import csv
import json

import numpy as np
from helpers.scene_runs import SEGMENT_US, cut, go, scene, track

from streamstop.pipeline import samples
from streamstop.report.views import samples as view


def test_pictures_are_of_the_run(monkeypatch, tmp_path) -> None:
    events, labels = scene(30, seed=1)
    end = len(labels) * SEGMENT_US
    result = go(monkeypatch, tmp_path, cut(events, [], end), track(labels), "learner.lr=0")
    found = json.loads((result.run_dir / "samples.json").read_text())
    picture = found["event_picture"]
    within = events[events["t"] < picture["duration_us"]]  # the first bin begins at 0
    assert picture["duration_us"] == samples.PICTURE_US
    assert picture["events"] == len(within)
    on, off = np.array(picture["on"]), np.array(picture["off"])
    assert on.shape == off.shape == (16, 16)
    assert (on.sum(), off.sum()) == (within["p"].sum(), (~within["p"]).sum())
    x, y = within["x"][within["p"]], within["y"][within["p"]]
    assert on[y[0], x[0]] >= 1
    assert found["network_input"]["label"] in ("left", "right")
    assert np.array(found["network_input"]["on"]).max() <= np.log1p(on.max()) + 1e-3
    with (result.run_dir / "segments.csv").open() as file:
        rows = list(csv.DictReader(file))
    wrong = [int(row["segment"]) for row in rows if row["headline"] != row["label"]]
    assert wrong, "nothing was predicted wrongly: this proves too little"
    assert [one["segment"] for one in found["errors"]] == wrong[-samples.MAX_ERRORS :]
    for one in found["errors"]:
        assert np.sum(one["on"]) + np.sum(one["off"]) == int(rows[one["segment"]]["events"])


def test_the_limits_are_those_of_the_page() -> None:
    assert (samples.MAX_SIDE, samples.MAX_ERRORS) == (view.MAX_SIDE, view.MAX_ERRORS)
    assert samples.POOLED_SIDE <= view.MAX_ERROR_SIDE
