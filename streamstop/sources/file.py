"""A single file as a source, in its own time, with labels from a CSV if there are any.

Guarantees:

- Every event of the file's reader, in the file's order and with the file's times.

Does not:

- Take labels for standard input, which can be read only once: with labels a file is read twice, the
  first time to check whether they fit. The sensor of standard input has to be known, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from streamstop.errors import SourceError, UsageError
from streamstop.events.label_table import read_label_table
from streamstop.events.labels import LabelTrack
from streamstop.events.packet import Packet, SensorSize
from streamstop.formats.base import Recording, read_packets
from streamstop.formats.byte_reader import STDIN
from streamstop.formats.time_range import TimeRange
from streamstop.sources.base import SourceBase
from streamstop.sources.label_files import fit_recording, split_label_uri
from streamstop.sources.segmentation import (
    RecordingScan,
    label_track,
    raise_on_damage,
    scan,
)
from streamstop.sources.sensor_check import check_sensor, infer_sensor


class FileSource(SourceBase):
    """One recording as a stream; see `streamstop.sources.base.Source`.

    Parameters
    ----------
    name
        What the user called it.
    recording
        The file.
    labels
        Path of a label file, with options as in `labels.csv?unit=s`, or None. Its times are the
        recording's own, or count from its first event if that fits; see
        `streamstop.events.label_times`.
    length_us
        Cuts the labelled intervals into segments of this length; a shorter rest of an interval
        has no label. 0: the intervals themselves. The order is that of time.
    limit
        Maximum number of labelled segments; the stream ends after the last of them. 0: all.
    strict
        Stop at the first damage.
    sensor
        Size in pixels, where the file does not contain it; None: the smallest common one that
        holds the events, for which the file is read once.

    Raises
    ------
    SourceError
        If the file cannot be read; if its events need a larger sensor than any known here, and the
        size was not given.
    UsageError
        If labels do not fit, or the sensor differs from the file's, or does not hold its events.
    """

    live = False
    origin_us: int | None = None

    def __init__(
        self,
        name: str,
        recording: Recording,
        *,
        labels: str | None = None,
        length_us: int = 0,
        limit: int = 0,
        strict: bool = False,
        sensor: SensorSize | None = None,
    ) -> None:
        self.name = name
        self.format = recording.format
        self.simulated = recording.simulated
        self.origin_known = getattr(recording, "origin_known", True)
        self.notes: Sequence[str] = recording.notes
        self.labels: LabelTrack | None = None
        self._recording = recording
        self._strict = strict
        found: RecordingScan | None = None
        size = sensor or recording.sensor
        if recording.path == STDIN:
            _check_once(size, labels)
        if size is None:
            found = scan(recording, coordinates=True)
            size, refusal = infer_sensor(found)
            if refusal:
                raise SourceError(f"{refusal}: {name}")
        elif sensor is not None:
            check_sensor(recording, sensor)
        self.sensor = size
        self._last_us: int | None = None
        self._events = 0
        if labels is not None:
            found = found or scan(recording, coordinates=False, strict=strict)
            self.labels, notes = _track(name, labels, recording, found, length_us, limit)
            self.notes = (*self.notes, *notes)
            if limit:
                self._last_us, self._events = self.labels.segments[-1].end_us, found.events

    def __iter__(self) -> Iterator[Packet]:
        """The packets of the file; where `limit` ends the stream, the rest is counted as dropped.

        Raises
        ------
        DamageError
            At the first damage, if `strict`, after what lies before it.
        """
        passed = 0
        for packet in read_packets(self._recording):
            if packet.damage and self._strict:
                raise_on_damage(packet.damage[0])
            beyond = packet.events["t"] >= self._last_us if self._last_us is not None else None
            if beyond is not None and beyond.any():
                kept = packet.events[: int(beyond.argmax())]
                rest = self._events - passed - len(kept)
                dropped = {**packet.dropped, "segment_limit": rest}
                yield Packet(kept, packet.cursor, self._last_us, dropped, packet.damage)
                return
            passed += len(packet.events)
            yield packet


def _check_once(size: SensorSize | None, labels: str | None) -> None:
    """Check that standard input needs to be read only once."""
    if size is None:
        raise UsageError(
            "standard input can be read only once, and its format does not contain the sensor; "
            "give it with -?sensor=WIDTHxHEIGHT: -"
        )
    if labels is not None:
        raise UsageError(
            "standard input can be read only once, and labels need a second pass to check whether "
            "they fit; save the recording to a file: -"
        )


def _track(
    name: str, labels: str, recording: Recording, found: RecordingScan, length_us: int, limit: int
) -> tuple[LabelTrack, tuple[str, ...]]:
    """The label track, and what was inferred about it.

    For a time range of a recording: the labels inside it, clipped to it.
    """
    if not found.events:
        raise UsageError(f"the recording holds no events for labels to fit: {name}")
    path, options = split_label_uri(labels)
    table = read_label_table(path, options)
    if not isinstance(recording, TimeRange):
        fitted = fit_recording(table, recording, found)
        track = label_track(name, path, fitted.intervals, found.first_us, length_us, limit)
        return track, fitted.notes
    whole = scan(recording.whole, coordinates=False)
    fitted = fit_recording(table, recording.whole, whole)
    intervals = recording.clip(fitted.intervals)
    if not intervals:
        raise UsageError(f"no labelled interval lies between start_us and stop_us: {name}")
    return label_track(name, path, intervals, whole.first_us, length_us, limit), fitted.notes
