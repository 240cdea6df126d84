"""What the terminal view shows of a snapshot, as text with styles: functions without state.

Colours: ON orange, OFF blue, told apart by colour-blind people too; no state is shown by colour
alone. Names of classes and files are shown inertly, whatever characters they hold.
"""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from streamstop.live.terminal.font import largest
from streamstop.live.terminal.picture import OFF, ON
from streamstop.pipeline.snapshot import Snapshot

BARS = "▁▂▃▄▅▆▇█"
LABEL_STYLE = "bold black on rgb(255,210,60)"
ACCENT = "rgb(255,158,27)"
DIM = "dim"
WARNING = "rgb(230,200,80)"
UNKNOWN = "unknown"

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


def cut(text: str, width: int) -> str:
    """The end of a text, in at most `width` cells.

    >>> cut("recordings/waving.aedat4", 12)
    '…ving.aedat4'
    """
    if cell_len(text) <= width:
        return text
    while text and cell_len(text) >= width:
        text = text[1:]
    return "…" + text if width > 0 else ""


def wrapped(name: str, width: int) -> list[str]:
    """A name in lines of at most `width` cells, broken at blanks where that is possible.

    >>> wrapped("right hand clockwise", 11)
    ['right hand', 'clockwise']
    """
    lines = [""]
    for word in name.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(longer) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if cell_len(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines


def header(snapshot: Snapshot, width: int) -> Text:
    """One line: state, source, sensor, stream time, speed, origin of the events."""
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f" {state_name(snapshot)} ", "bold reverse")
    if snapshot.state == "waiting":
        text.append(" on")
    origin = {True: "SIMULATED DATA", False: "", None: "origin unknown"}[snapshot.simulated]
    if origin and snapshot.number:
        text.append(f" {origin}", f"bold {WARNING}" if snapshot.simulated else DIM)
    speed = snapshot.speed
    times = f" at {speed:.2g}x" if speed is not None and not snapshot.live else ""
    size = "{}x{}".format(*snapshot.sensor) if any(snapshot.sensor) else ""
    right = f"  {size}  {snapshot.stream_us / 1e6:,.1f} s{times} " if snapshot.number else ""
    name = inert(snapshot.source)
    text.append(f" {cut(name, width - text.cell_len - len(right) - 1)}")
    text.append(" " * max(width - text.cell_len - len(right), 0))
    text.append(right, DIM)
    return text


def prediction(snapshot: Snapshot, width: int, rows: int) -> Text:
    """The class predicted now, as large as it fits, in `rows` lines."""
    if not snapshot.prediction:
        lines = [
            "no class taught yet",
            *(["n names one, its number teaches it"] if rows > 1 else []),
        ]
        return _centred(lines, width, rows, DIM)
    name = inert(snapshot.prediction)
    style = "bold" if snapshot.prediction == UNKNOWN else f"bold {ACCENT}"
    lines = largest(name, width, rows) or wrapped(name, width)
    return _centred(lines, width, rows, style)


def _centred(lines: list[str], width: int, rows: int, style: str) -> Text:
    lines = lines[:rows]
    text = Text(no_wrap=True)
    above = (rows - len(lines)) // 2
    text.append("\n" * above)
    widest = max(map(cell_len, lines))
    for line in lines:
        # Lines of large letters are of one length; those of a name are centred one by one.
        left = (width - (widest if len(line) == widest else cell_len(line))) // 2
        text.append(" " * max(left, 0))
        text.append(line, style)
        text.append("\n")
    text.append("\n" * (rows - above - len(lines)))  # so that panels below stay where they are
    text.right_crop(1)
    return text


def label_band(snapshot: Snapshot, width: int) -> Text:
    """What is being taught now, plainly; else what the keys do."""
    if snapshot.label:
        name = cut(inert(snapshot.label), width - 14)
        shown = f" TEACHING: {name} "
        left = max(width - cell_len(shown), 0) // 2
        line = set_cell_size(" " * left + shown, width)
        return Text(line, f"{LABEL_STYLE}", no_wrap=True)
    if not snapshot.teachable:
        hint = "the stream has labels of its own" if snapshot.classes else ""
    elif snapshot.state == "paused":
        hint = "learning is paused; space goes on"
    elif not snapshot.learning:
        hint = "learning is off; press 1-9 to label a class"
    else:
        hint = "press 1-9 to teach a class" if snapshot.classes else "press n to name a class"
    return Text(hint.center(width), DIM, no_wrap=True)


def probabilities(snapshot: Snapshot, width: int, rows: int) -> Text:
    """A bar per class that was taught, the most probable ones where there is not room for all."""
    seen = _shown_classes(snapshot)
    p = list(snapshot.probabilities) + [0.0] * (len(snapshot.classes) - len(snapshot.probabilities))
    widest = max((cell_len(inert(snapshot.classes[i])) for i in seen), default=0)
    most = min(widest, max(width // 2 - 4, 8))
    names = {i: wrapped(inert(snapshot.classes[i]), most) for i in seen}
    kept: list[int] = []
    room = rows
    for i in sorted(seen, key=lambda i: -p[i]):
        last = len(kept) + 1 == len(seen)
        if len(names[i]) > room - (not last):
            break
        kept.append(i)
        room -= len(names[i])
    text = Text(no_wrap=True)
    bar = max(width - most - 8, 3)
    for i in sorted(kept):
        best = snapshot.classes[i] == snapshot.prediction
        for row, name in enumerate(names[i]):
            text.append(f"{i + 1} " if i < 9 and not row else "  ", DIM)
            text.append(set_cell_size(name, most), f"bold {ACCENT}" if best else "")
            if not row:
                filled = round(min(max(p[i], 0.0), 1.0) * bar)
                text.append(" " + "━" * filled, ACCENT if best else "")
                text.append("─" * (bar - filled), DIM)
                text.append(f" {p[i]:4.0%}", "bold" if best else "")
            text.append("\n")
    if len(kept) < len(seen):
        text.append(f"and {len(seen) - len(kept)} less probable; tab shows all\n", DIM)
    text.right_crop(1)
    return text


def _shown_classes(snapshot: Snapshot) -> list[int]:
    """Classes that were taught, else the first ones."""
    taught = [i for i, n in enumerate(snapshot.taught[: len(snapshot.classes)]) if n]
    return taught or list(range(min(len(snapshot.classes), 9)))


def accuracy(snapshot: Snapshot, width: int, rows: int = 1) -> Text:
    """Windowed accuracy with its curve of `rows` lines, drift marks, and the best baseline."""
    text = Text(no_wrap=True)
    if snapshot.accuracy is None:
        text.append("accuracy ", "bold")
        text.append("no labelled segment was scored yet"[: width - 9], DIM)
        return text
    text.append("accuracy ", "bold")
    text.append(f"{snapshot.accuracy:.0%}", f"bold {ACCENT}")
    counted = f" windowed, {snapshot.segments:,} segments"
    text.append(counted if len(counted) + 13 <= width else " windowed", DIM)
    if snapshot.baseline_accuracy is not None:
        name = inert(snapshot.baseline).replace("_", " ")
        line = f"best baseline {snapshot.baseline_accuracy:.0%} over all ({name})"
        text.append("\n" + (line if len(line) <= width else line.removeprefix("best ")), DIM)
    indent = 5 if rows > 1 else 0
    points = snapshot.history[-(width - indent) :]
    for row in range(rows):
        mark = "100% " if row == 0 else "  0% " if row == rows - 1 else "     "
        text.append("\n" + mark[:indent], DIM)
        text.append("".join(_column(one, row, rows) for one in points), ACCENT)
    cut_off = len(snapshot.history) - len(points)
    marks = [i - cut_off for i in snapshot.alarms if i >= cut_off]
    if marks:
        line = "".join("▲" if i in marks else " " for i in range(max(marks) + 1))
        fits = indent + len(line) + 6 <= width
        line = f"{line} drift" if fits else line
        if not fits and min(marks) > 6:
            line = line[: min(marks) - 6] + "drift " + line[min(marks) :]
        text.append("\n" + " " * indent + line, WARNING)
    return text


def _column(value: float, row: int, rows: int) -> str:
    """The part of a column that is `value` high, 0 to 1, that is in a row; row 0 is the top."""
    eighths = round(value * rows * 8) - (rows - 1 - row) * 8
    lowest = row == rows - 1
    return " " if eighths <= 0 and not lowest else BARS[min(max(eighths, 1), 8) - 1]


def layers(snapshot: Snapshot, width: int, rows: int) -> Text:
    """Firing rate, threshold and leak of each layer, in `rows` lines and a heading."""
    name_width = max(min(width - 24, 24), 6)
    text = Text(no_wrap=True)
    text.append("layer".ljust(name_width), "bold")
    text.append(f"{'rate':>7}{'threshold':>11}{'leak':>6}", DIM)
    room = rows if len(snapshot.layers) <= rows else rows - 1
    for one in snapshot.layers[:room]:
        text.append("\n" + set_cell_size(inert(one.name), name_width - 1) + " ")
        text.append(f"{one.firing_rate:7.1%}{one.threshold:11.3f}{one.leak:6.2f}")
    if len(snapshot.layers) > room:
        text.append(f"\nand {len(snapshot.layers) - room} more layers", DIM)
    return text


def health(snapshot: Snapshot, *, plain: bool = False) -> Text:
    """Rates, times, queue, memory, and what became of the events; plain: without colours."""
    text = Text(overflow="fold")
    text.append("events   ", "bold")
    text.append(f"{_rate(snapshot.events_hz):<12}")
    for name, colour, mark in (("ON", ON, "█"), ("OFF", OFF, "░")):
        text.append(f"{mark if plain else '■'} ", "rgb({},{},{})".format(*colour))
        text.append(f"{name} ", DIM)
    for name, both in (("step", snapshot.step_ms), ("latency", snapshot.latency_ms)):
        if both is not None:
            text.append(f"\n{name:<9}", "bold")
            text.append("p50 ", DIM)
            text.append(f"{_ms(both[0]):<8}")
            text.append(" p99 ", DIM)
            text.append(_ms(both[1]))
    text.append("\nmemory   ", "bold")
    text.append(f"{snapshot.memory_mb:,.0f} MB")
    if snapshot.queue_capacity:
        text.append("  queue ", "bold")
        full = snapshot.queue / snapshot.queue_capacity
        text.append(f"{snapshot.queue:,}", WARNING if full > 0.5 else "")
        text.append(f" ({full:.0%})", DIM)
    lost = {**snapshot.dropped, **snapshot.rejected}
    if lost:
        causes = ", ".join(f"{n:,} {inert(cause).replace('_', ' ')}" for cause, n in lost.items())
        text.append(f"\nnot used {causes}", WARNING)
    else:
        text.append(f"\nall {snapshot.received:,} events used", DIM)
    return text


def confusion(snapshot: Snapshot, width: int, rows: int) -> Text:
    """Labels by predictions, of the classes that were taught and have room."""
    seen = _shown_classes(snapshot)[: max(min(rows - 1, (width - 14) // 5), 0)]
    seen = [i for i in seen if i < len(snapshot.confusion)]
    text = Text(no_wrap=True)
    if len(seen) < 2:
        return text
    text.append(set_cell_size("label, predicted as", width - 5 * len(seen)), "bold")
    text.append("".join(f"{i + 1:5d}" for i in seen), DIM)
    for i in seen:
        name = f"{i + 1} {inert(snapshot.classes[i])}"
        text.append("\n" + set_cell_size(name, width - 5 * len(seen)))
        for j in seen:
            count = snapshot.confusion[i][j]
            style = f"bold {ACCENT}" if i == j else "" if count else DIM
            text.append(f"{count:5d}" if count else "    ·", style)
    return text


def labels(snapshot: Snapshot, width: int, rows: int) -> Text:
    """The newest labels, newest first."""
    text = Text(no_wrap=True)
    if not snapshot.labels or rows < 2:
        return text
    text.append("labels", "bold")
    for one in snapshot.labels[: -rows if rows else None : -1]:
        end = "now" if one.end_us < 0 else f"{one.end_us / 1e6:.1f} s"
        when = f"{one.start_us / 1e6:,.1f} s to {end}"
        when += " (retracted)" if one.retracted else ""
        text.append("\n" + set_cell_size(inert(one.name), max(width - len(when) - 1, 1)) + " ")
        text.append(when, DIM)
    return text


def message(snapshot: Snapshot, width: int) -> Text:
    """What a person should read, or the keys."""
    if snapshot.message:
        return Text(set_cell_size(f" {inert(snapshot.message)}", width), "bold", no_wrap=True)
    keys = " 1-9 teach  tab more  n new  space pause  u retract  c save  ? help  q end"
    more = " 1-9 teach  tab more  n new class  space pause  f freeze  b boundary  u retract  "
    more += "c save  ? help  q end"
    line = more if len(more) <= width else keys if len(keys) <= width else " ? help  q end"
    return Text(line, DIM, no_wrap=True)


def _rate(hz: float) -> str:
    for size, unit in ((1e6, "Mev/s"), (1e3, "kev/s")):
        if hz >= size:
            return f"{hz / size:.3g} {unit}"
    return f"{hz:.0f} ev/s"


def _ms(value: float) -> str:
    return f"{value:.2g} ms" if value < 10 else f"{value:.0f} ms"
