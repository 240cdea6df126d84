"""Splits the URI of a source or of a label file into its path and its options."""

from __future__ import annotations

from pathlib import Path

from streamstop.errors import UsageError


def uri_parts(uri: str) -> tuple[str, dict[str, str]]:
    """The path and the options of a URI."""
    path, mark, query = uri.rpartition("?")
    if not mark or Path(uri).exists():
        return uri, {}
    options = {}
    for part in filter(None, query.split("&")):
        key, _, value = part.partition("=")
        if not value or key in options:
            raise UsageError(f"options are written ?key=value&key=value, each key once: {uri}")
        options[key] = value
    return path, options
