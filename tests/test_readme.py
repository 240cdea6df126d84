"""The README: its Python block runs and prints what it states, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_block_runs_and_prints_what_it_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recordings").symlink_to(ROOT / "recordings")
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(block, "README.md", "exec"), {})
    stated = re.findall(r"^print\(.*\)  # (.*)$", block, re.MULTILINE)
    assert capsys.readouterr().out.splitlines() == stated != []
    assert (tmp_path / "gestures.safetensors").is_file()


@pytest.mark.parametrize("page", ["README.md", "examples/README.md"])
def test_links_lead_to_files_of_the_repository(page: str) -> None:
    path = ROOT / page
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8"))
    links = [link for link in links if "://" not in link]
    assert links
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_it_is_short_and_needs_no_data_that_only_we_have() -> None:
    assert len(README.splitlines()) <= 150
    assert "shared/" not in README
