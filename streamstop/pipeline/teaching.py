"""Teaches a run what a person says the stream shows, and writes it down: labels.csv.

A label takes effect with the next bin and ends with "stop" or another label. Its bins are a
segment like any other: predicted by weights from before it began, then learned. So `run` over the
recording with this labels.csv and the same classes gives the same predictions, scores and weights.

Guarantees:

- A row is written as soon as its label has ended; nothing is taken back, a retracted label is
  marked.
- Memory is bounded: rows are in the file, the newest of them here.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

from streamstop.errors import UsageError
from streamstop.evaluation.evaluator import PrequentialEvaluator
from streamstop.events.labels import CSV_COLUMNS
from streamstop.pipeline.commands import CommandInbox
from streamstop.pipeline.snapshot import MAX_LABELS, Command, ShownLabel

_PLACEHOLDER = re.compile(r"(?:class|output) \d+")
"""Names of outputs that have no class of their own; a new class takes the first not taught."""

LABELS = "labels.csv"
RETRACTED = "retracted.csv"
"""In a run's folder: the rows of labels.csv that were marked as mistakes, by their times."""


class Teacher:
    """Applies commands to an evaluation, between two bins; a context manager.

    Parameters
    ----------
    evaluator : PrequentialEvaluator
        Of a stream that can be taught.
    inbox : CommandInbox
        Where commands come from.
    folder : Path
        Where labels.csv is written.

    Attributes
    ----------
    paused, ended, save : bool
        Learning is paused; the run is to end; the weights are to be saved.
    message : str
        The last thing that a person should read.
    labels : deque of ShownLabel
        The newest labels, closed ones.
    """

    def __init__(self, evaluator: PrequentialEvaluator, inbox: CommandInbox, folder: Path) -> None:
        self._evaluator = evaluator
        self._inbox = inbox
        self._folder = folder
        self._file = (folder / LABELS).open("w", encoding="utf-8", newline="", buffering=1)
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow(CSV_COLUMNS)
        self._written = 0
        self._refused = 0
        self._taught: set[str] = set()
        self.labels: deque[ShownLabel] = deque(maxlen=MAX_LABELS)
        self.paused = self.ended = self.save = False
        self.message = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.write()
        self._file.close()

    def apply(self) -> None:
        """Do what was asked since the last bin; what cannot be done is a message."""
        for command in self._inbox.poll():
            try:
                self._do(command)
            except UsageError as error:
                self.message = str(error)
        if self._inbox.refused > self._refused:
            self._refused, self.message = self._inbox.refused, self._inbox.message
        self.write()

    def write(self) -> None:
        """Write the labels that have ended."""
        track = self._evaluator.labels
        assert track is not None
        for one in track.segments[self._written :]:
            name = self._evaluator.class_names[one.label]
            self._rows.writerow((name, one.start_us, one.end_us))
            self.labels.append(ShownLabel(name, one.start_us, one.end_us))
        self._written = len(track)

    def _do(self, command: Command) -> None:
        match command.action:
            case "label":
                self._label(command)
            case "stop":
                self._evaluator.teach("")
            case "class":
                self._add(command.name.strip())
            case "pause":
                self._evaluator.teach("")
                self.paused, self.message = True, "learning is paused; labels wait until it resumes"
            case "resume":
                self.paused, self.message = False, "learning goes on"
            case "boundary":
                self._evaluator.teach(self._evaluator.taught)
            case "retract":
                self._retract()
            case "save":
                self.save = True
            case "end":
                self.ended = True

    def _label(self, command: Command) -> None:
        name = command.name.strip()
        if self.paused:
            raise UsageError("learning is paused; resume it to teach")
        if command.start_us is not None or command.end_us is not None:
            raise UsageError("a label begins now: times in the past or future are not taken")
        if name == self._evaluator.taught:
            self._evaluator.teach("")
            return
        if name not in self._evaluator.class_names:
            self._add(name)
        self._evaluator.teach(name)
        self._taught.add(name)
        self.message = ""

    def _add(self, name: str) -> None:
        if name in self._evaluator.class_names:
            raise UsageError(f"there is a class {name!r} already")
        free = [
            one
            for one in self._evaluator.class_names
            if _PLACEHOLDER.fullmatch(one) and one not in self._taught
        ]
        if not free:
            raise UsageError(
                f"no output is left for a class {name!r}: begin the run with more, "
                "--set network.classes=20"
            )
        self._evaluator.rename_class(free[0], name)
        self.message = f"{name} is a class now"

    def _retract(self) -> None:
        self._evaluator.teach("")
        self.write()
        if not self.labels:
            raise UsageError("no label was given yet")
        last = self.labels.pop()
        self.labels.append(ShownLabel(last.name, last.start_us, last.end_us, retracted=True))
        path = self._folder / RETRACTED
        first = not path.exists()
        with path.open("a", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            if first:
                rows.writerow(CSV_COLUMNS)
            rows.writerow((last.name, last.start_us, last.end_us))
        self.message = f"marked as a mistake: {last.name}; what was learned from it stays"
