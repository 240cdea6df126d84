"""Errors become a message on standard error and an exit code, here and nowhere else.

Guarantees:
- An error that streamstop raises on purpose ends without a traceback; STREAMSTOP_DEBUG=1 shows it.
- A closed pipe ends without a message.
- Names of an older version are noted in one line on standard error.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import typer

from streamstop.config.aliases import OldNamesWarning
from streamstop.errors import StreamstopError

BROKEN_PIPE = 141
"""Exit code that a shell reports for a program that wrote to a closed pipe."""


@contextmanager
def exit_on_error(
    interrupted: str = "a run folder without summary.json is incomplete",
) -> Iterator[None]:
    """Run a command's body; an exception becomes a message and an exit code.

    interrupted : the message after Ctrl-C.
    """
    try:
        with _plain_notes():
            yield
    except BrokenPipeError:
        # Unwritten output would raise again when the interpreter closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(BROKEN_PIPE) from None
    except KeyboardInterrupt:
        _print_error(f"Interrupted; {interrupted}")
        raise typer.Exit(130) from None
    except StreamstopError as error:
        _print_error(str(error))
        raise typer.Exit(error.exit_code) from None
    except OSError as error:
        # A full disk, missing permission: the system's own message is enough.
        _print_error(
            f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
        )
        raise typer.Exit(StreamstopError.exit_code) from None


@contextmanager
def _plain_notes() -> Iterator[None]:
    """Show an `OldNamesWarning` as one line, without a file name; other warnings as ever."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def show_note(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, OldNamesWarning):
                print(f"note: {message}", file=sys.stderr)
            else:
                show(message, category, filename, lineno, file, line)

        warnings.simplefilter("always", OldNamesWarning)
        warnings.showwarning = show_note
        yield


def peer() -> int:
    """Rank of this process among those that torchrun started, from 0."""
    text = os.environ.get("RANK", "")
    return int(text) if text.isdigit() else 0


def peers() -> int:
    """Number of processes that torchrun started on this machine."""
    text = os.environ.get("LOCAL_WORLD_SIZE", os.environ.get("WORLD_SIZE", ""))
    return int(text) if text.isdigit() else 1


def _print_error(message: str) -> None:
    if os.environ.get("STREAMSTOP_DEBUG"):
        import traceback

        traceback.print_exc()
    which = f" process {peer()}:" if peer() else ""
    print(f"streamstop:{which} {message}", file=sys.stderr)
