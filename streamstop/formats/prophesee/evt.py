"""Reads Prophesee's EVT2, EVT2.1 and EVT3: 32, 64 or 16 bit words after a header of % lines.

Guarantees:

- Every event whose time and place the words determine, in the file's order, with wraps undone.
- Bounded memory, and reading can start at any packet.
- Damage is reported and makes no events. Damage is: words of an undefined type, vectors beyond the
  last column that a word can name (2047), and a TIME_HIGH that leaves a steady time and comes back.
  It costs the words up to the next ones that set the time (and in EVT3 the row).

Does not:

- Detect damage that turns one valid word into another.
- Read triggers and other word types (OTHERS, CONTINUED), which are skipped.
- Check whether an event lies on the sensor; the binner does.

Times. Time begins with the first TIME_HIGH; events before it (in EVT3 also before the first row)
have no time and are counted as dropped, cause "untimed". A TIME_HIGH sets the lower bits to zero
until a word sets them. A TIME_HIGH that lies more than half the counter's range behind the one
before it is a wrap (EVT3: 24 bits, 16.8 s; EVT2 and 2.1: 34 bits, 4.8 h), one that lies less behind
is a step back. A silence longer than half the range, without a TIME_HIGH across a wrap, looks like
a step back; cameras write TIME_HIGH continuously. `% t0 N`, which faery writes, is added to every
time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamstop.errors import SourceError
from streamstop.events.packet import (
    EVENT_DTYPE,
    MAX_PACKET_EVENTS,
    Cursor,
    Damage,
    Events,
    Packet,
    SensorSize,
    empty_events,
)
from streamstop.formats.base import SIMULATED_SOURCE, read_head, read_start
from streamstop.formats.byte_reader import STDIN, ByteReader, open_bytes

MAX_HEADER_BYTES = 1 << 16
_BLOCK = 1 << 19
_WORDS: dict[str, np.dtype[Any]] = {
    "evt2": np.dtype("<u4"),
    "evt2.1": np.dtype("<u8"),
    "evt3": np.dtype("<u2"),
}
_LOW_BITS = {"evt2": 6, "evt2.1": 6, "evt3": 12}

_LINE = re.compile(rb"%[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f\n]*\n")
_VERSION = re.compile(rb"% *(?:evt +|format +EVT)([23](?:\.?1)?)", re.IGNORECASE)
_GEOMETRY = re.compile(rb"% *geometry[: ]+(\d{1,5})x(\d{1,5})\s", re.IGNORECASE)
_T0 = re.compile(rb"% *t0[: ]+(\d{1,18})\s", re.IGNORECASE)
_SIMULATED = re.compile(rb"% *source[: ]+" + SIMULATED_SOURCE.encode())


class EvtRecording:
    """An EVT2, EVT2.1 or EVT3 file; see `streamstop.formats.base.Recording`.

    Its cursors hold the decoder's state in `skip`, as a number.

    Raises
    ------
    SourceError
        If the file cannot be read, or its header does not tell which of the three it is.
    """

    notes: Sequence[str] = ()
    sensor_inferred = False

    def __init__(self, path: str) -> None:
        self.path = path
        lines, self._header_bytes = _header_lines(read_head(path, MAX_HEADER_BYTES, _holds_header))
        header = b"".join(lines)
        version = _VERSION.search(header)
        if version is None:
            raise SourceError(f"the header names neither EVT2, EVT2.1 nor EVT3: {path}")
        digits = version[1].decode().replace(".", "")
        self.format = {"2": "evt2", "21": "evt2.1"}.get(digits, "evt3")
        self.sensor = _sensor(header)
        self.simulated = _SIMULATED.search(header) is not None
        t0 = _T0.search(header)
        self._t0_us = int(t0[1]) if t0 is not None else 0
        stated = re.search(rb"endianness[=: ]+(\w+)", header)
        self._swapped = stated is not None and stated[1].lower() == b"legacy"
        if self.format == "evt2.1" and stated is None:
            self._swapped = self._looks_swapped()

    def _looks_swapped(self) -> bool:
        """Whether the 32-bit halves of the words are swapped, where the header does not tell.

        In the right order a file starts with TIME_HIGH, or TIME_HIGH follow each other closely.
        """
        start = read_start(self.path, self._header_bytes + (1 << 12))[self._header_bytes :]
        halves = np.frombuffer(start, "<u4", len(start) // 8 * 2).reshape(-1, 2)
        swapped, straight = (_time_begins(column) for column in halves.T)
        if (swapped[1] == 0) != (straight[1] == 0):
            return swapped[1] == 0
        return swapped < straight

    def packets(self, start: Cursor | None = None) -> Iterator[Packet]:
        """Packets from `start` on; see `Recording.packets`."""
        with open_bytes(self.path) as data:
            yield from _Decoder(self, data, start).packets()

    def words_of(self, block: bytes) -> NDArray[Any]:
        """The complete words at the start of `block`."""
        kind = _WORDS[self.format]
        words: NDArray[Any] = np.frombuffer(block, kind, len(block) // kind.itemsize)
        if self._swapped and self.format == "evt2.1":
            words = np.ascontiguousarray(words.view("<u4").reshape(-1, 2)[:, ::-1]).view("<u8")
            words = words.reshape(-1)
            words.flags.writeable = False  # like all blocks: the loop is compiled once
        return words

    @property
    def header_bytes(self) -> int:
        """Offset of the first word."""
        return self._header_bytes

    @property
    def t0_us(self) -> int:
        """Time that the header adds to every time."""
        return self._t0_us


class _Decoder:
    """The state of one reading of a file, and the packet that is being filled."""

    def __init__(self, recording: EvtRecording, data: ByteReader, start: Cursor | None) -> None:
        from streamstop.formats.prophesee import _evt_loops as loops  # numba, when a file needs it

        self._loops = loops
        self._loop = {
            "evt2": loops.decode_evt2, "evt2.1": loops.decode_evt21, "evt3": loops.decode_evt3
        }[recording.format]  # fmt: skip
        self._recording, self._data = recording, data
        self._word_bytes = _WORDS[recording.format].itemsize
        self._low_bits = _LOW_BITS[recording.format]
        self._origin = recording.header_bytes
        self._index = 0
        self._word = 0
        self._state = np.zeros(loops.STATE_SIZE, np.int64)
        state = self._state
        state[[loops.BAD_FROM, loops.BAD_TO, loops.BASE]] = -1
        state[loops.MODE] = loops.WAIT_START
        if recording.format == "evt3":
            state[loops.MODE] |= loops.WAIT_ROW
        if start is not None and start.offset > recording.header_bytes:
            self._index = start.event
            self._word = (start.offset - self._origin) // self._word_bytes
            self._restore(start)
        self._out, self._out_words = _memory()

    # The state between packets, outside damage, fits in a cursor: its time is that of the last word
    # with a time, and `skip` holds the rest.

    def _restore(self, start: Cursor) -> None:
        loops, state = self._loops, self._state
        time = start.t_us - self._recording.t0_us
        state[loops.HIGH] = time >> self._low_bits
        state[loops.LOW] = time & ((1 << self._low_bits) - 1)
        state[loops.ROW] = start.skip & 0x7FF
        state[loops.BASE] = (start.skip >> 11 & 0x1FFF) - 1
        state[loops.POLARITY] = start.skip >> 24 & 1
        state[loops.STEADY] = start.skip >> 25 & 0x1F
        state[loops.MODE] = start.skip >> 30 & 0xF

    def _cursor(self) -> Cursor:
        loops = self._loops
        high, low, row, base, polarity, steady, mode = map(int, self._state[: loops.OPEN])
        return Cursor(
            self._recording.path,
            self._origin + self._word * self._word_bytes,
            self._index,
            self._recording.t0_us + (high << self._low_bits) + low,
            row | (base + 1) << 11 | polarity << 24 | steady << 25 | mode << 30,
        )

    def packets(self) -> Iterator[Packet]:
        """The packets of the rest of the file."""
        size = _BLOCK + self._loops.LOOK_AHEAD * self._word_bytes
        held = 0
        while True:
            offset = self._origin + self._word * self._word_bytes
            block = self._data.read_ready(offset, held + 1, size)
            words = self._recording.words_of(block)
            full = len(block) == size
            ended = not full and (self._data.path != STDIN or len(block) == held)
            limit = len(words)
            if not ended and (full or not self._is_plain(words)):
                limit = max(limit - self._loops.LOOK_AHEAD, 0)
            yield from self._decode(words, limit)
            if not full and not ended and self._state[self._loops.COUNT]:
                yield self._packet()  # from a slow pipe: return what has arrived
            after = self._origin + self._word * self._word_bytes
            held = len(block) - (after - offset)
            self._data.release(after)
            if ended:
                yield from self._rest(len(block) % self._word_bytes)
                return

    def _is_plain(self, words: NDArray[Any]) -> bool:
        """Whether these words can be decoded without looking at later ones.

        That is so outside damage, where none of the words could be damage.
        """
        loops, state = self._loops, self._state
        mode = int(state[loops.MODE])
        if mode & (loops.WAIT_TIME | loops.WAIT_HIGH) or state[loops.BAD_FROM] >= 0:
            return False
        shift, at, bits, known = loops.WORDS[self._recording.format]
        kinds = (words >> shift).astype(np.intp) & 15
        highs = (words[kinds == 8] >> at).astype(np.int64) & ((1 << bits) - 1)
        before = highs[:1] if mode & loops.WAIT_START else state[loops.HIGH]
        steps = np.diff(highs, prepend=before) & ((1 << bits) - 1)
        steady = bool((steps <= loops.NEAR_US >> self._low_bits).all())
        return steady and bool(known[kinds].all()) and self._last_column(words, kinds) <= 2047

    def _last_column(self, words: NDArray[Any], kinds: NDArray[Any]) -> int:
        """Largest column that the vectors among these words reach if all of their bits are set."""
        if self._recording.format == "evt2.1":
            return 31 + int((words[kinds <= 1] >> 43 & 0x7FF).max(initial=0))
        if self._recording.format == "evt2":
            return 0
        starts = kinds == 3
        begins = np.append(self._state[self._loops.BASE], words[starts] & 0x7FF)
        taken = np.bincount(np.cumsum(starts), 12 * (kinds == 4) + 8 * (kinds == 5), len(begins))
        return int((begins + taken).max())

    def _decode(self, words: NDArray[Any], limit: int) -> Iterator[Packet]:
        first, i, status = self._word, 0, self._loops.MORE
        while i < limit or status != self._loops.MORE:
            i, status = self._loop(
                words, i, limit, first, self._out_words, self._state, self._recording.t0_us
            )
            self._word = first + int(i)
            if status != self._loops.MORE:
                yield self._packet()

    def _rest(self, odd_bytes: int) -> Iterator[Packet]:
        """The last packet, with damage at the end of the file."""
        loops, state, path = self._loops, self._state, self._recording.path
        if state[loops.COUNT]:
            yield self._packet()
        damage: list[Damage] = []
        if state[loops.BAD_FROM] >= 0:
            if state[loops.OPEN]:
                state[loops.BAD_TO] = self._word
            damage += self._damage()
        end = self._origin + self._word * self._word_bytes
        if odd_bytes:
            damage.append(Damage(end, odd_bytes, "the file ends inside a word", path))
        damage += self._data.fault
        if damage or state[loops.UNTIMED]:
            yield Packet(
                empty_events(), self._cursor(), dropped=self._dropped(), damage=tuple(damage)
            )

    def _packet(self) -> Packet:
        """The events in `out`, with the damage before them."""
        events = self._out[: int(self._state[self._loops.COUNT])]
        self._index += len(events)
        self._state[self._loops.COUNT] = 0
        packet = Packet(
            # A short packet must not keep the memory of a long one.
            events if 2 * len(events) > len(self._out) else events.copy(),
            self._cursor(),
            dropped=self._dropped(),
            damage=tuple(self._damage()),
        )
        if packet.events is events:
            self._out, self._out_words = _memory()  # arrays already returned must not change
        return packet

    def _damage(self) -> list[Damage]:
        loops, state = self._loops, self._state
        first, last = int(state[loops.BAD_FROM]), int(state[loops.BAD_TO])
        if first < 0:
            return []
        state[[loops.BAD_FROM, loops.BAD_TO]] = -1
        return [
            Damage(
                self._origin + first * self._word_bytes,
                (last - first) * self._word_bytes,
                "invalid words, and what follows them up to the next time",
                self._recording.path,
            )
        ]

    def _dropped(self) -> dict[str, int]:
        untimed = int(self._state[self._loops.UNTIMED])
        self._state[self._loops.UNTIMED] = 0
        return {"untimed": untimed} if untimed else {}


def _time_begins(halves: NDArray[Any]) -> tuple[int, int]:
    """Position of the first TIME_HIGH that the next one is close to, and of the first of all."""
    at = np.flatnonzero(halves >> 28 == 8)
    values = halves[at].astype(np.int64)
    agree = np.flatnonzero((values[1:] - values[:-1]) & 0xFFFFFFF <= 1 << 10)
    never = len(halves)
    return int(at[agree[0]]) if len(agree) else never, int(at[0]) if len(at) else never


def _memory() -> tuple[Events, NDArray[Any]]:
    """Memory for a packet, as events and as two words per event."""
    events: Events = np.empty(MAX_PACKET_EVENTS, EVENT_DTYPE)
    return events, events.view(np.int64).reshape(-1, 2)


def _header_lines(start: bytes) -> tuple[list[bytes], int]:
    """The lines of the header and its end: lines of text that start with %, or up to `% end`."""
    lines: list[bytes] = []
    at = 0
    while line := _LINE.match(start, at):
        lines.append(line[0])
        at = line.end()
        if re.fullmatch(rb"% *end\s*", line[0]):
            break
    return lines, at


def _holds_header(start: bytes) -> bool:
    """Whether the lines of the header have ended."""
    lines, end = _header_lines(start)
    return re.fullmatch(rb"% *end\s*", lines[-1] if lines else b"") is not None or (
        len(start) > end and not start.startswith(b"%", end)
    )


def _sensor(header: bytes) -> SensorSize | None:
    """The sensor from `% geometry` or `% format` in a header; None where it has neither."""
    geometry = _GEOMETRY.search(header)
    sides = [int(side) for side in geometry.groups()] if geometry else []
    if not sides:
        stated = re.search(rb"% *format +EVT[^\n]*", header, re.IGNORECASE)
        found = [
            re.search(side + rb"=(\d{1,5})", stated[0]) if stated else None
            for side in (b"width", b"height")
        ]
        sides = [int(one[1]) for one in found if one is not None]
    if len(sides) != 2 or not all(0 < side <= 1 << 11 for side in sides):
        return None
    return SensorSize(sides[0], sides[1])
