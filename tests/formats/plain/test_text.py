from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import FIELDS, Whole, random_events, same

from streamstop.errors import SourceError
from streamstop.formats.detect import open_recording
from streamstop.formats.plain.text import CsvRecording

EVENTS = random_events(60_000)


def write(path: Path, order: str = "txyp", header: str = "", separator: str = ",") -> Path:
    columns = [EVENTS[name].astype(np.int64).astype(str) for name in order]
    lines = [separator.join(row) for row in zip(*columns, strict=True)]
    path.write_text("\n".join([*([header] if header else []), *lines]) + "\n")
    return path


def read(path: Path, **options: str) -> Whole:
    return Whole(CsvRecording(str(path), **options).packets())


@pytest.mark.parametrize("separator", [",", ";", "\t", " "])
def test_without_a_header_the_order_is_txyp(tmp_path: Path, separator: str) -> None:
    whole = read(write(tmp_path / "rec.csv", separator=separator))
    assert same(whole.events, EVENTS)
    assert whole.damage == []


def test_without_a_header_the_order_may_be_given(tmp_path: Path) -> None:
    assert same(read(write(tmp_path / "rec.csv", "xypt"), columns="xypt").events, EVENTS)


@pytest.mark.parametrize("header", ["p,timestamp,x,y", '"pol","t","x","y"', "on, ts, X, Y"])
def test_a_header_names_the_columns(tmp_path: Path, header: str) -> None:
    path = write(tmp_path / "rec.csv", "ptxy", header)
    assert same(read(path).events, EVENTS)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert same(read(path).events, EVENTS)


def test_comments_come_first_and_may_be_the_header(tmp_path: Path) -> None:
    path = write(tmp_path / "rec.txt", "txyp", "# made by hand\n# t in us\nt,x@128,y@99,on")
    recording = CsvRecording(str(path))
    assert recording.sensor == (128, 99)
    assert not recording.simulated
    assert same(read(path).events, EVENTS)
    assert open_recording(str(path)).format == "csv"
    np.savetxt(path, [[1, 2, 3, 4], [0, 5, 6, 7]], "%d", header="p x y t")
    events = read(path).events
    assert events.tolist() == [(4, 2, 3, True), (7, 5, 6, False)]


def test_a_bad_line_costs_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "rec.csv")
    lines = path.read_bytes().split(b"\n")
    offset = sum(len(line) + 1 for line in lines[:1000])
    lines[1000] = b"1,2,3"
    lines[1001] = b"1,2,3,4,5"
    path.write_bytes(b"\n".join(lines))
    whole = read(path)
    assert same(whole.events, np.delete(EVENTS, [1000, 1001]))
    assert [(one.offset, one.lost_bytes) for one in whole.damage] == [(offset, 16)]
    assert "'1,2,3'" in whole.damage[0].reason


def test_polarity_may_be_a_word_and_a_line_blank(tmp_path: Path) -> None:
    path = tmp_path / "rec.csv"
    path.write_text("t,x,y,p\n1,2,3,True\n\n2,2,3,False\n3,2,3,0")
    whole = read(path)
    assert whole.events["p"].tolist() == [True, False, False]
    assert whole.damage == []


@pytest.mark.parametrize("first", ["a,b,c,d", "t,x,y", "x", "1,2,3"])
def test_a_first_line_that_is_neither_is_refused(tmp_path: Path, first: str) -> None:
    path = tmp_path / "rec.csv"
    path.write_text(first + "\n1,1,1,1\n")
    with pytest.raises(SourceError, match="first line"):
        read(path)


def test_reading_goes_on_from_any_packet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamstop.formats.plain.text.MAX_PACKET_EVENTS", 10_000)
    recording = CsvRecording(str(write(tmp_path / "rec.csv")))
    packets = list(recording.packets())
    assert any(packet.cursor.skip for packet in packets)
    for packet in packets:
        rest = Whole(recording.packets(packet.cursor)).events
        assert same(rest, EVENTS[packet.cursor.event :])


def test_times_in_seconds_are_read_where_the_unit_is_given(tmp_path: Path) -> None:
    """`t x y p`, t with nine decimals: the text format of the event-camera dataset."""
    path = tmp_path / "events.txt"
    rows = zip(*(EVENTS[name].tolist() for name in "txyp"), strict=True)
    path.write_text("".join(f"{t / 1e6:.9f} {x} {y} {p:d}\n" for t, x, y, p in rows))
    whole = read(path, unit="s")
    assert same(whole.events, EVENTS)
    assert whole.damage == []
    path.write_text("1468939993.0678625 1 2 1\n1.5e-2 33 29 0\n13 4 4 1\n" * 50 + "12 3 4.5 1\n")
    whole = read(path, columns="txyp", unit="s")
    assert whole.events["t"].tolist() == [1_468_939_993_067_862, 15_000, 13_000_000] * 50
    assert [one.lost_bytes for one in whole.damage] == [11]


@pytest.mark.parametrize("head", ["", "t,x,y,p\n"])
def test_times_with_a_fraction_are_seconds_unless_stated(tmp_path: Path, head: str) -> None:
    path = tmp_path / "rec.csv"
    path.write_text(f"{head}0.003811,96,133,0\n0.003820,96,134,0\n")
    assert read(path).events["t"].tolist() == [3811, 3820]
    assert "seconds" in CsvRecording(str(path)).notes[0]
    assert read(path, unit="s").events["t"].tolist() == [3811, 3820]
    assert read(path, unit="ms").events["t"].tolist() == [4, 4]
    with pytest.raises(SourceError, match="the unit is one of s, ms, us, ns, not 'h'"):
        read(path, unit="h")


def test_text_of_which_every_other_line_is_bad(tmp_path: Path) -> None:
    path = tmp_path / "rec.csv"
    rows = zip(*(EVENTS[name].tolist() for name in "txyp"), strict=True)
    path.write_text("".join(f"{t},{x},{y},{p:d}\n?\n" for t, x, y, p in rows))
    whole = read(path)
    assert same(whole.events, EVENTS)
    assert sum(one.lost_bytes for one in whole.damage) == 2 * len(EVENTS)
    assert len(whole.damage) < 3000


def test_a_cut_off_line_is_damage(tmp_path: Path) -> None:
    path = write(tmp_path / "rec.csv")
    path.write_bytes(path.read_bytes()[:-4])
    whole = read(path)
    assert same(whole.events, EVENTS[:-1])
    assert len(whole.damage) == 1


def test_faery_writes_what_we_read(tmp_path: Path) -> None:
    faery = pytest.importorskip("faery")
    theirs = np.zeros(len(EVENTS), faery.EVENTS_DTYPE)
    for name, field in zip(theirs.dtype.names, FIELDS, strict=True):
        theirs[name] = EVENTS[field]
    stream = faery.events_stream_from_array(theirs, (128, 128))
    stream.to_file(tmp_path / "rec.csv")
    assert same(read(tmp_path / "rec.csv").events, EVENTS)
