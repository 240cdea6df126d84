"""What `streamstop inspect` prints: complete, in 80 columns, in whatever a terminal can show."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import bin_bytes, davis_bytes, random_events
from rich.console import Console

from streamstop.cli.display.inspect import ASCII_BLOCKS, BLOCKS, print_inspection, sparkline
from streamstop.tools.inspection import RecordingInfo, inspect


def console(encoding: str = "utf-8", width: int = 80) -> Console:
    return Console(file=io.TextIOWrapper(io.BytesIO(), encoding), width=width)


def printed(found: RecordingInfo, encoding: str = "utf-8", width: int = 80) -> str:
    to = console(encoding, width)
    print_inspection(found, to)
    to.file.flush()
    raw: bytes = to.file.buffer.getvalue()  # type: ignore[attr-defined]
    return raw.decode(encoding)


@pytest.fixture
def damaged(tmp_path: Path) -> RecordingInfo:
    events = random_events(20_000, width=34, height=34)
    events["t"][9000] -= 400
    events["t"][15_000:] += 2_000_000
    path = tmp_path / "rec.bin"
    path.write_bytes(bin_bytes(events) + b"ab")
    return inspect(str(path))


def test_says_what_was_found_and_what_is_wrong(damaged: RecordingInfo) -> None:
    text = " ".join(printed(damaged).split())
    for said in (
        "N-MNIST .bin, 100 kB",
        "34x34, inferred",
        "20,000",
        "Damaged in 1 place: 2 bytes could not be read",
        "at byte 100,000, 2 bytes",
        "Time runs backwards 1 time",
        "1 silence longer than 1 s",
    ):
        assert said in text
    assert "No damage" not in text


def test_says_so_where_nothing_is_wrong(tmp_path: Path) -> None:
    np.save(tmp_path / "rec.npy", random_events(100))
    text = printed(inspect(str(tmp_path / "rec.npy")))
    assert "No damage" in text and "none hot" in text


def test_no_event_at_all(tmp_path: Path) -> None:
    np.save(tmp_path / "rec.npy", random_events(0))
    text = printed(inspect(str(tmp_path / "rec.npy")))
    assert "none" in text and "unknown" in text


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_wider_than_the_console(damaged: RecordingInfo, width: int) -> None:
    lines = printed(damaged, width=width).splitlines()
    assert all(len(line) <= width for line in lines if damaged.path not in line)
    assert damaged.path in lines, "in one piece, to be copied"


def test_a_terminal_without_block_characters(damaged: RecordingInfo) -> None:
    text = printed(damaged, "ascii")
    assert "?" not in text
    assert any(set(line.strip()) <= set(f"{ASCII_BLOCKS} ") for line in text.splitlines() if line)


def test_a_sparkline_keeps_proportions_and_fits() -> None:
    assert sparkline([0, 1, 8, 4], console()) == f" {BLOCKS[0]}{BLOCKS[7]}{BLOCKS[3]}"
    assert sparkline([0, 1, 8, 4], console("ascii")) == " .@="
    assert sparkline([], console()) == "" and sparkline([0], console()) == " "
    assert len(sparkline([3] * 64, console(width=40))) <= 24


def test_names_cannot_steer_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "\x1b[2Jevil[red].npy"
    np.save(path, random_events(10))
    text = printed(inspect(str(path)))
    assert "\x1b" not in text and "evil[red]" in text


def test_notes_are_shown_and_an_inferred_sensor_is_called_so(tmp_path: Path) -> None:
    path = tmp_path / "rec.aedat"
    path.write_bytes(davis_bytes(random_events(3000, width=346, height=260)))
    text = " ".join(printed(inspect(str(path))).split())
    assert "346x260, inferred from the layout of its events" in text
    assert "note no AEChip line in the header; addresses read as DAVIS346's" in text
    path.write_bytes(davis_bytes(random_events(3000), "# AEChip: Davis346B\r\n"))
    text = " ".join(printed(inspect(str(path))).split())
    assert "346x260, as the file says" in text and "AEChip" not in text


def test_what_a_run_refuses_comes_first(tmp_path: Path) -> None:
    events = random_events(3000, width=346, height=260)
    events["x"] *= 32
    events["y"] *= 32
    np.save(tmp_path / "rec.npy", events)
    text = " ".join(printed(inspect(str(tmp_path / "rec.npy"))).split())
    assert "sensor unknown: the file does not say, and its events fit none known here" in text
    assert "A run refuses it: coordinates reach 11041 x 8289" in text
    assert "rejects" not in text
