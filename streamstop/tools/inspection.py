"""Describes a recording: counts, times, rates, pixels, damage.

Guarantees:
- Bounded memory, whatever the file.
- One pass over the file; a folder is read twice, the first time to cut it into segments.
- Figures that do not depend on how the file is cut into packets.

Does not:
- Judge the recording, except for hot pixels (`streamstop.events.hot_pixels`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamstop.errors import StreamstopError, UsageError
from streamstop.events.hot_pixels import HotPixel, hot_pixels
from streamstop.events.label_table import read_label_table
from streamstop.events.labels import sorted_classes
from streamstop.events.packet import Damage, Events, Packet, SensorSize
from streamstop.formats.base import Recording, read_packets
from streamstop.formats.byte_reader import STDIN, open_bytes
from streamstop.formats.detect import detect_format
from streamstop.sources.label_files import label_file_beside
from streamstop.sources.live.registry import is_live
from streamstop.sources.open import kind_of, open_file, open_source, sensor_size, uri_parts
from streamstop.sources.segmentation import RecordingScan, raise_on_damage
from streamstop.sources.sensor_check import SensorProbe, infer_sensor, raise_on_other_sensor
from streamstop.tools.event_statistics import (
    EventRateSeries,
    MaxWindowCounter,
    PixelCounts,
)

GAP_US = 1_000_000
"""A longer time without events, or a longer step of a damaged time, is reported."""

MAX_LISTED = 10
MAX_DAMAGE = 64

COUNTER_BITS = {
    "aedat1": 32,
    "aedat2": 32,
    "dat": 32,
    "nmnist": 23,
    "evt2": 34,
    "evt2.1": 34,
    "evt21": 34,
    "evt3": 24,
}
"""Bits of the time counter, by format, where the reader unwraps it."""

NAMES = {
    "aedat1": "AEDAT 1.0",
    "aedat2": "AEDAT 2.0",
    "folder": "labelled recordings of several formats",
}
"""Names of formats that detection does not distinguish, but the reader does."""

_FAR = 1 << 61

Progress = Callable[[float | None, int], None]
"""Called after each packet with the fraction done (None if unknown) and the number of events."""


class TimeGap(NamedTuple):
    """A time without events: `length_us`, from the event at `t_us` to the next one."""

    t_us: int
    length_us: int


class LabelsInfo(NamedTuple):
    """Labels beside a recording, or of a folder.

    Attributes
    ----------
    path : the label file, or the folder.
    segments : number of labelled intervals.
    classes : class names, sorted.
    error : why the labels cannot be read; "" if they can.
    """

    path: str
    segments: int = 0
    classes: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class RecordingInfo:
    """The description of a recording that `inspect` returns.

    Attributes
    ----------
    path : as given to `inspect`.
    format, format_name : short name and usual name.
    compression : "gzip", "zstd", "xz" or "".
    sensor : width and height in pixels; None if the file neither gives it nor has any event, or
        its events fit no sensor known here.
    sensor_from : "header", "reader" (inferred from the layout of the events, see `notes`), "asked",
        "inferred" (from the coordinates), "recordings" (of a folder) or "".
    refusal : why a run refuses the recording as it is given; "" where it does not.
    notes : what its reader inferred because the file does not say it, a line each.
    file_bytes : size on disk; None for standard input.
    recordings : number of files; more than one in a folder.
    events, on : number of events, and of ON events.
    t_start_us, t_end_us : earliest and latest time of any event; None without events.
    peak_10ms_hz, peak_1s_hz : events per second in the fullest window of 10 ms and of 1 s; windows
        are aligned to the first event. None without events; peak_1s_hz is None for recordings
        shorter than 1 s.
    series, series_us : events in windows of `series_us` from the first event on, at most
        `streamstop.tools.event_statistics.MAX_SERIES` windows. An event earlier than the first is
        counted in the first window.
    outside : events outside the sensor.
    active_pixels : pixels of the sensor with any event.
    hot, hot_total, hot_events : the hottest pixels; number of all hot pixels, and of their events.
    time_reversals, largest_step_back_us : events earlier than the one before, and the largest
        such step.
    gaps, gaps_total : the longest gaps of more than GAP_US, and the number of all.
    wraps : wraps of the format's time counter; None if the format has no such counter.
    duplicates : events equal to the one before in every field.
    dropped : entries of the file that are no brightness changes, by cause.
    damage, damage_total : the first MAX_DAMAGE damaged places, and the number of all.
    lost_bytes, lost_us : sums over all damaged places.
    simulated : whether the file says that no camera recorded these events.
    labels : labels beside the recording; None without any.
    pixels : OFF and ON events per pixel, shape (2, height, width), of the part of the sensor that
        has events.
    """

    path: str
    format: str
    format_name: str
    compression: str
    sensor: SensorSize | None
    sensor_from: str
    refusal: str
    notes: tuple[str, ...]
    file_bytes: int | None
    recordings: int
    events: int
    on: int
    t_start_us: int | None
    t_end_us: int | None
    peak_10ms_hz: float | None
    peak_1s_hz: float | None
    series: tuple[int, ...]
    series_us: int
    outside: int
    active_pixels: int
    hot: tuple[HotPixel, ...]
    hot_total: int
    hot_events: int
    time_reversals: int
    largest_step_back_us: int
    gaps: tuple[TimeGap, ...]
    gaps_total: int
    wraps: int | None
    duplicates: int
    dropped: Mapping[str, int]
    damage: tuple[Damage, ...]
    damage_total: int
    lost_bytes: int
    lost_us: int
    simulated: bool
    labels: LabelsInfo | None
    pixels: NDArray[np.uint32] = field(repr=False, compare=False)

    @property
    def duration_us(self) -> int:
        """Time from the earliest to the latest event."""
        if self.t_start_us is None or self.t_end_us is None:
            return 0
        return self.t_end_us - self.t_start_us

    @property
    def mean_hz(self) -> float | None:
        """Mean number of events per second; None if the duration is 0."""
        return self.events / (self.duration_us / 1e6) if self.duration_us else None

    @property
    def on_share(self) -> float | None:
        """Fraction of events that are ON; None without events."""
        return self.on / self.events if self.events else None

    def as_json(self) -> dict[str, Any]:
        """All fields as plain data; times in us, rates in events per second."""
        pixels = self.sensor.width * self.sensor.height if self.sensor else 0
        return {
            "path": self.path,
            "format": self.format,
            "format_name": self.format_name,
            "compression": self.compression or None,
            "sensor": list(self.sensor) if self.sensor else None,
            "sensor_from": self.sensor_from or None,
            "refusal": self.refusal or None,
            "notes": list(self.notes),
            "file_bytes": self.file_bytes,
            "recordings": self.recordings,
            "simulated": self.simulated,
            "events": self.events,
            "t_start_us": self.t_start_us,
            "t_end_us": self.t_end_us,
            "duration_us": self.duration_us,
            "rate_hz": {
                "mean": self.mean_hz,
                "peak_10ms": self.peak_10ms_hz,
                "peak_1s": self.peak_1s_hz,
            },
            "rate_over_time": {"window_us": self.series_us, "events": list(self.series)},
            "on_share": self.on_share,
            "outside_sensor": self.outside,
            "active_pixel_share": self.active_pixels / pixels if pixels else None,
            "hot_pixels": {
                "total": self.hot_total,
                "event_share": self.hot_events / self.events if self.events else None,
                "hottest": [one._asdict() for one in self.hot],
            },
            "time_reversals": self.time_reversals,
            "largest_step_back_us": self.largest_step_back_us,
            "gaps": {"total": self.gaps_total, "longest": [one._asdict() for one in self.gaps]},
            "wraps_undone": self.wraps,
            "duplicates": self.duplicates,
            "dropped": dict(self.dropped),
            "damage": [
                {
                    "offset": one.offset,
                    "lost_bytes": one.lost_bytes,
                    "lost_us": one.lost_us,
                    "reason": one.reason,
                }
                for one in self.damage
            ],
            "damage_total": self.damage_total,
            "lost_bytes": self.lost_bytes,
            "lost_us": self.lost_us,
            "labels": self.labels._asdict() if self.labels else None,
        }


def inspect(
    uri: str,
    *,
    sensor: SensorSize | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> RecordingInfo:
    """Read a recording, or a folder of labelled recordings, to its end and describe it.

    Parameters
    ----------
    uri : a path, with options of the format after a `?`; see
        `streamstop.sources.open.open_source`.
    sensor : width and height in pixels, if the file does not give them.
    strict : stop at the first damage.
    progress : called after each packet.

    Returns
    -------
    RecordingInfo

    Raises
    ------
    SourceError
        If the recording cannot be opened, or reading fails.
    UsageError
        If `uri` is a camera or an address, or `sensor` contradicts the file.
    DamageError
        At the first damage, if `strict`.

    Examples
    --------
    >>> from streamstop.config.bundled import bundled_path
    >>> path = bundled_path("recordings/gestures/simulated_user01_fluorescent.aedat4")
    >>> info = inspect(str(path))
    >>> info.format, str(info.sensor), info.simulated
    ('aedat4', '128x128', True)
    """
    if is_live(uri):
        raise UsageError(f"inspect reads recordings; this is a live source, record it first: {uri}")
    path, options = uri_parts(uri)
    if "sensor" in options:
        sensor = sensor_size(options.pop("sensor"))
    if kind_of(path) == "folder":
        return _inspect_folder(uri, path, sensor, strict, progress)
    recording = open_file(path, options, sensor)
    path = recording.path  # without the name of a library that reads it
    known = detect_format(path)
    raise_on_other_sensor(recording, sensor)
    with open_bytes(path) as data:
        compression = data.compression
    size_bytes = None if path == STDIN else Path(path).stat().st_size
    total = None if compression or recording.format in ("npz", "hdf5") else size_bytes
    given = sensor or recording.sensor
    found = _InfoBuilder(given)
    probe = SensorProbe(sensor) if sensor is not None and recording.sensor != sensor else None
    for packet in read_packets(recording):
        found.add(packet, strict)
        if probe is not None:
            probe.add(packet.events)
        if progress is not None:
            progress(min(packet.cursor.offset / total, 1.0) if total else None, found.events)
    size, refusal = (given, "") if given else found.inferred_sensor()
    return found.result(
        path=uri,
        format=recording.format,
        format_name=NAMES.get(recording.format, known.name if known else recording.format),
        compression=compression,
        sensor=size,
        sensor_from="asked" if "chip" in options else _sensor_from(recording, sensor),
        refusal=probe.refusal if probe is not None else refusal,
        notes=tuple(recording.notes),
        file_bytes=size_bytes,
        recordings=1,
        wraps=_wraps(recording, found),
        simulated=recording.simulated,
        labels=_labels_beside(path),
    )


def _sensor_from(recording: Recording, sensor: SensorSize | None) -> str:
    """Where the size is from, for `RecordingInfo.sensor_from`."""
    if recording.sensor is not None and not recording.sensor_inferred:
        return "header"
    if sensor is not None:
        return "asked"
    return "reader" if recording.sensor is not None else "inferred"


def packets_of(uri: str, sensor: SensorSize | None = None) -> Iterator[Packet]:
    """The packets of a recording or folder, read again."""
    path, options = uri_parts(uri)
    if "sensor" in options:
        sensor = sensor_size(options.pop("sensor"))
    if kind_of(path) == "folder":
        return iter(open_source(uri, sensor=sensor))
    return read_packets(open_file(path, options, sensor))


def _inspect_folder(
    uri: str, path: str, sensor: SensorSize | None, strict: bool, progress: Progress | None
) -> RecordingInfo:
    """Describe the segments of a folder, one after the other in time, as a run reads them."""
    source = open_source(uri, sensor=sensor, strict=strict)
    found = _InfoBuilder(source.sensor)
    segments = source.labels or ()
    end_us = max((one.end_us for one in segments), default=0)
    for packet in source:
        found.add(packet, strict)
        if progress is not None:
            done = packet.until_us / end_us if packet.until_us and end_us else None
            progress(done, found.events)
    classes = source.labels.classes if source.labels else ()
    return found.result(
        path=uri,
        format=source.format,
        format_name=NAMES.get(source.format, f"folder of labelled {source.format} recordings"),
        compression="",
        sensor=source.sensor,
        sensor_from="asked" if sensor else "recordings",
        refusal="",
        notes=tuple(source.notes),
        file_bytes=None,
        recordings=len({one.recording for one in segments}),
        wraps=None,
        simulated=source.simulated,
        labels=LabelsInfo(path, len(segments), classes),
    )


def _wraps(recording: Recording, found: _InfoBuilder) -> int | None:
    bits = COUNTER_BITS.get(recording.format)
    if bits is None or found.first_us is None or found.latest_us is None:
        return None
    return (found.latest_us >> bits) - (found.first_us >> bits)


def _labels_beside(path: str) -> LabelsInfo | None:
    found = label_file_beside(path)
    if found is None:
        return None
    try:
        rows = read_label_table(found).rows
    except (StreamstopError, OSError) as error:
        return LabelsInfo(found, error=str(error))
    return LabelsInfo(found, len(rows), sorted_classes(one.name for one in rows))


class _InfoBuilder:
    """Collects the fields of a RecordingInfo packet by packet, in bounded memory.

    sensor : width and height, if known before the events are read.
    """

    def __init__(self, sensor: SensorSize | None) -> None:
        self._sensor = sensor
        self._outside = 0
        self.events = 0
        self.first_us: int | None = None
        self.earliest_us: int | None = None
        self.latest_us: int | None = None
        self._last: Events | None = None
        self._on = self._reversals = self._step_back_us = self._duplicates = 0
        self._gaps: list[TimeGap] = []
        self._gaps_total = 0
        self._dropped: Counter[str] = Counter()
        self._damage: list[Damage] = []
        self._damage_total = self._lost_bytes = self._lost_us = 0
        self._columns, self._rows = np.zeros((2, 1 << 16), np.int64)
        self._pixels = PixelCounts()
        self._fullest_10ms, self._fullest_1s = MaxWindowCounter(10_000), MaxWindowCounter(1_000_000)
        self._series = EventRateSeries()

    def add(self, packet: Packet, strict: bool) -> None:
        """Count a packet."""
        for damage in packet.damage:
            if strict:
                raise_on_damage(damage)
            self._damage_total += 1
            self._lost_bytes += damage.lost_bytes
            self._lost_us += damage.lost_us or 0
            if len(self._damage) < MAX_DAMAGE:
                self._damage.append(damage)
        self._dropped.update(packet.dropped)
        events = packet.events
        if not len(events):
            return
        if self.first_us is None:
            self.first_us = self.earliest_us = self.latest_us = int(events["t"][0])
        assert self.earliest_us is not None
        assert self.latest_us is not None
        self.events += len(events)
        self._on += int(np.count_nonzero(events["p"]))
        self.earliest_us = min(self.earliest_us, int(events["t"].min()))
        self.latest_us = max(self.latest_us, int(events["t"].max()))
        self._columns += np.bincount(events["x"], minlength=1 << 16)
        self._rows += np.bincount(events["y"], minlength=1 << 16)
        self._pixels.add(events)
        if self._sensor is not None:
            width, height = self._sensor
            self._outside += int(np.count_nonzero((events["x"] >= width) | (events["y"] >= height)))
        t = events["t"].clip(-_FAR, _FAR)  # so that differences stay within 64 bits
        self._step(events, t)
        since_us = t - max(min(self.first_us, _FAR), -_FAR)
        for windows in (self._fullest_10ms, self._fullest_1s, self._series):
            windows.add(since_us)

    def _step(self, events: Events, t: NDArray[np.int64]) -> None:
        """Compare neighbouring events: steps back, gaps, duplicates."""
        before = self._last
        steps = np.diff(t)
        same = np.ones(len(steps), np.bool_)
        for name in ("t", "x", "y", "p"):
            same &= events[name][1:] == events[name][:-1]
        starts = t[:-1]
        if before is not None:
            last_us = int(before["t"][0].clip(-_FAR, _FAR))
            steps = np.concatenate([[int(t[0]) - last_us], steps])
            starts = np.concatenate([[last_us], starts])
            self._duplicates += all(before[name][0] == events[name][0] for name in ("t", *"xyp"))
        self._duplicates += int(np.count_nonzero(same))
        self._last = events[-1:].copy()
        back = steps < 0
        if back.any():
            self._reversals += int(np.count_nonzero(back))
            self._step_back_us = max(self._step_back_us, -int(steps.min()))
        for at in np.flatnonzero(steps > GAP_US)[:MAX_LISTED]:
            self._gaps.append(TimeGap(int(starts[at]), int(steps[at])))
        self._gaps_total += int(np.count_nonzero(steps > GAP_US))
        self._gaps = sorted(self._gaps, key=lambda gap: -gap.length_us)[:MAX_LISTED]

    def inferred_sensor(self) -> tuple[SensorSize | None, str]:
        """The sensor that the events fit, and why a run refuses them; None where it would."""
        if not self.events:
            return None, ""
        sensor, refusal = infer_sensor(
            RecordingScan(events=self.events, columns=self._columns, rows=self._rows)
        )
        return None if refusal else sensor, refusal

    def result(self, *, sensor: SensorSize | None, sensor_from: str, **known: Any) -> RecordingInfo:
        """The description; `known` comes from the recording itself."""
        pixels = self._pixels.of(sensor)
        counts = pixels[0] + pixels[1]
        hot = hot_pixels(counts)
        outside = self._outside
        if self._sensor is None and sensor is not None:  # smaller than the grid, so that is exact
            outside = self.events - int(counts.sum(dtype=np.int64))
        passed_s = self._series.used and ((self.latest_us or 0) - (self.first_us or 0) >= 1_000_000)
        return RecordingInfo(
            sensor=sensor,
            sensor_from=sensor_from if sensor else "",
            events=self.events,
            on=self._on,
            t_start_us=self.earliest_us,
            t_end_us=self.latest_us,
            peak_10ms_hz=self._fullest_10ms.most * 100.0 if self.events else None,
            peak_1s_hz=float(self._fullest_1s.most) if passed_s else None,
            series=tuple(self._series.counts[: self._series.used].tolist()),
            series_us=self._series.width_us,
            outside=outside,
            active_pixels=int(np.count_nonzero(counts)),
            hot=tuple(hot[:MAX_LISTED]),
            hot_total=len(hot),
            hot_events=sum(one.events for one in hot),
            time_reversals=self._reversals,
            largest_step_back_us=self._step_back_us,
            gaps=tuple(self._gaps),
            gaps_total=self._gaps_total,
            duplicates=self._duplicates,
            dropped=dict(self._dropped),
            damage=tuple(self._damage),
            damage_total=self._damage_total,
            lost_bytes=self._lost_bytes,
            lost_us=self._lost_us,
            pixels=pixels,
            **known,
        )
