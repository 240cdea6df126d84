"""Paths inside source URIs: `rec.csv?columns=txyp`, `dvs-gesture:ROOT?split=test`.

Guarantees:

- Only the path part of a URI is changed; the rest stays as written.

Does not:

- Check whether the URI can be opened.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

_KIND = re.compile(r"[a-z][a-z0-9-]+:(?!//)")


def split_uri(uri: str) -> tuple[str, str, str]:
    """Split a URI into scheme with its colon, path, and options with their question mark.

    Scheme and options may be empty.

    >>> split_uri("dvs-gesture:data/DvsGesture?split=test")
    ('dvs-gesture:', 'data/DvsGesture', '?split=test')
    >>> split_uri("rec.aedat4")
    ('', 'rec.aedat4', '')
    """
    if Path(uri).exists():
        return "", uri, ""
    kind = _KIND.match(uri)
    before = kind[0] if kind else ""
    path, mark, options = uri[len(before) :].rpartition("?")
    return (before, path, mark + options) if mark else (before, options, "")


def uri_stem(uri: str) -> str:
    """The name of the file or folder that a source reads, without its suffix.

    >>> uri_stem("dvs-gesture:data/DvsGesture?split=test"), uri_stem("rec.aedat4"), uri_stem("")
    ('DvsGesture', 'rec', '')
    """
    return Path(split_uri(uri)[1]).stem


def map_path(uri: str, change: Callable[[Path], Path]) -> str:
    """The URI with `change` applied to its path, if that path exists; else unchanged."""
    before, path, options = split_uri(uri)
    return f"{before}{change(Path(path))}{options}" if path and Path(path).exists() else uri


def resolve_against(uri: str, folder: Path) -> str:
    """The URI with its path relative to `folder`, if it exists only there; else unchanged.

    A path that exists from the current directory is kept.
    """
    before, path, options = split_uri(uri)
    if path and not Path(path).exists() and (folder / path).exists():
        return f"{before}{folder / path}{options}"
    return uri
