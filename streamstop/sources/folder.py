"""A folder of labelled recordings as one stream of segments.

Guarantees:

- Each event of each recording is yielded once or counted once by cause.
- Every yielded event lies within its segment.
- The order depends on the files and the seed alone.
- Memory is bounded. All recordings are read once at opening, to find where segments lie.

Does not:

- Balance classes, or shuffle within a segment.

Which files are recordings, copies of one, labels, or something else is decided in
`streamstop.sources.folder_files`. A recording that cannot be read is damage, and the rest goes on.

The classes of a recording are in the label file beside it (`rec_labels.csv`; or `rec.csv` with the
header of the DVS-Gesture set). Without one, its class is the name of its folder; or, for a file
directly in the given folder, its own name without the suffix. Of a lone `events.txt` in its folder,
two folders down, it is the name of the folder above; `?class=` states it.

DVS-Gesture as tonic unpacks it, `user01_led/4.npy`, is detected by these names: the class is the
file's number, and its table is x, y, p, t with times in ms, on the DVS128.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from streamstop.errors import SourceError, UsageError
from streamstop.events.label_table import LabelOptions, read_label_table
from streamstop.events.labels import (
    LabelInterval,
    LabelTrack,
    Segment,
    apply_class_names,
    sorted_classes,
)
from streamstop.events.packet import Cursor, Damage, Events, Packet, SensorSize, empty_events
from streamstop.formats.base import Recording
from streamstop.sources.base import SourceBase
from streamstop.sources.folder_files import FolderListing, list_recordings
from streamstop.sources.label_files import fit_recording
from streamstop.sources.named_datasets import SETS, DatasetSelection
from streamstop.sources.ordering import ORDERS, Offered, Order
from streamstop.sources.segmentation import (
    SegmentSlice,
    cut_segments,
    raise_on_damage,
    read_slice,
    scan,
)
from streamstop.sources.sensor_check import infer_sensor

MAX_NOTES = 4
"""At most this many different notes on recordings are reported."""

_TONIC_SENSOR = SensorSize(128, 128)

_log = logging.getLogger(__name__)


@dataclass
class _Labelled:
    """A recording with its segments, and its dropped events and damage, not yet reported."""

    name: str
    recording: Recording
    first_us: int
    slices: list[SegmentSlice]
    dropped: Counter[str]
    damage: Sequence[Damage]


class FolderSource(SourceBase):
    """A folder of labelled recordings as a stream; see `streamstop.sources.base.Source`.

    Segments lie end to end in the stream's time: the first starts at 0, each next one at the first
    multiple of `align_us` after the one before, so that no bin holds events of two. Each ends where
    the next starts.

    Parameters
    ----------
    path
        The folder.
    length_us
        Length of a segment; a shorter rest at the end of a recording, or of a labelled
        interval, is dropped as "segment_tail". 0: whole recordings or intervals.
    order
        "shuffled" (by the seed), "round-robin" (one segment of each recording in turn, in
        the order of time within a recording, classes alternating), "by-class" (class after
        class); or a function of the segments (`streamstop.sources.ordering.Order`); the events
        of those that it leaves out are dropped as "held_out".
    limit
        Maximum number of segments; the events of the others are dropped as "segment_limit". 0:
        all.
    seed
        Of the shuffled order.
    align_us
        The width of a bin.
    strict
        Raise an error on damage.
    sensor
        Size in pixels; None takes it from the recordings.
    selection
        The named data set in the folder, and which split of it; None for any folder.
    options
        As in `streamstop.sources.folder_files.list_recordings`.
    label_options
        What the user states about the label files.
    listing
        The recordings, where they are not files of a folder.

    Attributes
    ----------
    notes
        What a report should say about the origin of its segments.
    warned
        Those of the notes that were logged as warnings, and need no second line.

    Raises
    ------
    SourceError
        If the folder or a recording cannot be read, or it holds no recording; if events need a
        larger sensor than any known here, and the size was not given.
    UsageError
        If no segment is left, labels do not fit, or recordings have different sensors.
    DamageError
        If a recording is damaged and `strict`.
    """

    live = False
    origin_us: int | None = 0

    def __init__(
        self,
        path: str,
        *,
        length_us: int = 0,
        order: str | Order = "shuffled",
        limit: int = 0,
        seed: int = 0,
        align_us: int = 10_000,
        strict: bool = False,
        sensor: SensorSize | None = None,
        selection: DatasetSelection | None = None,
        options: Mapping[str, str] | None = None,
        label_options: LabelOptions | None = None,
        listing: FolderListing | None = None,
    ) -> None:
        if isinstance(order, str) and order not in ORDERS:
            raise UsageError(f"segments.order = {order!r} is not one of {', '.join(ORDERS)}")
        self.name = path
        documents: Sequence[str] = ()
        if selection is not None:
            documents = SETS[selection.name].documents
            sensor = sensor or SETS[selection.name].sensor
        files, notes = listing or list_recordings(Path(path), options, documents, sensor)
        self.warned = [] if listing else notes[:]
        for note in self.warned:
            _log.warning("%s: %s", note, path)
        self.notes: Sequence[str] = notes
        if selection is not None:
            kept = set(selection.keep([one.name for one in files]))
            names = [one.name for one in files if one.recording is not None]
            notes += selection.describe(names, kept.intersection(names))
            files = [one for one in files if one.name in kept]
        self._broken: list[Damage] = []
        sensors: dict[SensorSize, str] = {}
        inferred: list[SensorSize] = []
        inferences: Counter[str] = Counter()
        self._recordings: list[_Labelled] = []
        for file in files:
            recording = file.recording
            if recording is None or file.damage is not None:
                self._report_broken(file.damage, strict)
                continue
            known = sensor or (_TONIC_SENSOR if file.tonic else recording.sensor)
            try:
                found = scan(recording, coordinates=known is None, strict=strict)
            except SourceError as error:
                self._report_broken(Damage(0, 0, f"not read: {error}", recording.path), strict)
                continue
            if known is not None:
                sensors.setdefault(known, file.name)
            elif found.events:
                size, refusal = infer_sensor(found)
                if refusal:
                    raise SourceError(f"{refusal}: {Path(path, file.name)}")
                inferred.append(size)
            slices: list[SegmentSlice] = []
            dropped: Counter[str] = Counter()
            if found.events:
                intervals = [LabelInterval(found.first_us, found.last_us + 1, file.label)]
                if file.csv is not None:
                    fix = selection.label_fix(file.name, notes) if selection is not None else None
                    table = read_label_table(file.csv, label_options, fix)
                    fitted = fit_recording(table, recording, found)
                    intervals = fitted.intervals
                    inferences.update(fitted.notes)
                slices, dropped = cut_segments(recording, found, intervals, length_us)
            self._recordings.append(
                _Labelled(
                    file.name,
                    recording,
                    found.first_us,
                    slices,
                    dropped + found.dropped,
                    found.damage,
                )
            )
        self.sensor = _one_sensor(sensors, inferred, path)
        inferences.update(note for one in self._recordings for note in one.recording.notes)
        notes += _joint_notes(inferences, len(self._recordings))
        formats = {one.recording.format for one in self._recordings}
        self.format = formats.pop() if len(formats) == 1 else "folder"
        self.simulated = any(one.recording.simulated for one in self._recordings)
        self.origin_known = self.simulated or all(
            getattr(one.recording, "origin_known", True) for one in self._recordings
        )
        if not any(one.slices for one in self._recordings):
            longest = f" in one of at least {length_us} us" if length_us else ""
            raise UsageError(
                f"no segment is left: none of the {len(files)} recordings holds an event{longest}; "
                f"choose a smaller segments.length_us: {path}"
            )
        self._order = self._chosen(ORDERS[order] if isinstance(order, str) else order, seed, limit)
        self._align_us = align_us
        self.labels: LabelTrack | None = self._track(align_us)
        if note := _single_segments(self.labels):
            notes.append(note)
            self.warned.append(note)
            _log.warning("%s: %s", note, path)

    def held_out(self) -> FolderSource:
        """The segments that the order left out, in the order of files and time, as a stream.

        Its classes are those of the whole folder. Dropped events and damage of the recordings are
        reported by this source, not by that one.
        """
        other = copy(self)
        other._recordings = [replace(one, dropped=Counter(), damage=()) for one in self._recordings]
        other._order, other._left_out = self._left_out, self._order
        other._broken = []
        other.labels = other._track(self._align_us)
        return other

    def segment_events(self, index: int) -> Events:
        """The events of one segment, times from its start, in one array."""
        which, part = self._order[index]
        packets = read_slice(self._recordings[which].recording, part)
        events = np.concatenate([empty_events(), *(packet.events for packet in packets)])
        events["t"] -= part.start_us
        return events

    def _chosen(self, order: Order, seed: int, limit: int) -> list[tuple[int, SegmentSlice]]:
        """The stream's segments, each with its recording's index; the other events are dropped."""
        slices = [(which, one) for which, own in enumerate(self._recordings) for one in own.slices]
        offered = []
        for which, part in slices:
            one = self._recordings[which]
            offered.append(Offered(one.name, part.name, part.start_us - one.first_us))
        chosen = list(order(offered, seed))
        self._left_out = [slices[i] for i in sorted(set(range(len(slices))).difference(chosen))]
        for which, part in self._left_out:
            self._recordings[which].dropped["held_out"] += part.events
        for i in chosen[limit:] if limit else ():
            which, part = slices[i]
            self._recordings[which].dropped["segment_limit"] += part.events
        return [slices[i] for i in chosen[: limit or None]]

    def _track(self, align_us: int) -> LabelTrack:
        """The segments end to end; classes are those of all recordings, used or not."""
        classes = sorted_classes(part.name for one in self._recordings for part in one.slices)
        number = {name: label for label, name in enumerate(classes)}
        segments = []
        now_us = 0
        for which, part in self._order:
            one = self._recordings[which]
            end_us = now_us + -(-(part.end_us - part.start_us) // align_us) * align_us
            segments.append(
                Segment(now_us, end_us, number[part.name], one.name, part.start_us - one.first_us)
            )
            now_us = end_us
        return LabelTrack(apply_class_names(classes, Path(self.name)), segments)

    def __iter__(self) -> Iterator[Packet]:
        """The packets of every segment, in order; the last of each sets `until_us` to its end."""
        assert self.labels is not None
        if self._broken:
            yield Packet(empty_events(), Cursor(self.name), damage=tuple(self._broken))
        reported: set[int] = set()
        used = {which for which, _ in self._order}
        for which in range(len(self._recordings)):
            if which not in used:
                yield from self._account(which, reported)
        for (which, part), segment in zip(self._order, self.labels, strict=True):
            yield from self._account(which, reported)
            held: Packet | None = None
            for packet in read_slice(self._recordings[which].recording, part):
                if held is not None:
                    yield held
                events = packet.events.copy()
                events["t"] += segment.start_us - part.start_us
                held = Packet(events, packet.cursor, dropped=packet.dropped)
            last = held or Packet(empty_events(), Cursor(self.name))
            yield Packet(last.events, last.cursor, segment.end_us, last.dropped)

    def _report_broken(self, damage: Damage | None, strict: bool) -> None:
        """Count a recording that cannot be read as damage; raise DamageError if `strict`."""
        assert damage is not None
        if strict:
            raise_on_damage(damage)
        self._broken.append(damage)

    def _account(self, which: int, reported: set[int]) -> Iterator[Packet]:
        """Report a recording's dropped events and damage, once per pass."""
        one = self._recordings[which]
        if which not in reported and (one.dropped or one.damage):
            at = Cursor(one.recording.path)
            yield Packet(empty_events(), at, dropped=dict(one.dropped), damage=tuple(one.damage))
        reported.add(which)


def _joint_notes(counts: Counter[str], total: int) -> list[str]:
    """What was inferred about all recordings, each once, with the number of recordings."""
    notes = [f"{note} ({n} of {total} recordings)" for note, n in counts.most_common(MAX_NOTES)]
    if len(counts) > MAX_NOTES:
        notes.append(f"{len(counts) - MAX_NOTES} more notes of this kind on its recordings")
    return notes


def _single_segments(track: LabelTrack) -> str:
    """What to say of a stream in which no class comes twice; "" for others."""
    counts = Counter(one.label for one in track)
    if len(counts) < 2 or any(n > 1 for n in counts.values()):
        return ""
    return (
        f"each of the {len(counts)} classes has a single segment, so that every one is predicted "
        "before anything was learned of its class, and an untrained network cannot be right; cut "
        "recordings with segments.length_us, or sort them into a folder per class"
    )


def _one_sensor(stated: dict[SensorSize, str], inferred: list[SensorSize], path: str) -> SensorSize:
    if len(stated) > 1:
        sizes = ", ".join(f"{size} ({name})" for size, name in list(stated.items())[:4])
        raise UsageError(
            f"recordings with different sensors in one folder: {sizes}; separate them, or give "
            f"the size to use with ?sensor=WIDTHxHEIGHT: {path}"
        )
    both = [*stated, *inferred] or [SensorSize(1, 1)]
    return SensorSize(max(s.width for s in both), max(s.height for s in both))
