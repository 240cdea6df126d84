"""Every error streamstop raises on purpose, with the exit code the command line ends with.

A message says what happened, where, what was kept and what to do; the path comes last. Code that
raises one of these has already put away whatever it was writing: nothing half-written is left
looking whole.
"""

from __future__ import annotations


class StreamstopError(Exception):
    """Base of all deliberate errors; `exit_code` is what the process ends with."""

    exit_code = 1


class UsageError(StreamstopError):
    """The request cannot be understood: a key, a value or labels that do not fit."""

    exit_code = 2


class SourceError(StreamstopError):
    """The source cannot be opened: missing, unreadable, of no known format, no camera."""

    exit_code = 3


class NoEventsError(SourceError):
    """The file holds no events, or a table that does not say which of its columns they are.

    In a folder of recordings such a file is passed over; any other that cannot be opened is a
    broken recording.
    """


class DamageError(StreamstopError):
    """The input is damaged and `--strict` asked to stop at the first damage."""

    exit_code = 4


class DivergedError(StreamstopError):
    """The learner's loss or state stopped being finite."""

    exit_code = 5
