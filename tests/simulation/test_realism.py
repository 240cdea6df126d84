"""The measures: known answers on events written by hand."""

from __future__ import annotations

import numpy as np
import pytest

from streamstop.errors import UsageError
from streamstop.events.packet import SensorSize, make_events
from streamstop.simulation.realism import measure, picture

SENSOR = SensorSize(10, 10)


def test_measures_of_a_few_events() -> None:
    # Pixel (2, 5): read twice, then 100 us and 300 us apart; pixel (8, 0): alone in the top rows.
    events = make_events(
        [0, 1, 101, 401, 1_000_000], [2, 2, 2, 2, 8], [5, 5, 5, 5, 0], [1, 1, 0, 0, 1]
    )
    found = measure(events, SENSOR)
    assert found.rate_hz == pytest.approx(5.0)
    assert found.on_fraction == pytest.approx(0.6)
    assert found.active_fraction == pytest.approx(0.02)
    assert found.busy_fraction == pytest.approx(0.02)
    assert found.twice_fraction == pytest.approx(0.2)
    assert found.intervals_us[1] == pytest.approx(200.0)
    assert found.same_fraction == pytest.approx(0.5)
    assert found.quiet_hz == pytest.approx(1 / 20)
    assert found.middle == (2.0, 5.0)


def test_too_few_events_are_refused() -> None:
    with pytest.raises(UsageError, match="no interval"):
        measure(make_events([0, 5], [1, 2], [1, 2], [1, 1]), SENSOR)


def test_a_picture_has_on_in_green_and_off_in_red() -> None:
    seen = picture(make_events([0, 1], [3, 4], [5, 6], [1, 0]), SENSOR)
    assert seen.shape == (10, 10, 3)
    assert seen[5, 3].argmax() == 1
    assert seen[6, 4].argmax() == 0
    assert np.count_nonzero(seen > 16) == 2
