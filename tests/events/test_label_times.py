"""The unit of label times and where they start: inferred where one reading fits, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamstop.errors import UsageError
from streamstop.events.label_table import LabelOptions, LabelTable, read_label_table
from streamstop.events.label_times import FittedLabels, fit_labels, from_event_times

HEADER = "class,startTime_usec,endTime_usec\n"
FIRST, LAST = 5_000_137, 7_999_872


def table(tmp_path: Path, text: str, options: LabelOptions | None = None) -> LabelTable:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    return read_label_table(path, options)


def spans(fitted: FittedLabels) -> list[tuple[int, int]]:
    return [one[:2] for one in fitted.intervals]


TWO = HEADER + "a,0,100\nb,200,300\n"


def test_times_are_the_recordings_own_where_that_fits(tmp_path: Path) -> None:
    for first_us, last_us in ((0, 299), (10, 310)):
        fitted = fit_labels(table(tmp_path, TWO), first_us, last_us)
        assert spans(fitted) == [(0, 100), (200, 300)]
        assert fitted.notes == ()


def test_else_they_count_from_its_first_event_which_is_said(tmp_path: Path) -> None:
    fitted = fit_labels(table(tmp_path, TWO), 50_000, 50_290)
    assert spans(fitted) == [(50_000, 50_100), (50_200, 50_300)]
    said = "label times read as microseconds, counted from the recording's first event"
    assert fitted.notes == (said,)


@pytest.mark.parametrize(
    ("first_us", "last_us", "said"),
    [
        (0, 240, r"line 3 \(b,200,300\) lies outside"),
        (5000, 5240, r"line 3 \(b,200,300\).*1 of 2 intervals.*\?outside=drop"),
        (5000, 5010, "none lies within"),
    ],
)
def test_labels_of_another_recording_are_refused(
    tmp_path: Path, first_us: int, last_us: int, said: str
) -> None:
    with pytest.raises(UsageError, match=f"do not fit the recording.*{said}"):
        fit_labels(table(tmp_path, TWO), first_us, last_us)


def test_intervals_outside_are_left_out_where_the_user_says_so_or_data_are_lost(
    tmp_path: Path,
) -> None:
    text = HEADER + "a,4000000,5500000\nb,6000000,7000000\n"
    with pytest.raises(UsageError, match=r"line 2 \(a,4000000,5500000\)"):
        fit_labels(table(tmp_path, text), FIRST, LAST)
    fitted = fit_labels(table(tmp_path, text, LabelOptions(outside="drop")), FIRST, LAST)
    assert spans(fitted) == [(6_000_000, 7_000_000)]
    assert fitted.notes[-1].startswith("1 labelled interval outside the recording left out")
    damaged = fit_labels(table(tmp_path, text), FIRST, LAST, damaged=True)
    assert damaged.intervals == fitted.intervals
    assert damaged.notes[-1].endswith("the recording is damaged")


@pytest.mark.parametrize(
    ("times", "unit"),
    [("5,6", "seconds"), ("5000,6000", "milliseconds"), ("5000000000,6000000000", "nanoseconds")],
)
def test_the_one_unit_that_fits_is_taken_and_said(tmp_path: Path, times: str, unit: str) -> None:
    fitted = fit_labels(table(tmp_path, f"label,start,end\na,{times}\n"), FIRST, LAST)
    assert spans(fitted) == [(5_000_000, 6_000_000)]
    own = f"label times read as {unit} of the recording's own clock, the only unit that fits"
    assert fitted.notes[-1] == own


def test_fractions_are_seconds(tmp_path: Path) -> None:
    fitted = fit_labels(table(tmp_path, "label,start,end\na,0.25,1.5000004\n"), FIRST, LAST)
    assert spans(fitted) == [(FIRST + 250_000, FIRST + 1_500_000)]
    assert fitted.notes[-1].endswith("counted from the recording's first event, by their fractions")


@pytest.mark.parametrize("times", ["5.5,7.25", "5,6"])
def test_microseconds_in_the_header_and_seconds_below_it_are_refused(
    tmp_path: Path, times: str
) -> None:
    text = HEADER + f"wave,{times}\n"
    with pytest.raises(UsageError, match=r"are the label times seconds\?.*--labels FILE\?unit=s"):
        fit_labels(table(tmp_path, text), FIRST, LAST)
    seconds = fit_labels(table(tmp_path, text, LabelOptions(unit="s")), FIRST, LAST)
    start, end = (round(float(one) * 1e6) for one in times.split(","))
    assert spans(seconds) == [(start, end)]
    stated = fit_labels(table(tmp_path, text, LabelOptions(unit="us")), FIRST, LAST)
    assert stated.intervals[0].start_us == FIRST + round(float(times.split(",")[0]))


def test_short_intervals_all_over_a_recording_are_not_doubted(tmp_path: Path) -> None:
    rows = "".join(f"a,{start},{start + 5000}\n" for start in range(5_100_000, 7_900_000, 200_000))
    assert len(fit_labels(table(tmp_path, HEADER + rows), FIRST, LAST).intervals) == 14


def test_a_unit_that_nothing_tells_is_refused(tmp_path: Path) -> None:
    """Near the start of a long recording every small unit fits."""
    with pytest.raises(UsageError, match=r"unit of the label times is not stated.*\?unit="):
        fit_labels(table(tmp_path, "label,start,end\na,1,2\n"), 0, 1_000_000_000)


def test_options_of_a_folder_are_named_as_a_folder_takes_them(tmp_path: Path) -> None:
    options = LabelOptions(of_folder=True)
    with pytest.raises(UsageError, match=r"\?label_unit=s after the folder"):
        fit_labels(table(tmp_path, HEADER + "wave,5,6\n", options), FIRST, LAST)


EVENTS = "class,startTime_ev,endTime_ev\n"


def test_numbers_of_events_become_times(tmp_path: Path) -> None:
    read = table(tmp_path, EVENTS + "0,0,2\n1,2,4\n")
    fitted = from_event_times(read, [10, 30, 30, 51], 4)
    assert spans(fitted) == [(10, 30), (30, 51)]
    assert fitted.notes[-1] == "label times read as numbers of events, counted from 0"


@pytest.mark.parametrize(
    ("rows", "times", "damaged", "said"),
    [
        ("0,0,5\n", [10, 51], False, r"line 2 \(0,0,5\) counts events, of which .* has 4"),
        ("0,0,2\n", [10, 10], False, "same time, 10 us"),
        ("0,0,2\n", [10, 30], True, "part of the recording is lost"),
        ("0,0,2.5\n", [10, 30], False, "line 2"),
    ],
)
def test_numbers_of_events_that_do_not_fit(
    tmp_path: Path, rows: str, times: list[int], damaged: bool, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        from_event_times(table(tmp_path, EVENTS + rows), times, 4, damaged=damaged)
