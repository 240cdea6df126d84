"""Damaged files of every format, drawn by hypothesis: see `mutations`. At scale: `make fuzz`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random

import pytest
from corrupt.mutation_seeds import MAKERS, seed_of
from corrupt.mutations import Edit, check, mutate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PLAIN = [name for name in MAKERS if not name.endswith(("-gz", "-zst", "-xz"))]


@pytest.mark.parametrize("name", MAKERS)
def test_an_unchanged_file_is_read_as_it_is(name: str, tmp_path: Path) -> None:
    seed = seed_of(name)
    got, wrong = check(seed, seed.content, Edit("none", 0, 0, True), tmp_path / seed.file_name)
    assert not wrong
    assert len(got.events) == len(seed.events) > 500
    assert not got.damage


@pytest.mark.parametrize("name", PLAIN)
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(number=st.integers(0, 1 << 32))
def test_damage_costs_what_it_must_and_is_told(name: str, number: int) -> None:
    seed = seed_of(name)
    with tempfile.TemporaryDirectory() as work:
        content, edit = mutate(Random(f"{name}:{number}"), seed)
        wrong = check(seed, content, edit, Path(work, seed.file_name))[1]
    assert not wrong, (edit, wrong)
