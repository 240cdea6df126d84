"""Network addresses in URIs: `udp://HOST:PORT?key=value`, `dv://HOST:PORT`.

Guarantees:

- Only this machine is contacted or listened to, unless the URI names another address.
- A mistyped option is reported with a suggestion.

Does not:

- Open sockets.
"""

from __future__ import annotations

import difflib
import re
from typing import NamedTuple

from streamstop.errors import UsageError
from streamstop.events.packet import SensorSize

SCHEMES = ("udp", "dv", "tcp")
"""Schemes of network sources, as in `streamstop.sources.live.registry.OPENERS`."""

LOOPBACK = "127.0.0.1"
MAX_SIDE = 1 << 15
"""Coordinates have 15 bits in a datagram."""


class Address(NamedTuple):
    """The parts of a network URI.

    Attributes
    ----------
    scheme
        One of `SCHEMES`.
    host, port
        Loopback where the URI names no host.
    options
        What follows `?`, by key.
    uri
        As it was written.
    """

    scheme: str
    host: str
    port: int
    options: dict[str, str]
    uri: str


def parse_address(uri: str, options: tuple[str, ...]) -> Address:
    """Parse and check a network URI.

    Parameters
    ----------
    uri
        `SCHEME://HOST:PORT?key=value&...`; the host may be left out, `udp://:3333` or
        `udp://3333`; an IPv6 host needs brackets.
    options
        Keys allowed after `?`.

    Raises
    ------
    UsageError
        If it has another form, the port is out of range, or an option is unknown.

    Examples
    --------
    >>> parse_address("udp://3333?times=arrival", ("times",))[:4]
    ('udp', '127.0.0.1', 3333, {'times': 'arrival'})
    """
    scheme, _, rest = uri.partition("://")
    place, _, query = rest.partition("?")
    place = place.removesuffix("/")
    if scheme.lower() not in SCHEMES:
        raise UsageError(f"network sources are {', '.join(f'{s}://' for s in SCHEMES)}: {uri}")
    found = re.fullmatch(r"(?:(\[[0-9A-Fa-f:.%\w]+\]|[^:/@\[\]\s]*):)?(\d{1,9})", place)
    if found is None:
        raise UsageError(
            f"a network address is written {scheme}://HOST:PORT, or {scheme}://:PORT for this "
            f"machine, not with {place!r}: {uri}"
        )
    host, port = (found[1] or "").strip("[]") or LOOPBACK, int(found[2])
    if not 0 < port < 1 << 16:
        raise UsageError(f"port {port} is out of range, 1 to 65535: {uri}")
    return Address(scheme.lower(), host, port, _options(query, options, uri), uri)


def _options(query: str, known: tuple[str, ...], uri: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        key, _, value = part.partition("=")
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(
                f"unknown option {key!r}, known are {', '.join(known) or 'none'}{meant}: {uri}"
            )
        if not value or key in options:
            raise UsageError(f"options are written ?key=value&key=value, each key once: {uri}")
        options[key] = value
    return options


def sensor_of(address: Address, stated: SensorSize | None = None) -> SensorSize | None:
    """The sensor in the URI's `sensor` option; without one, the one stated otherwise.

    Raises
    ------
    UsageError
        If it is no size, too large for a datagram, or differs from the one stated.
    """
    text = address.options.get("sensor")
    if text is None:
        text = str(stated) if stated is not None else None
    if text is None:
        return None
    size = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if size is None:
        raise UsageError(f"a sensor's size is written like 346x260, not {text!r}: {address.uri}")
    sensor = SensorSize(int(size[1]), int(size[2]))
    if max(sensor) > MAX_SIDE:
        raise UsageError(f"sensor {sensor} has more than {MAX_SIDE} columns or rows: {address.uri}")
    if stated not in (None, sensor):
        raise UsageError(f"the sensor is given as {stated} and here as {sensor}: {address.uri}")
    return sensor
