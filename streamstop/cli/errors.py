"""The one place where an error becomes a message on standard error and an exit code.

It promises that no error that streamstop raises on purpose ends in a traceback
(STREAMSTOP_DEBUG=1 shows it), and that a closed pipe ends in silence.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from streamstop.errors import StreamstopError

BROKEN_PIPE = 141
"""What a shell reports of any program that wrote to a closed pipe."""


@contextmanager
def errors_told(
    interrupted: str = "a run folder without summary.json is not whole",
) -> Iterator[None]:
    """Run a command's body; what it raises becomes a message and typer's exit.

    interrupted : what to say after Ctrl-C.
    """
    try:
        yield
    except BrokenPipeError:
        # What is still in the buffer would fail again, loudly, when the interpreter closes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(BROKEN_PIPE) from None
    except KeyboardInterrupt:
        _tell(f"Interrupted; {interrupted}")
        raise typer.Exit(130) from None
    except StreamstopError as error:
        _tell(str(error))
        raise typer.Exit(error.exit_code) from None
    except OSError as error:
        # No room on the disk, no permission: what the system says is the message.
        _tell(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
        raise typer.Exit(StreamstopError.exit_code) from None


def peer() -> int:
    """This process's number among those that torchrun started, from 0."""
    text = os.environ.get("RANK", "")
    return int(text) if text.isdigit() else 0


def peers() -> int:
    """How many of them there are on this machine."""
    text = os.environ.get("LOCAL_WORLD_SIZE", os.environ.get("WORLD_SIZE", ""))
    return int(text) if text.isdigit() else 1


def _tell(message: str) -> None:
    if os.environ.get("STREAMSTOP_DEBUG"):
        import traceback

        traceback.print_exc()
    which = f" process {peer()}:" if peer() else ""
    print(f"streamstop:{which} {message}", file=sys.stderr)
