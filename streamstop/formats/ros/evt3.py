"""Decodes the EVT3 words of EventPacket messages, with the decoder of `.raw` files.

The state (time, row, vector) is kept from message to message, as the camera's words go on across
them. After messages that are missing, events wait for the next TIME_HIGH and row; those before are
counted as dropped, cause "untimed". Times are the camera's own, wraps undone; the message's
`time_base` is not used, as its writers' own decoder ignores it for EVT3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamstop.events.packet import EVENT_DTYPE, MAX_PACKET_EVENTS, Events

_LOW_BITS = 12
_HIGH_MASK = 0xFFF


class Decoded(NamedTuple):
    """Events of a message, the next word, and damage before these events (in words, [from, to))."""

    events: Events
    word: int
    untimed: int
    damage: tuple[int, int] | None


class Evt3Decoder:
    """The decoder's state; `number` and `t_us` hold it in a cursor.

    Parameters
    ----------
    number, t_us
        The state of an earlier decoder; number -1: the start of a recording.
    """

    def __init__(self, number: int = -1, t_us: int = 0) -> None:
        from streamstop.formats.prophesee import _evt_loops as loops  # numba, when it is needed

        self._loops = loops
        self._state = np.zeros(loops.STATE_SIZE, np.int64)
        state = self._state
        state[[loops.BAD_FROM, loops.BAD_TO, loops.BASE]] = -1
        state[loops.MODE] = loops.WAIT_START | loops.WAIT_ROW
        self._gap = False
        if number >= 0:
            state[loops.HIGH] = t_us >> _LOW_BITS
            state[loops.LOW] = t_us & ((1 << _LOW_BITS) - 1)
            state[loops.ROW] = number & 0x7FF
            state[loops.BASE] = (number >> 11 & 0x1FFF) - 1
            state[loops.POLARITY] = number >> 24 & 1
            state[loops.STEADY] = number >> 25 & 0x1F
            state[loops.MODE] = number >> 30 & 0xF
            state[loops.OPEN] = number >> 34 & 1
            self._gap = bool(number >> 35 & 1)
        self._out, self._out_words = _memory()

    @property
    def number(self) -> int:
        """The state but for its time, as a number below 2**36."""
        _, _, row, base, polarity, steady, mode, open_ = map(
            int, self._state[: self._loops.OPEN + 1]
        )
        number = row | (base + 1) << 11 | polarity << 24 | steady << 25 | mode << 30
        return number | open_ << 34 | int(self._gap) << 35

    @property
    def t_us(self) -> int:
        """Time of the last word with a time."""
        high, low = map(int, self._state[:2])
        return (high << _LOW_BITS) + low

    def lose(self) -> None:
        """Messages are missing here."""
        self._gap = True

    def decode(self, words: NDArray[Any], word: int) -> Iterator[Decoded]:
        """The events of a message from one of its words on, at least one part."""
        loops, state = self._loops, self._state
        if self._gap:
            word = self._resume(words, word)
        if state[loops.OPEN]:
            state[loops.BAD_FROM] = word
        status = loops.FULL
        while status != loops.MORE:
            word_, status = loops.decode_evt3(words, word, len(words), 0, self._out_words, state, 0)
            word = int(word_)
            if status == loops.MORE and state[loops.OPEN]:
                state[loops.BAD_TO] = word
            yield self._part(word)

    def _resume(self, words: NDArray[Any], word: int) -> int:
        """After a gap: the first TIME_HIGH, from which decoding goes on, or the message's end.

        It is a wrap, or a step back, by the rule of `streamstop.formats.prophesee.evt`.
        """
        loops, state = self._loops, self._state
        if state[loops.MODE] & loops.WAIT_START:
            self._gap = False
            return word
        kinds = words[word:] >> 12
        highs = np.flatnonzero(kinds == 8)
        begin = word + int(highs[0]) if len(highs) else len(words)
        state[loops.UNTIMED] += _count_events(words[word:begin])
        state[[loops.STEADY, loops.OPEN, loops.LOW]] = 0
        state[[loops.BAD_FROM, loops.BAD_TO, loops.BASE]] = -1
        state[loops.MODE] = loops.WAIT_ROW
        if begin < len(words):
            high, value = int(state[loops.HIGH]), int(words[begin]) & _HIGH_MASK
            step = (value - high) & _HIGH_MASK
            if value < high & _HIGH_MASK and step > _HIGH_MASK // 2:
                step -= _HIGH_MASK + 1
            state[loops.HIGH] = high + step
            self._gap = False
        return begin

    def _part(self, word: int) -> Decoded:
        loops, state = self._loops, self._state
        events = self._out[: int(state[loops.COUNT])]
        untimed, first, last = (
            int(state[one]) for one in (loops.UNTIMED, loops.BAD_FROM, loops.BAD_TO)
        )
        last = word if last < first else last
        state[[loops.COUNT, loops.UNTIMED]] = 0
        if first >= 0:
            state[[loops.BAD_FROM, loops.BAD_TO]] = -1
        if 2 * len(events) > len(self._out):
            self._out, self._out_words = _memory()  # arrays already returned must not change
        else:
            events = events.copy()
        return Decoded(events, word, untimed, (first, last) if first >= 0 else None)


def _count_events(words: NDArray[Any]) -> int:
    """The number of events that words of EVT3 stand for."""
    kinds = words >> 12
    vectors = words[kinds == 4] & 0xFFF, words[kinds == 5] & 0xFF
    return int((kinds == 2).sum()) + sum(int(np.bitwise_count(one).sum()) for one in vectors)


def _memory() -> tuple[Events, NDArray[Any]]:
    """Memory for a packet, as events and as two words per event."""
    events: Events = np.empty(MAX_PACKET_EVENTS, EVENT_DTYPE)
    return events, events.view(np.int64).reshape(-1, 2)
