"""Corruptions: what they do, what they leave alone, and that packets do not matter."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers.event_files import Whole, same
from helpers.tracks import SENSOR, Stream, events_over, track
from hypothesis import given, settings
from hypothesis import strategies as st

from streamstop.errors import UsageError
from streamstop.events.binning import Binner
from streamstop.events.ledger import EventLedger
from streamstop.events.packet import (
    MAX_PACKET_EVENTS,
    Cursor,
    Damage,
    Events,
    Packet,
    SensorSize,
    make_events,
)
from streamstop.scenarios.corruptions import KINDS, Corruption, corrupted, parse_corruption
from streamstop.sources.base import Source

ADDING = {"noise", "hot-pixels"}
LENGTHS = [30_000, 20_000, 50_000, 10_000, 40_000, 30_000]
STREAM_US = sum(LENGTHS)


def corruption(kind: str, at: int = 2, ramp: int = 0, until: int | None = None) -> Corruption:
    amount = {"noise": 200.0, "hot-pixels": 0.1, "rotate": 50.0}.get(kind, KINDS[kind].usual)
    return Corruption(kind, amount, at, ramp, until)


def over(events: Events, *words: str, sensor: SensorSize = SENSOR, seed: int = 0) -> Events:
    """The events after corruptions in words, over the segments of LENGTHS."""
    stream = Stream(events, track(LENGTHS), sensor=sensor)
    said = [parse_corruption(one) for one in words]
    return Whole(corrupted(stream, said, seed=seed)).events


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    n=st.integers(0, 400),
    seed=st.integers(0, 99),
    cuts=st.lists(st.integers(0, 400), max_size=12),
    ramp=st.integers(0, 3),
    until=st.sampled_from([None, 4]),
    gap_us=st.sampled_from([0, 15_000]),
    late_us=st.sampled_from([0, 5000]),
)
def test_packets_do_not_matter_and_counts_add_up(
    kind: str,
    n: int,
    seed: int,
    cuts: list[int],
    ramp: int,
    until: int | None,
    gap_us: int,
    late_us: int,
) -> None:
    labels = track(LENGTHS, gap_us=gap_us)
    end_us = labels.segments[-1].end_us
    events = events_over(end_us, n, seed, shuffle_us=late_us)
    one = corruption(kind, ramp=ramp, until=until)

    def through(cuts: list[int]) -> tuple[Source, Whole, EventLedger]:
        source = corrupted(Stream(events, labels, cuts, until_us=end_us), [one], seed=seed)
        whole = Whole(source)
        binner = Binner(SENSOR, bin_us=10_000, height=8, width=8)
        ledger = EventLedger(binner)
        for packet in whole.packets:
            ledger.add(packet)
            list(binner.push(packet.events))
        return source, whole, ledger

    _, at_once, _ = through([])
    source, whole, ledger = through([min(cut, n) for cut in cuts])
    assert same(at_once.events, whole.events)
    assert at_once.dropped == whole.dropped
    assert ledger.unaccounted == 0
    assert all(len(packet.events) <= MAX_PACKET_EVENTS for packet in whole.packets)
    if kind in ADDING:
        assert ledger.received >= n and not whole.dropped
    else:
        assert ledger.received == n
        assert set(whole.dropped) <= {"corruption_loss"}
    # Before its beginning nothing is touched.
    begins_us = labels.segments[2].start_us
    assert same(events[events["t"] < begins_us], whole.events[whole.events["t"] < begins_us])
    if kind != "stretch":
        assert source.labels == labels


@settings(max_examples=40, deadline=None)
@given(factor=st.floats(0.1, 10), ramp=st.integers(0, 2), align_us=st.sampled_from([1, 10_000]))
def test_stretched_events_stay_in_their_segments_and_in_order(
    factor: float, ramp: int, align_us: int
) -> None:
    labels = track(LENGTHS, gap_us=7000, start_us=500)
    events = events_over(labels.segments[-1].end_us + 9000, 500)
    stream = Stream(events, labels)
    source = corrupted(stream, [Corruption("stretch", factor, 1, ramp)], align_us=align_us)
    after = Whole(source).events
    assert source.labels is not None
    news = source.labels.segments
    for old, new in zip(labels, news, strict=True):
        inside = (events["t"] >= old.start_us) & (events["t"] < old.end_us)
        moved = (after["t"] >= new.start_us) & (after["t"] < new.end_us)
        assert np.array_equal(inside, moved)
        assert new[2:] == old[2:]
    assert (np.diff(after["t"]) >= 0).all()
    gaps = [b.start_us - a.end_us for a, b in itertools.pairwise(news)]
    assert gaps == [7000] * 5
    last = news[-1]
    assert 0 <= (last.end_us - last.start_us) - 30_000 * factor < align_us + 1
    assert (last.end_us - last.start_us) % align_us == 0


def test_a_stretched_segment_is_over_where_its_source_says_so() -> None:
    labels = track(LENGTHS)
    stream = Stream(events_over(STREAM_US, 10), labels, until_us=STREAM_US)
    (packet,) = corrupted(stream, [parse_corruption("stretch 3 at 1")])
    assert packet.until_us == 30_000 + 3 * (STREAM_US - 30_000)


def test_quarter_turns_of_a_square_sensor_are_exact_and_lose_nothing() -> None:
    sensor = SensorSize(5, 5)
    events = make_events([1, 2, 3], [0, 4, 1], [0, 0, 2], [True, False, True])
    # Clockwise: the upper left corner goes to the upper right, and so on round.
    once = over(events, "rotate 90", sensor=sensor)
    assert list(zip(once["x"], once["y"], strict=True)) == [(4, 0), (4, 4), (2, 1)]
    assert same(over(once, "rotate 90", sensor=sensor), over(events, "rotate 180", sensor=sensor))
    assert same(over(once, "rotate 270", sensor=sensor), events)
    assert same(over(once, "rotate -90", sensor=sensor), events)
    many = events_over(STREAM_US, 300, sensor=sensor)
    assert len(over(many, "rotate 270", sensor=sensor)) == 300


def test_what_a_rotation_takes_out_of_the_sensor_is_lost() -> None:
    # 12 x 8 by a quarter turn: only the middle 8 columns stay.
    events = make_events([1, 2, 3], [0, 2, 9], [3, 3, 3], [True] * 3)
    turned = over(events, "rotate 90")
    assert list(zip(turned["t"], turned["x"], turned["y"], strict=True)) == [(2, 6, 0), (3, 6, 7)]


def test_a_small_rotation_goes_to_the_nearest_pixel() -> None:
    sensor = SensorSize(101, 101)
    events = make_events([1], [100], [50], [True])
    turned = over(events, "rotate 30", sensor=sensor)
    # 50 pixels right of the centre: 50 cos 30 = 43.3 right, 50 sin 30 = 25 down.
    assert (int(turned["x"][0]), int(turned["y"][0])) == (93, 75)


def test_a_mirror_exchanges_left_and_right() -> None:
    events = make_events([1, 2], [0, 4], [3, 5], [True, False])
    assert over(events, "mirror")["x"].tolist() == [11, 7]
    assert same(over(over(events, "mirror"), "mirror"), events)


def test_a_share_of_segments_is_mirrored_whole() -> None:
    labels = track([1000] * 200)
    t = np.arange(0, 200_000, 250)
    stream = Stream(make_events(t, t * 0, t * 0, t >= 0), labels)
    x = Whole(corrupted(stream, [parse_corruption("mirror 0.3")])).events["x"].reshape(200, 4)
    assert set(x.ravel().tolist()) == {0, 11}
    assert (x == x[:, :1]).all()
    assert 40 <= (x[:, 0] == 11).sum() <= 80


def test_polarity_flip_turns_a_share() -> None:
    events = events_over(STREAM_US, 4000)
    assert np.array_equal(over(events, "flip")["p"], ~events["p"])
    turned = (over(events, "flip 0.25")["p"] != events["p"]).mean()
    assert abs(turned - 0.25) < 0.03


@pytest.mark.parametrize(
    ("words", "keep_on", "keep_off"),
    [
        ("loss 0.3", 0.7, 0.7),
        ("loss 1", 0.0, 0.0),
        ("threshold 4", 0.25, 0.25),
        ("threshold-on 2", 0.5, 1.0),
        ("threshold-off 5", 1.0, 0.2),
    ],
)
def test_thinning_keeps_its_share_of_each_polarity(
    words: str, keep_on: float, keep_off: float
) -> None:
    events = events_over(STREAM_US, 8000)
    left = over(events, words)
    for p, keep in ((True, keep_on), (False, keep_off)):
        assert abs((left["p"] == p).sum() / (events["p"] == p).sum() - keep) < 0.03
    assert not same(left, over(events, words, seed=1)) or keep_on + keep_off in (0, 2)


def test_a_threshold_comes_up_as_a_threshold() -> None:
    """Half way to 3 times the threshold is twice the threshold: half of the events."""
    labels = track([100_000] * 2)
    events = events_over(200_000, 8000)
    left = Whole(corrupted(Stream(events, labels), [Corruption("threshold", 3, 0, 1)])).events
    shares = np.histogram(left["t"], [0, 100_000, 200_000])[0] / 4000
    assert abs(shares[0] - 1 / 2) < 0.03 and abs(shares[1] - 1 / 3) < 0.03


def test_dead_pixels_are_so_many_and_stay_dead() -> None:
    labels = track([100_000] * 3)
    t = np.arange(0, 300_000, 100)
    events = make_events(t, t // 100 % 12, t // 1200 % 8, t >= 0)
    left = Whole(corrupted(Stream(events, labels), [Corruption("dead-pixels", 0.5, 1, 1)])).events
    alive = [
        {(e["x"], e["y"]) for e in left[(left["t"] // 100_000) == third]} for third in range(3)
    ]
    assert [len(one) for one in alive] == [96, 72, 48]
    assert alive[2] < alive[1] < alive[0]


def test_noise_has_the_rate_that_was_asked_for_and_falls_everywhere() -> None:
    labels = track([1_000_000] * 3)
    stream = Stream(events_over(3_000_000, 50), labels, until_us=3_000_000)
    whole = Whole(corrupted(stream, [parse_corruption("noise 50 at 1 ramp 1")]))
    n = np.histogram(whole.events["t"], [0, 1_000_000, 2_000_000, 3_000_000])[0] - 50 / 3
    full = 50 * 96
    assert n[0] < 20 and abs(n[1] - full / 2) < 200 and abs(n[2] - full) < 300
    late = whole.events[whole.events["t"] > 1_000_000]
    assert len(np.unique(late["y"].astype(int) * 12 + late["x"])) >= 96
    assert abs(late["p"].mean() - 0.5) < 0.03
    assert (np.diff(whole.events["t"]) >= 0).all()


def test_hot_pixels_are_few_send_on_events_and_become_more() -> None:
    labels = track([1_000_000] * 2)
    stream = Stream(make_events([0], [0], [0], [False]), labels, until_us=2_000_000)
    events = Whole(corrupted(stream, [Corruption("hot-pixels", 0.1, 0, 1)])).events[1:]
    assert events["p"].all()
    pixels = events["y"].astype(int) * 12 + events["x"]
    early = set(pixels[events["t"] < 1_000_000].tolist())
    assert (len(early), len(set(pixels.tolist()))) == (5, 10)
    assert early < set(pixels.tolist())
    assert abs(len(events) - 1500) < 150  # 5 pixels for a second, then 10, at 100 Hz


def test_noise_ends_where_time_does() -> None:
    """Neither after the last event, nor over a silence that is no time of the stream."""
    labels = track([1_000_000, 100_000_000])
    events = make_events([0, 900_000, 60_000_000, 60_500_000], [1] * 4, [1] * 4, [True] * 4)
    out = Whole(corrupted(Stream(events, labels), [parse_corruption("noise 100")])).events["t"]
    assert out[-1] == 60_500_000
    assert not ((out > 900_000) & (out < 60_000_000)).any()
    assert 7000 < (out < 900_000).sum() < 10_000 and 4000 < (out > 60_000_000).sum() < 6000


def test_times_that_cannot_be_do_not_stop_noise() -> None:
    t = [5, (1 << 62) + 3, 10, -(1 << 62), 20, 30_000]
    labels = track(LENGTHS)
    stream = Stream(make_events(t, [1] * 6, [1] * 6, [True] * 6), labels, origin_us=None)
    out = Whole(corrupted(stream, [parse_corruption("noise 100")])).events
    assert [one for one in out["t"].tolist() if one in t] == t


def test_a_packet_keeps_its_words() -> None:
    damage = Damage(3, 4, "cut", "f")
    labels = track(LENGTHS)

    class Said(Stream):
        def __iter__(self):  # type: ignore[no-untyped-def]
            at = Cursor("f", 77)
            yield Packet(self.events, at, STREAM_US, {"late_usb": 2}, (damage,), 12.5)

    for kind in KINDS:
        source = corrupted(Said(events_over(STREAM_US, 50), labels), [corruption(kind, at=0)])
        whole = Whole(source)
        assert whole.dropped["late_usb"] == 2
        assert whole.damage == [damage] and whole.packets[0].damage == (damage,)
        assert whole.packets[-1].cursor == Cursor("f", 77)
        assert whole.packets[-1].until_us is not None
        assert all(packet.arrived_s == 12.5 for packet in whole.packets)


def test_two_passes_are_the_same_and_seeds_differ() -> None:
    labels = track(LENGTHS)
    events = events_over(STREAM_US, 300)
    words = [parse_corruption(one) for one in ("noise 50 at 1", "loss 0.5 at 2", "flip 0.5 at 3")]
    source = corrupted(Stream(events, labels), words, seed=3)
    assert same(Whole(source).events, Whole(source).events)
    other = corrupted(Stream(events, labels), words, seed=4)
    assert not same(Whole(source).events, Whole(other).events)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("loss", Corruption("loss", 0.5)),
        ("loss 0.25 at 12", Corruption("loss", 0.25, 12)),
        ("rotate -45 at 0.5 ramp 3 until 0.75", Corruption("rotate", -45.0, 0.5, 3, 0.75)),
        ("  mirror at .5 ", Corruption("mirror", 1.0, 0.5)),
        ("noise 2 until 1.0", Corruption("noise", 2.0, 0, 0, 1.0)),
    ],
)
def test_words(text: str, expected: Corruption) -> None:
    assert parse_corruption(text) == expected
    assert parse_corruption(str(expected)) == expected


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "begins with no corruption"),
        ("rotation 90", "did you mean rotate"),
        ("loss 2", "lies from 0 to 1"),
        ("threshold 0.5", "lies from 1 to 100"),
        ("loss at noon", "is not KIND AMOUNT at PLACE"),
        ("loss 0.5 at 1.5", "fraction of the stream"),
        ("loss 0.5 ramp 2 at 3", "is not KIND AMOUNT"),
    ],
)
def test_words_that_are_none_say_so(text: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        parse_corruption(text)


def test_places_must_be_in_the_stream() -> None:
    stream = Stream(events_over(STREAM_US, 5), track(LENGTHS))
    for text in ("loss at 6", "loss at 4 until 3", "loss until 7"):
        with pytest.raises(UsageError, match="none of the 6 segments"):
            corrupted(stream, [parse_corruption(text)])
    with pytest.raises(UsageError, match="no labels"):
        corrupted(Stream(stream.events, None), [parse_corruption("loss")])
