"""Simulated recordings: a pixel model of an event camera in front of moving scenes.

Whatever stores events made here must mark them as simulated.

Guarantees:

- The same seed gives the same events, with the flaws of a real sensor (`pixel`).
- The ground truth of the scenes is known (`gestures`).

Does not:

- Reproduce the statistics of any particular camera.
"""

from __future__ import annotations

from streamstop.simulation.gestures import GESTURES, LIGHTINGS, Subject, render, simulate_gesture
from streamstop.simulation.pixel import DvsPixelModel, PixelParams, scanned_readout

__all__ = [
    "GESTURES",
    "LIGHTINGS",
    "DvsPixelModel",
    "PixelParams",
    "Subject",
    "render",
    "scanned_readout",
    "simulate_gesture",
]
