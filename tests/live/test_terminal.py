"""The terminal view: what it shows of a snapshot, and what its keys ask for."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.snapshots import CLASSES, a_picture, a_snapshot
from helpers.terminal import Screen

pytest.importorskip("textual")
from textual.widgets import Static

from streamstop.live.terminal import TerminalView
from streamstop.live.terminal.font import large, largest
from streamstop.live.terminal.picture import EventPicture
from streamstop.pipeline.snapshot import Command, Snapshot

SIZES = [(80, 24), (120, 40), (160, 50), (60, 20), (40, 10)]


class Feed:
    """Hands out snapshots, and keeps commands."""

    def __init__(self, *snapshots: Snapshot) -> None:
        self._waiting = list(snapshots)
        self.asked: list[Command] = []

    def read(self) -> Snapshot | None:
        return self._waiting.pop(0) if self._waiting else None

    def show(self, snapshot: Snapshot) -> None:
        self._waiting.append(snapshot)


def seen(view: TerminalView) -> str:
    """All text of the main screen."""
    base = view.screen_stack[0]
    texts = [str(one.render()) for one in base.query(Static) if one.display]
    return "\n".join([*texts, picture_of(view)])


def picture_of(view: TerminalView) -> str:
    """The characters of the event picture."""
    picture = view.screen_stack[0].query_one("#picture", EventPicture)
    return "\n".join(picture.render_line(y).text for y in range(picture.size.height))


def strips_of(view: TerminalView) -> list[object]:
    """The lines of the event picture, with their colours."""
    picture = view.screen_stack[0].query_one("#picture", EventPicture)
    return [list(picture.render_line(y)) for y in range(picture.size.height)]


def with_view(
    feed: Feed,
    size: tuple[int, int],
    check: Callable[[TerminalView, Any], Awaitable[None]],
) -> None:
    async def go() -> None:
        view = TerminalView(feed.read, feed.asked.append)
        async with view.run_test(size=size) as pilot:
            view.refresh_now()
            await pilot.pause()
            await check(view, pilot)

    asyncio.run(go())


@pytest.mark.parametrize("size", SIZES)
def test_it_shows_what_the_snapshot_holds(size: tuple[int, int]) -> None:
    async def check(view: TerminalView, pilot: Any) -> None:
        text = seen(view)
        for word in ("LIVE", "▀", "press 1-9"):
            assert word in text, word
        all_of_it = ("346x260", "paper", "94%", "81%", "lda counts", "drift", "conv 2")
        if size[0] < 80:
            assert "need 80 columns" in text
            assert "conv 2" not in text
            return
        for word in (*all_of_it, "120 overload", "412 MB", "p99 58 ms"):
            assert word in text, word
        ends = {name: view.query_one(f"#{name}").region.bottom for name in ("health", "band")}
        assert ends["health"] <= ends["band"] - 1, "a panel is cut off"

    with_view(Feed(a_snapshot()), size, check)


def test_large_screens_show_confusions_and_labels() -> None:
    async def check(view: TerminalView, pilot: Any) -> None:
        text = seen(view)
        assert "predicted as" in text
        assert "4.0 s to now" in text

    with_view(Feed(a_snapshot()), (160, 50), check)


def test_a_screen_that_is_resized_goes_on() -> None:
    async def check(view: TerminalView, pilot: Any) -> None:
        for size in ((40, 10), (1, 1), (20, 3), (160, 50)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
        assert "predicted as" in seen(view)

    with_view(Feed(a_snapshot()), (80, 24), check)


def test_without_colours_on_and_off_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def check(view: TerminalView, pilot: Any) -> None:
        picture = picture_of(view)
        assert "░" in picture
        assert "█" in picture
        assert "█ ON ░ OFF" in seen(view)

    only_off = a_picture(1) * np.array([1, 0], np.uint8)[:, None, None]

    async def check_off(view: TerminalView, pilot: Any) -> None:
        assert set(picture_of(view)) == {" ", "░", "\n"}

    with_view(Feed(a_snapshot(label="rock")), (80, 24), check)
    with_view(Feed(a_snapshot(picture=only_off)), (80, 24), check_off)


def test_long_names_are_shown_whole() -> None:
    names = ("right hand clockwise and back again", "left hand")
    one = a_snapshot(
        classes=names, probabilities=(0.6, 0.4), taught=(1, 1), prediction=names[0], label=names[0]
    )

    async def check(view: TerminalView, pilot: Any) -> None:
        bars = str(view.query_one("#bars", Static).render())
        for word in names[0].split():
            assert word in bars
        assert "60%" in bars

    with_view(Feed(one), (80, 24), check)


def test_panels_stay_where_they_are_whatever_is_predicted() -> None:
    feed = Feed(a_snapshot(1))

    async def check(view: TerminalView, pilot: Any) -> None:
        places = set()
        for number, name in enumerate(("paper", "scissors", "schön", "a long name of a class", "")):
            feed.show(a_snapshot(number + 2, prediction=name))
            view.refresh_now()
            await pilot.pause()
            places.add(view.query_one("#bars").region)
        assert len(places) == 1

    with_view(feed, (80, 24), check)


def test_classes_without_room_are_counted() -> None:
    names = tuple(f"class {i}" for i in range(12))
    p = tuple(i / 66 for i in range(12))
    one = a_snapshot(classes=names, probabilities=p, taught=(1,) * 12, prediction=names[-1])

    async def check(view: TerminalView, pilot: Any) -> None:
        bars = str(view.query_one("#bars", Static).render())
        assert "class 11" in bars
        assert "class 0" not in bars
        assert "and 9 less probable" in bars

    with_view(Feed(one), (80, 24), check)


def test_a_message_makes_room_for_the_keys_again() -> None:
    feed = Feed(a_snapshot(1, message="fist is a class now"))

    async def check(view: TerminalView, pilot: Any) -> None:
        assert "fist is a class now" in seen(view)
        two = {"classes": CLASSES[:2], "probabilities": (0.5, 0.5), "taught": (1, 1)}
        feed.show(a_snapshot(400, message="fist is a class now", **two))
        view.refresh_now()
        assert "fist is a class now" not in seen(view)
        assert "q end" in seen(view)
        await pilot.press("9")
        assert "there is no class 9" in seen(view)

    with_view(feed, (100, 30), check)


def test_it_closes_when_the_run_is_over() -> None:
    async def go() -> None:
        over = [False]
        view = TerminalView(lambda: None, lambda _: None, ended=lambda: over[0])
        async with view.run_test() as pilot:
            await pilot.pause()
            assert view.is_running
            over[0] = True
            view.refresh_now()
            await pilot.pause(1.5)
            assert not view.is_running

    asyncio.run(go())


def test_a_second_q_leaves_at_once() -> None:
    feed = Feed(a_snapshot())

    async def check(view: TerminalView, pilot: Any) -> None:
        await pilot.press("q")
        assert "report is being written" in seen(view)
        await pilot.press("q")
        await pilot.pause()
        assert not view.is_running

    with_view(feed, (100, 30), check)
    assert feed.asked == [Command("end")]


def test_every_key_asks_for_what_it_says() -> None:
    feed = Feed(a_snapshot())

    async def check(view: TerminalView, pilot: Any) -> None:
        await pilot.press("2", "b", "u", "c", "space", "q")
        feed.show(a_snapshot(2, label="paper", state="paused"))
        view.refresh_now()
        await pilot.press("2", "3", "space")

    with_view(feed, (100, 30), check)
    assert feed.asked == [
        Command("label", "paper"),
        *(Command(word) for word in ("boundary", "retract", "save", "pause", "end")),
        Command("stop"),
        Command("label", "scissors"),
        Command("resume"),
    ]


def test_a_new_class_is_named_and_others_are_picked() -> None:
    feed = Feed(a_snapshot())

    async def check(view: TerminalView, pilot: Any) -> None:
        await pilot.press("n", *"fist", "enter")
        await pilot.press("tab", "down", "down", "enter")
        await pilot.press("n", "escape")
        await pilot.press("question_mark")
        assert "Keys" in str(view.screen.query_one(".title").render())
        await pilot.press("escape")

    with_view(feed, (100, 30), check)
    assert feed.asked[0] == Command("class", "fist")
    assert feed.asked[1].action == "label"
    assert feed.asked[1].name in CLASSES
    assert len(feed.asked) == 2


def test_what_is_taught_is_plain_and_a_frozen_picture_stays() -> None:
    feed = Feed(a_snapshot(1, label="rock"))

    async def check(view: TerminalView, pilot: Any) -> None:
        assert "TEACHING: rock" in seen(view)
        await pilot.press("f")
        before = strips_of(view)
        feed.show(a_snapshot(9))
        view.refresh_now()
        assert strips_of(view) == before
        assert "frozen" in seen(view)
        await pilot.press("f")
        view.refresh_now()
        assert strips_of(view) != before

    with_view(feed, (100, 30), check)


def test_before_a_label_it_says_that_nothing_is_taught() -> None:
    async def check(view: TerminalView, pilot: Any) -> None:
        text = seen(view)
        assert "no class taught yet" in text
        assert "no labelled segment was scored yet" in text
        assert "183 kev/s" in text

    empty = a_snapshot(prediction="", taught=(0,) * 9, accuracy=None, history=(), alarms=())
    with_view(Feed(empty), (100, 30), check)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"state": "waiting"}, "WAITING FOR EVENTS"),
        ({"live": False}, "REPLAY"),
        ({"state": "paused"}, "LEARNING PAUSED"),
        ({"simulated": True}, "SIMULATED DATA"),
        ({"simulated": None}, "origin unknown"),
        ({"message": "fist is a class now"}, "fist is a class now"),
    ],
)
def test_states_are_words(changes: dict[str, object], word: str) -> None:
    async def check(view: TerminalView, pilot: Any) -> None:
        assert word in seen(view)

    with_view(Feed(a_snapshot(**changes)), (100, 30), check)


def test_names_cannot_steer_the_terminal() -> None:
    names = ("\x1b[31mred", "[bold]x[/bold]", "a" * 200)
    one = a_snapshot(
        classes=names, probabilities=(0.5, 0.3, 0.2), taught=(1, 1, 1), prediction=names[1],
        source="\x1b]0;title\x07", message="\x1b[2J",
    )  # fmt: skip

    async def check(view: TerminalView, pilot: Any) -> None:
        text = seen(view)
        assert "\x1b" not in text
        assert "[bold]x[/bold]" in text

    with_view(Feed(one), (100, 30), check)


def test_views_need_no_torch() -> None:
    """A view starts at once, and a learner's library is no part of it."""
    code = "import sys, streamstop.live.terminal; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_large_letters() -> None:
    lines = large("rock 1")
    assert lines is not None
    assert len(lines) == 4
    assert len(set(map(len, lines))) == 1
    assert largest("rock", 60, 8) == large("rock", 2)
    assert largest("rock", 20, 8) == large("rock", 0)
    assert largest("rock", 14, 8) is None
    assert large("é") is None


PROGRAM = """
import subprocess
import sys
sys.path.insert(0, sys.argv[1])
from helpers.snapshots import a_snapshot
from streamstop.live.terminal import TerminalView
count, asked = 0, []
def read():
    global count
    count += 1
    last = asked[-1] if asked else None
    taught = last.name if last else ""
    state = "ended" if last and last.action == "end" else "running"
    return a_snapshot(count, label=taught, state=state)
TerminalView(read, asked.append).run()
print("ASKED", [(one.action, one.name) for one in asked], flush=True)
"""


def test_keys_through_a_real_terminal() -> None:
    """A pseudo-terminal: the view draws, a key teaches, q ends it."""
    screen = Screen("-c", PROGRAM, str(Path(__file__).parents[1]))
    try:
        screen.until(b"LIVE")
        screen.press(b"1")
        screen.until(b"TEACHING: rock")
        screen.press(b"q")
        screen.until(b"ASKED")
        screen.until(b"('label', 'rock'), ('end', '')")
    finally:
        screen.close()
