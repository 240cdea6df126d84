"""Text on a terminal: whole figures, nothing that steers it, paths that can be copied."""

from __future__ import annotations

import textwrap
from pathlib import Path

from rich.console import Console
from rich.text import Text

from streamstop.report.formatting import NBSP, printable

LEAST_WIDTH = 20


def plain(text: str) -> str:
    """With ordinary spaces, to be copied and searched, and nothing that steers a terminal."""
    return printable(text.replace(NBSP, " "))


def print_paragraph(console: Console, text: str, style: str = "") -> None:
    """Text in lines that never part a figure from its unit, which rich's own wrapping does."""
    lines = textwrap.wrap(text, max(LEAST_WIDTH, console.width), break_on_hyphens=False)
    console.print(Text("\n".join(map(plain, lines)), style=style))


def print_path(console: Console, what: str, path: Path | str) -> None:
    """Where something lies, never folded: a path that is cut in two cannot be copied."""
    shown = Text(plain(str(path)), style="cyan")
    console.print(Text(f"{what}  ", style="dim") + shown, soft_wrap=True)
