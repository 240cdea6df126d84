"""The event ledger of a run: received = binned + dropped + rejected + pending."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from streamstop.events.binning import Binner
from streamstop.events.packet import Damage, Packet

MAX_DAMAGE_LISTED = 64
"""Further damage is counted, not listed."""


class EventLedger:
    """Counts the events of one run. Call `add` with each packet, before its events are binned."""

    def __init__(self, binner: Binner) -> None:
        self._binner = binner
        self._handed_over = 0
        self.dropped: Counter[str] = Counter()
        self.damage: list[Damage] = []
        self.damage_count = 0

    def add(self, packet: Packet) -> None:
        """Count a packet's events, the drops of its source and its damage."""
        self._handed_over += len(packet.events)
        self.dropped.update(packet.dropped)
        self.damage_count += len(packet.damage)
        self.damage += packet.damage[: MAX_DAMAGE_LISTED - len(self.damage)]

    @property
    def received(self) -> int:
        """Events that arrived: delivered by the source, or dropped by it."""
        return self._handed_over + self.dropped.total()

    @property
    def unaccounted(self) -> int:
        """Received - (binned + dropped + rejected + pending): 0, unless an event is lost."""
        rejected = sum(self._binner.rejected.values())
        return self._handed_over - (self._binner.binned + rejected + self._binner.pending)

    def as_dict(self) -> dict[str, Any]:
        """The content of ledger.json, and the entry in summary.json."""
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
