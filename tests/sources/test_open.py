from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import Whole, aedat2_bytes, bin_bytes, random_events

from streamstop.errors import SourceError, StreamstopError, UsageError
from streamstop.events.packet import SensorSize
from streamstop.sources.open import open_source

LFS = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"", "rec.aedat4", "the file is empty"),
        (LFS.encode(), "rec.aedat4", "Git LFS pointer.*git lfs pull"),
        (LFS.encode(), "rec.dat", "Git LFS pointer"),
        (b"\x00\x01\x02 hello", "rec.xyz", "unknown format; supported are AEDAT4, AEDAT 1.0 or"),
        (b"hello", "rec.dat", "unknown format"),
        (b"#!AER-DAT5.0\r\n", "rec.aedat", "recognised as AEDAT of another version"),
        (b"\x89HDF\r\n\x1a\n", "rec.h5", "cannot be read as HDF5"),
        (b"#ROSBAG V1.2\n", "rec.bag", "recognised as ROS 1 bag of another"),
        (b"class,startTime_usec,endTime_usec\n1,0,5\n", "rec.csv", "labels, not events"),
        (b"#!AER-DAT4.0\r\n", "rec.aedat4", "the file ends inside it"),
        (b"PK\x03\x04....", "rec.npz", "cannot be read as .npz"),
        (b"\x93NUMPY\x01\x00", "rec.npy", "cannot be read as .npy"),
    ],
)
def test_what_cannot_be_opened_says_why(
    tmp_path: Path, content: bytes, name: str, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SourceError, match=message) as error:
        open_source(str(path))
    assert str(error.value).endswith(str(path))
    assert error.value.exit_code == 3


def test_content_counts_before_the_name(tmp_path: Path) -> None:
    (tmp_path / "rec.csv").write_bytes(aedat2_bytes(random_events(5)))
    assert open_source(str(tmp_path / "rec.csv")).format == "aedat2"


def test_a_missing_path_comes_with_a_near_name(tmp_path: Path) -> None:
    (tmp_path / "recording.aedat4").write_bytes(b"x")
    with pytest.raises(SourceError, match=r"no such file or folder; did you mean .*/recording\."):
        open_source(str(tmp_path / "recordin.aedat4"))
    with pytest.raises(SourceError, match=r"no such file or folder: /"):
        open_source(str(tmp_path / "zzz" / "rec.aedat4"))
    with pytest.raises(SourceError, match="did you mean davis346"):
        open_source("davis364")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.bin")
    with pytest.raises(SourceError, match="neither a file nor a folder"):
        open_source(str(tmp_path / "pipe.bin"))
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0.bin").write_bytes(bin_bytes(random_events(10)))
    os.mkfifo(tmp_path / "a" / "pipe.bin")
    labels = open_source(str(tmp_path)).labels
    assert labels is not None
    assert len(labels) == 1


def test_options_after_a_question_mark(tmp_path: Path) -> None:
    events = random_events(100)
    path = tmp_path / "rec.npy"
    np.save(path, np.stack([events[name].astype(np.int64) for name in "xytp"], axis=1))
    source = open_source(f"{path}?columns=xytp&sensor=130x140")
    assert source.sensor == (130, 140)
    assert np.array_equal(Whole(source).events["t"], events["t"])


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("sensor=12", "a sensor's size is written like 346x260"),
        ("sensor=0x5", "a sensor's size"),
        ("sensor", "options are written"),
        ("colums=txyp", "takes no option 'colums' .it takes sensor, columns"),
    ],
)
def test_options_that_make_no_sense(tmp_path: Path, query: str, message: str) -> None:
    np.save(tmp_path / "rec.npy", np.zeros((3, 4)))
    with pytest.raises(StreamstopError, match=message):
        open_source(f"{tmp_path / 'rec.npy'}?{query}")


def test_a_name_with_a_question_mark_is_a_name_first(tmp_path: Path) -> None:
    path = tmp_path / "what?sensor=1x1.bin"
    path.write_bytes(bin_bytes(random_events(10)))
    assert open_source(str(path)).sensor == (128, 128)


def test_labels_go_with_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(bin_bytes(random_events(10)))
    with pytest.raises(UsageError, match="goes with a single file"):
        open_source(str(tmp_path), labels="rec.csv")


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(SourceError, match="unknown kind of source 'zmq'"):
        open_source("zmq://127.0.0.1:3333?sensor=346x260")


def test_a_reader_is_imported_when_a_file_needs_it() -> None:
    code = (
        "import sys, streamstop.formats.detect; "
        "print([m for m in sys.modules if m in ('faery', 'lz4', 'torch', 'zstandard')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_live_sensor_is_given_in_the_address_or_beside_it() -> None:
    with open_source("udp://:48613?times=arrival", sensor=SensorSize(34, 34)) as source:
        assert source.sensor == (34, 34)
        assert source.name == "udp://:48613?times=arrival"
        assert list(source.notes) == []
    with pytest.raises(UsageError, match="given as 34x34 and here as 12x12"):
        open_source("udp://:48613?sensor=12x12", sensor=SensorSize(34, 34))
