"""Which files of a folder are recordings, copies of one, labels, foreign or broken."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import Whole, aedat2_bytes, random_events, write_bin
from helpers.optional import h5py, hdf5plugin

from streamstop.errors import DamageError, SourceError, UsageError
from streamstop.events.packet import Events, SensorSize
from streamstop.formats.aedat.aedat4_writer import write_aedat4
from streamstop.sources.folder import FolderSource
from streamstop.sources.folder_files import list_recordings
from streamstop.sources.open import open_source

HEADER = "class,startTime_usec,endTime_usec\n"


def text(path: Path, events: Events, order: str = "txyp", scale: float | None = None) -> Path:
    """Events as lines of four numbers; times in seconds where `scale` is 1e-6."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = []
    for name in order:
        column = events[name].astype(np.int64)
        seconds = name == "t" and scale is not None
        columns.append([f"{v * scale:.6f}" if seconds else f"{v}" for v in column.tolist()])
    path.write_text("".join(" ".join(row) + "\n" for row in zip(*columns, strict=True)))
    return path


def recordings(root: Path, **options: str) -> dict[str, str]:
    """Names of the recordings, each with its class."""
    return {one.name: one.label for one in list_recordings(root, options).recordings}


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    for i, label in enumerate(("a", "b")):
        for k in range(2):
            events = random_events(600, seed=2 * i + k)
            (tmp_path / label).mkdir(exist_ok=True)
            (tmp_path / label / f"{k}.aedat").write_bytes(aedat2_bytes(events))
    return tmp_path


ALL = {"a/0.aedat": "a", "a/1.aedat": "a", "b/0.aedat": "b", "b/1.aedat": "b"}


def test_an_export_beside_its_recording_is_the_same_recording(classes: Path) -> None:
    for i, label in enumerate(("a", "b")):
        for k in range(2):
            events = random_events(600, seed=2 * i + k)
            text(classes / label / f"{k}.csv", events)
            np.savez(classes / label / f"{k}.npz", **{n: events[n] for n in "txyp"})
    listing = list_recordings(classes)
    assert {one.name: one.label for one in listing.recordings} == ALL
    (note,) = listing.notes
    assert note.startswith("8 files passed over, by their names copies of recordings")
    assert "a/0.csv (0.aedat is read)" in note
    assert len(Whole(FolderSource(str(classes))).events) == 2400


def test_arrays_go_before_text_and_compression_is_no_part_of_a_name(tmp_path: Path) -> None:
    import gzip

    events = random_events(600)
    np.save(tmp_path / "rec.npy", events)
    plain = text(tmp_path / "rec.txt", events)
    (tmp_path / "other.txt.gz").write_bytes(gzip.compress(plain.read_bytes()))
    assert list(recordings(tmp_path)) == ["other.txt.gz", "rec.npy"]


def test_the_same_number_in_another_folder_is_another_recording(tmp_path: Path) -> None:
    for label in "01":
        write_bin(tmp_path / label / "00001.bin", random_events(50, width=34, height=34))
    assert recordings(tmp_path) == {"0/00001.bin": "0", "1/00001.bin": "1"}


FOREIGN = {
    "a/calib.txt": "199.1 198.8 132.2 110.7 -0.37 0.15 0.0 0.0 0.0\n",
    "a/imu.txt": "0.0003 -0.1 9.7 0.2 0.01 0.02 0.03\n",
    "a/images.txt": "0.002 images/frame_0.png\n",
    "a/gt.txt": "".join(f"{i} 1 2 3 4 5 6 7 8\n" for i in range(39)),
    "a/poses.csv": "t,tx,ty,tz\n0.1,0.5,0.5,0.5\n",
    "split.csv": "file,label,split\na/0.aedat,0,train\n",
    "b/0_triggers.csv": "1,100,6\n0,200,6\n",
    "notes.txt": "what is this\n",
}


def test_tables_without_events_are_passed_over_in_one_line(
    classes: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, content in FOREIGN.items():
        (classes / name).write_text(content)
    names = ("ts", "x", "y", "w", "h", "class_id")
    np.save(classes / "a" / "0_bbox.npy", np.zeros(5, [(name, "f4") for name in names]))
    np.savez(classes / "b" / "camera.npz", matrix=np.eye(3), distortion=np.zeros(5))
    (classes / "README.md").write_text("about")
    with caplog.at_level(logging.WARNING):
        source = FolderSource(str(classes))
    assert source.labels is not None
    assert source.labels.classes == ("a", "b")
    note, *_ = source.notes
    assert note.startswith("10 files passed over, no recordings: notes.txt, split.csv, ")
    assert len([one for one in caplog.messages if "passed over" in one]) == 1
    whole = Whole(source)
    assert len(whole.events) == 2400
    assert not whole.damage


@pytest.mark.parametrize("name", ["a/9.aedat", "a/9.aedat4", "b/9.AEDAT"])
@pytest.mark.parametrize("content", [b"", b"junk" * 20])
def test_a_broken_recording_is_damage_and_the_rest_goes_on(
    classes: Path, name: str, content: bytes
) -> None:
    (classes / name).write_bytes(content)
    source = FolderSource(str(classes))
    for _ in range(2):
        whole = Whole(source)
        assert len(whole.events) == 2400
        (damage,) = whole.damage
        assert damage.path == str(classes / name)
        assert damage.reason.startswith("not read: ")
    assert not Whole(source.held_out()).damage
    assert any("1 recording not read, counted as damage" in one for one in source.notes)
    with pytest.raises(DamageError, match="not read"):
        FolderSource(str(classes), strict=True)


def test_a_cut_header_and_a_cut_archive_are_broken(classes: Path) -> None:
    write_aedat4(classes / "cut.aedat4", random_events(100), SensorSize(128, 128))
    for name, size in (("cut.aedat4", 40), ("cut.npz", 60)):
        if name.endswith("npz"):
            np.savez(classes / name, events=random_events(100))
        (classes / name).write_bytes((classes / name).read_bytes()[:size])
    broken = [one.name for one in list_recordings(classes).recordings if one.damage]
    assert broken == ["cut.aedat4", "cut.npz"]


def test_a_cut_hdf5_is_broken_and_one_without_events_is_passed_over(classes: Path) -> None:
    assert hdf5plugin.version
    events = random_events(5000)
    for name in ("cut.h5", "map.h5"):
        with h5py.File(classes / name, "w") as file:
            for column in "txyp" if name == "cut.h5" else ("rectify_map",):
                file[f"events/{column}"] = events[column] if len(column) == 1 else np.eye(4)
    (classes / "cut.h5").write_bytes((classes / "cut.h5").read_bytes()[:9000])
    listing = list_recordings(classes)
    assert [one.name for one in listing.recordings if one.damage] == ["cut.h5"]
    assert listing.notes[0].startswith("1 file passed over, no recordings: map.h5; map.h5: ")


def test_an_empty_table_is_broken_only_among_recordings_of_its_suffix(tmp_path: Path) -> None:
    text(tmp_path / "a" / "0.csv", random_events(600))
    for name in ("1.csv", "2.txt"):
        (tmp_path / "a" / name).write_bytes(b"")
    listing = list_recordings(tmp_path)
    assert [(one.name, one.damage is not None) for one in listing.recordings] == [
        ("a/0.csv", False),
        ("a/1.csv", True),
    ]
    assert listing.notes[0].startswith("1 file passed over, no recordings: 2.txt")


def test_a_copy_stands_in_for_a_broken_original_which_is_still_named(tmp_path: Path) -> None:
    text(tmp_path / "rec.csv", random_events(600))
    (tmp_path / "rec.aedat").write_bytes(b"")
    listing = list_recordings(tmp_path)
    assert [(one.name, one.damage is None) for one in listing.recordings] == [
        ("rec.aedat", False),
        ("rec.csv", True),
    ]


def test_nothing_to_read_says_what_was_found_and_why(tmp_path: Path) -> None:
    (tmp_path / "calib.txt").write_text(FOREIGN["a/calib.txt"])
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "rec.aedat4").write_bytes(b"")
    said = (
        r"no recording among the 3 files.*calib.txt: the table has 9 columns.*notes.txt: no format"
        r".*rec.aedat4: the file is empty"
    )
    with pytest.raises(SourceError, match=said):
        FolderSource(str(tmp_path))


@pytest.mark.parametrize(
    ("layout", "label"),
    [
        ("walk/seq0/events.txt", "walk"),
        ("walk/events.txt", "walk"),
        ("train/walk/events.txt", "walk"),
        ("walk/seq0/rec.txt", "seq0"),
    ],
)
def test_a_lone_events_file_is_of_the_class_of_the_folder_above(
    tmp_path: Path, layout: str, label: str
) -> None:
    path = text(tmp_path / layout, random_events(600), scale=1e-6)
    for name in ("imu.txt", "calib.txt", "images.txt"):
        (path.parent / name).write_text(FOREIGN[f"a/{name}"])
    assert recordings(tmp_path) == {layout: label}
    said = any(one.startswith("class of 1 recording called events") for one in
               list_recordings(tmp_path).notes)  # fmt: skip
    assert said is (label == "walk" and layout.startswith("walk/seq0"))
    whole = Whole(open_source(str(tmp_path)))
    assert whole.events["t"][-1] == pytest.approx(np.ptp(random_events(600)["t"]), abs=1)


def test_the_class_may_be_stated(tmp_path: Path) -> None:
    text(tmp_path / "walk" / "seq0" / "events.txt", random_events(600))
    text(tmp_path / "walk" / "seq0" / "more.txt", random_events(600, seed=1))
    assert set(recordings(tmp_path).values()) == {"seq0"}
    assert set(recordings(tmp_path, **{"class": "above"}).values()) == {"walk"}
    assert set(recordings(tmp_path, **{"class": "folder"}).values()) == {"seq0"}
    with pytest.raises(UsageError, match="class is one of folder, above"):
        open_source(f"{tmp_path}?class=name")
    text(tmp_path / "rec.txt", random_events(600))
    with pytest.raises(UsageError, match="has none"):
        open_source(f"{tmp_path}?class=above")


def test_options_go_to_each_recording_whose_format_takes_them(classes: Path) -> None:
    text(classes / "a" / "t.txt", random_events(600), "xytp")
    source = open_source(f"{classes}?columns=xytp&unit=ms")
    assert source.labels is not None
    spans = {one.recording: one.end_us - one.start_us for one in source.labels}
    assert spans["a/t.txt"] > 500 * spans["a/0.aedat"]
    for query, error, said in (
        ("topic=/events", UsageError, r"no recording .* takes \?topic="),
        ("unit=min", SourceError, "the unit is one of"),
        ("start_us=5", UsageError, r"\?start_us= goes with a single file"),
    ):
        with pytest.raises(error, match=said):
            open_source(f"{classes}?{query}")


def test_an_option_that_only_a_copy_takes_is_refused(classes: Path) -> None:
    text(classes / "a" / "0.csv", random_events(600))
    with pytest.raises(UsageError, match=r"takes \?columns="):
        open_source(f"{classes}?columns=txyp")


def test_notes_of_the_recordings_are_gathered(tmp_path: Path) -> None:
    for i in range(3):
        text(tmp_path / "a" / f"{i}.csv", random_events(600, seed=i), "xypt")
    (note,) = FolderSource(str(tmp_path)).notes
    assert note.startswith("columns read as x, y, p, t, inferred from their values")
    assert note.endswith("(3 of 3 recordings)")


def test_label_files_by_name_may_have_any_columns(tmp_path: Path) -> None:
    events = random_events(3000)
    seconds = (events["t"] - events["t"][0]) / 1e6
    half = seconds[-1] / 2
    for name in ("one", "two"):
        (tmp_path / f"{name}.aedat").write_bytes(aedat2_bytes(events))
        rows = f"0,{half:.6f},wave\n{half:.6f},{seconds[-1]:.6f},clap\n"
        (tmp_path / f"{name}_labels.csv").write_text("start,end,label\n" + rows)
    source = FolderSource(str(tmp_path))
    assert source.labels is not None
    assert (source.labels.classes, len(source.labels)) == (("clap", "wave"), 4)
    assert "label columns read: label, start, end (2 of 2 recordings)" in source.notes


def test_options_for_label_files_of_a_folder(tmp_path: Path) -> None:
    events = random_events(3000, start_us=5_000_000)
    (tmp_path / "rec.aedat").write_bytes(aedat2_bytes(events))
    last = int(events["t"][-1] - events["t"][0])
    rows = f"wave,0,{last // 2}\nclap,{last // 2},{last}\nlate,{9 * last},{10 * last}\n"
    (tmp_path / "rec_labels.csv").write_text("a,b,c\n" + rows)
    with pytest.raises(UsageError, match=r"\?label_columns=start,end,class after the folder"):
        open_source(str(tmp_path))
    stated = f"{tmp_path}?label_columns=class,start,end&label_unit=us"
    with pytest.raises(UsageError, match=r"line 4 \(late.*\?label_outside=drop after the folder"):
        open_source(stated)
    source = open_source(f"{stated}&label_outside=drop")
    assert source.labels is not None
    assert source.labels.classes == ("clap", "wave")
    with pytest.raises(UsageError, match="takes no option 'order'"):
        open_source(f"{tmp_path}?label_order=1")
    with pytest.raises(UsageError, match=r"\?label_unit= goes with a folder"):
        open_source(f"{tmp_path / 'rec.aedat'}?label_unit=s")


def test_a_table_of_events_called_like_the_recording_is_no_label_file(tmp_path: Path) -> None:
    events = random_events(600)
    (tmp_path / "rec.aedat").write_bytes(aedat2_bytes(events))
    (tmp_path / "rec.csv").write_text("start,end,label\n0,1,a\n")
    listing = list_recordings(tmp_path)
    assert [(one.name, one.csv) for one in listing.recordings] == [("rec.aedat", None)]
    assert "labels of rec; call it rec_labels.csv" in listing.notes[0]
    (tmp_path / "rec.csv").write_text(HEADER + "a,0,5\n")
    assert list_recordings(tmp_path).recordings[0].csv == tmp_path / "rec.csv"


def test_each_class_once_is_said_before_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for i in range(3):
        (tmp_path / f"rec{i}.aedat").write_bytes(aedat2_bytes(random_events(600, seed=i)))
    with caplog.at_level(logging.WARNING):
        source = FolderSource(str(tmp_path))
    assert any(one.startswith("each of the 3 classes has a single") for one in source.notes)
    assert "single segment" in caplog.messages[0]
    cut = FolderSource(str(tmp_path), length_us=5000)
    assert not any("single segment" in one for one in cut.notes)
