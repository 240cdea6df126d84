from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import Whole, aedat2_bytes, bin_bytes, random_events, same
from helpers.pipes import pipe

from streamstop.errors import UsageError
from streamstop.events.packet import SensorSize
from streamstop.formats.aedat.aedat4_writer import write_aedat4
from streamstop.formats.plain.writers import write_npz
from streamstop.sources.open import open_source

EVENTS = random_events(200_000, start_us=50_000, width=34, height=34)
times = EVENTS["t"]
FIRST, LAST = int(times[0]), int(times[-1])
HEADER = "class,startTime_usec,endTime_usec\n"


@pytest.fixture(params=["aedat", "aedat4", "npz", "bin", "csv"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"rec.{request.param}"
    if request.param == "aedat4":
        write_aedat4(path, EVENTS, SensorSize(34, 34), zstd_level=1)
    elif request.param == "npz":
        write_npz(path, EVENTS, SensorSize(34, 34))
    elif request.param == "csv":
        np.savetxt(path, np.stack([EVENTS[name] for name in "txyp"], 1), "%d", delimiter=",")
    else:
        path.write_bytes({"aedat": aedat2_bytes, "bin": bin_bytes}[request.param](EVENTS))
    return path


def test_a_stretch_of_any_format(path: Path) -> None:
    """Half open: an event at the start is in, one at the stop is not."""
    start, stop = int(times[90_000]), int(times[140_000])
    for query in (
        f"start_us={start}&stop_us={stop}",
        f"start_us=+{start - FIRST}&stop_us=+{stop - FIRST}",
        f"start_us={start}&stop_us=+{stop - FIRST}",
    ):
        whole = Whole(open_source(f"{path}?{query}"))
        assert same(whole.events, EVENTS[(times >= start) & (times < stop)])
        assert not whole.dropped
        assert whole.damage == []
    assert same(Whole(open_source(f"{path}?start_us={start}")).events, EVENTS[times >= start])
    assert same(Whole(open_source(f"{path}?stop_us={stop}")).events, EVENTS[times < stop])


def test_a_stretch_without_events_says_where_there_are_some(path: Path) -> None:
    for query in (f"start_us={LAST + 1}", f"stop_us={FIRST}", "start_us=1&stop_us=9"):
        with pytest.raises(UsageError, match=rf"from {FIRST} to {LAST} us.*{path.name}$"):
            open_source(f"{path}?{query}")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("start_us=1.5", "start_us is a whole number of microseconds"),
        ("stop_us=+-4", "stop_us is a whole number"),
        ("start_us=80000&stop_us=80000", "start_us = 80000 us is not before stop_us = 80000 us"),
        ("start_us=+9000&stop_us=1", f"start_us = {FIRST + 9000} us"),
    ],
)
def test_times_that_make_no_sense(tmp_path: Path, query: str, message: str) -> None:
    path = tmp_path / "rec.bin"
    path.write_bytes(bin_bytes(EVENTS[:1000]))
    with pytest.raises(UsageError, match=message):
        open_source(f"{path}?{query}")


def test_events_out_of_order_are_judged_by_their_own_time(tmp_path: Path) -> None:
    events = EVENTS[:5000].copy()
    events["t"][1000:4000] += np.random.default_rng(0).integers(-3000, 3000, 3000)
    start, stop = int(times[1500]), int(times[3500])
    path = tmp_path / "rec.aedat"
    path.write_bytes(aedat2_bytes(events))
    whole = Whole(open_source(f"{path}?start_us={start}&stop_us={stop}"))
    assert same(whole.events, events[(events["t"] >= start) & (events["t"] < stop)])


def test_reading_ends_after_the_stop(tmp_path: Path) -> None:
    """Damage far behind the stop is not met, damage inside is."""
    path = tmp_path / "rec.aedat"
    path.write_bytes(aedat2_bytes(EVENTS)[:-3])
    early = open_source(f"{path}?stop_us={int(times[1000])}", strict=True)
    assert len(Whole(early).events) == np.count_nonzero(times < times[1000])
    late = Whole(open_source(f"{path}?start_us={int(times[150_000])}"))
    assert same(late.events, EVENTS[:-1][times[:-1] >= times[150_000]])
    assert len(late.damage) == 1


@pytest.mark.parametrize("own", [True, False])
def test_labels_of_the_whole_fit_a_stretch(tmp_path: Path, own: bool) -> None:
    path, labels = tmp_path / "rec.aedat", tmp_path / "labels.csv"
    events = EVENTS.copy()
    events["t"] += 10_000_000  # so that times from the first event cannot be the recording's own
    first = int(events["t"][0])
    path.write_bytes(aedat2_bytes(events))
    shift = first if own else 0
    rows = [("a", 0, 1_000_000), ("b", 2_000_000, 3_000_000), ("a", 4_000_000, 5_000_000)]
    labels.write_text(HEADER + "".join(f"{c},{s + shift},{e + shift}\n" for c, s, e in rows))
    uri = f"{path}?start_us=+2500000&stop_us=+4500000"
    source = open_source(uri, labels=str(labels))
    assert source.labels is not None
    assert [(one.start_us - first, one.end_us - first) for one in source.labels] == [
        (2_500_000, 3_000_000),
        (4_000_000, 4_500_000),
    ]
    limited = Whole(open_source(uri, labels=str(labels), limit=1))
    since = events["t"] - first
    inside = (since >= 2_500_000) & (since < 4_500_000)
    assert limited.dropped["segment_limit"] + len(limited.events) == np.count_nonzero(inside)
    with pytest.raises(UsageError, match="no labelled interval lies between"):
        open_source(f"{path}?start_us=+6000000", labels=str(labels))


def test_a_stretch_of_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    content = aedat2_bytes(EVENTS)
    pipe(monkeypatch, content, piece=4000)
    whole = Whole(open_source("-?start_us=+500000&stop_us=+1500000"))
    assert same(whole.events, EVENTS[(times >= FIRST + 500_000) & (times < FIRST + 1_500_000)])
    pipe(monkeypatch, content, piece=100_000)
    source = open_source(f"-?start_us={LAST + 1}")
    with pytest.raises(UsageError, match=f"lie from {FIRST} to {LAST} us"):
        Whole(source)


def test_a_folder_has_no_time_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(bin_bytes(EVENTS[:10]))
    with pytest.raises(UsageError, match=r"\?start_us= goes with a single file"):
        open_source(f"{tmp_path}?start_us=5")
