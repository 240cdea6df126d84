"""What feeds from sockets share: a read that `close` ends, in whatever thread it waits."""

from __future__ import annotations

import socket
import threading

from streamstop.events.packet import Damage


class SocketFeed:
    """A socket, and a pair of sockets that wakes a waiting read; all are closed once, together.

    A read holds `_lock`, waits for `_socket` and `_woken`, and ends once `_closing` is set.
    """

    def __init__(self, of: socket.socket) -> None:
        self._socket = of
        self._wake, self._woken = socket.socketpair()
        self._lock = threading.Lock()
        self._closing = False

    def warm_up(self) -> None:
        """Nothing to do unless a subclass compiles something. See `LiveFeed`."""

    def held_damage(self) -> tuple[Damage, ...]:
        """No damage: it is reported at once unless a subclass overrides this. See `LiveFeed`."""
        return ()

    def close(self) -> None:
        """Close the socket; this ends a `read` in another thread."""
        self._closing = True
        try:
            self._wake.send(b"\0")
        except OSError:
            return  # already closed
        with self._lock:
            for one in (self._socket, self._wake, self._woken):
                one.close()
