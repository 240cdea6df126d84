"""What a run leaves predicts as it did at its end, to the bit, and goes on where it ended."""

from __future__ import annotations

import csv
from typing import Any

import numpy as np
import pytest
from helpers.scene_runs import BIN_US, SEGMENT_US, cut, go, scene, track

import streamstop as ss
from streamstop.evaluation.evaluator import log_input
from streamstop.pipeline import build

MODES = {
    "segment": (),
    "step": ("learner.update=step", "learner.update_interval=3"),
    "ema": ("learner.ema_decay=0.5",),
    "seen": ("learner.loss_classes=seen", "readout.lda_shrinkage=0.3"),
}


def rows(result: Any) -> list[dict[str, str]]:
    with (result.run_dir / "segments.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES.keys())
def test_a_frozen_run_predicts_as_the_run_that_left_its_weights(monkeypatch, tmp_path, mode):
    """The learner itself, kept in memory, is asked for each segment of another stream."""
    kept: list[ss.StopLearner] = []
    make = build.learner_from_config

    def keep(*args: Any, **options: Any) -> ss.StopLearner:
        kept.append(make(*args, **options))
        return kept[-1]

    events, labels = scene(20, seed=1)
    monkeypatch.setattr(build, "learner_from_config", keep)
    first = go(monkeypatch, tmp_path, cut(events, [], 20 * SEGMENT_US), track(labels), *mode)
    learner = kept[0]
    weights = f"learner.pretrained={first.run_dir / 'weights.safetensors'}"

    events, labels = scene(12, seed=2)
    sets = (weights, "learner.frozen=true")
    packets = cut(events, [], 12 * SEGMENT_US)
    frozen = go(monkeypatch, tmp_path, packets, track(labels), *sets)
    predictions = []
    loaded = ss.StopLearner.load(first.run_dir / "weights.safetensors")
    for i in range(12):
        inside = events[events["t"] // SEGMENT_US == i]
        grid = {"bin_us": BIN_US, "height": 16, "width": 16, "origin_us": i * SEGMENT_US}
        bins = [*ss.iter_bins(inside, ss.SensorSize(16, 16), **grid)]
        assert len(bins) == 10
        for who in (learner, loaded):
            who.begin_segment()
            for one in bins:
                who.predict(log_input(one), trace=False)
        found, same = learner.predict_segment(), loaded.predict_segment()
        assert np.array_equal(found.linear, same.linear)
        assert np.array_equal(found.lda, same.lda)
        predictions.append((found.linear.argmax(), found.lda.argmax()))
    names = loaded.class_names
    expected = [(names[linear], names[lda]) for linear, lda in predictions]
    readout = "lda" if frozen.summary["protocol"]["decision"] == "lda" else "linear"
    for row, (linear, lda) in zip(rows(frozen), expected, strict=True):
        assert (row["linear"], row["lda"]) == (linear, lda)
        assert row["headline"] == (lda if readout == "lda" else linear)
    left = ss.load_weights(frozen.run_dir / "weights.safetensors")[0]
    assert np.array_equal(left["lda.counts"], loaded.lda.counts), "a frozen run learned"


def test_a_run_goes_on_with_lda_and_counts_of_the_one_before(monkeypatch, tmp_path):
    events, labels = scene(12, seed=1)
    packets = cut(events, [], 12 * SEGMENT_US)
    first = go(monkeypatch, tmp_path, packets, track(labels))
    weights = f"learner.pretrained={first.run_dir / 'weights.safetensors'}"
    second = go(monkeypatch, tmp_path, packets, track(labels), weights)
    before, after = (
        ss.load_weights(one.run_dir / "weights.safetensors")[0] for one in (first, second)
    )
    seen = np.bincount(labels, minlength=2)
    assert np.array_equal(before["lda.counts"], seen)
    assert np.array_equal(after["lda.counts"], 2 * seen)
    assert np.array_equal(after["learner.counts"], 2 * seen)
    assert rows(second)[0]["headline"] == rows(second)[0]["label"], "it began knowing nothing"
