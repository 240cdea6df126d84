"""summary.json is read within limits; a folder without one gets an error that explains it."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamstop.errors import UsageError
from streamstop.pipeline import summary_file
from streamstop.pipeline.summary_file import read_summary


def test_a_folder_that_is_no_finished_run_says_which(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"No such folder.*nowhere$"):
        read_summary(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"holds no summary\.json"):
        read_summary(tmp_path)
    (tmp_path / "metrics.jsonl").touch()
    with pytest.raises(UsageError, match="still running"):
        read_summary(tmp_path)
    (tmp_path / "summary.json").write_text("[1]")
    with pytest.raises(UsageError, match="not a table"):
        read_summary(tmp_path)
    (tmp_path / "summary.json").write_text("[" * 100_000)
    with pytest.raises(UsageError, match="cannot be read"):
        read_summary(tmp_path)


def test_a_longer_one_than_ours_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary_file, "MAX_SUMMARY_BYTES", 10)
    (tmp_path / "summary.json").write_text('{"a": "bcdef"}')
    with pytest.raises(UsageError, match="longer than 10 bytes"):
        read_summary(tmp_path)
