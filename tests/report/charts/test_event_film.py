"""Pictures over time: each event in the picture of its window, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import bin_bytes, random_events
from PIL import Image
from typer.testing import CliRunner

from streamstop.cli import app
from streamstop.errors import UsageError
from streamstop.events.packet import Events, make_events
from streamstop.report.charts.event_film import write_film, write_strip
from streamstop.report.charts.events import OFF_COLOUR, ON_COLOUR, PAPER
from streamstop.tools.inspection import RecordingInfo, inspect

SIDE = 34


def walk(n: int = 10) -> Events:
    """Ten events at each step of 100 ms, a column further; ON and OFF in turn."""
    step = np.repeat(np.arange(n), 10)
    return make_events(step * 100_000, step, np.full(len(step), 7), step % 2 == 0)


def found(tmp_path: Path, events: Events) -> RecordingInfo:
    path = tmp_path / "rec.bin"
    path.write_bytes(bin_bytes(events))
    return inspect(f"{path}?sensor={SIDE}x{SIDE}")


def frames(path: Path) -> list[np.ndarray]:
    picture = Image.open(path)
    shown = []
    for k in range(picture.n_frames):
        picture.seek(k)
        shown.append(np.asarray(picture.convert("RGB")))
    return shown


def test_a_frame_shows_the_events_of_its_window_alone(tmp_path: Path) -> None:
    path = tmp_path / "film.gif"
    assert write_film(path, found(tmp_path, walk()), window_us=100_000) == 10
    shown = frames(path)
    assert len(shown) == 10
    scale = 480 // SIDE
    for k, frame in enumerate(shown):
        left = (frame.shape[1] - SIDE * scale) // 2
        cells = frame[scale // 2 : SIDE * scale : scale, left + scale // 2 :: scale][:, :SIDE]
        rows, columns = np.nonzero((cells != PAPER).any(2))
        assert (rows.tolist(), columns.tolist()) == ([7], [k])
        assert tuple(cells[7, k]) == (ON_COLOUR if k % 2 == 0 else OFF_COLOUR)


def test_at_most_so_many_frames_spread_over_the_recording(tmp_path: Path) -> None:
    path = tmp_path / "film.gif"
    events = found(tmp_path, walk(30))
    assert write_film(path, events, window_us=50_000, frames=3) == 3
    assert len(frames(path)) == 3
    for wrong in (0, 501):
        with pytest.raises(UsageError, match="between 1 and 500"):
            write_film(path, events, frames=wrong)


def test_windows_lie_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "strip.png"
    write_strip(path, found(tmp_path, walk(4)), 4, window_us=1_000_000)
    picture = np.asarray(Image.open(path))
    scale = round(360 / SIDE)
    for k in range(4):
        left = k * (SIDE * scale + 8)
        cells = picture[scale // 2 : SIDE * scale : scale, left + scale // 2 :: scale][:, :SIDE]
        seen = np.flatnonzero((cells[7] != PAPER).any(1))
        assert seen.tolist() == [k]


def test_a_large_sensor_is_shown_in_blocks(tmp_path: Path) -> None:
    events = random_events(3000, width=1280, height=720)
    np.save(tmp_path / "rec.npy", events)
    write_film(tmp_path / "film.gif", inspect(str(tmp_path / "rec.npy")), frames=2)
    assert Image.open(tmp_path / "film.gif").size[0] == 640


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--windows", "4"], "--windows needs --png"),
        (["--frames", "4"], "--frames needs --gif"),
        (["--window-ms", "4"], "--window-ms needs --gif"),
        (["--png", "x.png", "--window-ms", "4"], "--window-ms needs --gif"),
        (["--gif", "x.gif", "--window-ms", "0"], "must be positive"),
        (["--png", "x.png", "--windows", "17"], "between 1 and 16"),
    ],
)
def test_options_without_their_picture_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("rec.npy", walk())
    result = CliRunner().invoke(app, ["inspect", "rec.npy", *words])
    assert result.exit_code == 2
    assert message in result.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["rec.npy"]


def test_the_command_writes_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("rec.npy", walk())
    words = ["--png", "x.png", "--windows", "2", "--gif", "x.gif", "--window-ms", "50"]
    result = CliRunner().invoke(app, ["inspect", "rec.npy", *words])
    assert result.exit_code == 0
    assert "Image: x.png" in result.stdout and "Animation: x.gif" in result.stdout
    assert Image.open("x.png").format == "PNG" and Image.open("x.gif").format == "GIF"
