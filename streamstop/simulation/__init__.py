"""Recordings without a camera: a pixel model of an event camera in front of moving scenes.

What comes out of here is simulated, and whatever keeps it must say so. It promises events that
are the same for the same seed, with the flaws a real sensor has (`pixel`), and scenes whose truth
is known (`gestures`). It does not promise the statistics of any particular camera.
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
