"""Every example runs from an empty folder, in a process of its own; the notebook runs again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
PRINTS = {
    "stream_a_file": "66 segments",
    "loop_by_hand": "linear readout, last 20 of 40 segments: ",
    "own_source": "60 segments, accuracy ",
    "own_baseline": "nearest mean ",
    "batch_training": "epoch 2: accuracy while training ",
    "adapt_pretrained": "user03, adapting ",
    "compare_seeds": "fast - slow: ",
}
"""What each example's output holds."""

MOST_LINES = 45


def test_every_example_is_tested_and_listed() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(PRINTS)
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for path in EXAMPLES.iterdir():
        assert path.name in readme or path.name == "README.md"


@pytest.mark.parametrize("name", PRINTS)
def test_an_example_runs(name: str, tmp_path: Path) -> None:
    path = EXAMPLES / f"{name}.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    where = os.pathsep.join([str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": where},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert PRINTS[name] in done.stdout


def test_the_notebook_was_run_without_errors_and_runs_again() -> None:
    notebook = json.loads((EXAMPLES / "classroom.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert cells
    space: dict[str, object] = {}
    for number, cell in enumerate(cells, start=1):
        assert cell["execution_count"] == number
        assert all(one["output_type"] != "error" for one in cell["outputs"])
        code = "".join(cell["source"])
        exec(compile(code, f"classroom.ipynb, cell {number}", "exec"), space)
