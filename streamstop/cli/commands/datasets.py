"""`streamstop datasets`: the sets that have a name, and what of one is in a folder."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from streamstop.cli.errors import errors_told
from streamstop.errors import SourceError, UsageError


def datasets(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="One of them, with ROOT.", show_default=False),
    ] = None,
    root: Annotated[
        str | None,
        typer.Argument(metavar="ROOT", help="Its folder: is it whole?", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="The same as JSON.")] = False,
) -> None:
    """The data sets known by name: what each is, its licence, size, splits, where to get it."""
    with errors_told():
        from streamstop.sources.named_datasets import SETS, find_present

        if name is not None and name not in SETS:
            raise UsageError(f"{name!r} is none of {', '.join(SETS)}")
        if root is not None and not Path(root).is_dir():
            raise SourceError(f"there is no such folder: {root}")
        told: list[dict[str, object]] = []
        for key, one in SETS.items():
            if key == "folder" or name not in (None, key):
                continue
            about: dict[str, object] = {
                "name": key,
                "title": one.title,
                "licence": one.licence,
                "size": one.size,
                "recordings": list(one.recordings),
                "split": one.split_description,
                "where": one.where,
            }
            if root is not None:
                about["found"], about["whole"] = find_present(key, Path(root))
            told.append(about)
        print(json.dumps(told, indent=2) if as_json else "\n\n".join(map(_words, told)))
        sys.stdout.flush()


def _words(about: dict[str, object]) -> str:
    lines = [f"{about['name']}: {about['title']}", f"  {about['size']}, {about['licence']}"]
    lines += [f"  split: {about['split']}", f"  get it at {about['where']}"]
    if "found" in about:
        whole = "the whole set" if about["whole"] else "not the whole set"
        lines.append(f"  here: {about['found']} recordings, {whole}")
    lines.append(f"  streamstop run --source '{about['name']}:ROOT?split=train'")
    return "\n".join(lines)
