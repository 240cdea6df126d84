"""Orders of segments and domains: every piece once, spans where the names change."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamstop.errors import UsageError
from streamstop.events.labels import LabelTrack, Segment
from streamstop.scenarios.corruptions import Corruption
from streamstop.scenarios.scenario import Scenario, Span, domain_from_name, make_schedule
from streamstop.sources.ordering import Offered

NAMES = ["iid", "class-incremental", "domain-incremental", "gradual", "recurring", "corrupted"]


def gestures(lights: int = 3, users: int = 4, pieces: int = 5) -> list[Offered]:
    """Each recording of a user under a light holds `pieces` pieces of each of three classes."""
    return [
        Offered(f"user{user:02}_{['led', 'lab', 'natural', 'fluorescent_led'][light]}.aedat", c, i)
        for user in range(1, users + 1)
        for light in range(lights)
        for c in ("clap", "wave", "roll")
        for i in range(pieces)
    ]


def stream(scenario: Scenario, offered: list[Offered], seed: int = 0) -> LabelTrack:
    classes = ("clap", "roll", "wave")
    chosen = [offered[i] for i in scenario.order(offered, seed)]
    return LabelTrack(
        classes,
        [
            Segment(n, n + 1, classes.index(one.label), one.recording, one.start_us)
            for n, one in enumerate(chosen)
        ],
    )


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    held_out=st.sampled_from([0.0, 0.3, 0.5]),
    lights=st.integers(2, 4),
    classes=st.integers(1, 3),
    over=st.integers(0, 40),
    seed=st.integers(0, 9),
)
def test_every_piece_comes_once_or_is_held_out_and_spans_lie_end_to_end(
    name: str, held_out: float, lights: int, classes: int, over: int, seed: int
) -> None:
    scenario = Scenario(name, classes=classes, transition_segments=over, held_out=held_out)  # type: ignore[arg-type]
    offered = gestures(lights)
    order = scenario.order(offered, seed)
    assert len(set(order)) == len(order)
    left_out = Counter(offered[i].label for i in set(range(len(offered))) - set(order))
    of_each = len(offered) // 3
    groups = lights if name in ("domain-incremental", "gradual", "recurring") else 1
    assert set(left_out.values()) <= {groups * int(held_out * of_each / groups + 1e-6)}
    assert scenario.order(offered, seed) == order
    track = stream(scenario, offered, seed)
    spans = make_schedule(scenario, track).spans
    covered = [i for one in spans for i in range(one.first, one.last + 1)]
    assert covered == (list(range(len(order))) if name not in ("iid", "corrupted") else [])


def test_what_is_held_out_is_the_last_of_each_class() -> None:
    offered = [Offered(f"{c}.aedat", c, i) for c in "ab" for i in range(10)]
    for name in ("iid", "class-incremental"):
        order = Scenario(name, held_out=0.3).order(offered, 0)  # type: ignore[arg-type]
        assert sorted(order) == [*range(7), *range(10, 17)]


def test_classes_come_task_by_task_as_the_seed_draws() -> None:
    offered = gestures()
    scenario = Scenario("class-incremental")
    drawn = set()
    for seed in range(8):
        track = stream(scenario, offered, seed)
        spans = make_schedule(scenario, track).spans
        assert [one.last - one.first + 1 for one in spans] == [60, 60, 60]
        for one in spans:
            assert {track.classes[s.label] for s in track.segments[one.first : one.last + 1]} == {
                one.name
            }
        drawn.add(tuple(one.name for one in spans))
        recordings = [one.recording for one in track]
        assert recordings[:60] != sorted(recordings[:60])
    assert len(drawn) > 2
    pairs = Scenario("class-incremental", classes=2)
    track = stream(pairs, offered)
    spans = make_schedule(pairs, track).spans
    assert [one.last - one.first + 1 for one in spans] == [120, 60]
    assert len(spans[0].name.split(", ")) == 2


def test_domains_come_by_name() -> None:
    scenario = Scenario("domain-incremental")
    found = make_schedule(scenario, stream(scenario, gestures()))
    assert found.spans == (Span(0, 59, "lab"), Span(60, 119, "led"), Span(120, 179, "natural"))
    assert found.drifts == (60, 120)
    by_user = Scenario("domain-incremental", domain="user")
    spans = make_schedule(by_user, stream(by_user, gestures())).spans
    assert [one.name for one in spans] == ["user01", "user02", "user03", "user04"]


def test_recurring_domains_come_again() -> None:
    scenario = Scenario("recurring", repetitions=2)
    found = make_schedule(scenario, stream(scenario, gestures(lights=2)))
    assert [(one.first, one.last, one.name) for one in found.spans] == [
        (0, 29, "lab"),
        (30, 59, "led"),
        (60, 89, "lab"),
        (90, 119, "led"),
    ]


def test_a_gradual_change_rises_in_a_straight_line() -> None:
    offered = gestures(lights=2, users=20, pieces=5)  # 300 of each
    scenario = Scenario("gradual", transition_segments=200)
    share = np.zeros(600)
    for seed in range(200):
        track = stream(scenario, offered, seed)
        share += np.array([one.recording.endswith("led.aedat") for one in track])
        spans = make_schedule(scenario, track).spans
        assert [one.name for one in spans] == ["lab", "lab to led", "led"]
        assert 180 <= spans[1].first <= 260 and 340 <= spans[1].last <= 420
    share /= 200
    assert (share[:185] == 0).all() and (share[415:] == 1).all()
    for tenth in range(10):
        found = share[200 + 20 * tenth : 220 + 20 * tenth].mean()
        assert abs(found - (tenth + 0.5) / 10) < 0.04


def test_corruptions_are_spans_and_drifts_where_the_order_has_none() -> None:
    scenario = Scenario("corrupted")
    track = stream(scenario, gestures())  # 180 segments
    loss, flip = Corruption("loss", 0.5, 0.5), Corruption("flip", 1.0, 100, 5, 0.75)
    found = make_schedule(scenario, track, [loss, flip])
    assert found.drifts == (90, 100, 135)
    assert found.spans == (
        Span(0, 89, "clean"),
        Span(90, 99, "loss 0.5 at 0.5"),
        Span(100, 134, "loss 0.5 at 0.5; flip 1 at 100 ramp 5 until 0.75"),
        Span(135, 179, "loss 0.5 at 0.5"),
    )
    assert make_schedule(Scenario("iid"), track) == make_schedule(Scenario(), track)
    assert make_schedule(Scenario("iid"), track).spans == ()


@pytest.mark.parametrize(
    ("recording", "by", "domain"),
    [
        ("user07_led.aedat", "lighting", "led"),
        ("user07_fluorescent_led.aedat", "lighting", "fluorescent_led"),
        ("user01_natural/4.npy", "lighting", "natural"),
        ("train/3/user12_fluorescent_led_0.npz", "lighting", "fluorescent_led"),
        ("train/3/user12_lab_0.npz", "user", "user12"),
        ("day1/mug/3.aedat", "folder", "day1"),
        ("day1/3.aedat", "recording", "day1/3.aedat"),
    ],
)
def test_domains_of_names(recording: str, by: str, domain: str) -> None:
    assert domain_from_name(recording, by) == domain  # type: ignore[arg-type]


def test_names_that_tell_no_domain_are_refused() -> None:
    with pytest.raises(UsageError, match="user07_led"):
        domain_from_name("mug.aedat", "lighting")
    with pytest.raises(UsageError, match="lie in folders"):
        domain_from_name("mug.aedat", "folder")
    with pytest.raises(UsageError, match="tells only led"):
        Scenario("gradual").order(gestures(lights=1), 0)
