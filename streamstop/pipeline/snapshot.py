"""What a view shows of a run in progress: `Snapshot`, plain numbers and text, of bounded size.

A run makes a snapshot at most ten times per second and puts it into a slot that holds one
(`streamstop.live.slot`); a view shows the newest. What a view asks of a run is a `Command`, a line
of JSON.

Guarantees:

- A snapshot is at most MAX_BYTES long, whatever the run: lists are cut to their newest entries.
- Nothing executes on load: it is JSON and the bytes of a picture.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streamstop.errors import UsageError

MAX_BYTES = 1 << 16
"""Longest snapshot."""

MAX_SIDE = 64
"""Most rows and columns of the event picture."""

MAX_CLASSES = 32
"""Classes of which probabilities and confusions are shown."""

MAX_HISTORY = 120
"""Points of the accuracy curve."""

MAX_LABELS = 64
"""Newest labelled intervals that are shown."""

STATES = ("starting", "waiting", "running", "paused", "ended")
"""Of a run: `waiting`: no event has come yet, or the source is silent."""

ACTIONS = ("label", "stop", "class", "pause", "resume", "boundary", "retract", "save", "end")
"""What a view may ask; see `Command`."""


@dataclass(frozen=True)
class LayerState:
    """One layer: spikes per neuron and bin, mean threshold, membrane decay."""

    name: str
    firing_rate: float
    threshold: float
    leak: float


@dataclass(frozen=True)
class ShownLabel:
    """A labelled interval of the stream, in us of stream time; end -1: still open.

    retracted : marked as a mistake by the person who gave it; it was learned all the same.
    """

    name: str
    start_us: int
    end_us: int = -1
    retracted: bool = False


@dataclass(frozen=True)
class Snapshot:
    """The state of a run at one moment.

    Attributes
    ----------
    number
        Counts snapshots, from 1.
    state
        One of STATES.
    source, sensor, live, simulated
        What is streamed: its URI, (width, height) in pixels, whether it is live; None: unknown
        whether simulated.
    stream_us, wall_s
        Stream time and wall time passed.
    picture
        Shape (2, rows, columns), uint8: OFF and ON events, decayed, at most MAX_SIDE each way.
    prediction, readout
        The class predicted now ("" where none is taught), and by which readout.
    classes, probabilities
        Names of the outputs and their probabilities; taught : segments learned of each.
    label, learning, teachable
        The class being taught now, "" for none; whether learning is on; whether classes can be
        taught: a stream with labels of its own takes no others.
    accuracy, baseline, baseline_accuracy
        Windowed accuracy of the headline prediction, and of the best baseline; None before the
        first scored segment.
    history, alarms
        Windowed accuracy after each of the last segments; those after which drift was detected,
        as indices into `history`.
    segments
        Segments scored.
    confusion
        Rows are labels, columns predictions, of the first MAX_CLASSES classes.
    layers
        Of the network.
    events_hz
        Events per second of stream time, lately.
    received, binned, pending, dropped, rejected
        The accounting of events, the last two by cause.
    step_ms, latency_ms
        Median and 99th percentile of a step, and from an event's arrival to the prediction; None
        where unknown.
    queue, queue_capacity
        Events waiting in the ring of a live source.
    memory_mb
        Resident memory of the run.
    labels
        The newest labelled intervals.
    message
        The last thing that a person should read, e.g. what an error was.
    run_dir
        The run's folder; "" before it exists.
    """

    number: int = 0
    state: str = "starting"
    source: str = ""
    sensor: tuple[int, int] = (0, 0)
    live: bool = False
    simulated: bool | None = None
    stream_us: int = 0
    wall_s: float = 0.0
    picture: NDArray[np.uint8] = field(
        default_factory=lambda: np.zeros((2, 1, 1), np.uint8), compare=False
    )
    prediction: str = ""
    readout: str = ""
    classes: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    taught: tuple[int, ...] = ()
    label: str = ""
    learning: bool = True
    teachable: bool = True
    accuracy: float | None = None
    baseline: str = ""
    baseline_accuracy: float | None = None
    history: tuple[float, ...] = ()
    alarms: tuple[int, ...] = ()
    segments: int = 0
    confusion: tuple[tuple[int, ...], ...] = ()
    layers: tuple[LayerState, ...] = ()
    events_hz: float = 0.0
    received: int = 0
    binned: int = 0
    pending: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    step_ms: tuple[float, float] | None = None
    latency_ms: tuple[float, float] | None = None
    queue: int = 0
    queue_capacity: int = 0
    memory_mb: float = 0.0
    labels: tuple[ShownLabel, ...] = ()
    message: str = ""
    run_dir: str = ""

    @property
    def speed(self) -> float | None:
        """Stream time per wall time; None before any passed."""
        return self.stream_us / 1e6 / self.wall_s if self.wall_s > 0 else None

    def as_json(self) -> dict[str, Any]:
        """All fields but the picture as plain data, lists cut to their newest entries."""
        found = asdict(replace(self, picture=self.picture[:, :0]))
        del found["picture"]
        for name, most in (("history", MAX_HISTORY), ("labels", MAX_LABELS)):
            found[name] = found[name][-most:]
        cut = len(self.history) - len(found["history"])
        found["alarms"] = [one - cut for one in self.alarms if one >= cut]
        found["confusion"] = [row[:MAX_CLASSES] for row in self.confusion[:MAX_CLASSES]]
        for name in ("classes", "probabilities", "taught"):
            found[name] = found[name][:MAX_CLASSES]
        return found

    def to_bytes(self) -> bytes:
        """A line of JSON, then the picture."""
        about = self.as_json() | {"picture": list(self.picture.shape)}
        return json.dumps(about).encode() + b"\n" + self.picture.tobytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """The snapshot that `to_bytes` wrote."""
        line, _, picture = content.partition(b"\n")
        about = json.loads(line)
        shape = about.pop("picture")
        known = {one.name for one in fields(cls)}
        given = {name: _plain(value) for name, value in about.items() if name in known}
        given["layers"] = tuple(LayerState(**one) for one in about["layers"])
        given["labels"] = tuple(ShownLabel(**one) for one in about["labels"])
        return cls(**given, picture=np.frombuffer(picture, np.uint8).reshape(shape))


def _plain(value: Any) -> Any:
    """Tuples for JSON's lists."""
    return tuple(map(_plain, value)) if isinstance(value, list) else value


@dataclass(frozen=True)
class Command:
    """What a view, a socket or a script asks of a run.

    Attributes
    ----------
    action
        One of ACTIONS. "label": `name` is what the camera sees from now on, until "stop" or
        another label; the same name again stops, too. "class": `name` becomes a class. "pause" and
        "resume" learning. "boundary": a new segment begins. "retract" the last label. "save" the
        weights. "end" the run.
    name
        A class.
    start_us, end_us
        For "label": an interval of stream time, where it is not "from now on".
    """

    action: str
    name: str = ""
    start_us: int | None = None
    end_us: int | None = None

    def to_line(self) -> bytes:
        """A line of JSON."""
        given = {key: value for key, value in asdict(self).items() if value not in (None, "")}
        return json.dumps(given).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes | str) -> Self:
        """The command in a line of JSON; `{"class": "rock"}` is short for a label.

        Raises
        ------
        UsageError
            If it is none.
        """
        try:
            given = json.loads(line)
            if not isinstance(given, dict):
                raise ValueError("not an object")
            if "class" in given and "action" not in given:
                given = {"action": "label", "name": given.pop("class"), **given}
            one = cls(**given)
        except (ValueError, TypeError, RecursionError) as error:
            raise UsageError(f"not a command ({error}): {str(line)[:80]!r}") from error
        one._check()
        return one

    def _check(self) -> None:
        if self.action not in ACTIONS:
            raise UsageError(f"no action {self.action!r} (known: {', '.join(ACTIONS)})")
        if not isinstance(self.name, str) or len(self.name) > 80:
            raise UsageError("a class's name is a text of at most 80 characters")
        if self.action in ("label", "class") and not self.name.strip():
            raise UsageError(f"{self.action!r} names no class")
        for one in (self.start_us, self.end_us):
            if one is not None and (isinstance(one, bool) or not isinstance(one, int)):
                raise UsageError("times are whole numbers of microseconds")
