"""Simulated gestures as samples: windows, mirror images, swapped polarities."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from streamstop.errors import UsageError
from streamstop.simulation.gesture_windows import ARM_TURNS, WindowParams, gesture_windows, mirrored

SHORT = WindowParams(
    occasion_us=400_000,
    window_us=200_000,
    stride_us=100_000,
    bin_us=50_000,
    step_us=10_000,
    side=16,
)


def test_windows_overlap_and_the_seed_decides() -> None:
    made, again = (
        gesture_windows(ARM_TURNS[:2], (7, 8), 1, SHORT._replace(swap=False)) for _ in "ab"
    )
    assert made.x.shape == (2 * 2 * 3, 4, 2, 16, 16)
    assert made.y.tolist() == [0, 0, 0, 1, 1, 1] * 2
    assert made.classes == ARM_TURNS[:2]
    assert torch.equal(made.x, again.x)
    assert torch.equal(made.x[0, 2:], made.x[1, :2])  # the second window begins two bins later
    assert not torch.equal(made.x[2, 2:], made.x[3, :2])
    assert int(made.x.long().sum()) > 500
    other = gesture_windows(ARM_TURNS[:2], (7, 8), 2, SHORT._replace(swap=False))
    assert not torch.equal(made.x, other.x)


def test_swapping_exchanges_polarities_of_whole_windows_and_nothing_else() -> None:
    plain = SHORT._replace(swap=False, stride_us=50_000)
    as_filmed = gesture_windows(("arm_roll",), (3,), 0, plain).x
    swapped = gesture_windows(("arm_roll",), (3,), 0, plain._replace(swap=True)).x
    same = [torch.equal(a, b) for a, b in zip(as_filmed, swapped, strict=True)]
    turned = [torch.equal(a.flip(1), b) for a, b in zip(as_filmed, swapped, strict=True)]
    assert np.logical_xor(same, turned).all()
    assert any(same) and any(turned)


def test_a_mirror_exchanges_arms_and_sense() -> None:
    made = gesture_windows(ARM_TURNS, (5,), 0, SHORT)
    seen = mirrored(made)
    names = [(ARM_TURNS[a], ARM_TURNS[b]) for a, b in zip(made.y, seen.y, strict=True)]
    assert set(names) == {
        ("right_arm_clockwise", "left_arm_counter_clockwise"),
        ("right_arm_counter_clockwise", "left_arm_clockwise"),
        ("left_arm_clockwise", "right_arm_counter_clockwise"),
        ("left_arm_counter_clockwise", "right_arm_clockwise"),
    }
    # The figure faces the camera: its right arm moves in the left half of the picture.
    for one in (made, seen):
        left_half = one.x[..., :8].long().sum((1, 2, 3, 4)).float()
        share = left_half / one.x.long().sum((1, 2, 3, 4))
        right_arm = one.y < 2
        assert share[right_arm].min() > 0.5 > share[~right_arm].max()


def test_lengths_that_do_not_fit_are_refused() -> None:
    for wrong in ({"window_us": 500_000}, {"stride_us": 30_000}, {"step_us": 7_000}, {"side": 30}):
        with pytest.raises(UsageError, match="us"):
            gesture_windows(ARM_TURNS, (1,), 0, SHORT._replace(**wrong))
