"""Commands for a run in progress: from a view, a UDP socket or standard input, in one queue.

Guarantees:

- A run asks for what has come, and never waits.
- At most MAX_WAITING commands wait; lines that are none are counted, and the last is told.
- A socket listens on this machine alone unless another address is named.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections import deque
from collections.abc import Sequence
from typing import Protocol, Self

from streamstop.errors import SourceError, UsageError
from streamstop.pipeline.snapshot import Command
from streamstop.sources.live.address import LOOPBACK

MAX_WAITING = 1 << 10
MAX_LINE = 1 << 12
SCHEME = "udp://"
STDIN = "-"


class CommandFeed(Protocol):
    """Where commands come from."""

    def poll(self) -> list[bytes]:
        """The lines that have come since the last call."""
        ...

    def close(self) -> None:
        """Let go of it."""


class CommandInbox:
    """All commands for one run, in order of arrival; a context manager.

    Attributes
    ----------
    refused : int
        Lines that were no commands.
    message : str
        Why the last of them was none.
    """

    def __init__(self, *feeds: CommandFeed) -> None:
        self._feeds = feeds
        self.refused = 0
        self.message = ""

    def poll(self) -> list[Command]:
        """The commands that have come since the last call."""
        found = []
        for feed in self._feeds:
            for line in feed.poll()[:MAX_WAITING]:
                try:
                    found.append(Command.from_line(line))
                except UsageError as error:
                    self.refused += 1
                    self.message = str(error)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for feed in self._feeds:
            feed.close()


def is_label_stream(labels: str) -> bool:
    """Whether `--labels` names a stream of commands, not a file."""
    return labels == STDIN or labels.startswith(SCHEME)


def open_commands(labels: str) -> CommandFeed:
    """The commands that come through `udp://HOST:PORT` or standard input.

    Raises
    ------
    SourceError
        If the address cannot be listened on.
    UsageError
        If it is none.
    """
    return _LineReader() if labels == STDIN else _Datagrams(labels)


class _Datagrams:
    """A socket; each datagram is a line."""

    def __init__(self, uri: str) -> None:
        host, _, port = uri.removeprefix(SCHEME).rpartition(":")
        if not port.isdecimal() or int(port) > 0xFFFF:
            raise UsageError(f"labels are sent to udp://HOST:PORT, not {uri!r}")
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((host or LOOPBACK, int(port)))
        except OSError as error:
            self._socket.close()
            raise SourceError(f"cannot listen for labels: {error.strerror}: {uri}") from error
        self._socket.setblocking(False)

    @property
    def port(self) -> int:
        """On which it listens."""
        return int(self._socket.getsockname()[1])

    def poll(self) -> list[bytes]:
        """See `CommandFeed`."""
        lines: list[bytes] = []
        while len(lines) < MAX_WAITING:
            try:
                lines += filter(None, self._socket.recv(MAX_LINE).split(b"\n"))
            except BlockingIOError:
                break
            except OSError:  # an answer of the network to somebody's datagram
                continue
        return lines

    def close(self) -> None:
        """See `CommandFeed`."""
        self._socket.close()


class _LineReader:
    """Lines of standard input, read by a thread that ends with the process."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque(maxlen=MAX_WAITING)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        stream = sys.stdin.buffer
        while line := stream.readline(MAX_LINE):
            self._lines.append(line.strip())

    def poll(self) -> list[bytes]:
        """See `CommandFeed`."""
        found = []
        while self._lines:
            found.append(self._lines.popleft())
        return [line for line in found if line]

    def close(self) -> None:
        """See `CommandFeed`."""


class Script:
    """Commands at given bins, as a person would give them; for demos and tests.

    Parameters
    ----------
    asked : sequence of (int, Command)
        Before which bin, counted from 1, and what.
    """

    def __init__(self, asked: Sequence[tuple[int, Command]]) -> None:
        self._asked = sorted(asked, key=lambda one: one[0])
        self._bin = self._next = 0

    def poll(self) -> list[bytes]:
        """See `CommandFeed`; a run asks once per bin."""
        self._bin += 1
        lines = []
        while self._next < len(self._asked) and self._asked[self._next][0] <= self._bin:
            lines.append(self._asked[self._next][1].to_line())
            self._next += 1
        return lines

    def close(self) -> None:
        """See `CommandFeed`."""


class Asked:
    """What a view may ask of a run whose stream has labels of its own: to end, and to save."""

    def __init__(self, inbox: CommandInbox) -> None:
        self._inbox = inbox
        self.ended = self.save = False

    def apply(self) -> None:
        """Do what was asked since the last bin."""
        for command in self._inbox.poll():
            self.ended = self.ended or command.action == "end"
            self.save = self.save or command.action == "save"
