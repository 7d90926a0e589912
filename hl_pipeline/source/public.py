"""Where a host's name leads: beyond the sandbox, only to addresses of the public internet.

A name that we trust may be made to point inside: at a cloud machine's secrets, at the router, at our own services.
The addresses are judged when a connection is made, and the connection goes to what was judged: a second look-up
could say something else.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

Resolve = Callable[[str, int], Sequence[tuple[Any, ...]]]


class NotPublic(Exception):
    """The host leads to an address that no exchange has."""


def look_up(host: str, port: int) -> Sequence[tuple[Any, ...]]:
    """What the resolver knows of a host, as ``socket.getaddrinfo`` says it, for TCP."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def public_addresses(host: str, port: int, resolve: Resolve = look_up) -> list[str]:
    """The addresses behind ``host``, in the resolver's order, each once.

    Raises:
        NotPublic: one of them is private, link-local, loopback or otherwise not of the public internet.
        OSError: the name is not known.
    """
    found = list(dict.fromkeys(str(entry[4][0]) for entry in resolve(host, port)))
    for text in found:
        if not is_public(text):
            raise NotPublic(
                f"{host} leads to {text}, which is no address of the public internet; see who answers for that name "
                "here (a captive portal, a hosts file, the DNS), or take it out of HL_ENDPOINTS and HL_ALLOWED_HOSTS"
            )
    return found


def is_public(text: str) -> bool:
    """Whether an address belongs to the public internet; one that wraps another is judged by that one too."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return all(one.is_global and not (one.is_multicast or one.is_reserved) for one in _layers(address))


def _layers(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address.packed[:12] == _NAT64:
        return [IPv4Address(address.packed[12:])]
    return [address, *(one for one in (address.sixtofour, *(address.teredo or ())) if one is not None)]


#: 64:ff9b::/96, behind which IPv6-only networks show the IPv4 internet (RFC 6052).
_NAT64 = bytes.fromhex("0064ff9b") + bytes(8)
