"""Which domain a segment of a stream belongs to.

It promises the name of the segment's span where the world has spans; else what the recording's
name tells of the domain that the scenario names; else nothing.
"""

from __future__ import annotations

from bisect import bisect_right

from streamstop.errors import UsageError
from streamstop.scenarios.scenario import Course, Domain, domain_of


def domain_at(course: Course, by: Domain, nth: int, recording: str) -> str | None:
    """The domain of the nth segment of a stream, counted from 0; None where it has none.

    by : what a domain is where the world does not change; see `scenario.Scenario`.

    >>> domain_at(Course((), ()), "lighting", 0, "user07_led/4.npy")
    'led'
    """
    if course.spans:
        i = bisect_right(course.spans, nth, key=lambda span: span.first) - 1
        inside = i >= 0 and nth <= course.spans[i].last
        return course.spans[i].name if inside else None
    try:
        return domain_of(recording, by)
    except UsageError:
        return None
