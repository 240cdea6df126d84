"""The path within a source's name is found, and only that is changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamstop.config.uri_paths import map_path, resolve_against, split_uri


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
    assert split_uri(uri) == found
    assert "".join(found) == uri


def test_a_file_that_is_called_so_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("what?is=this").touch()
    assert split_uri("what?is=this") == ("", "what?is=this", "")


def test_what_is_there_is_replaced_and_the_rest_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("set").mkdir()
    whole = f"dvs-gesture:{tmp_path / 'set'}?split=test"
    assert map_path("dvs-gesture:set?split=test", Path.resolve) == whole
    assert map_path("dvs-gesture:gone?split=test", Path.resolve) == "dvs-gesture:gone?split=test"
    assert map_path("davis346", Path.resolve) == "davis346"
    assert map_path("", Path.resolve) == ""


def test_a_path_is_looked_for_beside_a_recipe_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "recipes" / "set").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    recipes = tmp_path / "recipes"
    assert resolve_against("ncars:set?split=test", recipes) == f"ncars:{recipes / 'set'}?split=test"
    assert resolve_against("ncars:gone", recipes) == "ncars:gone"
    Path("set").mkdir()
    assert resolve_against("ncars:set", recipes) == "ncars:set"
