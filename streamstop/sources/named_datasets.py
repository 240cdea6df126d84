"""The data sets that have a name: their layouts, splits and known errors.

`dvs-gesture:ROOT?split=test` is the folder ROOT with what is known about the set: which recordings
belong to a split, which labels are corrected, which sensor it has.

Guarantees:

- Every common layout of the downloads is accepted.
- The number of recordings of the whole set is known, so that a part of it is reported as one.

Does not:

- Check the content of the recordings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamstop.errors import SourceError, UsageError
from streamstop.events.labels import LabelInterval
from streamstop.events.packet import SensorSize

SPLITS = ("all", "train", "test")

TRAIN_FRACTION = 0.9
"""Training fraction of each class, for sets without a split of their own."""

_GESTURE_TEST_USERS = range(24, 30)
_USER = re.compile(r"user(\d\d)")

Split = Callable[[Path, Sequence[str], str, int | None], Collection[str]]
"""(root, names of recordings, "train" or "test", seed or None) -> the names in that split."""


@dataclass(frozen=True)
class NamedDataset:
    """A data set.

    Attributes
    ----------
    title, licence, where
        For people.
    size
        Of the download, as text.
    recordings
        Number of files of the whole set, by layout; a recording of DVS-Gesture holds many
        labels.
    sensor
        Size in pixels, for formats that do not contain it.
    split
        Selects the recordings of a split.
    split_description
        The same as text.
    documents
        Names of files beside the recordings that are neither recordings nor labels.
    """

    title: str
    licence: str
    where: str
    size: str
    recordings: tuple[int, ...]
    sensor: SensorSize | None
    split: Split
    split_description: str
    documents: tuple[str, ...] = ()


def _by_user(root: Path, names: Sequence[str], split: str, seed: int | None) -> Collection[str]:
    """DVS-Gesture's own split: as its lists of trials, else users 24 to 29 for testing."""
    listed: set[str] = set()
    for folder in {root, *((root / name).parent for name in names)}:
        trials = folder / f"trials_to_{split}.txt"
        if trials.is_file():
            listed.update(line.strip() for line in trials.read_text(errors="replace").splitlines())
    listed.discard("")
    if listed:
        return [name for name in names if Path(name).name in listed]
    chosen = []
    for name in names:
        user = _USER.search(name)
        if user is None:
            raise UsageError(f"its name contains no user, so it belongs to no split: {root / name}")
        if (int(user[1]) in _GESTURE_TEST_USERS) == (split == "test"):
            chosen.append(name)
    return chosen


def _by_fraction(root: Path, names: Sequence[str], split: str, seed: int | None) -> Collection[str]:
    """The first nine tenths of each class for training, by number; or as a seed draws them."""
    of_class: dict[str, list[str]] = {}
    for name in sorted(names, key=_by_number):
        of_class.setdefault(Path(name).parent.name, []).append(name)
    chosen: list[str] = []
    for i, own in enumerate(of_class.values()):
        if seed is not None:
            order = np.random.default_rng([seed, i]).permutation(len(own))
            own = [own[k] for k in order]
        cut = round(TRAIN_FRACTION * len(own))
        chosen += own[:cut] if split == "train" else own[cut:]
    return chosen


def _by_folder(root: Path, names: Sequence[str], split: str, seed: int | None) -> Collection[str]:
    """By the names of the folders: train, Train, n-cars_train, ..."""
    words = re.compile(rf"(?:^|[/_-]){split}(?:[/_-]|$)", re.IGNORECASE)
    return [name for name in names if words.search(str(Path(name).parent))]


def _by_number(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", name)
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]


SETS = {
    "dvs-gesture": NamedDataset(
        "DVS-Gesture (Amir et al., CVPR 2017): 11 gestures, 29 subjects, 5 lightings",
        "CC BY 4.0",
        "https://ibm.ent.box.com/s/3hiq58ww1pbbjrinh367ykfdf60xsfm8",
        "2.9 GB",
        (122, 1342),
        SensorSize(128, 128),
        _by_user,
        "its own: trials_to_train.txt and trials_to_test.txt, or users 24-29 for testing",
        ("trials_to_train.txt", "trials_to_test.txt"),
    ),
    "cifar10-dvs": NamedDataset(
        "CIFAR10-DVS (Li et al., 2017): 10,000 images moved before a DVS128",
        "CC BY 4.0",
        "https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671",
        "2.6 GB",
        (10_000,),
        SensorSize(128, 128),
        _by_fraction,
        "none of its own: the first 90 % of each class by number, or split_seed= draws them",
    ),
    "nmnist": NamedDataset(
        "N-MNIST (Orchard et al., 2015): MNIST before an ATIS, 60,000 and 10,000",
        "CC BY-SA 4.0",
        "https://www.garrickorchard.com/datasets/n-mnist",
        "1.2 GB",
        (70_000,),
        SensorSize(34, 34),
        _by_folder,
        "its own: the folders Train and Test",
    ),
    "ncars": NamedDataset(
        "N-CARS (Sironi et al., CVPR 2018): cars and background, 24,029 of 100 ms",
        "Prophesee's, for research",
        "https://www.prophesee.ai/2018/03/13/dataset-n-cars/",
        "0.5 GB",
        (24_029,),
        SensorSize(120, 100),
        _by_folder,
        "its own: the folders train and test",
    ),
    "folder": NamedDataset(
        "any folder of labelled recordings", "", "", "", (), None, _by_folder,
        "the folders train and test, where it has them",
    ),
}  # fmt: skip
"""By the name that stands before the colon."""


@dataclass(frozen=True)
class DatasetSelection:
    """A data set as a URI asks for it.

    Attributes
    ----------
    name
        Key of SETS.
    root
        Its folder.
    split
        One of SPLITS.
    split_seed
        None for the usual split.
    """

    name: str
    root: Path
    split: str = "all"
    split_seed: int | None = None

    def keep(self, names: Sequence[str]) -> Collection[str]:
        """The recordings of the split, of those that were found.

        Raises
        ------
        UsageError
            If there are none.
        """
        if self.split == "all":
            return names
        kept = SETS[self.name].split(self.root, names, self.split, self.split_seed)
        if not kept:
            raise UsageError(
                f"split={self.split} holds none of the {len(names)} recordings; the split is "
                f"{SETS[self.name].split_description}: {self.root}"
            )
        return kept

    known_fault = (
        "user22_led: in its labels class 9 ends at 110590564 us, a known error; 104000000 us "
        "is used"
    )
    """What is corrected, for the report."""

    def label_fix(
        self, recording: str, notes: list[str]
    ) -> Callable[[list[LabelInterval]], list[LabelInterval]] | None:
        """A function that corrects a recording's labels if an error is known; None for others.

        Parameters
        ----------
        notes
            Gets `known_fault` if the labels do contain the error: other files of that name may
            not.
        """
        if self.name != "dvs-gesture" or Path(recording).stem != "user22_led":
            return None

        def fix(intervals: list[LabelInterval]) -> list[LabelInterval]:
            fixed = [
                one._replace(end_us=104_000_000) if one[1:3] == (110_590_564, "9") else one
                for one in intervals
            ]
            if fixed != intervals:
                notes.append(self.known_fault)
            return fixed

        return fix

    def describe(self, names: Sequence[str], kept: Collection[str]) -> list[str]:
        """The lines of a report about it."""
        one = SETS[self.name]
        lines = []
        if self.name != "folder":
            whole = len(names) in one.recordings
            of = "" if whole else f", of {' or '.join(f'{n:,}' for n in one.recordings)} in all"
            lines.append(f"{one.title}; {len(names):,} recordings here{of}")
        if self.split != "all":
            drawn = "" if self.split_seed is None else f", drawn by seed {self.split_seed}"
            text = f"split {self.split}{drawn}: {len(kept):,} recordings; {one.split_description}"
            lines.append(text)
        return lines


def parse_dataset_uri(path: str, options: dict[str, str]) -> DatasetSelection | None:
    """The data set that a URI names; None where it names none. Removes its keys from `options`.

    Raises
    ------
    SourceError
        If its folder does not exist.
    UsageError
        If the split does not exist.
    """
    name, colon, root = path.partition(":")
    if not colon or name not in SETS or root.startswith("//") or Path(path).exists():
        return None
    folder = Path(root)
    if not folder.is_dir():
        one = SETS[name]
        get = f"; download it from {one.where} ({one.size}, {one.licence})" if one.where else ""
        raise SourceError(f"there is no such folder{get}: {root or '(none named)'}")
    split = options.pop("split", "all")
    if split not in SPLITS:
        raise UsageError(f"split is one of {', '.join(SPLITS)}, not {split!r}: {path}")
    seed = options.pop("split_seed", None)
    if seed is not None and (name != "cifar10-dvs" or not seed.isdecimal()):
        raise UsageError(f"split_seed is a whole number, and only for cifar10-dvs: {path}")
    return DatasetSelection(name, folder, split, None if seed is None else int(seed))


def find_present(name: str, root: Path) -> tuple[int, bool]:
    """Number of recordings of a data set under a folder, and whether that is all of them.

    Files are counted by their suffix, and not opened.
    """
    suffixes = (".aedat", ".aedat4", ".npy", ".npz", ".bin", ".dat")
    count = sum(path.suffix.lower() in suffixes for path in root.rglob("*") if path.is_file())
    return count, count in SETS[name].recordings
