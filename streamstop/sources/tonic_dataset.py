"""tonic's data sets as labelled recordings, and its transforms; only this module imports tonic.

`tonic:NMNIST?root=DIR&split=train` is the folder that `tonic.datasets.NMNIST(save_to=DIR)` reads.
tonic is GPL-3.0, so it comes with the extra `datasets` alone.

Guarantees:

- Nothing is downloaded unless `&download=yes` says so.
- Only sets whose reader was compared with this package's own, event by event, are read; any other
  is refused with the reason (`REFUSED`).
- What a transform leaves out is counted, cause "transform"; transforms are parsed, never evaluated.

Does not:

- Read samples in parts: tonic holds each in memory.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streamstop.errors import SourceError, UsageError
from streamstop.events.packet import (
    MAX_PACKET_EVENTS,
    Cursor,
    Damage,
    Events,
    Packet,
    SensorSize,
    empty_events,
)
from streamstop.formats.table_layout import TableOptions, find_layout
from streamstop.sources.folder_files import FolderListing, FolderRecording

SCHEME = "tonic:"
SPLITS = ("train", "test")


@dataclass(frozen=True)
class TonicSet:
    """A data set of tonic's that is read right.

    Attributes
    ----------
    sensor
        Size in pixels.
    splits
        Whether it has a training and a test part.
    layout
        What lies under the root.
    where
        Where it is downloaded from.
    note
        What a user should know; "" for nothing.
    """

    sensor: SensorSize
    splits: bool
    layout: str
    where: str
    note: str = ""


SETS = {
    "NMNIST": TonicSet(
        SensorSize(34, 34),
        True,
        "NMNIST/Train/0/00002.bin and NMNIST/Test/...",
        "https://www.garrickorchard.com/datasets/n-mnist",
    ),
    "DVSGesture": TonicSet(
        SensorSize(128, 128),
        True,
        "DVSGesture/ibmGestureTrain/user01_led/0.npy and DVSGesture/ibmGestureTest/...",
        "tonic's own copy of https://ibm.ent.box.com/s/3hiq58ww1pbbjrinh367ykfdf60xsfm8",
        "times have a resolution of 1 ms in tonic's copy; dvs-gesture: reads the original",
    ),
    "DVSLip": TonicSet(
        SensorSize(128, 128),
        True,
        "DVSLip/DVS-Lip/train/accused/0.npy and DVSLip/DVS-Lip/test/...",
        "https://sites.google.com/view/event-based-lipreading",
    ),
}
"""Sets that are read, by their class in tonic.datasets."""

REFUSED = {
    "ASLDVS": "tonic turns its pictures upside down; give the folder of .mat files",
    "CIFAR10DVS": "its reader needs the package aedat, which tonic does not install, and a copy "
    "converted to AEDAT4; the original is read by cifar10-dvs:DIR",
    "NCALTECH101": "tonic moves every recording into the corner; give the folder of .bin files",
    "POKERDVS": "tonic 1.7 looks for its files in its own package, which does not hold them",
    "SMNIST": "no event camera made it: its events have one coordinate, not two",
    "SHD": "it holds sound, not what an event camera saw",
    "SSC": "it holds sound, not what an event camera saw",
    "NTIDIGITS18": "it holds sound, not what an event camera saw",
    **dict.fromkeys(
        (*("DAVISDATA", "DSEC", "EBSSA", "MVSEC", "NERDD", "ThreeET_Eyetracking", "TUMVIE"), "VPR"),
        "its recordings have no classes; give their files themselves",
    ),
}
"""Sets that are not, and why."""

TRANSFORMS = (
    *("CenterCrop", "CropTime", "Decimation", "Denoise", "DropEvent", "DropEventByArea"),
    *("DropEventByTime", "DropPixel", "RandomCrop", "RandomDropPixel", "RandomFlipLR"),
    *("RandomFlipUD", "RandomFlipPolarity", "RefractoryPeriod", "SpatialJitter", "TimeJitter"),
    *("TimeSkew", "UniformNoise"),
)
"""Transforms of tonic's that make events of events."""

_NAMES = ("t", "x", "y", "p")
_TABLE = TableOptions(unit="us")


@dataclass(frozen=True)
class TonicSelection:
    """A data set as a URI asks for it.

    Attributes
    ----------
    name
        Key of SETS.
    root
        The folder that tonic saves to.
    split
        "train", "test" or "all".
    transform
        Applied to each sample; None: none.
    download
        Whether tonic may download what is missing.
    """

    name: str
    root: Path
    split: str = "all"
    transform: Callable[[Any], Any] | None = None
    download: bool = False


def parse_tonic_uri(path: str, options: dict[str, str]) -> TonicSelection:
    """The data set that `tonic:NAME` names. Removes its options.

    Raises
    ------
    UsageError
        If there is no such set or option, or its reader is not right.
    SourceError
        If tonic is missing.
    """
    name = path.removeprefix(SCHEME)
    if name in REFUSED:
        raise UsageError(f"tonic's {name} is not read: {REFUSED[name]}: {path}")
    if name not in SETS:
        known = ", ".join(SETS)
        raise UsageError(f"tonic has no set {name!r} that is read here (read: {known}): {path}")
    _tonic()
    root, split = options.pop("root", ""), options.pop("split", "all")
    if not root:
        raise UsageError(f"name the folder that tonic saves to, as in {path}?root=DIR")
    if split not in ("all", *SPLITS):
        raise UsageError(f"split is one of all, {', '.join(SPLITS)}, not {split!r}: {path}")
    text, download = options.pop("transform", ""), options.pop("download", "no")
    if download not in ("yes", "no"):
        raise UsageError(f"download is yes or no, not {download!r}: {path}")
    transform = parse_transforms(text, SETS[name].sensor) if text else None
    return TonicSelection(name, Path(root), split, transform, download == "yes")


def list_samples(selection: TonicSelection) -> FolderListing:
    """The samples of a set as a folder's recordings, in the order of their files.

    Raises
    ------
    SourceError
        If its files are not there.
    """
    found = []
    for split in SPLITS if selection.split == "all" else (selection.split,):
        data = _opened(selection, split)
        names = getattr(data, "classes", None) or getattr(data, "int_classes", None)
        order = sorted(range(len(data)), key=lambda i: _file_name(data, i))
        for i in order:
            name = f"{split}/{_file_name(data, i)}"
            label = _class_name(names, data.targets[i])
            recording = TonicRecording(data, i, name, selection)
            found.append(FolderRecording(name, label, None, recording))
    about = SETS[selection.name]
    notes = [f"tonic's {selection.name}, split {selection.split}: {len(found):,} recordings"]
    return FolderListing(found, [*notes, about.note] if about.note else notes)


def _opened(selection: TonicSelection, split: str) -> Any:
    """Tonic's data set, kept from downloading anything."""
    tonic = _tonic()
    kind = getattr(tonic.datasets, selection.name)
    about = SETS[selection.name]

    def refuse(self: Any, *_: object) -> None:
        raise SourceError(
            f"tonic's {selection.name} is not here, and nothing is downloaded without "
            f"&download=yes; it is to be had from {about.where}, and tonic expects "
            f"{about.layout}: {selection.root}"
        )

    folder = selection.root / selection.name
    own: dict[str, Any] = {"__module__": kind.__module__}
    if not selection.download:
        own |= {"download": refuse, "_copy_and_extract_local_data": refuse}
        if not folder.is_dir():
            refuse(None)
        # tonic looks for the archive, too, and counts files; a part of the set will do here.
        own["_check_exists"] = lambda _: True
    data = type(selection.name, (kind,), own)(str(selection.root), train=split == "train")
    if not len(data):
        refuse(data)
    return data


def _file_name(data: Any, index: int) -> str:
    """The sample's file from the data set's folder on; its number where tonic keeps no name."""
    found = data.data[index]
    if isinstance(found, (str, os.PathLike)):
        return Path(os.path.relpath(found, data.location_on_system)).as_posix()
    return f"{index:06d}"


def _class_name(names: Any, target: Any) -> str:
    """The name of a class, by its index; as tonic has it where it has no names."""
    if isinstance(names, dict):
        return next((str(name) for name, i in names.items() if i == target), str(target))
    if isinstance(names, (list, tuple)) and isinstance(target, (int, np.integer)):
        return str(names[int(target)])
    return str(target)


class TonicRecording:
    """One sample of a data set; see `streamstop.formats.base.Recording`.

    Parameters
    ----------
    data
        tonic's data set.
    index
        Of the sample.
    name
        For messages.
    selection
        What was asked for.
    """

    format = "tonic"
    simulated = False
    sensor_inferred = False
    notes: Sequence[str] = ()

    def __init__(self, data: Any, index: int, name: str, selection: TonicSelection) -> None:
        self.path = f"{SCHEME}{selection.name}/{name}"
        self.sensor: SensorSize | None = SETS[selection.name].sensor
        self._data, self._index, self._transform = data, index, selection.transform

    def packets(self, start: Cursor | None = None) -> Iterator[Packet]:
        """Packets from `start` on; see `Recording.packets`."""
        events, dropped, damage = self._events()
        first = start.event if start is not None else 0
        if not first and (dropped or damage):
            at = Cursor(self.path)
            lost = {"transform": dropped} if dropped else {}
            yield Packet(empty_events(), at, dropped=lost, damage=damage)
        for at_row in range(first, len(events), MAX_PACKET_EVENTS):
            part = events[at_row : at_row + MAX_PACKET_EVENTS]
            row = at_row + len(part)
            yield Packet(part, Cursor(self.path, row, row, int(part["t"][-1])))

    def _events(self) -> tuple[Events, int, tuple[Damage, ...]]:
        """The sample's events, how many a transform left out, and rows that are no events."""
        try:
            raw, _ = self._data[self._index]
        except (OSError, ValueError, KeyError, IndexError) as error:
            reason = f"tonic cannot read it ({type(error).__name__}: {error})"
            return empty_events(), 0, (Damage(0, 0, reason, self.path),)
        before = len(raw)
        kept = raw if self._transform is None else self._transformed(raw)
        columns = [np.ascontiguousarray(kept[name]) for name in _NAMES]
        names = dict(zip(_NAMES, _NAMES, strict=True))
        layout = find_layout(columns, len(kept), _TABLE, self.path, names=names)
        rows = layout.rows(*columns)
        damage: tuple[Damage, ...] = ()
        if len(rows.bad):
            reason = f"{len(rows.bad)} rows are no events: {rows.reason}"
            damage = (Damage(int(rows.bad[0]), 0, reason, self.path),)
        return rows.events, max(before - len(kept), 0), damage

    def _transformed(self, raw: Any) -> Any:
        """The transformed sample, the same in every pass: tonic draws from numpy's state."""
        assert self._transform is not None
        before = np.random.get_state()  # noqa: NPY002
        np.random.seed(self._index)  # noqa: NPY002
        try:
            return self._transform(raw)
        finally:
            np.random.set_state(before)  # noqa: NPY002


def parse_transforms(text: str, sensor: SensorSize) -> Callable[[Any], Any]:
    """Transforms of tonic's, such as `Denoise(filter_time=10000)|RandomFlipLR(p=0.5)`.

    Parameters
    ----------
    text
        Calls with literal arguments, joined by `|` or `+`. A sensor's size that a transform needs
        is filled in.
    sensor
        Size in pixels.

    Raises
    ------
    UsageError
        If it is anything else, or a transform that does not make events of events.
    """
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"transform is written Name(key=value)|Name(...), not {text!r}") from error
    composed: Callable[[Any], Any] = _tonic().transforms.Compose(
        [_transform(one, sensor) for one in _calls(tree)]
    )
    return composed


def _calls(tree: ast.expr) -> list[ast.expr]:
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, (ast.BitOr, ast.Add)):
        return [*_calls(tree.left), *_calls(tree.right)]
    return [tree]


def _transform(tree: ast.expr, sensor: SensorSize) -> Any:
    name = tree.func if isinstance(tree, ast.Call) else tree
    if not isinstance(name, ast.Name) or name.id not in TRANSFORMS:
        shown = ast.unparse(tree)[:60]
        raise UsageError(
            f"{shown!r} is no transform of events to events (known: {', '.join(TRANSFORMS)})"
        )
    kind = getattr(_tonic().transforms, name.id)
    positional: list[Any] = []
    given: dict[str, Any] = {}
    if isinstance(tree, ast.Call):
        try:
            positional = [ast.literal_eval(one) for one in tree.args]
            given = {str(one.arg): ast.literal_eval(one.value) for one in tree.keywords}
        except ValueError as error:
            raise UsageError(
                f"arguments of {name.id} are numbers, texts, tuples and the like"
            ) from error
    fields = getattr(kind, "__dataclass_fields__", {})
    if "sensor_size" in fields and "sensor_size" not in given:
        given["sensor_size"] = (sensor.width, sensor.height, 2)
    try:
        return kind(*positional, **given)
    except (TypeError, ValueError, AssertionError) as error:
        raise UsageError(f"{name.id} does not take that: {error}") from error


def _tonic() -> Any:
    try:
        import tonic
        import tonic.datasets
        import tonic.transforms
    except ImportError as error:
        raise SourceError(
            f"tonic's data sets need tonic ({error}): pip install 'streamstop[datasets]'"
        ) from error
    return tonic
