"""Finds the recordings among the files of a folder, each once, with its class or its labels.

One rule decides about every file, in this order:

1. Labels: a CSV with the documented header, beside the recording of its name; or any table called
   `rec_labels.csv` beside a recording `rec`.
2. Recordings: what a reader opens.
3. Copies: of recordings with the same name but for the suffix, in one folder, the one nearest to
   the camera is read: AEDAT, RAW, DAT, ES, bags, .bin; then HDF5; then arrays; then text.
4. Other files: no format of events, or a table that holds no events (calibration, poses, triggers,
   lists of splits, boxes). A table without names of columns is a recording only where it has four
   columns of which the order follows from the values. They are passed over.
5. Broken recordings: what has the beginning of a recording, but cannot be opened; and what is
   empty or has no such beginning, under a suffix of recordings. They count as damage.

Guarantees:

- Copies and other files that are passed over are notes, one line each.
- The order depends on the names of the files alone.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from streamstop.errors import NoEventsError, SourceError, StreamstopError, UsageError
from streamstop.events.label_table import read_label_table
from streamstop.events.labels import CLASS_NAMES, is_label_csv, label_names
from streamstop.events.packet import Damage, SensorSize
from streamstop.formats.base import Recording, read_start
from streamstop.formats.byte_reader import inner_suffix
from streamstop.formats.detect import HEAD_BYTES, FileFormat, detect_format, open_recording
from streamstop.formats.table_layout import OPTIONS as TABLE_OPTIONS
from streamstop.formats.table_layout import TableOptions
from streamstop.sources.label_files import plain_name

DOCUMENTS = ("README", "LICENSE", "LICENCE", "MANIFEST")
"""Files of these names, with any suffix, are passed over without a message."""

CLASS_FROM = ("folder", "above")
"""Values of `?class=`: the name of a recording's own folder, or of the folder above it."""

_TONIC_GESTURE = re.compile(r"(?:.*/)?user\d\d_[a-z_]+/(\d+)\.npy")
_TONIC_OPTIONS = {"columns": "xypt", "unit": "ms"}

_RANKS = {
    "Prophesee DAT": 1,
    "HDF5": 2,
    "NumPy .npy": 3,
    "NumPy .npz": 3,
    "MATLAB .mat": 3,
    "MATLAB 7.3 .mat": 3,
    "events as .csv": 4,
}
"""Distance from the camera by format; 0 for all others."""

_TEXT = "events as .csv"
_TABLES = (".csv", ".txt", ".npy", ".npz", ".mat", ".h5", ".hdf5")
_CAMERA_SUFFIXES = (".aedat", ".aedat2", ".aedat4", ".es")
_SPLIT = re.compile(r"(?:^|[_-])(?:train|test|val|dev)(?:ing|id|idation)?(?:[_-]|$)", re.I)
_NO_FORMAT, _ORPHAN = "no format of events", "labels of no recording here"
_SHOWN = 5
_SHOWN_REASON = 160


class FolderRecording(NamedTuple):
    """A recording in a folder.

    Attributes
    ----------
    name
        Its path from the folder.
    label
        Its class, where it has no label file.
    csv
        Its label file.
    recording
        The opened file; None where it is broken.
    damage
        Why it is broken.
    tonic
        Whether it is one of DVS-Gesture's as tonic unpacks them.
    """

    name: str
    label: str
    csv: Path | None
    recording: Recording | None
    damage: Damage | None = None
    tonic: bool = False


class FolderListing(NamedTuple):
    """The recordings of a folder in the order of their names, and what was passed over."""

    recordings: list[FolderRecording]
    notes: list[str]


class _Refused(NamedTuple):
    """A file that could not be opened: why, and whether it is a broken recording (None: open)."""

    path: Path
    reason: str
    broken: bool | None


class _Opened(NamedTuple):
    """A recording, its format's distance from the camera, and the options that it took."""

    rank: int
    recording: Recording
    options: Mapping[str, str]


@dataclass
class _Sorted:
    """Files by what they are, in the order of their names."""

    opened: dict[Path, _Opened] = field(default_factory=dict)
    refused: list[_Refused] = field(default_factory=list)
    labels: set[Path] = field(default_factory=set)


def list_recordings(
    root: Path,
    options: Mapping[str, str] | None = None,
    documents: Sequence[str] = (),
    sensor: SensorSize | None = None,
) -> FolderListing:
    """The recordings under a folder, each with its class or its label file.

    Parameters
    ----------
    root
        The folder.
    options
        Of formats, for every recording whose format takes them; and `class`, one of CLASS_FROM.
    documents
        Names of files that belong to the data set and are no recordings.
    sensor
        As in `streamstop.formats.detect.open_recording`.

    Raises
    ------
    SourceError
        If the folder cannot be read, or holds no recording that can be; if an option's value is
        none.
    UsageError
        If no recording takes an option.
    """
    wanted = dict(options or {})
    class_from = wanted.pop("class", "")
    if class_from not in ("", *CLASS_FROM):
        raise UsageError(f"class is one of {', '.join(CLASS_FROM)}, not {class_from!r}: {root}")
    TableOptions(*(wanted.get(key, "") for key in TABLE_OPTIONS)).checked(str(root))
    files = [path for path in _files(root) if path != root / CLASS_NAMES]
    found = _sorted(files, wanted, documents, sensor)
    passed, copies = _keep_originals(found)
    passed = [_with_hint(one, found) for one in passed]
    broken = {one.path: one.reason for one in found.refused if one.broken}
    recordings = []
    used: set[Path] = set()
    for path in files:
        if path in found.opened or path in broken:
            csv = next((one for one in label_names(plain_name(path)) if one in found.labels), None)
            used.update(set() if csv is None else {csv})
            damage = _broken(path, broken[path]) if path in broken else None
            recording = found.opened[path].recording if path in found.opened else None
            name = path.relative_to(root).as_posix()
            tonic = _TONIC_GESTURE.fullmatch(path.as_posix()) is not None
            label = path.stem if tonic or path.parent == root else path.parent.name
            recordings.append(FolderRecording(name, label, csv, recording, damage, tonic))
    orphans = [_Refused(path, _ORPHAN, False) for path in sorted(found.labels - used)]
    passed += orphans
    if not found.opened:
        raise SourceError(_nothing(root, [*found.refused, *orphans]))
    taken = {key for one in found.opened.values() for key in one.options}
    if untaken := [key for key in wanted if key not in taken]:
        raise UsageError(
            f"no recording in this folder has a format that takes ?{untaken[0]}=: {root}"
        )
    notes = [_passed_over(passed, root)] if passed else []
    if copies:
        notes.append(_copies(copies, root))
    if broken:
        notes.append(_broken_note(broken, root))
    recordings, said = _named(recordings, class_from, root)
    return FolderListing(recordings, [*notes, *said])


def _sorted(
    files: Sequence[Path],
    options: Mapping[str, str],
    documents: Sequence[str],
    sensor: SensorSize | None,
) -> _Sorted:
    """Open every file that may be a recording."""
    found = _Sorted()
    stems = {(path.parent, plain_name(path).stem) for path in files}
    for path in files:
        if path.suffix.lower() == ".csv" and _holds_labels(path, stems):
            found.labels.add(path)
            continue
        known: FileFormat | None = None
        document = path.stem.upper() in DOCUMENTS or path.name in documents
        try:
            known = detect_format(str(path))
            if known is None:
                if not document:
                    found.refused.append(_Refused(path, _NO_FORMAT, None))
                continue
            own = {key: value for key, value in options.items() if key in known.options}
            if _TONIC_GESTURE.fullmatch(path.as_posix()):
                own = {**_TONIC_OPTIONS, **own}
            recording = open_recording(str(path), own, sensor)
        except SourceError as error:
            reason = str(error).removesuffix(f": {path}")
            no_events = isinstance(error, NoEventsError)
            text = known is not None and known.name == _TEXT
            broken = None if known is None else not (no_events or text)
            if known is None and "Git LFS" in reason:
                broken = True
            if not document:
                found.refused.append(_Refused(path, reason, broken))
        else:
            found.opened[path] = _Opened(_RANKS.get(known.name, 0), recording, own)
    suffixes = {inner_suffix(str(path)) for path in found.opened}
    for i, one in enumerate(found.refused):
        if one.broken is None:  # empty, or without a beginning that tells a format
            suffix = inner_suffix(str(one.path))
            like = suffixes.difference(_TABLES) if one.reason == _NO_FORMAT else suffixes
            found.refused[i] = one._replace(broken=suffix in like or suffix in _CAMERA_SUFFIXES)
    return found


def _holds_labels(path: Path, stems: set[tuple[Path, str]]) -> bool:
    """Whether a CSV is a label file: by its header, or by its name beside another file."""
    stem = path.stem
    if stem.endswith("_labels") and (path.parent, stem.removesuffix("_labels")) in stems:
        return True
    try:
        return is_label_csv(read_start(str(path), HEAD_BYTES))
    except SourceError:
        return False


def _keep_originals(found: _Sorted) -> tuple[list[_Refused], dict[Path, Path]]:
    """Leave one of each recording's copies; returns foreign files, and copies with what is read."""
    best: dict[tuple[Path, str], Path] = {}
    for path, one in found.opened.items():
        key = (path.parent, plain_name(path).stem)
        if key not in best or one.rank < found.opened[best[key]].rank:
            best[key] = path
    originals = set(best.values())
    copies = {
        path: best[path.parent, plain_name(path).stem]
        for path in found.opened
        if path not in originals
    }
    for path in copies:
        del found.opened[path]
    return [one for one in found.refused if not one.broken], copies


def _with_hint(refused: _Refused, found: _Sorted) -> _Refused:
    """The refused file; with another reason where it holds labels of a recording beside it."""
    path = refused.path
    beside = {one.stem for one in map(plain_name, found.opened) if one.parent == path.parent}
    if path.suffix.lower() != ".csv" or path.stem not in beside:
        return refused
    try:
        read_label_table(path)
    except StreamstopError:
        return refused
    hint = f"by its content labels of {path.stem}; call it {path.stem}_labels.csv to have it read?"
    return refused._replace(reason=hint)


def _named(
    recordings: list[FolderRecording], class_from: str, root: Path
) -> tuple[list[FolderRecording], list[str]]:
    """The recordings with their classes by `class_from`, and a note where it was inferred.

    Where it is not given, a lone `events.txt` (or `events.h5`, ...) in its folder takes the name of
    the folder above, since its own is that of the recording: `walk/seq0/events.txt`.
    """
    lone = Counter(str(Path(one.name).parent) for one in recordings)
    named, moved = [], []
    for one in recordings:
        parts = Path(one.name).parts
        above = (
            class_from == "above"
            if class_from
            else plain_name(parts[-1]).stem.lower() == "events"
            and lone[str(Path(one.name).parent)] == 1
            and len(parts) > 2
            and not _SPLIT.search(parts[-3])
        )
        if above and one.csv is None and not one.tonic:
            if len(parts) < 3:
                raise UsageError(
                    f"?class=above takes the name of the folder above a recording's own, and "
                    f"{one.name} has none in this folder: {root}"
                )
            one = one._replace(label=parts[-3])
            moved.append(one)
        named.append(one)
    if class_from or not moved:
        return named, []
    example = moved[0]
    return named, [
        f"class of {_count(len(moved), 'recording')} called events: the folder above their own, "
        f"such as {example.label} of {example.name} (?class=folder takes their own)"
    ]


def _broken(path: Path, reason: str) -> Damage:
    return Damage(0, path.stat().st_size, f"not read: {reason}", str(path))


def _count(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number:,} {what}s"


def _passed_over(passed: Sequence[_Refused], root: Path) -> str:
    """The line about files that are no recordings: names with counts, and reasons of tables."""
    counts = Counter(one.path.name for one in passed)
    names = [name if n == 1 else f"{name} ({n})" for name, n in list(counts.items())[:_SHOWN]]
    more = ", ..." if len(counts) > _SHOWN else ""
    tables = [one for one in passed if one.reason not in (_NO_FORMAT, _ORPHAN)]
    # First one that an option might read: it may be a recording.
    tables.sort(key=lambda one: ("?" not in one.reason, "events have four" in one.reason))
    refused = tables[0] if tables else None
    why = ""
    if refused is not None:
        name = refused.path.relative_to(root).as_posix()
        why = f"; {name}: {refused.reason[:_SHOWN_REASON]}"
    return (
        f"{_count(len(passed), 'file')} passed over, no recordings: {', '.join(names)}{more}{why}"
    )


def _copies(copies: Mapping[Path, Path], root: Path) -> str:
    path, original = next(iter(copies.items()))
    name = path.relative_to(root).as_posix()
    others = "" if len(copies) == 1 else ", ..."
    return (
        f"{_count(len(copies), 'file')} passed over, by their names copies of recordings that are "
        f"read: {name} ({original.name} is read){others}"
    )


def _broken_note(broken: Mapping[Path, str], root: Path) -> str:
    path, reason = next(iter(broken.items()))
    others = "" if len(broken) == 1 else "; ..."
    name = path.relative_to(root).as_posix()
    return (
        f"{_count(len(broken), 'recording')} not read, counted as damage: {name}: {reason}{others}"
    )


def _nothing(root: Path, refused: Sequence[_Refused]) -> str:
    """The message about a folder without a recording: what was found, and why it is none."""
    by_reason: dict[str, list[Path]] = {}
    for one in refused:
        by_reason.setdefault(one.reason, []).append(one.path)
    lines = [
        f"{paths[0].relative_to(root).as_posix()}"
        f"{f' and {len(paths) - 1} more' if len(paths) > 1 else ''}: {reason[:_SHOWN_REASON]}"
        for reason, paths in list(by_reason.items())[:_SHOWN]
    ]
    more = "; ..." if len(by_reason) > _SHOWN else ""
    found = f" ({'; '.join(lines)}{more})" if lines else ""
    return (
        f"no recording among the {len(refused)} files in this folder{found}; a folder of labelled "
        f"recordings holds one folder per class, or the recordings themselves: {root}"
    )


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
