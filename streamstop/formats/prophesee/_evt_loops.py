"""The inner loops of the EVT2, EVT2.1 and EVT3 readers: words to events, compiled by numba.

Guarantees:

- The same events, however the words are split into blocks, with each word read once.
- No event from an invalid word, or from a state that such a word leaves uncertain.

`streamstop.formats.prophesee.evt` reads the file, makes the packets and is the only caller.
Importing this module imports numba; each loop is compiled on its first call, in a second or two.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

HIGH, LOW, ROW, BASE, POLARITY, STEADY, MODE, OPEN, BAD_FROM, BAD_TO, UNTIMED, COUNT = range(12)
"""Indices into `state`.

HIGH : count of TIME_HIGH, wraps undone.
LOW : bits of the time below it, as the last word had them.
ROW, BASE, POLARITY : EVT3's row, and column and polarity of the next vector; BASE -1: unknown.
STEADY : number of consecutive TIME_HIGH close to the one before, up to STEADY_ENOUGH.
MODE : words that are needed before events can be decoded again; 0: none.
OPEN : 1 while words are skipped as damage.
BAD_FROM, BAD_TO : the damaged region before the events in `out`, in words of the file; -1: none.
UNTIMED : events skipped because time and row were not known yet.
COUNT : events in `out`.
"""

STATE_SIZE = 12

WAIT_TIME, WAIT_ROW, WAIT_HIGH, WAIT_START = 1, 2, 4, 8
"""Bits of MODE: any time word; a row; a TIME_HIGH close to the time before; the first TIME_HIGH."""

MORE, FULL, CUT = range(3)
"""Why a loop returned: no words left; `out` is full; damage starts after the events in `out`."""

LOOK_AHEAD = 4096
"""At most this many following words decide whether a word is damage."""

STEADY_ENOUGH = 16
CLEAN_WORDS = 32
"""Reading resumes at a time word if this many words after it have valid types."""

NEAR_US = 1 << 16
# Valid word types, the upper four bits, in each format.
_EVT3_KNOWN = np.array([1, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 0, 1, 1], np.bool_)
_EVT2_KNOWN = np.array([1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 1], np.bool_)

WORDS = {
    "evt2": (28, 0, 28, _EVT2_KNOWN),
    "evt2.1": (60, 32, 28, _EVT2_KNOWN),
    "evt3": (12, 0, 12, _EVT3_KNOWN),
}
"""Shift of a word's type, shift and bits of its TIME_HIGH, and the valid types."""

_FIRST_BIT = np.array([(m & -m).bit_length() - 1 if m else 0 for m in range(4096)], np.int64)


@numba.njit(inline="never")
def _clean(words: Any, first: int, shift: int, known: Any) -> bool:
    """Whether the next CLEAN_WORDS words all have valid types."""
    for i in range(first, min(first + CLEAN_WORDS, len(words))):
        if not known[np.int64(words[i] >> shift) & 15]:
            return False
    return True


@numba.njit(inline="never")
def _recovers(words: Any, first: int, shift: int, at: int, bits: int, near: int, high: int) -> bool:
    """Whether a TIME_HIGH among the next LOOK_AHEAD words is close to `high`.

    shift, at, bits : shift of a word's type, shift and number of bits of its TIME_HIGH.
    """
    top = (1 << bits) - 1
    for i in range(first, min(first + LOOK_AHEAD, len(words))):
        word = np.int64(words[i])
        if (word >> shift) & 15 == 8 and ((word >> at) - high + near) & top <= 2 * near:
            return True
    return False


@numba.njit(inline="never")
def _time_high(
    words: Any, i: int, shift: int, at: int, bits: int, near: int, state: Any, known: Any
) -> bool:
    """Process the TIME_HIGH at `i`; False, with nothing changed, where new damage starts there.

    One that lies more than half the counter's range behind is a wrap; less behind, a step back;
    ahead, a step forwards. But where time advanced steadily until now, one that is not close to the
    last is damage if a later one is close; else it is taken by the shorter way round.
    """
    mode = state[MODE]
    if mode & WAIT_TIME and not _clean(words, i + 1, shift, known):
        return True  # the words around it are bad, so it is too
    size = 1 << bits
    value = (np.int64(words[i]) >> at) & (size - 1)
    high = state[HIGH]
    if mode & WAIT_START:
        state[HIGH], state[LOW], state[STEADY] = value, 0, 0
        state[MODE] = mode & ~(WAIT_START | WAIT_TIME)
        return True
    ahead = (value - high) & (size - 1)
    if ahead <= near:
        state[STEADY] = min(state[STEADY] + 1, STEADY_ENOUGH)
        state[MODE] = mode & ~(WAIT_HIGH | WAIT_TIME)
        if ahead:
            state[HIGH], state[LOW] = high + ahead, 0
        return True
    steady = state[STEADY] == STEADY_ENOUGH
    if ahead >= size - near and (steady or value < high & (size - 1)):
        step = ahead - size
        mode &= ~WAIT_HIGH
    elif mode & WAIT_HIGH:
        return True
    elif steady:
        if _recovers(words, i + 1, shift, at, bits, near, high):
            return False
        step = ((ahead + size // 2) & (size - 1)) - size // 2
        state[STEADY] = 0
    else:
        step = ahead
        if value < high & (size - 1) and ahead >= size // 2:
            step -= size
        state[STEADY] = 0
    state[HIGH], state[LOW] = high + step, 0
    state[MODE] = mode & ~WAIT_TIME
    return True


@numba.njit(inline="never")
def _begin_damage(state: Any, word: int, wait: int) -> None:
    state[MODE] |= wait
    if state[BAD_FROM] < 0:
        state[BAD_FROM] = word
    state[OPEN] = 1
    state[BAD_TO] = -1


@numba.njit(inline="never")
def _end_damage(state: Any, word: int) -> None:
    """Close the damaged region at `word` if no further word is needed."""
    if state[OPEN] and not state[MODE] & (WAIT_TIME | WAIT_ROW | WAIT_HIGH):
        state[OPEN] = 0
        state[BAD_TO] = word


@numba.njit
def decode_evt3(
    words: Any, i: int, limit: int, first: int, out: Any, state: Any, t0_us: int
) -> tuple[int, int]:
    """Decode the words i to limit.

    words : (m,) uint16, with LOOK_AHEAD words after `limit` unless the file ends before.
    first : index of words[0] in the file.
    out : (n, 2) int64, EVENT_DTYPE as two words per event: time; then x, y, p in 16, 16, 8 bits.
    state : (STATE_SIZE,) int64, in and out.
    t0_us : added to every time.

    Returns the first word that was not decoded, and why the loop stopped.
    """
    n = state[COUNT]
    room = out.shape[0] - 12
    mode = state[MODE]
    row = state[ROW] << 16
    base = state[BASE]
    polarity = state[POLARITY] << 32
    low = state[LOW]
    high_us = t0_us + (state[HIGH] << 12)
    t = high_us + low
    status = MORE
    while i < limit:
        if n > room:
            status = FULL
            break
        word = np.int64(words[np.uint64(i)])
        kind = word >> 12
        if kind == 2:
            if mode == 0:
                at = np.uint64(n)
                out[at, 0] = t
                out[at, 1] = (word & 0x7FF) | row | (word & 0x800) << 21
                n += 1
            elif mode & WAIT_START or not state[OPEN]:
                state[UNTIMED] += 1
        elif kind == 6 and mode & WAIT_TIME == 0:
            low = word & 0xFFF
            t = high_us + low
        elif kind == 0 and mode & ~WAIT_ROW == 0:
            row = (word & 0x7FF) << 16
            if mode:
                mode = 0
                state[MODE] = 0
                _end_damage(state, first + i)
        elif kind == 8:
            state[LOW] = low
            if not _time_high(words, i, 12, 0, 12, NEAR_US >> 12, state, _EVT3_KNOWN):
                if n and mode == 0:
                    status = CUT
                    break
                _begin_damage(state, first + i, WAIT_HIGH)
            _end_damage(state, first + i)
            mode = state[MODE]
            low = state[LOW]
            high_us = t0_us + (state[HIGH] << 12)
            t = high_us + low
        elif kind == 3:
            base = word & 0x7FF
            polarity = (word & 0x800) << 21
        else:
            bad = not _EVT3_KNOWN[kind]
            if kind == 4 or kind == 5:
                mask = word & 0xFFF if kind == 4 else word & 0xFF
                bad = base < 0 or (base > 2036 and mask >> max(2048 - base, 0) != 0)
                if mode == 0 and not bad:
                    while mask:
                        at = np.uint64(n)
                        out[at, 0] = t
                        out[at, 1] = (base + _FIRST_BIT[mask]) | row | polarity
                        n += 1
                        mask &= mask - 1
                elif mode & WAIT_START or (mode and not state[OPEN]):
                    bad = False  # words before the file's start are unknown
                    while mask:
                        state[UNTIMED] += 1
                        mask &= mask - 1
                if base >= 0:
                    base = min(base + (12 if kind == 4 else 8), 4095)
            elif kind == 0:
                row = (word & 0x7FF) << 16
                if not mode & (WAIT_TIME | WAIT_HIGH):
                    mode &= ~WAIT_ROW
                    state[MODE] = mode
                    _end_damage(state, first + i)
            elif kind == 6 and word & 0xFFF >= low and _clean(words, i + 1, 12, _EVT3_KNOWN):
                low = word & 0xFFF  # a time was needed
                t = high_us + low
                mode &= ~WAIT_TIME
                state[MODE] = mode
                _end_damage(state, first + i)
            if bad:
                if n and mode == 0:
                    status = CUT
                    break
                if mode == 0 or not state[OPEN]:
                    _begin_damage(state, first + i, WAIT_TIME | WAIT_ROW)
                else:
                    state[MODE] |= WAIT_TIME | WAIT_ROW
                mode = state[MODE]
                base = np.int64(-1)
        i += 1
    if status == MORE and n > room:
        status = FULL
    state[COUNT] = n
    state[ROW] = row >> 16
    state[BASE] = base
    state[POLARITY] = polarity >> 32
    state[LOW] = low
    return i, status


@numba.njit
def decode_evt2(
    words: Any, i: int, limit: int, first: int, out: Any, state: Any, t0_us: int
) -> tuple[int, int]:
    """As `decode_evt3` for uint32 words; each event has its row and the lower bits of its time."""
    n = state[COUNT]
    room = out.shape[0]
    mode = state[MODE]
    high_us = t0_us + (state[HIGH] << 6)
    low = state[LOW]
    status = MORE
    while i < limit:
        if n >= room:
            status = FULL
            break
        word = np.int64(words[np.uint64(i)])
        kind = word >> 28
        if kind <= 1 and mode == 0:
            low = (word >> 22) & 0x3F
            at = np.uint64(n)
            out[at, 0] = high_us + low
            out[at, 1] = ((word >> 11) & 0x7FF) | (word & 0x7FF) << 16 | kind << 32
            n += 1
        elif kind == 8:
            state[LOW] = low
            if not _time_high(words, i, 28, 0, 28, NEAR_US >> 6, state, _EVT2_KNOWN):
                if n:
                    status = CUT
                    break
                _begin_damage(state, first + i, WAIT_HIGH)
            _end_damage(state, first + i)
            mode = state[MODE]
            low = state[LOW]
            high_us = t0_us + (state[HIGH] << 6)
        elif kind <= 1:
            if mode & WAIT_START:
                state[UNTIMED] += 1
        elif not _EVT2_KNOWN[kind]:
            if n and mode == 0:
                status = CUT
                break
            _begin_damage(state, first + i, WAIT_TIME)
            mode = state[MODE]
        i += 1
    if status == MORE and n >= room:
        status = FULL
    state[COUNT] = n
    state[LOW] = low
    return i, status


@numba.njit
def decode_evt21(
    words: Any, i: int, limit: int, first: int, out: Any, state: Any, t0_us: int
) -> tuple[int, int]:
    """As `decode_evt2` for uint64 words, each with up to 32 events in a row of pixels."""
    n = state[COUNT]
    room = out.shape[0] - 32
    mode = state[MODE]
    high_us = t0_us + (state[HIGH] << 6)
    low = state[LOW]
    status = MORE
    while i < limit:
        if n > room:
            status = FULL
            break
        word = np.int64(words[np.uint64(i)])
        kind = (word >> 60) & 15
        x = (word >> 43) & 0x7FF
        mask = word & 0xFFFFFFFF
        if kind == 8:
            state[LOW] = low
            if not _time_high(words, i, 60, 32, 28, NEAR_US >> 6, state, _EVT2_KNOWN):
                if n:
                    status = CUT
                    break
                _begin_damage(state, first + i, WAIT_HIGH)
            _end_damage(state, first + i)
            mode = state[MODE]
            low = state[LOW]
            high_us = t0_us + (state[HIGH] << 6)
        elif not _EVT2_KNOWN[kind] or (kind <= 1 and x > 2016 and mask >> (2048 - x) != 0):
            if n and mode == 0:
                status = CUT
                break
            _begin_damage(state, first + i, WAIT_TIME)
            mode = state[MODE]
        elif kind <= 1:
            low_here = (word >> 54) & 0x3F
            rest = x | ((word >> 32) & 0x7FF) << 16 | kind << 32
            if mode == 0:
                low = low_here
                while mask:
                    if mask & 1:
                        at = np.uint64(n)
                        out[at, 0] = high_us + low
                        out[at, 1] = rest
                        n += 1
                    rest += 1
                    mask >>= 1
            elif mode & WAIT_START:
                while mask:
                    state[UNTIMED] += 1
                    mask &= mask - 1
        i += 1
    if status == MORE and n > room:
        status = FULL
    state[COUNT] = n
    state[LOW] = low
    return i, status
