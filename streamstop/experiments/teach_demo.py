"""The demo `teach`: seven gestures are taught for some seconds each, then others' are recognised.

The bundled simulated recordings are played without their labels. A script presses the keys that a
person would press: each gesture of the first people is taught while it is seen. What the network
predicts of the other people, whom it never saw, is compared with the labels that it never got.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from streamstop.config.bundled import bundled_path
from streamstop.events.packet import Events
from streamstop.formats.aedat.aedat4_writer import write_aedat4
from streamstop.pipeline.snapshot import Command
from streamstop.sources.folder import FolderSource

GESTURES = (
    *("hand_clapping", "right_hand_wave", "left_hand_wave", "right_arm_clockwise"),
    *("right_arm_counter_clockwise", "arm_roll", "air_drums"),
)
TAUGHT = 3
"""People of whom each gesture is taught; about 3 s each."""

PAUSE_US = 20_000
SETTLES_US = 600_000
"""After a gesture begins, before its predictions are counted: they follow the stream so fast."""


class Scene(NamedTuple):
    """A gesture in the stream: its class, and when."""

    name: str
    start_us: int
    end_us: int


class TeachDemo(NamedTuple):
    """The stream of the demo.

    Attributes
    ----------
    path
        The recording, without labels.
    taught, rest
        What is seen while it is taught, and afterwards.
    """

    path: Path
    taught: tuple[Scene, ...]
    rest: tuple[Scene, ...]

    def script(self, bin_us: int) -> tuple[tuple[int, Command], ...]:
        """The keys that are pressed: before which bin, counted from 1, and what they ask for."""
        asked = []
        for one in self.taught:
            asked.append((one.start_us // bin_us + 2, Command("label", one.name)))
            asked.append((one.end_us // bin_us, Command("stop")))
        return tuple(asked)

    def score(self, predictions: Path) -> float:
        """Fraction of right predictions after teaching, bin by bin; NaN where there are none.

        Parameters
        ----------
        predictions : Path
            The run's predictions.csv.
        """
        with predictions.open(encoding="utf-8", newline="") as file:
            rows = [(int(row["time_us"]), row["class"]) for row in csv.DictReader(file)]
        right = [
            name == one.name
            for one in self.rest
            for time_us, name in rows
            if one.start_us + SETTLES_US < time_us <= one.end_us
        ]
        return float(np.mean(right)) if right else float("nan")


def make_teach_demo(folder: Path) -> TeachDemo:
    """Write the demo's recording into a folder: the taught gestures, then the others in any order.

    It is simulated, and the file says so.
    """
    source = FolderSource(str(bundled_path("recordings/gestures")), order="by-class")
    assert source.labels is not None
    names = [one.partition(" ")[2] for one in source.labels.classes]
    which: dict[str, list[int]] = {name: [] for name in names}
    for i, segment in enumerate(source.labels):
        which[names[segment.label]].append(i)
    first = [(name, which[name][k]) for k in range(TAUGHT) for name in GESTURES]
    others = [(name, i) for name in GESTURES for i in which[name][TAUGHT:]]
    drawn = np.random.default_rng(0).permutation(len(others))
    scenes: list[Scene] = []
    pieces: list[Events] = []
    now_us = 0
    for name, i in (*first, *(others[k] for k in drawn)):
        events = source.segment_events(i)
        end_us = now_us + int(events["t"][-1])
        events["t"] += now_us
        pieces.append(events)
        scenes.append(Scene(name, now_us, end_us))
        now_us = end_us + PAUSE_US
    stream = np.concatenate(pieces)
    stream["t"] -= stream["t"][0]
    path = folder / "simulated-gestures.aedat4"
    write_aedat4(path, stream, source.sensor, simulated=True)
    return TeachDemo(path, tuple(scenes[: len(first)]), tuple(scenes[len(first) :]))
