"""Programs in a pseudo-terminal: what they draw, and keys pressed for them."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time

TIMEOUT_S = 100


class Screen:
    """A Python program in a pseudo-terminal of 100x30, and all that it has written."""

    def __init__(self, *words: str) -> None:
        self._child, parent = pty.openpty()
        fcntl.ioctl(parent, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, *words],
            stdin=parent, stdout=parent, stderr=parent,
            env={**os.environ, "TERM": "xterm-256color"}, start_new_session=True,
        )  # fmt: skip
        os.close(parent)
        self.content = b""

    def until(self, word: bytes) -> None:
        """Read until it has written the word."""
        deadline = time.monotonic() + TIMEOUT_S
        while word not in self.content and time.monotonic() < deadline:
            if select.select([self._child], [], [], 0.1)[0]:
                try:
                    self.content += os.read(self._child, 1 << 16)
                except OSError:  # it has ended
                    break
        assert word in self.content, self.content[-2000:].decode(errors="replace")

    def press(self, key: bytes) -> None:
        os.write(self._child, key)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._child)
