"""What `streamstop inspect` shows: what a recording is, how its events lie in time, what is wrong.

Guarantees: the figures of a `RecordingInfo` and no others; what is wrong comes in words, after what
is right and never in colour alone; nothing wider than the console; signs that the terminal's
encoding has, and nothing from a file that could steer it. Does not read files.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamstop.events.packet import Damage
from streamstop.report import formatting as words
from streamstop.tools.inspection import GAP_US, RecordingInfo

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII_BLOCKS = ".:-=+*#@"
MAX_SHOWN = 5

_PLAIN_SIGNS = {
    words.NBSP: " ",
    words.NONE: "-",
    words.MINUS: "-",
    words.TIMES: "x",
    "\N{HORIZONTAL ELLIPSIS}": "...",
}


def print_inspection(found: RecordingInfo, console: Console | None = None) -> None:
    """Print what was found.

    console : where to print; standard output if None.
    """
    console = console or Console()
    console.print()
    if found.simulated:
        console.print(Text("SIMULATED DATA", style="bold yellow"))
    # In one piece, so that it can be copied.
    console.print(Text(_shown(found.path, console), style="bold"), soft_wrap=True)
    console.print()
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(found):
        facts.add_row(name, Text(_shown(value, console)))
    if len(found.series) > 1:
        facts.add_row("", Text(sparkline(found.series, console), style="blue"))
        width = words.duration(found.series_us * _group(found.series, console) / 1e6)
        # What each sign stands for: without it the line is a picture of nothing.
        facts.add_row(
            "", Text(_shown(f"events over time, {width} per character", console), style="dim")
        )
    console.print(facts)
    console.print()
    wrong = list(_wrong(found))
    for line in wrong:
        _paragraph(console, line, "yellow")
    if not wrong:
        console.print(Text("No damage; no event is earlier than the one before it."))


def sparkline(counts: Sequence[int], console: Console) -> str:
    """Counts as a line of signs no longer than the console has room for; no event is a space.

    >>> sparkline([0, 1, 4, 8], Console(width=80))
    ' ▁▄█'
    """
    size = _group(counts, console)
    sums = [sum(counts[i : i + size]) for i in range(0, len(counts), size)]
    signs = BLOCKS if _can_show(BLOCKS, console) else ASCII_BLOCKS
    most = max(sums, default=0)
    return "".join(signs[max(-(-one * len(signs) // most) - 1, 0)] if one else " " for one in sums)


def _group(counts: Sequence[int], console: Console) -> int:
    """So many counts share a character."""
    room = max(console.width - 16, 8)
    return max(-(-len(counts) // room), 1)


def _facts(found: RecordingInfo) -> Iterator[tuple[str, str]]:
    size = "" if found.file_bytes is None else f", {_bytes(found.file_bytes)}"
    packed = f", compressed with {found.compression}" if found.compression else ""
    yield "format", f"{found.format_name}{packed}{size}"
    if found.recordings != 1:
        yield "recordings", words.whole(found.recordings)
    yield "sensor", _sensor(found)
    for note in found.notes:
        yield "note", note
    yield "events", _events(found)
    if found.t_start_us is not None and found.t_end_us is not None:
        yield (
            "duration",
            (
                f"{words.duration(found.duration_us / 1e6)}, from {words.whole(found.t_start_us)} "
                f"to {words.whole(found.t_end_us)}{words.NBSP}us"
            ),
        )
        yield "rate", _rates(found)
        if found.sensor is not None:
            yield "pixels", _pixels(found)
    for cause, count in sorted(found.dropped.items()):
        yield "passed over", f"{words.whole(count)} {cause.replace('_', ' ')}"
    if found.wraps:
        yield "counter", f"{words.plural(found.wraps, 'wrap')} of its time counter undone"
    if found.labels is not None and not found.labels.error:
        yield "labels", _labels(found)


def _sensor(found: RecordingInfo) -> str:
    if found.sensor is None and found.refusal:
        return "unknown: the file does not say, and its events fit none known here"
    if found.sensor is None:
        return "unknown: the file does not say, and there is no event to tell it by"
    origin = {
        "header": "as the file says",
        "reader": "inferred from the layout of its events",
        "asked": "as asked for",
        "inferred": "inferred: the smallest usual one that holds the events",
        "recordings": "of its recordings",
    }
    return f"{found.sensor}, {origin.get(found.sensor_from, found.sensor_from)}"


def _events(found: RecordingInfo) -> str:
    if not found.events:
        return "none"
    repeated = (
        f"; {words.whole(found.duplicates)} repeat the one before" if found.duplicates else ""
    )
    return f"{words.whole(found.events)}, {words.percent(found.on_share)} ON{repeated}"


def _rates(found: RecordingInfo) -> str:
    parts = [f"{words.rate(found.mean_hz)} on average"] if found.mean_hz else []
    parts.append(f"at most {words.rate(found.peak_10ms_hz)} over 10{words.NBSP}ms")
    if found.peak_1s_hz is not None:
        parts.append(f"{words.rate(found.peak_1s_hz)} over 1{words.NBSP}s")
    return ", ".join(parts)


def _pixels(found: RecordingInfo) -> str:
    total = found.sensor.width * found.sensor.height if found.sensor else 0
    share = words.percent(found.active_pixels / total if total else None)
    origin = f"{share} with events"
    if not found.hot_total:
        return f"{origin}, none hot"
    listed = ", ".join(
        f"({one.x}, {one.y}) {words.whole(one.events)}" for one in found.hot[:MAX_SHOWN]
    )
    more = ", \N{HORIZONTAL ELLIPSIS}" if found.hot_total > MAX_SHOWN else ""
    return (
        f"{origin}, {words.whole(found.hot_total)} hot with "
        f"{words.percent(found.hot_events / found.events)} of the events: {listed}{more}"
    )


def _labels(found: RecordingInfo) -> str:
    assert found.labels is not None
    classes = found.labels.classes
    names = ", ".join(classes[:MAX_SHOWN]) + (
        ", \N{HORIZONTAL ELLIPSIS}" if len(classes) > MAX_SHOWN else ""
    )
    return (
        f"{words.plural(found.labels.segments, 'segment')} of "
        f"{words.plural(len(classes), 'class')} ({names}): {found.labels.path}"
    )


def _wrong(found: RecordingInfo) -> Iterator[str]:
    """What a user should know before trusting the recording, a paragraph each."""
    if found.refusal:
        yield f"A run refuses it: {found.refusal}."
    if found.damage_total:
        took = f", {words.duration(found.lost_us / 1e6)} of time" if found.lost_us else ""
        yield (
            f"Damaged in {words.plural(found.damage_total, 'place')}: "
            f"{words.plural(found.lost_bytes, 'byte')} could not be read{took}."
        )
        for one in found.damage[:MAX_SHOWN]:
            yield _damage(one)
        if found.damage_total > MAX_SHOWN:
            yield f"  and {words.whole(found.damage_total - MAX_SHOWN)} more; --json lists them."
    if found.time_reversals:
        step = words.duration(found.largest_step_back_us / 1e6)
        yield (
            f"Time runs backwards {words.plural(found.time_reversals, 'time')}, by {step} at most."
        )
    if found.gaps_total:
        longest = found.gaps[0]
        yield (
            f"{words.plural(found.gaps_total, 'silence')} longer than "
            f"{words.duration(GAP_US / 1e6)}, the longest of "
            f"{words.duration(longest.length_us / 1e6)} after t = "
            f"{words.whole(longest.t_us)}{words.NBSP}us."
        )
    if found.outside and not found.refusal:
        yield (
            f"{words.plural(found.outside, 'event')} outside the sensor "
            f"({words.percent(found.outside / found.events)}); a run rejects and counts them."
        )
    if found.labels is not None and found.labels.error:
        yield f"The labels beside it cannot be read: {found.labels.error}"


def _damage(damage: Damage) -> str:
    took = "" if damage.lost_us is None else f", {words.duration(damage.lost_us / 1e6)}"
    lost = words.plural(damage.lost_bytes, "byte")
    return f"  at byte {words.whole(damage.offset)}, {lost}{took}: {damage.reason}"


def _bytes(count: int) -> str:
    """A file's size in decimal units.

    >>> [_bytes(n).replace(words.NBSP, " ") for n in (12, 21_625, 5_300_000)]
    ['12 bytes', '21.6 kB', '5.3 MB']
    """
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return words.with_unit(count / size, unit)
    return words.plural(count, "byte")


def _paragraph(console: Console, text: str, style: str) -> None:
    """Text in lines that never part a figure from its unit, all indented like the first."""
    indent = text[: len(text) - len(text.lstrip())]
    lines = textwrap.fill(
        text, max(20, console.width), subsequent_indent=indent, break_on_hyphens=False
    )
    shown = "\n".join(_shown(line, console) for line in lines.splitlines())
    console.print(Text(shown, style=style))


def _shown(text: str, console: Console) -> str:
    """Ordinary spaces, nothing that steers a terminal, and no sign that it cannot show."""
    text = words.printable(text.replace(words.NBSP, " "))
    if _can_show(text, console):
        return text
    for sign, plain in _PLAIN_SIGNS.items():
        text = text.replace(sign, plain)
    return text.encode(console.encoding, "replace").decode(console.encoding)


def _can_show(text: str, console: Console) -> bool:
    try:
        text.encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
