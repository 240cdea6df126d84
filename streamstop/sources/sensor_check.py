"""Whether a recording's events fit a sensor's size: what a run refuses, and `inspect` foretells.

Guarantees:

- One answer for all who ask: a run, `convert` and `inspect` take it from here.
"""

from __future__ import annotations

from itertools import islice

import numpy as np

from streamstop.errors import UsageError
from streamstop.events.packet import COMMON_SENSORS, Events, SensorSize
from streamstop.formats.base import Recording, read_packets
from streamstop.formats.byte_reader import STDIN
from streamstop.sources.segmentation import RecordingScan, most_common_sensor

PROBE_PACKETS = 16
"""Number of packets in which events are checked against the sensor that the user gave."""


class SensorProbe:
    """Checks the size that the user gave against a recording's first packets.

    Parameters
    ----------
    sensor
        Size in pixels.
    """

    def __init__(self, sensor: SensorSize) -> None:
        self._sensor = sensor
        self._packets = self._events = self._outside = 0
        self._columns = self._rows = 0

    def add(self, events: Events) -> None:
        """Look at a packet's events; those after the first PROBE_PACKETS packets do not count."""
        if self._packets >= PROBE_PACKETS:
            return
        x, y = events["x"], events["y"]
        self._packets += 1
        self._events += len(x)
        self._outside += int(((x >= self._sensor.width) | (y >= self._sensor.height)).sum())
        self._columns = max(self._columns, int(x.max(initial=0)))
        self._rows = max(self._rows, int(y.max(initial=0)))

    @property
    def refusal(self) -> str:
        """Why the size is refused; "" where it is not."""
        if self._outside * 100 <= self._events:
            return ""
        return (
            f"{self._outside} of the first {self._events} events lie outside the sensor of "
            f"{self._sensor}: columns go up to {self._columns} and rows to {self._rows}; give its "
            "true size with ?sensor=WIDTHxHEIGHT"
        )


def raise_on_other_sensor(recording: Recording, sensor: SensorSize | None) -> None:
    """Raise UsageError if the file states another sensor than the user gave."""
    if recording.sensor_inferred or sensor is None:
        return
    if recording.sensor not in (None, sensor):
        raise UsageError(
            f"the file's sensor is {recording.sensor}, not {sensor}; leave the size out, the file "
            f"contains it: {recording.path}"
        )


def check_sensor(recording: Recording, sensor: SensorSize) -> None:
    """Check the sensor that the user gave against the file, or against its first events.

    Raises
    ------
    UsageError
        If it differs from the file's, or does not hold the events.
    """
    raise_on_other_sensor(recording, sensor)
    if recording.sensor == sensor:
        return
    if recording.path == STDIN:
        return  # it cannot be read again; events outside are rejected and counted
    probe = SensorProbe(sensor)
    for packet in islice(read_packets(recording), PROBE_PACKETS):
        probe.add(packet.events)
    if probe.refusal:
        raise UsageError(f"{probe.refusal}: {recording.path}")


def infer_sensor(found: RecordingScan) -> tuple[SensorSize, str]:
    """The sensor that a recording's events fit, and why that is refused.

    Parameters
    ----------
    found
        A scan with coordinates.

    Returns
    -------
    sensor : SensorSize
        The smallest common one that holds the events; else as far as they reach.
    refusal : str
        Why nothing is done with it unasked; "" for a common one.
    """
    sensor = most_common_sensor(found)
    if sensor in COMMON_SENSORS or found.columns is None or found.rows is None:
        return sensor, ""
    step = int(np.gcd.reduce(np.concatenate([found.columns.nonzero()[0], found.rows.nonzero()[0]])))
    steps = f"; all columns and rows are multiples of {step}" if step > 1 else ""
    return sensor, (
        f"coordinates reach {sensor.width} x {sensor.height}, beyond any event camera known here"
        f"{steps}; give ?sensor=WIDTHxHEIGHT if it is right"
    )
