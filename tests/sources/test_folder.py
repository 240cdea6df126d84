from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import Whole, aedat2_bytes, bin_bytes, random_events, same, write_bin
from hypothesis import given, settings
from hypothesis import strategies as st

from streamstop.errors import DamageError, SourceError, UsageError
from streamstop.events.binning import Binner
from streamstop.events.labels import LabelTrack
from streamstop.events.packet import SensorSize, make_events
from streamstop.formats.aedat.aedat4_writer import write_aedat4
from streamstop.sources.folder import FolderSource
from streamstop.sources.ordering import Offered

ORDERS = ["iid", "round-robin", "by-class"]
HEADER = "class,startTime_usec,endTime_usec\n"


def track(source: FolderSource) -> LabelTrack:
    assert source.labels is not None
    return source.labels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes of two recordings each; 1000 events and about 50 ms a recording."""
    for label in ("10", "9", "b"):
        for i in range(2):
            events = random_events(1000, width=34, height=34, seed=len(label) * 10 + i)
            write_bin(tmp_path / label / f"{i}.bin", events)
    return tmp_path


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("length_us", [0, 7000, 10_000])
def test_every_event_is_handed_over_once_or_counted_once(
    folder: Path, order: str, length_us: int
) -> None:
    whole = Whole(FolderSource(str(folder), order=order, length_us=length_us))
    assert len(whole.events) + whole.dropped.total() == 6000
    assert set(whole.dropped) == ({"segment_tail"} if length_us else set())


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("length_us", [0, 7000])
def test_segments_lie_end_to_end_on_whole_bins(folder: Path, order: str, length_us: int) -> None:
    source = FolderSource(str(folder), order=order, length_us=length_us, align_us=3000)
    segments = track(source).segments
    assert source.origin_us == segments[0].start_us == 0
    assert all(one.end_us == after.start_us for one, after in pairwise(segments))
    assert all(one.end_us % 3000 == 0 for one in segments)
    if length_us:
        assert {one.end_us - one.start_us for one in segments} == {9000}


def test_each_segment_holds_just_the_events_of_its_stretch(folder: Path) -> None:
    source = FolderSource(str(folder), length_us=7000, seed=3)
    events = Whole(source).events
    assert (np.diff(events["t"]) >= 0).all()
    for one in track(source):
        recording = random_events(
            1000,
            width=34,
            height=34,
            seed=len(one.recording.split("/")[0]) * 10 + int(one.recording[-5]),
        )
        time_us = recording["t"] - recording["t"][0] - one.recording_us
        expected = recording[(time_us >= 0) & (time_us < 7000)].copy()
        expected["t"] += one.start_us - recording["t"][0] - one.recording_us
        within = (events["t"] >= one.start_us) & (events["t"] < one.end_us)
        assert same(events[within], expected)
        assert track(source).classes[one.label] == one.recording.split("/")[0]


def test_the_last_packet_of_a_segment_says_that_it_is_over(folder: Path) -> None:
    source = FolderSource(str(folder), length_us=7000)
    ends = [one.until_us for one in source if one.until_us is not None]
    assert ends == [one.end_us for one in track(source)]


def test_classes_are_sorted_as_numbers_first(folder: Path) -> None:
    assert track(FolderSource(str(folder))).classes == ("9", "10", "b")


def order_of(source: FolderSource) -> list[tuple[str, int]]:
    return [(one.recording, one.recording_us) for one in track(source)]


def test_iid_is_drawn_from_the_seed_alone(folder: Path) -> None:
    drawn = [order_of(FolderSource(str(folder), length_us=7000, seed=seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
    assert sorted(drawn[0]) == sorted(drawn[2])


def test_two_passes_are_the_same(folder: Path) -> None:
    source = FolderSource(str(folder), length_us=7000)
    first, second = Whole(source), Whole(source)
    assert same(first.events, second.events)
    assert first.dropped == second.dropped


def test_round_robin_never_scores_a_segment_after_a_later_one_of_its_recording(
    folder: Path,
) -> None:
    source = FolderSource(str(folder), length_us=7000, order="round-robin")
    seen: dict[str, int] = defaultdict(lambda: -1)
    for recording, at_us in order_of(source):
        assert at_us > seen[recording]
        seen[recording] = at_us
    first_turn = [one.recording for one in track(source).segments[:6]]
    assert sorted(first_turn) == sorted(seen)
    classes = [track(source).classes[one.label] for one in track(source).segments[:6]]
    assert classes == ["9", "10", "b"] * 2


def test_by_class_goes_class_after_class_in_time_order(folder: Path) -> None:
    source = FolderSource(str(folder), length_us=7000, order="by-class")
    labels = [one.label for one in track(source)]
    assert labels == sorted(labels)
    assert order_of(source) == sorted(
        order_of(source), key=lambda item: (["9", "10", "b"].index(item[0].split("/")[0]), item)
    )


def test_a_limit_drops_the_rest_and_counts_it(folder: Path) -> None:
    source = FolderSource(str(folder), length_us=7000, limit=4)
    whole = Whole(source)
    assert len(track(source)) == 4
    assert len(whole.events) + whole.dropped.total() == 6000
    assert whole.dropped["segment_limit"] > 0
    everything = order_of(FolderSource(str(folder), length_us=7000))
    assert order_of(source) == everything[:4]


@settings(max_examples=25, deadline=None)
@given(
    times=st.lists(st.lists(st.integers(0, 3000), min_size=1, max_size=40), min_size=1, max_size=3),
    length_us=st.integers(0, 900),
    order=st.sampled_from(ORDERS),
    limit=st.integers(0, 5),
    in_order=st.booleans(),
)
def test_the_ledger_balances_whatever_the_times(
    tmp_path_factory: pytest.TempPathFactory,
    times: list[list[int]],
    length_us: int,
    order: str,
    limit: int,
    in_order: bool,
) -> None:
    root = tmp_path_factory.mktemp("folder")
    for i, t in enumerate(times):
        n = len(t)
        events = make_events(sorted(t) if in_order else t, [i] * n, range(n), [True] * n)
        write_bin(root / str(i) / "0.bin", events)
    try:
        source = FolderSource(
            str(root), length_us=length_us, order=order, limit=limit, align_us=100
        )
    except UsageError:
        return
    whole = Whole(source)
    assert len(whole.events) + whole.dropped.total() == sum(map(len, times))
    pairs = list(zip(whole.events["x"].tolist(), whole.events["y"].tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    assert not in_order or "out_of_order" not in whole.dropped
    # Nothing is ever late, out of range or jumps for the binner, whatever the recordings' times.
    binner = Binner(source.sensor, bin_us=100, origin_us=0, reset_gap_us=10_000)
    bins = []
    for packet in whole.packets:
        bins += binner.push(packet.events)
        bins += binner.advance(packet.until_us) if packet.until_us is not None else []
    bins += binner.flush()
    if in_order:
        assert binner.binned == len(whole.events)
        assert len(bins) == track(source).segments[-1].end_us // 100


def test_a_late_event_stays_in_its_segment_or_is_dropped(tmp_path: Path) -> None:
    t = [0, 10, 20, 15, 120, 118, 95, 130, 200]
    events = make_events(t, range(9), [0] * 9, [True] * 9)
    write_bin(tmp_path / "a" / "0.bin", events)
    source = FolderSource(str(tmp_path), length_us=100, order="round-robin", align_us=100)
    whole = Whole(source)
    assert whole.events["x"].tolist() == [0, 1, 2, 3, 4, 5, 7]
    assert whole.dropped == {"out_of_order": 1, "segment_tail": 1}


def test_a_segment_without_events_is_not_made(tmp_path: Path) -> None:
    events = make_events([0, 50, 350, 399], [1] * 4, [1] * 4, [True] * 4)
    write_bin(tmp_path / "a" / "0.bin", events)
    source = FolderSource(str(tmp_path), length_us=100, order="by-class", align_us=100)
    assert [one.recording_us for one in track(source)] == [0, 300]
    assert Whole(source).events["t"].tolist() == [0, 50, 150, 199]


def test_a_recording_shorter_than_a_segment_is_a_tail(tmp_path: Path) -> None:
    write_bin(tmp_path / "a" / "long.bin", random_events(1000, width=34, height=34))
    write_bin(tmp_path / "b" / "short.bin", random_events(10, width=34, height=34))
    source = FolderSource(str(tmp_path), length_us=20_000)
    assert track(source).classes == ("a",)
    whole = Whole(source)
    assert len(whole.events) + whole.dropped.total() == 1010
    with pytest.raises(UsageError, match=r"none of the 2 .* choose a smaller segments.length_us"):
        FolderSource(str(tmp_path), length_us=10**6)


def test_a_file_in_the_folder_itself_is_of_its_names_class(tmp_path: Path) -> None:
    write_bin(tmp_path / "mug.bin", random_events(100))
    write_bin(tmp_path / "box.bin", random_events(100))
    assert track(FolderSource(str(tmp_path))).classes == ("box", "mug")


@pytest.mark.parametrize("beside", ["rec_labels.csv", "rec.csv"])
@pytest.mark.parametrize("relative", [True, False])
def test_a_label_file_beside_the_recording(tmp_path: Path, beside: str, relative: bool) -> None:
    events = random_events(1000, start_us=10**9)
    first = int(events["t"][0])
    write_aedat4(tmp_path / "rec.aedat4", events, SensorSize(128, 128))
    shift = 0 if relative else first
    rows = [("wave", 5000, 15_000), ("clap", 20_000, 29_999)]
    lines = [f"{name},{start + shift},{end + shift}\n" for name, start, end in rows]
    (tmp_path / beside).write_text(HEADER + "".join(lines))
    source = FolderSource(str(tmp_path), order="by-class")
    assert track(source).classes == ("clap", "wave")
    segments = [(*one[:3], one.recording_us) for one in track(source)]
    assert segments == [(0, 10_000, 0, 20_000), (10_000, 20_000, 1, 5000)]
    time_us = events["t"] - first
    wave = (time_us >= 5000) & (time_us < 15_000)
    clap = (time_us >= 20_000) & (time_us < 29_999)
    whole = Whole(source)
    assert whole.events["x"].tolist() == [*events["x"][clap], *events["x"][wave]]
    assert whole.dropped == {"unlabelled_gap": 1000 - int((wave | clap).sum())}
    cut = Whole(FolderSource(str(tmp_path), length_us=4000, order="by-class"))
    tails = ((time_us >= 28_000) & clap) | ((time_us >= 13_000) & wave)
    assert cut.dropped["segment_tail"] == int(tails.sum())
    assert len(cut.events) + cut.dropped.total() == 1000


def test_labels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    write_bin(tmp_path / "rec.bin", random_events(100))
    (tmp_path / "rec.csv").write_text(HEADER + "1,0,2000\n2,900000,990000\n")
    with pytest.raises(UsageError, match=r"do not fit the recording.*rec\.csv"):
        FolderSource(str(tmp_path))


def test_hidden_files_are_ignored_and_unknown_ones_are_reported_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / ".hidden").mkdir()
    write_bin(folder / ".hidden" / "0.bin", random_events(10))
    (folder / "9" / "._0.bin").write_bytes(b"junk")
    (folder / "README.md").write_text("about")
    (folder / "notes.txt").write_text("what is this")
    (folder / "orphan_labels.csv").write_text(HEADER + "1,0,5\n")
    with caplog.at_level(logging.WARNING):
        source = FolderSource(str(folder))
    assert track(source).classes == ("9", "10", "b")
    assert len(caplog.messages) == 1
    assert "2 files passed over" in caplog.messages[0]
    assert "notes.txt, orphan_labels.csv" in caplog.messages[0]


def test_a_link_round_in_a_circle_ends(folder: Path) -> None:
    (folder / "9" / "again").symlink_to(folder, target_is_directory=True)
    assert len(track(FolderSource(str(folder)))) == 6


def test_nothing_readable_is_the_sources_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(SourceError, match="no recording among the 1 files"):
        FolderSource(str(tmp_path))


def test_different_sensors_are_refused_unless_one_is_given(tmp_path: Path) -> None:
    for name, side in (("a", 64), ("b", 128)):
        events = random_events(100, width=side, height=side)
        write_aedat4(tmp_path / f"{name}.aedat4", events, SensorSize(side, side))
    with pytest.raises(UsageError, match=r"64x64 \(a.aedat4\), 128x128 \(b.aedat4\)"):
        FolderSource(str(tmp_path))
    assert FolderSource(str(tmp_path), sensor=SensorSize(128, 128)).sensor == (128, 128)


def test_simulated_if_any_recording_is(tmp_path: Path) -> None:
    events = random_events(100)
    write_aedat4(tmp_path / "a.aedat4", events, SensorSize(128, 128))
    assert not FolderSource(str(tmp_path)).simulated
    write_aedat4(tmp_path / "b.aedat4", events, SensorSize(128, 128), simulated=True)
    assert FolderSource(str(tmp_path)).simulated


@pytest.mark.parametrize("limit", [0, 1])
def test_damage_is_reported_once_and_refused_when_strict(tmp_path: Path, limit: int) -> None:
    for name in ("a", "b"):
        content = bin_bytes(random_events(1000, width=34, height=34))
        (tmp_path / f"{name}.bin").write_bytes(content[:-2])
    whole = Whole(FolderSource(str(tmp_path), length_us=5000, limit=limit))
    assert sorted(Path(one.path).name for one in whole.damage) == ["a.bin", "b.bin"]
    assert len(whole.events) + whole.dropped.total() == 2 * 999
    with pytest.raises(DamageError, match=r"damaged at byte 4995, 3 bytes lost.*a\.bin"):
        FolderSource(str(tmp_path), length_us=5000, strict=True)


def test_notes_of_its_recordings_come_once(tmp_path: Path) -> None:
    for name in "abc":
        header = "# AEChip: DVS128\r\n" if name == "c" else "# x\r\n"
        (tmp_path / f"{name}.aedat").write_bytes(aedat2_bytes(random_events(50), header))
    note, _ = FolderSource(str(tmp_path)).notes
    assert "no AEChip line" in note and note.endswith("(2 of 3 recordings)")


def test_a_recording_beyond_any_camera_is_refused_in_a_folder_too(tmp_path: Path) -> None:
    events = random_events(500)
    events["x"] *= 32
    np.save(tmp_path / "a.npy", events)
    with pytest.raises(SourceError, match=r"reach 4065 x 128, beyond any.*a\.npy"):
        FolderSource(str(tmp_path))
    assert FolderSource(str(tmp_path), sensor=SensorSize(4096, 128)).sensor == (4096, 128)


def test_large_recordings_are_read_in_packets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamstop.formats.fixed_records.MAX_PACKET_EVENTS", 64)
    events = random_events(2000)
    (tmp_path / "a.aedat").write_bytes(aedat2_bytes(events))
    source = FolderSource(str(tmp_path), length_us=7000, order="iid", seed=5)
    whole = Whole(source)
    assert max(len(one.events) for one in whole.packets) <= 64
    assert len(whole.events) + whole.dropped.total() == 2000
    kept = len(whole.events)
    back = np.concatenate(
        [
            whole.events[(whole.events["t"] >= one.start_us) & (whole.events["t"] < one.end_us)]
            for one in sorted(track(source), key=lambda one: one.recording_us)
        ]
    )
    assert back["x"].tolist() == events["x"][:kept].tolist()


def test_the_objects_are_257_segments_in_seconds(data_dir: Path) -> None:
    begin = time.process_time()
    source = FolderSource(str(data_dir / "dvs128-objects"), length_us=500_000)
    whole = Whole(source)
    assert len(track(source)) == 257
    assert len(track(source).classes) == 7
    assert len(whole.events) + whole.dropped.total() == 1_737_443
    assert time.process_time() - begin < 5  # measured: 0.7 s


def test_nmnist_is_1000_segments_of_10_classes(data_dir: Path) -> None:
    source = FolderSource(str(data_dir / "nmnist-small" / "Train"))
    assert len(track(source)) == 1000
    assert track(source).classes == tuple("0123456789")
    assert source.sensor == (34, 34)
    size = sum(path.stat().st_size for path in (data_dir / "nmnist-small").rglob("*.bin"))
    whole = Whole(source)
    assert len(whole.events) == size // 5
    assert not whole.dropped


def test_an_order_may_be_a_function_of_names_and_places(folder: Path) -> None:
    seen: list[Offered] = []

    def backwards(offered: Sequence[Offered], seed: int) -> list[int]:
        seen.extend(offered)
        return list(range(seed, len(offered)))[::-1]

    source = FolderSource(str(folder), length_us=7000, order=backwards, seed=2)
    pieces = [(one.recording, one.start_us) for one in seen]
    assert order_of(source) == pieces[2:][::-1]
    assert seen[0] == Offered("10/0.bin", "10", 0)
    assert seen[1] == Offered("10/0.bin", "10", 7000)


def test_events_of_pieces_that_an_order_leaves_out_are_counted(folder: Path) -> None:
    def first_two(offered: Sequence[Offered], seed: int) -> list[int]:
        return [0, 1]

    source = FolderSource(str(folder), order=first_two)
    whole = Whole(source)
    assert len(track(source)) == 2
    assert (len(whole.events), whole.dropped) == (2000, {"held_out": 4000})
    assert track(source).classes == ("9", "10", "b")


def test_what_is_held_out_is_a_stream_of_its_own(folder: Path) -> None:
    def odd(offered: Sequence[Offered], seed: int) -> list[int]:
        return list(range(1, len(offered), 2))

    source = FolderSource(str(folder), order=odd, length_us=7000, align_us=3000)
    other = source.held_out()
    places = {(one.recording, one.recording_us) for one in track(source)}
    others = {(one.recording, one.recording_us) for one in track(other)}
    whole = FolderSource(str(folder), length_us=7000)
    assert not places & others
    assert places | others == {(one.recording, one.recording_us) for one in track(whole)}
    assert track(other).classes == track(source).classes
    assert not Whole(other).dropped and not len(Whole(source.held_out().held_out()).dropped)
    assert len(Whole(other).events) == Whole(source).dropped["held_out"]
    assert track(other).segments[0].start_us == 0
    assert track(other).segments[-1].end_us % 3000 == 0
