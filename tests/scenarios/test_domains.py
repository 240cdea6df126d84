"""The domain of a segment: its span's name, or what its recording's name tells."""

from __future__ import annotations

import pytest

from streamstop.scenarios.scenario import Schedule, Span, domain_at

SPANS = Schedule((Span(0, 4, "clean"), Span(5, 9, "flip 0.5"), Span(12, 13, "clean")), (5,))


@pytest.mark.parametrize(
    ("nth", "domain"),
    [(0, "clean"), (4, "clean"), (5, "flip 0.5"), (9, "flip 0.5"), (10, None), (13, "clean")],
)
def test_a_span_s_name_goes_before_the_recording_s(nth: int, domain: str | None) -> None:
    assert domain_at(SPANS, "lighting", nth, "user01_led/0.npy") == domain


@pytest.mark.parametrize(
    ("recording", "domain"),
    [("user01_led/0.npy", "led"), ("user23_fluorescent_led.aedat", "fluorescent_led")],
)
def test_without_spans_the_recording_tells(recording: str, domain: str) -> None:
    assert domain_at(Schedule((), ()), "lighting", 0, recording) == domain


def test_a_name_that_tells_nothing_has_no_domain() -> None:
    assert domain_at(Schedule((), ()), "lighting", 0, "box/12.bin") is None
    assert domain_at(Schedule((), ()), "folder", 0, "box/12.bin") == "box"
