"""Files of kinds that people have: each gives its right events, or names the option that reads it.

They lie outside the repository; `test_which_file.py` makes files of the same kinds.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import Whole

from streamstop.errors import SourceError
from streamstop.formats.base import Recording
from streamstop.formats.detect import open_recording
from streamstop.sources.open import uri_parts

READ = {
    "01-v2e-aedat2/v2e-346x260.aedat": 20_000,
    "02-v2e-hdf5/v2e.h5": 5000,
    "02-v2e-hdf5/v2e-polarity-minus-one.h5": 5000,
    "04-e2vid-txt/events.txt": 3000,
    "06-metavision-csv/event_timestamp.csv": 3000,
    "06-metavision-csv/file_to_csv.csv": 3000,
    "06-metavision-csv/named.csv": 3000,
    "06-metavision-csv/raw_to_csv_sample.csv": 3000,
    "07-atis-dat-v1/version1_td.dat": 5000,
    "07-atis-dat-v1/version2_td.dat": 5000,
    "10-m3ed-h5/dvs_left_group.h5": 5000,
    "12-dsec-txt/events.txt": 3000,
    "13-polarity-values/pol_0_255.npz": 3000,
    "13-polarity-values/pol_1_2.npz": 3000,
}
"""Read without an option: the number of events."""

REFUSED = {
    "10-m3ed-h5/m3ed_data.h5": "group=prophesee/left",
    "13-polarity-values/evimo_pol_0_3.npz": "on=1,3",
}
"""Refused, and the option that reads it."""

START_US = {"04-e2vid-txt": 1_504_645_177_420_000}
"""From when the times in the truth count."""


@pytest.fixture
def field(data_dir: Path) -> Path:
    folder = data_dir / "field"
    if not folder.is_dir():
        pytest.skip(f"no such folder: {folder}")
    return folder


def opened(uri: str) -> Recording:
    path, options = uri_parts(uri)
    return open_recording(path, options)


def truth(path: Path) -> np.ndarray | None:
    """The first rows of t, x, y, on; or of the whole file."""
    whole = path.parent / "truth.npy"
    if whole.exists():
        events = np.load(whole)
        names = ("t", "x", "y", "p") if events.dtype.names else None
        return np.stack([events[name] for name in names], 1) if names else events
    rows = path.parent / "truth-first5.csv"
    if not rows.exists():
        return None
    with rows.open() as file:
        return np.array([[int(cell) for cell in row] for row in list(csv.reader(file))[1:]])


def check(recording: Recording, path: Path, count: int) -> None:
    whole = Whole(recording.packets())
    assert len(whole.events) == count
    assert not whole.damage
    right = truth(path)
    if right is None or path.name in ("evimo_pol_0_3.npz",):
        return
    rows = np.stack([whole.events[name].astype(np.int64) for name in "txyp"], 1)[: len(right)]
    rows[:, 0] -= START_US.get(path.parent.name, 0)
    assert (abs(rows[:, 0] - right[:, 0]) <= 1).all()
    assert (rows[:, 1:] == right[:, 1:]).all()


@pytest.mark.parametrize("name", READ)
def test_it_is_read_right(field: Path, name: str) -> None:
    recording = opened(str(field / name))
    check(recording, field / name, READ[name])


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_and_the_option_that_is_named_reads_it(field: Path, name: str) -> None:
    option = REFUSED[name]
    with pytest.raises(SourceError, match=re.escape(f"?{option.partition('=')[0]}=")):
        opened(str(field / name))
    recording = opened(f"{field / name}?{option}")
    check(recording, field / name, len(Whole(recording.packets()).events))


def test_all_of_them_are_here(field: Path) -> None:
    known = {*READ, *REFUSED, "13-polarity-values/pol_all_0.npz"}
    suffixes = (".aedat", ".h5", ".txt", ".npz", ".dat")
    found = {str(path.relative_to(field)) for path in field.rglob("*") if path.suffix in suffixes}
    found |= {
        f"06-metavision-csv/{one.name}" for one in (field / "06-metavision-csv").glob("[!t]*.csv")
    }
    assert {one for one in found if not one.startswith("2")} == known
