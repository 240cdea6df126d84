"""What feeds from sockets have in common: a read that closing ends, on whatever thread it waits."""

from __future__ import annotations

import socket
import threading

from streamstop.events.packet import Damage


class SocketFeed:
    """A socket, and a pair of them to wake whoever waits for it; both closed once, together.

    A read holds `_lock`, waits for `_socket` and `_woken`, and ends once `_closing` is set.
    """

    def __init__(self, of: socket.socket) -> None:
        self._socket = of
        self._wake, self._woken = socket.socketpair()
        self._lock = threading.Lock()
        self._closing = False

    def held_damage(self) -> tuple[Damage, ...]:
        """See `LiveFeed.held_damage`: what is met is told at once, where a feed says no other."""
        return ()

    def close(self) -> None:
        """Close the socket; ends a `read` in another thread."""
        self._closing = True
        try:
            self._wake.send(b"\0")
        except OSError:
            return  # closed before
        with self._lock:
            for one in (self._socket, self._wake, self._woken):
                one.close()
