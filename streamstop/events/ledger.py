"""The ledger: where every event of a run went. received = binned + dropped + rejected + pending."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from streamstop.events.binning import Binner
from streamstop.events.packet import Damage, Packet

MAX_DAMAGE_LISTED = 64
"""Further stretches of damage are counted, not listed."""


class EventLedger:
    """Counts of one run. `add` each packet as it comes, before its events are binned."""

    def __init__(self, binner: Binner) -> None:
        self._binner = binner
        self._handed_over = 0
        self.dropped: Counter[str] = Counter()
        self.damage: list[Damage] = []
        self.damage_count = 0

    def add(self, packet: Packet) -> None:
        """Enter a packet's events, its source's drops and its damage."""
        self._handed_over += len(packet.events)
        self.dropped.update(packet.dropped)
        self.damage_count += len(packet.damage)
        self.damage += packet.damage[: MAX_DAMAGE_LISTED - len(self.damage)]

    @property
    def received(self) -> int:
        """Events that came in: handed over by the source or dropped by it."""
        return self._handed_over + self.dropped.total()

    @property
    def unaccounted(self) -> int:
        """received - (binned + dropped + rejected + pending): 0, or an event went missing."""
        rejected = sum(self._binner.rejected.values())
        return self._handed_over - (self._binner.binned + rejected + self._binner.pending)

    def as_dict(self) -> dict[str, Any]:
        """What ledger.json and summary.json say."""
        return {
            "received": self.received,
            "binned": self._binner.binned,
            "dropped": dict(self.dropped),
            "rejected": {cause: n for cause, n in self._binner.rejected.items() if n},
            "pending": self._binner.pending,
            "damage": [asdict(d) for d in self.damage],
            "damage_count": self.damage_count,
            "jumps": self._binner.jumps,
        }
