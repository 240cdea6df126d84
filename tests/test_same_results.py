"""The same results as commit b952cad: to the byte, on the machine that its digests are of.

A change of rounding, of a default or of the order of random draws shows here. Where it is meant,
renew the digests (`tests/fixtures/compare_before.py`) and say so in CHANGELOG.md.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fixtures.compare_before import COLUMNS, METRICS, RUNS, different, read_run, stored_digests
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from streamstop.cli import app

SCHEMA1 = Path(__file__).parent / "fixtures" / "schema1"


@pytest.fixture(autouse=True)
def torchs_threads() -> Iterator[None]:
    """A run sets them; later tests shall have those that they had."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def digests_of(name: str) -> dict[str, str]:
    """The stored digests; skips where they are of another torch or CPU."""
    digests, why_not = stored_digests(name)
    if why_not:
        pytest.skip(why_not)
    return digests


def run(out: Path, *words: str) -> Path:
    """The folder of a run."""
    result = CliRunner().invoke(app, ["run", *words, "--out", str(out), "--quiet"])
    assert result.exit_code == 0, result.output
    (folder,) = out.iterdir()
    return folder


def tensors(digests: dict[str, str]) -> list[str]:
    """Names of tensors among the digests."""
    return [name for name in digests if name not in ("segments.csv", "metrics.jsonl")]


def test_the_demo_begins_as_it_did(tmp_path: Path) -> None:
    before = digests_of("demo-start")
    now = read_run(run(tmp_path, *RUNS["demo-start"]), tensors(before)).digests()
    assert different(now, before) == []


def test_a_run_with_every_setting_changed_ends_as_it_did(tmp_path: Path) -> None:
    digests_of("demo-start")  # of the same machine
    before = read_run(SCHEMA1 / "run-folders" / "scenario").digests()
    recipe = str(SCHEMA1 / "recipes" / "run-stream.toml")
    now = read_run(run(tmp_path, recipe), tensors(before)).digests()
    assert different(now, before) == []


def under_new_names(old: Path, folder: Path) -> Path:
    """The same run as later code might write it: names, order and additions."""
    new_column = {before: now for now, before in COLUMNS.items()}
    new_key = {before: now for now, before in METRICS.items()}
    folder.mkdir()
    rows = [line.split(",") for line in (old / "segments.csv").read_text().splitlines()]
    rows[0] = [new_column.get(name, name) for name in rows[0]]
    added = ["more", *("1" for _ in rows[1:])]
    text = "".join(
        f"{','.join([one, *reversed(row)])}\n" for one, row in zip(added, rows, strict=True)
    )
    (folder / "segments.csv").write_text(text)

    def renamed(table: dict[str, Any]) -> dict[str, Any]:
        return {new_key.get(key, key): value for key, value in reversed(table.items())}

    lines = [json.loads(line) for line in (old / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line["accuracy"] = renamed(line["accuracy"]) | {"more": 1.0}
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    tensors = load_file(old / "weights.safetensors") | {"lda.counts": torch.ones(3)}
    save_file(tensors, folder / "weights.safetensors")
    return folder


def test_names_and_additions_make_no_difference_and_values_do(tmp_path: Path) -> None:
    old = SCHEMA1 / "run-folders" / "from-weights"
    before = read_run(old).digests()
    new = under_new_names(old, tmp_path / "new")
    found = read_run(new, tensors(before))
    assert found.extra == ["column more", "key more", "tensor lda.counts"]
    assert different(found.digests(), before) == []

    changed = load_file(new / "weights.safetensors")
    del changed["conv1.weight"]
    changed["readout.bias"][0] += 1e-7
    save_file(changed, new / "weights.safetensors")
    text = (new / "metrics.jsonl").read_text().replace('"loss": 2', '"loss": 3', 1)
    (new / "metrics.jsonl").write_text(text)
    now = read_run(new, tensors(before)).digests()
    assert different(now, before) == ["metrics.jsonl", "conv1.weight", "readout.bias"]


def test_a_column_under_both_names_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(SCHEMA1 / "run-folders" / "labelled", folder)
    file = folder / "segments.csv"
    file.write_text(file.read_text().replace(",no_change,", ",headline,", 1))
    with pytest.raises(SystemExit, match="twice"):
        read_run(folder)
