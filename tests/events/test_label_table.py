"""Label files as people have them: columns, separators, numbers, encodings, and what is refused."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from streamstop.errors import SourceError, UsageError
from streamstop.events.label_table import (
    EVENTS,
    LabelOptions,
    LabelRow,
    read_label_csv,
    read_label_table,
)
from streamstop.events.labels import LabelInterval

HEADER = "class,startTime_usec,endTime_usec\n"
ROWS = [LabelRow(5, 6, "wave", 2), LabelRow(6, 7, "clap", 3)]


def write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "rec_labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_intervals_come_in_time_order_with_their_lines(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + "2,300,400\n\n wave , 100 ,200\n")
    assert read_label_csv(path) == [
        LabelInterval(100, 200, "wave", 4),
        LabelInterval(300, 400, "2", 2),
    ]
    assert read_label_table(path).notes == ()


@pytest.mark.parametrize(
    ("header", "unit"),
    [
        ("start,end,label", ""),
        ("Start_s,End_s,Label", "s"),
        ("t_start [ms],t_end [ms],gesture", "ms"),
        ("onset,offset,action", ""),
        ('"begin_us","stop_us","class"', "us"),
        ("startTimeNs,endTimeNs,name", "ns"),
        ("startTime_ev,endTime_ev,class", EVENTS),
        ("# start end label", ""),
    ],
)
def test_columns_are_found_by_their_usual_names(tmp_path: Path, header: str, unit: str) -> None:
    rows = "5,6,wave\n6,7,clap\n"
    rows = rows.replace(",", " ") if header.startswith("#") else rows
    table = read_label_table(write(tmp_path, f"{header}\n{rows}"))
    assert table.rows == ROWS
    assert table.unit == unit
    assert table.notes[0].startswith("label columns read: ")


@pytest.mark.parametrize("separator", [";", "\t", "  ", ","])
def test_separators_and_more_columns(tmp_path: Path, separator: str) -> None:
    text = "subject,label,start,end\ns1,wave,5,6\ns1,clap,6,7\n".replace(",", separator)
    table = read_label_table(write(tmp_path, text))
    assert table.rows == ROWS
    assert table.notes == ("label columns read: label, start, end; not read: subject",)


def test_a_duration_counts_from_the_start(tmp_path: Path) -> None:
    table = read_label_table(write(tmp_path, "label,onset_s,duration_s\nwave,5,1\nclap,6,1\n"))
    assert table.rows == ROWS


def test_the_pair_of_columns_with_a_unit_goes_first(tmp_path: Path) -> None:
    text = "label,start,end,start_us,end_us\nwave,1,2,5,6\nclap,2,3,6,7\n"
    table = read_label_table(write(tmp_path, text))
    assert (table.rows, table.unit) == (ROWS, "us")


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("label,start,end\na,5.0e6,6.0\n", None),
        ("label,start,end\na,5.0,6.0e6\n", (5, 6_000_000)),
        ("label;start;end\na;5,25;6,5\n", (Decimal("5.25"), Decimal("6.5"))),
        ("label\tstart\tend\na\t.5\t1e0\n", (Decimal("0.5"), 1)),
    ],
)
def test_numbers_as_they_are_written(
    tmp_path: Path, text: str, times: tuple[object, object] | None
) -> None:
    path = write(tmp_path, text)
    if times is None:
        with pytest.raises(UsageError, match="line 2 ends before it begins"):
            read_label_table(path)
        return
    table = read_label_table(path)
    assert table.rows[0][:2] == times
    assert table.has_fractions is any(isinstance(one, Decimal) for one in times)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_encodings(tmp_path: Path, encoding: str, newline: str) -> None:
    text = (HEADER + "grüßen,5,6\n").replace("\n", newline)
    table = read_label_table(write(tmp_path, text.encode(encoding)))
    assert table.rows == [LabelRow(5, 6, "grüßen", 2)]
    said = ("label file read as Windows-1252: it is not UTF-8",)
    assert table.notes == (said if encoding == "latin-1" else ())


def test_a_spreadsheets_first_line_and_comments_are_passed_over(tmp_path: Path) -> None:
    text = "sep=;\n# made by hand\n\nclass;startTime_usec;endTime_usec\nwave;5;6\n"
    assert read_label_table(write(tmp_path, text)).rows == [LabelRow(5, 6, "wave", 5)]


@pytest.mark.parametrize(
    "text",
    [
        "wave,5,6\nclap,6,7\n",
        "5 6 wave\n6 7 clap\n",
        "5;wave;6\n6;clap;7\n",
    ],
)
def test_without_a_header_where_only_one_reading_is_possible(tmp_path: Path, text: str) -> None:
    table = read_label_table(write(tmp_path, text))
    assert [one[:3] for one in table.rows] == [one[:3] for one in ROWS]
    assert "inferred from their values" in table.notes[0]


def test_numbers_of_classes_without_a_header(tmp_path: Path) -> None:
    table = read_label_table(write(tmp_path, "0,5,6\n1,6,7\n0,8,9\n"))
    assert [one[:3] for one in table.rows] == [(5, 6, "0"), (6, 7, "1"), (8, 9, "0")]
    assert table.notes == ("label columns read as class, start, end, inferred from their values",)


def test_what_the_user_states_is_taken(tmp_path: Path) -> None:
    options = LabelOptions.parse({"unit": "s", "columns": "-,end,start,class"})
    for head in ("", "who,a,b,c\n", "who,to_ms,from_ms,c\n"):
        table = read_label_table(write(tmp_path, head + "x,6,5,wave\n"), options)
        assert table.rows[0][:3] == (5, 6, "wave")
        assert table.unit == "s"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"unit": "min"}, "one of us, ms, s, ns, events"),
        ({"columns": "start,end"}, "start, end .or duration. and class"),
        ({"outside": "keep"}, "outside may be drop"),
        ({"delay": "5"}, "takes no option 'delay'"),
    ],
)
def test_options_that_do_not_exist(options: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        LabelOptions.parse(options)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no interval"),
        ("# nothing\n", "holds no interval"),
        (HEADER, "holds no interval"),
        ("class,from,who\n1,0,5\n", r"names its columns.*\?columns=start,end,class"),
        ("wave,5,6\n", None),
        ("1,5,6\n", r"no header.*line 1 is '1,5,6'.*\?columns="),
        ("a,5,6\nb,9,8\n", r"no header.*\?columns="),
        (HEADER + "1,0\n", "line 2 has 2 columns, and the first has 3"),
        (HEADER + "1,0,5,7\n", "line 2 has 4 columns"),
        (HEADER + "2,five,9\n", "line 2 is not a class and two numbers: '2,five,9'"),
        (HEADER + "1,0,1_000\n", "line 2 is not"),
        (HEADER + '1,0,"1,000"\n', "line 2 is not"),
        (HEADER + "1,0,nan\n", "line 2 is not"),
        (HEADER + "1,0,1e99\n", "line 2 is not"),
        (HEADER + "1,5,5\n", "line 2 ends before it begins"),
        (HEADER + ",0,5\n", "line 2 names no class"),
        (HEADER + "1,10,20\n2,0,11\n", "lines 3 and 2 overlap, from 10 us to 11 us"),
        (HEADER + "1,0," + "5" * 140_000 + "\n", "line 2 cannot be read"),
        (HEADER.encode("utf-16-le"), "zero bytes"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(
    tmp_path: Path, text: str | bytes, said: str | None
) -> None:
    path = write(tmp_path, text)
    if said is None:
        assert read_label_table(path).rows == [LabelRow(5, 6, "wave", 1)]
        return
    with pytest.raises(UsageError, match=said) as error:
        read_label_table(path)
    assert str(error.value).endswith(str(path))


def test_a_missing_file_is_the_sources_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        read_label_table(tmp_path / "none.csv")


def test_touching_intervals_do_not_overlap(tmp_path: Path) -> None:
    assert len(read_label_csv(write(tmp_path, HEADER + "1,0,5\n2,5,9\n"))) == 2


def test_without_a_recording_the_unit_has_to_be_stated(tmp_path: Path) -> None:
    path = write(tmp_path, "label,start,end\nwave,5,6\n")
    with pytest.raises(UsageError, match=r"--labels FILE\?unit=us"):
        read_label_csv(path)
    read = read_label_csv(path, LabelOptions(unit="ms"))
    assert read == [LabelInterval(5000, 6000, "wave", 2)]
    with pytest.raises(UsageError, match="they count events"):
        read_label_csv(path, LabelOptions(unit=EVENTS))
