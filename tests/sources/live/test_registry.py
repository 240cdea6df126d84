"""What names a live origin, and what opens it."""

from __future__ import annotations

from importlib import import_module

import pytest

from streamstop.sources.live.address import SCHEMES
from streamstop.sources.live.registry import CAMERAS, OPENERS, is_live


def test_every_scheme_has_a_function_that_opens_it() -> None:
    assert set(OPENERS) == set(SCHEMES)
    for opener in (*OPENERS.values(), "cameras.open:open_camera"):
        module, _, name = opener.partition(":")
        assert callable(getattr(import_module(f"streamstop.sources.live.{module}"), name))


@pytest.mark.parametrize("uri", [*CAMERAS, "davis346?serial=1", "udp://:3333", "dv://1.2.3.4:7777"])
def test_cameras_and_sockets_are_live(uri: str) -> None:
    assert is_live(uri)


@pytest.mark.parametrize(
    "path", ["./davis346", "rec.aedat4", "./udp://a", "dvs-gesture:DVS", "http://x"]
)
def test_paths_are_not_live(path: str) -> None:
    assert not is_live(path)
