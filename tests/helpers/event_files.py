"""Makes small event files byte by byte, without the package's own code; reads sources whole."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamstop.events.packet import Damage, Events, Packet, empty_events, make_events

FIELDS = ("t", "x", "y", "p")


def random_events(
    n: int, *, width: int = 128, height: int = 128, seed: int = 0, start_us: int = 1000
) -> Events:
    """`n` events in time order, 0 to 99 us apart."""
    draw = np.random.default_rng(seed)
    t = start_us + np.cumsum(draw.integers(0, 100, n))
    x, y = draw.integers(0, width, n), draw.integers(0, height, n)
    return make_events(t, x, y, draw.integers(0, 2, n) > 0)


def bin_bytes(events: Events) -> bytes:
    """N-MNIST's .bin."""
    return b"".join(
        bytes((int(x), int(y))) + (int(p) << 23 | int(t) % (1 << 23)).to_bytes(3, "big")
        for t, x, y, p in zip(*(events[name] for name in FIELDS), strict=True)
    )


def aedat2_bytes(events: Events, header: str = "# a comment\r\n") -> bytes:
    """AEDAT 2.0 of a DVS128, polarity as jAER has it, rows counted from the bottom."""
    body = b"".join(
        struct.pack(
            ">II", (127 - int(y)) << 8 | (127 - int(x)) << 1 | 1 - int(p), int(t) % (1 << 32)
        )
        for t, x, y, p in zip(*(events[name] for name in FIELDS), strict=True)
    )
    return b"#!AER-DAT2.0\r\n" + header.encode() + body


def davis_bytes(
    events: Events, header: str = "# a comment\r\n", width: int = 346, height: int = 260
) -> bytes:
    """AEDAT 2.0 of a DAVIS, as jAER and v2e write it: both axes count from the bottom right."""
    body = b"".join(
        struct.pack(
            ">II",
            (height - 1 - int(y)) << 22 | (width - 1 - int(x)) << 12 | int(p) << 11,
            int(t) % (1 << 32),
        )
        for t, x, y, p in zip(*(events[name] for name in FIELDS), strict=True)
    )
    return b"#!AER-DAT2.0\r\n" + header.encode() + body


def write_bin(path: Path, events: Events) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bin_bytes(events))
    return path


class Whole:
    """All that a source yielded: its events concatenated, and the packets' other fields."""

    def __init__(self, packets: Iterable[Packet]) -> None:
        self.packets = list(packets)
        arrays = [packet.events for packet in self.packets]
        self.events: Events = np.concatenate([empty_events(), *arrays])
        self.dropped: Counter[str] = Counter()
        self.damage: list[Damage] = []
        for packet in self.packets:
            self.dropped.update(packet.dropped)
            self.damage += packet.damage


def same(left: NDArray[Any], right: NDArray[Any]) -> bool:
    """Whether two arrays of events agree in every field."""
    return len(left) == len(right) and all(
        np.array_equal(left[name], right[name]) for name in FIELDS
    )
