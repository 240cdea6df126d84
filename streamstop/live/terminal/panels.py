"""What the terminal view shows of a snapshot, as text with styles: functions without state.

Colours: ON orange, OFF blue, told apart by colour-blind people too; no state is shown by colour
alone. Names of classes and files are shown inertly, whatever characters they hold.
"""

from __future__ import annotations

import numpy as np
from rich.text import Text

from streamstop.live.terminal.font import HEIGHT, large
from streamstop.pipeline.snapshot import Snapshot

ON, OFF = np.array([255, 158, 27], np.float32), np.array([64, 140, 255], np.float32)
BARS = "▁▂▃▄▅▆▇█"
LABEL_STYLE = "bold black on rgb(255,210,60)"
ACCENT = "rgb(255,158,27)"
DIM = "dim"

_STATES = {
    "starting": "STARTING",
    "waiting": "WAITING FOR EVENTS",
    "paused": "LEARNING PAUSED",
    "ended": "ENDED",
}


def inert(text: str) -> str:
    r"""Text without characters that steer a terminal.

    >>> inert("a\x1b[2Jb")
    'a?[2Jb'
    """
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def state_name(snapshot: Snapshot) -> str:
    """The state in a word or two."""
    if snapshot.state == "running":
        return "LIVE" if snapshot.live else "REPLAY"
    return _STATES.get(snapshot.state, snapshot.state.upper())


def header(snapshot: Snapshot, width: int) -> Text:
    """One line: state, source, sensor, stream time, speed, origin of the events."""
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f" {state_name(snapshot)} ", "bold reverse")
    origin = {True: "SIMULATED DATA", False: "", None: "origin unknown"}[snapshot.simulated]
    if origin:
        text.append(f" {origin}", "bold yellow" if snapshot.simulated else DIM)
    speed = snapshot.speed
    times = f" at {speed:.2g}x" if speed is not None and not snapshot.live else ""
    size = f"{snapshot.sensor[0]}x{snapshot.sensor[1]}"
    right = f"  {size}  {snapshot.stream_us / 1e6:,.1f} s{times} "
    room = width - text.cell_len - len(right) - 2
    name = inert(snapshot.source)
    shown = name if len(name) <= room else "…" + name[len(name) - room + 1 :] if room > 4 else ""
    text.append(f" {shown}")
    text.append(" " * max(width - text.cell_len - len(right), 0))
    text.append(right, DIM)
    return text


def picture(snapshot: Snapshot, columns: int, rows: int) -> Text:
    """The events in half blocks: two pixels above each other per character."""
    off_on = snapshot.picture.astype(np.float32) / 255
    _, height, width = off_on.shape
    scale = min(columns / width, 2 * rows / height)
    shown_w, shown_h = max(int(width * scale), 1), max(int(height * scale) // 2 * 2, 2)
    ys = np.minimum((np.arange(shown_h) * height / shown_h).astype(int), height - 1)
    xs = np.minimum((np.arange(shown_w) * width / shown_w).astype(int), width - 1)
    off, on = (np.sqrt(plane[ys][:, xs])[..., None] for plane in off_on)
    colour = np.minimum(on * ON + off * OFF, 255).astype(int) // 15 * 15
    left = " " * ((columns - shown_w) // 2)
    text = Text(no_wrap=True)
    for y in range(0, shown_h, 2):
        text.append(left)
        line = np.concatenate([colour[y], colour[y + 1]], axis=1)
        starts = np.flatnonzero(np.append(True, (line[1:] != line[:-1]).any(1)))
        for start, end in zip(starts, np.append(starts[1:], shown_w), strict=True):
            r, g, b, r2, g2, b2 = line[start].tolist()
            style = f"rgb({r},{g},{b}) on rgb({r2},{g2},{b2})"
            text.append("▀" * int(end - start), style)
        text.append("\n")
    return text


def prediction(snapshot: Snapshot, width: int) -> Text:
    """The class predicted now, large where it fits."""
    if not snapshot.prediction:
        return Text("\nno class taught yet\n", DIM, justify="center")
    name = inert(snapshot.prediction)
    lines = large(name)
    if lines is None or max(map(len, lines)) > width:
        return Text(f"\n{name}\n", f"bold {ACCENT}", justify="center", overflow="fold")
    return Text("\n".join(line.ljust(max(map(len, lines))) for line in lines), f"bold {ACCENT}",
                justify="center", no_wrap=True)  # fmt: skip


def label_band(snapshot: Snapshot, width: int) -> Text:
    """What is being taught now, plainly; else what the keys do."""
    if snapshot.label:
        return Text(f" TEACHING: {inert(snapshot.label)} ".center(width), LABEL_STYLE, no_wrap=True)
    hint = "learning is off" if not snapshot.learning else "press 1-9 to teach a class"
    return Text(hint.center(width), DIM, no_wrap=True)


def probabilities(snapshot: Snapshot, width: int, rows: int) -> Text:
    """A bar per class that was taught, the most probable first where there is not room for all."""
    taught = snapshot.taught or (0,) * len(snapshot.classes)
    seen = [i for i, n in enumerate(taught) if n] or list(range(min(len(snapshot.classes), 9)))
    p = snapshot.probabilities or (0.0,) * len(snapshot.classes)
    if len(seen) > rows:
        seen = sorted(sorted(seen, key=lambda i: -p[i])[:rows])
    names = {i: inert(snapshot.classes[i]) for i in seen}
    most = min(max((len(name) for name in names.values()), default=0), max(width - 18, 8))
    text = Text(no_wrap=True)
    for i in seen:
        name = names[i] if len(names[i]) <= most else names[i][: most - 1] + "…"
        best = names[i] == inert(snapshot.prediction)
        room = max(width - most - 9, 3)
        filled = round(p[i] * room)
        key = f"{i + 1} " if i < 9 else "  "
        text.append(key, DIM)
        text.append(name.ljust(most), f"bold {ACCENT}" if best else "")
        text.append(" " + "█" * filled, ACCENT if best else "")
        text.append("·" * (room - filled), DIM)
        text.append(f" {p[i]:4.0%}\n")
    return text


def accuracy(snapshot: Snapshot, width: int) -> Text:
    """Windowed accuracy with its curve, drift marks, and the best baseline."""
    text = Text(no_wrap=True)
    if snapshot.accuracy is None:
        text.append("accuracy    no labelled segment was scored yet", DIM)
        return text
    text.append("accuracy ")
    text.append(f"{snapshot.accuracy:.0%}", "bold")
    text.append(f" of the last of {snapshot.segments} segments", DIM)
    if snapshot.baseline_accuracy is not None:
        name = snapshot.baseline.replace("_", " ")
        text.append(f"\nbest baseline {snapshot.baseline_accuracy:.0%} over all ({name})", DIM)
    points = snapshot.history[-width:]
    cut = len(snapshot.history) - len(points)
    text.append("\n")
    for one in points:
        text.append(BARS[min(int(one * len(BARS)), len(BARS) - 1)], ACCENT)
    marks = {i - cut for i in snapshot.alarms}
    if any(i >= 0 for i in marks):
        text.append("\n" + "".join("▲" if i in marks else " " for i in range(len(points))), "red")
        text.append(" drift", "red")
    return text


def layers(snapshot: Snapshot, rows: int) -> Text:
    """Firing rate, threshold and leak of each layer."""
    text = Text(no_wrap=True)
    text.append("layer            rate  threshold  leak\n", DIM)
    for one in snapshot.layers[:rows]:
        name = inert(one.name)[:14]
        text.append(f"{name:<14} {one.firing_rate:6.1%}  {one.threshold:9.3f}  {one.leak:4.2f}\n")
    if len(snapshot.layers) > rows:
        text.append(f"and {len(snapshot.layers) - rows} more layers\n", DIM)
    return text


def health(snapshot: Snapshot) -> Text:
    """Rates, times, queue, memory, and what became of the events."""
    text = Text()
    text.append(f"{_rate(snapshot.events_hz)}, {snapshot.memory_mb:,.0f} MB\n")
    if snapshot.step_ms is not None:
        text.append(f"step {snapshot.step_ms[0]:.2g} ms, 99 % under {snapshot.step_ms[1]:.2g} ms\n")
    if snapshot.latency_ms is not None:
        p50, p99 = snapshot.latency_ms
        text.append(f"event to prediction {p50:.0f} ms, 99 % under {p99:.0f} ms\n")
    if snapshot.queue_capacity:
        text.append(f"queue {snapshot.queue:,} of {snapshot.queue_capacity:,} events\n")
    lost = {**snapshot.dropped, **snapshot.rejected}
    if lost:
        causes = ", ".join(f"{n:,} {inert(cause).replace('_', ' ')}" for cause, n in lost.items())
        text.append(f"not used: {causes}\n", "yellow")
    else:
        text.append(f"all {snapshot.received:,} events used\n", DIM)
    return text


def message(snapshot: Snapshot, width: int) -> Text:
    """What a person should read, or the keys."""
    if snapshot.message:
        return Text(inert(snapshot.message)[:width], "bold", no_wrap=True)
    keys = "1-9 teach  tab more  n new class  space pause  f freeze  b boundary  u undo  c save  "
    return Text((keys + "w web  ? help  q end")[:width], DIM, no_wrap=True)


def _rate(hz: float) -> str:
    for size, unit in ((1e6, "Mev/s"), (1e3, "kev/s")):
        if hz >= size:
            return f"{hz / size:.3g} {unit}"
    return f"{hz:.0f} ev/s"


GUESS_ROWS = HEIGHT + 1
