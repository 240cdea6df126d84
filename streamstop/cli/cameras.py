"""Looks for a camera before anything slow is loaded: without one, the answer is there at once."""

from __future__ import annotations


def camera_is_there(uri: str) -> None:
    """Raise SourceError where a URI names a camera and none can be found."""
    from streamstop.sources.feeds import CAMERAS

    if uri.partition("?")[0] in CAMERAS:
        from streamstop.sources.cameras import find_camera

        find_camera(uri)
