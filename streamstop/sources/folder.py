"""A folder of labelled recordings as one stream of segments.

Guarantees:

- Each event of each recording is yielded once or counted once by cause.
- Every yielded event lies within its segment.
- The order depends on the files and the seed alone.
- Memory is bounded. All recordings are read once at opening, to find where segments lie.

Does not:

- Balance classes, or shuffle within a segment.

The classes of a recording are in the label CSV beside it (`rec_labels.csv` or `rec.csv` beside
`rec.aedat4`, with the columns of the DVS-Gesture set). Without one, its class is the name of its
folder; or, for a file directly in the given folder, its own name without the suffix.

DVS-Gesture as tonic unpacks it, `user01_led/4.npy`, is detected by these names: the class is the
file's number, and its table is x, y, p, t with times in ms, on the DVS128.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from streamstop.errors import SourceError, UsageError
from streamstop.events.labels import (
    CLASS_NAMES,
    LabelInterval,
    LabelTrack,
    Segment,
    align_intervals,
    apply_class_names,
    is_label_csv,
    label_names,
    read_label_csv,
    sorted_classes,
)
from streamstop.events.packet import Cursor, Damage, Packet, SensorSize, empty_events
from streamstop.formats.base import Recording, read_start
from streamstop.formats.detect import HEAD_BYTES, detect_format, open_recording
from streamstop.sources.base import SourceBase
from streamstop.sources.named_datasets import SETS, DatasetSelection
from streamstop.sources.ordering import ORDERS, Offered, Order
from streamstop.sources.segmentation import (
    SegmentSlice,
    cut_segments,
    most_common_sensor,
    read_slice,
    scan,
)

DOCUMENTS = ("README", "LICENSE", "LICENCE", "MANIFEST")
"""Files of these names, with any suffix, are ignored without a message."""

_TONIC_GESTURE = re.compile(r"(?:.*/)?user\d\d_[a-z_]+/(\d+)\.npy")
_TONIC_OPTIONS = {"columns": "xypt", "unit": "ms"}
_TONIC_SENSOR = SensorSize(128, 128)

_log = logging.getLogger(__name__)


class _Found(NamedTuple):
    """A recording in the folder: its relative path, its class or its label CSV.

    tonic : whether it is one of DVS-Gesture's as tonic unpacks them.
    """

    name: str
    label: str
    csv: Path | None
    tonic: bool = False


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

    Attributes
    ----------
    notes
        What a report should say about the origin of its segments.

    Raises
    ------
    SourceError
        If the folder or a recording cannot be read, or it holds no recording.
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
    ) -> None:
        if isinstance(order, str) and order not in ORDERS:
            raise UsageError(f"segments.order = {order!r} is not one of {', '.join(ORDERS)}")
        self.name = path
        notes: list[str] = []
        self.notes: Sequence[str] = notes
        files = _labelled_files(Path(path), SETS[selection.name].documents if selection else ())
        if selection is not None:
            sensor = sensor or SETS[selection.name].sensor
            names = [one.name for one in files]
            kept = set(selection.keep(names))
            notes += selection.describe(names, kept)
            files = [one for one in files if one.name in kept]
        sensors: dict[SensorSize, str] = {}
        inferred: list[SensorSize] = []
        self._recordings: list[_Labelled] = []
        for file in files:
            options = _TONIC_OPTIONS if file.tonic else None
            recording = open_recording(str(Path(path, file.name)), options)
            known = sensor or (_TONIC_SENSOR if file.tonic else recording.sensor)
            found = scan(recording, coordinates=known is None, strict=strict)
            if known is not None:
                sensors.setdefault(known, file.name)
            elif found.events:
                inferred.append(most_common_sensor(found))
            slices: list[SegmentSlice] = []
            dropped: Counter[str] = Counter()
            if found.events:
                intervals = [LabelInterval(found.first_us, found.last_us + 1, file.label)]
                if file.csv is not None:
                    fix = selection.label_fix(file.name, notes) if selection is not None else None
                    read = read_label_csv(file.csv, fix)
                    intervals = align_intervals(read, found.first_us, found.last_us, file.csv)
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

    def held_out(self) -> FolderSource:
        """The segments that the order left out, in the order of files and time, as a stream.

        Its classes are those of the whole folder. Dropped events and damage of the recordings are
        reported by this source, not by that one.
        """
        other = copy(self)
        other._recordings = [replace(one, dropped=Counter(), damage=()) for one in self._recordings]
        other._order, other._left_out = self._left_out, self._order
        other.labels = other._track(self._align_us)
        return other

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

    def _account(self, which: int, reported: set[int]) -> Iterator[Packet]:
        """Report a recording's dropped events and damage, once per pass."""
        one = self._recordings[which]
        if which not in reported and (one.dropped or one.damage):
            at = Cursor(one.recording.path)
            yield Packet(empty_events(), at, dropped=dict(one.dropped), damage=tuple(one.damage))
        reported.add(which)


def _labelled_files(root: Path, documents: Sequence[str] = ()) -> list[_Found]:
    """The recordings under a folder in a fixed order, each with its class or label CSV.

    documents : names of files that belong to the data set and are neither.
    """
    found: list[_Found] = []
    unknown: list[Path] = []
    label_files: set[Path] = set()
    for path in _files(root):
        if path == root / CLASS_NAMES:
            continue
        if path.suffix.lower() == ".csv" and _holds_labels(path):
            label_files.add(path)
        elif detect_format(str(path)) is not None:
            tonic = _TONIC_GESTURE.fullmatch(path.as_posix())
            label = path.stem if tonic or path.parent == root else path.parent.name
            found.append(_Found(path.relative_to(root).as_posix(), label, None, bool(tonic)))
        elif path.stem.upper() not in DOCUMENTS and path.name not in documents:
            unknown.append(path)
    for i, one in enumerate(found):
        beside = label_names(root / one.name)
        found[i] = one._replace(csv=next((csv for csv in beside if csv in label_files), None))
    unknown += sorted(label_files - {one.csv for one in found})
    if unknown:
        names = ", ".join(path.relative_to(root).as_posix() for path in unknown[:5])
        files = "1 file" if len(unknown) == 1 else f"{len(unknown)} files"
        more = ", ..." if len(unknown) > 5 else ""
        _log.warning(
            "%s ignored, neither recordings nor labels of one (%s%s): %s",
            files,
            names,
            more,
            root,
        )
    if not found:
        raise SourceError(
            f"no recording among the {len(unknown)} files in this folder; a folder of labelled "
            f"recordings holds one folder per class, or the recordings themselves: {root}"
        )
    return found


def _holds_labels(path: Path) -> bool:
    return is_label_csv(read_start(str(path), HEAD_BYTES))


def _files(root: Path) -> Iterator[Path]:
    """Files under a folder in the order of names, without hidden ones; links are followed once."""
    seen = {root.resolve()}

    def refuse(error: OSError) -> None:
        raise SourceError(f"cannot be opened: {error.strerror}: {error.filename}") from error

    for folder, folders, files in os.walk(root, onerror=refuse, followlinks=True):
        here = Path(folder)
        visible = sorted(name for name in folders if not name.startswith("."))
        folders[:] = [name for name in visible if (here / name).resolve() not in seen]
        seen.update((here / name).resolve() for name in folders)
        for name in sorted(files):
            if not name.startswith(".") and (here / name).is_file():
                yield here / name


def _one_sensor(stated: dict[SensorSize, str], inferred: list[SensorSize], path: str) -> SensorSize:
    if len(stated) > 1:
        sizes = ", ".join(f"{size} ({name})" for size, name in list(stated.items())[:4])
        raise UsageError(
            f"recordings with different sensors in one folder: {sizes}; separate them, or give "
            f"the size to use with ?sensor=WIDTHxHEIGHT: {path}"
        )
    both = [*stated, *inferred] or [SensorSize(1, 1)]
    return SensorSize(max(s.width for s in both), max(s.height for s in both))
