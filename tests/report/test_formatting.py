"""Rounded figures never promise more than the exact ones."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamstop.report.formatting import NBSP, percent


@given(st.floats(0, 1))
def test_percent_never_rounds_to_certainty(share: float) -> None:
    text = percent(share)
    assert (text == f"100{NBSP}%") == (share == 1)
    assert (text == f"0{NBSP}%") == (share == 0)
    assert "100.0" not in text and text != f"0.0{NBSP}%"
