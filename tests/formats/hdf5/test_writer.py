"""HDF5 as DSEC and Metavision lay it out: read back, by h5py too, and never half a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import Whole, random_events, same
from helpers.optional import h5py

from streamstop.errors import UsageError
from streamstop.events.packet import Events, SensorSize
from streamstop.formats.base import read_packets
from streamstop.formats.detect import open_recording
from streamstop.formats.hdf5.writer import MAX_INDEX_MS, write_dsec, write_metavision_hdf5

SENSOR = SensorSize(346, 260)
WRITE = [write_dsec, write_metavision_hdf5]


def camera_events(n: int = 100_000) -> Events:
    """With the clock of a camera that counts from 1970, and some events out of order."""
    events = random_events(n, width=346, height=260, start_us=1_700_000_000_000_000)
    events["t"][100] += 5_000
    events["t"][3] -= 400
    return events


@pytest.mark.parametrize("write", WRITE)
@pytest.mark.parametrize("simulated", [False, True])
def test_everything_comes_back(tmp_path: Path, write: Callable[..., int], simulated: bool) -> None:
    events = camera_events()
    path = tmp_path / "rec.h5"
    assert write(path, iter(np.split(events, [1, 777])), SENSOR, simulated=simulated) == len(events)
    recording = open_recording(str(path))
    whole = Whole(read_packets(recording))
    assert same(whole.events, events)
    assert (recording.sensor, recording.simulated, recording.notes) == (SENSOR, simulated, ())
    assert not whole.damage


@pytest.mark.parametrize("write", WRITE)
@pytest.mark.parametrize("which", [np.s_[:0], np.s_[:1], "on", "off"])
def test_few_events_and_one_polarity_come_back(
    tmp_path: Path, write: Callable[..., int], which: slice | str
) -> None:
    events = camera_events(500)
    kept = events[events["p"] == (which == "on")] if isinstance(which, str) else events[which]
    write(tmp_path / "rec.h5", kept, SENSOR)
    assert same(Whole(open_recording(str(tmp_path / "rec.h5")).packets()).events, kept)


def test_h5py_finds_dsecs_datasets(tmp_path: Path) -> None:
    events = camera_events()
    write_dsec(tmp_path / "rec.h5", events, SENSOR)
    with h5py.File(tmp_path / "rec.h5") as file:
        t = file["events/t"][:]
        assert np.array_equal(t + file["t_offset"][()], events["t"])
        for name in "xyp":
            assert np.array_equal(file[f"events/{name}"][:], events[name])
        assert (file.attrs["width"], file.attrs["height"]) == SENSOR
        index = file["ms_to_idx"][:]
        latest = np.maximum.accumulate(t)
        assert len(index) == latest[-1] // 1000 + 2
        begins_us = np.arange(len(index)) * 1000
        assert np.array_equal(index, np.searchsorted(latest, begins_us))
        assert file["events/t"].chunks == (1 << 16,)


def test_h5py_finds_metavisions_datasets(tmp_path: Path) -> None:
    events = camera_events()
    write_metavision_hdf5(tmp_path / "rec.hdf5", events, SENSOR)
    with h5py.File(tmp_path / "rec.hdf5") as file:
        table = file["CD/events"]
        assert table.dtype.names == ("x", "y", "p", "t") and table.dtype.itemsize == 16
        assert np.array_equal(table["t"], events["t"])
        assert np.array_equal(table["p"], events["p"])
        assert file.attrs["geometry"] == "346x260"
        assert file["CD/indexes"].dtype.names == ("id", "ts")


def test_a_time_that_the_index_cannot_cover_leaves_no_file(tmp_path: Path) -> None:
    events = random_events(10)
    events["t"][5:] += (MAX_INDEX_MS + 1) * 1000
    with pytest.raises(UsageError, match="give --format metavision-hdf5"):
        write_dsec(tmp_path / "rec.h5", events, SENSOR)
    assert list(tmp_path.iterdir()) == []
    write_metavision_hdf5(tmp_path / "rec.h5", events, SENSOR)
    assert same(Whole(open_recording(str(tmp_path / "rec.h5")).packets()).events, events)
