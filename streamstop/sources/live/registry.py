"""Words and URIs that name a live origin, and the module that opens each.

A module is imported when it is needed, since camera drivers take long to load.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamstop.events.packet import SensorSize
    from streamstop.sources.live.feed import LiveFeed
    from streamstop.sources.live.source import LiveSource

CAMERAS = ("davis346", "davis240", "dvxplorer", "evk4", "camera")
"""Words that name a camera; "camera" is whichever is attached."""

OPENERS = {"udp": "udp:open_udp", "dv": "dv_tcp:open_dv", "tcp": "dv_tcp:open_dv"}
"""Network origins by the scheme of their URI, each "module:function" in this package."""


def is_camera(uri: str) -> bool:
    """Whether a URI names a camera."""
    return uri.partition("?")[0] in CAMERAS


def is_live(uri: str) -> bool:
    """Whether a URI names a live origin."""
    return is_camera(uri) or uri.partition("://")[0] in OPENERS


def open_feed(uri: str, sensor: SensorSize | None = None) -> LiveFeed:
    """Open the feed that a word or URI names.

    Parameters
    ----------
    uri
        A word of CAMERAS or a network URI.
    sensor
        Size in pixels, where the origin does not send it; `?sensor=` does the same.

    Raises
    ------
    SourceError, UsageError
        As documented in its module.
    """
    scheme = uri.partition("://")[0]
    where = OPENERS.get(scheme, "cameras.open:open_camera")
    module, _, name = where.partition(":")
    feed: LiveFeed = getattr(import_module(f"streamstop.sources.live.{module}"), name)(uri, sensor)
    return feed


def open_live(
    uri: str,
    *,
    sensor: SensorSize | None = None,
    labels: str | None = None,
    length_us: int = 0,
    limit: int = 0,
    strict: bool = False,
    seconds: float = 0.0,
    tick_us: int = 10_000,
    max_latency_ms: int = 0,
) -> LiveSource:
    """Open a camera or a socket as a source.

    Parameters
    ----------
    uri
        A word of CAMERAS or a network URI.
    sensor
        Size in pixels, where the origin does not send it; `?sensor=` does the same.
    labels
        Path of a label file, whose times are those that the origin's events will have, in a unit
        that it or its options state.
    length_us, limit
        How labelled intervals become segments; see `streamstop.sources.file.FileSource`.
    strict, seconds, tick_us, max_latency_ms
        See `streamstop.sources.live.source.LiveSource`.

    Raises
    ------
    SourceError
        If nothing can be opened under that name.
    UsageError
        If the URI or the labels are not valid.
    """
    from streamstop.events.label_table import read_label_csv
    from streamstop.sources.label_files import split_label_uri
    from streamstop.sources.live.source import LiveSource
    from streamstop.sources.segmentation import label_track

    track = None
    if labels is not None:
        path, options = split_label_uri(labels)
        intervals = read_label_csv(path, options)
        track = label_track(uri, path, intervals, intervals[0].start_us, length_us, limit)
    return LiveSource(
        open_feed(uri, sensor),
        labels=track,
        strict=strict,
        seconds=seconds,
        tick_us=tick_us,
        max_latency_s=max_latency_ms * 1e-3,
    )
