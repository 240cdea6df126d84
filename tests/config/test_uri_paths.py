"""The path within a source's name is found, and only that is changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamstop.config.uri_paths import found_from, parts, replaced


@pytest.mark.parametrize(
    "uri, found",
    [
        ("rec.aedat4", ("", "rec.aedat4", "")),
        ("rec.csv?columns=txyp", ("", "rec.csv", "?columns=txyp")),
        ("cifar10-dvs:ROOT", ("cifar10-dvs:", "ROOT", "")),
        ("dvs-gesture:a/b?split=test", ("dvs-gesture:", "a/b", "?split=test")),
        ("udp://3333?sensor=2x2", ("", "udp://3333", "?sensor=2x2")),
        ("C:/data/rec.raw", ("", "C:/data/rec.raw", "")),
        ("-", ("", "-", "")),
        ("", ("", "", "")),
    ],
)
def test_a_name_has_parts(uri: str, found: tuple[str, str, str]) -> None:
    assert parts(uri) == found
    assert "".join(found) == uri


def test_a_file_that_is_called_so_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("what?is=this").touch()
    assert parts("what?is=this") == ("", "what?is=this", "")


def test_what_is_there_is_replaced_and_the_rest_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("set").mkdir()
    whole = f"dvs-gesture:{tmp_path / 'set'}?split=test"
    assert replaced("dvs-gesture:set?split=test", Path.resolve) == whole
    assert replaced("dvs-gesture:gone?split=test", Path.resolve) == "dvs-gesture:gone?split=test"
    assert replaced("davis346", Path.resolve) == "davis346"
    assert replaced("", Path.resolve) == ""


def test_a_path_is_looked_for_beside_a_recipe_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "recipes" / "set").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    recipes = tmp_path / "recipes"
    assert found_from("ncars:set?split=test", recipes) == f"ncars:{recipes / 'set'}?split=test"
    assert found_from("ncars:gone", recipes) == "ncars:gone"
    Path("set").mkdir()
    assert found_from("ncars:set", recipes) == "ncars:set"
