"""The run folder: nothing unfinished looks finished, nothing of an earlier run is touched."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from streamstop.errors import UsageError
from streamstop.learning import weights as weights_file
from streamstop.pipeline.folder import SEGMENT_COLUMNS, RunFolder

SUMMARY = {"status": "complete", "ledger": {"received": 3, "binned": 3}}


@pytest.fixture
def parameters() -> dict[str, torch.Tensor]:
    return {"conv1.weight": torch.arange(6.0).view(2, 3), "conv1.leak_logit": torch.tensor(0.5)}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_finished_folder_holds_it_all(tmp_path, parameters):
    with RunFolder(tmp_path / "runs", "demo", "[run]\nseed = 1\n") as folder:
        folder.log_metrics({"bin": 1, "accuracy": {"segment": None}})
        folder.log_metrics({"bin": 2, "accuracy": {"segment": 0.5}})
        folder.log_segment({"segment": 0, "label": "a, b", "headline": ""})
        folder.finalize(SUMMARY, parameters)
    assert names(folder.path) == {
        *("config.toml", "metrics.jsonl", "segments.csv", "ledger.json", "summary.json"),
        *("weights.safetensors", "predictions.csv"),
    }
    assert re.fullmatch(r"\d{8}T\d{6}Z-demo", folder.path.name)
    assert (folder.path / "config.toml").read_text() == "[run]\nseed = 1\n"
    lines = [json.loads(line) for line in (folder.path / "metrics.jsonl").read_text().splitlines()]
    assert [line["bin"] for line in lines] == [1, 2]
    with (folder.path / "segments.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == SEGMENT_COLUMNS
    assert (rows[0]["label"], rows[0]["headline"], rows[0]["lda"]) == ("a, b", "", "")
    assert json.loads((folder.path / "summary.json").read_text()) == SUMMARY
    assert json.loads((folder.path / "ledger.json").read_text()) == SUMMARY["ledger"]
    weights = load_file(folder.path / "weights.safetensors")
    assert weights.keys() == parameters.keys()
    assert all(torch.equal(weights[name], parameters[name]) for name in weights)


def test_without_weights_no_file_pretends_to_hold_them(tmp_path):
    with RunFolder(tmp_path, "run", "") as folder:
        folder.finalize(SUMMARY, None)
    assert "weights.safetensors" not in names(folder.path)
    assert "summary.json" in names(folder.path)


@pytest.mark.parametrize("fails", ["weights.safetensors", "ledger.json", "summary.json"])
def test_what_fails_to_be_written_leaves_no_summary(tmp_path, parameters, monkeypatch, fails):
    """The disk is full at any one of the last files: a folder without summary.json is unfinished,
    and no file under its own name is cut short."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    if fails == "weights.safetensors":
        monkeypatch.setattr(weights_file, "save_file", full)
    else:
        write = Path.write_text

        def write_unless_full(path: Path, text: str, *rest: Any, **more: Any) -> int:
            if path.name.startswith(fails):
                write(path, text[:5])
                full()
            return write(path, text, *rest, **more)

        monkeypatch.setattr(Path, "write_text", write_unless_full)
    with RunFolder(tmp_path, "run", "") as folder, pytest.raises(OSError, match="No space"):
        folder.finalize(SUMMARY, parameters)
    assert "summary.json" not in names(folder.path)
    assert fails not in names(folder.path)


def test_metrics_are_on_disk_before_the_summary_is(tmp_path, parameters):
    with RunFolder(tmp_path, "run", "") as folder:
        folder.log_metrics({"bin": 1})
        folder.log_segment({"segment": 0})
        folder.finalize(SUMMARY, parameters)
        assert (folder.path / "metrics.jsonl").read_text() == '{"bin":1}\n'
        assert len((folder.path / "segments.csv").read_text().splitlines()) == 2


def test_runs_of_one_second_do_not_share_a_folder(tmp_path):
    paths = []
    for _ in range(12):
        with RunFolder(tmp_path, "same", "") as folder:
            paths.append(folder.path)
    assert len(set(paths)) == 12
    assert all("summary.json" not in names(path) for path in paths)


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("rec.aedat4", "rec.aedat4"),
        ("../../etc/passwd", "etc-passwd"),
        ("my recording (1)", "my-recording-1"),
        ("ü", "run"),
        ("", "run"),
        ("..", "run"),
    ],
)
def test_a_name_never_leads_out_of_the_folder(tmp_path, name, slug):
    with RunFolder(tmp_path / "runs", name, "") as folder:
        assert folder.path.parent == tmp_path / "runs"
        assert folder.path.name.partition("Z-")[2] == slug


@pytest.mark.parametrize("out", ["file", "file/runs", "dangling"])
def test_out_that_is_no_folder(tmp_path, out):
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=rf"--out must be a folder.*{out}$"):
        RunFolder(tmp_path / out, "run", "")
    assert (tmp_path / "file").read_text() == "not a folder"


def test_out_that_cannot_be_made(tmp_path):
    with pytest.raises(UsageError, match=r"cannot make a run folder: .*--out"):
        RunFolder(tmp_path / ("x" * 300), "run", "")


def test_an_unknown_column_is_refused(tmp_path):
    with RunFolder(tmp_path, "run", "") as folder, pytest.raises(ValueError, match="surprise"):
        folder.log_segment({"segment": 0, "surprise": 1})
