"""Snapshots pass through the slot whole, the newest only, and across processes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamstop.errors import UsageError
from streamstop.live.slot import Slot
from streamstop.pipeline.snapshot import (
    MAX_BYTES,
    MAX_HISTORY,
    MAX_SIDE,
    Command,
    LayerState,
    ShownLabel,
    Snapshot,
)

FULL = Snapshot(
    number=7,
    state="running",
    source="davis346",
    sensor=(346, 260),
    live=True,
    picture=np.arange(2 * 4 * 5, dtype=np.uint8).reshape(2, 4, 5),
    classes=("rock", "paper"),
    probabilities=(0.25, 0.75),
    taught=(1, 2),
    accuracy=0.5,
    history=(0.1, 0.2),
    alarms=(1,),
    confusion=((1, 0), (2, 3)),
    layers=(LayerState("conv 1", 0.1, 1.0, 0.5),),
    dropped={"overload": 3},
    step_ms=(1.5, 9.0),
    labels=(ShownLabel("rock", 0, 100), ShownLabel("paper", 200)),
)


def test_a_snapshot_comes_out_as_it_went_in() -> None:
    again = Snapshot.from_bytes(FULL.to_bytes())
    assert again == FULL
    assert (again.picture == FULL.picture).all()


def test_the_newest_comes_out_once() -> None:
    with Slot() as slot, Slot(slot.name) as view:
        assert view.get() is None
        for number in (1, 2, 3):
            slot.put(replace(FULL, number=number))
        found = view.get()
        assert found is not None
        assert found.number == 3
        assert view.get() is None


def test_the_largest_snapshot_fits() -> None:
    names = tuple(f"{i} " + "x" * 60 for i in range(200))
    large = replace(
        FULL,
        picture=np.zeros((2, MAX_SIDE, MAX_SIDE), np.uint8),
        classes=names,
        probabilities=(1 / 3,) * 200,
        taught=(1 << 40,) * 200,
        history=(1 / 3,) * 10_000,
        alarms=tuple(range(10_000)),
        confusion=((1 << 40,) * 200,) * 200,
        labels=tuple(ShownLabel(name, 1 << 50, 1 << 50) for name in names),
    )
    assert len(large.to_bytes()) <= MAX_BYTES
    again = Snapshot.from_bytes(large.to_bytes())
    assert len(again.history) == MAX_HISTORY
    assert again.alarms == tuple(range(MAX_HISTORY))


def test_it_passes_between_processes() -> None:
    program = (
        "import sys; from streamstop.live.slot import Slot\n"
        "from streamstop.pipeline.snapshot import Snapshot\n"
        "with Slot(sys.argv[1]) as slot: slot.put(Snapshot(number=5, source='there'))"
    )
    with Slot() as slot:
        subprocess.run([sys.executable, "-c", program, slot.name], check=True)
        found = slot.get()
    assert found is not None
    assert (found.number, found.source) == (5, "there")


@pytest.mark.parametrize(
    "command",
    [
        Command("label", "rock"),
        Command("label", "rock", 5, 9),
        Command("stop"),
        Command("class", "schön"),
    ],
)
def test_a_command_is_a_line_of_json(command: Command) -> None:
    assert Command.from_line(command.to_line()) == command


def test_a_label_has_a_short_form() -> None:
    assert Command.from_line('{"class": "rock"}') == Command("label", "rock")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "{}",
        '{"action": "erase"}',
        '{"action": "label"}',
        '{"action": "label", "name": 5}',
        '{"action": "label", "name": "a", "start_us": 1.5}',
        '{"action": "stop", "more": 1}',
        "[" * 100_000,
        '{"action": "class", "name": "' + "x" * 81 + '"}',
    ],
)
def test_anything_else_is_refused(line: str) -> None:
    with pytest.raises(UsageError):
        Command.from_line(line)


OPENED_TWICE = """
import multiprocessing, sys
from streamstop.live.slot import Slot
from streamstop.pipeline.snapshot import Snapshot

def put(name):
    with Slot(name) as slot:
        slot.put(Snapshot(number=7))

if __name__ == "__main__":
    with Slot() as slot:
        with Slot(slot.name):
            pass
        child = multiprocessing.get_context("spawn").Process(target=put, args=(slot.name,))
        child.start()
        child.join()
        print(slot.get().number)
"""


def test_a_slot_is_removed_once_whoever_opened_it(tmp_path: Path) -> None:
    """Python's tracker of shared memory prints errors where it is told to forget one twice."""
    program = tmp_path / "program.py"
    program.write_text(OPENED_TWICE)
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("7\n", "")
