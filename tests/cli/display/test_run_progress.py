"""The progress line: seldom, on standard error, and only for someone who looks."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from streamstop.cli.display.run_progress import RunProgress, RunState


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def terminal(width: int = 80) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=width, force_terminal=True), out


def frames(out: io.StringIO) -> list[str]:
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
    return [line for line in re.split(r"[\r\n]+", plain) if line.strip()]


def test_draws_at_most_ten_times_a_second() -> None:
    console, out = terminal()
    clock = Clock()
    with RunProgress(console=console, clock=clock) as progress:
        before = len(out.getvalue())
        progress.update(RunState(segments=1, segments_total=9))
        once = len(out.getvalue())
        assert once > before
        for _ in range(50):
            clock.now += 0.0018
            progress.update(RunState(segments=2, segments_total=9))
        assert len(out.getvalue()) == once and not progress.due
        clock.now += 0.02
        assert progress.due
        progress.update(RunState(segments=3, segments_total=9))
        assert len(out.getvalue()) > once


def test_shows_how_far_how_fast_how_well_and_what() -> None:
    console, out = terminal()
    clock = Clock()
    with RunProgress(console=console, clock=clock) as progress:
        progress.update(RunState())
        clock.now += 2.0
        progress.update(
            RunState(
                events=3_000_000,
                stream_us=20_000_000,
                segments=132,
                segments_total=257,
                accuracy=0.94,
                decision="scissors",
            )
        )
        line = frames(out)[-1].replace("\N{NO-BREAK SPACE}", " ")
    for part in ("132/257", "1.5 Mev/s", "10×", "last 50: 94.0 %", "scissors"):
        assert part in line


def test_speed_is_of_the_last_seconds() -> None:
    console, out = terminal()
    clock = Clock()
    with RunProgress(console=console, clock=clock) as progress:
        for step in range(200):  # Fast for ten seconds, then the source stalls for ten.
            clock.now += 0.1001
            progress.update(RunState(events=min(step, 100) * 100_000, stream_us=1))
    assert "0 ev/s" in frames(out)[-1].replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize("total", [None, 257, 1_000_000])
def test_one_line_at_80_columns(total: int | None) -> None:
    console, out = terminal()
    clock = Clock()
    with RunProgress(console=console, clock=clock) as progress:
        for step in range(3):
            clock.now += 1
            progress.update(
                RunState(
                    events=step * 12_345_678,
                    stream_us=step * 987_654_321,
                    segments=step * 120_000,
                    segments_total=total,
                    accuracy=0.9876,
                    decision="right arm counter clockwise \x1b[2J",
                )
            )
    assert all(len(line) <= 80 for line in frames(out))
    assert len(frames(out)[-1].split("  ")) < 80
    assert "\x1b[2J" not in out.getvalue()


@pytest.mark.parametrize("quiet", [True, False])
def test_draws_nothing_where_nobody_looks(quiet: bool) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=quiet)  # A terminal, but quiet; or a file.
    with RunProgress(console=console, quiet=quiet) as progress:
        progress.update(RunState(segments=1))
        assert not progress.due
    assert out.getvalue() == ""


def test_by_default_off_when_output_is_captured() -> None:
    assert not RunProgress().shown


def test_the_terminal_is_given_back_after_an_error() -> None:
    console, out = terminal()
    with pytest.raises(RuntimeError), RunProgress(console=console) as progress:
        progress.update(RunState())
        raise RuntimeError
    assert out.getvalue().count("\x1b[?25h") == 1, "the cursor stays hidden"
