"""Paths within the names of sources: `rec.csv?columns=txyp`, `dvs-gesture:ROOT?split=test`.

It promises to find the part of a source's name that is a path of files, and to leave the rest as it
was written. It does not say whether the name is one that opens.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

_KIND = re.compile(r"[a-z][a-z0-9-]+:(?!//)")


def split_uri(uri: str) -> tuple[str, str, str]:
    """The kind with its colon (or nothing), the path, and the options with their mark (or nothing).

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
    """The name of the file or folder that a source reads, without its ending.

    >>> uri_stem("dvs-gesture:data/DvsGesture?split=test"), uri_stem("rec.aedat4"), uri_stem("")
    ('DvsGesture', 'rec', '')
    """
    return Path(split_uri(uri)[1]).stem


def map_path(uri: str, change: Callable[[Path], Path]) -> str:
    """The same source, its path changed where something lies there; else as it was written."""
    before, path, options = split_uri(uri)
    return f"{before}{change(Path(path))}{options}" if path and Path(path).exists() else uri


def resolve_against(uri: str, folder: Path) -> str:
    """The same source, looked for from `folder` where it is not there from the current directory.

    As it was written where there is nothing in either place.
    """
    before, path, options = split_uri(uri)
    if path and not Path(path).exists() and (folder / path).exists():
        return f"{before}{folder / path}{options}"
    return uri
