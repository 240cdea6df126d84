"""What all pages share: the templates, the styles of layers, the file that a page is written to."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TypeVar

import jinja2

from streamstop.errors import UsageError
from streamstop.report import formatting
from streamstop.report.formatting import shorten
from streamstop.report.names import HEADLINE, data_name, name_of

T = TypeVar("T")

MAX_LAYERS = 16
MAX_CONFIG_SHOWN = 20_000
LAYER_POINTS = 200


def output_path(out: Path | str) -> Path:
    """The path that --out names.

    Raises UsageError where it is a folder, or its folder does not exist.
    """
    path = Path(out)
    if path.is_dir():
        raise UsageError(f"--out needs a file, and this is a folder: {path}")
    if not path.parent.is_dir():
        raise UsageError(f"--out needs a file in a folder that exists: {path}")
    return path


def write_atomically(page: str, path: Path) -> Path:
    """Write a page to `path`, as a whole or not at all; return the path."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".report-", suffix=".html")
    try:
        # A path that is not valid text contains lone surrogates, which UTF-8 cannot encode.
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace", newline="\n") as file:
            file.write(page)
        # mkstemp makes files that only their owner can read; a report is meant to be shared.
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path


def environment() -> jinja2.Environment:
    """The environment that renders the templates."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("streamstop", "report/templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["short"] = shorten
    environment.globals.update(
        fmt=formatting, name_of=name_of, data_name=data_name, HEADLINE=HEADLINE
    )
    return environment


def layer_style(index: int) -> tuple[int, str, float]:
    """Colour, dash and weight of a line: seven colours in turn, then the same dashed."""
    colours = (0, 1, 2, 3, 4, 5, 6)
    return colours[index % 7], ("", "6 3", "1.5 3")[index // 7 % 3], 1.8


def thin(values: tuple[T, ...]) -> tuple[T, ...]:
    """At most LAYER_POINTS + 1 values, evenly spaced, including the first and the last."""
    every = -(-len(values) // LAYER_POINTS)
    if every < 2:
        return values
    kept = values[::every]
    return kept if (len(values) - 1) % every == 0 else (*kept, values[-1])
