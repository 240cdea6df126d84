from __future__ import annotations

from pathlib import Path

import pytest

from streamstop.errors import UsageError
from streamstop.events.labels import apply_class_names, is_label_csv, sorted_classes


def test_whole_numbers_sort_by_value() -> None:
    assert sorted_classes(["11", "2", "b", "1", "a", "2"]) == ("1", "2", "11", "a", "b")


def test_only_the_documented_header_tells_labels_from_events() -> None:
    assert is_label_csv(b"\xef\xbb\xbfclass, startTime_usec,endTime_usec\r\n1,0,5\n")
    for head in (b"class;startTime_usec;endTime_usec\n", b"start,end,label\n", b"t,x,y,p\n", b""):
        assert not is_label_csv(head)


def test_class_names_come_from_the_mapping_of_the_set(tmp_path: Path) -> None:
    """As in the DVS-Gesture set: names by number, the number kept in front; no file, no names."""
    assert apply_class_names(("1", "8"), tmp_path) == ("1", "8")
    (tmp_path / "gesture_mapping.csv").write_text("action,label\nhand_clapping,1\narm_roll,8\n")
    assert apply_class_names(("1", "8", "9"), tmp_path) == ("1 hand_clapping", "8 arm_roll", "9")
    (tmp_path / "gesture_mapping.csv").write_text("action,label\nhand_clapping\n")
    with pytest.raises(UsageError, match="line 2"):
        apply_class_names(("1",), tmp_path)
