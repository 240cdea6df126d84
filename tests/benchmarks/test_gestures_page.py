"""The benchmark of simulated gestures: what earlier calls left counts where it is what is asked."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks.studies import gestures
from streamstop.config.recipe import to_toml
from streamstop.learning.factory import learner_from_config
from streamstop.learning.weights import save_weights
from streamstop.pipeline.configure import load_config


def weights(path: Path) -> Path:
    """A network as drawn."""
    config = load_config("dvs-gesture")
    about = {
        "network": asdict(config.network),
        "input": [2, config.binning.height, config.binning.width],
        "classes": ["wave", "clap"],
        "encoding": config.network.input_transform,
        "bin_us": config.binning.bin_us,
        "binning": asdict(config.binning),
    }
    save_weights(path, learner_from_config(config, 2).network.parameters(), about)
    return path


def left(folder: Path, lr: float = 3e-4, status: str = "complete") -> argparse.Namespace:
    """A stream's folder as a call before this one left it: made up, it measures nothing."""
    out = folder / "stream-lab-0"
    flags = {
        "source.uri": f"dvs-gesture:{folder}?split=test",
        "learner.pretrained": str(weights(folder / "w")),
        "learner.lr": lr,
        "run.output_dir": str(out),
    }
    (out / "run").mkdir(parents=True)
    config = to_toml(load_config("dvs-gesture-adapt", (), flags))
    (out / "run" / "config.toml").write_text(config, encoding="utf-8")
    makers = dict.fromkeys(gestures.MAKERS, 0.25)
    scores: dict[str, Any] = {maker: {"segment": 0.5} for maker in gestures.MAKERS}
    summary = {
        "status": status,
        "accuracy": scores.pop("headline"),
        "accuracy_by_readout": {},
        "baselines": scores,
        "per_domain": [{"domain": "led", **makers}],
    }
    (out / "run" / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return argparse.Namespace(set=folder, out=folder)


def test_what_was_done_as_asked_is_read(tmp_path: Path) -> None:
    found = gestures.one_stream(left(tmp_path), tmp_path / "w", "lab", 0)
    assert found["initial_network"] == {"all": 0.5, "led": 0.25}


@pytest.mark.parametrize(
    ("kept", "message"),
    [({"lr": 1e-3}, "other settings"), ({"status": "interrupted"}, "interrupted")],
)
def test_other_settings_and_broken_runs_are_refused(
    tmp_path: Path, kept: dict[str, Any], message: str
) -> None:
    asked = left(tmp_path, **kept)
    with pytest.raises(SystemExit, match=message):
        gestures.one_stream(asked, tmp_path / "w", "lab", 0)
