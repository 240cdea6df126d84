"""`streamstop datasets`: options and output."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from streamstop.cli.errors import exit_on_error
from streamstop.cli.options import Json
from streamstop.errors import SourceError, UsageError


def datasets(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Only this data set.", show_default=False),
    ] = None,
    root: Annotated[
        str | None,
        typer.Argument(metavar="ROOT", help="Its folder: check what is there.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the named data sets: contents, licence, size, splits, where to get each."""
    with exit_on_error():
        from streamstop.sources.named_datasets import SETS, find_present

        if name is not None and name not in SETS:
            raise UsageError(f"no data set is named {name!r}; names: {', '.join(SETS)}")
        if root is not None and not Path(root).is_dir():
            raise SourceError(f"there is no such folder: {root}")
        entries: list[dict[str, object]] = []
        for key, one in SETS.items():
            if key == "folder" or name not in (None, key):
                continue
            entry: dict[str, object] = {
                "name": key,
                "title": one.title,
                "licence": one.licence,
                "size": one.size,
                "recordings": list(one.recordings),
                "split": one.split_description,
                "where": one.where,
            }
            if root is not None:
                entry["found"], entry["whole"] = find_present(key, Path(root))
            entries.append(entry)
        print(json.dumps(entries, indent=2) if as_json else "\n\n".join(map(_text, entries)))
        sys.stdout.flush()


def _text(entry: dict[str, object]) -> str:
    lines = [f"{entry['name']}: {entry['title']}", f"  {entry['size']}, {entry['licence']}"]
    lines += [f"  split: {entry['split']}", f"  get it at {entry['where']}"]
    if "found" in entry:
        state = "complete" if entry["whole"] else "incomplete"
        lines.append(f"  in this folder: {entry['found']} recordings, {state}")
    lines.append(f"  streamstop run --source '{entry['name']}:ROOT?split=train'")
    return "\n".join(lines)
