"""Changes a recording at a known place, reads it, and holds what comes against what must come.

A seed (`mutation_seeds.py`) knows its events and on which bytes each rests. Of a changed copy are
demanded: no error but our own; packets and cursors in order; every event that ends before the
change, as it was; where the format can find its way again, every event after it, too; and that
whatever loss is reported touches the change or follows it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
from helpers.event_files import FIELDS, same

from streamstop.errors import StreamstopError
from streamstop.events.packet import MAX_PACKET_EVENTS, Cursor, Damage, Events, Packet, empty_events
from streamstop.formats.base import Recording, read_packets
from streamstop.formats.detect import open_recording

EXTREMES = (0, 1, -1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 1 << 20, 0x7FFFFFFF, -0x80000000, 1 << 62)


class Edit(NamedTuple):
    """What was done to a file: bytes [first, last) of the original are not what they were.

    in_place : the file is as long as it was, and every other byte is where it was.
    """

    kind: str
    first: int
    last: int
    in_place: bool


class Kept(NamedTuple):
    """What must come through: the first `prefix` events, and those from index `tail` on.

    lowest, highest : offsets that damage may lie between: it ends at or after `lowest`; it begins
        at or after and ends at or before `highest`, None where that is unknown.
    """

    prefix: int
    tail: int
    lowest: int
    begins: int = 0
    highest: int | None = None


@dataclass(frozen=True)
class Seed:
    """A recording whose every byte's part is known.

    format : name in the table of formats.
    file_name : what it is called on the disk.
    content : the file.
    events : what it holds, shape (n,).
    kept : what must come through an edit; None where the file may not even open.
    other : another recording of this format, to splice with.
    fields : offsets of numbers that say how long something is, most worth changing.
    tells : kinds of edit after which missing events must have been reported as damage.
    time_bits : where a damaged time may seem to be a wrap of the counter, times after it are
        compared within the counter's range; 0: exactly.
    places : whether offsets of damage are bytes of the file (or of what is compressed in it).
    """

    format: str
    file_name: str
    content: bytes
    events: Events
    kept: Callable[[Edit], Kept | None]
    other: bytes
    fields: tuple[int, ...] = ()
    tells: frozenset[str] = frozenset()
    time_bits: int = 0
    places: bool = True


def mutate(draw: Random, seed: Seed) -> tuple[bytes, Edit]:
    """A changed copy of a seed's file, and where it was changed; the same for the same draws."""
    kinds = (
        "bits",
        "bytes",
        "fill",
        "field",
        "insert",
        "delete",
        "duplicate",
        "truncate",
        "splice",
    )
    kind = draw.choice(kinds)
    content, size = seed.content, len(seed.content)
    at = _place(draw, seed)
    if kind == "bits":
        places = sorted(
            at if not i else _near(draw, at, size) for i in range(draw.choice((1, 1, 4)))
        )
        changed = bytearray(content)
        for place in places:
            changed[place] ^= 1 << draw.randrange(8)
        return bytes(changed), Edit(kind, places[0], places[-1] + 1, True)
    if kind in ("bytes", "fill", "field"):
        new = _new_bytes(draw, kind, size)
        new = new[: size - at]
        return content[:at] + new + content[at + len(new) :], Edit(kind, at, at + len(new), True)
    length = draw.choice((1, 2, 3, 4, 8, 16, 100, 1000, 5000))
    if kind == "insert":
        junk = draw.randbytes(length)
        return content[:at] + junk + content[at:], Edit(kind, at, at, False)
    if kind == "delete":
        end = min(at + length, size)
        return content[:at] + content[end:], Edit(kind, at, end, False)
    if kind == "duplicate":
        source = draw.randrange(size)
        copy = content[source : source + length]
        return content[:at] + copy + content[at:], Edit(kind, at, at, False)
    if kind == "truncate":
        return content[:at], Edit(kind, at, size, False)
    there = draw.choice((min(at, len(seed.other)), draw.randrange(len(seed.other))))
    return content[:at] + seed.other[there:], Edit(kind, at, size, False)


def _place(draw: Random, seed: Seed) -> int:
    """Anywhere; more often in a number that says how long something is, and at the beginning."""
    which = draw.randrange(8)
    if which < 2 and seed.fields:
        return draw.choice(seed.fields)
    if which == 2:
        return draw.randrange(min(200, len(seed.content)))
    return draw.randrange(len(seed.content))


def _near(draw: Random, at: int, size: int) -> int:
    return draw.randrange(max(at - 20, 0), min(at + 20, size))


def _new_bytes(draw: Random, kind: str, size: int) -> bytes:
    if kind == "bytes":
        return draw.randbytes(draw.choice((1, 2, 4, 16)))
    if kind == "fill":
        return bytes((draw.choice((0, 0xFF)),)) * draw.choice((4, 64, 512))
    width = draw.choice((2, 4, 4, 8))
    number = draw.choice((*EXTREMES, size, size - 1, size + 1)) & ((1 << 8 * width) - 1)
    return number.to_bytes(width, draw.choice(("little", "big")))


class Outcome(NamedTuple):
    """What was read of a file; `error` is what our own error says, "" where there was none."""

    events: Events
    damage: list[Damage]
    error: str
    wrong: list[str]
    packets: list[Packet]


def read(path: Path) -> Outcome:
    """Read a recording to its end, its packets and cursors looked over.

    Errors that are not ours come out, and warnings as errors.
    """
    packets: list[Packet] = []
    wrong: list[str] = []
    error = ""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            before = Cursor()
            for packet in read_packets(open_recording(str(path))):
                packets.append(packet)
                wrong += _out_of_order(packet, before)
                before = packet.cursor
        except StreamstopError as raised:
            error = str(raised) or type(raised).__name__
    events = np.concatenate([empty_events(), *(packet.events for packet in packets)])
    damage = [one for packet in packets for one in packet.damage]
    return Outcome(events, damage, error, wrong, packets)


def _out_of_order(packet: Packet, before: Cursor) -> list[str]:
    wrong = []
    if len(packet.events) > MAX_PACKET_EVENTS:
        wrong.append(f"a packet of {len(packet.events)} events")
    if packet.cursor.event != before.event + len(packet.events):
        wrong.append(f"cursor at event {packet.cursor.event} after {before.event}")
    if packet.cursor.offset < before.offset:
        wrong.append(f"cursor at byte {packet.cursor.offset} after {before.offset}")
    return wrong


def check(seed: Seed, content: bytes, edit: Edit, path: Path) -> tuple[Outcome, list[str]]:
    """Write the changed file and read it; what came, and everything that is not as it must be."""
    path.write_bytes(content)
    got = read(path)
    return got, got.wrong + judge(seed, content, edit, got)


def judge(seed: Seed, content: bytes, edit: Edit, got: Outcome) -> list[str]:
    """What of an outcome is not as it must be after this edit."""
    wrong = []
    if content == seed.content:
        if got.damage or got.error or not same(got.events, seed.events):
            wrong.append(f"unchanged, yet read otherwise: {got.error} {got.damage[:1]}")
        return wrong
    kept = seed.kept(edit) if content else None
    wrong += _damage_misplaced(seed, got, kept)
    if kept is None:
        return wrong
    if got.error:
        return [*wrong, f"refused, {kept.prefix} good events before the change: {got.error[:200]}"]
    if not same(got.events[: kept.prefix], seed.events[: kept.prefix]):
        at = _first_difference(got.events, seed.events[: kept.prefix])
        wrong.append(f"of {kept.prefix} events before the change the one at {at} is not as it was")
    if not _same_tail(seed, got.events, kept.tail):
        lost = len(seed.events) - kept.tail
        wrong.append(f"the {lost} events after the change are not as they were")
    if edit.kind in seed.tells and len(got.events) < len(seed.events) and not got.damage:
        wrong.append(f"{len(seed.events) - len(got.events)} events lost without a word")
    return wrong


def check_resumed(got: Outcome, recording: Recording, draw: Random) -> list[str]:
    """Whether reading from one of the cursors on gives what reading through gave."""
    if not got.packets:
        return []
    which = draw.randrange(len(got.packets))
    rest = [packet.events for packet in recording.packets(got.packets[which].cursor)]
    expected = [packet.events for packet in got.packets[which + 1 :]]
    one, other = (np.concatenate([empty_events(), *parts]) for parts in (rest, expected))
    return [] if same(one, other) else [f"read on from packet {which}, it is otherwise"]


def _damage_misplaced(seed: Seed, got: Outcome, kept: Kept | None) -> list[str]:
    wrong = []
    end = 0
    reaches = _reaches(got.damage)
    for one, reach in zip(got.damage, reaches, strict=True):
        if one.offset < 0 or one.lost_bytes < 0 or not one.reason or (one.lost_us or 0) < 0:
            wrong.append(f"damage makes no sense: {one}")
        if kept is None or not seed.places:
            continue
        if reach < kept.lowest:
            wrong.append(f"damage is reported before the change at {kept.lowest}: {_describe(one)}")
        if one.offset < kept.begins:
            wrong.append(
                f"damage begins before what was touched at {kept.begins}: {_describe(one)}"
            )
        if kept.highest is not None and one.offset + one.lost_bytes > kept.highest:
            wrong.append(f"damage ends after what was touched, {kept.highest}: {_describe(one)}")
        if one.offset < end:
            wrong.append(f"damage overlaps the one before, which ends at {end}: {_describe(one)}")
        end = one.offset + one.lost_bytes
    return wrong


def _reaches(damage: Sequence[Damage]) -> list[int]:
    """How far each damage reaches, with those that follow it without a gap."""
    reaches: list[int] = []
    following = None
    for one in reversed(damage):
        end = one.offset + one.lost_bytes
        follows = following is not None and following.offset == end
        reaches.append(reaches[-1] if follows else end)
        following = one
    return reaches[::-1]


def _describe(damage: Damage) -> str:
    return f"{damage.lost_bytes} bytes from {damage.offset}, {damage.reason}"


def _same_tail(seed: Seed, events: Events, tail: int) -> bool:
    expected = seed.events[tail:]
    if not len(expected):
        return True
    if len(events) < len(expected):
        return False
    events = events[-len(expected) :]
    if not all(np.array_equal(events[name], expected[name]) for name in "xyp"):
        return False
    off = events["t"] - expected["t"]
    if seed.time_bits:
        off = off & ((1 << seed.time_bits) - 1)
    return not off.any()


def _first_difference(events: Events, expected: Events) -> int:
    shared = min(len(events), len(expected))
    unlike = np.zeros(shared, np.bool_)
    for name in FIELDS:
        unlike |= events[name][:shared] != expected[name][:shared]
    return int(unlike.argmax()) if unlike.any() else shared
