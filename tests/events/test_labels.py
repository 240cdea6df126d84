from __future__ import annotations

from pathlib import Path

import pytest

from streamstop.errors import SourceError, UsageError
from streamstop.events.labels import (
    LabelInterval,
    align_intervals,
    apply_class_names,
    read_label_csv,
    sorted_classes,
)

HEADER = "class,startTime_usec,endTime_usec\n"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "rec_labels.csv"
    path.write_text(text)
    return path


def test_intervals_come_in_time_order_with_their_lines(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + "2,300,400\n\n wave , 100 ,200\n")
    assert read_label_csv(path) == [
        LabelInterval(100, 200, "wave", 4),
        LabelInterval(300, 400, "2", 2),
    ]


def test_as_a_spreadsheet_saves_it(tmp_path: Path) -> None:
    path = tmp_path / "rec.csv"
    path.write_bytes(b"\xef\xbb\xbf" + (HEADER + "1,0,5\n").replace("\n", "\r\n").encode())
    assert read_label_csv(path) == [LabelInterval(0, 5, "1", 2)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("class,start,end\n1,0,5\n", "the first line of a label file is class,startTime_usec"),
        (HEADER, "holds no interval"),
        (HEADER + "1,0\n", "line 2"),
        (HEADER + "1,0,5\n2,five,9\n", "line 3"),
        (HEADER + "1,0,5.5\n", "line 2"),
        (HEADER + "1,5,5\n", "line 2 ends before it begins"),
        (HEADER + ",0,5\n", "line 2 names no class"),
        (HEADER + "1,10,20\n2,0,11\n", "lines 3 and 2 overlap, from 10 us to 11 us"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(
    tmp_path: Path, text: str, said: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError, match=said) as error:
        read_label_csv(path)
    assert str(error.value).endswith(str(path))


def test_a_missing_file_is_the_sources_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        read_label_csv(tmp_path / "none.csv")


def test_touching_intervals_do_not_overlap(tmp_path: Path) -> None:
    assert len(read_label_csv(write(tmp_path, HEADER + "1,0,5\n2,5,9\n"))) == 2


def test_whole_numbers_sort_by_value() -> None:
    assert sorted_classes(["11", "2", "b", "1", "a", "2"]) == ("1", "2", "11", "a", "b")


INTERVALS = [LabelInterval(0, 100, "a"), LabelInterval(200, 300, "b")]


def test_times_are_the_recordings_own_where_that_fits() -> None:
    assert align_intervals(INTERVALS, 0, 299, "x") == INTERVALS
    assert align_intervals(INTERVALS, 10, 310, "x") == INTERVALS


def test_else_they_count_from_its_first_event() -> None:
    fitted = align_intervals(INTERVALS, 5000, 5290, "x")
    assert [one[:2] for one in fitted] == [(5000, 5100), (5200, 5300)]


@pytest.mark.parametrize(("first_us", "last_us"), [(0, 240), (5000, 5240), (5000, 5010)])
def test_labels_of_another_recording_are_refused(first_us: int, last_us: int) -> None:
    """The second interval lies mostly after the recording's end, in either way of counting."""
    with pytest.raises(UsageError, match=r"do not fit .* 2 intervals from 0 to 300 us"):
        align_intervals(INTERVALS, first_us, last_us, "x")


def test_class_names_come_from_the_mapping_of_the_set(tmp_path: Path) -> None:
    """As in the DVS-Gesture set: names by number, the number kept in front; no file, no names."""
    assert apply_class_names(("1", "8"), tmp_path) == ("1", "8")
    (tmp_path / "gesture_mapping.csv").write_text("action,label\nhand_clapping,1\narm_roll,8\n")
    assert apply_class_names(("1", "8", "9"), tmp_path) == ("1 hand_clapping", "8 arm_roll", "9")
    (tmp_path / "gesture_mapping.csv").write_text("action,label\nhand_clapping\n")
    with pytest.raises(UsageError, match="line 2"):
        apply_class_names(("1",), tmp_path)
