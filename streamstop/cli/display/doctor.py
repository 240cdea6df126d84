"""What `streamstop doctor` shows: each finding with its state and what to do, the conclusion last.

Promises: lines that are to be pasted are never broken, whatever the width; a state is a word and
not only a colour; nothing in a device's name steers the terminal. Decides nothing.
"""

from __future__ import annotations

import textwrap

from rich.console import Console
from rich.text import Text

from streamstop.report.formatting import printable
from streamstop.tools.doctor import Diagnosis, Finding

STYLES = {"ok": "green", "note": "yellow", "problem": "bold red"}

MARGIN = 9
"""Columns of a state's word, and what follows it."""

PASTE = "    "
"""What lines to be pasted begin with."""


def print_diagnosis(diagnosis: Diagnosis, console: Console | None = None) -> None:
    """Print everything that was found.

    console : where to print; standard output if None.
    """
    console = console or Console()
    topic = ""
    for finding in diagnosis.findings:
        if finding.topic != topic:
            topic = finding.topic
            console.print()
            console.print(Text(topic, style="bold"))
        _print_finding(console, finding)
    console.print()
    console.print(Text(conclusion(diagnosis), style="bold"), soft_wrap=True)


def conclusion(diagnosis: Diagnosis) -> str:
    """One sentence.

    >>> conclusion(Diagnosis(()))
    'Nothing stands in the way of running from files.'
    """
    count = sum(one.blocks for one in diagnosis.findings)
    if count:
        many = "1 problem stands" if count == 1 else f"{count} problems stand"
        return f"{many} in the way of running from files."
    others = sum(one.state == "problem" for one in diagnosis.findings)
    but = f" ({others} other problem{'s' if others > 1 else ''}, above)" if others else ""
    return f"Nothing stands in the way of running from files{but}."


def _print_finding(console: Console, finding: Finding) -> None:
    width = max(20, console.width - MARGIN)
    lines = textwrap.wrap(
        printable(finding.message), width, break_long_words=False, break_on_hyphens=False
    )
    for number, line in enumerate(lines or [""]):
        word = finding.state if number == 0 else ""
        left = Text(f"{word:<{MARGIN}}", style=STYLES[finding.state])
        console.print(left + Text(line), soft_wrap=True)
    for line in finding.fix:
        if line.startswith(PASTE):
            console.print(Text(line.strip(), style="cyan"), soft_wrap=True)
            continue
        wrapped = textwrap.wrap(printable(line), width, break_long_words=False)
        for part in wrapped:
            console.print(Text(" " * MARGIN + part, style="dim"), soft_wrap=True)
