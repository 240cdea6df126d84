"""A page of results made of sections, each written and dated by a run of its own.

A run replaces its own section and leaves the others unchanged, so that a benchmark can be run in
parts. Sections stand in the order in which the program names them; a section whose name the program
no longer has is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, stdev

MARK = "\n## "


def write_section(
    page: Path, title: str, intro: str, order: Sequence[str], name: str, body: Iterable[str]
) -> None:
    """Put the section `name` on the page, which is made where there is none."""
    kept = dict.fromkeys(order, "")
    if page.exists():
        for piece in page.read_text().split(MARK)[1:]:
            heading, _, text = piece.partition("\n")
            if heading in kept:
                kept[heading] = text.strip()
    kept[name] = "\n".join(body).strip()
    pieces = [f"# {title}", intro, *(f"## {one}\n\n{text}" for one, text in kept.items() if text)]
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n\n".join(pieces) + "\n")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table, its first column without a head, and an empty line."""
    lines = [f"| | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    return [*lines, *(f"| {' | '.join(cells)} |" for cells in rows), ""]


def spread(values: Iterable[float | None]) -> str:
    """Mean and standard deviation (n - 1) of what is there, such as of one figure per seed."""
    there = [value for value in values if value is not None]
    if not there:
        return ""
    sd = f" ± {stdev(there):.3f}" if len(there) > 1 else ""
    return f"{fmean(there):.3f}{sd}"
