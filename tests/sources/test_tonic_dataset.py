"""tonic's data sets: the same events as this package's own readers, and nothing downloaded."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import Whole, bin_bytes, random_events, same

pytest.importorskip("tonic")
from streamstop.errors import SourceError, UsageError
from streamstop.events.packet import Events, SensorSize
from streamstop.formats.detect import open_recording
from streamstop.pipeline.configure import load_config
from streamstop.pipeline.run import run
from streamstop.sources.checks import check_source
from streamstop.sources.folder import FolderSource
from streamstop.sources.open import open_source
from streamstop.sources.tonic_dataset import REFUSED, SETS, list_samples, parse_tonic_uri

TINY = (
    *("binning.bin_us=10000", "binning.height=16", "binning.width=16"),
    *("network.channels=[6]", "network.architecture=compact"),
)


def nmnist(root: Path, each: int = 3, n: int = 400) -> Path:
    """N-MNIST as tonic unpacks it, of three classes."""
    for split in ("Train", "Test"):
        for digit in range(3):
            folder = root / "NMNIST" / split / str(digit)
            folder.mkdir(parents=True)
            for i in range(each):
                events = random_events(n, width=34, height=34, seed=10 * digit + i, start_us=0)
                (folder / f"{i:05d}.bin").write_bytes(bin_bytes(events))
    return root


def events_of(uri: str) -> list[tuple[str, str, Events]]:
    path, _, query = uri.partition("?")
    options = dict(part.split("=", 1) for part in query.split("&"))
    listing = list_samples(parse_tonic_uri(path, options))
    return [
        (one.name, one.label, Whole(one.recording.packets()).events)
        for one in listing.recordings
        if one.recording is not None
    ]


def test_nmnist_has_the_events_that_our_reader_has(tmp_path: Path) -> None:
    found = events_of(f"tonic:NMNIST?root={nmnist(tmp_path)}&split=test")
    assert len(found) == 9
    for name, label, events in found:
        own = open_recording(str(tmp_path / "NMNIST" / name.removeprefix("test/")))
        assert same(events, Whole(own.packets()).events)
        assert label.startswith(f"{Path(name).parent.name} - ")


def test_real_nmnist_agrees_event_by_event(tmp_path: Path, data_dir: Path) -> None:
    files = sorted((data_dir / "nmnist-small" / "Train").rglob("*.bin"))[:20]
    for file in files:
        folder = tmp_path / "NMNIST" / "Train" / file.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / file.name)
    found = events_of(f"tonic:NMNIST?root={tmp_path}&split=train")
    assert len(found) == 20
    for name, _, events in found:
        own = open_recording(str(tmp_path / "NMNIST" / name.removeprefix("train/")))
        assert same(events, Whole(own.packets()).events)


def test_dvs_gesture_has_its_columns_and_its_times_in_ms(tmp_path: Path) -> None:
    folder = tmp_path / "DVSGesture" / "ibmGestureTrain" / "user01_led"
    folder.mkdir(parents=True)
    events = random_events(500)
    events["t"] = events["t"] // 1000 * 1000
    table = np.stack([events["x"], events["y"], events["p"], events["t"] // 1000], 1)
    np.save(folder / "4.npy", table.astype(float))
    ((_, label, read),) = events_of(f"tonic:DVSGesture?root={tmp_path}&split=train")
    assert same(read, events)
    assert label == "Right arm ccw"
    own = open_recording(str(folder / "4.npy"), {"columns": "xypt", "unit": "ms"})
    assert same(Whole(own.packets()).events, events)


def test_dvs_lip_has_the_events_that_our_reader_has(tmp_path: Path) -> None:
    folder = tmp_path / "DVSLip" / "DVS-Lip" / "train" / "accused"
    folder.mkdir(parents=True)
    events = random_events(500)
    fields = np.zeros(500, [("t", "<i4"), ("x", "i1"), ("y", "i1"), ("p", "i1")])
    for field in "txyp":
        fields[field] = events[field]
    np.save(folder / "0.npy", fields)
    ((_, label, read),) = events_of(f"tonic:DVSLip?root={tmp_path}&split=train")
    assert label == "accused"
    assert same(read, events)
    assert same(Whole(open_recording(str(folder / "0.npy")).packets()).events, events)


def test_it_is_a_source_with_segments_classes_and_a_held_out_part(tmp_path: Path) -> None:
    uri = f"tonic:NMNIST?root={nmnist(tmp_path)}&split=train"
    check_source(lambda: open_source(uri, seed=1))
    source = open_source(uri, order=lambda offered, seed: [0, 3, 6])
    assert isinstance(source, FolderSource)
    assert source.sensor == SensorSize(34, 34)
    assert source.labels is not None
    assert source.labels.classes == ("0 - zero", "1 - one", "2 - two")
    assert len(source.labels) == 3
    held_out = source.held_out()
    assert held_out.labels is not None
    assert len(held_out.labels) == 6
    assert any("tonic's NMNIST" in note for note in source.notes)


def test_a_run_streams_it(tmp_path: Path) -> None:
    uri = f"tonic:NMNIST?root={nmnist(tmp_path)}&split=train"
    flags = {"source.uri": uri, "run.output_dir": str(tmp_path / "runs")}
    result = run(load_config(None, TINY, flags))
    assert result.summary["n_segments"] == 9
    assert result.summary["ledger"]["received"] == 9 * 400


def test_a_transform_is_counted_and_the_same_in_every_pass(tmp_path: Path) -> None:
    root = nmnist(tmp_path)
    uri = f"tonic:NMNIST?root={root}&split=train&transform=DropEvent(p=0.25)|RandomFlipLR(p=0.5)"
    first, second = (Whole(open_source(uri, seed=3)) for _ in range(2))
    assert same(first.events, second.events)
    assert first.dropped["transform"] == 9 * 100
    assert len(first.events) == 9 * 300


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("__import__('os').system('true')", "no transform of events"),
        ("ToFrame(n_time_bins=3)", "no transform of events"),
        ("Denoise(filter_time=open('x'))", "arguments of Denoise"),
        ("Denoise(nothing=1)", "does not take that"),
        ("Denoise(", "is written"),
        ("tonic.transforms.Denoise(filter_time=1)", "no transform of events"),
    ],
)
def test_a_transform_that_is_none_is_refused(tmp_path: Path, text: str, why: str) -> None:
    uri = f"tonic:NMNIST?root={nmnist(tmp_path)}&transform={text}"
    with pytest.raises(UsageError, match=why):
        open_source(uri)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_set_that_is_read_wrong_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(UsageError, match="is not read"):
        open_source(f"tonic:{name}?root=x")


@pytest.mark.parametrize("name", sorted(SETS))
def test_what_is_not_there_is_not_downloaded(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match="nothing is downloaded without"):
        open_source(f"tonic:{name}?root={tmp_path}")
    assert not list(tmp_path.iterdir())


def test_every_set_of_tonics_is_read_or_refused() -> None:
    import tonic.datasets

    assert set(tonic.datasets.__all__) == {*SETS, *REFUSED}


@pytest.mark.parametrize(
    "uri",
    ["tonic:Nothing?root=x", "tonic:NMNIST", "tonic:NMNIST?root=x&split=middle",
     "tonic:NMNIST?root=x&columns=txyp", "tonic:NMNIST?root=x&download=maybe"],
)  # fmt: skip
def test_a_request_that_cannot_be_met(uri: str) -> None:
    with pytest.raises((UsageError, SourceError)):
        open_source(uri)
