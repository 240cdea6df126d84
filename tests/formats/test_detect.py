"""What a file's format is taken to be, by its content first and by its name where that is open."""

from __future__ import annotations

import gzip
from importlib import import_module
from pathlib import Path

import pytest
from helpers.event_files import aedat2_bytes, bin_bytes, random_events

from streamstop.errors import SourceError, UsageError
from streamstop.formats.detect import FORMATS, SHORT, detect_format, open_recording

LABELS = b"class,startTime_usec,endTime_usec\n1,0,5\n"


def written(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize(
    ("content", "name", "format"),
    [
        (b"#!AER-DAT4.0\r\n", "rec.bin", "AEDAT4"),
        (b"#!AER-DAT1.0\r\n", "rec.dat", "AEDAT 1.0 or 2.0"),
        (b"#!AER-DAT2.0\r\n", "rec.aedat", "AEDAT 1.0 or 2.0"),
        (b"#!AER-DAT3.1\r\n", "rec.aedat", "AEDAT 3.1"),
        (b"#!AER-DAT7.5\r\n", "rec.aedat", "AEDAT of another version"),
        (b"\x93NUMPY\x01\x00", "rec.csv", "NumPy .npy"),
        (b"PK\x03\x04....", "rec.npz", "NumPy .npz"),
        (b"% evt 3.0\n% end\n", "rec.raw", "Prophesee EVT3"),
        (b"% date now\n% format EVT21;height=720\n", "rec.raw", "Prophesee EVT2.1"),
        (b"% evt 2.1\n", "rec.raw", "Prophesee EVT2.1"),
        (b"% evt 2.0\n", "rec.raw", "Prophesee EVT2"),
        (b"% Data file containing CD events.\n", "rec.dat", "Prophesee DAT"),
        (b"Event Stream\x02\x00\x00", "rec.es", "Event Stream .es"),
        (b"\x89HDF\r\n\x1a\n", "rec.aedat4", "HDF5"),
        (b"#ROSBAG V2.0\n", "rec.bag", "ROS 1 bag"),
        (b"\x89MCAP0\r\n", "rec.mcap", "MCAP"),
        (b"SQLite format 3\0", "rec.db3", "ROS 2 bag .db3"),
        (b"\x01\x02\x03\x04\x05", "rec.bin", "N-MNIST .bin"),
        (b"1,2,3,0\n", "rec.csv", "events as .csv"),
        (b"t x y p\n1 2 3 0\n", "rec.txt", "events as .csv"),
        (b"# made by hand\n1.5 2 3 true\n", "rec.txt", "events as .csv"),
    ],
)
def test_content_tells_the_format(tmp_path: Path, content: bytes, name: str, format: str) -> None:
    found = detect_format(written(tmp_path / name, content))
    assert found is not None
    assert found.name == format


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"PK\x03\x04....", "rec.zip"),
        (b"% nothing that says a format\n", "rec.raw"),
        (LABELS, "rec.csv"),
        (b"1,2,3\x00,0\n", "rec.csv"),
        (b"three short lines\nof prose\n", "rec.txt"),
        (b"1 2 3\n", "rec.txt"),
        (b"1,2,3,0\n", "rec.md"),
    ],
)
def test_what_is_not_of_events_is_not_taken_for_it(
    tmp_path: Path, content: bytes, name: str
) -> None:
    assert detect_format(written(tmp_path / name, content)) is None


def test_a_packed_file_is_what_is_packed_in_it(tmp_path: Path) -> None:
    events = random_events(5)
    text = written(tmp_path / "rec.csv.gz", gzip.compress(aedat2_bytes(events)))
    assert detect_format(text) == next(one for one in FORMATS if one.name == "AEDAT 1.0 or 2.0")
    bare = written(tmp_path / "rec.bin.gz", gzip.compress(bin_bytes(events)))
    assert detect_format(bare) == next(one for one in FORMATS if one.name == "N-MNIST .bin")


def test_a_format_that_is_asked_for_goes_before_content_and_name(tmp_path: Path) -> None:
    path = written(tmp_path / "rec.xyz", bin_bytes(random_events(5)))
    with pytest.raises(SourceError, match="unknown format"):
        open_recording(path)
    assert open_recording(path, {"format": "NMNIST"}).format == "nmnist"
    with pytest.raises(UsageError, match="did you mean aedat4"):
        open_recording(path, {"format": "aedat5"})


def test_an_option_of_another_format_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "rec.bin", bin_bytes(random_events(5)))
    with pytest.raises(SourceError, match=r"takes no option 'columns' \(it takes sensor, format"):
        open_recording(path, {"columns": "txyp"})


def test_every_short_name_is_of_a_format_that_is_read() -> None:
    read = {one.name for one in FORMATS if one.opens}
    assert set(SHORT.values()) == read


def test_every_reader_in_the_table_exists() -> None:
    for one in FORMATS:
        if one.opens:
            module, _, kind = one.opens.partition(":")
            assert hasattr(import_module(f"streamstop.formats.{module}"), kind)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("davis346.aedat4", "AEDAT4"),
        ("evt2.raw", "Prophesee EVT2"),
        ("evt3.raw", "Prophesee EVT3"),
        ("evt3.npy", "NumPy .npy"),
        ("ncars.dat", "Prophesee DAT"),
        ("ncars.es", "Event Stream .es"),
        ("nmnist.bin", "N-MNIST .bin"),
        ("jaer-aedat1.dat", "AEDAT 1.0 or 2.0"),
    ],
)
def test_real_files_are_recognised(data_dir: Path, name: str, known: str) -> None:
    found = detect_format(str(data_dir / "formats" / name))
    assert found is not None
    assert found.name == known


@pytest.mark.parametrize(
    ("content", "name", "advice"),
    [
        (b"PK\x03\x04....", "rec.pt", "PyTorch.*load it in a Python of your own.*numpy.savez"),
        (b"\x80\x02\x8a\nl\xfc", "rec.pth", "PyTorch"),
        (b"\x80\x04\x95\x00", "rec.data", "a pickle.*runs what it holds"),
        (b"(lp0\n", "rec.pkl", "a pickle"),
        (b"\x00\x00\x00\x20ftypisom", "rec.mp4", "a video.*v2e"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "rec.avi", "a video"),
        (b"PK\x03\x04....", "rec.zip", "an archive.*unpack it first"),
        (b"a" * 257 + b"ustar\x0000", "rec.tar", "an archive"),
        (b"rosbag2_bagfile_information:\n", "metadata.yaml", "give the .mcap or .db3"),
        (b"\x00" * 16 + b"\xde\xc0\xef\xbe", "data.mdb", "LMDB"),
        (b"\x10\x00\x00\x00", "rec.tfrecord", "TFRecord.*numpy.savez"),
        (b"#!AER-DAT3.0\r\n", "rec.aedat", "another version.*AEDAT 2.0 with jAER"),
    ],
)
def test_what_is_not_read_is_named_with_the_way_on(
    tmp_path: Path, content: bytes, name: str, advice: str
) -> None:
    with pytest.raises(SourceError, match=f"recognised as .*{advice}"):
        open_recording(written(tmp_path / name, content))


def test_a_packed_archive_is_named_too(tmp_path: Path) -> None:
    path = written(tmp_path / "rec.tar.gz", gzip.compress(b"a" * 257 + b"ustar\x0000"))
    with pytest.raises(SourceError, match="recognised as an archive"):
        open_recording(path)
