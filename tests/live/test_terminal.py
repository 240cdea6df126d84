"""The terminal view: what it shows of a snapshot, and what its keys ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.snapshots import CLASSES, a_snapshot
from helpers.terminal import Screen

pytest.importorskip("textual")
from streamstop.live.terminal import TerminalView
from streamstop.live.terminal.font import large
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
    names = ("header", "picture", "guess", "band", "bars", "accuracy", "layers", "health")
    texts = [view.screen_stack[0].query_one(f"#{name}").render() for name in (*names, "message")]
    return "\n".join(str(text) for text in texts)


def with_view(
    feed: Feed,
    size: tuple[int, int],
    check: Callable[[TerminalView, Any], Awaitable[None]],
    open_web: Callable[[], str] | None = None,
) -> None:
    async def go() -> None:
        view = TerminalView(feed.read, feed.asked.append, open_web)
        async with view.run_test(size=size) as pilot:
            view.refresh_now()
            await pilot.pause()
            await check(view, pilot)

    asyncio.run(go())


@pytest.mark.parametrize("size", SIZES)
def test_it_shows_what_the_snapshot_holds(size: tuple[int, int]) -> None:
    async def check(view: TerminalView, pilot: Any) -> None:
        text = seen(view)
        assert "LIVE" in text
        assert "346x260" in text
        assert "▀" in text
        assert "press 1-9" in text
        for word in ("paper", "94%", "lda counts 81%", "drift", "conv 2", "120 overload", "412 MB"):
            wanted = word if word != "lda counts 81%" else "81%"
            assert wanted in text, word

    with_view(Feed(a_snapshot()), size, check)


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
        before = str(view.query_one("#picture").render())
        feed.show(a_snapshot(9))
        view.refresh_now()
        assert str(view.query_one("#picture").render()) == before
        assert "frozen" in seen(view)
        await pilot.press("f")
        view.refresh_now()

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


def test_the_page_is_opened_where_there_is_one() -> None:
    async def check(view: TerminalView, pilot: Any) -> None:
        await pilot.press("w")
        assert "http://127.0.0.1:1/?token=x" in seen(view)

    with_view(Feed(a_snapshot()), (100, 30), check, lambda: "http://127.0.0.1:1/?token=x")


def test_large_letters() -> None:
    lines = large("rock 1")
    assert lines is not None
    assert len(lines) == 3
    assert large("é") is None


PROGRAM = """
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
