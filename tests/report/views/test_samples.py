"""samples.json is read as it is, bounded, and refused where it has another shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_run import fake_samples

from streamstop.report.views.samples import (
    MAX_BYTES,
    MAX_ERROR_SIDE,
    MAX_ERRORS,
    MAX_SIDE,
    Samples,
    load_samples,
    parse_samples,
)

ONE = {"on": [[1]], "off": [[0]]}
ERROR = {"segment": 3, "label": "a", "prediction": "b"}


def square(n: int) -> dict[str, list[list[int]]]:
    return {key: [[0] * n] * n for key in ("on", "off")}


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "samples.json"
    path.write_text(json.dumps(fake_samples(2)))
    found = load_samples(path)
    assert found.event_picture is not None and found.network_input is not None
    assert found.event_picture.sensor == (346, 260) and found.event_picture.events == 12_345
    assert (found.network_input.bin_us, found.network_input.label) == (10_000, "TEST mug")
    assert [one.segment for one in found.errors] == [7, 8]
    assert found.errors[0].picture.on[0][0] == fake_samples(2)["errors"][0]["on"][0][0]
    assert found.problem == ""


def test_every_part_may_be_missing(tmp_path: Path) -> None:
    assert load_samples(tmp_path / "samples.json") == Samples()
    for content in ({}, {"event_picture": None, "network_input": None, "errors": []}):
        assert parse_samples(content) == Samples()
    bare = parse_samples({"event_picture": ONE, "network_input": ONE})
    assert bare.event_picture is not None and bare.event_picture.events is None


@pytest.mark.parametrize(
    "content",
    [
        {"event_picture": square(MAX_SIDE + 1)},
        {"event_picture": {"on": [[1, 2], [3]], "off": [[1, 2], [3]]}},
        {"event_picture": {"on": [[1]], "off": [[1, 2]]}},
        {"event_picture": {"on": [], "off": []}},
        {"network_input": {"on": [[-1]], "off": [[0]]}},
        {"network_input": {"on": [[float("nan")]], "off": [[0]]}},
        {"network_input": {"on": [["1"]], "off": [[0]]}},
        {"errors": [ERROR | square(MAX_ERROR_SIDE + 1)]},
        {"errors": [ERROR | ONE] * (MAX_ERRORS + 1)},
        {"errors": [ONE]},
        [],
    ],
)
def test_another_shape_is_refused(content: Any, tmp_path: Path) -> None:
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        parse_samples(content)
    path = tmp_path / "samples.json"
    path.write_text(json.dumps(content))
    found = load_samples(path)
    assert found.problem and found.errors == () and found.event_picture is None


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, " " * (MAX_BYTES + 1), "\udc80"])
def test_damage_is_a_problem_not_an_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "samples.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert load_samples(path).problem
