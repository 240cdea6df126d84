"""One setting: its type, its range, its choices, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from streamstop.config.fields import config_field, parse_text, to_toml_value, validate
from streamstop.errors import UsageError


@dataclass(frozen=True)
class Section:
    """A section."""

    count: int = config_field(1, "a count", at_least=1, at_most=9)
    rate: float = config_field(0.5, "a rate", above=0, below=1)
    mode: Literal["fast", "slow"] = config_field("fast", "a mode")
    parts: tuple[Literal["a", "b"], ...] = config_field(("a",), "parts", may_be_empty=True)
    sizes: tuple[int, ...] = config_field((3,), "sizes", at_least=2)
    name: str = config_field("", "a name", form=("[a-z]+", "small letters"))
    on: bool = config_field(False, "a switch")


def value(key: str, given: object) -> object:
    return validate(Section, "section", key, given, "a test")


@pytest.mark.parametrize(
    ("key", "given", "held"),
    [
        ("count", 5e0, 5),
        ("rate", 0.25, 0.25),
        ("mode", "slow", "slow"),
        ("parts", ["b", "a"], ("a", "b")),
        ("parts", [], ()),
        ("sizes", [2, 4], (2, 4)),
        ("name", "abc", "abc"),
        ("name", "", ""),
        ("on", True, True),
    ],
)
def test_what_is_allowed_is_held(key, given, held) -> None:
    found = value(key, given)
    assert found == held
    assert type(found) is type(held)


@pytest.mark.parametrize(
    ("key", "given", "allowed"),
    [
        ("count", 0, "a whole number at least 1 and at most 9"),
        ("count", 1.5, "a whole number"),
        ("count", True, "a whole number"),
        ("rate", 1.0, "a number above 0 and below 1"),
        ("rate", float("nan"), "a number"),
        ("mode", "slo", r"one of fast, slow \(did you mean slow\?\)"),
        ("parts", ["c"], "each item one of a, b"),
        ("parts", ["a", "a"], "each once"),
        ("parts", "a", "a list"),
        ("sizes", [], "a list"),
        ("sizes", [1], "a whole number at least 2"),
        ("name", "ABC", "small letters"),
        ("name", "a\nb", "control characters"),
        ("on", 1, "true or false"),
    ],
)
def test_what_is_not_allowed_is_refused_with_what_is(key, given, allowed) -> None:
    with pytest.raises(UsageError, match=rf"section\.{key} = .*{allowed}.*From a test"):
        value(key, given)


@pytest.mark.parametrize(
    ("key", "text", "found"),
    [
        ("count", " 3 ", 3),
        ("mode", '"slow"', "slow"),
        ("name", "12", "12"),
        ("parts", '["a"]', ["a"]),
        ("count", "3\nx = 4", "3\nx = 4"),
        ("count", "three", "three"),
    ],
)
def test_text_from_a_command_line(key, text, found) -> None:
    assert parse_text(Section, key, text) == found


def test_values_as_toml() -> None:
    assert to_toml_value((1, 2.5, True, 'a "b"')) == '[1, 2.5, true, "a \\"b\\""]'
