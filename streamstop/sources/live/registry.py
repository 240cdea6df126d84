"""Which words and URIs name a live origin, and the module that opens each.

A module is imported when it is asked for: camera drivers take their time to load.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamstop.events.packet import SensorSize
    from streamstop.sources.live.source import Feed

CAMERAS = ("davis346", "davis240", "dvxplorer", "evk4", "camera")
"""Plain words that name a camera; "camera" is whichever is attached."""

SCHEMES = {"udp": "udp:open_udp", "dv": "dv_tcp:open_dv", "tcp": "dv_tcp:open_dv"}
"""Network origins by the scheme of their URI, each "module:function" in this package."""


def is_live(uri: str) -> bool:
    """Whether a URI names a live origin."""
    return uri.partition("?")[0] in CAMERAS or uri.partition("://")[0] in SCHEMES


def open_feed(uri: str, sensor: SensorSize | None = None) -> Feed:
    """The feed that a word or URI names.

    sensor : pixels of the sensor, where the origin does not say; `?sensor=` says the same.

    Raises
    ------
    SourceError, UsageError
        As its module says.
    """
    scheme = uri.partition("://")[0]
    where = SCHEMES.get(scheme, "cameras.open:open_camera")
    module, _, name = where.partition(":")
    feed: Feed = getattr(import_module(f"streamstop.sources.live.{module}"), name)(uri, sensor)
    return feed
