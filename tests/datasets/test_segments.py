"""Segments by index, for torch's DataLoader and tonic's transforms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import Whole, random_events, write_bin
from torch.utils.data import DataLoader

import streamstop as ss
from streamstop.datasets.segments import SegmentDataset
from streamstop.errors import UsageError


def a_folder(root: Path) -> Path:
    for label in ("a", "b"):
        for i in range(3):
            seed = i + 10 * (label == "b")
            write_bin(root / label / f"{i}.bin", random_events(300, width=34, height=34, seed=seed))
    return root


def test_items_are_the_segments_of_the_stream(tmp_path: Path) -> None:
    path = str(a_folder(tmp_path))
    data = SegmentDataset(path, length_us=5000, seed=4)
    source = ss.open_source(path, length_us=5000, seed=4)
    assert source.labels is not None
    stream = Whole(source).events
    assert data.classes == source.labels.classes == ("a", "b")
    assert len(data) == len(source.labels) > 6
    for i, segment in enumerate(source.labels):
        events, label = data[i]
        inside = stream[(stream["t"] >= segment.start_us) & (stream["t"] < segment.end_us)]
        assert label == segment.label
        assert (events["t"] == inside["t"] - segment.start_us).all()
        for name in "xyp":
            assert (events[name] == inside[name]).all()
    assert data[-1][1] == data[len(data) - 1][1]
    with pytest.raises(IndexError):
        data[len(data)]


def test_a_data_loader_with_workers_reads_them(tmp_path: Path) -> None:
    data = SegmentDataset(
        str(a_folder(tmp_path)), transform=lambda events: len(events), order="by-class"
    )
    plain = [data[i] for i in range(len(data))]
    for workers in (0, 2):
        loader = DataLoader(data, batch_size=None, num_workers=workers)
        assert [(int(n), int(label)) for n, label in loader] == plain


def test_tonics_transforms_take_the_events(tmp_path: Path) -> None:
    transforms = pytest.importorskip("tonic.transforms")
    data = SegmentDataset(str(a_folder(tmp_path)))
    frame = transforms.ToFrame(sensor_size=data.sensor_size, n_time_bins=1)
    data = SegmentDataset(str(tmp_path), transform=frame)
    frames, _ = data[0]
    assert frames.shape == (1, 2, 34, 34)
    assert np.asarray(frames).sum() == 299  # tonic's frames leave the last event out


def test_a_single_file_has_no_segments_by_index(tmp_path: Path) -> None:
    path = write_bin(tmp_path / "one.bin", random_events(30, width=34, height=34))
    with pytest.raises(UsageError, match="a folder of labelled recordings"):
        SegmentDataset(str(path))
