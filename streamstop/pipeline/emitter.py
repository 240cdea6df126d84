"""Sends each prediction on as a line of JSON: to a UDP address, or to standard output.

`{"t_us": 1250000, "class": "rock", "p": 0.93, "readout": "lda", "label": ""}`, one per bin; a
robot acts on them. A receiver that is not there costs nothing but the datagram.
"""

from __future__ import annotations

import json
import socket
import sys
from typing import Self, TextIO

from streamstop.errors import UsageError

SCHEME = "udp://"
STDOUT = "-"


class Emitter:
    """Where predictions are sent; a context manager.

    Parameters
    ----------
    target : str
        "udp://HOST:PORT", or "-" for standard output.
    stream : TextIO, optional
        Standard output, where it was replaced meanwhile.

    Raises
    ------
    UsageError
        If it is neither.
    """

    def __init__(self, target: str, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.__stdout__ or sys.stdout
        self._socket: socket.socket | None = None
        if target == STDOUT:
            return
        host, _, port = target.removeprefix(SCHEME).rpartition(":")
        if not target.startswith(SCHEME) or not host or not port.isdecimal():
            raise UsageError(f"predictions are sent to udp://HOST:PORT or -, not {target!r}")
        try:
            self._address = (socket.gethostbyname(host), int(port))
        except (OSError, OverflowError, UnicodeError) as error:
            raise UsageError(f"there is no such address: {target}") from error
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def send(self, t_us: int, name: str, probability: float, readout: str, label: str) -> None:
        """Send one prediction.

        Parameters
        ----------
        t_us : int
            End of the bin, in the time of the labels.
        name, probability, readout : str, float, str
            The class, how probable it is, and which readout says so.
        label : str
            The class that is taught or labelled there; "" for none.
        """
        line = json.dumps(
            {
                "t_us": t_us,
                "class": name,
                "p": round(probability, 6),
                "readout": readout,
                "label": label,
            }
        )
        if self._socket is None:
            self._stream.write(line + "\n")
            self._stream.flush()
            return
        try:
            self._socket.sendto(line.encode(), self._address)
        except OSError:  # no room, or nobody there: the next bin says more
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._socket is not None:
            self._socket.close()
