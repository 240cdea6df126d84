from __future__ import annotations

import time

import pytest

from streamstop.errors import SourceError
from streamstop.sources import CAMERAS, open_source
from streamstop.sources.cameras import TIMEOUT_S


def missing() -> str:
    raise ModuleNotFoundError("No module named 'backend'")


def broken() -> str:
    raise RuntimeError("Other error")


def panics() -> str:
    raise KeyboardInterrupt


def hangs() -> str:
    time.sleep(60)
    return ""


def sees(what: str) -> object:
    return lambda: what


@pytest.mark.parametrize("name", CAMERAS)
def test_without_a_camera_it_says_what_was_tried_and_how_to_mend_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backends = (("one", missing), ("two", broken), ("three", sees("")), ("four", panics))
    monkeypatch.setattr("streamstop.sources.cameras.BACKENDS", backends)
    with pytest.raises(SourceError) as error:
        open_source(name)
    said = str(error.value)
    assert "one: not installed" in said
    assert "two: installed, failed with RuntimeError: Other error" in said
    assert "three: installed, sees no camera" in said
    assert "four: installed, failed with KeyboardInterrupt" in said
    assert "pip install 'streamstop[cameras]'" in said
    assert "udev" in said
    assert said.endswith(name)
    assert error.value.exit_code == 3


def test_a_backend_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamstop.sources.cameras.BACKENDS", (("slow", hangs),))
    monkeypatch.setattr("streamstop.sources.cameras.TIMEOUT_S", 0.1)
    begin = time.perf_counter()
    with pytest.raises(SourceError, match=r"slow: no answer within 0\.1 s"):
        open_source("camera")
    assert time.perf_counter() - begin < TIMEOUT_S


def test_a_camera_that_is_there_is_not_said_to_be_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    backends = (("one", missing), ("two", sees("DAVIS346 00000104")))
    monkeypatch.setattr("streamstop.sources.cameras.BACKENDS", backends)
    with pytest.raises(SourceError, match=r"two sees DAVIS346 00000104; .* a later version"):
        open_source("davis346")


def test_the_real_backends_answer_in_time() -> None:
    begin = time.perf_counter()
    with pytest.raises(SourceError):
        open_source("davis346")
    assert time.perf_counter() - begin < 3 * TIMEOUT_S + 1
